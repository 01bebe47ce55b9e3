/**
 * A month in the life of a shop, in virtual time: who confirms late is reminded, who never confirms buys nothing, who
 * cancels in time pays nothing, and a parcel that takes weeks is watched from day to day.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Clock, Console, Effect, Layer } from "effect"
import { SagaTest } from "effect-saga/testing"
import * as assert from "node:assert/strict"
import { performance } from "node:perf_hooks"
import * as Shop from "./support/in-memory.ts"
import { Mail, Order } from "./support/shop.ts"
import { Confirmed, Delivered, TrackedOrder, TrackedOrderLive, Tracking, TrackingLive } from "./support/tracking.ts"

// ---------------------------------------------------------------------------------------------------------------------
// time
// ---------------------------------------------------------------------------------------------------------------------

const aDay = 86_400_000

const say = (text: string) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Console.log(`day ${String(now / aDay).padStart(4)}  ${text}`))

/** Waits for a day of the month. */
const day = (number: number) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(Math.max(0, number * aDay - now)))

// ---------------------------------------------------------------------------------------------------------------------
// people
// ---------------------------------------------------------------------------------------------------------------------

const orderOf = (customer: string) =>
  new Order({
    id: customer,
    customer,
    city: "Oslo",
    card: "4242",
    items: [{ sku: "MUG-BLUE", quantity: 1, price: 900 }]
  })

/** Places an order, and says how it ended. */
const places = Effect.fn(function*(customer: string) {
  const id = yield* TrackedOrder.start(orderOf(customer))
  const ended = TrackedOrder.result(id).pipe(
    Effect.matchEffect({
      onSuccess: (tracking) => say(`${customer}'s order is on its way as ${tracking}`),
      onFailure: (error) =>
        say(`${customer} buys nothing: ${error._tag === "SagaError" ? error.reason._tag : error._tag}`)
    })
  )
  return { id, ended }
})

/** Confirms when the reminder has come; the parcel takes until day 30. */
const ada = Effect.gen(function*() {
  const { ended, id } = yield* places("Ada")
  yield* day(1.5)
  yield* TrackedOrder.signal(id, Confirmed, { by: "phone" })
  yield* ended
  const parcel = yield* Tracking.start({ order: orderOf("Ada"), tracking: "parcel-Ada", day: 1 })
  yield* day(30)
  const { published } = yield* Tracking.poll(parcel)
  yield* say(`the parcel is on its way, now on its ${published.day}th day`)
  yield* Tracking.signal(parcel, Delivered, { signedBy: "the neighbour" })
  const { days, signedBy } = yield* Tracking.result(parcel)
  yield* say(`${signedBy} signs for it, ${days} days after it was sent`)
})

/** Forgets about it. */
const bob = Effect.flatMap(places("Bob"), ({ ended }) => ended)

/** Has second thoughts within the payment window. */
const cid = Effect.gen(function*() {
  const { ended, id } = yield* places("Cid")
  yield* day(2)
  yield* TrackedOrder.cancel(id, { reason: "found a nicer mug" })
  yield* ended
})

/** Has them too late. */
const dora = Effect.gen(function*() {
  const { ended, id } = yield* places("Dora")
  yield* TrackedOrder.signal(id, Confirmed, { by: "mail" })
  yield* ended
  yield* day(2)
  const refused = yield* Effect.flip(TrackedOrder.cancel(id))
  yield* say(`Dora cannot cancel: ${refused.reason._tag}`)
})

// ---------------------------------------------------------------------------------------------------------------------
// the month
// ---------------------------------------------------------------------------------------------------------------------

const letters: Array<string> = []
const MailTest = Layer.succeed(Mail, {
  send: (_, text) => Effect.andThen(say(text), Effect.sync(() => letters.push(text)))
})

const month = Effect.gen(function*() {
  yield* SagaTest.run(Effect.all([ada, bob, cid, dora], { concurrency: "unbounded", discard: true }))
  const books = yield* Effect.flatMap(Shop.Books, (_) => _.held)
  assert.deepEqual(books, { reserved: 0, taken: 2, charged: 1_800, parcels: 2 })
}).pipe(Effect.provide(
  Layer.merge(TrackedOrderLive, TrackingLive).pipe(
    Layer.provideMerge(Layer.merge(Shop.layer(), MailTest)),
    Layer.provideMerge(SagaTest.layer)
  )
))

const began = performance.now()
month.pipe(
  Effect.andThen(
    Effect.suspend(() =>
      Console.log(`${letters.length} letters in 30 days, which took ${Math.round(performance.now() - began)} ms`)
    )
  ),
  NodeRuntime.runMain
)

// Output:
// day    0  Dora's order is on its way as parcel-Dora
// day    1  Dear Ada, please confirm your order Ada.
// day    1  Dear Bob, please confirm your order Bob.
// day    1  Dear Cid, please confirm your order Cid.
// day  1.5  Ada's order is on its way as parcel-Ada
// day    2  Dear Cid, forget about order Cid.
// day    2  Cid buys nothing: Cancelled
// day    2  Dora cannot cancel: NotAccepting
// day    3  Dear Bob, forget about order Bob.
// day    3  Bob buys nothing: NotPaid
// day  8.5  Dear Ada, after 7 days your order is still on its way.
// day 15.5  Dear Ada, after 14 days your order is still on its way.
// day 22.5  Dear Ada, after 21 days your order is still on its way.
// day 29.5  Dear Ada, after 28 days your order is still on its way.
// day   30  the parcel is on its way, now on its 29th day
// day   30  the neighbour signs for it, 29 days after it was sent
// 9 letters in 30 days, which took <...> ms
