/**
 * Rule 28, further: what nobody knows of a compensation is asked, what a saga says for all of them, waits between two
 * attempts and within one, and all of it across processes.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Schema, SchemaGetter, SchemaIssue } from "effect"
import { SagaStore, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import type * as Journal from "../../src/Journal.ts"
import * as Process from "../utils/Process.ts"
import { Refused, Stuck } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const partsWith = (faults: Record<string, Array<World.Fault>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

const spaced = (delay: "1 second" | "1 minute" | "1 hour", times: number) =>
  Schedule.spaced(delay).pipe(Schedule.upTo({ times }))
const undone = (log: ReadonlyArray<string>) => log.filter((_) => _.includes("undo"))
const compensationsOf = (world: World.World) =>
  Effect.map(
    world.poll,
    ({ compensations }) =>
      (compensations as ReadonlyArray<Journal.CompensationRecord>).map((_) => `${_.step} ${_.status} ${_.attempts}`)
  )
/** A is undone, with these options, since B refuses. */
const undoing = (compensation: object, given: World.PartOptions = {}, options: World.SagaOptions = {}) =>
  World.body(({ step }) => Effect.andThen(step("A", { compensation, ...given }), step("B")), options)

/** The same with a check that answers these, one after the other, whoever asks. */
const checked = (answers: ReadonlyArray<Step.Check<unknown>>, compensation: object = {}) => {
  const left = [...answers]
  return World.body(({ parts, step }) => {
    const check = (key: string) =>
      Effect.sync(() => {
        parts.log.push("check undo A")
        parts.keys.push(`check undo A ${key}`)
        return left.shift() ?? assert.fail("it was asked once too often")
      })
    return Effect.andThen(step("A", { compensation: { check, ...compensation } }), step("B"))
  })
}

