/**
 * Signals between processes on one PostgreSQL: a client without handlers, two workers, one of which dies.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, Scope } from "effect"
import { Limits, Saga, SagaEngine, SagaInspector, SagaStore, Signal, Step } from "effect-saga"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import * as Postgres from "../utils/Postgres.ts"

const Paid = Signal.make("Paid", { payload: Schema.Number })
const Note = Signal.make("Note", { payload: Schema.String })

const definition = Saga.make("Order", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Schema.Array(Schema.Number),
  idempotencyKey: (order) => order.id
})

/** Three payments, a step after each. */
const Live = definition.toLayer(() =>
  Effect.forEach(
    [1, 2, 3],
    (n) =>
      Effect.tap(Signal.receive(Paid), () =>
        Step.make(`Book ${n}`, { execute: Effect.void, compensate: () => Effect.void }))
  )
)

const settings = { lease: "2 seconds", margin: "200 millis", poll: "200 millis", grace: "100 millis" } as const

const onPostgres = Layer.unwrap(Effect.map(Postgres.Postgres, ({ schema }) => SqlSagaStore.layer({ schema }))).pipe(
  Layer.provide(Postgres.layer("signals"))
)

/** A process of its own; `stop` ends it as a shutdown does. */
const open = Effect.fnUntraced(function*(handlers: boolean) {
  const store = yield* SagaStore.SagaStore
  const scope = yield* Scope.make()
  const engine = SagaEngine.layerOptions(settings).pipe(
    Layer.provide(Layer.succeed(SagaStore.SagaStore, store)),
    Layer.provide(Layer.succeed(Limits.SuspendAfter, "300 millis"))
  )
  const context = yield* Layer.buildWithScope(handlers ? Layer.provideMerge(Live, Layer.fresh(engine)) : engine, scope)
  return {
    use: <A, E>(effect: Effect.Effect<A, E, SagaEngine.SagaEngine>) => Effect.provideContext(effect, context as never),
    stop: Scope.close(scope, Exit.void)
  }
})

layer(Layer.orDie(onPostgres as Layer.Layer<SagaStore.SagaStore, unknown>), { excludeTestServices: true })(
  "signals on PostgreSQL",
  (it) => {
    it.effect(
      "reach executions in other processes exactly once, also when a process goes and they are asleep",
      () =>
        Effect.gen(function*() {
          const client = yield* open(false)
          const first = yield* open(true)
          const second = yield* open(true)
          const orders = Array.from({ length: 20 }, (_, n) => ({ id: `${n}` }))
          const ids = yield* Effect.forEach(
            orders,
            (order) => client.use(definition.startWithSignal(order, Paid, 1, { key: "1" })),
            { concurrency: "unbounded" }
          )
          const send = (amount: number) =>
            Effect.forEach(ids, (id) =>
              // The last payment ends it: nothing else is accepted then.
              Effect.andThen(
                client.use(definition.signal(id, Note, "by the way")),
                Effect.all([
                  client.use(definition.signal(id, Paid, amount, { key: `${amount}` })),
                  client.use(definition.signal(id, Paid, amount, { key: `${amount}` }))
                ], { concurrency: "unbounded" })
              ), { concurrency: 4 })
          yield* send(2)
          yield* Effect.sleep("1 second")
          yield* first.stop
          yield* send(3)
          const results = yield* Effect.forEach(ids, (id) => client.use(definition.result(id)), {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(results, orders.map(() => [1, 2, 3]))
          yield* Effect.sleep("1 second")
          const inspector = yield* SagaInspector.make
          for (const id of ids) {
            const { signals, summary, unread } = yield* inspector.get(id)
            assert.deepStrictEqual(unread, [])
            assert.deepStrictEqual([summary.mail, summary.received], [5, 5])
            assert.deepStrictEqual(
              signals.map(({ signal, status }) => `${signal} ${status}`).toSorted(),
              ["Note undelivered", "Note undelivered", "Paid received", "Paid received", "Paid received"]
            )
          }
          const late = yield* Effect.flip(client.use(definition.signal(ids[0]!, Paid, 4)))
          assert.strictEqual(late.reason._tag, "NotAccepting")
          yield* Effect.all([second.stop, client.stop])
        }),
      60_000
    )
  }
)
