/**
 * What a million finished executions cost those that go on: claims, starts, lists and counts on PostgreSQL, on an
 * almost empty database and on a full one, with the plans.
 *
 *     npm run bench:million -- --rows 1000000
 *
 * It uses the server of `DATABASE_URL`, or starts one of its own as the tests do; durability is on.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { parseArgs } from "node:util"
import * as SagaStore from "../src/SagaStore.ts"
import * as SqlSagaStore from "../src/sql/SqlSagaStore.ts"
import { ask, keep } from "../test/utils/postgresServer.ts"

const { values } = parseArgs({
  options: { rows: { type: "string", default: "1000000" }, rounds: { type: "string", default: "25" } }
})
const rows = Number(values.rows)
const rounds = Number(values.rounds)
const schema = "saga_million"
const day = 86_400_000
const begin = Date.UTC(2026, 0, 1)

const query = (change: Partial<SagaStore.Query>): SagaStore.Query => ({
  names: undefined,
  statuses: undefined,
  versions: undefined,
  tags: {},
  createdFrom: undefined,
  createdBefore: undefined,
  search: undefined,
  order: "newest",
  after: undefined,
  limit: 51,
  ...change
})

/** The middle of what there is: a page that is far from both ends. */
const middle = { createdAt: begin + Math.floor(rows / 2) * 1_000, id: "Order/" }

const pages: ReadonlyArray<readonly [string, Partial<SagaStore.Query>]> = [
  ["the newest of all sagas", {}],
  ["a saga", { names: ["Order"] }],
  ["a saga, a page in the middle", { names: ["Order"], after: middle }],
  ["a saga, the oldest first", { names: ["Order"], order: "oldest" }],
  ["status parked", { statuses: ["parked"] }],
  ["status rolledback", { statuses: ["rolledback"] }],
  ["a saga, status rolledback", { names: ["Order"], statuses: ["rolledback"] }],
  ["status completed", { statuses: ["completed"] }],
  ["version 2 (one in a hundred)", { names: ["Order"], versions: [2] }],
  ["a tag of ten executions", { tags: { customer: "c7" } }],
  ["a tag of a third", { tags: { country: "0" } }],
  ["a tag of a third, version 3, which none has", { tags: { country: "0" }, versions: [3] }],
  ["a tag of ten and a status", { tags: { customer: "c7" }, statuses: ["completed"] }],
  ["an hour of some day", { createdFrom: begin + day, createdBefore: begin + day + 3_600_000 }],
  ["version 3, which none has", { names: ["Order"], versions: [3] }],
  ["a part of an id that many have", { search: "order/77" }],
  ["a part of an id that one has", { search: `order/${Math.floor(rows / 2) - 1}x` }],
  ["a part of an id that none has", { search: "nobody" }]
]

interface Measured {
  readonly what: string
  readonly millis: ReadonlyArray<number>
}

const timed = Effect.fnUntraced(function*<A, E, R>(what: string, effect: (n: number) => Effect.Effect<A, E, R>) {
  const millis: Array<number> = []
  for (let n = 0; n < rounds; n++) {
    const before = performance.now()
    yield* effect(n)
    millis.push(performance.now() - before)
  }
  return { what, millis: millis.toSorted((a, b) => a - b) } satisfies Measured
})

let started = 0
const start = (store: SagaStore.Encoded, worker: string | null, wakeAt: number | null) => {
  const id = `Order/new-${started++}`
  return store.append([{
    execution: id,
    seq: 0,
    token: id,
    at: begin + rows * 1_000 + started,
    entries: `[{"_tag":"SagaStarted","at":0}]`,
    create: { name: "Order", payload: `{"id":1}`, tags: { customer: `c${started % 10}` } },
    row: { status: "running", result: null, worker, wakeAt, received: 0 }
  }])
}

const now = begin + rows * 2_000

const claim = (store: SagaStore.Encoded, n: number) =>
  store.claim({
    worker: "bench",
    names: ["Order", "Trip"],
    limit: 64,
    now,
    margin: 2_000,
    token: `claim ${n} ${performance.now()}`,
    entries: `[{"_tag":"Claimed","at":0,"worker":"bench"}]`
  })

/** A claim that finds nothing, one that takes what is due, starts, and every page. */
const measure = Effect.fnUntraced(function*(store: SagaStore.Encoded) {
  yield* store.register("bench", 3_600_000)
  const measured = [yield* timed("a claim that finds nothing", (n) => claim(store, n))]
  measured.push(yield* timed("a start", () => start(store, "bench", null)))
  measured.push(
    yield* timed("64 starts in one batch, due, and the claim that takes them", (n) =>
      Effect.andThen(
        Effect.forEach(Array.from({ length: 64 }), () => start(store, null, now - 1), { concurrency: 64 }),
        claim(store, 1_000 + n)
      ))
  )
  for (const [what, change] of pages) measured.push(yield* timed(`page: ${what}`, () => store.list(query(change))))
  measured.push(yield* timed("stats", () => store.stats))
  return measured
})

