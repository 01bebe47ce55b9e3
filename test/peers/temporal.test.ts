/**
 * The trip of Temporal's saga samples: a car, a hotel and a flight are booked, and when one of them is not to be had,
 * the others are cancelled. What its `Saga` class has options for is asked of a saga here.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Schedule, Schema } from "effect"
import { Saga, SagaEngine, SagaError, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import { Refused, Stuck } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const options = {
  payload: Schema.String,
  success: Schema.Array(Schema.String),
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: (traveller: string) => traveller
} as const

const Trip = Saga.make("Trip", options)
const AtOnce = Saga.make("Trip", { ...options, compensation: "parallel" })

const soldOut = (what: string) => new Refused({ step: `book ${what}` })
const twoMore = Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 2 }))

type Options = Step.CompensationOptions<Stuck, never>

/** Cancels what was booked; the agency may refuse that too. */
const cancel = (agency: World.Parts, what: string) =>
  Effect.mapError(agency.act(`cancel ${what}`, undefined), () => new Stuck({ step: what }))

/** Books, and cancels its own booking, by its number, when the trip fails later. */
const book = <const Name extends string>(
  agency: World.Parts,
  name: Step.Literal<Name>,
  compensation?: Options,
  retry?: Schedule.Schedule<unknown, Refused>
) =>
  Step.make(name, {
    success: Schema.String,
    error: Refused,
    execute: agency.act(`book ${name}`, `${name} 1`),
    retry,
    compensate: (booking) => cancel(agency, booking),
    compensation
  })

/** Each compensation is known once its activity is done. */
const after = (options: Options = {}, saga = Trip) => (agency: World.Parts) =>
  saga.toLayer(() =>
    Effect.all([book(agency, "Car", options), book(agency, "Hotel", options), book(agency, "Flight", options)])
  )

/** Each compensation is known before its activity is asked, so that it runs for one that failed, too. */
const before = (agency: World.Parts) =>
  Trip.toLayer(() =>
    Effect.forEach(["Car", "Hotel", "Flight"] as const, (what) =>
      Effect.andThen(
        Saga.onRollback(`Cancel${what}`, () => cancel(agency, what)),
        Step.readonly(what, { success: Schema.String, error: Refused, execute: agency.act(`book ${what}`, what) })
      ))
  )

/** An agency, and the engine that books with it. */
const open = Effect.fnUntraced(function*(
  live: (agency: World.Parts) => Layer.Layer<never, never, SagaEngine.SagaEngine>,
  faults: Readonly<Record<string, ReadonlyArray<World.Fault>>>
) {
  const agency = World.makeParts()
  for (const [act, list] of Object.entries(faults)) agency.faults.set(act, [...list])
  const engine = yield* Layer.build(Layer.provideMerge(live(agency), SagaEngine.layerMemory))
  const id = Trip.executionId("Ada")
  return {
    ...agency,
    travel: World.ended(Effect.provideContext(Trip.execute("Ada"), engine)),
    result: World.ended(Effect.provideContext(Trip.result(id), engine)),
    start: Effect.provideContext(Trip.start("Ada"), engine),
    poll: Effect.provideContext(Trip.poll(id), engine),
    cancel: Effect.provideContext(Trip.cancel(id, { reason: "she fell ill" }), engine),
    resume: Effect.provideContext(Trip.resume(id), engine)
  }
})

const booked = ["book Car", "book Hotel", "book Flight"]

