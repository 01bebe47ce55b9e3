import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Random, Schedule } from "effect"
import { SagaError, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const spaced = (times: number) => Schedule.spaced("1 second").pipe(Schedule.upTo({ times }))

/** One step `A` with a timeout, whose check is an act. */
const checked = (answer: unknown, given: object = {}) =>
  World.body(({ parts, step }) =>
    step("A", { timeout: 1_000, check: () => Effect.orDie(parts.act("check A", answer)), ...given })
  )

/** The keys of the acts of a world, in order. */
const keysOf = (parts: World.Parts) => parts.keys.map((line) => line.slice(line.lastIndexOf(" ") + 1))
const ordinals = (parts: World.Parts) => keysOf(parts).map((key) => key.slice(key.lastIndexOf("/") + 1))

const timedOut = (exit: Exit.Exit<unknown, unknown>) => assert.instanceOf(World.errorOf(exit), Step.TimedOut)

const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason._tag
}

describe("check", () => {
  it.effect("17: Happened goes on with the value that was found", () =>
    Effect.gen(function*() {
      const world = yield* World.make(checked(Step.happened("found")))
      world.parts.faults.set("A", ["hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("found"))
      assert.deepStrictEqual(world.parts.log, ["A", "check A"])
      assert.deepStrictEqual(ordinals(world.parts), ["0", "0"])
    }))

  it.effect("17: an Option is sugar: some happened, none never will", () =>
    Effect.gen(function*() {
      const some = yield* World.make(checked(Option.some("found")))
      some.parts.faults.set("A", ["hang"])
      assert.deepStrictEqual(yield* some.execute, Exit.succeed("found"))
      const none = yield* World.make(checked(Option.none()))
      none.parts.faults.set("A", ["hang"])
      timedOut(yield* none.execute)
    }))

  it.effect("17: Never is a refusal: the Schedule tries again under the next key", () =>
    Effect.gen(function*() {
      const world = yield* World.make(checked(Step.never, { retry: spaced(2) }))
      world.parts.faults.set("A", ["hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("A done"))
      assert.deepStrictEqual(world.parts.log, ["A", "check A", "A"])
      assert.deepStrictEqual(ordinals(world.parts), ["0", "0", "1"])
    }))

  it.effect("17: Never without a Schedule fails the step, and nothing of it is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(checked(Step.never))
      world.parts.faults.set("A", ["hang"])
      timedOut(yield* world.execute)
      assert.deepStrictEqual(world.parts.log, ["A", "check A"])
    }))

  it.effect("17: StillGoing is asked again by the Schedule, under the same key", () =>
    Effect.gen(function*() {
      const answers: Array<unknown> = [Step.stillGoing, Step.stillGoing, Step.happened("found")]
      const world = yield* World.make(World.body(({ parts, step }) =>
        step("A", {
          timeout: 1_000,
          retry: spaced(5),
          check: () => Effect.orDie(Effect.map(parts.act("check A", undefined), () => answers.shift()))
        })
      ))
      world.parts.faults.set("A", ["hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("found"))
      assert.deepStrictEqual(world.parts.log, ["A", "check A", "check A", "check A"])
      assert.strictEqual(new Set(keysOf(world.parts)).size, 1)
    }))

  it.effect("17: StillGoing is asked again by the next process, not before its time", () =>
    Effect.gen(function*() {
      const live = checked(Step.stillGoing, { retry: Schedule.spaced("1 hour") })
      const world = yield* World.make(live)
      world.parts.faults.set("A", ["hang"])
      yield* world.start
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(world.parts.log, ["A", "check A"])
      const next = yield* world.crashed(2, checked(Step.happened("found"), { retry: Schedule.spaced("1 hour") }))
      next.parts.log.length = 0
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(next.parts.log, [])
      assert.deepStrictEqual(yield* next.result, Exit.succeed("found"))
      assert.isFalse(next.parts.log.includes("A"))
    }))

  it.effect("17: StillGoing parks when the Schedule has ended", () =>
    Effect.gen(function*() {
      const world = yield* World.make(checked(Step.stillGoing, { retry: spaced(2) }))
      world.parts.faults.set("A", ["hang"])
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unknown")
      assert.deepStrictEqual(world.parts.log, ["A", "check A", "check A", "check A"])
    }))

  it.effect("17: a check that dies parks", () =>
    Effect.gen(function*() {
      const world = yield* World.make(checked(Step.never))
      world.parts.faults.set("A", ["hang"])
      world.parts.faults.set("check A", ["die"])
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Defect")
    }))
})

describe("the table of doubt", () => {
  it.effect("18: timeout without check: the Schedule tries again with the same key", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) => step("A", { timeout: 1_000, unknown: "park", retry: spaced(3) }))
      )
      world.parts.faults.set("A", ["hang", "hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("A done"))
      assert.deepStrictEqual(ordinals(world.parts), ["0", "0", "0"])
    }))

  it.effect("18: timeout without check: when the Schedule ends, park parks and nothing is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Effect.andThen(step("Z"), step("A", { timeout: 1_000, unknown: "park", retry: spaced(1) }))
        )
      )
      world.parts.faults.set("A", ["hang", "hang"])
      const parked = World.whyParked(yield* world.execute)
      assert.deepInclude(parked.why, { _tag: "Unknown", step: "A" })
      assert.deepStrictEqual(world.parts.log, ["Z", "A", "A"])
    }))

  it.effect("18: timeout without check: when the Schedule ends, refused is the user's word", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Effect.andThen(step("Z"), step("A", { timeout: 1_000, unknown: "refused", retry: spaced(1) }))
        )
      )
      world.parts.faults.set("A", ["hang", "hang"])
      timedOut(yield* world.execute)
      assert.deepStrictEqual(world.parts.log, ["Z", "A", "A", "undo Z"])
    }))

  it.effect("18: a read-only step that times out is refused", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ readonly }) => readonly("R", { timeout: 1_000 })))
      world.parts.faults.set("R", ["hang"])
      timedOut(yield* world.execute)
    }))

  it.effect("18: crash with check: what happened is not done again", () =>
    Effect.gen(function*() {
      const live = checked(Step.happened("found"))
      const world = yield* World.make(live)
      yield* world.execute
      world.parts.log.length = 0
      const next = yield* world.crashed(1, live)
      assert.deepStrictEqual(yield* next.result, Exit.succeed("found"))
      assert.deepStrictEqual(next.parts.log, ["check A"])
    }))

  it.effect("18: crash with check: what never happened is done under the next key, which is durable first", () =>
    Effect.gen(function*() {
      const live = checked(Step.never)
      const world = yield* World.make(live)
      yield* world.execute
      const next = yield* world.crashed(1, live, World.makeParts())
      next.parts.gate("A")
      const fiber = yield* Effect.forkChild(next.result)
      yield* next.parts.hasBegun("A")
      assert.deepStrictEqual((yield* next.journal).at(-1), "AttemptFailed A")
      yield* next.parts.gate("A").open
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.succeed("A done"))
      assert.deepStrictEqual(next.parts.log, ["check A", "A"])
      assert.deepStrictEqual(ordinals(next.parts), ["0", "1"])
    }))

  for (const unknown of ["park", "refused"] as const) {
    it.effect(`18: crash without check: it is done again with its key, though unknown says ${unknown}`, () =>
      Effect.gen(function*() {
        const live = World.body(({ step }) => step("A", { timeout: 1_000, unknown }))
        const world = yield* World.make(live)
        yield* world.execute
        const next = yield* world.crashed(1, live)
        assert.deepStrictEqual(yield* next.result, Exit.succeed("A done"))
        assert.deepStrictEqual(next.parts.log, ["A", "A"])
        assert.strictEqual(new Set(keysOf(next.parts)).size, 1)
      }))
  }

  it.effect("18: defect: check that says Happened goes on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(checked(Step.happened("found")))
      world.parts.faults.set("A", ["die"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("found"))
    }))

  it.effect("18: defect: any other answer parks, and nothing is undone", () =>
    Effect.gen(function*() {
      for (const answer of [Step.never, Step.stillGoing]) {
        const world = yield* World.make(checked(answer, { retry: spaced(5) }))
        world.parts.faults.set("A", ["die"])
        assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Defect", step: "A" })
        assert.deepStrictEqual(world.parts.log, ["A", "check A"])
      }
    }))

  it.effect("18: cancel with a step in flight: it is awaited, then undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      const gate = world.parts.gate("A")
      const fiber = yield* Effect.forkChild(world.execute)
      yield* world.parts.hasBegun("A")
      yield* world.cancel("changed my mind")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(world.parts.log, ["A"])
      yield* gate.open
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber)), "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "undo A"])
    }))

  it.effect("18: cancel while a step backs off: it is settled by its last outcome, at once", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) => Effect.andThen(step("A"), step("B", { retry: Schedule.spaced("30 days") })))
      )
      world.parts.faults.set("B", ["refuse"])
      yield* world.start
      yield* World.quiet
      yield* world.cancel()
      yield* World.quiet
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A"])
    }))

  const pair = (given: object) =>
    World.body(({ parts, step }) =>
      Effect.all([
        step("X", {
          check: () =>
            Effect.orDie(parts.act("check X", parts.gates.has("none") ? Step.never : Step.happened("X done"))),
          ...given
        }),
        step("Y")
      ], { concurrency: 2 })
    )
  const settling = Effect.fnUntraced(function*(live: World.Live) {
    const world = yield* World.make(live)
    world.parts.gate("X")
    world.parts.faults.set("Y", ["refuse"])
    yield* world.start
    yield* World.quiet
    const appends = (yield* world.journal).length
    assert.include((yield* world.journal).at(-1), "StepFailed Y")
    const parts = World.makeParts()
    return { parts, next: yield* world.crashed(appends, live, parts) }
  })

  it.effect("18: settling before roll-back after a crash: check, and what happened is undone", () =>
    Effect.gen(function*() {
      const { next, parts } = yield* settling(pair({}))
      assert.instanceOf(World.errorOf(yield* next.result), Refused)
      assert.deepStrictEqual(parts.log, ["check X", "undo X"])
    }))

  it.effect("18: settling before roll-back after a crash: check, and what never happened is not", () =>
    Effect.gen(function*() {
      const { next, parts } = yield* settling(pair({}))
      parts.gate("none")
      assert.instanceOf(World.errorOf(yield* next.result), Refused)
      assert.deepStrictEqual(parts.log, ["check X"])
    }))

  it.effect("18: settling before roll-back after a crash: without check it is done again, then undone", () =>
    Effect.gen(function*() {
      const { next, parts } = yield* settling(pair({ check: undefined }))
      assert.instanceOf(World.errorOf(yield* next.result), Refused)
      assert.deepStrictEqual(parts.log, ["X", "undo X"])
      assert.deepStrictEqual(ordinals(parts), ["0", "compensation"])
    }))

  it.effect("18: settling after a crash in a back-off: by its own clock, its process may have tried again", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => step("A", { retry: Schedule.spaced("5 seconds") }))
      const world = yield* World.make(live)
      world.parts.faults.set("A", ["refuse"])
      yield* world.start
      yield* World.quiet
      const appends = (yield* world.journal).length
      assert.include((yield* world.journal).at(-1), "AttemptFailed A")
      const parts = World.makeParts()
      const next = yield* world.crashed(appends, live, parts)
      yield* next.cancel()
      yield* World.quiet
      assert.strictEqual((yield* next.status)._tag, "RolledBack")
      assert.deepStrictEqual(parts.log, ["A", "undo A"])
      assert.deepStrictEqual(ordinals(parts), ["1", "compensation"])
    }))

  it.effect("18: settling after a crash in a back-off: also once its successor waits for the next attempt", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.all([step("X", { retry: Schedule.spaced("5 seconds") }), step("Y")], { concurrency: 2 })
      )
      const world = yield* World.make(live)
      world.parts.faults.set("X", ["refuse"])
      world.parts.gate("Y")
      yield* world.start
      yield* World.quiet
      assert.include((yield* world.journal).at(-1), "AttemptFailed X")
      const parts = World.makeParts()
      parts.gate("Y")
      parts.faults.set("Y", ["refuse"])
      const next = yield* world.crashed((yield* world.journal).length, live, parts)
      yield* parts.hasBegun("Y")
      yield* World.quiet
      assert.deepStrictEqual(parts.log, ["Y"])
      yield* parts.gate("Y").open
      yield* World.quiet
      assert.deepStrictEqual(parts.log, ["Y", "X", "undo X"])
      assert.strictEqual((yield* next.status)._tag, "RolledBack")
    }))
})

