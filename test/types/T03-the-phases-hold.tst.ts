import { Saga, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import { describe, expect, it } from "tstyche"
import {
  charge,
  count,
  Declined,
  Gone,
  type Payment,
  PlaceOrder,
  type Reservation,
  reserve,
  ship,
  submit
} from "./shop.ts"

describe("before the point of no return everything can be undone", () => {
  it("compensable and read-only steps", () => {
    PlaceOrder.attempt((order) => Effect.zip(reserve(order.items), count))
    PlaceOrder.toLayer((order) => Effect.as(Effect.zip(reserve(order.items), count), order.id))
  })

  it("Saga.onCommit runs after it, so it may stand before it", () => {
    PlaceOrder.toLayer((order) => Effect.as(Saga.onCommit("Tell", Effect.fail(new Gone())), order.id))
  })

  it("a retryable step is refused", () => {
    // @ts-expect-error "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
    PlaceOrder.attempt(() => ship)
    // @ts-expect-error "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
    PlaceOrder.toLayer(() => ship)
    PlaceOrder.toLayer(
      // @ts-expect-error "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
      Effect.fn(function*(order) {
        yield* reserve(order.items)
        return yield* ship
      })
    )
    // @ts-expect-error "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
    PlaceOrder.attempt((order) => Effect.all([reserve(order.items), ship], { concurrency: 2 }))
    // @ts-expect-error "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
    PlaceOrder.toLayer(() => Saga.scoped(ship))
  })

  it("a pivot is refused", () => {
    // @ts-expect-error "a pivot decides the saga: give it to .pivot(...) after .attempt(...)"
    PlaceOrder.attempt((order) => submit(order.items))
    // @ts-expect-error "a pivot decides the saga: give it to .pivot(...) after .attempt(...)"
    PlaceOrder.toLayer((order) => Effect.map(submit(order.items), (_) => _.id))
  })

  it("Saga.transact has no point of no return", () => {
    Saga.transact(reserve(1))
    // @ts-expect-error "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
    Saga.transact(ship)
    // @ts-expect-error "a pivot decides the saga: give it to .pivot(...) after .attempt(...)"
    Saga.transact(submit(1))
  })
})

describe("rule 37: one pivot decides", () => {
  it("with what the attempt made, and both are settled", () => {
    PlaceOrder
      .attempt((order) => reserve(order.items))
      .pivot((reservation, order) => {
        expect(reservation).type.toBe<Reservation>()
        return submit(order.items)
      })
      .settle(Effect.fn(function*([reservation, payment], order) {
        expect(reservation).type.toBe<Reservation>()
        expect(payment).type.toBe<Payment>()
        return `${reservation.id} ${payment.id} ${order.id} ${yield* ship}`
      }))
  })

  it("another step is refused", () => {
    const attempted = PlaceOrder.attempt((order) => reserve(order.items))
    // @ts-expect-error "this step does not decide: .pivot(...) takes a Step.pivot"
    attempted.pivot((_, order) => charge(order.items))
    // @ts-expect-error "this step does not decide: .pivot(...) takes a Step.pivot"
    attempted.pivot(() => ship)
    // @ts-expect-error "this step does not decide: .pivot(...) takes a Step.pivot"
    attempted.pivot(() => count)
  })

  it("what is made of a pivot is no pivot", () => {
    const attempted = PlaceOrder.attempt((order) => reserve(order.items))
    // @ts-expect-error is missing the following properties from type 'Step<string,
    attempted.pivot((_, order) => Effect.map(submit(order.items), (_) => _.id))
  })

  it("there is one", () => {
    const decided = PlaceOrder.attempt((order) => reserve(order.items)).pivot(() => submit(1))
    // @ts-expect-error Property 'pivot' does not exist on type 'Attempted<
    decided.pivot(() => submit(1))
  })

  it("while nobody knows what it decided nothing is undone", () => {
    Step.pivot("Submit", { execute: Effect.void, timeout: "1 second", unknown: "park" })
    Step.pivot("Submit", { execute: Effect.void, timeout: "1 second", check: () => Effect.succeed(Step.never) })
    // @ts-expect-error "while nobody knows what the pivot decided nothing may be undone: give `check`, or \"park\""
    Step.pivot("Submit", { execute: Effect.void, timeout: "1 second", unknown: "refused" })
    // @ts-expect-error "while nobody knows what the pivot decided nothing may be undone: give `check`, or \"park\""
    Step.pivot("Submit", { execute: Effect.void, unknown: "refused" })
  })
})

describe("rule 39: past the point of no return nothing fails with a declared error or is compensable", () => {
  const attempted = PlaceOrder.attempt((order) => charge(order.items))

  it("retryable and read-only steps", () => {
    attempted.settle((payment, order) => Effect.as(Effect.zip(ship, count), `${payment.id} ${order.id}`))
  })

  it("the attempt's value is typed inside a generator", () => {
    attempted.settle(Effect.fn(function*(payment) {
      expect(payment).type.toBe<Payment>()
      return payment.id
    }))
  })

  it("an error that is caught", () => {
    const failing = Step.readonly("Look", { error: Declined, execute: Effect.fail(new Declined()) })
    attempted.settle((payment) => Effect.as(Effect.catchTag(failing, "Declined", () => ship), payment.id))
  })

  it("a compensable step is refused", () => {
    // @ts-expect-error "after the point of no return nothing can be compensated: use Step.retryable"
    attempted.settle(() => Effect.map(Effect.orDie(reserve(1)), (_) => _.id))
    // @ts-expect-error "after the point of no return nothing can be compensated: use Step.retryable"
    attempted.settle(() => Effect.as(Saga.onRollback("Tell", () => Effect.void), ""))
  })

  it("a pivot is refused", () => {
    // @ts-expect-error "the point of no return is passed: there is nothing left for a pivot to decide"
    attempted.settle(() => Effect.map(Effect.orDie(submit(1)), (_) => _.id))
  })

  it("an error is refused", () => {
    // @ts-expect-error "after the point of no return nothing may fail: handle this error, or use Step.retryable"
    attempted.settle(() => Step.readonly("Look", { error: Declined, execute: Effect.fail(new Declined()) }))
    attempted.settle(
      // @ts-expect-error "after the point of no return nothing may fail: handle this error, or use Step.retryable"
      Effect.fn(function*(payment) {
        if (payment.id === "") return yield* new Gone()
        return payment.id
      })
    )
    // @ts-expect-error "after the point of no return nothing may fail: handle this error, or use Step.retryable", any>
    attempted.settle(() => Effect.fail({} as any))
  })
})
