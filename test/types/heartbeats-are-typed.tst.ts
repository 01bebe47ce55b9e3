import { Saga, Step } from "effect-saga"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { describe, expect, it } from "tstyche"
import { Declined, Order } from "./shop.ts"

const Row = Schema.Struct({ row: Schema.Number })
const compensate = () => Effect.void

class Rates extends Context.Service<Rates, { readonly of: number }>()("Rates") {}
const Rated = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: SchemaGetter.transformEffect((text: string) => Rates.use(() => Effect.succeed(text))),
  encode: SchemaGetter.transform((text: string) => text)
}))

describe("a heartbeat", () => {
  it("gives details of its schema, or JSON, or none, and never fails", () => {
    expect(Step.heartbeat()).type.toBe<Effect.Effect<Step.Heartbeat, never, Step.StepContext>>()
    expect(Step.heartbeat({ row: 1 })).type.toBe<Effect.Effect<Step.Heartbeat, never, Step.StepContext>>()
    expect(Step.heartbeat({ row: 1 }, Row)).type.toBe<Effect.Effect<Step.Heartbeat, never, Step.StepContext>>()
    expect<Step.Heartbeat["cancelRequested"]>().type.toBe<boolean>()
    Step.heartbeat(
      // @ts-expect-error Type 'string' is not assignable to type 'number'
      { row: "1" },
      Row
    )
    // @ts-expect-error Type 'Date' is not assignable to type 'JsonObject'
    Step.heartbeat({ at: new Date() })
    // @ts-expect-error "a stored schema must say what it stores: Schema.Any and Schema.Unknown lose
    Step.heartbeat(1, Schema.Unknown)
  })

  it("is read with the schema that it was given with", () => {
    const last = Step.lastHeartbeat(Row)
    expect<Effect.Success<typeof last>>().type.toBe<Option.Option<{ readonly row: number }>>()
    expect<Effect.Error<typeof last>>().type.toBe<never>()
    expect<Effect.Services<typeof last>>().type.toBe<Step.StepContext>()
    // What its schema decodes with is used inside the step.
    const step = Step.make("Copy", { execute: Effect.asVoid(Step.lastHeartbeat(Rated)), compensate })
    expect(step).type.toBe<Step.Compensable<"Copy", void, never, Rates>>()
  })

  it("belongs into a step", () => {
    const execute = Effect.asVoid(Step.heartbeat())
    expect(Step.make("Copy", { execute, compensate: () => execute })).type.toBe<Step.Compensable<"Copy", void>>()
    const Copy = Saga.make("Copy", { payload: Order, success: Schema.Void, idempotencyKey: ({ id }) => id })
    // @ts-expect-error "this service is used outside of a step, so its effect would not be journaled"
    Copy.toLayer(() => execute)
  })

  it("may end in a withdrawal, which is no error", () => {
    expect(Step.withdraw).type.toBe<Effect.Effect<never, never, Step.StepContext>>()
    const execute = Effect.flatMap(Step.heartbeat(), (_) => _.cancelRequested ? Step.withdraw : Effect.succeed(1))
    expect(Step.make("Copy", { success: Schema.Number, execute, compensate })).type.toBe<
      Step.Compensable<"Copy", number>
    >()
  })
})

describe("heartbeatTimeout", () => {
  it("adds TimedOut, and asks what doubt means, as timeout does", () => {
    const step = Step.make("Copy", { execute: Effect.void, heartbeatTimeout: "1 minute", unknown: "park", compensate })
    expect(step).type.toBe<Step.Compensable<"Copy", void, Step.TimedOut>>()
    Step.make("Copy", {
      execute: Effect.void,
      timeout: Duration.days(1),
      heartbeatTimeout: 60_000,
      check: () => Effect.succeed(Step.never),
      compensate
    })
    // @ts-expect-error "a step with a timeout must say whether it happened: give `check` or `unknown`"
    Step.make("Copy", { execute: Effect.void, heartbeatTimeout: "1 minute", compensate })
    Step.make("Copy", {
      execute: Effect.void,
      // @ts-expect-error "a step with a timeout must say whether it happened: give `check` or `unknown`"
      timeout: "1 day",
      // @ts-expect-error "a step with a timeout must say whether it happened: give `check` or `unknown`"
      heartbeatTimeout: "1 minute",
      compensate
    })
    // @ts-expect-error "while nobody knows what the pivot decided nothing may be undone: give `check`, or \"park\""
    Step.pivot("Copy", { execute: Effect.void, heartbeatTimeout: "1 minute", unknown: "refused" })
  })

  it("of a read, of a retryable, and of a compensation", () => {
    const look = Step.readonly("Look", { execute: Effect.void, heartbeatTimeout: "1 second" })
    expect(look).type.toBe<Step.Readonly<"Look", void, Step.TimedOut>>()
    const ship = Step.retryable("Ship", { execute: Effect.void, heartbeatTimeout: "1 second" })
    expect(ship).type.toBe<Step.Retryable<"Ship", void>>()
    const undone = Step.make("Copy", {
      execute: Effect.void,
      compensate,
      compensation: { heartbeatTimeout: "1 minute" }
    })
    expect(undone).type.toBe<Step.Compensable<"Copy", void, never, never, Step.TimedOut>>()
    Step.make("Copy", {
      execute: Effect.void,
      compensate,
      compensation: { timeout: Duration.days(1), heartbeatTimeout: "1 minute" }
    })
  })

  it("is seen by the schedule", () => {
    const onlyDeclined = Schedule.recurs(3).pipe(Schedule.setInputType<Declined>())
    Step.make("Copy", {
      error: Declined,
      execute: Effect.fail(new Declined()),
      heartbeatTimeout: "1 minute",
      unknown: "refused",
      // @ts-expect-error Type 'TimedOut' is not assignable to type 'Declined'
      retry: onlyDeclined,
      compensate
    })
  })
})
