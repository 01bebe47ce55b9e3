/**
 * Heartbeats: what of them is durable and when, an attempt that stops beating, and what a step is told.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Latch, Option, Schedule, Schema } from "effect"
import { Journal, Limits, Saga, SagaError, SagaInspector, SagaStore, Signal, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Process from "../utils/Process.ts"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const Go = Signal.make("Go")
const Row = Schema.Struct({ row: Schema.Int })
const { definition } = World
const payload = { id: "1" }
const id = definition.executionId(payload)
const once = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 1 }))
type Beating = Journal.EntryOf<"StepHeartbeat" | "CompensationHeartbeat">

const last = Effect.map(Step.lastHeartbeat(Row), Option.map((_) => _.row))
/** Says from which row it begins, then beats so often, after so many milliseconds each, and ends as it is told. */
const rows = (parts: World.Parts, name: string, times: number, each: number) =>
  Effect.gen(function*() {
    const from = Option.getOrElse(yield* last, () => 0)
    yield* parts.seen("from", from)
    for (let row = from + 1; row <= from + times; row++) {
      yield* Effect.sleep(each)
      yield* Step.heartbeat({ row }, Row)
    }
    return yield* parts.act(name, `${name} done`)
  })
const beats = (world: World.World) =>
  Effect.map(
    world.entries,
    (entries) => entries.filter((_): _ is Beating => _._tag === "StepHeartbeat" || _._tag === "CompensationHeartbeat")
  )
const inspect = (world: World.World) =>
  Effect.flatMap(
    Effect.provideService(SagaInspector.make, SagaStore.SagaStore, world.recorded.store),
    (inspector) => Effect.orDie(inspector.get(id))
  )
/** Lets time pass in small steps. */
const pass = (seconds: number) =>
  Effect.forEach(Array.from({ length: seconds }), () => Effect.andThen(World.quiet, TestClock.adjust("1 second")), {
    discard: true
  }).pipe(Effect.andThen(World.quiet))

describe("the next attempt reads what the last one said", () => {
  const live = (options: World.PartOptions = {}, each = 100) =>
    World.body(({ parts, step }) =>
      Effect.andThen(step("A"), step("B", { retry: once, ...options, execute: rows(parts, "B", 3, each) }))
    )

  it.effect("as it was when it was said, whatever becomes of the object", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        step("A", {
          retry: once,
          execute: Effect.gen(function*() {
            yield* parts.seen("from", Option.getOrElse(yield* last, () => 0))
            const progress = { row: 1 }
            yield* Step.heartbeat(progress, Schema.Json)
            yield* Effect.sleep(100)
            progress.row = 2
            yield* Step.heartbeat(progress, Schema.Json)
            progress.row = 99
            return yield* parts.act("A", "A done")
          })
        })
      )
      const world = yield* World.make(live)
      world.parts.faults.set("A", ["refuse"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("A done"))
      assert.deepStrictEqual(world.parts.log, ["from=0", "A", "from=2", "A"])
      assert.deepStrictEqual((yield* beats(world)).map(({ details }) => details), [{ row: 2 }])
    }).pipe(Effect.provideService(Limits.HeartbeatPause, "10 seconds")))

  it.effect("after a refusal: it is written before the attempt's end, and a first attempt reads none", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live())
      world.parts.faults.set("B", ["refuse"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "from=0", "B", "from=3", "B"])
      // What an attempt said that succeeded is of no use.
      assert.deepStrictEqual(yield* world.journal, [
        "SagaStarted, StepStarted A",
        "StepSucceeded A, StepStarted B",
        "StepHeartbeat B, AttemptFailed B",
        "StepSucceeded B, SagaCompleted"
      ])
    }).pipe(Effect.scoped))

  it.effect("after a timeout", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live({ timeout: "5 seconds", unknown: "refused" }))
      world.parts.faults.set("B", ["hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "from=0", "B", "from=3", "B"])
    }).pipe(Effect.scoped))

  it.effect("after a bug that a person let go on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live())
      world.parts.faults.set("B", ["die"])
      World.whyParked(yield* world.execute)
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "from=0", "B", "from=3", "B"])
    }).pipe(Effect.scoped))

  it.effect("in another process, if the first died after it was durable; before, it begins anew", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live({}, 6_000))
      world.parts.gate("B")
      yield* world.start
      yield* pass(15)
      assert.deepStrictEqual((yield* world.journal).slice(1), ["StepSucceeded A, StepStarted B", "StepHeartbeat B"])
      for (const [appends, from] of [[2, 0], [3, 1]] as const) {
        const other = yield* world.crashed(appends, live({}, 10), World.makeParts())
        assert.deepStrictEqual(yield* other.result, Exit.succeed("B done"))
        assert.deepStrictEqual(other.parts.log, [`from=${from}`, "B"])
      }
    }).pipe(Effect.scoped))

  it.effect("which is the same throughout an attempt, and not what it says itself", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        step("B", {
          retry: once,
          execute: Effect.gen(function*() {
            for (let i = 0; i < 2; i++) {
              yield* parts.seen("last", Option.getOrElse(yield* last, () => "none"))
              const { attempt } = yield* Step.StepContext
              yield* Step.heartbeat({ row: attempt }, Row)
              yield* Effect.sleep("20 seconds")
            }
            return yield* parts.act("B", "B done")
          })
        })
      ))
      world.parts.faults.set("B", ["refuse"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["last=none", "last=none", "B", "last=1", "last=1", "B"])
    }).pipe(Effect.scoped))

  it.effect("unless it does not fit the schema any more", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        step("B", {
          retry: once,
          execute: Effect.gen(function*() {
            yield* parts.seen("last", Option.isSome(yield* Step.lastHeartbeat(Row)))
            yield* Step.heartbeat("row 5")
            return yield* parts.act("B", "B done")
          })
        })
      ))
      world.parts.faults.set("B", ["refuse"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["last=false", "B", "last=false", "B"])
    }).pipe(Effect.scoped))

  it.effect("in its check too, whose own details are not kept", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live({
        timeout: "5 seconds",
        check: () =>
          Effect.gen(function*() {
            yield* Step.heartbeat({ row: 77 }, Row)
            return Option.some(`row ${Option.getOrThrow(yield* last)}`)
          })
      }))
      world.parts.faults.set("B", ["hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("row 3"))
      assert.deepStrictEqual((yield* beats(world)).map((_) => _.details), [{ row: 3 }])
    }).pipe(Effect.scoped))
})

