/**
 * Transfers money by sagas, and prints each act of a participant, until it is killed. Whoever runs it again takes up
 * what is left; when all have ended it prints what the participants have.
 *
 * The participants are a table beside the journals: an act is a row under its idempotency key, so doing it again does
 * nothing. A third of the approvals are refused.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Exit, Layer, Redacted, Schema } from "effect"
import { Limits, Saga, SagaEngine, type SagaStore, Step } from "effect-saga"
import { Pglite } from "effect-saga/pglite"
import { SqlSagaStore } from "effect-saga/sql"
import { writeSync } from "node:fs"

const [, , where = "", place = "", schema = "", count = "0"] = process.argv

class Declined extends Schema.TaggedError<Declined>()("Declined", { id: Schema.String }) {}

// Not `process.stdout`: what it buffers would die with the process.
const say = (line: string): void => {
  writeSync(1, `${line}\n`)
}

/** Adds an amount to the books, once for each key. */
const book = (id: string, step: string, amount: number) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const key = yield* Step.idempotencyKey
    say(`before ${step} ${id}`)
    yield* sql`INSERT INTO act (key, execution, step, amount) VALUES (${key}, ${id}, ${step}, ${amount})
      ON CONFLICT DO NOTHING`
    say(`after ${step} ${id}`)
  }).pipe(Effect.orDie)

const Transfer = Saga.make("Transfer", {
  payload: Schema.Struct({ id: Schema.String }),
  error: Declined,
  idempotencyKey: ({ id }) => id
})

const Live = Transfer
  .attempt(({ id }) =>
    Effect.all([
      Step.make("Debit", { execute: book(id, "Debit", -10), compensate: () => book(id, "Undo debit", 10) }),
      Step.make("Credit", { execute: book(id, "Credit", 10), compensate: () => book(id, "Undo credit", -10) })
    ], { concurrency: Number(id) % 2 + 1 })
  )
  .pivot((_, { id }) =>
    Step.pivot("Approve", {
      error: Declined,
      execute: Number(id) % 3 === 0 ? Effect.fail(new Declined({ id })) : book(id, "Approve", 0)
    })
  )
  .settle((_, { id }) => Step.retryable("Notify", { execute: book(id, "Notify", 0) }))

const database = where === "folder"
  ? Layer.orDie(Pglite.layer({ dataDir: place }))
  : Layer.orDie(PgClient.layer({ url: Redacted.make(place) }))
const store: Layer.Layer<SagaStore.SagaStore, SagaStore.StoreError, PgClient.PgClient> = SqlSagaStore.layer(
  where === "folder" ? { exclusive: true } : { schema }
)
const engine = Live.pipe(
  // The folder's lock proves that others are dead; on a server their leases have to end.
  Layer.provideMerge(SagaEngine.layerOptions({
    lease: where === "folder" ? "30 seconds" : "2 seconds",
    margin: "200 millis",
    poll: "100 millis"
  })),
  Layer.provide(store),
  Layer.provideMerge(database)
)

await Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`CREATE TABLE IF NOT EXISTS act (key text PRIMARY KEY, execution text, step text, amount int)`
  say("ready")
  const ids = Array.from({ length: Number(count) }, (_, index) => String(index + 1))
  const ended = yield* Effect.forEach(
    ids,
    (id) =>
      Effect.map(Effect.exit(Transfer.execute({ id })), (exit) => [
        id,
        Exit.isSuccess(exit) ? "completed" : "rolled back",
        Exit.isSuccess(exit) ? "" : String(exit.cause)
      ]),
    { concurrency: "unbounded" }
  )
  const acts = yield* sql`SELECT execution, step, amount FROM act ORDER BY execution, step`
  say(`result ${JSON.stringify({ ended, acts })}`)
}).pipe(
  Effect.provide(engine),
  // Processes that are killed at once are the point here, not a step that kills them.
  Effect.provideService(Limits.MaxClaims, 100),
  Effect.runPromise
)
