/**
 * A shop's orders, each a saga: reserve the goods, charge the card, take the goods out of the stock; then, past the
 * point of no return, ship and notify. What fails is undone, and what the death of the process cuts off is finished by
 * the next one: this program kills itself twice to show it.
 *
 * `npm start` runs it on an embedded PostgreSQL in `.data/orders`, `DATABASE_URL=postgres://... npm start` on a server.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect, Layer, References, Result } from "effect"
import { Command, Flag } from "effect/cli"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { Crash, supervise } from "./support/crash.ts"
import * as Database from "./support/database.ts"
import { PlaceOrder, PlaceOrderLive } from "./support/order.ts"
import * as Report from "./support/report.ts"
import { count, fail, print, progress } from "./support/screen.ts"
import type { Order } from "./support/shop.ts"
import * as Shop from "./support/shop.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the program
// ---------------------------------------------------------------------------------------------------------------------

/** The orders during which the process kills itself, once each. */
const crashes: Readonly<Record<string, string>> = { 1023: "charging order 1023", 1024: "refunding order 1024" }

interface Options {
  readonly data: string
  readonly orders: string
  readonly fresh: boolean
  readonly resume: boolean
  readonly process: number
}

/** Where the execution of an order stands; undefined if it was never started. */
const poll = (order: Order) =>
  PlaceOrder.poll(PlaceOrder.executionId(order)).pipe(
    Effect.catchReason("SagaError", "UnknownExecution", () => Effect.undefined)
  )

/** Places an order, or finds that it was placed before; says what it did not even start. */
const place = Effect.fnUntraced(function*(order: Order, resume: boolean) {
  const id = PlaceOrder.executionId(order)
  if (resume && (yield* poll(order))?._tag === "Parked") yield* PlaceOrder.resume(id)
  const result = yield* Effect.result(PlaceOrder.execute(order))
  if (Result.isFailure(result) && result.failure._tag === "SagaError") {
    const { reason } = result.failure
    if (reason._tag === "StoreUnavailable") return yield* result.failure
    if (reason._tag !== "Parked" && reason._tag !== "Cancelled") return { order, id, refused: reason.message }
  }
  return { order, id, refused: undefined }
})

/** One process: it finishes what another one left behind, and places the orders that are not placed yet. */
const work = Effect.fn("work")(function*(options: Options) {
  const read = yield* Shop.readOrders(options.orders)
  const orders = read.flatMap((one) => Result.isSuccess(one) ? [one.success] : [])
  if (options.process === 1) {
    print(`${count(read.length, "order")} in ${path.relative("", options.orders)}`)
    print(`The journals and the shop's own tables are in ${Database.describe(options.data)}.`)
    const known = (yield* Effect.forEach(orders, poll)).filter((status) => status !== undefined)
    if (known.length > 0) print(`Placed by an earlier run, and not done a second time: ${known.length}.`)
  }
  if (options.resume) yield* Shop.reopenAccounts

  let ended = 0
  const placing = (order: Order) =>
    Effect.tap(
      place(order, options.resume),
      () => Effect.sync(() => progress(`${++ended} of ${orders.length} orders; the last was ${order.id}`))
    )
  const calm = orders.filter((order) => crashes[order.id] === undefined)
  const placed = yield* Effect.forEach(calm, placing, { concurrency: 4 })
  // Alone, so that what the dying process leaves behind is the same in every run.
  placed.push(...yield* Effect.forEach(orders.filter((order) => !calm.includes(order)), placing))

  yield* Report.print(read, placed)
})

const worker = (options: Options) => {
  const EngineLive = PlaceOrderLive.pipe(
    Layer.provide(Shop.layer),
    Layer.provide(Crash.layer(Object.values(crashes))),
    Layer.provideMerge(Database.layerEngine),
    Layer.provideMerge(Database.layerStore)
  )
  return Effect.provide(work(options), Layer.provideMerge(EngineLive, Database.layer(options.data)))
}

const supervisor = Effect.fn("supervisor")(function*(options: Options) {
  if (options.fresh) yield* Effect.provide(Database.forget, Database.layer(options.data))
  const code = yield* supervise((process) => [
    `--data=${options.data}`,
    `--orders=${options.orders}`,
    `--process=${process}`,
    ...options.resume ? ["--resume"] : []
  ])
  process.exitCode = code
})

