import { Saga, type SagaEngine, type SagaError, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { charge, type Declined, Gone, Order, OutOfStock, Payment, PlaceOrder, RefundRejected, reserve } from "./shop.ts"

const Only = Saga.make("Only", {
  payload: Order,
  error: OutOfStock,
  compensationError: RefundRejected,
  idempotencyKey: (order) => order.id
})

describe("a saga fails with what it declares", () => {
  it("with less too", () => {
    PlaceOrder.toLayer((order) => Effect.map(reserve(order.items), (_) => _.id))
  })

  it("an error that is caught is none", () => {
    Only.toLayer((order) =>
      Effect.asVoid(Effect.catchTag(charge(order.items), ["Declined", "TimedOut"], () => reserve(1)))
    )
  })

  it("what it declares is what its callers see, with SagaError", () => {
    const run = PlaceOrder.execute({ id: "1", items: 1 })
    expect(run).type.toBe<
      Effect.Effect<
        string,
        OutOfStock | Declined | Step.TimedOut | SagaError.SagaError<RefundRejected>,
        SagaEngine.SagaEngine
      >
    >()
  })

  it("literals", () => {
    const Literal = Saga.make("Literal", {
      payload: Order,
      success: Schema.Literals(["sent", "kept"]),
      error: Schema.Literals(["gone", "late"]),
      idempotencyKey: (order) => order.id
    })
    Literal.toLayer((order) => order.id === "" ? Effect.fail("gone") : Effect.succeed("sent"))
  })
})

describe("another error is refused", () => {
  it("of the body", () => {
    // @ts-expect-error "the body can fail with an error that the saga does not declare in error", Gone>
    Only.toLayer(() => Effect.fail(new Gone()))
    // @ts-expect-error "the body can fail with an error that the saga does not declare in error",
    Only.toLayer((order) => Effect.asVoid(charge(order.items)))
    // @ts-expect-error "the error of this body is any: say what it can fail with"
    Only.toLayer(() => Effect.fail({} as any))
    // @ts-expect-error "the error of this body is any: say what it can fail with"
    Only.attempt(() => Effect.fail({} as any))
  })

  it("of the pivot", () => {
    Only.attempt(() => reserve(1)).pivot(() =>
      // @ts-expect-error "the body can fail with an error that the saga does not declare in error", Gone>
      Step.pivot("Submit", { success: Payment, error: Gone, execute: Effect.fail(new Gone()) })
    )
  })

  it("a literal that is not among the declared ones", () => {
    const Literal = Saga.make("Literal", { payload: Order, error: Schema.Literals(["gone"]), idempotencyKey: () => "" })
    // @ts-expect-error "the body can fail with an error that the saga does not declare in error", "late">
    Literal.toLayer(() => Effect.fail("late"))
  })

  it("and another result", () => {
    // @ts-expect-error Type 'number' is not assignable to type 'string'
    PlaceOrder.toLayer(() => Effect.succeed(1))
  })
})
