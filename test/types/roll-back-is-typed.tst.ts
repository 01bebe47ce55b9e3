import { Saga, type SagaEngine, Step, Timer } from "effect-saga"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import {
  Carrier,
  Gone,
  Inventory,
  Order,
  OutOfStock,
  Payments,
  PlaceOrder,
  RefundRejected,
  Refunds,
  Reservation,
  reserve,
  ship,
  Strict
} from "./shop.ts"

const idempotencyKey = (order: typeof Order.Type) => order.id

describe("Saga.rollback", () => {
  it("is asked before the point of no return, and answers names", () => {
    const undone = Saga.rollback("Reserve", "Charge")
    expect<Effect.Success<typeof undone>>().type.toBe<ReadonlyArray<string>>()
    expect<Effect.Error<typeof undone>>().type.toBe<never>()
    Strict.toLayer((order) => Effect.as(Effect.andThen(reserve(order.items), Saga.rollback("Reserve")), "done"))
    // @ts-expect-error "after the point of no return nothing can be compensated: use Step.retryable"
    PlaceOrder.attempt(() => reserve(1)).settle(() => Effect.andThen(Saga.rollback("Reserve"), ship))
  })

  it("what has happened may be asked anywhere", () => {
    PlaceOrder.attempt(() => Saga.isExecuted("Reserve")).settle(() => Effect.as(Saga.executedSteps, "done"))
  })
})

describe("a durable wait", () => {
  const day = Timer.sleep("a day", "1 day")

  it("belongs in a body, before and after the point of no return", () => {
    PlaceOrder.attempt(() => day).settle(() => Effect.andThen(Timer.sleepUntil("new year", 1_800_000_000_000), ship))
    Strict.toLayer(() => Effect.as(day, ""))
  })

  it("and in a compensation, where it needs nothing", () => {
    const step = Step.make("Wait", { execute: Effect.void, compensate: () => Effect.andThen(day, Effect.void) })
    expect(step).type.toBe<Step.Compensable<"Wait", void>>()
    Strict.toLayer(() => Effect.as(Saga.onRollback("Wait", () => day), ""))
  })

  it("not in a step, nor in a check", () => {
    // @ts-expect-error "a durable wait cannot be part of a step: yield it in the saga's body, or in a compensation"
    Step.make("Wait", { execute: day, compensate: () => Effect.void })
    // @ts-expect-error "a durable wait cannot be part of a step: yield it in the saga's body, or in a compensation"
    Step.retryable("Wait", { execute: day })
    Step.make("Wait", {
      execute: Effect.void,
      timeout: "1 second",
      // @ts-expect-error "a durable wait cannot be part of a step: yield it in the saga's body, or in a compensation"
      check: () => Effect.as(day, Step.never),
      compensate: () => Effect.void
    })
  })

  it("its name is a literal", () => {
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Timer.sleep("a day" as string, "1 day")
  })
})

describe("the check of a compensation", () => {
  it("adds its services to the step's", () => {
    const step = Step.make("Refund", {
      execute: Effect.void,
      compensate: () => Refunds.use((_) => _.refund("1")),
      compensation: { check: (key) => Payments.use((_) => _.find(key)) }
    })
    expect(step).type.toBe<Step.Compensable<"Refund", void, never, Refunds | Payments, RefundRejected>>()
  })
})