describe("timeouts", () => {
  const stubborn = (millis: number, given: object) =>
    World.body(({ parts, step }) =>
      step("A", {
        timeout: 1_000,
        ...given,
        execute: Effect.uninterruptible(Effect.andThen(parts.act("A", ""), Effect.as(Effect.sleep(millis), "late")))
      })
    )

  it.effect("19: while it still runs, within the grace, it is neither checked nor tried again", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        step("A", {
          timeout: 1_000,
          check: () => Effect.orDie(parts.act("check A", Step.happened("found"))),
          execute: Effect.uninterruptible(Effect.andThen(parts.act("A", ""), Effect.as(Effect.sleep(4_000), "late")))
        })
      ))
      yield* world.start
      yield* TestClock.adjust(3_999)
      assert.deepStrictEqual(world.parts.log, ["A"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(world.parts.log, ["A", "check A"])
      assert.deepStrictEqual(yield* world.result, Exit.succeed("found"))
    }))

  it.effect("19: a defect that comes late, but within the grace, is the attempt's outcome", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) =>
        step("A", {
          timeout: 1_000,
          unknown: "refused",
          execute: Effect.onInterrupt(Effect.never, () => Effect.andThen(Effect.sleep(2_000), Effect.die("late")))
        })
      ))
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Defect", step: "A" })
    }))

  it.effect("19: what goes on past the grace is Unknown: neither checked, nor tried again, nor refused", () =>
    Effect.gen(function*() {
      for (
        const given of [{ unknown: "refused", retry: spaced(5) }, {
          check: () => Effect.die("asked"),
          retry: spaced(5)
        }]
      ) {
        const world = yield* World.make(stubborn(3_600_000, given))
        assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Unknown", step: "A" })
        assert.deepStrictEqual(world.parts.log, ["A"])
      }
    }))

  it.effect("19: a resume waits for it: two attempts never run side by side in one process", () =>
    Effect.gen(function*() {
      const world = yield* World.make(stubborn(3_600_000, { unknown: "park" }))
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Unknown", step: "A" })
      yield* world.resume
      yield* TestClock.adjust("30 minutes")
      assert.deepStrictEqual(world.parts.log, ["A"])
      yield* TestClock.adjust("31 minutes")
      assert.deepStrictEqual(world.parts.log, ["A", "A"])
    }))

  it.effect("19: an attempt that yields to interruption is not awaited longer than that", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => step("A", { timeout: 1_000, unknown: "refused" })))
      world.parts.faults.set("A", ["hang"])
      yield* world.start
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* world.poll)._tag, "RolledBack")
    }))
})

