/**
 * A shop and those it works with: an inventory, a payment provider, a carrier, a mail service.
 *
 * Each remembers in tables of its own what it did, under the idempotency key of the step that asked for it: asked again
 * with the same key, it answers the same and does nothing. That is all that a saga asks of a participant.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, FileSystem, Layer, Option, Result, Schema } from "effect"
import { Step } from "effect-saga"
import { Crash } from "./crash.ts"
import { shopSchema } from "./database.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const Item = Schema.Struct({
  sku: Schema.NonEmptyString,
  quantity: Schema.Int.check(Schema.isGreaterThan(0)),
  /** In cents. */
  price: Schema.Int.check(Schema.isGreaterThan(0))
})
type Item = typeof Item.Type

export class Order extends Schema.Class<Order>("Order")({
  id: Schema.NonEmptyString,
  customer: Schema.NonEmptyString,
  city: Schema.NonEmptyString,
  card: Schema.NonEmptyString,
  items: Schema.NonEmptyArray(Item)
}) {
  get total(): number {
    return this.items.reduce((sum, item) => sum + item.quantity * item.price, 0)
  }
}

export const ReservationId = Schema.String.pipe(Schema.brand("ReservationId"))
export const PaymentId = Schema.String.pipe(Schema.brand("PaymentId"))

export class Reservation extends Schema.Class<Reservation>("Reservation")({ id: ReservationId }) {}
export class Payment extends Schema.Class<Payment>("Payment")({ id: PaymentId, amount: Schema.Int }) {}
export class Receipt extends Schema.Class<Receipt>("Receipt")({ payment: Payment, tracking: Schema.String }) {}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { sku: Schema.String }) {}
export class Damaged extends Schema.TaggedError<Damaged>()("Damaged", { sku: Schema.String }) {}
export class PaymentDeclined extends Schema.TaggedError<PaymentDeclined>()("PaymentDeclined", {
  reason: Schema.String
}) {}
export class PaymentsBusy extends Schema.TaggedError<PaymentsBusy>()("PaymentsBusy", {}) {}
export class RefundRejected extends Schema.TaggedError<RefundRejected>()("RefundRejected", {
  reason: Schema.String
}) {}
export class CarrierBusy extends Schema.TaggedError<CarrierBusy>()("CarrierBusy", {}) {}

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

export class Inventory extends Context.Service<Inventory, {
  readonly reserve: (order: Order) => Effect.Effect<Reservation, OutOfStock, Step.StepContext>
  readonly release: (id: typeof ReservationId.Type) => Effect.Effect<void>
  /** Takes what is reserved out of the stock. */
  readonly take: (id: typeof ReservationId.Type) => Effect.Effect<void, Damaged>
  readonly putBack: (id: typeof ReservationId.Type) => Effect.Effect<void>
}>()("example/Inventory") {}

export class Payments extends Context.Service<Payments, {
  readonly charge: (order: Order) => Effect.Effect<Payment, PaymentDeclined | PaymentsBusy, Step.StepContext>
  /** Whether the charge with this key happened; if not, it never will. */
  readonly find: (key: string) => Effect.Effect<Option.Option<Payment>>
  readonly refund: (id: typeof PaymentId.Type) => Effect.Effect<void, RefundRejected>
}>()("example/Payments") {}

export class Carrier extends Context.Service<Carrier, {
  readonly ship: (order: Order) => Effect.Effect<string, CarrierBusy, Step.StepContext>
}>()("example/Carrier") {}

export class Mail extends Context.Service<Mail, {
  readonly send: (order: Order, text: string) => Effect.Effect<void, never, Step.StepContext>
}>()("example/Mail") {}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** What is in stock at the start. Whoever unpacks a vase finds it damaged. */
const stock = { "TEA-BLACK": 60, "TEA-GREEN": 40, "MUG-BLUE": 30, "POT-IRON": 12, "VASE-GLASS": 5, "SCALE-GOLD": 1 }

/** The test cards of a well-known payment provider. */
const declinedCard = "4000 0000 0000 0002"
const busyCard = "4000 0000 0000 0119"
const refundRejectedCard = "4000 0000 0000 5126"

/** Where the carrier is busy, at first. */
const busyCity = "Tórshavn"