const command = Command.make("orders", {
  data: Flag.String("data").pipe(
    Flag.withMetavar("folder"),
    Flag.withDescription("The folder of the embedded database, where DATABASE_URL names no server; also ORDERS_DATA"),
    Flag.withDefault(process.env["ORDERS_DATA"] ?? ".data/orders")
  ),
  orders: Flag.File("orders").pipe(
    Flag.withDescription("The order file"),
    Flag.withDefault(fileURLToPath(new URL("./orders.json", import.meta.url)))
  ),
  fresh: Flag.Boolean("fresh").pipe(
    Flag.withDescription("Forget what earlier runs did"),
    Flag.withDefault(false)
  ),
  resume: Flag.Boolean("resume").pipe(
    Flag.withDescription("Let the bank accept the refunds that it rejected, and resume the parked executions"),
    Flag.withDefault(false)
  ),
  process: Flag.Int("process").pipe(Flag.withDefault(0), Flag.withHidden)
}, (options) => Effect.catch(options.process === 0 ? supervisor(options) : worker(options), fail)).pipe(
  Command.withDescription("Places the orders of a file, each as a saga, and survives being killed.")
)

Command.run(command, { version: "0.1.0" }).pipe(
  Effect.provide(NodeServices.layer),
  // What parks is warned of in the log; here the report says it.
  Effect.provideService(References.MinimumLogLevel, "Error"),
  NodeRuntime.runMain
)

