import { Saga, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { charge, Gone, Order, PlaceOrder, RefundRejected, reserve, Strict } from "./shop.ts"

const idempotencyKey = (order: typeof Order.Type) => order.id
const Timed = Saga.make("Timed", { payload: Order, compensationError: Step.TimedOut, idempotencyKey })
const Both = Saga.make("Both", {
  payload: Order,
  compensationError: Schema.Union([RefundRejected, Gone]),
  idempotencyKey
})

const either = Step.make("Either", {
  execute: Effect.void,
  compensate: () => Effect.fail(new Gone() as Gone | RefundRejected)
})
const slow = Step.make("Slow", {
  execute: Effect.void,
  compensate: () => Effect.void,
  compensation: { timeout: "1 second", retry: Schedule.recurs(3) }
})

describe("a compensation that can fail is declared by the saga", () => {
  it("one that cannot fail needs no declaration", () => {
    Strict.toLayer((order) => Effect.map(reserve(order.items), (_) => _.id))
  })

  it("the type says which step can be left undone, and by what", () => {
    expect(charge(1)).type.toBeAssignableTo<Step.Step<"Charge", unknown, unknown, unknown>>()
    expect<Extract<Effect.Services<ReturnType<typeof charge>>, Step.Residue<string, RefundRejected>>>().type.toBe<
      Step.Residue<"Charge", RefundRejected>
    >()
    PlaceOrder.toLayer((order) => Effect.map(charge(order.items), (_) => _.id))
  })

  it("each of several errors", () => {
    Both.toLayer(() => either)
  })

  it("the timeout of a compensation is one of its errors", () => {
    Timed.toLayer(() => slow)
    expect(slow).type.toBe<Step.Compensable<"Slow", void, never, never, Step.TimedOut>>()
  })

  it("Saga.onRollback is one too", () => {
    Both.toLayer(() => Saga.onRollback("Tell", () => Effect.fail(new Gone())))
    Strict.toLayer(() => Effect.as(Saga.onRollback("Tell", () => Effect.void), "told"))
  })

  it("what a body composes keeps what can be left undone", () => {
    const all = Effect.all([charge(1), reserve(1)], { concurrency: "unbounded" })
    expect<Extract<Effect.Services<typeof all>, Step.Residue<string, unknown>>>().type.toBe<
      Step.Residue<"Charge", RefundRejected>
    >()
    const each = Effect.forEach([1, 2], (n) => charge(n))
    expect<Effect.Services<typeof each>>().type.toBe<Effect.Services<ReturnType<typeof charge>>>()
    const caught = charge(1).pipe(Effect.map((_) => _.id), Effect.catchTag("TimedOut", () => Effect.succeed("late")))
    expect<Effect.Services<typeof caught>>().type.toBe<Effect.Services<ReturnType<typeof charge>>>()
    const scoped = Saga.scoped(charge(1))
    expect<Effect.Services<typeof scoped>>().type.toBe<Effect.Services<ReturnType<typeof charge>>>()
  })
})

describe("one that is not declared is refused, with the step and the error", () => {
  it("in an arrow, in a generator, in a pipe", () => {
    // @ts-expect-error in compensationError", { readonly step: "Charge"; readonly error: RefundRejected; }
    Strict.toLayer((order) => Effect.map(charge(order.items), (_) => _.id))
    Strict.toLayer(
      // @ts-expect-error in compensationError", { readonly step: "Charge"; readonly error: RefundRejected; }
      Effect.fn(function*(order) {
        const payment = yield* charge(order.items)
        return payment.id
      })
    )
    Strict.attempt(
      // @ts-expect-error in compensationError", { readonly step: "Charge"; readonly error: RefundRejected; }
      (order) => Effect.all([reserve(order.items), charge(order.items)]).pipe(Effect.map(([, payment]) => payment.id))
    )
  })

  it("only the undeclared one of several is named", () => {
    // @ts-expect-error compensationError", { readonly step: "Either"; readonly error: Gone; }>
    PlaceOrder.toLayer(() => Effect.as(either, ""))
  })

  it("catching the step's own error does not take its compensation away", () => {
    // @ts-expect-error { readonly step: "Charge"; readonly error: RefundRejected; }
    Strict.toLayer(() => charge(1).pipe(Effect.map((_) => _.id), Effect.catch(() => Effect.succeed(""))))
    // @ts-expect-error { readonly step: "Charge"; readonly error: RefundRejected; }
    Strict.toLayer(() => Saga.scoped(charge(1)).pipe(Effect.as("")))
  })

  it("a timeout of the compensation", () => {
    // @ts-expect-error compensationError", { readonly step: "Slow"; readonly error: TimedOut; }>
    Strict.toLayer(() => Effect.as(slow, ""))
  })

  it("Saga.onRollback", () => {
    // @ts-expect-error compensationError", { readonly step: "Tell"; readonly error: Gone; }>
    Strict.toLayer(() => Effect.as(Saga.onRollback("Tell", () => Effect.fail(new Gone())), ""))
  })

  it("any is no declaration, nor is unknown", () => {
    const error: unknown = undefined
    const any = Step.make("Any", { execute: Effect.void, compensate: () => Effect.fail(new Gone() as any) })
    const unknown = Step.make("Unknown", { execute: Effect.void, compensate: () => Effect.fail(error) })
    // @ts-expect-error "the error of a compensation is any or unknown: say what it can fail with"
    Both.toLayer(() => any)
    // @ts-expect-error "the error of a compensation is any or unknown: say what it can fail with"
    Both.toLayer(() => unknown)
    // @ts-expect-error "the error of a compensation is any or unknown: say what it can fail with"
    Saga.transact(any)
  })
})
