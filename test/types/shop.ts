/**
 * The shop that the programs of this folder are about.
 */
import { Saga, Step } from "effect-saga"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"

export class Reservation extends Schema.Class<Reservation>("Reservation")({ id: Schema.String, items: Schema.Int }) {}
export class Payment extends Schema.Class<Payment>("Payment")({ id: Schema.String }) {}
export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {}
export class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}
export class RefundRejected extends Schema.TaggedError<RefundRejected>()("RefundRejected", {}) {}
export class Gone extends Schema.TaggedError<Gone>()("Gone", {}) {}

export class Inventory extends Context.Service<Inventory, {
  readonly reserve: (items: number) => Effect.Effect<Reservation, OutOfStock>
  readonly release: (id: string) => Effect.Effect<void>
}>()("Inventory") {}
export class Payments extends Context.Service<Payments, {
  readonly charge: (items: number) => Effect.Effect<Payment, Declined>
  readonly find: (key: string) => Effect.Effect<Option.Option<Payment>>
}>()("Payments") {}
export class Refunds extends Context.Service<Refunds, {
  readonly refund: (id: string) => Effect.Effect<void, RefundRejected>
}>()("Refunds") {}
export class Carrier extends Context.Service<Carrier, {
  readonly ship: Effect.Effect<string, Gone>
}>()("Carrier") {}

/** Its compensation cannot fail. */
export const reserve = (items: number) =>
  Step.make("Reserve", {
    success: Reservation,
    error: OutOfStock,
    execute: Inventory.use((_) => _.reserve(items)),
    compensate: (reservation) => Inventory.use((_) => _.release(reservation.id))
  })

/** Its compensation fails with `RefundRejected` and uses a service that nothing else uses. */
export const charge = (items: number) =>
  Step.make("Charge", {
    success: Payment,
    error: Declined,
    execute: Payments.use((_) => _.charge(items)),
    timeout: "30 seconds",
    check: (key) => Payments.use((_) => _.find(key)),
    compensate: (payment) => Refunds.use((_) => _.refund(payment.id))
  })

export const submit = (items: number) =>
  Step.pivot("Submit", { success: Payment, error: Declined, execute: Payments.use((_) => _.charge(items)) })

export const ship = Step.retryable("Ship", { success: Schema.String, execute: Carrier.use((_) => _.ship) })

export const count = Step.readonly("Count", { success: Schema.Number, execute: Effect.succeed(1) })

export const Order = Schema.Struct({ id: Schema.String, items: Schema.Number })

const common = {
  payload: Order,
  success: Schema.String,
  error: Schema.Union([OutOfStock, Declined, Step.TimedOut]),
  idempotencyKey: (order: typeof Order.Type) => order.id
}

/** Declares everything that the steps above can fail with. */
export const PlaceOrder = Saga.make("PlaceOrder", { ...common, compensationError: RefundRejected })

/** Declares no compensation error. */
export const Strict = Saga.make("Strict", common)
