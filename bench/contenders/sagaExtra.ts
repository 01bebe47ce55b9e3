/** What only effect-saga is asked: executions that wait for weeks, and a database that is full of finished ones. */
import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SagaStore } from "../../src/index.ts"
import { callers } from "./effects.ts"

const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

const heap = (): number => {
  // With --expose-gc: what is still needed, not what was not collected yet.
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

/** `count` executions leave memory; then a thousand are due each second. */
export const suspended = Effect.fnUntraced(function*<E, R>(
  count: number,
  start: (at: number) => Effect.Effect<unknown, E, R>,
  late: Array<number>,
  rows: (where: string) => Effect.Effect<number, unknown, PgClient.PgClient>
) {
  const empty = heap()
  const begun = performance.now()
  // Far enough away that all have started by then.
  const first = Date.now() + 20_000 + count
  const numbers = Array.from({ length: count }, (_, number) => number)
  yield* Effect.orDie(
    Effect.forEach(numbers, (number) => start(first + number), { concurrency: 256, discard: true })
  )
  const suspending = (performance.now() - begun) / 1_000
  while ((yield* Effect.orDie(rows("status = 'suspended'"))) < count) yield* Effect.sleep("250 millis")
  const full = heap()
  const inTime = first - Date.now()
  const seconds = 10
  yield* Effect.sleep(Math.max(0, inTime) + seconds * 1_000)
  const woken = late.length
  return {
    "started and suspended, a second": count / suspending,
    "heap while suspended, MB": (full - empty) / 1_000_000,
    "ready before the first was due, s": inTime / 1_000,
    "resumed a second": woken / seconds,
    "late p50, ms": quantile(late, 0.5),
    "late p99, ms": quantile(late, 0.99)
  }
})

/** The same on an almost empty database and with `count` finished executions. */
export const finished = Effect.fnUntraced(function*<E, R>(
  count: number,
  run: Effect.Effect<unknown, E, R>,
  Store: typeof SagaStore.SagaStore
) {
  const sql = yield* PgClient.PgClient
  const { encoded } = yield* Store
  const now = Date.now()
  const forSeconds = (seconds: number) => {
    const end = performance.now() + seconds * 1_000
    return () => performance.now() >= end
  }
  const claim = encoded.claim({
    worker: "bench",
    names: ["S5"],
    limit: 64,
    now,
    margin: 2_000,
    token: "bench",
    entries: "[]"
  })
  const measure = Effect.gen(function*() {
    yield* callers(64, forSeconds(1), run)
    const before = performance.now()
    const sagas = yield* callers(64, forSeconds(5), run)
    const rate = sagas.length / (performance.now() - before) * 1_000
    const alone = yield* callers(1, forSeconds(2), run)
    const claims = yield* callers(1, forSeconds(1), claim)
    return [rate, quantile(alone, 0.5), quantile(claims, 0.5)] as const
  })
  const empty = yield* measure
  yield* sql.unsafe(
    `INSERT INTO saga.saga_execution
  (id, name, status, payload, result, worker, wake_at, mail, received, created_at, updated_at, version, token,
    entries)
SELECT 'S5/old-' || n, 'S5', 'completed', '{"id":"old"}', '{"done":{"id":5},"at":1}', NULL,
  NULL, 0, 0, to_timestamp(n), to_timestamp(n), 1, 'load', '[{"start":true},{"do":"Step1"}]'
FROM generate_series(1, ${count}) AS n`
  ).unprepared
  yield* sql.unsafe(
    `INSERT INTO saga.saga_journal (execution, seq, token, at, entries)
SELECT 'S5/old-' || n, seq, seq::text, to_timestamp(n),
  '[{"did":"Step1","value":{"id":1,"state":"confirmed"}},{"do":"Step2"}]'
FROM generate_series(1, ${count}) AS n CROSS JOIN generate_series(1, 5) AS seq`
  ).unprepared
  // Not the load is measured: what it left to be written is written now.
  yield* sql.unsafe("CHECKPOINT").unprepared
  yield* sql.unsafe("VACUUM (ANALYZE) saga.saga_execution, saga.saga_journal").unprepared
  const full = yield* measure
  return {
    "S5 at 64, a second, empty": empty[0],
    "S5 at 64, a second, full": full[0],
    "S5 at 1, p50 ms, empty": empty[1],
    "S5 at 1, p50 ms, full": full[1],
    "a claim that finds nothing, p50 ms, empty": empty[2],
    "a claim that finds nothing, p50 ms, full": full[2]
  }
})