describe("what a saga says for all its compensations", () => {
  it("a schedule over the declared errors", () => {
    Saga.make("All", {
      payload: Order,
      compensationError: RefundRejected,
      compensation: {
        order: "parallel",
        onFailure: "halt",
        retry: Schedule.recurs(3).pipe(
          Schedule.setInputType<RefundRejected>(),
          Schedule.while(({ input }) => input._tag === "RefundRejected")
        )
      },
      idempotencyKey
    })
  })

  it("or a schedule with the errors that are worth another try, here and in a step", () => {
    const schedule = Schedule.recurs(3)
    Saga.make("All", {
      payload: Order,
      compensationError: RefundRejected,
      compensation: { retry: { schedule, while: (error) => error._tag === "RefundRejected" } },
      idempotencyKey
    })
    Step.make("Refund", {
      error: OutOfStock,
      execute: Effect.fail(new OutOfStock({ item: "1" })),
      retry: {
        schedule,
        while: (error) => {
          expect(error).type.toBe<OutOfStock | Step.TimedOut>()
          return error._tag === "OutOfStock"
        }
      },
      timeout: "1 second",
      unknown: "refused",
      compensate: () => Refunds.use((_) => _.refund("1")),
      compensation: {
        retry: {
          schedule,
          while: (error) => {
            expect(error).type.toBe<RefundRejected>()
            return true
          }
        }
      }
    })
    Step.make("Refund", {
      error: OutOfStock,
      execute: Effect.fail(new OutOfStock({ item: "1" })),
      // @ts-expect-error This comparison appears to be unintentional
      retry: { schedule, while: (error) => error._tag === "Gone" },
      compensate: () => Effect.void
    })
  })

  it("a timeout only where TimedOut is declared", () => {
    const compensation = { timeout: "1 second" } as const
    Saga.make("Timed", {
      payload: Order,
      compensationError: Schema.Union([RefundRejected, Step.TimedOut]),
      compensation,
      idempotencyKey
    })
    Saga.make("Timed", {
      payload: Order,
      compensationError: RefundRejected,
      // @ts-expect-error "a timeout for every compensation can leave any of them undone: declare Step.TimedOut in
      compensation,
      idempotencyKey
    })
  })
})

describe("the words for common kinds of steps", () => {
  it("a resource is deleted with what its creation gave", () => {
    const step = Step.resource("Parcel", {
      success: Reservation,
      error: OutOfStock,
      create: Inventory.use((_) => _.reserve(1)),
      delete: (parcel) => Refunds.use((_) => _.refund(parcel.id))
    })
    expect(step).type.toBe<
      Step.Compensable<"Parcel", Reservation, OutOfStock, Inventory | Refunds, RefundRejected>
    >()
    Step.resource("Parcel", {
      success: Reservation,
      error: OutOfStock,
      create: Inventory.use((_) => _.reserve(1)),
      // @ts-expect-error Property 'parcel' does not exist
      delete: (parcel) => Effect.succeed(parcel.parcel)
    })
  })

  it("an operation is called off with what its start gave", () => {
    const step = Step.operation("Print", {
      success: Schema.String,
      start: Effect.succeed("job"),
      timeout: "1 second",
      check: () => Effect.succeed(Option.some("job")),
      cancel: (job) => Effect.asVoid(Effect.succeed(job.length))
    })
    expect(step).type.toBe<Step.Compensable<"Print", string, Step.TimedOut>>()
    Step.operation("Print", {
      success: Schema.String,
      start: Effect.succeed("job"),
      // @ts-expect-error "a step with a timeout must say whether it happened: give `check` or `unknown`"
      timeout: "1 second",
      cancel: () => Effect.void
    })
  })

  it("a snapshot restores what it read, and needs what each of its parts needs", () => {
    const price = Step.snapshot("Price", {
      state: Schema.Number,
      read: Carrier.use(() => Effect.succeed(1)),
      write: (prior) => Inventory.use(() => Effect.asVoid(Effect.succeed(prior.toFixed()))),
      restore: (prior) => Effect.andThen(Refunds.use((_) => _.refund(String(prior))), Effect.fail(new Gone()))
    })
    const Priced = Saga.make("Priced", {
      payload: Order,
      compensationError: Schema.Union([RefundRejected, Gone]),
      idempotencyKey
    })
    expect(Priced.toLayer(() => price)).type.toBe<
      Layer.Layer<never, never, SagaEngine.SagaEngine | Carrier | Inventory | Refunds>
    >()
    // @ts-expect-error "a compensation can fail with an error that the saga does not declare in compensationError"
    Strict.toLayer(() => Effect.as(price, ""))
    Step.snapshot("Price", {
      state: Schema.Number,
      // @ts-expect-error Type 'string' is not assignable to type 'number'
      read: Effect.succeed("1"),
      write: () => Effect.void,
      restore: () => Effect.void
    })
  })

  it("a list of steps gives the name and the value of each", () => {
    const all = Saga.fromSteps([1, 2].map((n) => reserve(n)))
    expect<Effect.Success<typeof all>>().type.toBe<
      ReadonlyArray<{ readonly step: "Reserve"; readonly value: Reservation }>
    >()
    expect<Effect.Error<typeof all>>().type.toBe<OutOfStock>()
    Strict.toLayer(() => Effect.as(all, ""))
  })
})