describe("booking a trip", () => {
  it.effect("books everything, and cancels nothing", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), {})
      assert.deepStrictEqual(yield* trip.travel, Exit.succeed(["Car 1", "Hotel 1", "Flight 1"]))
      assert.deepStrictEqual(trip.log, booked)
    }))

  it.effect("cancels in reverse order what was booked when the flight fails, and fails with why", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), { "book Flight": ["refuse"] })
      assert.deepStrictEqual(World.errorOf(yield* trip.travel), soldOut("Flight"))
      assert.deepStrictEqual(trip.log, [...booked, "cancel Hotel 1", "cancel Car 1"])
    }))

  it.effect("cancels only what was booked when the hotel fails; nobody asks for a flight", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), { "book Hotel": ["refuse"] })
      assert.deepStrictEqual(World.errorOf(yield* trip.travel), soldOut("Hotel"))
      assert.deepStrictEqual(trip.log, ["book Car", "book Hotel", "cancel Car 1"])
    }))

  it.effect("with compensations that are added before the activities, the one that failed is cancelled too", () =>
    Effect.gen(function*() {
      const trip = yield* open(before, { "book Flight": ["refuse"] })
      assert.deepStrictEqual(World.errorOf(yield* trip.travel), soldOut("Flight"))
      assert.deepStrictEqual(trip.log, [...booked, "cancel Flight", "cancel Hotel", "cancel Car"])
    }))

  it.effect("an activity's retries come first: it is compensated for when they have ended", () =>
    Effect.gen(function*() {
      const ferry = (agency: World.Parts) =>
        Trip.toLayer(() => Effect.all([book(agency, "Car"), book(agency, "Ferry", {}, twoMore)]))
      const twice = yield* open(ferry, { "book Ferry": ["refuse", "refuse"] })
      assert.deepStrictEqual(yield* twice.travel, Exit.succeed(["Car 1", "Ferry 1"]))
      const often = yield* open(ferry, { "book Ferry": ["refuse", "refuse", "refuse"] })
      assert.deepStrictEqual(World.errorOf(yield* often.travel), soldOut("Ferry"))
      assert.deepStrictEqual(often.log, ["book Car", "book Ferry", "book Ferry", "book Ferry", "cancel Car 1"])
    }))
})

describe("parallelCompensation", () => {
  it.effect("off, as here by default: one compensation has ended and is recorded before the next begins", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), { "book Flight": ["refuse"] })
      trip.gate("cancel Hotel 1")
      yield* trip.start
      yield* trip.hasBegun("cancel Hotel 1")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(trip.log, [...booked, "cancel Hotel 1"])
      yield* trip.gate("cancel Hotel 1").open
      yield* trip.result
      assert.deepStrictEqual(trip.log, [...booked, "cancel Hotel 1", "cancel Car 1"])
    }))

  it.effect("on: all begin together, and none waits for another", () =>
    Effect.gen(function*() {
      const trip = yield* open(after({}, AtOnce), { "book Flight": ["refuse"] })
      trip.gate("cancel Hotel 1")
      yield* trip.start
      yield* trip.hasBegun("cancel Hotel 1")
      yield* trip.hasBegun("cancel Car 1")
      yield* trip.gate("cancel Hotel 1").open
      assert.deepStrictEqual(World.errorOf(yield* trip.result), soldOut("Flight"))
      assert.deepStrictEqual(trip.log.slice(3).toSorted(), ["cancel Car 1", "cancel Hotel 1"])
    }))

  it.effect("what may be cancelled at the same time may also be one compensation", () =>
    Effect.gen(function*() {
      const trip = yield* open((agency) =>
        Trip.toLayer(() =>
          Effect.andThen(
            Saga.onRollback("CancelBoth", () =>
              Effect.all([cancel(agency, "Car"), cancel(agency, "Hotel")], { concurrency: 2, discard: true })),
            Effect.all([book(agency, "Flight")])
          )
        ), { "book Flight": ["refuse"] })
      trip.gate("cancel Car")
      trip.gate("cancel Hotel")
      yield* trip.start
      yield* trip.hasBegun("cancel Car")
      yield* trip.hasBegun("cancel Hotel")
      yield* trip.gate("cancel Hotel").open
      yield* trip.gate("cancel Car").open
      assert.deepStrictEqual(World.errorOf(yield* trip.result), soldOut("Flight"))
    }))
})

