import { type Execution, Saga, Signal, Step, Timer } from "effect-saga"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { OutOfStock, PlaceOrder, type Reservation, reserve, ship, Strict } from "./shop.ts"

const Paid = Signal.make("Paid", { payload: Schema.Number })

describe("Saga.race", () => {
  it("has the results and the errors of all", () => {
    const won = Saga.race([reserve(1), Effect.as(Timer.sleep("a day", "1 day"), "late" as const), Signal.receive(Paid)])
    expect<Effect.Success<typeof won>>().type.toBe<Reservation | "late" | number>()
    expect<Effect.Error<typeof won>>().type.toBe<OutOfStock>()
    const settled = Saga.race([Effect.succeed(1), Effect.succeed(2)])
    expect(settled).type.toBe<Effect.Effect<number, never, Execution.Execution>>()
  })

  it("keeps the phases: what each part may do is what the body may do", () => {
    Strict.attempt(() => Saga.race([reserve(1), Timer.sleep("a day", "1 day")])).settle(() => Effect.succeed(""))
    // @ts-expect-error "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
    Strict.attempt(() => Saga.race([ship, Timer.sleep("a day", "1 day")]))
    // @ts-expect-error "after the point of no return nothing can be compensated: use Step.retryable"
    Strict.attempt(() => Effect.void).settle(() => Effect.as(Saga.race([Effect.ignore(reserve(1))]), ""))
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.readonly("Outer", { execute: Effect.asVoid(Saga.race([Effect.void, Effect.void])) })
  })

  it("is of effects", () => {
    // @ts-expect-error Type 'number' is not assignable to type 'Effect<unknown, unknown, unknown>'
    Saga.race([Effect.succeed(1), 2])
  })
})

describe("Timer.timeout", () => {
  it("adds TimedOut, which the saga declares", () => {
    const first = Timer.timeout(reserve(1), "a day", "1 day")
    expect<Effect.Success<typeof first>>().type.toBe<Reservation>()
    expect<Effect.Error<typeof first>>().type.toBe<OutOfStock | Step.TimedOut>()
    const last = reserve(1).pipe(Timer.timeout("a day", "1 day"))
    expect(last).type.toBe<typeof first>()
    PlaceOrder.attempt(() => last).settle(() => Effect.andThen(ship, Effect.die("later")))
    const Small = Saga.make("Small", { payload: Schema.String, error: OutOfStock, idempotencyKey: (id) => id })
    // @ts-expect-error "the body can fail with an error that the saga does not declare in error"
    Small.toLayer(() => Effect.asVoid(last))
    Small.toLayer(() => Effect.asVoid(Timer.timeoutOption(reserve(1), "a day", "1 day")))
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Timer.timeout(reserve(1), "a day" as string, "1 day")
  })

  it("or gives an option", () => {
    const first = Timer.timeoutOption(Signal.receive(Paid), "a day", "1 day")
    expect(first).type.toBe<
      Effect.Effect<Option.Option<number>, never, Execution.Execution | Execution.Inbox | Execution.Waiting>
    >()
    expect(Signal.receive(Paid).pipe(Timer.timeoutOption("a day", "1 day"))).type.toBe<typeof first>()
  })
})