describe("the journal", () => {
  it.effect("gets the newest details once a pause, however often a step beats", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, step }) => step("B", { execute: rows(parts, "B", 600, 70) }))
      )
      yield* world.start
      yield* pass(45)
      assert.deepStrictEqual(
        (yield* beats(world)).map((_) => [_.at, _.details]),
        [142, 285, 428, 571].map((row, index) => [(index + 1) * 10_000, { row }])
      )
    }).pipe(Effect.scoped))

  it.effect("gets what was said before a long silence when the pause is over, with the time at which it was said", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        step("B", {
          execute: Effect.gen(function*() {
            yield* Effect.sleep("1 second")
            yield* Step.heartbeat({ row: 1 }, Row)
            yield* Effect.sleep("1 hour")
            yield* Step.heartbeat({ row: 2 }, Row)
            return yield* parts.act("B", "B done")
          })
        })
      ))
      yield* world.start
      yield* pass(12)
      const [first] = yield* beats(world)
      assert.deepInclude(first, { at: 10_000, beatAt: 1_000, attempt: 1, details: { row: 1 } })
      const { steps } = yield* world.poll
      assert.deepStrictEqual(steps[0].heartbeat, { at: 1_000, attempt: 1, details: { row: 1 } })
      yield* world.result
      // An hour later one more would be due at once; it goes with what follows.
      assert.deepStrictEqual((yield* beats(world)).length, 2)
    }).pipe(Effect.scoped))

  it.effect("keeps the last details where a later heartbeat gives none", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        step("B", {
          execute: Effect.gen(function*() {
            yield* Step.heartbeat({ row: 1 }, Row)
            yield* Effect.sleep("15 seconds")
            yield* Step.heartbeat()
            yield* Effect.sleep("15 seconds")
            return yield* parts.act("B", "B done")
          }),
          retry: once
        })
      ))
      world.parts.gate("B")
      yield* world.start
      yield* pass(40)
      const { steps } = yield* world.poll
      assert.deepStrictEqual(steps[0].heartbeat, { at: 15_000, attempt: 1, details: { row: 1 } })
    }).pipe(Effect.scoped))

  it.effect("grows by few hundred entries in a step of a day", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, step }) => step("B", { execute: rows(parts, "B", 1_440, 60_000) }))
      )
      yield* world.start
      for (let hour = 0; hour < 25 * 12; hour++) yield* Effect.andThen(World.quiet, TestClock.adjust("5 minutes"))
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      const written = yield* beats(world)
      assert.isAbove(written.length, 150)
      assert.isBelow(written.length, 260)
      // A crash loses ten minutes of it at most, and a minute between two heartbeats.
      const gaps = written.slice(1).map((beat, index) => beat.at - written[index]!.at)
      assert.isAtMost(Math.max(...gaps), 11 * 60_000)
    }).pipe(Effect.scoped))

  it.effect("takes what was said last along with whatever it gets anyway", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        Effect.all([step("B", { execute: rows(parts, "B", 3, 1_000) }), Effect.andThen(step("X"), step("Y"))], {
          concurrency: 2
        })
      ))
      world.parts.faults.set("X", [2_500])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done,Y done"))
      assert.include(yield* world.journal, "StepSucceeded X@1, StepStarted Y@1, StepHeartbeat B@0")
      assert.deepStrictEqual(
        (yield* beats(world)).map((_) =>
          _.details
        ),
        [{ row: 2 }]
      )
    }).pipe(Effect.scoped))

  it.effect("is replayed with heartbeats as without them, wherever it is cut", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          const b = yield* step("B", { execute: rows(parts, "B", 4, 6_000), retry: once })
          return `${b} ${yield* step("C")}`
        })
      )
      const world = yield* World.make(live)
      world.parts.faults.set("B", ["refuse"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done C done"))
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done C done"), `after ${cut.appends} appends`)
      }
    }).pipe(Effect.scoped))

  it.effect("has it before a process that shuts down cuts the attempt off", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const live = World.body(({ parts, step }) => step("B", { execute: rows(parts, "B", 30, 1_000) }))
      const [first, second] = [World.makeParts(), World.makeParts()]
      const worker = yield* Process.open(store, Process.saga(live, first))
      yield* worker.use(definition.start(payload))
      yield* pass(4)
      const stopping = yield* Effect.forkChild(worker.stop)
      yield* World.ended(Fiber.join(stopping))
      const other = yield* Process.open(store, Process.saga(live, second))
      yield* World.ended(other.use(definition.result(id)))
      // It had ten seconds more before it was cut off.
      const [, from] = second.log[0]!.split("=")
      assert.isAtLeast(Number(from), 12)
    }).pipe(Effect.scoped))

  it("does not count them as progress: a step that beats and ends its process is not tried for ever", () => {
    const entries: ReadonlyArray<Journal.Entry> = [
      { _tag: "SagaStarted", at: 0 },
      { _tag: "StepStarted", at: 0, name: "B", kind: "compensable" },
      { _tag: "Claimed", at: 1, worker: "first" },
      { _tag: "StepHeartbeat", at: 2, name: "B", attempt: 1, details: { row: 1 } },
      { _tag: "Claimed", at: 3, worker: "second" }
    ]
    const state = Journal.foldPrefix(entries)
    assert.deepStrictEqual([state?.claims, state?.claimants], [2, ["first", "second"]])
  })
})

