/**
 * An order that waits for its payment and a parcel that is watched round by round: sagas that are almost always
 * suspended, for processes that are killed while they are. What each act does is a row under its idempotency key.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { Limits, Saga, SagaEngine, Signal, Step, Timer } from "effect-saga"
import { SqlSagaStore } from "effect-saga/sql"

export const Paid = Signal.make("Paid", { payload: Schema.String })
export const Delivered = Signal.make("Delivered", { payload: Schema.String })

/** Books an act, once for each key. */
const book = (id: string, step: string) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const key = yield* Step.idempotencyKey
    yield* sql`INSERT INTO parcel_act (key, execution, step) VALUES (${key}, ${id}, ${step}) ON CONFLICT DO NOTHING`
  }).pipe(Effect.orDie)

/** Watches until it is delivered; each round takes a second. */
export const Parcel = Saga.make("Parcel", {
  payload: Schema.Struct({ id: Schema.String, round: Schema.Int }),
  success: Schema.Struct({ by: Schema.String, round: Schema.Int }),
  idempotencyKey: ({ id }) => id
})

const ParcelLive = Parcel.attempt(() => Effect.void).settle(Effect.fn(function*(_, { id, round }) {
  const delivered = yield* Timer.timeoutOption(Signal.receive(Delivered), "round", "1 second")
  if (Option.isSome(delivered)) return { by: delivered.value, round }
  yield* Step.retryable("Tell", { execute: book(id, `round ${round}`) })
  return yield* Saga.continueAsNew({ id, round: round + 1 })
}))

/** Reserves, waits a minute for the payment, and sends. */
export const Purchase = Saga.make("Purchase", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Schema.String,
  idempotencyKey: ({ id }) => id
})

const PurchaseLive = Purchase
  .attempt(({ id }) =>
    Effect.gen(function*() {
      yield* Step.make("Reserve", { execute: book(id, "Reserve"), compensate: () => book(id, "Release") })
      yield* Timer.sleep("a moment", "1500 millis")
      return yield* Timer.timeoutOption(Signal.receive(Paid), "payment window", "1 minute")
    })
  )
  .settle((paid, { id }) =>
    Effect.as(Step.retryable("Send", { execute: book(id, "Send") }), Option.getOrElse(paid, () => "nobody"))
  )

/** Everything on a schema of a server; leases are short, since a killed process keeps its own. */
export const layer = (url: string, schema: string) => {
  const database = Layer.orDie(PgClient.layer({ url: Redacted.make(url) }))
  return Layer.merge(ParcelLive, PurchaseLive).pipe(
    Layer.provideMerge(client(url, schema)),
    Layer.provideMerge(database),
    Layer.provide(Layer.succeed(Limits.SuspendAfter, "200 millis"))
  )
}

/** The same without the handlers. */
export const client = (url: string, schema: string) =>
  SagaEngine.layerOptions({ lease: "2 seconds", margin: "200 millis", poll: "100 millis" }).pipe(
    Layer.provide(SqlSagaStore.layer({ schema })),
    Layer.provide(Layer.orDie(PgClient.layer({ url: Redacted.make(url) })))
  )