describe("a check of a compensation", () => {
  it.effect("after a timeout: Happened is recorded as found, and it is not tried again", () =>
    Effect.gen(function*() {
      const live = checked([Step.happened(null)], { timeout: 1_000, retry: spaced("1 second", 3) })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["hang"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "B" }))
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "check undo A"])
      const last = (yield* world.entries).find((_) => _._tag === "CompensationSucceeded")
      assert.deepInclude(last, { attempt: 1, found: true })
      assert.deepStrictEqual(yield* compensationsOf(world), ["A completed 1"])
    }).pipe(Effect.scoped))

  it.effect("after a timeout: Never tries again by the schedule, with the same key", () =>
    Effect.gen(function*() {
      const live = checked([Step.never], { timeout: 1_000, retry: spaced("1 minute", 1) })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["hang"] })())
      yield* world.execute
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "check undo A", "undo A"])
      assert.deepStrictEqual(
        new Set(world.parts.keys.slice(2).map((_) => _.slice(_.lastIndexOf(" ") + 1))),
        new Set(["S/1/0/A/0/compensation"])
      )
      assert.deepStrictEqual(yield* compensationsOf(world), ["A completed 2"])
    }).pipe(Effect.scoped))

  it.effect("after a timeout: Never without a schedule fails it for good with TimedOut", () =>
    Effect.gen(function*() {
      const live = checked([Step.never], { timeout: 1_000 })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["hang"] })())
      const { unresolved } = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(unresolved.map((_) => _.error), [new Step.TimedOut({ step: "A" })])
    }).pipe(Effect.scoped))

  it.effect("after a declared failure it is not asked: that says that it has not happened", () =>
    Effect.gen(function*() {
      const live = checked([], { retry: spaced("1 second", 1) })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      yield* world.execute
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("StillGoing is asked again when the schedule says so, also by the next process, and not before", () =>
    Effect.gen(function*() {
      const answers = [Step.stillGoing, Step.happened(null)]
      const compensation = { timeout: 1_000, retry: spaced("1 hour", 3) }
      const world = yield* World.make(
        checked(answers, compensation),
        partsWith({ B: ["refuse"], "undo A": ["hang"] })()
      )
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("30 minutes")
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "check undo A"])
      const next = yield* world.crashed(
        (yield* world.journal).length,
        checked([Step.happened(null)], compensation),
        World.makeParts()
      )
      yield* TestClock.adjust("29 minutes")
      assert.deepStrictEqual(next.parts.log, [])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(next.parts.log, ["check undo A"])
      assert.deepStrictEqual(World.errorOf(yield* next.result), new Refused({ step: "B" }))
      // An attempt that is still going on has not ended.
      assert.deepStrictEqual(yield* compensationsOf(next), ["A completed 1"])
    }).pipe(Effect.scoped))

  it.effect("StillGoing when the schedule has ended fails it for good; a resume asks again before it acts", () =>
    Effect.gen(function*() {
      for (const answer of [Step.happened(null), Step.never]) {
        const answers = [Step.stillGoing, Step.stillGoing, answer]
        const live = checked(answers, { timeout: 1_000, retry: spaced("1 second", 1) })
        const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["hang"] })())
        const reason = World.whyParked(yield* world.execute)
        assert.include(reason.unresolved[0]!.defect, "still going on")
        assert.deepStrictEqual(reason.original, { _tag: "Failed", error: new Refused({ step: "B" }) })
        const asked = ["undo A", "check undo A", "check undo A"]
        assert.deepStrictEqual(undone(world.parts.log), asked)
        yield* world.resume
        assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "B" }))
        const again = answer._tag === "Happened" ? [] : ["undo A"]
        assert.deepStrictEqual(undone(world.parts.log), [...asked, "check undo A", ...again])
      }
    }).pipe(Effect.scoped))

  it.effect("after a defect: Happened is recorded as found, any other answer fails it for good", () =>
    Effect.gen(function*() {
      for (const answer of [Step.happened(null), Step.never, Step.stillGoing]) {
        const live = checked([answer], { retry: spaced("1 second", 3) })
        const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["die"] })())
        const exit = yield* world.execute
        assert.deepStrictEqual(undone(world.parts.log), ["undo A", "check undo A"])
        const found = answer._tag === "Happened"
        assert.deepStrictEqual(yield* compensationsOf(world), [`A ${found ? "completed" : "failed"} 1`])
        if (!found) assert.include(World.whyParked(exit).unresolved[0]!.defect, "undo A is broken")
      }
    }).pipe(Effect.scoped))

  it.effect("a check that dies fails it for good", () =>
    Effect.gen(function*() {
      const live = undoing({ timeout: 1_000, check: () => Effect.die("no answer"), retry: spaced("1 second", 3) })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["hang"] })())
      assert.include(World.whyParked(yield* world.execute).unresolved[0]!.defect, "its check died")
      assert.deepStrictEqual(undone(world.parts.log), ["undo A"])
    }).pipe(Effect.scoped))

  it.effect("after a crash: Happened is not undone again, Never is, with its key; without a check it is, too", () =>
    Effect.gen(function*() {
      const world = yield* World.make(checked([]), partsWith({ B: ["refuse"] })())
      world.parts.gate("undo A")
      yield* world.start
      yield* world.parts.hasBegun("undo A")
      const appends = (yield* world.journal).length
      assert.include((yield* world.journal).at(-1), "CompensationStarted A")
      const after = [
        [checked([Step.happened(null)]), ["check undo A"]],
        [checked([Step.never]), ["check undo A", "undo A"]],
        [undoing({}), ["undo A"]]
      ] as const
      for (const [live, log] of after) {
        const next = yield* world.crashed(appends, live, World.makeParts())
        assert.deepStrictEqual(World.errorOf(yield* next.result), new Refused({ step: "B" }))
        assert.deepStrictEqual(next.parts.log, [...log])
        for (const key of next.parts.keys) assert.include(key, "S/1/0/A/0/compensation")
      }
    }).pipe(Effect.scoped))

  it.effect("is not asked where the process died before the compensation began", () =>
    Effect.gen(function*() {
      const live = checked([])
      const world = yield* World.make(live, partsWith({ B: ["refuse"] })())
      yield* world.execute
      const begun = (yield* world.journal).findIndex((_) => _.includes("CompensationStarted"))
      const next = yield* world.crashed(begun, live, partsWith({ B: ["refuse"] })())
      yield* next.result
      assert.deepStrictEqual(undone(next.parts.log), ["undo A"])
    }).pipe(Effect.scoped))
})

