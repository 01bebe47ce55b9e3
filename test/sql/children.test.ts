/**
 * Children between processes on one PostgreSQL: parents in one, their children in another, and both may go.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, Scope } from "effect"
import { Limits, Saga, SagaEngine, SagaStore, Step, Timer } from "effect-saga"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import * as Postgres from "../utils/Postgres.ts"
import { Refused } from "../utils/Shop.ts"

const Child = Saga.make("Child", {
  payload: Schema.Struct({ n: Schema.Int, refuses: Schema.Boolean }),
  success: Schema.Int,
  error: Refused,
  idempotencyKey: () => "of its parent"
})

const Parent = Saga.make("Parent", {
  payload: Schema.Struct({ id: Schema.String, refuses: Schema.Boolean }),
  success: Schema.Int,
  error: Refused,
  idempotencyKey: (_) => _.id
})

const undone: Array<string> = []

/** Ten children at once, of which the last may refuse while the others still wait. */
const Parents = Parent.toLayer(({ id, refuses }) =>
  Effect.map(
    Effect.forEach(
      Array.from({ length: 10 }, (_, n) => n),
      (n) =>
        Saga.child(Child, { n, refuses: refuses && n === 9 }, {
          name: `child ${n}`,
          onParentRollback: () => Effect.sync(() => void undone.push(`${id} ${n}`))
        }),
      { concurrency: "unbounded" }
    ),
    (all) => all.reduce((sum, n) => sum + n, 0)
  )
)

const Children = Child.toLayer(({ n, refuses }) =>
  Effect.gen(function*() {
    yield* Step.make("A", { execute: Effect.void, compensate: () => Effect.void })
    yield* Timer.sleep("a while", n < 5 ? "10 millis" : "1 second")
    yield* Step.make("B", {
      error: Refused,
      execute: refuses ? Effect.fail(new Refused({ step: "B" })) : Effect.void,
      compensate: () => Effect.void
    })
    return n
  })
)

const settings = { lease: "2 seconds", margin: "200 millis", poll: "100 millis", grace: "100 millis" } as const

const onPostgres = Layer.unwrap(Effect.map(Postgres.Postgres, ({ schema }) => SqlSagaStore.layer({ schema }))).pipe(
  Layer.provide(Postgres.layer("children"))
)

/** A process of its own; `stop` ends it as a shutdown does. */
const open = Effect.fnUntraced(function*(handlers: Layer.Layer<never, never, SagaEngine.SagaEngine>) {
  const store = yield* SagaStore.SagaStore
  const scope = yield* Scope.make()
  const engine = SagaEngine.layerOptions(settings).pipe(
    Layer.provide(Layer.succeed(SagaStore.SagaStore, store)),
    Layer.provide(Layer.succeed(Limits.SuspendAfter, "300 millis"))
  )
  const context = yield* Layer.buildWithScope(Layer.provideMerge(handlers, Layer.fresh(engine)), scope)
  return {
    use: <A, E>(effect: Effect.Effect<A, E, SagaEngine.SagaEngine>) => Effect.provideContext(effect, context as never),
    stop: Scope.close(scope, Exit.void)
  }
})

layer(Layer.orDie(onPostgres as Layer.Layer<SagaStore.SagaStore, unknown>), { excludeTestServices: true })(
  "children on PostgreSQL",
  (it) => {
    it.effect(
      "end in one process and are heard of in another, also when processes go meanwhile",
      () =>
        Effect.gen(function*() {
          const store = (yield* SagaStore.SagaStore).encoded
          const first = yield* open(Layer.merge(Parents, Children))
          const parents = yield* open(Parents)
          const children = yield* open(Children)
          const start = (id: number) => parents.use(Parent.start({ id: `${id}`, refuses: id % 2 === 1 }))
          const ids = yield* Effect.forEach(Array.from({ length: 12 }, (_, id) => id), start, {
            concurrency: "unbounded"
          })
          yield* Effect.sleep("300 millis")
          yield* first.stop
          const exits = yield* Effect.forEach(
            ids,
            (id) => Effect.exit(children.use(Parent.result(id))),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            exits.map((exit) => Exit.isSuccess(exit) ? exit.value : "refused"),
            ids.map((_, id) => id % 2 === 0 ? 45 : "refused")
          )
          // Of a parent that rolled back, those that had completed were undone, and the others have undone themselves.
          for (const [index, id] of ids.entries()) {
            const { length: completed } = yield* Effect.filter(
              Array.from({ length: 10 }, (_, n) => n),
              (n) => Effect.map(store.read(`Child/${id}/0/child ${n}/${n}:0`), (row) => row?.status === "completed")
            )
            const undoings = new Set(undone.filter((_) => _.startsWith(`${index} `))).size
            assert.strictEqual(undoings, index % 2 === 0 ? 0 : completed)
            assert.deepStrictEqual(yield* store.inbox(id, 0), [])
          }
          assert.deepStrictEqual(
            (yield* store.stats).filter(({ status }) => !["completed", "rolledback"].includes(status)),
            []
          )
          yield* parents.stop
          yield* children.stop
        }),
      60_000
    )
  }
)
