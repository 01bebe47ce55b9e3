/**
 * What waiting costs on PostgreSQL: many executions that wait for a signal and a time, what they hold in memory, how
 * fast those that are due at one second go on, and how fast signals reach the others, with the plan that finds them.
 *
 *     npm run bench:waiting -- --waiting 100000 --due 10000 --signals 10000
 *
 * It uses the server of `DATABASE_URL`, or starts one of its own as the tests do; durability is on. All of it runs in
 * one process: the sagas, and who sends.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Option, Redacted, Schedule, Schema } from "effect"
import { parseArgs } from "node:util"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Saga, SagaEngine, Signal, Step, Timer } from "../src/index.ts"
import * as SqlSagaStore from "../src/sql/SqlSagaStore.ts"
import { ask, keep } from "../test/utils/postgresServer.ts"

const { values } = parseArgs({
  options: {
    waiting: { type: "string", default: "100000" },
    due: { type: "string", default: "10000" },
    signals: { type: "string", default: "10000" }
  }
})
const count = Number(values.waiting)
const due = Number(values.due)
const signals = Number(values.signals)
const schema = "saga_waiting"

setFlagsFromString("--expose-gc")
const gc: () => void = runInNewContext("gc")

/** Megabytes that are reachable. */
const heap = Effect.gen(function*() {
  yield* Effect.sleep("1 second")
  for (let again = 0; again < 3; again++) gc()
  const { heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed / 1e6, rss: rss / 1e6 }
})
const show = ({ heap, rss }: { readonly heap: number; readonly rss: number }) =>
  `${heap.toFixed(1)} MB reachable, ${rss.toFixed(0)} MB resident`

const Paid = Signal.make("Paid", { payload: Schema.Number })
const Waits = Saga.make("Waits", {
  payload: Schema.Struct({ n: Schema.Number, until: Schema.Number }),
  success: Schema.Number,
  idempotencyKey: ({ n }) => String(n)
})
const WaitsLive = Waits.toLayer(({ until }) =>
  Effect.gen(function*() {
    const step = (name: "Before" | "After") =>
      Step.make(name, { success: Schema.Number, execute: Effect.succeed(1), compensate: () => Effect.void })
    yield* step("Before")
    const paid = yield* Saga.race([
      Effect.map(Signal.receive(Paid), Option.some),
      Effect.as(Timer.sleepUntil("due", until), Option.none<number>())
    ])
    return (yield* step("After")) + Option.getOrElse(paid, () => 0)
  })
)

const rate = (n: number, millis: number): string => `${Math.round(n / millis * 1_000)}/s`

const program = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const counted = Effect.fnUntraced(function*(where: string) {
    const rows = yield* sql.unsafe<{ readonly n: number }>(
      `SELECT count(*)::float8 AS n FROM "${schema}".saga_execution WHERE ${where}`
    ).unprepared
    return rows[0]!.n
  })
  /** Milliseconds until so many rows are so, and the most that was in memory meanwhile. */
  const until = Effect.fnUntraced(function*(where: string, n: number) {
    const began = performance.now()
    let most = 0
    yield* counted(where).pipe(
      Effect.tap(() => Effect.sync(() => most = Math.max(most, process.memoryUsage().heapUsed / 1e6))),
      Effect.repeat({ until: (found) => found >= n, schedule: Schedule.spaced("50 millis") })
    )
    return { millis: performance.now() - began, most }
  })

  console.log(`an engine without executions: ${show(yield* heap)}`)
  const far = Date.now() + 30 * 86_400_000
  const begin = performance.now()
  yield* Effect.forEach(
    Array.from({ length: count }, (_, n) => n),
    (n) => Waits.start({ n, until: far }),
    { concurrency: 256, discard: true }
  )
  yield* until(`status = 'suspended'`, count)
  console.log(`${count} started, and suspended after one step: ${rate(count, performance.now() - begin)}`)
  console.log(`${count} suspended: ${show(yield* heap)}`)
  yield* Effect.ignore(sql`CHECKPOINT`.unprepared)
  yield* sql.unsafe(`VACUUM (ANALYZE) "${schema}".saga_execution, "${schema}".saga_journal`).unprepared

  const sending = performance.now()
  yield* Effect.forEach(
    Array.from({ length: signals }, (_, n) => n),
    (n) => Waits.signal(Waits.executionId({ n, until: 0 }), Paid, n),
    { concurrency: 64, discard: true }
  )
  const sent = performance.now() - sending
  const { most: mostSignalled } = yield* until(`status = 'completed'`, signals)
  const received = performance.now() - sending
  console.log(
    `${signals} signals: ${rate(signals, sent)} sent by 64 at once, ${rate(signals, received)} from the first send ` +
      `to the last end; at most ${mostSignalled.toFixed(0)} MB of heap`
  )

  const soon = Date.now() + 20_000 + due * 2
  yield* Effect.forEach(
    Array.from({ length: due }, (_, n) => count + n),
    (n) => Waits.start({ n, until: soon }),
    { concurrency: 256, discard: true }
  )
  yield* until(`status = 'suspended' AND wake_at < to_timestamp(${far / 1_000 - 1})`, due)
  const ahead = soon - Date.now()
  if (ahead < 0) console.log("(they were due before all of them were suspended)")
  yield* Effect.sleep(Math.max(0, ahead))
  const { most } = yield* until(`status = 'completed'`, signals + due)
  const took = Date.now() - soon
  console.log(
    `${due} due at one moment: all had ended after ${took} ms, ${rate(due, took)}; at most ${
      most.toFixed(0)
    } MB of heap`
  )
  console.log(`${count - signals} still suspended: ${show(yield* heap)}`)

  const plan = yield* sql.unsafe<{ readonly "QUERY PLAN": string }>(
    `EXPLAIN (COSTS OFF) SELECT id FROM "${schema}".saga_execution
WHERE worker IS NULL AND wake_at <= now() AND name = 'Waits' ORDER BY wake_at LIMIT 64`
  ).unprepared
  console.log("\nhow what is due is found:")
  for (const line of plan) console.log(`  ${line["QUERY PLAN"]}`)
})

const { source, stop } = await keep()
const client = PgClient.layer({ url: Redacted.make(await ask(source)), maxConnections: 8 })
await Effect.runPromise(
  program.pipe(
    Effect.provide(Layer.provideMerge(WaitsLive, SagaEngine.layer)),
    Effect.provide(SqlSagaStore.layer({ schema })),
    Effect.ensuring(
      Effect.ignore(PgClient.PgClient.use((sql) => sql.unsafe(`DROP SCHEMA IF EXISTS ${schema} CASCADE`).unprepared))
    ),
    Effect.provide(client)
  )
)
await stop()
