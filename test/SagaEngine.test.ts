import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema } from "effect"
import { Saga, SagaEngine, SagaStore } from "effect-saga"
import { TestClock } from "effect/testing"
import { Refused, Shop, step, Stuck } from "./utils/Shop.ts"

const definition = Saga.make("Order", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Schema.String,
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: (order) => order.id
})

const Live = definition.toLayer(Effect.fn(function*(order) {
  yield* step("A")
  yield* step("B")
  return `${order.id} shipped`
}))

const InMemory = Live.pipe(Layer.provideMerge(SagaEngine.layerMemory), Layer.provideMerge(Shop.layer))

/** Engines on one store, as processes on one database. */
const shared = Effect.map(
  SagaStore.makeMemory,
  (encoded) => Layer.succeed(SagaStore.SagaStore, SagaStore.make(encoded))
)

describe("SagaEngine", () => {
  it.effect("runs the steps of a saga in order and answers its result", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      assert.strictEqual(yield* definition.execute({ id: "1" }), "1 shipped")
      assert.deepStrictEqual(shop.names(), ["A", "B"])
    }).pipe(Effect.provide(InMemory)))

  it.effect("undoes what happened, in reverse, and fails with the saga's own error", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("B", ["refuse"])
      assert.deepStrictEqual(yield* Effect.flip(definition.execute({ id: "1" })), new Refused({ step: "B" }))
      assert.deepStrictEqual(shop.names(), ["A", "B", "undo A"])
    }).pipe(Effect.provide(InMemory)))

  it.effect("names an execution by tag and key, before and after it is started", () =>
    Effect.gen(function*() {
      const id = definition.executionId({ id: "1/2" })
      assert.strictEqual(id, "Order/1/2")
      assert.strictEqual(yield* definition.start({ id: "1/2" }), id)
    }).pipe(Effect.provide(InMemory)))

  it.effect("without the handler starts, polls and waits, while a process with the handler works", () =>
    Effect.gen(function*() {
      const store = yield* shared
      const client = Layer.provide(SagaEngine.layer, store)
      const worker = Live.pipe(Layer.provide(SagaEngine.layer), Layer.provide(store))
      yield* Effect.gen(function*() {
        const id = yield* definition.start({ id: "1" })
        assert.deepStrictEqual(yield* definition.poll(id), { _tag: "Running", pivotPassed: false })
        const waiting = yield* Effect.forkChild(definition.result(id))
        yield* Layer.build(worker)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* Fiber.join(waiting), "1 shipped")
        assert.deepStrictEqual(yield* definition.poll(id), { _tag: "Completed", value: "1 shipped" })
      }).pipe(Effect.provide(client), Effect.scoped)
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("without the handler cancels what another process runs", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      const store = yield* shared
      shop.faults.set("A", ["hang"])
      const client = Layer.provide(SagaEngine.layer, store)
      yield* Effect.gen(function*() {
        const id = yield* definition.start({ id: "1" })
        yield* definition.cancel(id, { reason: "changed my mind" })
        yield* Layer.build(Live.pipe(Layer.provide(SagaEngine.layer), Layer.provide(store)))
        yield* TestClock.adjust("5 seconds")
        const error = yield* Effect.flip(definition.result(id))
        assert.strictEqual(error._tag === "SagaError" ? error.reason._tag : error._tag, "Cancelled")
        assert.deepStrictEqual(shop.names(), [])
      }).pipe(Effect.provide(client), Effect.scoped)
    }).pipe(Effect.provide(Shop.layer)))
})
