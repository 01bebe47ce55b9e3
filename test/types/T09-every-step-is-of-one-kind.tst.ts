import { Saga, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import { describe, expect, it } from "tstyche"
import { Order } from "./shop.ts"

const compensate = () => Effect.void

describe("every step is compensable, read-only, retryable or the pivot", () => {
  it("each kind has its type", () => {
    expect(Step.make("A", { execute: Effect.void, compensate })).type.toBe<Step.Compensable<"A", void>>()
    expect(Step.readonly("A", { execute: Effect.void })).type.toBe<Step.Readonly<"A", void>>()
    expect(Step.retryable("A", { execute: Effect.void })).type.toBe<Step.Retryable<"A", void>>()
    expect(Step.pivot("A", { execute: Effect.void })).type.toBe<Step.Pivot<"A", void>>()
  })

  it("Step.make without compensate is refused", () => {
    // @ts-expect-error Property 'compensate' is missing in type
    Step.make("A", { execute: Effect.void })
    // @ts-expect-error Property 'compensate' is missing in type
    Step.make("A", { execute: Effect.void, timeout: "1 second", unknown: "park" })
  })

  it("what is never undone has no compensation", () => {
    // @ts-expect-error 'compensate' does not exist in type
    Step.readonly("A", { execute: Effect.void, compensate })
    // @ts-expect-error 'compensate' does not exist in type
    Step.retryable("A", { execute: Effect.void, compensate })
    // @ts-expect-error 'compensate' does not exist in type
    Step.pivot("A", { execute: Effect.void, compensate })
  })
})

describe("rule 37: a name is a literal", () => {
  const options = { execute: Effect.void, compensate }

  it("or a template literal", () => {
    const numbered = (n: number) => Step.make(`Ship-${n}`, options)
    expect(numbered(1)).type.toBe<Step.Compensable<`Ship-${number}`, void>>()
    const named = (name: "a" | "b") => Step.make(name, options)
    expect(named("a")).type.toBe<Step.Compensable<"a" | "b", void>>()
  })

  it("a string is refused", () => {
    const name: string = "A"
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Step.make(name, options)
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Step.readonly(name, { execute: Effect.void })
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Step.retryable(name, { execute: Effect.void })
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Step.pivot(name, { execute: Effect.void })
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Saga.onRollback(name, compensate)
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Saga.onCommit(name, Effect.void)
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Saga.make(name, { payload: Order, idempotencyKey: () => "" })
  })
})
