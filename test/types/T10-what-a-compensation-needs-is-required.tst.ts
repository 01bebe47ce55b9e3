import { Saga, type SagaEngine, Step } from "effect-saga"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { Carrier, charge, Inventory, Payments, PlaceOrder, type Refunds, reserve, ship, submit } from "./shop.ts"

describe("the services of a saga's steps are required by its layer", () => {
  it("those that only a compensation uses too", () => {
    const layer = PlaceOrder.toLayer((order) => Effect.map(charge(order.items), (_) => _.id))
    expect(layer).type.toBe<Layer.Layer<never, never, SagaEngine.SagaEngine | Payments | Refunds>>()
  })

  it("through whatever composes the steps", () => {
    const layer = PlaceOrder
      .attempt(Effect.fn(function*(order) {
        const steps = yield* Effect.all({ a: reserve(order.items), b: charge(order.items) }, { concurrency: 2 })
        yield* Effect.forEach([1, 2], (n) => Effect.catchTag(reserve(n), "OutOfStock", () => Effect.void))
        return steps
      }))
      .settle(() => ship)
    expect(layer).type.toBe<
      Layer.Layer<never, never, SagaEngine.SagaEngine | Inventory | Payments | Refunds | Carrier>
    >()
  })

  it("those of the pivot", () => {
    const layer = PlaceOrder.attempt(() => reserve(1)).pivot(() => submit(1)).settle(() => ship)
    expect(layer).type.toBe<Layer.Layer<never, never, SagaEngine.SagaEngine | Inventory | Payments | Carrier>>()
  })

  it("those of Saga.onRollback and Saga.onCommit", () => {
    const layer = PlaceOrder.toLayer(() =>
      Saga.onRollback("Release", () => Inventory.use((_) => _.release("1"))).pipe(
        Effect.andThen(Saga.onCommit("Ship", Carrier.use((_) => _.ship))),
        Effect.as("")
      )
    )
    expect(layer).type.toBe<Layer.Layer<never, never, SagaEngine.SagaEngine | Inventory | Carrier>>()
  })

  it("a forgotten one is refused where the layer is run", () => {
    const layer = PlaceOrder.toLayer((order) => Effect.map(charge(order.items), (_) => _.id))
    const provided = layer.pipe(
      Layer.provide(Layer.succeed(Payments, {} as Payments["Service"])),
      Layer.provide({} as Layer.Layer<SagaEngine.SagaEngine>)
    )
    // @ts-expect-error Type 'Refunds' is not assignable to type 'never'
    void Effect.runPromise(Effect.scoped(Layer.build(provided)))
  })
})

describe("rule 37: the services of schemas are required", () => {
  class Reader extends Context.Service<Reader, {}>()("Reader") {}
  class Writer extends Context.Service<Writer, {}>()("Writer") {}
  const Sealed = {} as Schema.Codec<string, string, Reader, Writer>
  const execute = Effect.succeed("")

  it("of every kind of step, for both directions", () => {
    expect(Step.make("A", { success: Sealed, execute, compensate: () => Effect.void })).type.toBe<
      Step.Compensable<"A", string, never, Reader | Writer>
    >()
    expect(Step.readonly("A", { success: Sealed, execute })).type.toBe<
      Step.Readonly<"A", string, never, Reader | Writer>
    >()
    expect(Step.retryable("A", { success: Sealed, execute })).type.toBe<
      Step.Retryable<"A", string, Reader | Writer>
    >()
    expect(Step.retryable("A", { error: Sealed, execute: Effect.fail("") })).type.toBe<
      Step.Retryable<"A", void, Reader | Writer>
    >()
    expect(Step.pivot("A", { error: Sealed, execute: Effect.fail("") })).type.toBe<
      Step.Pivot<"A", void, string, Reader | Writer>
    >()
  })

  it("of a saga: the one who starts it writes the payload, the one who runs it reads it", () => {
    const Secret = Saga.make("Secret", { payload: Sealed, idempotencyKey: (id) => id })
    expect(Secret.start("1")).type.toBeAssignableTo<
      Effect.Effect<unknown, unknown, SagaEngine.SagaEngine | Writer>
    >()
    expect(Secret.toLayer(() => Effect.void)).type.toBe<Layer.Layer<never, never, SagaEngine.SagaEngine | Reader>>()
    expect<Effect.Services<ReturnType<typeof Secret.start>>>().type.toBe<SagaEngine.SagaEngine | Writer>()
  })

  it("and none for schemas without services", () => {
    expect<Effect.Services<ReturnType<typeof PlaceOrder.execute>>>().type.toBe<SagaEngine.SagaEngine>()
  })
})
