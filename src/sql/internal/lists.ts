/**
 * The text of a list for one query, and its parameters. Pure.
 *
 * Statuses that few executions have are looked up one by one, everything else saga by saga, each in the order of an
 * index and no further than the page. How tags are looked up is the planner's choice: in their own index where few
 * executions have them. A page picks ids first, so that a search reads an index and not the table.
 *
 * @since 0.1.0
 */
import type { Query } from "../../SagaStore.ts"
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
  const { createdBefore, createdFrom, search, statuses, tags, versions } = query
  const rare = statuses !== undefined && !statuses.includes("completed")
  const tagged = Object.keys(tags).length > 0
  const conditions = [
    ...(rare ? ["status = wanted.value AND status <> 'completed'"] : []),
    ...(!rare ? ["name = wanted.value"] : []),
    ...(rare && query.names !== undefined ? [`name = ANY(${texts(query.names)})`] : []),
    ...(!rare && statuses !== undefined ? [`status = ANY(${texts(statuses)})`] : []),
    ...(versions === undefined ? [] : [`version = ANY(${add({ type: "numbers", value: versions }, "float8[]")})`]),
    ...(tagged ? [`tags @> ${add({ type: "text", value: JSON.stringify(tags) }, "jsonb")}`] : []),
    ...(createdFrom === undefined
      ? []
      : [`created_at >= ${add({ type: "time", value: createdFrom }, "timestamptz")}`]),
    ...(createdBefore === undefined
      ? []
      : [`created_at < ${add({ type: "time", value: createdBefore }, "timestamptz")}`]),
    ...(search === undefined
      ? []
      : [`position(${add({ type: "text", value: lowerAscii(search) }, "text")} IN lower(id)) > 0`])
  ]
  if (query.after !== undefined) {
    const time = add({ type: "time", value: query.after.createdAt }, "timestamptz")
    const id = add({ type: "text", value: query.after.id }, "text")
    conditions.push(`(created_at, id) ${query.order === "newest" ? "<" : ">"} (${time}, ${id})`)
  }
  const limit = add({ type: "number", value: query.limit }, "integer")
  const direction = query.order === "newest" ? "DESC" : "ASC"
  const order = `ORDER BY created_at ${direction}, id ${direction}`
  const page = `SELECT id, created_at FROM ${names.execution}
    WHERE ${conditions.length === 0 ? "true" : conditions.join(" AND ")}
    ${order} LIMIT ${limit}`
  const wanted = rare
    ? `unnest(${texts(statuses)})`
    : query.names === undefined
    ? "saga"
    : `unnest(${texts(query.names)})`
  const picked = `SELECT page.id, page.created_at
  FROM (SELECT DISTINCT value FROM ${wanted} AS listed(value) WHERE value IS NOT NULL) AS wanted
  CROSS JOIN LATERAL (
    ${page}
  ) AS page
  ${order} LIMIT ${limit}`
  return {
    text: `${wanted === "saga" ? sagas(names) : "WITH"} picked AS (
  ${picked}
)
SELECT ${columns} FROM ${names.execution} JOIN picked USING (id, created_at) ${order}`,
    parameters
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** The names that there are, found by skipping from one to the next in the index. */
const sagas = (names: Names): string =>
  `WITH RECURSIVE saga(name) AS (
  (SELECT name FROM ${names.execution} ORDER BY name LIMIT 1)
  UNION ALL
  SELECT (SELECT e.name FROM ${names.execution} AS e WHERE e.name > saga.name ORDER BY e.name LIMIT 1)
  FROM saga WHERE saga.name IS NOT NULL
),`

/** `lower` of a text with the collation "C" changes ASCII letters only. */
const lowerAscii = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())