describe("continueWithError", () => {
  const faults = { "book Flight": ["refuse"], "cancel Hotel 1": ["refuse"] } as const

  it.effect("on, as here by default: the others are cancelled, and what is left names the one that was not", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), faults)
      const parked = World.whyParked(yield* trip.travel)
      assert.deepStrictEqual(trip.log, [...booked, "cancel Hotel 1", "cancel Car 1"])
      assert.deepStrictEqual(parked.why, { _tag: "CompensationFailed" })
      assert.deepStrictEqual(parked.original, { _tag: "Failed", error: soldOut("Flight") })
      assert.deepStrictEqual(parked.unresolved, [
        { step: "Hotel", attempts: 1, error: new Stuck({ step: "Hotel 1" }), defect: undefined }
      ])
    }))

  it.effect("off, onFailure \"halt\": the others stand, and are named with it", () =>
    Effect.gen(function*() {
      const trip = yield* open(after({ onFailure: "halt" }), faults)
      const parked = World.whyParked(yield* trip.travel)
      assert.deepStrictEqual(trip.log, [...booked, "cancel Hotel 1"])
      assert.deepStrictEqual(parked.unresolved.map((_) => _.step), ["Car", "Hotel"])
    }))

  it.effect("a compensation is an activity with retries of its own", () =>
    Effect.gen(function*() {
      const trip = yield* open(after({ retry: twoMore }), { ...faults, "cancel Hotel 1": ["refuse", "refuse"] })
      assert.deepStrictEqual(World.errorOf(yield* trip.travel), soldOut("Flight"))
      assert.deepStrictEqual(trip.log, [
        ...booked,
        "cancel Hotel 1",
        "cancel Hotel 1",
        "cancel Hotel 1",
        "cancel Car 1"
      ])
    }))

  it.effect("the workflow does not end there: once the cause is mended it goes on, with what is left alone", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), faults)
      World.whyParked(yield* trip.travel)
      trip.log.length = 0
      yield* trip.resume
      assert.deepStrictEqual(World.errorOf(yield* trip.result), soldOut("Flight"))
      assert.deepStrictEqual(trip.log, ["cancel Hotel 1"])
    }))
})

describe("cancellation", () => {
  const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
    const error = World.errorOf(exit)
    assert.instanceOf(error, SagaError.SagaError)
    return error.reason
  }

  it.effect("of the workflow cancels what was booked; the activity in flight is awaited and cancelled too", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), {})
      trip.gate("book Flight")
      yield* trip.start
      yield* trip.hasBegun("book Flight")
      yield* trip.cancel
      yield* World.quiet
      assert.deepStrictEqual(trip.log, booked)
      yield* trip.gate("book Flight").open
      assert.deepInclude(reasonOf(yield* trip.result), { _tag: "Cancelled", reason: "she fell ill" })
      assert.deepStrictEqual(trip.log, [...booked, "cancel Flight 1", "cancel Hotel 1", "cancel Car 1"])
    }))

  it.effect("does not reach the compensations: a second one is refused while they run", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), { "book Flight": ["refuse"] })
      trip.gate("cancel Hotel 1")
      yield* trip.start
      yield* trip.hasBegun("cancel Hotel 1")
      assert.strictEqual((yield* trip.poll)._tag, "Compensating")
      assert.strictEqual((yield* Effect.flip(trip.cancel)).reason._tag, "NotAccepting")
      yield* trip.gate("cancel Hotel 1").open
      assert.deepStrictEqual(World.errorOf(yield* trip.result), soldOut("Flight"))
      assert.deepStrictEqual(trip.log, [...booked, "cancel Hotel 1", "cancel Car 1"])
    }))

  it.effect("of whoever waits is not one of the workflow", () =>
    Effect.gen(function*() {
      const trip = yield* open(after(), {})
      trip.gate("book Flight")
      const waiting = yield* Effect.forkChild(trip.travel)
      yield* trip.hasBegun("book Flight")
      yield* Fiber.interrupt(waiting)
      yield* trip.gate("book Flight").open
      assert.deepStrictEqual(yield* trip.result, Exit.succeed(["Car 1", "Hotel 1", "Flight 1"]))
    }))

  it.effect("of a trip that runs in memory shields the compensations in the same way", () =>
    Effect.gen(function*() {
      const agency = World.makeParts()
      agency.gate("book Flight")
      agency.gate("cancel Hotel 1")
      const trip = yield* Effect.forkChild(Saga.transact(
        Effect.all([book(agency, "Car"), book(agency, "Hotel"), book(agency, "Flight")])
      ))
      yield* agency.hasBegun("book Flight")
      const first = yield* Effect.forkChild(Fiber.interrupt(trip))
      yield* World.quiet
      yield* agency.gate("book Flight").open
      yield* agency.hasBegun("cancel Hotel 1")
      const second = yield* Effect.forkChild(Fiber.interrupt(trip))
      yield* World.quiet
      yield* agency.gate("cancel Hotel 1").open
      yield* Fiber.joinAll([first, second])
      const exit = yield* Fiber.await(trip)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.deepStrictEqual(agency.log, [...booked, "cancel Flight 1", "cancel Hotel 1", "cancel Car 1"])
    }))
})
