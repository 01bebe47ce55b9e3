import { Saga, type SagaError, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import {
  charge,
  count,
  type Declined,
  Gone,
  type Inventory,
  OutOfStock,
  type Payments,
  PlaceOrder,
  type RefundRejected,
  Refunds,
  Reservation,
  reserve
} from "./shop.ts"

const compensate = () => Effect.void

describe("a step runs in a saga's body", () => {
  it("or in Saga.transact, which leaves the services and what can be left undone", () => {
    const program = Saga.transact(Effect.zip(reserve(1), Saga.onCommit("Tell", Effect.fail(new Gone()))))
    expect<Effect.Services<typeof program>>().type.toBe<Inventory>()
    expect<Effect.Error<typeof program>>().type.toBe<OutOfStock | SagaError.SagaError<never>>()
    const failing = Saga.transact(Effect.andThen(Refunds, charge(1)))
    expect<Effect.Services<typeof failing>>().type.toBe<Payments | Refunds>()
    expect<Effect.Error<typeof failing>>().type.toBe<Declined | Step.TimedOut | SagaError.SagaError<RefundRejected>>()
  })

  it("alone it does not run", () => {
    // @ts-expect-error Type 'Execution' is not assignable to type 'never'
    void Effect.runPromise(reserve(1))
  })
})

describe("rule 37: not in another step", () => {
  it("in execute", () => {
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.make("Outer", { success: Reservation, error: OutOfStock, execute: reserve(1), compensate })
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.readonly("Outer", { success: Schema.Number, execute: count })
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.retryable("Outer", { success: Schema.Number, execute: count })
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.pivot("Outer", { success: Schema.Number, execute: Effect.map(count, (n) => n + 1) })
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.make("Outer", { execute: Saga.onRollback("Inner", () => Effect.void), compensate })
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.readonly("Outer", { execute: Saga.scoped(Effect.void) })
  })

  it("in check", () => {
    Step.make("Outer", {
      execute: Effect.void,
      timeout: "1 second",
      // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
      check: () => Effect.as(count, Step.never),
      compensate
    })
  })

  it("in compensate", () => {
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.make("Outer", { execute: Effect.void, compensate: () => count })
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Saga.onRollback("Outer", () => count)
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Saga.onCommit("Outer", count)
  })

  it("nor behind an annotation", () => {
    type Nested = Effect.Services<typeof count>
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    PlaceOrder.toLayer((): Step.Compensable<"Outer", string, never, Nested> => ({}) as never)
  })
})
