/**
 * Restate's guide to sagas: a compensation is registered after an action that gives an id to undo it by, or before an
 * action that is asked with a key of the caller; terminal errors and cancellations are compensated for, others are
 * retried.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Random, Schedule, Schema } from "effect"
import { Saga, SagaError, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

/** A service of others, which lives on when a process dies: what it answered is kept by key. */
const makeDesk = () => {
  const bookings = new Map<string, "reserved" | "confirmed" | "cancelled">()
  return {
    bookings,
    reserve: (id: string) =>
      Effect.suspend(() => {
        if (bookings.get(id) === "cancelled") return Effect.die(new Error(`${id} was cancelled before`))
        bookings.set(id, bookings.get(id) ?? "reserved")
        return Effect.succeed(id)
      }),
    confirm: (id: string) => Effect.sync(() => void bookings.set(id, "confirmed")),
    /** Right whether it is known or not; it is refused from then on. */
    cancel: (id: string) => Effect.sync(() => void bookings.set(id, "cancelled"))
  }
}

const refused = (step: string) => new Refused({ step })

const partsWith = (faults: Readonly<Record<string, ReadonlyArray<World.Fault>>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

describe("a two-phase API: reserve, then confirm or cancel", () => {
  /** Reserves under a number that the desk gives, pays, and confirms when nothing can fail any more. */
  const trip = (desk: ReturnType<typeof makeDesk>) =>
    World.body(({ parts, step }) =>
      Effect.gen(function*() {
        const id = yield* Step.make("Flight", {
          success: Schema.String,
          error: Refused,
          execute: Effect.andThen(
            parts.act("reserve", undefined),
            Effect.flatMap(Step.idempotencyKey, desk.reserve)
          ),
          compensate: (id) => Effect.andThen(parts.seen("cancel", id), desk.cancel(id))
        })
        yield* Saga.onCommit("ConfirmFlight", Effect.andThen(parts.seen("confirm", id), desk.confirm(id)))
        return yield* step("Payment")
      })
    )

  it.effect("the compensation is the step's own and has the id of the reservation", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const world = yield* World.make(trip(desk), partsWith({ Payment: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("Payment"))
      assert.deepStrictEqual(world.parts.log, ["reserve", "Payment", "cancel=S/1/0/Flight/0/0"])
      assert.deepStrictEqual([...desk.bookings], [["S/1/0/Flight/0/0", "cancelled"]])
    }).pipe(Effect.scoped))

  it.effect("a reservation that was refused is not cancelled", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const world = yield* World.make(trip(desk), partsWith({ reserve: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("reserve"))
      assert.deepStrictEqual(world.parts.log, ["reserve"])
    }).pipe(Effect.scoped))

  it.effect("it is confirmed when nothing can fail any more", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const world = yield* World.make(trip(desk))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Payment done"))
      assert.deepStrictEqual(world.parts.log, ["reserve", "Payment", "confirm=S/1/0/Flight/0/0"])
      assert.deepStrictEqual([...desk.bookings.values()], ["confirmed"])
    }).pipe(Effect.scoped))

  it.effect("after a crash at any point there is one reservation, and it is cancelled", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const parts = partsWith({ Payment: ["refuse"] })
      const world = yield* World.make(trip(desk), parts())
      yield* world.execute
      const appends = (yield* world.journal).length
      for (let n = 1; n < appends; n++) {
        const desk = makeDesk()
        // What the first process did is there.
        if (n > 1) yield* desk.reserve("S/1/0/Flight/0/0")
        const recovered = yield* world.crashed(n, trip(desk), parts())
        assert.deepStrictEqual(World.errorOf(yield* recovered.result), refused("Payment"))
        assert.deepStrictEqual([...desk.bookings], [["S/1/0/Flight/0/0", "cancelled"]], `after ${n}`)
      }
    }).pipe(Effect.scoped))
})

