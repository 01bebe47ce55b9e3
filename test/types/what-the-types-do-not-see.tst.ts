/**
 * Programs that the compiler accepts although a reader might expect it to refuse them. Each is here so that a change
 * that closes one is noticed.
 */
import { Step } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { it } from "tstyche"
import { Declined, Inventory, type Payments, PlaceOrder } from "./shop.ts"

const compensate = () => Effect.void
const inventory = {} as Inventory["Service"]

it("a service that is provided inside the body", () => {
  PlaceOrder.toLayer(() =>
    Inventory.use((_) => _.release("1")).pipe(Effect.provideService(Inventory, inventory), Effect.as(""))
  )
})

it("a promise and the world around it", () => {
  PlaceOrder.toLayer(() => Effect.promise(() => Promise.resolve(String(Date.now()))))
})

it("an error that is any, inside a step that declares one", () => {
  Step.make("Any", { error: Declined, execute: Effect.fail({} as any), compensate })
})

it("a result of a step without a schema: void takes every value", () => {
  Step.make("Void", { execute: Effect.succeed(1), compensate })
})

it("a field of a schema that stores unknown", () => {
  Step.make("Field", { success: Schema.Struct({ a: Schema.Unknown }), execute: Effect.succeed({ a: 1n }), compensate })
})

it("a result of the same shape is the same result", () => {
  class Paid extends Schema.Class<Paid>("Paid")({ id: Schema.String }) {}
  Step.make("Charge", {
    success: Paid,
    execute: Effect.succeed(Paid.make({ id: "1" })),
    compensate: (payment: Effect.Success<ReturnType<Payments["Service"]["charge"]>>) => Effect.log(payment.id)
  })
})

it("an explicit any, as everywhere", () => {
  PlaceOrder.toLayer(() => null as any)
})