/** As the store writes them: completed but for one in a hundred rolled back and one in ten thousand parked. */
const fill = Effect.fnUntraced(function*(sql: PgClient.PgClient) {
  const table = (name: string) => `"${schema}"."${name}"`
  yield* sql.unsafe(
    `INSERT INTO ${table("saga_execution")}
  (id, name, status, payload, result, worker, wake_at, mail, received, created_at, updated_at, version, token, entries,
    tags)
SELECT kind || '/' || n, kind, status, '{"id":' || n || ',"items":[1,2,3],"customer":"somebody"}',
  '{"_tag":"SagaCompleted","at":1,"value":{"receipt":' || n || '}}', NULL, NULL, 0, 0, started, started,
  CASE WHEN n % 100 = 3 THEN 2 ELSE 1 END, 'load', '[{"start":true},{"do":"A"}]',
  CASE WHEN n % 2 = 0 THEN
    jsonb_build_object('customer', 'c' || n / 20, 'country', (n / 2 % 3)::text) END
FROM (
  SELECT n, CASE WHEN n % 5 = 0 THEN 'Trip' ELSE 'Order' END AS kind,
    CASE WHEN n % 10000 = 17 THEN 'parked' WHEN n % 100 = 1 THEN 'rolledback' ELSE 'completed' END AS status,
    to_timestamp(${begin / 1000} + n) AS started
  FROM generate_series(0, ${rows - 1}) AS n
) AS made`
  ).unprepared
  yield* sql.unsafe(
    `INSERT INTO ${table("saga_journal")} (execution, seq, token, at, entries)
SELECT id, seq, seq::text, created_at, '[{"did":"A","value":1}]'
FROM ${table("saga_execution")} CROSS JOIN generate_series(1, 2) AS seq WHERE id NOT LIKE '%new%'`
  ).unprepared
  // Not the load itself is measured: what it left to be written is written now.
  yield* Effect.ignore(sql`CHECKPOINT`.unprepared)
  yield* sql.unsafe(`VACUUM (ANALYZE) ${table("saga_execution")}, ${table("saga_journal")}`).unprepared
})

/** The plan that the server makes of every page, and of a claim, as it is run. */
const plans = Effect.fnUntraced(function*(sql: PgClient.PgClient) {
  const sent: Array<readonly [text: string, parameters: ReadonlyArray<unknown>]> = []
  const plain = sql.withoutTransforms()
  const recording = new Proxy(plain, {
    get: (target, key, receiver) =>
      key === "unsafe"
        ? (text: string, parameters: ReadonlyArray<unknown>) => {
          sent.push([text, parameters])
          return target.unsafe(text, parameters)
        }
        : Reflect.get(target, key, receiver)
  })
  const client = new Proxy(sql, {
    get: (target, key, receiver) => key === "withoutTransforms" ? () => recording : Reflect.get(target, key, receiver)
  })
  const store = yield* Effect.provideService(
    SqlSagaStore.makeEncoded({ schema, migrate: false }),
    PgClient.PgClient,
    client
  )
  // A call makes its statement when it is made, not when it is run.
  const explain = Effect.fnUntraced(function*(what: string, call: () => Effect.Effect<unknown, SagaStore.StoreError>) {
    sent.length = 0
    yield* call()
    for (const [text, parameters] of sent) {
      console.log(`\n--- ${what}`)
      const plan = yield* plain.unsafe<{ readonly "QUERY PLAN": string }>(
        `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY ON) ${text}`,
        parameters
      ).unprepared
      for (const line of plan) console.log(line["QUERY PLAN"])
    }
  })
  yield* explain("a claim that finds nothing", () => claim(store, 9_999))
  for (const [what, change] of pages) yield* explain(`page: ${what}`, () => store.list(query(change)))
})

const table = (empty: ReadonlyArray<Measured>, full: ReadonlyArray<Measured>): void => {
  const at = ({ millis }: Measured) => {
    const of = (part: number) => millis[Math.min(millis.length - 1, Math.floor(millis.length * part))]!.toFixed(2)
    return `${of(0.5).padStart(8)} (${of(0)} to ${of(1)})`
  }
  console.log(`\nmilliseconds: median (least to most) of ${rounds} calls`)
  console.log(`${"".padEnd(60)} ${"almost empty".padStart(28)} ${`${rows} executions`.padStart(28)}`)
  for (const [index, one] of empty.entries()) {
    console.log(`${one.what.padEnd(60)} ${at(one).padStart(28)} ${at(full[index]!).padStart(28)}`)
  }
}

const program = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const { encoded } = yield* SagaStore.SagaStore
  yield* measure(encoded)
  const empty = yield* measure(encoded)
  console.log(`filling in ${rows} executions`)
  yield* fill(sql)
  yield* measure(encoded)
  const full = yield* measure(encoded)
  table(empty, full)
  const size = yield* sql.unsafe<{ readonly name: string; readonly size: string }>(
    `SELECT indexrelname AS name, pg_size_pretty(pg_relation_size(indexrelid)) AS size FROM pg_stat_user_indexes
WHERE schemaname = '${schema}' ORDER BY 1`
  ).unprepared
  for (const index of size) console.log(`${index.name}: ${index.size}`)
  yield* plans(sql)
})

const { source, stop } = await keep()
const client = PgClient.layer({ url: Redacted.make(await ask(source)), maxConnections: 4 })
const StoreLive = SqlSagaStore.layer({ schema }).pipe(Layer.provideMerge(client))
await Effect.runPromise(
  program.pipe(
    Effect.ensuring(
      Effect.ignore(
        PgClient.PgClient.use((sql) => sql.unsafe(`DROP SCHEMA IF EXISTS ${schema} CASCADE`).unprepared)
      )
    ),
    Effect.provide(StoreLive)
  )
)
await stop()