describe("an attempt that does not beat for its heartbeatTimeout", () => {
  const live = (
    options: World.PartOptions & { readonly heartbeatTimeout?: unknown },
    execute?: (parts: World.Parts) => Effect.Effect<any, any, any>
  ) =>
    World.body(({ parts, step }) =>
      Effect.andThen(
        step("A"),
        step("B", {
          heartbeatTimeout: "30 seconds",
          ...options,
          execute: execute?.(parts) ?? Effect.andThen(rows(parts, "B", 4, 20_000), Effect.succeed("B done"))
        })
      )
    )

  it.effect("is interrupted then, and not before: one that beats takes as long as it takes", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live({ unknown: "refused" }))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      const silent = yield* World.make(live({ unknown: "refused" }, (parts) =>
        Effect.gen(function*() {
          yield* Effect.sleep("20 seconds")
          yield* Step.heartbeat()
          return yield* Effect.onInterrupt(Effect.never, () => parts.seen("interrupted at", "once"))
        })))
      yield* silent.start
      yield* pass(49)
      assert.deepStrictEqual(silent.parts.log, ["A"])
      yield* pass(2)
      assert.deepStrictEqual(silent.parts.log.slice(0, 2), ["A", "interrupted at=once"])
      assert.instanceOf(World.errorOf(yield* silent.result), Step.TimedOut)
    }).pipe(Effect.scoped))

  it.effect("goes by its unknown, its check and its schedule, as with a timeout", () =>
    Effect.gen(function*() {
      const hang = () => Effect.never
      const parked = yield* World.make(live({ unknown: "park" }, hang))
      assert.strictEqual(World.whyParked(yield* parked.execute).why._tag, "Unknown")
      const refused = yield* World.make(live({ unknown: "refused" }, hang))
      assert.instanceOf(World.errorOf(yield* refused.execute), Step.TimedOut)
      assert.deepStrictEqual(refused.parts.log, ["A", "undo A"])
      const checked = yield* World.make(live({ check: () => Effect.succeed(Step.happened("found")) }, hang))
      assert.deepStrictEqual(yield* checked.execute, Exit.succeed("found"))
      const again = yield* World.make(live({ unknown: "park", retry: once }, (parts) => parts.act("B", "B done")))
      again.parts.faults.set("B", ["hang"])
      assert.deepStrictEqual(yield* again.execute, Exit.succeed("B done"))
      const [failed] = (yield* again.entries).filter((_) => _._tag === "AttemptFailed")
      assert.deepInclude(failed, { outcome: "timeout", message: "it did not beat" })
      // Nobody knows whether the first happened, so the second has its key.
      assert.deepStrictEqual(new Set(again.parts.keys.slice(1)).size, 1)
    }).pipe(Effect.scoped))

  it.effect("has its grace, and a bug that comes then counts", () =>
    Effect.gen(function*() {
      const late = Effect.onInterrupt(Effect.never, () => Effect.andThen(Effect.sleep("2 seconds"), Effect.die("late")))
      const world = yield* World.make(live({ unknown: "refused" }, () => late))
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Defect", step: "B" })
      const stubborn = yield* World.make(
        live({ unknown: "refused" }, () => Effect.uninterruptible(Effect.sleep("2 hours")))
      )
      assert.deepInclude(World.whyParked(yield* stubborn.execute).why, { _tag: "Unknown", step: "B" })
    }).pipe(Effect.scoped))

  it.effect("beside a timeout: whichever is over first", () =>
    Effect.gen(function*() {
      const failedAfter = Effect.fnUntraced(function*(execute: (parts: World.Parts) => Effect.Effect<any, any, any>) {
        const world = yield* World.make(live({ timeout: "2 minutes", unknown: "refused" }, execute))
        yield* world.start
        yield* pass(125)
        const at = new Map((yield* world.entries).map((entry) => [World.sentence(entry), entry.at]))
        return at.get("StepFailed B")! - at.get("StepStarted B")!
      })
      assert.strictEqual(yield* failedAfter((parts) => rows(parts, "B", 100, 5_000)), 120_000)
      assert.strictEqual(yield* failedAfter(() => Effect.never), 30_000)
    }).pipe(Effect.scoped))

  it.effect("is what a read and a retryable step are tried again for", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.settled(({ parts, readonly, retryable }) => ({
        attempt: readonly("Look", { heartbeatTimeout: "1 second", retry: once } as World.PartOptions),
        settle: () =>
          retryable(
            "Ship",
            { heartbeatTimeout: "1 second", execute: parts.act("Ship", "shipped") } as World.PartOptions
          )
      })))
      world.parts.faults.set("Look", ["hang"])
      world.parts.faults.set("Ship", ["hang", "hang"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("shipped"))
      assert.deepStrictEqual(world.parts.log, ["Look", "Look", "Ship", "Ship", "Ship"])
    }).pipe(Effect.scoped))
})