describe("what a saga says for all its compensations", () => {
  it.effect("retry: holds for those that say nothing, and each may say otherwise", () =>
    Effect.gen(function*() {
      const live = World.body(
        ({ step }) =>
          Effect.gen(function*() {
            yield* step("A")
            yield* step("X", { compensation: { retry: spaced("1 second", 2) } })
            return yield* step("B")
          }),
        { compensation: { retry: spaced("1 second", 1) } }
      )
      const always: Array<World.Fault> = ["refuse", "refuse", "refuse", "refuse"]
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": always, "undo X": [...always] })())
      World.whyParked(yield* world.execute)
      assert.deepStrictEqual(yield* compensationsOf(world), ["A failed 2", "X failed 3"])
    }).pipe(Effect.scoped))

  it.effect("timeout: holds for those that say nothing, and each may say otherwise", () =>
    Effect.gen(function*() {
      const live = World.body(
        ({ step }) =>
          Effect.gen(function*() {
            yield* step("A")
            yield* step("X", { compensation: { timeout: "2 minutes" } })
            return yield* step("B")
          }),
        { compensation: { timeout: "10 seconds" } }
      )
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": [60_000], "undo X": [60_000] })())
      const { unresolved } = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(unresolved.map((_) => [_.step, _.error]), [["A", new Step.TimedOut({ step: "A" })]])
    }).pipe(Effect.scoped))

  it.effect("onFailure: holds for those that say nothing, hooks too, and each may say otherwise", () =>
    Effect.gen(function*() {
      const live = (onFailure?: "continue") =>
        World.body(
          ({ step }) =>
            Effect.gen(function*() {
              yield* step("A")
              yield* step("X", { compensation: { onFailure } })
              return yield* step("B")
            }),
          { compensation: { onFailure: "halt" } }
        )
      const parts = partsWith({ B: ["refuse"], "undo X": ["refuse"] })
      const halted = yield* World.make(live(), parts())
      World.whyParked(yield* halted.execute)
      assert.deepStrictEqual(yield* compensationsOf(halted), ["A pending 0", "X failed 1"])
      const continued = yield* World.make(live("continue"), parts())
      World.whyParked(yield* continued.execute)
      assert.deepStrictEqual(yield* compensationsOf(continued), ["A completed 1", "X failed 1"])
    }).pipe(Effect.scoped))
})

describe("what a compensation fails with", () => {
  /** Text whose encoding takes a second, and refuses "other". */
  const slow = Schema.String.pipe(
    Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.passthrough(),
      encode: SchemaGetter.transformEffect((text: string) =>
        Effect.andThen(
          Effect.sleep("1 second"),
          text === "other" ? Effect.fail(new SchemaIssue.InvalidValue()) : Effect.succeed(text)
        )
      )
    })
  )
  const failing = (error: string) =>
    World.body(({ parts, step }) => {
      const compensate = () => Effect.mapError(parts.act("undo A", undefined), () => error)
      return Effect.andThen(step("A", { compensate, compensation: { retry: spaced("1 minute", 3) } }), step("B"))
    }, { compensationError: slow })
  const parts = partsWith({ B: ["refuse"], "undo A": ["refuse"] })

  it.effect("may be encoded by a schema that waits: it is recorded and tried again, wherever its process dies", () =>
    Effect.gen(function*() {
      const world = yield* World.make(failing("no"), parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "B" }))
      const attempt = (yield* world.entries).find((_) => _._tag === "CompensationAttemptFailed")
      assert.deepInclude(attempt, { name: "A", attempt: 1, outcome: "failed", error: "no" })
      assert.deepStrictEqual(yield* compensationsOf(world), ["A completed 2"])
      for (const cut of yield* World.everyCut(world, failing("no"), parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), new Refused({ step: "B" }), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("is a defect where a schema that waits refuses it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(failing("other"), parts())
      const { unresolved } = World.whyParked(yield* world.execute)
      assert.include(unresolved[0]?.defect, "an error that compensationError does not declare")
      assert.deepStrictEqual(yield* compensationsOf(world), ["A failed 1"])
    }).pipe(Effect.scoped))

  it.effect("is a defect where something in it dies beside what it declares", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) => {
        const compensate = () =>
          Effect.onError(
            Effect.mapError(parts.act("undo A", undefined), () => new Stuck({ step: "A" })),
            () => Effect.die(new Error("its finalizer is broken"))
          )
        return Effect.andThen(step("A", { compensate, compensation: { retry: spaced("1 minute", 1) } }), step("B"))
      })
      const world = yield* World.make(live, parts())
      World.whyParked(yield* world.execute)
      assert.deepStrictEqual(yield* compensationsOf(world), ["A failed 1"])
    }).pipe(Effect.scoped))

  it.effect("is seen by what it acquired", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const live = World.body(({ parts, step }) => {
        const compensate = () =>
          Effect.andThen(
            Effect.addFinalizer((exit) => Effect.sync(() => seen.push(exit._tag))),
            Effect.mapError(parts.act("undo A", undefined), () => new Stuck({ step: "A" }))
          )
        return Effect.andThen(step("A", { compensate, compensation: { retry: spaced("1 minute", 1) } }), step("B"))
      })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "B" }))
      assert.deepStrictEqual(seen, ["Failure", "Success"])
    }).pipe(Effect.scoped))
})

