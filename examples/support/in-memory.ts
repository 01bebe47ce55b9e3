/**
 * The shop's participants for tests: in memory, quick, and just as careful with idempotency keys.
 */
import { Context, Effect, Layer, Option } from "effect"
import { Step } from "effect-saga"
import {
  Carrier,
  Inventory,
  Mail,
  type Order,
  Payment,
  PaymentId,
  Payments,
  Reservation,
  ReservationId
} from "./shop.ts"

/** What all of them hold. */
export class Books extends Context.Service<Books, {
  readonly held: Effect.Effect<{
    readonly reserved: number
    readonly taken: number
    readonly charged: number
    readonly parcels: number
  }>
}>()("example/Books") {}

interface Options {
  /** A till that does not look at idempotency keys: it books each request. */
  readonly careless?: boolean
}

export const layer = (options: Options = {}) =>
  Layer.effectContext(Effect.sync(() => {
    const reservations = new Map<string, { readonly units: number; state: "reserved" | "released" | "taken" }>()
    const payments = new Map<string, { readonly amount: number; state: "charged" | "refunded" | "refused" }>()
    const parcels = new Set<string>()
    let booked = 0
    const units = (order: Order) => order.items.reduce((sum, { quantity }) => sum + quantity, 0)
    const move = (id: string, from: string, to: "reserved" | "released" | "taken") =>
      Effect.sync(() => {
        const reservation = reservations.get(id)
        if (reservation?.state === from) reservation.state = to
      })
    const total = <A>(all: Iterable<A>, amount: (one: A) => number) =>
      [...all].reduce((sum, one) => sum + amount(one), 0)

    return Context.make(Inventory, {
      reserve: (order) =>
        Effect.map(Step.idempotencyKey, (key) => {
          if (!reservations.has(key)) reservations.set(key, { units: units(order), state: "reserved" })
          return new Reservation({ id: ReservationId.make(key) })
        }),
      release: (id) => move(id, "reserved", "released"),
      take: (id) => move(id, "reserved", "taken"),
      putBack: (id) => move(id, "taken", "reserved")
    }).pipe(
      Context.add(Payments, {
        charge: (order) =>
          Effect.map(Step.idempotencyKey, (key) => {
            if (options.careless) booked += order.total
            else if (!payments.has(key)) payments.set(key, { amount: order.total, state: "charged" })
            return new Payment({ id: PaymentId.make(key), amount: order.total })
          }),
        find: (key) =>
          Effect.sync(() => {
            const payment = payments.get(key)
            if (payment === undefined && !options.careless) payments.set(key, { amount: 0, state: "refused" })
            return payment?.state === "charged"
              ? Option.some(new Payment({ id: PaymentId.make(key), amount: payment.amount }))
              : Option.none()
          }),
        refund: (id) =>
          Effect.sync(() => {
            const payment = payments.get(id)
            if (payment?.state === "charged") payment.state = "refunded"
          })
      }),
      Context.add(Carrier, {
        ship: (order) =>
          Effect.map(Step.idempotencyKey, (key) => {
            parcels.add(key)
            return `parcel-${order.id}`
          })
      }),
      Context.add(Mail, { send: () => Effect.void }),
      Context.add(Books, {
        held: Effect.sync(() => ({
          reserved: total(reservations.values(), (_) => _.state === "reserved" ? _.units : 0),
          taken: total(reservations.values(), (_) => _.state === "taken" ? _.units : 0),
          charged: booked + total(payments.values(), (_) => _.state === "charged" ? _.amount : 0),
          parcels: parcels.size
        }))
      })
    )
  }))
