import { Saga, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import { describe, expect, it } from "tstyche"
import { charge, Inventory, PlaceOrder, reserve, ship } from "./shop.ts"

describe("rule 38: a service that the body asks for is used inside a step", () => {
  it("a body of steps and pure code", () => {
    PlaceOrder.toLayer(Effect.fn(function*(order) {
      yield* Effect.log("reserving")
      const reservation = yield* reserve(order.items)
      return reservation.id
    }))
  })

  it("outside of one it is refused, by name", () => {
    // @ts-expect-error "this service is used outside of a step, so its effect would not be journaled", Inventory>
    PlaceOrder.toLayer(() => Effect.as(Inventory.use((_) => _.release("1")), ""))
    PlaceOrder.toLayer(
      // @ts-expect-error "this service is used outside of a step, so its effect would not be journaled", Inventory>
      Effect.fn(function*(order) {
        const payment = yield* charge(order.items)
        yield* Inventory.use((_) => _.release(payment.id))
        return payment.id
      })
    )
    PlaceOrder.attempt((order) => reserve(order.items)).settle(
      // @ts-expect-error "this service is used outside of a step, so its effect would not be journaled", Inventory>
      (reservation) => Effect.andThen(Inventory.use((_) => _.release(reservation.id)), ship)
    )
  })

  it("a resource of the body's own is refused", () => {
    const lock = Effect.acquireRelease(Effect.succeed("lock"), () => Effect.void)
    // @ts-expect-error "this service is used outside of a step, so its effect would not be journaled", Scope>
    PlaceOrder.toLayer(() => lock)
    PlaceOrder.toLayer(() => Effect.scoped(lock))
  })

  it("any and unknown are no requirements", () => {
    const any = Effect.succeed("") as Effect.Effect<string, never, any>
    const unknown = Effect.succeed("") as Effect.Effect<string, never, unknown>
    // @ts-expect-error "the requirements of this body are any or unknown, so nothing is known about its steps"
    PlaceOrder.toLayer(() => any)
    // @ts-expect-error "the requirements of this body are any or unknown, so nothing is known about its steps"
    PlaceOrder.toLayer(() => unknown)
    // @ts-expect-error "the requirements of this body are any or unknown, so nothing is known about its steps"
    PlaceOrder.attempt(() => reserve(1)).settle(() => any)
    // @ts-expect-error "the requirements of this body are any or unknown, so nothing is known about its steps"
    Saga.transact(any)
    // @ts-expect-error "the requirements of a step are any or unknown: say which services it uses"
    Step.make("Any", { execute: Effect.asVoid(any), compensate: () => Effect.void })
    // @ts-expect-error "the requirements of a step are any or unknown: say which services it uses"
    Step.make("Any", { execute: Effect.void, compensate: () => any })
    // @ts-expect-error "the requirements of a step are any or unknown: say which services it uses"
    Step.retryable("Any", { execute: Effect.asVoid(any) })
    // @ts-expect-error "the requirements of a step are any or unknown: say which services it uses"
    PlaceOrder.toLayer((): Step.Compensable<"Any", string, never, any> => ({}) as never)
  })
})

describe("what a step knows about itself", () => {
  it("in execute, check and compensate, and it is provided there", () => {
    const step = Step.make("Lock", {
      execute: Effect.asVoid(Effect.all([Step.idempotencyKey, Step.attempt, Step.epoch])),
      timeout: "1 second",
      check: () => Effect.as(Step.idempotencyKey, Step.stillGoing),
      compensate: () => Step.idempotencyKey
    })
    expect(step).type.toBe<Step.Compensable<"Lock", void, Step.TimedOut>>()
  })

  it("a scope of its own too", () => {
    const step = Step.readonly("Lock", { execute: Effect.acquireRelease(Effect.void, () => Effect.void) })
    expect(step).type.toBe<Step.Readonly<"Lock", void>>()
  })

  it("in the body it is refused", () => {
    // @ts-expect-error "this service is used outside of a step, so its effect would not be journaled", StepContext>
    PlaceOrder.toLayer(() => Step.idempotencyKey)
  })
})