describe("a long delay between two attempts", () => {
  it.effect("leaves memory, survives a restart, and is not served twice", () =>
    Effect.gen(function*() {
      const live = undoing({ retry: spaced("1 hour", 3) })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      yield* world.start
      yield* World.quiet
      const row = (yield* Effect.orDie(world.recorded.store.encoded.read(world.id)))!
      assert.deepInclude(row, { status: "suspended", worker: null, wakeAt: 3_600_000 })
      yield* TestClock.adjust("50 minutes")
      const next = yield* world.crashed((yield* world.journal).length, live, World.makeParts())
      yield* TestClock.adjust("9 minutes")
      assert.deepStrictEqual(next.parts.log, [])
      yield* TestClock.adjust("61 seconds")
      assert.deepStrictEqual(next.parts.log, ["undo A"])
      assert.deepStrictEqual(World.errorOf(yield* next.result), new Refused({ step: "B" }))
      assert.deepStrictEqual(yield* compensationsOf(next), ["A completed 2"])
    }).pipe(Effect.scoped))

  it.effect("several processes on one store serve it once, and undo once", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = partsWith({ B: ["refuse"], "undo A": ["refuse"] })()
      const live = undoing({ retry: spaced("1 hour", 3) })
      const processes = yield* Effect.forEach(
        [1, 2, 3],
        () => Process.open(store, Process.saga(live, parts))
      )
      yield* processes[0]!.use(World.definition.start({ id: "1" }))
      yield* World.quiet
      yield* processes[0]!.stop
      yield* TestClock.adjust("59 minutes")
      assert.deepStrictEqual(undone(parts.log), ["undo A"])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(undone(parts.log), ["undo A", "undo A"])
      const exit = yield* World.ended(
        processes[2]!.use(World.definition.result(World.definition.executionId({ id: "1" })))
      )
      assert.deepStrictEqual(World.errorOf(exit), new Refused({ step: "B" }))
    }).pipe(Effect.scoped))
})

