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
