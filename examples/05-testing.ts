/**
 * Testing the order saga: how it takes a failure, whether its steps are undone, whether it survives everything that can
 * happen to its process, and a thousand orders on three workers. Each part is an effect: any test framework runs it.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Ref, Schema } from "effect"
import { Step } from "effect-saga"
import { SagaTest, Simulation } from "effect-saga/testing"
import * as assert from "node:assert/strict"
import * as Shop from "./support/in-memory.ts"
import { charge, PlaceOrder, PlaceOrderLive, reserve, updateInventory } from "./support/order.ts"
import { Damaged, Order, Reservation } from "./support/shop.ts"

const order = new Order({
  id: "1",
  customer: "Ada",
  city: "Oslo",
  card: "4242 4242 4242 4242",
  items: [{ sku: "TEA-BLACK", quantity: 2, price: 650 }]
})

// ---------------------------------------------------------------------------------------------------------------------
// how it takes a failure
// ---------------------------------------------------------------------------------------------------------------------

const whatIsDamagedIsPaidBack = Effect.gen(function*() {
  yield* SagaTest.fail("UpdateInventory", new Damaged({ sku: "TEA-BLACK" }))
  yield* SagaTest.run(PlaceOrder.execute(order))
  const { log } = yield* SagaTest.SagaTest
  yield* Console.log(`Damaged: ${(yield* log).join(", ")}`)
}).pipe(Effect.provide(PlaceOrderLive.pipe(
  Layer.provide(Shop.layer()),
  Layer.provideMerge(SagaTest.layer)
)))

// ---------------------------------------------------------------------------------------------------------------------
// whether its steps are undone
// ---------------------------------------------------------------------------------------------------------------------

const held = Effect.flatMap(Shop.Books, (books) => books.held)

const stepsAreUndone = Effect.gen(function*() {
  yield* SagaTest.undoLaws(reserve, { arbitrary: Order, observe: () => held })
  yield* SagaTest.undoLaws(charge, { arbitrary: Order, observe: () => held })
  yield* SagaTest.undoLaws(updateInventory, { arbitrary: Reservation, observe: () => held })
  yield* Console.log("Reserving, charging and taking out of the stock are undone.")
}).pipe(Effect.provide(Shop.layer()))

/** Its compensation gives the points back each time that it runs. */
const points = (balance: Ref.Ref<number>) => (amount: number) =>
  Step.make("SpendPoints", {
    success: Schema.Int,
    execute: Effect.as(Ref.update(balance, (_) => _ - amount), amount),
    compensate: (spent) => Ref.update(balance, (_) => _ + spent)
  })

const pointsAreNot = Effect.gen(function*() {
  const balance = yield* Ref.make(0)
  const broken = yield* Effect.flip(SagaTest.undoLaws(points(balance), {
    arbitrary: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 })),
    observe: () => Ref.get(balance),
    seed: 1
  }))
  yield* Console.log(broken.message)
})

// ---------------------------------------------------------------------------------------------------------------------
// whether it survives everything
// ---------------------------------------------------------------------------------------------------------------------