describe("Timer.sleep in a compensation", () => {
  const waiting = (millis: number, compensation: object = {}) =>
    World.body(({ parts, step }) =>
      Effect.andThen(
        step("A", {
          compensation,
          compensate: () =>
            Effect.gen(function*() {
              yield* Effect.orDie(parts.act("ask for undo A", undefined))
              yield* Timer.sleep("cool down", millis)
              yield* Effect.mapError(parts.act("undo A", undefined), () => new Stuck({ step: "A" }))
            })
        }),
        step("B")
      )
    )
  const refuses = partsWith({ B: ["refuse"] })

  it.effect("is journaled, and a short one stays in memory", () =>
    Effect.gen(function*() {
      const world = yield* World.make(waiting(5_000), refuses())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* world.status, { _tag: "Compensating" })
      assert.deepStrictEqual(undone(world.parts.log), ["ask for undo A"])
      yield* TestClock.adjust("1 second")
      yield* world.result
      assert.deepStrictEqual(undone(world.parts.log), ["ask for undo A", "undo A"])
      const timers = (yield* world.entries).flatMap((_) =>
        _._tag === "CompensationTimerSet" ? [[_.timer, _.wakeAt]] : []
      )
      assert.deepStrictEqual(timers, [["cool down", 5_000]])
    }).pipe(Effect.scoped))

  it.effect("a crash while it sleeps: the next process waits for the rest only, and passes one that is over", () =>
    Effect.gen(function*() {
      const live = waiting(8_000)
      const world = yield* World.make(live, refuses())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("5 seconds")
      const appends = (yield* world.journal).length
      assert.include((yield* world.journal).at(-1), "CompensationTimerSet A")
      const early = yield* world.crashed(appends, live, World.makeParts())
      yield* World.quiet
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(early.parts.log, ["ask for undo A"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(early.parts.log, ["ask for undo A", "undo A"])
      const late = yield* world.crashed(appends, live, World.makeParts())
      yield* World.quiet
      assert.deepStrictEqual(late.parts.log, ["ask for undo A", "undo A"])
      assert.deepStrictEqual(World.errorOf(yield* late.result), new Refused({ step: "B" }))
    }).pipe(Effect.scoped))

  it.effect("a long one leaves memory; it comes back once, and one attempt is counted", () =>
    Effect.gen(function*() {
      const live = waiting(3_600_000)
      const world = yield* World.make(live, refuses())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* world.status, { _tag: "Suspended", wakeAt: 3_600_000 })
      yield* TestClock.adjust("59 minutes")
      assert.deepStrictEqual(undone(world.parts.log), ["ask for undo A"])
      yield* TestClock.adjust("61 seconds")
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "B" }))
      assert.deepStrictEqual(undone(world.parts.log), ["ask for undo A", "ask for undo A", "undo A"])
      assert.deepStrictEqual(yield* compensationsOf(world), ["A completed 1"])
      assert.strictEqual((yield* world.entries).filter((_) => _._tag === "CompensationTimerSet").length, 1)
    }).pipe(Effect.scoped))

  it.effect("an attempt that is tried again waits again", () =>
    Effect.gen(function*() {
      const live = waiting(5_000, { retry: spaced("1 second", 1) })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      yield* world.execute
      const timers = (yield* world.entries).flatMap((_) => _._tag === "CompensationTimerSet" ? [_.wakeAt - _.at] : [])
      assert.deepStrictEqual(timers, [5_000, 5_000])
      assert.deepStrictEqual(yield* compensationsOf(world), ["A completed 2"])
    }).pipe(Effect.scoped))

  it.effect("an attempt that another process makes waits again too, at its full length", () =>
    Effect.gen(function*() {
      const live = waiting(5_000, { retry: spaced("1 minute", 1) })
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      yield* world.execute
      const failed = (yield* world.journal).findIndex((_) => _.includes("CompensationAttemptFailed"))
      const next = yield* world.crashed(failed + 1, live, World.makeParts())
      assert.deepStrictEqual(World.errorOf(yield* next.result), new Refused({ step: "B" }))
      const timers = (yield* next.entries).flatMap((_) => _._tag === "CompensationTimerSet" ? [_.wakeAt - _.at] : [])
      assert.deepStrictEqual(timers, [5_000, 5_000])
    }).pipe(Effect.scoped))

  it.effect("after a resume of one that failed for good it waits again", () =>
    Effect.gen(function*() {
      const world = yield* World.make(waiting(5_000), partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      World.whyParked(yield* world.execute)
      yield* world.resume
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "B" }))
      assert.strictEqual((yield* world.entries).filter((_) => _._tag === "CompensationTimerSet").length, 2)
    }).pipe(Effect.scoped))

  it.effect("two of one name in one attempt are two waits; both are passed where they are over", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(
          step("A", {
            compensate: () =>
              Effect.gen(function*() {
                yield* Timer.sleep("beat", 2_000)
                yield* Timer.sleep("beat", 2_000)
                yield* Effect.orDie(parts.act("undo A", undefined))
              })
          }),
          step("B")
        )
      )
      const world = yield* World.make(live, refuses())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("3 seconds")
      const appends = (yield* world.journal).length
      yield* TestClock.adjust("10 seconds")
      const next = yield* world.crashed(appends, live, World.makeParts())
      yield* World.quiet
      assert.deepStrictEqual(next.parts.log, ["undo A"])
      const timers = (yield* next.entries).flatMap((_) => _._tag === "CompensationTimerSet" ? [_.timer] : [])
      assert.deepStrictEqual(timers, ["beat", "beat#2"])
    }).pipe(Effect.scoped))

  it.effect("does not keep parallel compensations waiting, and leaves memory when all that is left waits", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* step("X")
          yield* step("A", {
            compensate: () =>
              Effect.andThen(Timer.sleep("cool down", "1 hour"), Effect.orDie(parts.act("undo A", undefined)))
          })
          return yield* step("B")
        }), { compensation: "parallel" })
      const world = yield* World.make(live, refuses())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(undone(world.parts.log), ["undo X"])
      assert.strictEqual((yield* world.status)._tag, "Suspended")
      yield* TestClock.adjust("61 minutes")
      assert.deepStrictEqual(undone(world.parts.log), ["undo X", "undo A"])
      assert.strictEqual((World.errorOf(yield* world.result) as Refused)._tag, "Refused")
    }).pipe(Effect.scoped))
})
