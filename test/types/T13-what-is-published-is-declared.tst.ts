import { Saga, type SagaError } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { Carrier, count, Order, reserve, ship, Strict } from "./shop.ts"

const Tracked = Saga.make("Tracked", {
  payload: Order,
  error: Schema.Literal("gone"),
  published: { stage: Schema.Literals(["packed", "sent"]), items: Schema.Struct({ left: Schema.Number }) },
  idempotencyKey: (order) => order.id
})

describe("what a body publishes", () => {
  it("has the type that its definition declares, before and after the point of no return", () => {
    Tracked.toLayer(Effect.fn(function*(order) {
      yield* Saga.publish("stage", "packed")
      yield* Saga.publish("items", { left: order.items })
    }))
    Tracked
      .attempt(() => Effect.andThen(count, Saga.publish("stage", "packed")))
      .settle(() => Effect.asVoid(Effect.andThen(ship, Saga.publish("stage", "sent"))))
  })

  it("is in poll, under its key, if it was published", () => {
    const polled = Tracked.poll(Tracked.executionId({ id: "1", items: 1 }))
    expect<Effect.Success<typeof polled>["published"]>().type.toBe<
      { readonly stage?: "packed" | "sent"; readonly items?: { readonly left: number } }
    >()
  })

  it("is nothing where nothing is declared", () => {
    const polled = Strict.poll(Strict.executionId({ id: "1", items: 1 }))
    expect<Effect.Success<typeof polled>["published"]>().type.toBe<{}>()
  })

  it("needs nothing of whoever runs the body", () => {
    expect(Saga.transact(Saga.publish("stage", "packed"))).type.toBe<Effect.Effect<void, SagaError.SagaError<never>>>()
  })
})

describe("what it does not declare is refused", () => {
  it("another key, or another value", () => {
    // @ts-expect-error "the body publishes what the saga does not declare in published",
    Tracked.toLayer(() => Saga.publish("state", "packed"))
    // @ts-expect-error "the body publishes what the saga does not declare in published",
    Tracked.toLayer(() => Saga.publish("stage", "lost"))
    // @ts-expect-error "the body publishes what the saga does not declare in published",
    Tracked.toLayer(() => Saga.publish("items", { left: "1" }))
    // @ts-expect-error "the body publishes what the saga does not declare in published",
    Tracked.attempt(() => count).settle(() => Effect.asVoid(Saga.publish("stage", "lost")))
    // @ts-expect-error "the body publishes what the saga does not declare in published",
    Strict.toLayer(() => Effect.as(Saga.publish("stage", "packed"), ""))
  })

  it("a key that is no literal", () => {
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it">
    Saga.publish("stage" as string, "packed")
  })

  it("a schema that does not say what it stores", () => {
    Saga.make("Loose", {
      payload: Order,
      // @ts-expect-error "a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON
      published: { stage: Schema.Unknown },
      idempotencyKey: (order) => order.id
    })
  })
})

describe("the other refusals say their own sentences", () => {
  it("a service outside of a step", () => {
    // @ts-expect-error "this service is used outside of a step, so its effect would not be journaled", Carrier>
    Tracked.toLayer(() => Effect.andThen(Saga.publish("stage", "packed"), Effect.asVoid(Carrier)))
  })

  it("an error that is not declared", () => {
    // @ts-expect-error "the body can fail with an error that the saga does not declare in error", OutOfStock>
    Tracked.toLayer(() => Effect.andThen(Saga.publish("stage", "packed"), Effect.asVoid(reserve(1))))
  })
})
