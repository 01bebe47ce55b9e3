import { Step } from "effect-saga"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { Declined, Gone, Payment, Payments } from "./shop.ts"

const compensate = () => Effect.void

describe("a step with a timeout says what happens when nobody knows whether it happened", () => {
  it("check asks the participant", () => {
    const step = Step.make("Charge", {
      success: Payment,
      error: Declined,
      execute: Payments.use((_) => _.charge(1)),
      timeout: "30 seconds",
      check: (key) => {
        expect(key).type.toBe<string>()
        return Payments.use((_) => _.find(key))
      },
      compensate
    })
    expect(step).type.toBe<Step.Compensable<"Charge", Payment, Declined | Step.TimedOut, Payments>>()
  })

  it("check answers in four ways", () => {
    const options = { success: Schema.Number, execute: Effect.succeed(1), timeout: 1000, compensate }
    Step.make("Lock", { ...options, check: () => Effect.succeed(Option.some(1)) })
    Step.make("Lock", { ...options, check: () => Effect.succeed(Step.happened(1)) })
    Step.make("Lock", { ...options, check: () => Effect.succeed(Step.never) })
    Step.make("Lock", { ...options, check: () => Effect.succeed(Step.stillGoing) })
  })

  it("or it is decided in advance", () => {
    Step.make("Lock", { execute: Effect.void, timeout: Duration.seconds(1), unknown: "park", compensate })
    Step.make("Lock", { execute: Effect.void, timeout: { seconds: 1 }, unknown: "refused", compensate })
  })

  it("without a timeout there is no such question, and no such error", () => {
    const step = Step.make("Lock", { execute: Effect.void, check: () => Effect.succeed(Step.never), compensate })
    expect(step).type.toBe<Step.Compensable<"Lock", void>>()
  })

  it("a read has none, and a retryable is tried again", () => {
    const look = Step.readonly("Look", { execute: Effect.void, timeout: "1 second" })
    expect(look).type.toBe<Step.Readonly<"Look", void, Step.TimedOut>>()
    const ship = Step.retryable("Ship", { execute: Effect.void, timeout: "1 second" })
    expect(ship).type.toBe<Step.Retryable<"Ship", void>>()
  })
})

describe("a timeout alone is refused", () => {
  it("with the sentence", () => {
    // @ts-expect-error "a step with a timeout must say whether it happened: give `check` or `unknown`"
    Step.make("Lock", { execute: Effect.void, timeout: "1 second", compensate })
    // @ts-expect-error "a step with a timeout must say whether it happened: give `check` or `unknown`"
    Step.pivot("Submit", { execute: Effect.void, timeout: "1 second" })
  })

  it("a check that answers something else", () => {
    Step.make("Lock", {
      success: Schema.Number,
      execute: Effect.succeed(1),
      timeout: "1 second",
      // @ts-expect-error Type 'string' is not assignable to type 'number'
      check: () => Effect.succeed(Option.some("1")),
      compensate
    })
  })

  it("a check that fails", () => {
    Step.make("Lock", {
      execute: Effect.void,
      timeout: "1 second",
      // @ts-expect-error Type 'Gone' is not assignable to type 'never'
      check: () => Effect.fail(new Gone()),
      compensate
    })
  })
})

describe("a schedule sees the errors that there are", () => {
  const onlyDeclined = Schedule.recurs(3).pipe(
    Schedule.setInputType<Declined>(),
    Schedule.while(({ input }) => input._tag === "Declined")
  )

  it("without a timeout the step's own", () => {
    Step.make("Lock", { error: Declined, execute: Effect.fail(new Declined()), retry: onlyDeclined, compensate })
    Step.retryable("Ship", { execute: Effect.fail(new Declined()), retry: onlyDeclined })
    Step.make("Lock", {
      execute: Effect.void,
      compensate: () => Effect.fail(new Declined()),
      compensation: { retry: onlyDeclined }
    })
  })

  it("with a timeout TimedOut too", () => {
    Step.make("Lock", {
      error: Declined,
      execute: Effect.fail(new Declined()),
      timeout: "1 second",
      unknown: "refused",
      // @ts-expect-error Type 'TimedOut' is not assignable to type 'Declined'
      retry: onlyDeclined,
      compensate
    })
    Step.make("Lock", {
      execute: Effect.void,
      compensate: () => Effect.fail(new Declined()),
      // @ts-expect-error Type 'TimedOut' is not assignable to type 'Declined'
      compensation: { timeout: "1 second", retry: onlyDeclined }
    })
  })
})
