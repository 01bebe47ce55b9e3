import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Saga, SagaEngine, Step } from "effect-saga"
import { Refused, Shop, step, Stuck } from "../utils/Shop.ts"

const definition = Saga.make("Order", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Schema.String,
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: (order) => order.id
})

/** A read that may fail, made to die instead: what the types cannot see. */
const read = Effect.orDie(Step.readonly("Read", {
  success: Schema.String,
  error: Refused,
  execute: Shop.use((_) => _.run("do", "Read"))
}))

const Live = definition.attempt(() => step("A")).settle(() => read).pipe(
  Layer.provideMerge(SagaEngine.layerMemory),
  Layer.provideMerge(Shop.layer)
)

describe("rule 39: after the point of no return", () => {
  it.effect("an orDie parks and undoes nothing", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("Read", ["refuse"])
      const error = yield* Effect.flip(definition.execute({ id: "1" }))
      const parked = error._tag === "SagaError" && error.reason._tag === "Parked" ? error.reason : undefined
      assert.strictEqual(parked?.why._tag, "Defect")
      assert.deepStrictEqual(shop.names(), ["A", "Read"])
    }).pipe(Effect.provide(Live)))
})
