/**
 * The order saga: reserve the goods, charge the card, take the goods out of the stock; then, past the point of no
 * return, ship and notify. `01-order.ts` runs it on a database, `05-testing.ts` tests it.
 */
import { Effect, Schedule, Schema } from "effect"
import { Saga, Step } from "effect-saga"
import {
  Carrier,
  CarrierBusy,
  Damaged,
  Inventory,
  Mail,
  Order,
  OutOfStock,
  Payment,
  PaymentDeclined,
  Payments,
  PaymentsBusy,
  Receipt,
  RefundRejected,
  Reservation
} from "./shop.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the steps: what each does, how its result is stored, and what undoes it
// ---------------------------------------------------------------------------------------------------------------------

export const reserve = (order: Order) =>
  Step.make("ReserveInventory", {
    success: Reservation,
    error: OutOfStock,
    execute: Inventory.use((_) => _.reserve(order)),
    compensate: (reservation) => Inventory.use((_) => _.release(reservation.id))
  })

export const charge = (order: Order) =>
  Step.make("ChargePayment", {
    success: Payment,
    error: Schema.Union([PaymentDeclined, PaymentsBusy]),
    execute: Payments.use((_) => _.charge(order)),
    // Only a busy provider is asked again; a declined card stays declined.
    retry: {
      schedule: Schedule.exponential("50 millis").pipe(Schedule.upTo({ times: 4 })),
      while: (error) => error._tag === "PaymentsBusy"
    },
    // Whoever does not know whether the card was charged asks the provider, by the key of the attempt.
    timeout: "5 seconds",
    check: (key) => Payments.use((_) => _.find(key)),
    compensate: (payment) => Payments.use((_) => _.refund(payment.id)),
    compensation: { retry: Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 2 })) }
  })

export const updateInventory = (reservation: Reservation) =>
  Step.make("UpdateInventory", {
    error: Damaged,
    execute: Inventory.use((_) => _.take(reservation.id)),
    compensate: () => Inventory.use((_) => _.putBack(reservation.id))
  })

export const ship = (order: Order) =>
  Step.retryable("ShipOrder", {
    success: Schema.String,
    error: CarrierBusy,
    execute: Carrier.use((_) => _.ship(order)),
    retry: Schedule.exponential("50 millis")
  })

const notify = (order: Order, tracking: string) =>
  Step.retryable("NotifyCustomer", {
    execute: Mail.use((_) => _.send(order, `Dear ${order.customer}, your order is on its way: ${tracking}`))
  })

// ---------------------------------------------------------------------------------------------------------------------
// the saga: a definition, which everybody may know, and its handler
// ---------------------------------------------------------------------------------------------------------------------

export const PlaceOrder = Saga.make("PlaceOrder", {
  payload: Order,
  success: Receipt,
  error: Schema.Union([OutOfStock, PaymentDeclined, PaymentsBusy, Damaged, Step.TimedOut]),
  compensationError: RefundRejected,
  idempotencyKey: (order) => order.id
})

export const PlaceOrderLive = PlaceOrder
  .attempt(Effect.fn(function*(order) {
    const reservation = yield* reserve(order)
    const payment = yield* charge(order)
    yield* updateInventory(reservation)
    return payment
  }))
  .settle(Effect.fn(function*(payment, order) {
    const tracking = yield* ship(order)
    yield* notify(order, tracking)
    return new Receipt({ payment, tracking })
  }))