describe("a one-shot API that is asked with a key of the caller", () => {
  type Given = {
    readonly timeout: "1 minute"
    readonly unknown: "refused"
  }

  /** Makes a key, registers the refund under it, and charges under it. */
  const trip = (desk: ReturnType<typeof makeDesk>, given: Given | { readonly timeout?: undefined } = {}) =>
    World.body(({ parts, step }) =>
      Effect.gen(function*() {
        yield* step("Hotel")
        const key = `payment ${yield* Random.nextInt}`
        yield* Saga.onRollback("Refund", () => Effect.andThen(parts.act("refund", undefined), desk.cancel(key)))
        yield* step("Charge", {
          ...given,
          // The act comes last: where it hangs, the money has gone.
          execute: Effect.andThen(desk.reserve(key), parts.act("charge", key))
        })
        return yield* step("Ticket")
      })
    )

  it.effect("the refund is registered before: it runs in its place, for a charge that happened", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const world = yield* World.make(trip(desk), partsWith({ Ticket: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("Ticket"))
      assert.deepStrictEqual(world.parts.log, ["Hotel", "charge", "Ticket", "undo Charge", "refund", "undo Hotel"])
      assert.deepStrictEqual([...desk.bookings.values()], ["cancelled"])
    }).pipe(Effect.scoped))

  it.effect("and for one that was refused, where there is nothing to give back: it must be right for that, too", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const world = yield* World.make(trip(desk), partsWith({ charge: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("charge"))
      assert.deepStrictEqual(world.parts.log, ["Hotel", "charge", "refund", "undo Hotel"])
    }).pipe(Effect.scoped))

  it.effect("and for one of which nobody knows: it timed out, the money had gone, and it comes back", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const live = trip(desk, { timeout: "1 minute", unknown: "refused" })
      const world = yield* World.make(live, partsWith({ charge: ["hang"] })())
      assert.instanceOf(World.errorOf(yield* world.execute), Step.TimedOut)
      assert.deepStrictEqual(world.parts.log, ["Hotel", "charge", "refund", "undo Hotel"])
      assert.deepStrictEqual([...desk.bookings.values()], ["cancelled"])
    }).pipe(Effect.scoped))

  it.effect("not for one that was never asked for: it is not registered yet", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const world = yield* World.make(trip(desk), partsWith({ Hotel: ["refuse"] })())
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["Hotel"])
      assert.strictEqual(desk.bookings.size, 0)
    }).pipe(Effect.scoped))

  it.effect("the key that the body makes is the same after every crash", () =>
    Effect.gen(function*() {
      const desk = makeDesk()
      const parts = partsWith({ Ticket: ["refuse"] })
      const world = yield* World.make(trip(desk), parts())
      yield* world.execute
      const [key] = [...desk.bookings.keys()]
      const appends = (yield* world.journal).length
      for (let n = 1; n < appends; n++) {
        const desk = makeDesk()
        const recovered = yield* world.crashed(n, trip(desk), parts())
        assert.deepStrictEqual(World.errorOf(yield* recovered.result), refused("Ticket"))
        assert.isTrue([...desk.bookings.keys()].every((_) => _ === key), `after ${n}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a step has such a key without making one; its compensation has another", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) => Effect.andThen(step("Charge"), step("Ticket"))),
        partsWith({ Ticket: ["refuse"] })()
      )
      yield* world.execute
      assert.deepStrictEqual(world.parts.keys.filter((_) => _.includes("Charge")), [
        "Charge S/1/0/Charge/0/0",
        "undo Charge S/1/0/Charge/0/compensation"
      ])
    }).pipe(Effect.scoped))
})

describe("terminal errors and the others", () => {
  const trip = (retry?: Schedule.Schedule<unknown>, undoing?: Schedule.Schedule<unknown>) =>
    World.body(({ step }) =>
      Effect.andThen(step("Car", { compensation: { retry: undoing } }), step("Hotel", { retry }))
    )
  const patient = Schedule.spaced("1 second")
  const twenty = Array.from({ length: 20 }, () => "refuse" as const)

  it.effect("an error is terminal here when its step has no schedule for it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(trip(), partsWith({ Hotel: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("Hotel"))
      assert.deepStrictEqual(world.parts.log, ["Car", "Hotel", "undo Car"])
    }).pipe(Effect.scoped))

  it.effect("a schedule without end retries it until it succeeds, and nothing is compensated for", () =>
    Effect.gen(function*() {
      const world = yield* World.make(trip(patient), partsWith({ Hotel: twenty })())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Hotel done"))
      assert.strictEqual(world.parts.log.filter((_) => _ === "Hotel").length, 21)
      assert.notInclude(world.parts.log, "undo Car")
    }).pipe(Effect.scoped))

  it.effect("a schedule may tell them apart, which is to say which are terminal", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        Effect.andThen(
          step("Car"),
          Step.make("Hotel", {
            error: Refused,
            execute: Effect.gen(function*() {
              yield* parts.act("Hotel", undefined)
              return yield* refused((yield* Step.attempt) < 3 ? "busy" : "full")
            }),
            retry: patient.pipe(
              Schedule.setInputType<Refused>(),
              Schedule.while(({ input }) => input.step === "busy")
            ),
            compensate: () => Effect.void
          })
        )
      ))
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("full"))
      assert.deepStrictEqual(world.parts.log, ["Car", "Hotel", "Hotel", "Hotel", "undo Car"])
    }).pipe(Effect.scoped))

  it.effect("compensations are retried in the same way", () =>
    Effect.gen(function*() {
      const world = yield* World.make(trip(undefined, patient), partsWith({ Hotel: ["refuse"], "undo Car": twenty })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("Hotel"))
      assert.strictEqual(world.parts.log.filter((_) => _ === "undo Car").length, 21)
    }).pipe(Effect.scoped))

  it.effect("what nobody declared is a bug: it is neither retried nor compensated for, and waits for its repair", () =>
    Effect.gen(function*() {
      const world = yield* World.make(trip(patient), partsWith({ Hotel: ["die"] })())
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Defect", step: "Hotel" })
      assert.deepStrictEqual(world.parts.log, ["Car", "Hotel"])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("Hotel done"))
      assert.deepStrictEqual(world.parts.log, ["Car", "Hotel", "Hotel"])
    }).pipe(Effect.scoped))
})

describe("cancellation", () => {
  const cancelled = (exit: Exit.Exit<unknown, unknown>) => {
    const error = World.errorOf(exit)
    assert.instanceOf(error, SagaError.SagaError)
    assert.strictEqual(error.reason._tag, "Cancelled")
  }

  it.effect("ends a wait at once and runs the compensations", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          step("Car").pipe(Effect.andThen(Effect.sleep("30 days")), Effect.andThen(step("Hotel")))
        )
      )
      yield* world.start
      yield* TestClock.adjust("1 minute")
      yield* world.cancel()
      yield* World.quiet
      assert.deepStrictEqual(world.parts.log, ["Car", "undo Car"])
      cancelled(yield* world.result)
    }).pipe(Effect.scoped))

  it.effect("is no error that the body could catch: there is nothing to rethrow", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Effect.gen(function*() {
            yield* step("Car")
            yield* Effect.catchCause(step("Hotel"), () => step("Hostel"))
            return yield* Effect.ensuring(step("Flight"), Effect.ignore(step("Train")))
          })
        )
      )
      world.parts.gate("Hotel")
      yield* world.start
      yield* world.parts.hasBegun("Hotel")
      yield* world.cancel()
      yield* World.quiet
      yield* world.parts.gate("Hotel").open
      cancelled(yield* world.result)
      assert.deepStrictEqual(world.parts.log, ["Car", "Hotel", "undo Hotel", "undo Car"])
    }).pipe(Effect.scoped))
})