describe("keys", () => {
  it.effect("20: unchanged after a timeout, the next ordinal after a refusal", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) => step("A", { timeout: 1_000, unknown: "park", retry: spaced(9) }))
      )
      world.parts.faults.set("A", ["hang", "refuse", "hang", "refuse"])
      yield* world.execute
      assert.deepStrictEqual(keysOf(world.parts), [
        "S/1/0/A/0/0",
        "S/1/0/A/0/0",
        "S/1/0/A/0/1",
        "S/1/0/A/0/1",
        "S/1/0/A/0/2"
      ])
    }))

  it.effect("20: a compensation's key never changes", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) =>
        Effect.andThen(step("A", { compensation: { timeout: 1_000, retry: spaced(9) } }), step("B"))
      ))
      world.parts.faults.set("B", ["refuse"])
      world.parts.faults.set("undo A", ["refuse", "hang"])
      yield* world.execute
      assert.deepStrictEqual(
        keysOf(world.parts).slice(2),
        Array.from({ length: 3 }, () =>
          "S/1/0/A/0/compensation")
      )
    }))
})

describe("retries", () => {
  const numbered = (retry: unknown) =>
    World.body(({ parts, step }) =>
      step("A", {
        retry,
        execute: Effect.flatMap(
          Step.attempt,
          (attempt) => Effect.andThen(parts.seen("attempt", attempt), parts.act("A", "A done"))
        )
      })
    )

  it.effect("21: attempts go on counting, and the budget is not given again, after each of several crashes", () =>
    Effect.gen(function*() {
      const live = numbered(spaced(3))
      let world = yield* World.make(live)
      const parts = world.parts
      parts.faults.set("A", Array.from({ length: 20 }, () => "refuse"))
      yield* world.start
      for (const appends of [2, 4]) {
        yield* World.quiet
        world = yield* world.crashed(appends, live)
        yield* TestClock.adjust("2 seconds")
      }
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      const last = (yield* world.entries).filter((_) => _._tag === "AttemptFailed" || _._tag === "StepFailed")
      assert.deepStrictEqual(last.map((_) => "attempt" in _ ? _.attempt : 0), [1, 2, 3, 4])
    }))

  it.effect("21: the delays go on where they were, and a delay that was served is not served again", () =>
    Effect.gen(function*() {
      const live = numbered(Schedule.exponential("1 hour"))
      const world = yield* World.make(live)
      world.parts.faults.set("A", ["refuse", "refuse", "refuse"])
      yield* world.start
      yield* TestClock.adjust("1 hour")
      const wakes = (yield* world.entries).flatMap((_) => _._tag === "AttemptFailed" ? [_.wakeAt] : [])
      assert.deepStrictEqual(wakes, [3_600_000, 3 * 3_600_000])
      const again = World.makeParts()
      again.faults.set("A", ["refuse"])
      const next = yield* world.crashed((yield* world.journal).length, live, again)
      yield* TestClock.adjust("119 minutes")
      assert.deepStrictEqual(next.parts.log, [])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(next.parts.log, ["attempt=3", "A"])
      const later = (yield* next.entries).flatMap((_) => _._tag === "AttemptFailed" ? [_.wakeAt] : [])
      assert.deepStrictEqual(later, [...wakes, 7 * 3_600_000])
      // Its delay is over when the next process comes: it acts at once.
      const parts = World.makeParts()
      yield* TestClock.adjust("5 hours")
      const last = yield* next.crashed((yield* next.journal).length - 1, live, parts)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(parts.log, ["attempt=4", "A"])
      assert.deepStrictEqual(yield* last.result, Exit.succeed("A done"))
    }))

  it.effect("21: the Schedule sees the errors of before the crash", () =>
    Effect.gen(function*() {
      const inputs: Array<unknown> = []
      const live = numbered(
        Schedule.spaced("1 second").pipe(Schedule.while(({ input }) => {
          inputs.push(input)
          return true
        }))
      )
      const world = yield* World.make(live)
      world.parts.faults.set("A", ["refuse"])
      yield* world.start
      yield* World.quiet
      inputs.length = 0
      const parts = World.makeParts()
      parts.faults.set("A", ["refuse"])
      const next = yield* world.crashed(2, live, parts)
      yield* next.result
      assert.strictEqual(inputs.length, 2)
      for (const input of inputs) assert.instanceOf(input, Refused)
    }))

  it.effect("21: a jittered delay is read back, not drawn again", () =>
    Effect.gen(function*() {
      const live = numbered(Schedule.spaced("1 hour").pipe(Schedule.jittered))
      const world = yield* Effect.provideService(World.make(live), Random.Random, {
        nextIntUnsafe: () => 0,
        nextDoubleUnsafe: () => 0.9
      })
      world.parts.faults.set("A", ["refuse"])
      yield* world.start
      yield* World.quiet
      const entry = (yield* world.entries).find((_) => _._tag === "AttemptFailed")
      const wakeAt = entry?._tag === "AttemptFailed" ? entry.wakeAt! : 0
      assert.isAbove(wakeAt, 3_600_000)
      const next = yield* world.crashed(2, live, World.makeParts())
      yield* TestClock.adjust(wakeAt - 1)
      assert.deepStrictEqual(next.parts.log, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(next.parts.log, ["attempt=2", "A"])
    }))
})

describe("defects", () => {
  it.effect("22: a defect is journaled at once, siblings are awaited, then it parks; nothing new starts", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) => Effect.all([step("X"), Effect.andThen(step("Y"), step("Y2"))], { concurrency: 2 }))
      )
      world.parts.faults.set("X", ["die"])
      const gate = world.parts.gate("Y")
      const fiber = yield* Effect.forkChild(world.execute)
      yield* world.parts.hasBegun("Y")
      yield* World.quiet
      assert.include((yield* world.journal).at(-1), "AttemptFailed X@0, ParkRequested")
      assert.strictEqual((yield* world.poll)._tag, "Running")
      yield* gate.open
      assert.deepInclude(World.whyParked(yield* Fiber.join(fiber)).why, { _tag: "Defect", step: "X" })
      assert.include((yield* world.journal).at(-1), "StepSucceeded Y@1, SagaParked")
      assert.deepStrictEqual(world.parts.log, ["X", "Y"])
    }))

  it.effect("22: resume runs the step that died again, with its key, and nothing else", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))))
      )
      world.parts.faults.set("B", ["die"])
      World.whyParked(yield* world.execute)
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "B", "C"])
      assert.strictEqual(keysOf(world.parts)[1], keysOf(world.parts)[2])
    }))

  it.effect("22: a crash between the defect and its park parks it", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.all([step("X"), step("Y")], { concurrency: 2 }))
      const world = yield* World.make(live)
      world.parts.faults.set("X", ["die"])
      world.parts.gate("Y")
      yield* world.start
      yield* World.quiet
      const parts = World.makeParts()
      const next = yield* world.crashed((yield* world.journal).length, live, parts)
      assert.deepInclude(World.whyParked(yield* next.result).why, { _tag: "Defect", step: "X" })
      assert.deepStrictEqual(parts.log, [])
      yield* next.resume
      assert.deepStrictEqual(yield* next.result, Exit.succeed("X done,Y done"))
      assert.deepStrictEqual([...parts.log].sort(), ["X", "Y"])
    }))

  it.effect("22: a step that interrupts itself has a bug", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => step("A", { execute: Effect.interrupt })))
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Defect", step: "A" })
    }))
})