describe("a step that nobody wants any more", () => {
  /** Beats until it is told, then does as it is said. */
  const until = (parts: World.Parts, then: Effect.Effect<any, any, any>) =>
    Effect.gen(function*() {
      yield* parts.seen("B", "begins")
      for (let row = 0; row < 1_000; row++) {
        const { cancelRequested } = yield* Step.heartbeat({ row }, Row)
        if (cancelRequested) {
          yield* parts.seen("B", "told")
          return yield* then
        }
        yield* Effect.sleep("1 second")
      }
      return yield* Effect.die(new Error("it was never told"))
    })
  const live = (then: Effect.Effect<any, any, any>, options: World.PartOptions = {}, saga: World.SagaOptions = {}) =>
    World.body(
      ({ parts, step }) => Effect.andThen(step("A"), step("B", { ...options, execute: until(parts, then) })),
      saga
    )
  const cancelled = Effect.fnUntraced(function*(world: World.World) {
    yield* world.start
    yield* pass(3)
    yield* world.cancel("enough")
    const exit = yield* world.result
    const error = World.errorOf(exit)
    assert.instanceOf(error, SagaError.SagaError)
    assert.strictEqual(error.reason._tag, "Cancelled")
  })

  it.effect("is told of a cancel, withdraws, and nothing is undone for it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live(Step.withdraw))
      yield* cancelled(world)
      assert.deepStrictEqual(world.parts.log, ["A", "B=begins", "B=told", "undo A"])
      const journal = (yield* world.journal).join(", ")
      assert.include(journal, "StepWithdrawn B, RollbackStarted, CompensationStarted A")
      assert.include((yield* inspect(world)).steps.map((_) => `${_.step} ${_.status}`), "B withdrawn")
    }).pipe(Effect.scoped))

  it.effect("may go on all the same, and is undone then", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live(Effect.as(Effect.sleep("5 seconds"), "B done")))
      yield* cancelled(world)
      assert.deepStrictEqual(world.parts.log, ["A", "B=begins", "B=told", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("may refuse, and is not tried again", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live(Effect.fail(new Refused({ step: "B" })), { retry: once }))
      yield* cancelled(world)
      assert.deepStrictEqual(world.parts.log, ["A", "B=begins", "B=told", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is told of a deadline", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live(Step.withdraw, {}, { deadline: "5 seconds" }))
      const error = World.errorOf(yield* world.execute)
      assert.instanceOf(error, SagaError.SagaError)
      assert.strictEqual(error.reason._tag, "DeadlineExceeded")
      assert.deepStrictEqual(world.parts.log, ["A", "B=begins", "B=told", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is told that another one has failed beside it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        Effect.all([step("B", { execute: until(parts, Step.withdraw) }), step("C")], { concurrency: 2 })
      ))
      world.parts.faults.set("C", [2_000, "refuse"])
      world.parts.faults.set("C", ["refuse"])
      assert.instanceOf(World.errorOf(yield* world.execute), Refused)
      assert.deepStrictEqual(world.parts.log, ["B=begins", "C", "B=told"])
    }).pipe(Effect.scoped))

  it.effect("is told that it has lost a race, and the winner does not wait for it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* Saga.race([step("B", { execute: until(parts, Step.withdraw) }), Timer.sleep("t", "3 seconds")])
          return yield* step("D")
        })
      ))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("D done"))
      assert.deepStrictEqual(world.parts.log.toSorted(), ["B=begins", "B=told", "D"])
      assert.notInclude((yield* world.journal).join(), "CompensationStarted")
    }).pipe(Effect.scoped))

  it.effect("is told while it decides: what it withdraws from is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.settled(({ parts, pivot, retryable, step }) => ({
        attempt: step("A"),
        pivot: () => pivot("B", { execute: until(parts, Step.withdraw) }),
        settle: () => retryable("Ship")
      })))
      yield* cancelled(world)
      assert.deepStrictEqual(world.parts.log, ["A", "B=begins", "B=told", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is told at its first heartbeat when it is run again after a crash", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live(Effect.never))
      yield* world.start
      yield* pass(3)
      yield* world.cancel("enough")
      yield* pass(3)
      const journal = yield* world.journal
      assert.include(journal.at(-1), "CancelRequested")
      const other = yield* world.crashed(journal.length, live(Step.withdraw), World.makeParts())
      World.errorOf(yield* other.result)
      assert.deepStrictEqual(other.parts.log, ["B=begins", "B=told", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is the only one that may withdraw: elsewhere that is a bug", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => step("B", { execute: Step.withdraw })))
      const { why } = World.whyParked(yield* world.execute)
      assert.deepInclude(why, { _tag: "Defect", step: "B" })
      assert.include(SagaError.describe(why), "no heartbeat was told")
    }).pipe(Effect.scoped))

  it.effect("is not one that a park waits for, nor one past the point of no return", () =>
    Effect.gen(function*() {
      const told = (parts: World.Parts) =>
        Effect.gen(function*() {
          yield* Effect.sleep("5 seconds")
          yield* parts.seen("told", (yield* Step.heartbeat()).cancelRequested)
          return "done"
        })
      const parked = yield* World.make(
        World.body(({ parts, step }) =>
          Effect.all([step("B", { execute: told(parts) }), step("C")], { concurrency: 2 })
        )
      )
      parked.parts.faults.set("C", ["die"])
      World.whyParked(yield* parked.execute)
      assert.deepStrictEqual(parked.parts.log, ["C", "told=false"])
      const settling = yield* World.make(World.settled(({ parts, retryable, step }) => ({
        attempt: step("A"),
        settle: () => retryable("Ship", { execute: told(parts) })
      })))
      yield* settling.start
      yield* pass(1)
      yield* Effect.exit(settling.cancel())
      assert.deepStrictEqual(yield* settling.result, Exit.succeed("done"))
      assert.deepStrictEqual(settling.parts.log, ["A", "told=false"])
    }).pipe(Effect.scoped))
})

