import { Saga, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { Declined, Gone, Order, OutOfStock, Payment } from "./shop.ts"

const compensate = () => Effect.void
const idempotencyKey = () => ""
const unknown: unknown = undefined

describe("a step's result and error are what its schemas store", () => {
  it("the type of the step is that of its schemas", () => {
    const step = Step.make("Lock", {
      success: Schema.Array(Schema.Number),
      error: Schema.Union([Declined, Gone]),
      execute: Effect.succeed([1, 2]),
      compensate
    })
    expect(step).type.toBe<Step.Compensable<"Lock", ReadonlyArray<number>, Declined | Gone>>()
  })

  it("a result that the schema does not store is refused", () => {
    Step.make("Lock", {
      success: Payment,
      // @ts-expect-error Type 'string' is not assignable to type 'Payment'
      execute: Effect.succeed("1"),
      compensate
    })
  })

  it("an error that the schema does not store is refused", () => {
    Step.make("Lock", {
      error: Declined,
      // @ts-expect-error Type '"OutOfStock"' is not assignable to type '"Declined"'
      execute: Effect.fail(new OutOfStock({ item: "1" })),
      compensate
    })
    Step.make("Lock", {
      // @ts-expect-error Type 'Gone' is not assignable to type 'never'
      execute: Effect.fail(new Gone()),
      compensate
    })
    Step.pivot("Lock", {
      // @ts-expect-error Type 'unknown' is not assignable to type 'never'
      execute: Effect.fail(unknown)
    })
  })
})

describe("rule 37: a stored schema says what it stores", () => {
  it("Schema.Defect does: it keeps name and message", () => {
    Step.retryable("Ship", { error: Schema.Defect(), execute: Effect.fail(new Error()) })
  })

  it("Schema.Any and Schema.Unknown do not", () => {
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Step.make("Lock", { success: Schema.Any, execute: Effect.void, compensate })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Step.make("Lock", { error: Schema.Unknown, execute: Effect.void, compensate })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Step.readonly("Look", { success: Schema.Unknown, execute: Effect.void })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Step.retryable("Ship", { error: Schema.Any, execute: Effect.void })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Step.pivot("Submit", { success: Schema.Unknown, execute: Effect.void })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Saga.make("Any", { payload: Schema.Any, idempotencyKey })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Saga.make("Any", { payload: Order, success: Schema.Unknown, idempotencyKey })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Saga.make("Any", { payload: Order, error: Schema.Any, idempotencyKey })
    // @ts-expect-error a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot
    Saga.make("Any", { payload: Order, compensationError: Schema.Unknown, idempotencyKey })
  })
})
