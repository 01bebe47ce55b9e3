/**
 * The order saga of a shop that waits: for days until the customer pays, and for weeks until the parcel has arrived.
 * `06-tracking.ts` runs it through a month.
 */
import { Effect, Option, Schema } from "effect"
import { Saga, Signal, Step, Timer } from "effect-saga"
import { charge, reserve, ship, updateInventory } from "./order.ts"
import { Damaged, Mail, Order, OutOfStock, PaymentDeclined, PaymentsBusy, RefundRejected } from "./shop.ts"

// ---------------------------------------------------------------------------------------------------------------------
// what comes from outside
// ---------------------------------------------------------------------------------------------------------------------

/** The customer confirms the payment. */
export const Confirmed = Signal.make("Confirmed", { payload: Schema.Struct({ by: Schema.String }) })

/** The carrier says that somebody has signed for the parcel. */
export const Delivered = Signal.make("Delivered", { payload: Schema.Struct({ signedBy: Schema.String }) })

// ---------------------------------------------------------------------------------------------------------------------
// a parcel on its way: rounds of a day, each with a journal of its own
// ---------------------------------------------------------------------------------------------------------------------

export const Tracking = Saga.make("Tracking", {
  payload: Schema.Struct({ order: Order, tracking: Schema.String, day: Schema.Int }),
  success: Schema.Struct({ signedBy: Schema.String, days: Schema.Int }),
  published: { day: Schema.Int },
  idempotencyKey: ({ tracking }) => tracking
})

/** Each week that the parcel does not arrive, the customer is told, with an idempotency key of that day. */
const apologize = (order: Order, day: number) =>
  Step.retryable("Apologize", {
    execute: Mail.use((_) => _.send(order, `Dear ${order.customer}, after ${day} days your order is still on its way.`))
  })

export const TrackingLive = Tracking
  .attempt(() => Effect.void)
  .settle(Effect.fn(function*(_, { day, order, tracking }) {
    yield* Saga.publish("day", day)
    const delivered = yield* Timer.timeoutOption(Signal.receive(Delivered), "day", "24 hours")
    if (Option.isSome(delivered)) return { signedBy: delivered.value.signedBy, days: day }
    if (day % 7 === 0) yield* apologize(order, day)
    return yield* Saga.continueAsNew({ order, tracking, day: day + 1 })
  }))

// ---------------------------------------------------------------------------------------------------------------------
// an order that is paid within three days, or not at all
// ---------------------------------------------------------------------------------------------------------------------

export class NotPaid extends Schema.TaggedError<NotPaid>()("NotPaid", { days: Schema.Int }) {}

export const TrackedOrder = Saga.make("TrackedOrder", {
  payload: Order,
  success: Schema.String,
  error: Schema.Union([OutOfStock, PaymentDeclined, PaymentsBusy, Damaged, NotPaid, Step.TimedOut]),
  compensationError: RefundRejected,
  published: { stage: Schema.Literals(["waits for the payment", "is paid", "is on its way"]) },
  idempotencyKey: (order) => order.id
})

/** If the order comes to nothing, so does the reminder. */
const remind = (order: Order) =>
  Step.make("Remind", {
    execute: Mail.use((_) => _.send(order, `Dear ${order.customer}, please confirm your order ${order.id}.`)),
    compensate: () => Mail.use((_) => _.send(order, `Dear ${order.customer}, forget about order ${order.id}.`))
  })

const confirmed = Effect.fn(function*(order: Order) {
  const soon = yield* Timer.timeoutOption(Signal.receive(Confirmed), "until the reminder", "1 day")
  if (Option.isSome(soon)) return soon.value
  yield* remind(order)
  const late = yield* Timer.timeoutOption(Signal.receive(Confirmed), "payment window", "2 days")
  return Option.isSome(late) ? late.value : yield* new NotPaid({ days: 3 })
})

export const TrackedOrderLive = TrackedOrder
  .attempt(Effect.fn(function*(order) {
    const reservation = yield* reserve(order)
    yield* Saga.publish("stage", "waits for the payment")
    // Until here a cancel of the customer releases the goods; once the card is charged, it pays back.
    yield* confirmed(order)
    yield* charge(order)
    yield* updateInventory(reservation)
    yield* Saga.publish("stage", "is paid")
  }))
  .settle(Effect.fn(function*(_, order) {
    const tracking = yield* ship(order)
    yield* Saga.publish("stage", "is on its way")
    return tracking
  }))
