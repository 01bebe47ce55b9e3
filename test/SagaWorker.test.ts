import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schema, Scope } from "effect"
import { Saga, SagaEngine, SagaStore, Step } from "effect-saga"
import { TestClock } from "effect/testing"
import { Refused, Shop, step, Stuck } from "./utils/Shop.ts"

const definition = Saga.make("Order", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Schema.String,
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: (order) => order.id
})
const other = Saga.make("Other", { payload: Schema.Struct({ id: Schema.String }), idempotencyKey: (_) => _.id })

/** A step that waits for a latch, and logs when it begins. */
const gated = (gate: Deferred.Deferred<void>) =>
  Step.make("Gated", {
    execute: Effect.andThen(Shop.use((_) => Effect.orDie(_.run("do", "Gated"))), Deferred.await(gate)),
    compensate: () => Effect.orDie(Shop.use((_) => _.run("undo", "Gated")))
  })

const handler = (gate: Deferred.Deferred<void>) =>
  definition.toLayer(() => Effect.andThen(Effect.andThen(step("A"), gated(gate)), step("B")))

const world = Effect.gen(function*() {
  const encoded = yield* SagaStore.makeMemory
  const store = Layer.succeed(SagaStore.SagaStore, SagaStore.make(encoded))
  const gate = yield* Deferred.make<void>()
  const shop = yield* Shop
  const worker = Layer.provideMerge(handler(gate), Layer.provide(SagaEngine.layer, store))
  /** A process: what it provides, and how it ends. */
  const process = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(worker, scope)
    return { context, stop: Scope.close(scope, Exit.void) }
  })
  return { encoded, gate, process, shop, store }
})

describe("SagaWorker", () => {
  it.effect("that shuts down lets a step in flight finish, rolls nothing back, and leaves the rest", () =>
    Effect.gen(function*() {
      const { encoded, gate, process, shop } = yield* world
      const first = yield* process
      const id = yield* Effect.provide(definition.start({ id: "1" }), first.context)
      yield* TestClock.adjust("1 second")
      const stopping = yield* Effect.forkChild(first.stop)
      yield* TestClock.adjust("1 second")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(shop.names(), ["A", "Gated"])
      const row = yield* encoded.read(id)
      assert.deepStrictEqual([row?.status, row?.worker], ["running", null])
      const second = yield* process
      const waiting = yield* Effect.forkChild(Effect.provide(definition.result(id), second.context))
      // No lease has to end: what is given back is due at once.
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(waiting), "B done")
      assert.deepStrictEqual(shop.names(), ["A", "Gated", "B"])
      yield* second.stop
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("interrupts what does not finish within the grace; it runs again elsewhere under its key", () =>
    Effect.gen(function*() {
      const { gate, process, shop } = yield* world
      const first = yield* process
      const id = yield* Effect.provide(definition.start({ id: "1" }), first.context)
      yield* TestClock.adjust("1 second")
      const stopping = yield* Effect.forkChild(first.stop)
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("11 seconds")
      yield* Fiber.join(stopping)
      yield* Deferred.succeed(gate, undefined)
      const second = yield* process
      const waiting = yield* Effect.forkChild(Effect.provide(definition.result(id), second.context))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(waiting), "B done")
      assert.deepStrictEqual(shop.names(), ["A", "Gated", "Gated", "B"])
      assert.strictEqual(shop.log[1]?.key, shop.log[2]?.key)
      yield* second.stop
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("leaves a saga alone whose handler it does not have", () =>
    Effect.gen(function*() {
      const { encoded, process } = yield* world
      const first = yield* process
      const id = yield* Effect.provide(other.start({ id: "1" }), first.context)
      yield* TestClock.adjust("1 hour")
      const row = yield* encoded.read(id)
      assert.deepStrictEqual([row?.status, row?.worker], ["running", null])
      assert.strictEqual((yield* encoded.journal(id)).length, 1)
      yield* first.stop
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("takes over what a worker owned that died, once its lease and the margin are over", () =>
    Effect.gen(function*() {
      const { encoded, gate, process, shop } = yield* world
      yield* Deferred.succeed(gate, undefined)
      yield* encoded.register("dead", 30_000)
      const [kept] = yield* encoded.append([{
        execution: "Order/1",
        seq: 0,
        token: "dead:0",
        at: 0,
        entries: JSON.stringify([{ _tag: "SagaStarted", at: 0 }]),
        create: { name: "Order", payload: JSON.stringify({ id: "1" }) },
        row: { status: "running", result: null, worker: "dead", wakeAt: null, received: 0 }
      }])
      assert.isTrue(kept)
      const first = yield* process
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(shop.names(), [])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(shop.names(), ["A", "Gated", "B"])
      yield* first.stop
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("does not spin on a store where nothing is to be done", () =>
    Effect.gen(function*() {
      const encoded = yield* SagaStore.makeMemory
      let claims = 0
      const counting = SagaStore.make({
        ...encoded,
        claim: (options) =>
          Effect.suspend(() => {
            claims++
            return encoded.claim(options)
          })
      })
      const gate = yield* Deferred.make<void>()
      const worker = handler(gate).pipe(
        Layer.provide(SagaEngine.layer),
        Layer.provide(Layer.succeed(SagaStore.SagaStore, counting))
      )
      yield* Effect.scoped(Effect.andThen(Layer.build(worker), TestClock.adjust("60 seconds")))
      assert.isAtMost(claims, 70)
      assert.isAtLeast(claims, 30)
    }).pipe(Effect.provide(Shop.layer)))
})