/** A participant is at the other end of a network. */
const network = Effect.sleep("8 millis")

const database = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const table = (name: string) => sql(`${shopSchema}.${name}`)
  return { sql, table }
})

const layerTables = Layer.effectDiscard(Effect.gen(function*() {
  const { sql, table } = yield* database
  yield* sql`CREATE SCHEMA IF NOT EXISTS ${sql(shopSchema)}`
  yield* sql`
    CREATE TABLE IF NOT EXISTS ${table("item")}
      (sku text PRIMARY KEY, initial int NOT NULL, on_hand int NOT NULL, reserved int NOT NULL DEFAULT 0)`
  yield* sql`
    CREATE TABLE IF NOT EXISTS ${table("reservation")}
      (key text PRIMARY KEY, order_id text NOT NULL, items jsonb NOT NULL, state text NOT NULL)`
  yield* sql`
    CREATE TABLE IF NOT EXISTS ${table("payment")}
      (key text PRIMARY KEY, order_id text, card text, amount int NOT NULL, state text NOT NULL)`
  yield* sql`CREATE TABLE IF NOT EXISTS ${table("parcel")} (key text PRIMARY KEY, order_id text NOT NULL)`
  yield* sql`
    CREATE TABLE IF NOT EXISTS ${table("letter")} (key text PRIMARY KEY, order_id text NOT NULL, text text NOT NULL)`
  yield* sql`
    CREATE TABLE IF NOT EXISTS ${table("request")}
      (participant text, order_id text, count int NOT NULL, PRIMARY KEY (participant, order_id))`
  yield* sql`CREATE TABLE IF NOT EXISTS ${table("bank")} (accepts_refunds bool NOT NULL)`
  for (const [sku, initial] of Object.entries(stock)) {
    yield* sql`
      INSERT INTO ${table("item")} (sku, initial, on_hand) VALUES (${sku}, ${initial}, ${initial})
      ON CONFLICT DO NOTHING`
  }
}))

/** Whether this is one of the first two requests for an order. */
const busyAtFirst = Effect.fnUntraced(function*(participant: string, order: Order) {
  const { sql, table } = yield* database
  const [row] = yield* sql<{ readonly count: number }>`
    INSERT INTO ${table("request")} AS r VALUES (${participant}, ${order.id}, 1)
    ON CONFLICT (participant, order_id) DO UPDATE SET count = r.count + 1 RETURNING count`
  return row!.count <= 2
}, Effect.orDie)

const layerInventory = Layer.effect(
  Inventory,
  Effect.gen(function*() {
    const { sql, table } = yield* database

    /** Moves a reservation from one state to another, and the stock with it; a second time it does nothing. */
    const move = (id: string, from: string, to: string, change: (item: Item) => Effect.Effect<unknown, unknown>) =>
      sql.withTransaction(Effect.gen(function*() {
        const [row] = yield* sql<{ readonly items: ReadonlyArray<Item> }>`
          UPDATE ${table("reservation")} SET state = ${to} WHERE key = ${id} AND state = ${from} RETURNING items`
        for (const item of row?.items ?? []) yield* change(item)
      })).pipe(Effect.orDie, Effect.delay("8 millis"))

    return Inventory.of({
      reserve: Effect.fnUntraced(function*(order) {
        const id = ReservationId.make(yield* Step.idempotencyKey)
        yield* network
        yield* sql.withTransaction(Effect.gen(function*() {
          const added = yield* sql`
            INSERT INTO ${table("reservation")} VALUES (${id}, ${order.id}, ${sql.json(order.items)}, 'reserved')
            ON CONFLICT (key) DO NOTHING RETURNING key`
          if (added.length === 0) return
          for (const { quantity, sku } of order.items.toSorted((a, b) => a.sku < b.sku ? -1 : 1)) {
            const reserved = yield* sql`
              UPDATE ${table("item")} SET reserved = reserved + ${quantity}
              WHERE sku = ${sku} AND on_hand - reserved >= ${quantity} RETURNING sku`
            if (reserved.length === 0) return yield* new OutOfStock({ sku })
          }
        })).pipe(Effect.catchTag("SqlError", Effect.die))
        return new Reservation({ id })
      }),
      release: (id) =>
        move(
          id,
          "reserved",
          "released",
          ({ quantity, sku }) => sql`UPDATE ${table("item")} SET reserved = reserved - ${quantity} WHERE sku = ${sku}`
        ),
      take: Effect.fnUntraced(function*(id) {
        const [vase] = yield* Effect.orDie(sql`
          SELECT 1 FROM ${table("reservation")} WHERE key = ${id} AND items @> '[{"sku": "VASE-GLASS"}]'`)
        if (vase !== undefined) return yield* new Damaged({ sku: "VASE-GLASS" })
        yield* move(id, "reserved", "taken", ({ quantity, sku }) =>
          sql`
            UPDATE ${table("item")} SET on_hand = on_hand - ${quantity}, reserved = reserved - ${quantity}
            WHERE sku = ${sku}`)
      }),
      putBack: (id) =>
        move(id, "taken", "reserved", ({ quantity, sku }) =>
          sql`
            UPDATE ${table("item")} SET on_hand = on_hand + ${quantity}, reserved = reserved + ${quantity}
            WHERE sku = ${sku}`)
    })
  })
)