const everywhere = Effect.gen(function*() {
  const report = yield* SagaTest.crashEverywhere(PlaceOrder, order, {
    handlers: PlaceOrderLive,
    participants: Shop.layer(),
    check: ({ outcome }) =>
      Effect.map(held, (held) => {
        const done = outcome._tag === "Completed"
        assert.deepEqual(held, {
          reserved: 0,
          taken: done ? 2 : 0,
          charged: done ? 1_300 : 0,
          parcels: done ? 1 : 0
        })
      })
  })
  for (const { name, points, status } of report.courses) {
    yield* Console.log(`${name}: ${status}; something happened at each of ${points.length} points`)
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// a thousand orders on three workers
// ---------------------------------------------------------------------------------------------------------------------

const orders = (shop: ReturnType<typeof Shop.layer>) => ({
  handlers: PlaceOrderLive,
  participants: shop,
  start: (n: number, draw: Simulation.Draw) =>
    PlaceOrder.start(
      new Order({ ...order, id: String(n), items: [{ sku: "TEA-BLACK", quantity: draw.int(1, 5), price: 650 }] })
    ),
  check: (ended: ReadonlyArray<Simulation.Ended>) =>
    Effect.map(held, ({ charged, parcels, taken }) => {
      assert.equal(parcels, ended.filter(({ status }) => status === "completed").length)
      assert.equal(charged, taken * 650, "what was charged is what was taken")
    })
})

const aThousand = Effect.gen(function*() {
  const report = yield* Simulation.run({ seed: 1, sagas: 1_000, workers: 3, ...orders(Shop.layer()) })
  yield* Console.log(`${report.sagas} orders on ${report.workers} workers: nothing is lost`)

  // A till that books each request, not each key.
  const careless = orders(Shop.layer({ careless: true }))
  const failed = yield* Effect.flip(Simulation.run({ seed: 2, sagas: 100, workers: 3, cancels: 0, ...careless }))
  yield* Console.log(`A careless till:\n${failed.code}\n${failed.broken[0]!.timeline}`)
})

Effect.gen(function*() {
  yield* whatIsDamagedIsPaidBack
  yield* stepsAreUndone
  yield* pointsAreNot
  yield* everywhere
  yield* aThousand
}).pipe(NodeRuntime.runMain)

// Output:
// Damaged: ReserveInventory, ChargePayment, UpdateInventory, undo ChargePayment, undo ReserveInventory
// Reserving, charging and taking out of the stock are undone.
// SpendPoints breaks a law of undoing, "undone twice": a compensation that runs again under its key changes something.
//   before: 302
//   after:  303
//   input:  1
// After a crash a compensation runs again: let the participant do it once for its idempotency key. <...>
// no step refuses: completed; something happened at each of 22 points
// ReserveInventory refuses: rolledback; something happened at each of 6 points
// ChargePayment refuses: rolledback; something happened at each of 30 points
// UpdateInventory refuses: rolledback; something happened at each of 22 points
// ShipOrder refuses: completed; something happened at each of 30 points
// 1000 orders on 3 workers: nothing is lost
// A careless till:
// Simulation.replay({
//   seed: 2,
//   sagas: [57],
//   workers: 2,
//   spread: 10000,
//   troubles: [
//     { _tag: "Unavailable", at: 1926, worker: 1, lasts: 14605 }
//   ]
// }, options)
//     1557 ms  a person   [SagaStarted]
//     1559 ms  process 1  [Claimed]
//     1569 ms  process 1  [StepStarted ReserveInventory]
//     1645 ms  process 1  ReserveInventory: succeeded (key PlaceOrder/57/0/ReserveInventory/0/0, attempt 1)
//     1711 ms  process 1  [StepSucceeded ReserveInventory, StepStarted ChargePayment]
//     2028 ms  process 1  ChargePayment: succeeded (key PlaceOrder/57/0/ChargePayment/0/0, attempt 1)
//     8112 ms  process 0  [Claimed]
//     8299 ms  process 0  check ChargePayment: succeeded (key PlaceOrder/57/0/ChargePayment/0/0, attempt 1)
//     8374 ms  process 0  [AttemptFailed ChargePayment never]
//     8420 ms  process 0  ChargePayment: succeeded (key PlaceOrder/57/0/ChargePayment/0/1, attempt 2)
//     8458 ms  process 0  [StepSucceeded ChargePayment, StepStarted UpdateInventory]
//     8533 ms  process 0  UpdateInventory: succeeded (key PlaceOrder/57/0/UpdateInventory/0/0, attempt 1)
//     8578 ms  process 0  [StepSucceeded UpdateInventory, PivotPassed, StepStarted ShipOrder]
//     8724 ms  process 0  ShipOrder: succeeded (key PlaceOrder/57/0/ShipOrder/0/0, attempt 1)
//     8729 ms  process 0  [StepSucceeded ShipOrder, StepStarted NotifyCustomer]
//     8741 ms  process 0  NotifyCustomer: succeeded (key PlaceOrder/57/0/NotifyCustomer/0/0, attempt 1)
//     8887 ms  process 0  [StepSucceeded NotifyCustomer, SagaCompleted]
