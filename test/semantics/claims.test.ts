import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema } from "effect"
import { Limits, Saga, SagaEngine, SagaStore } from "effect-saga"
import { TestClock } from "effect/testing"
import { Refused, Shop, step, Stuck } from "../utils/Shop.ts"

const Order = Schema.Struct({ id: Schema.String })
const definition = Saga.make("Order", {
  payload: Order,
  success: Schema.String,
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: (order) => order.id
})
const other = Saga.make("Other", {
  payload: Order,
  success: Schema.String,
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: (order) => order.id
})
const OtherLive = other.toLayer(() => step("B"))
const Live = definition.toLayer(() => step("A"))

describe("rule 11: a claim", () => {
  it.effect("whose answer was lost is found again by its owner, and what it took runs", () =>
    Effect.gen(function*() {
      const encoded = yield* SagaStore.makeMemory
      let lost = 0
      const forgetful = SagaStore.make({
        ...encoded,
        claim: (options) =>
          Effect.flatMap(encoded.claim(options), (claimed) => {
            if (claimed.length === 0 || lost++ > 0) return Effect.succeed(claimed)
            return Effect.fail(new SagaStore.StoreError({ operation: "claim", retryable: true, cause: "no answer" }))
          })
      })
      const store = Layer.succeed(SagaStore.SagaStore, forgetful)
      const client = Layer.provide(SagaEngine.layer, store)
      const id = yield* Effect.provide(definition.start({ id: "1" }), client)
      const worker = Live.pipe(Layer.provideMerge(SagaEngine.layer), Layer.provide(store))
      const waiting = yield* Effect.forkChild(Effect.provide(definition.result(id), worker))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), "A done")
      assert.strictEqual(lost, 1)
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("that is sent ahead of what it will be run beside is found again too, where its answer is lost", () =>
    Effect.gen(function*() {
      const encoded = yield* SagaStore.makeMemory
      let claims = 0
      const forgetful = SagaStore.make({
        ...encoded,
        claim: (options) =>
          Effect.flatMap(encoded.claim(options), (claimed) => {
            if (claimed.length === 0 || ++claims !== 2) return Effect.succeed(claimed)
            return Effect.fail(new SagaStore.StoreError({ operation: "claim", retryable: true, cause: "no answer" }))
          })
      })
      const store = Layer.succeed(SagaStore.SagaStore, forgetful)
      const client = Layer.provide(SagaEngine.layer, store)
      const ids = yield* Effect.forEach(["1", "2", "3"], (id) => Effect.provide(definition.start({ id }), client))
      const worker = Live.pipe(Layer.provideMerge(SagaEngine.layer), Layer.provide(store))
      const results = Effect.forEach(ids, (id) => definition.result(id), { concurrency: "unbounded" })
      const waiting = yield* Effect.forkChild(Effect.provide(results, worker))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(waiting), ["A done", "A done", "A done"])
      assert.isAtLeast(claims, 3)
    }).pipe(Effect.provide(Shop.layer), Effect.provideService(Limits.ClaimSize, 1)))

  it.effect("that is answered when its worker has another lease is for whoever claims it next", () =>
    Effect.gen(function*() {
      const encoded = yield* SagaStore.makeMemory
      let slow = true
      let renews = true
      const slowly = SagaStore.make({
        ...encoded,
        renew: (worker, lease) => renews ? encoded.renew(worker, lease) : Effect.succeed(false),
        claim: (options) =>
          Effect.tap(encoded.claim(options), (claimed) => {
            if (claimed.length === 0 || !slow) return Effect.void
            slow = false
            renews = false
            return Effect.sleep("15 seconds")
          }),
        register: (worker, lease) =>
          Effect.tap(encoded.register(worker, lease), () =>
            Effect.sync(() => {
              renews = true
            }))
      })
      const store = Layer.succeed(SagaStore.SagaStore, slowly)
      const id = yield* Effect.provide(definition.start({ id: "1" }), Layer.provide(SagaEngine.layer, store))
      const worker = Live.pipe(Layer.provide(SagaEngine.layer), Layer.provide(store))
      yield* Effect.forkScoped(Layer.launch(worker), { startImmediately: true })
      yield* TestClock.adjust("16 seconds")
      assert.deepStrictEqual((yield* Shop).names(), [])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual((yield* Shop).names(), ["A"])
      const { appends } = yield* SagaStore.make(encoded).journal(id)
      const tags = appends.flatMap(({ entries }) => entries.map(({ _tag }) => _tag))
      assert.deepStrictEqual(tags.slice(0, 4), ["SagaStarted", "Claimed", "Claimed", "StepStarted"])
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("brings what is needed to take an execution up, or leaves it to be read", () =>
    Effect.gen(function*() {
      for (const reads of [true, false]) {
        const encoded = yield* SagaStore.makeMemory
        let asked = 0
        const counting = SagaStore.make({
          ...encoded,
          claim: (options) => encoded.claim({ ...options, reads: reads && options.reads === true }),
          read: (execution) => Effect.tap(encoded.read(execution), () => Effect.sync(() => asked++)),
          journal: (execution, after) => Effect.tap(encoded.journal(execution, after), () => Effect.sync(() => asked++))
        })
        const store = Layer.succeed(SagaStore.SagaStore, counting)
        const client = Layer.provide(SagaEngine.layer, store)
        const id = yield* Effect.provide(definition.start({ id: "1" }), client)
        asked = 0
        const worker = Live.pipe(Layer.provideMerge(SagaEngine.layer), Layer.provide(store))
        yield* Effect.forkScoped(Layer.launch(worker), { startImmediately: true })
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* encoded.read(id))?.status, "completed")
        assert.strictEqual(asked, reads ? 0 : 2)
      }
    }).pipe(Effect.provide(Shop.layer)))

  it.effect("takes no more than a process may run at once, also where several are on their way", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("A", ["hang", "hang", "hang", "hang", "hang"])
      const encoded = yield* SagaStore.makeMemory
      const store = Layer.succeed(SagaStore.SagaStore, SagaStore.make(encoded))
      const client = Layer.provide(SagaEngine.layer, store)
      yield* Effect.forEach(["1", "2", "3", "4", "5"], (id) => Effect.provide(definition.start({ id }), client))
      const worker = Live.pipe(Layer.provide(SagaEngine.layerOptions({ grace: 0 })), Layer.provide(store))
      yield* Effect.forkScoped(Layer.launch(worker), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(shop.names().length, 3)
      const rows = yield* Effect.forEach(["1", "2", "3", "4", "5"], (id) => encoded.read(`Order/${id}`))
      assert.strictEqual(rows.filter((row) => row?.worker !== null).length, 3)
    }).pipe(
      Effect.provide(Shop.layer),
      Effect.provideService(Limits.MaxLive, 3),
      Effect.provideService(Limits.ClaimSize, 2)
    ))

  it.effect("is not kept from an execution by those that the process started itself", () =>
    Effect.gen(function*() {
      const store = Layer.succeed(SagaStore.SagaStore, SagaStore.make(yield* SagaStore.makeMemory))
      const shop = yield* Shop
      shop.faults.set("B", ["hang"])
      const engine = Layer.provide(SagaEngine.layerOptions({ grace: 0 }), store)
      const orphan = yield* Effect.provide(definition.start({ id: "orphan" }), engine)
      const test = Effect.gen(function*() {
        yield* other.start({ id: "own" })
        return yield* Effect.provide(definition.result(orphan), Live)
      })
      const worker = Layer.provideMerge(OtherLive, engine)
      const waiting = yield* Effect.forkChild(Effect.provide(test, worker))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), "A done")
      assert.deepStrictEqual(shop.names(), ["B", "A"])
    }).pipe(Effect.provide(Shop.layer), Effect.provideService(Limits.MaxLive, 1)))
})