describe("the pivot", () => {
  const decided = (pivot: object = {}, ship: object = {}) =>
    World.settled(({ pivot: decide, retryable, step }) => ({
      attempt: step("A"),
      pivot: () => decide("P", pivot),
      settle: () => retryable("Ship", ship)
    }))

  it.effect("23: its result, PivotPassed and the next intent are one append", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided())
      yield* world.execute
      assert.deepStrictEqual(yield* world.journal, [
        "SagaStarted, StepStarted A",
        "StepSucceeded A, StepStarted P",
        "StepSucceeded P, PivotPassed, StepStarted Ship",
        "StepSucceeded Ship, SagaCompleted"
      ])
    }))

  it.effect("23: a cancel that comes while it is in flight comes too late if it happens", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided())
      const gate = world.parts.gate("P")
      const fiber = yield* Effect.forkChild(world.execute)
      yield* world.parts.hasBegun("P")
      yield* world.cancel()
      yield* World.quiet
      yield* gate.open
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.succeed("Ship done"))
      assert.deepStrictEqual(world.parts.log, ["A", "P", "Ship"])
    }))

  it.effect("23: a cancel that comes while it is in flight rolls back if it is refused", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided({ retry: spaced(3) }))
      const gate = world.parts.gate("P")
      world.parts.faults.set("P", ["refuse"])
      const fiber = yield* Effect.forkChild(world.execute)
      yield* world.parts.hasBegun("P")
      yield* world.cancel()
      yield* World.quiet
      yield* gate.open
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber)), "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "P", "undo A"])
    }))

  it.effect("23: a cancel that was recorded before a crash, the pivot in flight, still waits for the pivot", () =>
    Effect.gen(function*() {
      const live = decided()
      const world = yield* World.make(live)
      world.parts.gate("P")
      yield* world.start
      yield* world.parts.hasBegun("P")
      yield* world.cancel()
      yield* World.quiet
      assert.deepStrictEqual((yield* world.journal).at(-1), "CancelRequested")
      const parts = World.makeParts()
      const next = yield* world.crashed(3, live, parts)
      assert.deepStrictEqual(yield* next.result, Exit.succeed("Ship done"))
      assert.deepStrictEqual(parts.log, ["P", "Ship"])
    }))

  it.effect("23: past it a cancel is refused with TooLate", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided())
      world.parts.gate("Ship")
      yield* world.start
      yield* world.parts.hasBegun("Ship")
      const error = yield* Effect.flip(world.cancel())
      assert.strictEqual(error.reason._tag, "TooLate")
      assert.deepStrictEqual(yield* world.status, { _tag: "Running", pivotPassed: true })
    }))

  it.effect("23: its timeout with check goes on when it happened, rolls back when it never will", () =>
    Effect.gen(function*() {
      for (const answer of [Step.happened("P done"), Step.never]) {
        const world = yield* World.make(World.settled(({ parts, pivot, retryable, step }) => ({
          attempt: step("A"),
          pivot: () => pivot("P", { timeout: 1_000, check: () => Effect.orDie(parts.act("check P", answer)) }),
          settle: () => retryable("Ship")
        })))
        world.parts.faults.set("P", ["hang"])
        const exit = yield* world.execute
        if (answer._tag === "Happened") assert.deepStrictEqual(exit, Exit.succeed("Ship done"))
        else timedOut(exit)
        assert.deepStrictEqual(
          world.parts.log.slice(2),
          answer._tag === "Happened" ? ["check P", "Ship"] : ["check P", "undo A"]
        )
      }
    }))

  it.effect("23: its timeout without check parks, and nothing is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided({ timeout: 1_000, unknown: "park" }))
      world.parts.faults.set("P", ["hang"])
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Unknown", step: "P" })
      assert.deepStrictEqual(world.parts.log, ["A", "P"])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("Ship done"))
      assert.strictEqual(keysOf(world.parts)[1], keysOf(world.parts)[2])
    }))

  it.effect("23: a retryable step is tried again without end by default, ever more slowly", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided())
      world.parts.faults.set("Ship", Array.from({ length: 15 }, () => "refuse"))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Ship done"))
      const failed = (yield* world.entries).flatMap((_) => _._tag === "AttemptFailed" ? [_] : [])
      const delays = failed.map((_) => _.wakeAt! - _.at)
      assert.deepStrictEqual(delays.slice(0, 4), [100, 200, 400, 800])
      assert.strictEqual(delays.at(-1), 60_000)
    }))

  it.effect("23: a retryable step that times out is tried again with its key", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided({}, { timeout: 1_000 }))
      world.parts.faults.set("Ship", ["hang", "hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Ship done"))
      assert.deepStrictEqual(ordinals(world.parts).slice(2), ["0", "0", "0"])
    }))

  it.effect("23: a retryable step whose Schedule ends parks as Exhausted, cannot be cancelled, and is resumed", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided({}, { retry: spaced(1) }))
      world.parts.faults.set("Ship", ["refuse", "refuse"])
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Exhausted", step: "Ship" })
      assert.strictEqual((yield* Effect.flip(world.cancel())).reason._tag, "TooLate")
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("Ship done"))
      assert.deepStrictEqual(world.parts.log, ["A", "P", "Ship", "Ship", "Ship"])
    }))
})