const layerPayments = Layer.effect(
  Payments,
  Effect.gen(function*() {
    const { sql, table } = yield* database
    const crash = yield* Crash
    const context = yield* Effect.context<PgClient.PgClient>()

    return Payments.of({
      charge: Effect.fnUntraced(function*(order) {
        const id = PaymentId.make(yield* Step.idempotencyKey)
        yield* network
        if (order.card === declinedCard) return yield* new PaymentDeclined({ reason: "insufficient funds" })
        if (order.card === busyCard && (yield* busyAtFirst("payments", order))) return yield* new PaymentsBusy()
        yield* Effect.orDie(sql`
          INSERT INTO ${table("payment")} VALUES (${id}, ${order.id}, ${order.card}, ${order.total}, 'charged')
          ON CONFLICT (key) DO NOTHING`)
        // The worst moment: the money has moved, and nobody but the bank knows.
        yield* crash.at(`charging order ${order.id}`)
        return new Payment({ id, amount: order.total })
      }, Effect.provideContext(context)),
      find: Effect.fnUntraced(function*(key) {
        yield* network
        // What is not there is filled with a refusal, so that a late request with this key finds it.
        yield* sql`
          INSERT INTO ${table("payment")} (key, amount, state) VALUES (${key}, 0, 'refused') ON CONFLICT DO NOTHING`
        const [row] = yield* sql<{ readonly amount: number; readonly state: string }>`
          SELECT amount, state FROM ${table("payment")} WHERE key = ${key}`
        return row === undefined || row.state === "refused"
          ? Option.none()
          : Option.some(new Payment({ id: PaymentId.make(key), amount: row.amount }))
      }, Effect.orDie),
      refund: Effect.fnUntraced(function*(id) {
        yield* network
        const rows = yield* Effect.orDie(sql<{ readonly order_id: string }>`
          UPDATE ${table("payment")} SET state = 'refunded'
          WHERE key = ${id} AND (card <> ${refundRejectedCard} OR EXISTS (SELECT FROM ${table("bank")}))
          RETURNING order_id`)
        if (rows[0] === undefined) return yield* new RefundRejected({ reason: "account closed" })
        yield* crash.at(`refunding order ${rows[0].order_id}`)
      })
    })
  })
)

const layerCarrier = Layer.effect(
  Carrier,
  Effect.gen(function*() {
    const { sql, table } = yield* database
    const context = yield* Effect.context<PgClient.PgClient>()
    return Carrier.of({
      ship: Effect.fnUntraced(function*(order) {
        const key = yield* Step.idempotencyKey
        yield* network
        if (order.city === busyCity && (yield* busyAtFirst("carrier", order))) return yield* new CarrierBusy()
        yield* Effect.orDie(sql`
          INSERT INTO ${table("parcel")} VALUES (${key}, ${order.id}) ON CONFLICT (key) DO NOTHING`)
        return `parcel-${order.id}`
      }, Effect.provideContext(context))
    })
  })
)

