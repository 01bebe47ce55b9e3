/**
 * The text of a list for one query, and its parameters. Pure.
 *
 * What completed is looked up saga by saga, and what nobody runs status by status, each in the order of an index and no
 * further than the page; what somebody runs is in the memory of processes, so all of it is looked at. Tags that few
 * executions have are looked up in their own index. A page picks ids first, so that a search reads an index and not the
 * table.
 *
 * @since 0.1.0
 */
import { type Query, Status } from "../../SagaStore.ts"
import type { Names } from "./names.ts"

/**
 * A statement with its parameters; times are milliseconds, arrays are plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Statement {
  readonly text: string
  readonly parameters: ReadonlyArray<Parameter>
}

/**
 * @category models
 * @since 0.1.0
 */
export type Parameter =
  | { readonly type: "text"; readonly value: string }
  | { readonly type: "number"; readonly value: number }
  | { readonly type: "time"; readonly value: number }
  | { readonly type: "texts"; readonly value: ReadonlyArray<string> }
  | { readonly type: "numbers"; readonly value: ReadonlyArray<number> }

/**
 * The statement of a query; `columns` is what it gives of an execution.
 *
 * @category constructors
 * @since 0.1.0
 */
export const list = (names: Names, query: Query, columns: string): Statement => {
  const parameters: Array<Parameter> = []
  const add = (parameter: Parameter, type: string): string => `$${parameters.push(parameter)}::${type}`
  const texts = (value: ReadonlyArray<string>) => add({ type: "texts", value }, "text[]")
  const { statuses = [...Status.literals] } = query
  const open = texts(statuses.filter((status) => status !== "completed"))
  const listed = query.names === undefined ? undefined : texts(query.names)
  const ofName = listed === undefined ? [] : [`name = ANY(${listed})`]
  const conditions = conditionsOf(query, add)
  const tags = Object.keys(query.tags).length === 0
    ? undefined
    : add({ type: "text", value: JSON.stringify(query.tags) }, "jsonb")
  const limit = add({ type: "number", value: query.limit }, "integer")
  const direction = query.order === "newest" ? "DESC" : "ASC"
  const order = `ORDER BY created_at ${direction}, id ${direction}`
  const page = (all: ReadonlyArray<string>) =>
    `SELECT id, created_at FROM ${names.execution}
    WHERE ${all.join(" AND ")}
    ${order} LIMIT ${limit}`
  const pages = (wanted: string, all: ReadonlyArray<string>) =>
    `SELECT page.id, page.created_at FROM ${wanted} AS wanted(value)
  CROSS JOIN LATERAL (
    ${page(all)}
  ) AS page`
  const statement = (before: ReadonlyArray<string>, found: ReadonlyArray<string>): Statement => ({
    text: `WITH RECURSIVE ${before.map((table) => `${table}, `).join("")}picked AS (
  SELECT id, created_at FROM (
  ${found.join("\n  UNION ALL\n  ")}
  ) AS found ${order} LIMIT ${limit}
)
SELECT ${columns} FROM ${names.execution} JOIN picked USING (id, created_at) ${order}`,
    parameters
  })
  // The conditions of each part are those of its index.
  const parts = (ofTags: ReadonlyArray<string>) => {
    const more = [...ofTags, ...conditions]
    const unowned = ["status = wanted.value", "status <> 'completed'", "worker IS NULL", ...ofName, ...more]
    const owned = ["worker >= ''", `status = ANY(${open})`, "status <> 'completed'", ...ofName, ...more]
    const completed = ["name = wanted.value", "status = 'completed'", ...more]
    return {
      open: [pages(distinct(open), unowned), `SELECT id, created_at FROM (${page(owned)}) AS page`],
      completed: pages(listed === undefined ? every : distinct(listed), completed)
    }
  }
  if (!statuses.includes("completed")) return statement([], parts(tags === undefined ? [] : [`tags @> ${tags}`]).open)
  const before = listed === undefined ? [sagas(names)] : []
  if (tags === undefined) {
    const { completed, open } = parts([])
    return statement(before, [...open, completed])
  }
  const { completed, open: rest } = parts([`jsonb_contains(tags, ${tags})`])
  const ofStatus = query.statuses === undefined ? [] : [`(status = ANY(${open}) OR status = 'completed')`]
  return statement(
    [
      ...before,
      `tagged AS MATERIALIZED (
  SELECT id, name, status, version, created_at FROM ${names.execution} WHERE tags @> ${tags} LIMIT ${few + 1}
)`,
      `few AS MATERIALIZED (
  SELECT count(*) <= ${few} AS few FROM tagged
)`
    ],
    [
      `SELECT id, created_at FROM tagged
    WHERE ${["(SELECT few FROM few)", ...ofName, ...ofStatus, ...conditions].join(" AND ")}`,
      ...[...rest, completed].map((part) => `${part}\n  WHERE NOT (SELECT few FROM few)`)
    ]
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Executions with the tags, up to which their own index finds them all at once, in milliseconds. With more of them the
 * sagas are gone through in the order of time: a page is full soon. Left to choose, the planner combines both indexes
 * anew for each saga, and reads all of both. A call of `jsonb_contains` is what `@>` does, without its index.
 */
const few = 5_000

/** What every way of finding asks for beside names, statuses and tags. */
const conditionsOf = (query: Query, add: (parameter: Parameter, type: string) => string): ReadonlyArray<string> => {
  const { after, createdBefore, createdFrom, order, search, versions } = query
  const time = (value: number) => add({ type: "time", value }, "timestamptz")
  const conditions: Array<string> = []
  if (versions !== undefined) {
    // As the integers that the column's statistics are about.
    conditions.push(`version = ANY(${add({ type: "numbers", value: versions }, "float8[]")}::bigint[])`)
  }
  if (createdFrom !== undefined) conditions.push(`created_at >= ${time(createdFrom)}`)
  if (createdBefore !== undefined) conditions.push(`created_at < ${time(createdBefore)}`)
  if (search !== undefined) {
    conditions.push(`position(${add({ type: "text", value: lowerAscii(search) }, "text")} IN lower(id)) > 0`)
  }
  if (after !== undefined) {
    const id = add({ type: "text", value: after.id }, "text")
    conditions.push(`(created_at, id) ${order === "newest" ? "<" : ">"} (${time(after.createdAt)}, ${id})`)
  }
  return conditions
}

const distinct = (texts: string): string => `(SELECT DISTINCT value FROM unnest(${texts}) AS listed(value))`

/** From an array, because the planner takes the rows of a recursion for many, and compiles (JIT) what seems costly. */
const every = "unnest(ARRAY(SELECT name FROM saga WHERE name IS NOT NULL))"

/** The names of what completed, found by skipping from one to the next in the index. */
const sagas = (names: Names): string =>
  `saga(name) AS (
  (SELECT name FROM ${names.execution} WHERE status = 'completed' ORDER BY name LIMIT 1)
  UNION ALL
  SELECT (
    SELECT e.name FROM ${names.execution} AS e WHERE e.status = 'completed' AND e.name > saga.name
    ORDER BY e.name LIMIT 1
  )
  FROM saga WHERE saga.name IS NOT NULL
)`

/** `lower` of a text with the collation "C" changes ASCII letters only. */
const lowerAscii = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())
