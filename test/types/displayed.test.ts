/**
 * How the types are displayed: the text that a user reads in an error.
 */
import { describe, expect, it } from "vitest"
import { compile } from "./compile.ts"

const header = `
import * as Effect from "effect/Effect"
import { Saga, Step } from "effect-saga"
import { charge, count, Inventory, PlaceOrder, reserve, ship, Strict, submit } from "./shop.ts"
`

const types = {
  "a compensable step": {
    program: "charge(1)",
    type: `Compensable<"Charge", Payment, Declined | TimedOut, Payments | Refunds, RefundRejected>`
  },
  "a read-only step": { program: "count", type: `Readonly<"Count", number, never, never>` },
  "a retryable step": { program: "ship", type: `Retryable<"Ship", string, Carrier>` },
  "a pivot": { program: "submit(1)", type: `Pivot<"Submit", Payment, Declined, Payments>` },
  "what execute returns": {
    program: `PlaceOrder.execute({ id: "1", items: 1 })`,
    type: `Effect<string, Declined | OutOfStock | SagaError<RefundRejected> | TimedOut, SagaEngine>`
  },
  "what start returns": {
    program: `PlaceOrder.start({ id: "1", items: 1 })`,
    type: `Effect<string & Brand<"~effect-saga/ExecutionId">, SagaError<never>, SagaEngine>`
  },
  "the layer of a handler": {
    program: "PlaceOrder.attempt(() => Effect.zip(reserve(1), charge(1))).settle(() => ship)",
    type: `Layer<never, never, Carrier | Inventory | Payments | Refunds | SagaEngine>`
  },
  "a body": {
    program: "Effect.map(charge(1), (_) => _.id)",
    type:
      `Effect<string, Declined | TimedOut, Execution | Residue<"Charge", RefundRejected> | Uses<Payments | Refunds>>`
  },
  "what Saga.transact leaves": {
    program: "Saga.transact(charge(1))",
    type: `Effect<Payment, Declined | SagaError<RefundRejected> | TimedOut, Payments | Refunds>`
  }
}

const refusals = {
  "a service outside of a step": {
    program: "PlaceOrder.toLayer(Effect.fn(function*() { yield* Inventory; return '' }))",
    sentence:
      `SagaTypeErrorOf<"this service is used outside of a step, so its effect would not be journaled", Inventory>`
  },
  "an undeclared error of a compensation": {
    program: "Strict.toLayer(Effect.fn(function*() { yield* charge(1); return '' }))",
    sentence: `SagaTypeErrorOf<"a compensation can fail with an error that the saga does not declare in ` +
      `compensationError", { readonly step: "Charge"; readonly error: RefundRejected; }>`
  },
  "a retryable step before the point of no return": {
    program: "PlaceOrder.toLayer(Effect.fn(function*() { return yield* ship }))",
    sentence:
      `SagaTypeError<"a retryable step is never undone: it belongs after the point of no return, in .settle(...)">`
  },
  "a compensable step after it": {
    program:
      "PlaceOrder.attempt(() => count).settle(Effect.fn(function*() { yield* Effect.orDie(reserve(1)); return '' }))",
    sentence: `SagaTypeError<"after the point of no return nothing can be compensated: use Step.retryable">`
  },
  "a step in a step": {
    program: "Step.retryable('Outer', { execute: Effect.asVoid(count) })",
    sentence: `SagaTypeError<"a step cannot run inside another step: yield it in the saga's body">`
  },
  "a name that is no literal": {
    program: "Step.retryable('Outer' as string, { execute: Effect.void })",
    sentence: `SagaTypeError<"a name must be a literal: it is stored, and the types speak of it">`
  }
}

const lines = [
  // A type is displayed by assigning a value of it to what it is not.
  ...Object.values(types).map(({ program }, index) => `export const type${index}: "displayed" = ${program}`),
  ...Object.values(refusals).map(({ program }) => program)
]
const { errors } = compile({ "displayed.ts": header + lines.join("\n") })
const messages = lines.map((_, index) => errors.filter(({ line }) => line === header.split("\n").length + index))

describe("a type is displayed as", () => {
  it.each(Object.keys(types))("%s", (name) => {
    const index = Object.keys(types).indexOf(name)
    const { type } = types[name as keyof typeof types]
    expect(messages[index]?.map(({ message }) => message.split("\n")[0])).toEqual([
      `Type '${type}' is not assignable to type '"displayed"'.`
    ])
  })
})

describe("a refusal says why in its first line", () => {
  it.each(Object.keys(refusals))("%s", (name) => {
    const index = Object.keys(types).length + Object.keys(refusals).indexOf(name)
    const { sentence } = refusals[name as keyof typeof refusals]
    expect(messages[index]?.map(({ message }) => message.split("\n")[0])).toEqual([expect.stringContaining(sentence)])
  })
})
