/**
 * Processes of the operating system that are killed with SIGKILL while all that they ran is suspended, again and again:
 * timers fire in the next one, what was sent while nobody lived is received once, and nothing is done twice.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schedule } from "effect"
import { startChild } from "../pglite/harness.ts"
import * as Parcels from "../utils/Parcels.ts"
import * as Postgres from "../utils/Postgres.ts"
import * as World from "../utils/World.ts"

interface Row {
  readonly id: string
  readonly status: string
  readonly base: number
}

const rows = Effect.gen(function*() {
  const { schema } = yield* Postgres.Postgres
  const sql = yield* PgClient.PgClient
  return yield* sql<Row>`
    SELECT id, status, coalesce(base, 0)::float8 AS base FROM ${sql(`${schema}.saga_execution`)} ORDER BY id`
}).pipe(Effect.orDie)

/** Returns once the store looks so. */
const until = (what: string, holds: (rows: ReadonlyArray<Row>) => boolean) =>
  rows.pipe(
    Effect.flatMap((found) => holds(found) ? Effect.succeed(found) : Effect.fail(JSON.stringify(found))),
    Effect.retry(Schedule.spaced("25 millis").pipe(Schedule.upTo({ duration: "40 seconds" }))),
    Effect.mapError((found) => new Error(`${what}: ${found}`)),
    Effect.orDie
  )

const asleep = (rows: ReadonlyArray<Row>) => rows.every((row) => row.status === "suspended")

describe("a process that is killed while everything in it is suspended", () => {
  it.live(
    "leaves timers, rounds and messages to the next one, and none of them comes twice",
    () =>
      Effect.gen(function*() {
        const { schema, url } = yield* Postgres.Postgres
        const sql = yield* PgClient.PgClient
        yield* sql`CREATE TABLE IF NOT EXISTS parcel_act (key text PRIMARY KEY, execution text, step text)`
        yield* Effect.addFinalizer(() => Effect.orDie(sql`DROP TABLE parcel_act`))
        const outside = Parcels.client(url, schema)
        const start = startChild("../../crash/children/parcels", url, schema)
        const alive = Effect.tap(start, (child) => child.line((line) => line === "ready"))

        let child = yield* alive
        const [parcel, kept, dropped] = yield* Effect.all([
          Parcels.Parcel.start({ id: "parcel", round: 0 }),
          Parcels.Purchase.start({ id: "kept" }),
          Parcels.Purchase.start({ id: "dropped" })
        ]).pipe(Effect.provide(outside))

        // Killed in the first round, in a later one, and once more, each time with nothing in memory.
        let base = -1
        for (let death = 0; death < 4; death++) {
          const found = yield* until(
            `suspended for the ${death + 1}th time`,
            (rows) => rows.length === 3 && asleep(rows) && rows.some((row) => row.base > base && row.id === parcel)
          )
          yield* child.kill
          base = found.find((row) => row.id === parcel)!.base
          child = yield* alive
        }
        yield* until("suspended again", asleep)
        yield* child.kill

        // Nobody lives: what is sent now waits.
        yield* Effect.gen(function*() {
          for (let again = 0; again < 2; again++) {
            yield* Parcels.Parcel.signal(parcel, Parcels.Delivered, "the neighbour", { key: "delivery" })
            yield* Parcels.Purchase.signal(kept, Parcels.Paid, "Ada", { key: "payment" })
          }
          yield* Parcels.Purchase.cancel(dropped)
        }).pipe(Effect.provide(outside))
        assert.isTrue((yield* rows).every((row) => row.status === "suspended"))

        const last = yield* alive
        const [delivered, bought, cancelled] = yield* Effect.all([
          Parcels.Parcel.result(parcel),
          Parcels.Purchase.result(kept),
          Effect.exit(Parcels.Purchase.result(dropped))
        ]).pipe(Effect.provide(outside))
        yield* last.kill

        assert.strictEqual(delivered.by, "the neighbour")
        assert.isAtLeast(delivered.round, 3)
        assert.strictEqual(bought, "Ada")
        assert.isTrue(Exit.isFailure(cancelled))
        assert.include(String(World.errorOf(cancelled)), "cancelled")

        const acts = yield* sql<{ readonly execution: string; readonly step: string }>`
        SELECT execution, step FROM parcel_act ORDER BY execution, step`
        const of = (id: string) => acts.flatMap((act) => act.execution === id ? [act.step] : [])
        assert.deepStrictEqual(of("parcel").length, new Set(of("parcel")).size)
        assert.strictEqual(of("parcel").length, delivered.round)
        assert.deepStrictEqual(of("kept"), ["Reserve", "Send"])
        assert.deepStrictEqual(of("dropped"), ["Release", "Reserve"])
      }).pipe(Effect.scoped, Effect.provide(Postgres.layer("suspended"))),
    120_000
  )
})
