import { type ExecutionId, Saga, type SagaEngine, type SagaError, Signal, Step, Timer } from "effect-saga"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { describe, expect, it } from "tstyche"
import { Order, PlaceOrder } from "./shop.ts"

const Paid = Signal.make("Paid", { payload: Schema.Struct({ amount: Schema.Number }) })
const Called = Signal.make("Called", { payload: Schema.String })
const Go = Signal.make("Go")

declare const id: ExecutionId.ExecutionId

describe("T12: a signal", () => {
  it("has a literal name and a schema that says what it stores", () => {
    expect(Paid).type.toBe<Signal.Signal<"Paid", Schema.Struct<{ readonly amount: Schema.Number }>>>()
    expect(Go).type.toBe<Signal.Signal<"Go", Schema.Void>>()
    Signal.make(
      // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
      "Paid" as string
    )
    // @ts-expect-error "a stored schema must say what it stores: Schema.Any and Schema.Unknown lose
    Signal.make("Paid", { payload: Schema.Unknown })
  })

  it("is received as its payload, and does not fail", () => {
    const paid = Signal.receive(Paid)
    expect<Effect.Success<typeof paid>>().type.toBe<{ readonly amount: number }>()
    expect<Effect.Error<typeof paid>>().type.toBe<never>()
  })

  it("of several kinds is received as a tagged union", () => {
    const received = Signal.receiveAny(Paid, Called, Go)
    expect<Effect.Success<typeof received>>().type.toBe<
      | { readonly _tag: "Paid"; readonly payload: { readonly amount: number } }
      | { readonly _tag: "Called"; readonly payload: string }
      | { readonly _tag: "Go"; readonly payload: void }
    >()
    // @ts-expect-error Expected at least 1 arguments, but got 0
    Signal.receiveAny()
  })

  it("is sent with its payload alone", () => {
    const sent = PlaceOrder.signal(id, Paid, { amount: 1 }, { key: "1" })
    expect(sent).type.toBe<Effect.Effect<void, SagaError.SagaError<never>, SagaEngine.SagaEngine>>()
    PlaceOrder.signal(id, Go, undefined)
    // @ts-expect-error Type 'string' is not assignable to type 'number'
    PlaceOrder.signal(id, Paid, { amount: "1" })
    // @ts-expect-error Argument of type 'string' is not assignable to parameter of type 'string & Brand
    PlaceOrder.signal("PlaceOrder/1", Called, "now")
  })

  it("is sent with a start, both typed", () => {
    const order = { id: "1", items: 1 }
    const started = PlaceOrder.startWithSignal(order, Called, "now")
    expect(started).type.toBe<
      Effect.Effect<ExecutionId.ExecutionId, SagaError.SagaError<never>, SagaEngine.SagaEngine>
    >()
    // @ts-expect-error Argument of type 'number' is not assignable to parameter of type 'string'
    PlaceOrder.startWithSignal(order, Called, 1)
  })
})

describe("rule 37: a signal is received", () => {
  const Waits = Saga.make("Waits", {
    payload: Order,
    success: Schema.String,
    idempotencyKey: (order) => order.id
  })

  it("in a body, before the point of no return and after it", () => {
    expect(Waits.toLayer(() => Signal.receive(Called))).type.toBe<
      Layer.Layer<never, never, SagaEngine.SagaEngine>
    >()
    Waits.attempt(() => Signal.receive(Called)).settle(() => Signal.receive(Called))
  })

  it("in a compensation", () => {
    Waits.toLayer(() =>
      Effect.as(
        Step.make("Held", {
          execute: Effect.void,
          compensate: () => Effect.andThen(Signal.receive(Go), Timer.sleep("a while", "1 minute"))
        }),
        ""
      )
    )
    Saga.onRollback("Tell", () => Signal.receive(Go))
  })

  it("not in a step, nor in a check", () => {
    // @ts-expect-error "a durable wait cannot be part of a step: yield it in the saga's body, or in a compensation"
    Step.readonly("Outer", { execute: Signal.receive(Go) })
    Step.make("Outer", {
      execute: Effect.void,
      timeout: "1 second",
      // @ts-expect-error "a durable wait cannot be part of a step: yield it in the saga's body, or in a compensation"
      check: () => Effect.as(Signal.receive(Go), Step.never),
      compensate: () => Effect.void
    })
  })

  it("not without a journal", () => {
    // @ts-expect-error "Saga.transact has no journal, and so no inbox: nobody could send it a signal"
    Saga.transact(Signal.receive(Go))
    // @ts-expect-error Type 'Inbox' is not assignable to type 'never'
    void Effect.runPromise(Signal.receive(Go))
  })

  it("with the services that its payload is decoded with", () => {
    class Keys extends Context.Service<Keys, { readonly key: string }>()("Keys") {}
    const Secret = Signal.make("Secret", {
      payload: Schema.String.pipe(Schema.decodeTo(Schema.String, {
        decode: SchemaGetter.transformEffect((text: string) => Keys.use(() => Effect.succeed(text))),
        encode: SchemaGetter.transform((text: string) => text)
      }))
    })
    expect(Waits.toLayer(() => Signal.receive(Secret))).type.toBe<
      Layer.Layer<never, never, SagaEngine.SagaEngine | Keys>
    >()
    expect(Waits.signal(id, Secret, "x")).type.toBe<
      Effect.Effect<void, SagaError.SagaError<never>, SagaEngine.SagaEngine>
    >()
  })
})