// Output:
// 24 orders in <...>orders.json
// The journals and the shop's own tables are in <...>.
// The process kills itself (SIGKILL) while it is charging order 1023.
// It is gone. Another one starts on the same data.
// The process kills itself (SIGKILL) while it is refunding order 1024.
// It is gone. Another one starts on the same data.
//
// 1001 Ada Lovelace, 25.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1002 Grace Hopper, 32.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1003 Alan Turing, 64.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1004 Edsger Dijkstra, 42.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1005 Niklaus Wirth, 128.00: rolled back after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ✗ ChargePayment failed after <...>: PaymentDeclined (reason "insufficient funds").
// <...> ms  « The saga rolls back, because it failed with PaymentDeclined (reason "insufficient funds").
// <...> ms  « It undoes ReserveInventory.
// <...> ms  ↩ ReserveInventory was undone in <...>.
//
// 1006 Barbara Liskov, 48.50: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1007 Jens Fink, 72.00: completed after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ✓ ChargePayment succeeded in <...>.
// <...> ms  ✓ UpdateInventory succeeded in <...>.
// <...> ms  = The point of no return is passed: from here on nothing is undone.
// <...> ms  ↻ ShipOrder was refused at attempt 1: CarrierBusy. It is tried again in <...>.
// <...> ms  ↻ ShipOrder was refused at attempt 2: CarrierBusy. It is tried again in <...>.
// <...> ms  ✓ ShipOrder succeeded at attempt 3 in <...>.
// <...> ms  ✓ NotifyCustomer succeeded in <...>.
//
// 1008 Tony Hoare, 760.00: failed at once after <...> ms
// <...> ms  ✗ ReserveInventory failed after <...>: OutOfStock (sku "SCALE-GOLD").
// <...> ms  « The saga rolls back, because it failed with OutOfStock (sku "SCALE-GOLD").
// <...> ms  « There is nothing to undo.
//
// Order 9 of the file (1009): malformed. Expected number, got "two" at ["items"][0]["quantity"]
//
// 1010 John McCarthy, 75.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1011 Frances Allen, 89.00: completed after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ↻ ChargePayment was refused at attempt 1: PaymentsBusy. It is tried again in <...>.
// <...> ms  ↻ ChargePayment was refused at attempt 2: PaymentsBusy. It is tried again in <...>.
// <...> ms  ✓ ChargePayment succeeded at attempt 3 in <...>.
// <...> ms  ✓ UpdateInventory succeeded in <...>.
// <...> ms  = The point of no return is passed: from here on nothing is undone.
// <...> ms  ✓ ShipOrder succeeded in <...>.
// <...> ms  ✓ NotifyCustomer succeeded in <...>.
//
// 1012 Donald Knuth, 42.00: rolled back after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ✓ ChargePayment succeeded in <...>.
// <...> ms  ✗ UpdateInventory failed after <...>: Damaged (sku "VASE-GLASS").
// <...> ms  « The saga rolls back, because it failed with Damaged (sku "VASE-GLASS").
// <...> ms  « It undoes ChargePayment and ReserveInventory.
// <...> ms  ↩ ChargePayment was undone in <...>.
// <...> ms  ↩ ReserveInventory was undone in <...>.
//
// 1013 Robin Milner, 56.00: parked after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ✓ ChargePayment succeeded in <...>.
// <...> ms  ✗ UpdateInventory failed after <...>: Damaged (sku "VASE-GLASS").
// <...> ms  « The saga rolls back, because it failed with Damaged (sku "VASE-GLASS").
// <...> ms  « It undoes ChargePayment and ReserveInventory.
// <...> ms  ↻ Undoing ChargePayment failed at attempt 1: RefundRejected (reason <...>). It is tried again in <...>.
// <...> ms  ↻ Undoing ChargePayment failed at attempt 2: RefundRejected (reason <...>). It is tried again in <...>.
// <...> ms  ✗ ChargePayment cannot be undone, after 3 attempts: RefundRejected (reason "account closed").
// <...> ms  ↩ ReserveInventory was undone in <...>.
// <...> ms  ■ It is parked for a person, because a compensation failed for good.
// <...> ms  ✗ Not undone yet: ChargePayment (3 attempts, RefundRejected (reason "account closed")).
// <...> ms  → A person can mend the cause and retry; or undo ChargePayment by hand and skip it; or abandon it as it is.
//
// 1014 Mary Kenneth Keller, 18.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1015 Kristen Nygaard, 28.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1016 Adele Goldberg, 12.50: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1017 Leslie Lamport, 64.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1018 Karen Spärck Jones, 61.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1019 Peter Naur, 14.00: rolled back after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ✗ ChargePayment failed after <...>: PaymentDeclined (reason "insufficient funds").
// <...> ms  « The saga rolls back, because it failed with PaymentDeclined (reason "insufficient funds").
// <...> ms  « It undoes ReserveInventory.
// <...> ms  ↩ ReserveInventory was undone in <...>.
//
// 1020 Shafi Goldwasser, 37.50: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1021 Radia Perlman, 380.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1022 Jean Bartik, 18.00: completed after <...> ms
//     ReserveInventory <...>, ChargePayment <...>, UpdateInventory <...>, ShipOrder <...>, NotifyCustomer <...> ms
//
// 1023 Hector Garcia-Molina, 46.00: completed after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ⚡ Worker <...> recovered it, as the process that had it was gone. ChargePayment was in doubt.
// <...> ms  ✓ The check found that ChargePayment had succeeded.
// <...> ms  ✓ UpdateInventory succeeded in <...>.
// <...> ms  = The point of no return is passed: from here on nothing is undone.
// <...> ms  ✓ ShipOrder succeeded in <...>.
// <...> ms  ✓ NotifyCustomer succeeded in <...>.
//
// 1024 Kenneth Salem, 54.50: rolled back after <...> ms
// <...> ms  ✓ ReserveInventory succeeded in <...>.
// <...> ms  ✓ ChargePayment succeeded in <...>.
// <...> ms  ✗ UpdateInventory failed after <...>: Damaged (sku "VASE-GLASS").
// <...> ms  « The saga rolls back, because it failed with Damaged (sku "VASE-GLASS").
// <...> ms  « It undoes ChargePayment and ReserveInventory.
// <...> ms  ⚡ Worker <...> recovered it, as the process that had it was gone. Undoing ChargePayment was in doubt.
// <...> ms  ↩ ChargePayment was undone in <...>.
// <...> ms  ↩ ReserveInventory was undone in <...>.
//
//  24 orders read
//  17 completed
//   4 rolled back     1005, 1012, 1019, 1024
//   1 failed at once  1008
//   1 parked          1013
//   1 malformed
//
// The books of those who took part
//     money: 1265.00 charged, 96.50 of it refunded; 1112.50 is for what was completed, 56.00 is stuck
//     stock: 148 units at first, 107 now; 41 taken out, 0 reserved
//     17 parcels and 17 letters for 17 completed orders
// They add up: nobody was charged twice, and what was undone left nothing behind.
//
// Parked: 1013. A person looks into it, and then `npm start -- --resume` goes on with it.