describe("a heartbeat", () => {
  it.effect("of a process that has lost its claim does not return, and changes nothing", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const [first, second] = [World.makeParts(), World.makeParts()]
      const gate = yield* Latch.make()
      const live = World.body(({ parts, step }) =>
        step("B", {
          execute: Effect.gen(function*() {
            yield* parts.seen("B", "begins")
            if (parts === first) {
              // It hears of nothing meanwhile: not even that it is to stop.
              yield* Effect.uninterruptible(Effect.gen(function*() {
                yield* gate.await
                yield* Step.heartbeat({ row: 666 }, Row)
                yield* parts.seen("B", "goes on")
              }))
            }
            return yield* parts.act("B", "B done")
          })
        })
      )
      const zombie = yield* Process.open(store, Process.saga(live, first))
      yield* zombie.use(definition.start(payload))
      yield* World.quiet
      zombie.before = () => Effect.fail(Process.offline)
      const owner = yield* Process.open(store, Process.saga(live, second))
      assert.deepStrictEqual(yield* World.ended(owner.use(definition.result(id))), Exit.succeed("B done"))
      yield* gate.open
      yield* pass(20)
      assert.deepStrictEqual(first.log, ["B=begins"])
      assert.notInclude((yield* Process.journal(store, id)).join(), "StepHeartbeat")
    }).pipe(Effect.scoped))

  it.effect("with details that cannot be stored is a bug, with a sentence", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) => step("B", { execute: Effect.as(Step.heartbeat("a\u0000b"), "done") }))
      )
      assert.include(SagaError.describe(World.whyParked(yield* world.execute).why), "the details of a heartbeat of B")
      const odd = yield* World.make(
        World.body(({ step }) => step("B", { execute: Effect.as(Step.heartbeat({ row: 1.5 }, Row), "done") }))
      )
      assert.strictEqual(World.whyParked(yield* odd.execute).why._tag, "Defect")
    }).pipe(Effect.scoped))

  it.effect("of an attempt that has ended counts for nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) =>
        Effect.andThen(
          step("B", {
            execute: Effect.as(
              Effect.forkDetach(Effect.andThen(Effect.sleep("20 seconds"), Step.heartbeat({ row: 9 }, Row))),
              "B done"
            )
          }),
          Effect.andThen(Effect.sleep("1 minute"), step("C"))
        )
      ))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(yield* beats(world), [])
    }).pipe(Effect.scoped))

  it.effect("is told in the story of an execution: the last of several, and when it was", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, step }) => step("B", { execute: rows(parts, "B", 40, 1_000) }))
      )
      yield* world.start
      yield* pass(35)
      const { text } = Saga.explain(yield* world.entries)
      assert.include(text, "B was alive at attempt 1: {\"row\":29}.")
      assert.notInclude(text, "{\"row\":19}")
      assert.include(text, "B is under way and B beat last after 29 s")
    }).pipe(Effect.scoped))
})