const layerMail = Layer.effect(
  Mail,
  Effect.gen(function*() {
    const { sql, table } = yield* database
    return Mail.of({
      send: Effect.fnUntraced(function*(order, text) {
        const key = yield* Step.idempotencyKey
        yield* network
        yield* Effect.orDie(sql`
          INSERT INTO ${table("letter")} VALUES (${key}, ${order.id}, ${text}) ON CONFLICT (key) DO NOTHING`)
      })
    })
  })
)

/** Everybody that the order saga works with. */
export const layer = Layer.mergeAll(layerInventory, layerPayments, layerCarrier, layerMail).pipe(
  Layer.provide(layerTables)
)

// ---------------------------------------------------------------------------------------------------------------------
// the shop's own questions
// ---------------------------------------------------------------------------------------------------------------------

/** From now on the bank accepts the refunds that it rejected. */
export const reopenAccounts = Effect.gen(function*() {
  const { sql, table } = yield* database
  yield* sql`INSERT INTO ${table("bank")} VALUES (true)`
})

/** What the participants hold: the stock as a whole, everything else for the orders with these ids. */
export const books = Effect.fnUntraced(function*(ids: ReadonlyArray<string>) {
  const { sql, table } = yield* database
  const [stock] = yield* sql<{ initial: number; onHand: number; reserved: number }>`
    SELECT sum(initial)::int AS initial, sum(on_hand)::int AS "onHand", sum(reserved)::int AS reserved
    FROM ${table("item")}`
  const reservations = yield* sql<{ order: string; state: string; units: number }>`
    SELECT order_id AS order, state,
      (SELECT sum((item ->> 'quantity')::int) FROM jsonb_array_elements(items) AS item)::int AS units
    FROM ${table("reservation")}`
  const payments = yield* sql<{ order: string; charged: number; refunded: number; times: number }>`
    SELECT order_id AS order, sum(amount)::int AS charged, count(*)::int AS times,
      coalesce(sum(amount) FILTER (WHERE state = 'refunded'), 0)::int AS refunded
    FROM ${table("payment")} WHERE state <> 'refused' GROUP BY order_id`
  const parcels = yield* sql<{ order: string }>`SELECT order_id AS order FROM ${table("parcel")}`
  const letters = yield* sql<{ order: string }>`SELECT order_id AS order FROM ${table("letter")}`
  const mine = <A extends { readonly order: string }>(rows: ReadonlyArray<A>) =>
    rows.filter(({ order }) => ids.includes(order))
  return {
    stock: stock!,
    reservations: { all: reservations, mine: mine(reservations) },
    payments: mine(payments),
    parcels: mine(parcels),
    letters: mine(letters)
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// the order file
// ---------------------------------------------------------------------------------------------------------------------

/** The order file cannot be used at all. */
export class OrderFileError extends Schema.TaggedError<OrderFileError>()("OrderFileError", {
  path: Schema.String,
  issue: Schema.String
}) {
  override get message(): string {
    return `The order file ${this.path} cannot be read: ${this.issue}. Give a JSON file with an array of orders.`
  }
}

/** An order of the file: read, or what is wrong with it. */
export type Read = Result.Result<Order, { readonly line: string; readonly issue: string }>

const decodeFile = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Array(Schema.Json)))
const decodeOrder = Schema.decodeUnknownResult(Order, { errors: "all", reportInput: true })

/** Reads each order for itself: a malformed one does not keep the others from being processed. */
export const readOrders = Effect.fn("readOrders")(function*(path: string) {
  const files = yield* FileSystem.FileSystem
  const problem = (error: { readonly message: string }) =>
    new OrderFileError({ path, issue: error.message.split("\n")[0]! })
  const text = yield* Effect.mapError(files.readFileString(path), problem)
  const orders = yield* Effect.mapError(decodeFile(text), problem)
  return orders.map((order, index): Read =>
    Result.mapError(decodeOrder(order), (error) => ({
      line: `Order ${index + 1} of the file${idOf(order)}`,
      issue: error.message.replaceAll(/\n\s+/g, " ").replaceAll("\n", "; ")
    }))
  )
})

const idOf = (order: Schema.Json): string =>
  typeof order === "object" && order !== null && "id" in order && typeof order["id"] === "string"
    ? ` (${order["id"]})`
    : ""
