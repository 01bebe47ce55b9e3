/**
 * Testing a saga as users do: on virtual time, with a log of what its steps did, and steps that fail on demand.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Schedule, Schema } from "effect"
import { Saga, SagaError, SagaInspector, Step, Timer } from "effect-saga"
import { SagaTest } from "effect-saga/testing"
import * as World from "../utils/World.ts"

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}
class NoCarrier extends Schema.TaggedError<NoCarrier>()("NoCarrier", {}) {}
class RefundRejected extends Schema.TaggedError<RefundRejected>()("RefundRejected", {}) {}

const Order = Saga.make("Order", {
  payload: Schema.String,
  success: Schema.String,
  error: Schema.Union([Declined, NoCarrier, Step.TimedOut]),
  compensationError: Schema.Union([RefundRejected, Step.TimedOut]),
  idempotencyKey: (id) => id
})

const twice = Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 2 }))

const OrderLive = Order.toLayer(Effect.fn(function*(id) {
  yield* Step.make("Reserve", { execute: Effect.void, compensate: () => Effect.void })
  yield* Step.make("Charge", {
    success: Schema.String,
    error: Declined,
    execute: Effect.succeed(`payment ${id}`),
    timeout: "5 seconds",
    check: () => Effect.succeed(Option.some("found")),
    retry: twice,
    compensate: () => Effect.void as Effect.Effect<void, RefundRejected>,
    compensation: { retry: twice, timeout: "5 seconds", check: () => Effect.succeed(Option.none()) }
  })
  yield* Timer.sleep("until it is packed", "2 days")
  return yield* Step.make("Ship", {
    success: Schema.String,
    error: NoCarrier,
    execute: Effect.succeed(`tracking ${id}`),
    compensate: () => Effect.void
  })
}))

const live = OrderLive.pipe(Layer.provideMerge(SagaTest.layer))

const log = SagaTest.SagaTest.use((test) => test.log)

describe("SagaTest", () => {
  it.effect("gives up when the time is over, whatever it is", () =>
    Effect.gen(function*() {
      for (const within of ["1 second", "5 seconds", "1 day", "8 days"] as const) {
        const error = yield* Effect.flip(SagaTest.run(Effect.never, { within }))
        assert.strictEqual(error._tag, "NotEnded")
      }
    }).pipe(Effect.provide(live)))

  it.effect("runs a saga to its end in no time, and logs what its steps did", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* SagaTest.run(Order.execute("1")), Exit.succeed("tracking 1"))
      const acts = yield* SagaTest.SagaTest.use((test) => test.acts)
      assert.deepStrictEqual(acts.map((_) => [_.name, _.key, _.attempt, _.at, _.outcome]), [
        ["Reserve", "Order/1/0/Reserve/0/0", 1, 0, "succeeded"],
        ["Charge", "Order/1/0/Charge/0/0", 1, 0, "succeeded"],
        ["Ship", "Order/1/0/Ship/0/0", 1, 2 * 86_400_000, "succeeded"]
      ])
    }).pipe(Effect.provide(live)))

  it.effect("lets a step fail, and a compensation, as often as is said", () =>
    Effect.gen(function*() {
      yield* SagaTest.fail("Ship", new NoCarrier())
      yield* SagaTest.fail("Charge", new RefundRejected(), { kind: "compensate", times: 2 })
      const exit = yield* SagaTest.run(Order.execute("1"))
      assert.deepStrictEqual(World.errorOf(exit), new NoCarrier())
      const undone = ["undo Charge", "undo Charge", "undo Charge", "undo Reserve"]
      assert.deepStrictEqual(yield* log, ["Reserve", "Charge", "Ship", ...undone])
      const key = "Order/1/0/Charge/0/compensation"
      assert.strictEqual(yield* SagaTest.SagaTest.use((test) => test.times(key)), 3)
    }).pipe(Effect.provide(live)))

  it.effect("lets a step hang, lose its answer, take long, die", () =>
    Effect.gen(function*() {
      yield* SagaTest.hang("Charge")
      assert.isTrue(Exit.isSuccess(yield* SagaTest.run(Order.execute("hangs"))))
      assert.deepStrictEqual(yield* log, ["Reserve", "Charge", "check Charge", "Ship"])
      yield* SagaTest.loseAnswer("Charge")
      yield* SagaTest.delay("Reserve", "1 hour")
      assert.isTrue(Exit.isSuccess(yield* SagaTest.run(Order.execute("loses"))))
      const acts = (yield* SagaTest.SagaTest.use((test) => test.acts)).slice(4)
      assert.deepStrictEqual(acts.map((_) => [_.name, _.outcome]), [
        ["Reserve", "succeeded"],
        ["Charge", "interrupted"],
        ["check Charge", "succeeded"],
        ["Ship", "succeeded"]
      ])
      assert.strictEqual(acts[1]!.at - acts[0]!.at, 3_600_000)
      yield* SagaTest.die("Ship", new Error("a bug"))
      assert.strictEqual(World.whyParked(yield* SagaTest.run(Order.execute("dies"))).why._tag, "Defect")
    }).pipe(Effect.provide(live)))

  it.effect("lets a compensation time out, and its check", () =>
    Effect.gen(function*() {
      yield* SagaTest.fail("Ship", new NoCarrier())
      yield* SagaTest.hang("Charge", { kind: "compensate" })
      yield* SagaTest.delay("Charge", "1 minute", { kind: "checkCompensation" })
      yield* SagaTest.run(Order.execute("1"))
      const undone = ["undo Charge", "check undo Charge", "undo Charge", "undo Reserve"]
      assert.deepStrictEqual((yield* log).slice(3), undone)
    }).pipe(Effect.provide(live)))

  it.effect("stops where a saga waits: what it did so far, its records, and its journal are there to see", () =>
    Effect.gen(function*() {
      const id = yield* Order.start("1")
      yield* SagaTest.settle
      assert.deepStrictEqual(yield* log, ["Reserve", "Charge"])
      const polled = yield* Order.poll(id)
      assert.strictEqual(polled._tag, "Suspended")
      assert.deepStrictEqual(polled.compensations.map((_) => [_.step, _.status]), [
        ["Reserve", "pending"],
        ["Charge", "pending"]
      ])
      const inspector = yield* SagaInspector.SagaInspector
      assert.strictEqual((yield* inspector.list({ status: "suspended" })).items.length, 1)
      yield* Order.cancel(id)
      const exit = yield* SagaTest.run(Order.result(id))
      assert.instanceOf((World.errorOf(exit) as SagaError.SagaError).reason, SagaError.Cancelled)
      assert.deepStrictEqual((yield* log).slice(2), ["undo Charge", "undo Reserve"])
    }).pipe(Effect.provide(live)))

  it.effect("says when something does not end, and what was done so far", () =>
    Effect.gen(function*() {
      yield* SagaTest.hang("Ship")
      const error = yield* Effect.flip(SagaTest.run(Order.execute("1"), { within: "10 days" }))
      assert.include(
        error.message,
        "It has not ended within 10d of virtual time. What steps did: Reserve, Charge, Ship."
      )
    }).pipe(Effect.provide(live)))

  it("needs no test framework: the layer brings its own clock", async () => {
    const exit = await Effect.runPromise(SagaTest.run(Order.execute("1")).pipe(Effect.provide(live)))
    assert.deepStrictEqual(exit, Exit.succeed("tracking 1"))
  })

  it.effect("is new each time it is provided", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 2; n++) {
        const seen = yield* Effect.provide(Effect.andThen(SagaTest.run(Order.execute("1")), log), live)
        assert.strictEqual(seen.length, 3)
      }
    }))
})

const Parcel = Saga.make("Parcel", {
  payload: Schema.Int,
  success: Schema.String,
  error: NoCarrier,
  idempotencyKey: String
})

const Parcels = Saga.make("Parcels", {
  payload: Schema.Int,
  success: Schema.Array(Schema.String),
  error: NoCarrier,
  idempotencyKey: String
})

const ParcelsLive = Layer.merge(
  Parcel.toLayer((n) =>
    Effect.andThen(
      Timer.sleep("until it is packed", "1 day"),
      Step.make(`Ship ${n}`, {
        success: Schema.String,
        error: NoCarrier,
        execute: Effect.succeed(`tracking ${n}`),
        compensate: () => Effect.void
      })
    )
  ),
  Parcels.toLayer((count) =>
    Effect.forEach(
      Array.from({ length: count }, (_, n) => n),
      (n) => Saga.child(Parcel, n, { name: `parcel ${n}`, onParentRollback: () => Effect.void }),
      { concurrency: "unbounded" }
    )
  )
)

describe("SagaTest, with children", () => {
  it.effect("runs parents and children, and lets a step of a child fail", () =>
    Effect.gen(function*() {
      const all = yield* SagaTest.run(Parcels.execute(2))
      assert.deepStrictEqual(all, Exit.succeed(["tracking 0", "tracking 1"]))
      yield* SagaTest.fail("Ship 2", new NoCarrier())
      assert.deepStrictEqual(World.errorOf(yield* SagaTest.run(Parcels.execute(3))), new NoCarrier())
      assert.includeMembers([...yield* log], ["Ship 0", "Ship 1", "Ship 2"])
    }).pipe(Effect.provide(ParcelsLive.pipe(Layer.provideMerge(SagaTest.layer)))))

  it.live("crashEverywhere takes parents and children through every point", () =>
    Effect.gen(function*() {
      const report = yield* SagaTest.crashEverywhere(Parcels, 1, { handlers: ParcelsLive })
      assert.isAbove(report.runs, 50)
      // A step of a child refuses in a course of its own, and then its parent rolls back.
      assert.sameMembers(report.courses.map(({ status }) => status), ["completed", "rolledback"])
    }), 60_000)
})