describe("a compensation", () => {
  const live = (options: object, compensate: (parts: World.Parts) => Effect.Effect<any, any, any>) =>
    World.body(({ parts, step }) =>
      Effect.andThen(
        step("A", { compensation: { retry: once, ...options }, compensate: () => compensate(parts) }),
        step("B")
      )
    )

  it.effect("reads what its last attempt said", () =>
    Effect.gen(function*() {
      const saga = live({}, (parts) => Effect.orDie(rows(parts, "undo A", 3, 4_000)))
      const world = yield* World.make(saga)
      world.parts.faults.set("B", ["refuse"])
      World.errorOf(yield* world.execute)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "from=0", "undo A"])
      assert.deepStrictEqual((yield* beats(world)).map((_) => [_._tag, _.details]), [
        ["CompensationHeartbeat", { row: 2 }]
      ])
      const appends = (yield* world.journal).findIndex((_) => _.includes("CompensationHeartbeat")) + 1
      const other = yield* world.crashed(appends, saga, World.makeParts())
      World.errorOf(yield* other.result)
      assert.deepStrictEqual(other.parts.log, ["from=2", "undo A"])
      const { compensations } = yield* inspect(world)
      assert.deepStrictEqual(compensations[0]?.heartbeat?.details, { row: 2 })
    }).pipe(Effect.scoped))

  it.effect("that does not beat for its heartbeatTimeout is tried again, and reads what it said", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        live({ heartbeatTimeout: "30 seconds" }, (parts) => Effect.orDie(rows(parts, "undo A", 3, 20_000)))
      )
      world.parts.faults.set("B", ["refuse"])
      world.parts.faults.set("undo A", ["hang"])
      World.errorOf(yield* world.execute)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "from=0", "undo A", "from=3", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("that beats and then waits for long leaves memory, and its details are not lost", () =>
    Effect.gen(function*() {
      const saga = live({}, (parts) =>
        Effect.gen(function*() {
          yield* parts.seen("from", Option.getOrElse(yield* last, () => 0))
          yield* Step.heartbeat({ row: 5 }, Row)
          yield* Signal.receive(Go)
          return yield* Effect.orDie(parts.act("undo A", undefined))
        }))
      const world = yield* Effect.provideService(World.make(saga), Limits.SuspendAfter, "2 seconds")
      world.parts.faults.set("B", ["refuse"])
      yield* world.start
      yield* pass(5)
      assert.strictEqual((yield* world.status)._tag, "Suspended")
      yield* world.signal(Go, undefined)
      World.errorOf(yield* world.result)
      assert.include(yield* world.journal, "CompensationHeartbeat A, Suspended")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "from=0", "from=5", "undo A"])
    }).pipe(Effect.scoped))
})

