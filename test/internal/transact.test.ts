import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Schedule, Schema } from "effect"
import { Saga, SagaError, Step } from "effect-saga"
import { TestClock } from "effect/testing"
import { Refused, Shop, step, Stuck } from "../utils/Shop.ts"

const shopped = <A, E>(test: Effect.Effect<A, E, Shop>) => Effect.provide(test, Shop.layer)

const parked = (error: unknown): SagaError.Parked => {
  assert.instanceOf(error, SagaError.SagaError)
  const { reason } = error
  assert.strictEqual(reason._tag, "Parked")
  return reason as SagaError.Parked
}

describe("Saga.transact", () => {
  it.effect("answers the body's result and undoes nothing when it succeeds", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      const result = yield* Saga.transact(Effect.all([step("A"), step("B")]))
      assert.deepStrictEqual(result, ["A done", "B done"])
      assert.deepStrictEqual(shop.names(), ["A", "B"])
    })))

  it.effect("undoes what happened in reverse order and fails with the body's own error", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("C", ["refuse"])
      const error = yield* Effect.flip(Saga.transact(Effect.all([step("A"), step("B"), step("C")])))
      assert.deepStrictEqual(error, new Refused({ step: "C" }))
      assert.deepStrictEqual(shop.names(), ["A", "B", "C", "undo B", "undo A"])
    })))

  it.effect("retries by the step's schedule, under a new key after each refusal", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("A", ["refuse", "refuse"])
      const flaky = Step.make("A", {
        success: Schema.String,
        error: Refused,
        execute: Shop.use((_) => _.run("do", "A")),
        compensate: () => Effect.void,
        retry: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
      })
      const fiber = yield* Effect.forkChild(Saga.transact(flaky))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(shop.log.length, 2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), "A done")
      assert.strictEqual(new Set(shop.log.map((_) => _.key)).size, 3)
    })))

  it.effect("rolls back when it is interrupted, after the step in flight has ended", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      const latch = yield* Deferred.make<void>()
      const slow = Step.make("Slow", {
        execute: Deferred.await(latch),
        compensate: () => Effect.asVoid(Shop.use((_) => Effect.orDie(_.run("undo", "Slow"))))
      })
      const fiber = yield* Effect.forkChild(Saga.transact(Effect.all([step("A"), slow, step("B")])))
      yield* Effect.yieldNow
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* Effect.yieldNow
      assert.deepStrictEqual(shop.names(), ["A"])
      yield* Deferred.succeed(latch, undefined)
      yield* Fiber.join(interrupting)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.deepStrictEqual(shop.names(), ["A", "undo Slow", "undo A"])
    })))

  it.effect("rolls back on a defect, which goes on as a defect", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("B", ["die"])
      const exit = yield* Effect.exit(Saga.transact(Effect.all([step("A"), step("B")])))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.deepStrictEqual(shop.names(), ["A", "B", "undo A"])
    })))

  it.effect("names every compensation that failed for good, with the original failure", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("C", ["refuse"])
      shop.faults.set("undo B", ["refuse"])
      const why = parked(yield* Effect.flip(Saga.transact(Effect.all([step("A"), step("B"), step("C")]))))
      assert.deepStrictEqual(why.original, { _tag: "Failed", error: new Refused({ step: "C" }) })
      assert.deepStrictEqual(why.unresolved, [
        { step: "B", attempts: 1, error: new Stuck({ step: "B" }), defect: undefined }
      ])
      assert.deepStrictEqual(shop.names(), ["A", "B", "C", "undo B", "undo A"])
    })))

  it.effect("undoes a scope at once, and lets the body try another way", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("Truck", ["refuse"])
      const result = yield* Saga.transact(Effect.gen(function*() {
        yield* step("A")
        return yield* Saga.scoped(Effect.andThen(step("Book"), step("Truck"))).pipe(
          Effect.catchTag("Refused", () => step("Ship"))
        )
      }))
      assert.strictEqual(result, "Ship done")
      assert.deepStrictEqual(shop.names(), ["A", "Book", "Truck", "undo Book", "Ship"])
    })))

  it.effect("asks check after a timeout, and takes its answer", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("A", ["hang"])
      const checked = Step.make("A", {
        success: Schema.String,
        error: Refused,
        execute: Shop.use((_) => _.run("do", "A")),
        timeout: "1 second",
        check: () => Effect.as(Shop.use((_) => Effect.orDie(_.run("check", "A"))), Option.some("found")),
        compensate: () => Effect.void
      })
      const fiber = yield* Effect.forkChild(Saga.transact(checked))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), "found")
      assert.deepStrictEqual(shop.names(), ["A", "check A"])
    })))

  it.effect("reports a step of which nobody knows, after everything else is undone", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("B", ["hang"])
      const doubtful = Step.make("B", {
        success: Schema.String,
        error: Refused,
        execute: Shop.use((_) => _.run("do", "B")),
        timeout: "1 second",
        unknown: "park",
        compensate: () => Effect.void
      })
      const fiber = yield* Effect.forkChild(Effect.flip(Saga.transact(Effect.andThen(step("A"), doubtful))))
      yield* TestClock.adjust("1 second")
      const why = parked(yield* Fiber.join(fiber))
      assert.strictEqual(why.why._tag, "Unknown")
      assert.deepStrictEqual(why.unresolved.map((_) => _.step), ["B"])
      assert.deepStrictEqual(shop.names(), ["A", "B", "undo A"])
    })))

  it.effect("runs what waits for the commit after the body, and holds what waits for a roll-back", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      const note = (name: string) => Shop.use((_) => Effect.orDie(_.run("do", name)))
      const body = Effect.gen(function*() {
        yield* Saga.onCommit("Mail", note("mail"))
        yield* Saga.onRollback("Apologize", () => note("apologize"))
        return yield* step("A")
      })
      yield* Saga.transact(body)
      assert.deepStrictEqual(shop.names(), ["A", "mail"])
      shop.log.length = 0
      shop.faults.set("A", ["refuse"])
      yield* Effect.exit(Saga.transact(body))
      assert.deepStrictEqual(shop.names(), ["A", "apologize"])
    })))
})