describe("in memory", () => {
  const step = (execute: Effect.Effect<string, Refused, Step.StepContext>, heartbeatTimeout: "1 hour" | "1 second") =>
    Step.make("B", {
      success: Schema.String,
      error: Refused,
      execute,
      retry: once,
      heartbeatTimeout,
      unknown: "refused",
      compensate: () => Effect.void
    })

  it.effect("the next attempt reads what the last one said", () =>
    Effect.gen(function*() {
      const body = step(
        Effect.gen(function*() {
          const from = yield* last
          if (Option.isSome(from)) return `from ${from.value}`
          assert.deepStrictEqual(yield* Step.heartbeat({ row: 4 }, Row), { cancelRequested: false })
          return yield* new Refused({ step: "B" })
        }),
        "1 hour"
      )
      assert.deepStrictEqual(yield* World.ended(Saga.transact(body)), Exit.succeed("from 4"))
    }))

  it.effect("one that does not beat times out", () =>
    Effect.gen(function*() {
      const beating = Effect.andThen(Effect.sleep("900 millis"), Step.heartbeat()).pipe(Effect.repeat({ times: 3 }))
      assert.deepStrictEqual(
        yield* World.ended(Saga.transact(step(Effect.as(beating, "done"), "1 second"))),
        Exit.succeed("done")
      )
      const exit = yield* World.ended(Saga.transact(step(Effect.andThen(beating, Effect.never), "1 second")))
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof Step.TimedOut)
    }))
})
