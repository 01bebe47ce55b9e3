/**
 * A long wait leaves memory: what the row says then, what brings the execution back, and that nothing is done twice.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Layer, Schedule, Schema } from "effect"
import { Saga, SagaEngine, SagaError, SagaStore, SagaWorker, Signal, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as limits from "../../src/internal/limits.ts"
import * as Process from "../utils/Process.ts"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const hour = 3_600_000
const hourly = Schedule.spaced("1 hour").pipe(Schedule.upTo({ times: 3 }))
const concurrent = { concurrency: "unbounded" } as const
const { definition } = World
const payload = { id: "1" }
const id = definition.executionId(payload)

const partsWith = (faults: Record<string, Array<World.Fault>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

const rowOf = (store: SagaStore.Encoded) =>
  Effect.map(Effect.orDie(store.read(id)), (row) => {
    const { status, wakeAt, worker } = row ?? assert.fail("it was not started")
    return { status, wakeAt, worker }
  })
const row = (world: World.World) => rowOf(world.recorded.store.encoded)
const asleep = (wakeAt: number) => ({ status: "suspended", worker: null, wakeAt } as const)
const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason._tag
}

/** A, an hour, B. */
const hourBetween = (options: World.SagaOptions = {}) =>
  World.body(
    ({ step }) => step("A").pipe(Effect.andThen(Timer.sleep("wait", hour)), Effect.andThen(step("B"))),
    options
  )

describe("a long wait", () => {
  it.effect("of a timer: the row says suspended, until when, and that nobody owns it; `poll` says the same", () =>
    Effect.gen(function*() {
      const world = yield* World.make(hourBetween())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour))
      assert.deepStrictEqual(yield* world.status, { _tag: "Suspended", wakeAt: hour })
      assert.deepStrictEqual((yield* world.journal).at(-1), "Suspended")
      yield* TestClock.adjust("59 minutes")
      assert.deepStrictEqual(yield* row(world), asleep(hour))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
    }).pipe(Effect.scoped))

  it.effect("of a step in back-off: the next attempt is made once, without asking whether the last one happened", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        step("A", { retry: hourly, check: () => Effect.orDie(parts.act("check A", Step.never)) })
      )
      const world = yield* World.make(live, partsWith({ A: ["refuse", "refuse"] })())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour))
      yield* TestClock.adjust(hour)
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(2 * hour))
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("A done"))
      assert.deepStrictEqual(world.parts.log, ["A", "A", "A"])
      const attempts = (yield* world.entries).flatMap((_) => "attempt" in _ ? [`${_._tag} ${_.attempt}`] : [])
      assert.deepStrictEqual(attempts, ["AttemptFailed 1", "AttemptFailed 2", "StepSucceeded 3"])
    }).pipe(Effect.scoped))

  it.effect("of a step that timed out: it runs again with its key, once", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => step("A", { timeout: "1 second", unknown: "park", retry: hourly }))
      const world = yield* World.make(live, partsWith({ A: ["hang"] })())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("1 second")
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour + 1_000))
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("A done"))
      assert.deepStrictEqual(world.parts.keys, ["A S/1/0/A/0/0", "A S/1/0/A/0/0"])
    }).pipe(Effect.scoped))

  it.effect("of a check that is asked again: it is asked, and nothing is tried", () =>
    Effect.gen(function*() {
      const answers = [Step.stillGoing, Step.happened("found")]
      const live = World.body(({ parts, step }) =>
        step("A", {
          timeout: "1 second",
          retry: hourly,
          check: () => Effect.suspend(() => Effect.orDie(parts.act("check A", answers.shift())))
        })
      )
      const world = yield* World.make(live, partsWith({ A: ["hang"] })())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("1 second")
      yield* World.quiet
      assert.strictEqual((yield* row(world)).status, "suspended")
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("found"))
      assert.deepStrictEqual(world.parts.log, ["A", "check A", "check A"])
    }).pipe(Effect.scoped))

  it.effect("of a compensation in back-off: it is tried again once, without its check, and the rest follows", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* step("X")
          yield* step("A", {
            compensation: { retry: hourly, check: () => Effect.orDie(parts.act("check undo A", Step.never)) }
          })
          return yield* step("B")
        })
      )
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour))
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "B" }))
      assert.deepStrictEqual(world.parts.log, ["X", "A", "B", "undo A", "undo A", "undo X"])
    }).pipe(Effect.scoped))

  it.effect("of a compensation of a Saga.scoped: the body goes on when it is undone", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.catch(
          Saga.scoped(Effect.andThen(step("A", { compensation: { retry: hourly } }), step("B"))),
          () => step("C")
        )
      )
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour))
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A", "undo A", "C"])
    }).pipe(Effect.scoped))

  it.effect("past the point of no return: a cancel comes too late all the same", () =>
    Effect.gen(function*() {
      const live = World.settled(({ retryable, step }) => ({
        attempt: step("A"),
        settle: () => retryable("Ship", { retry: hourly })
      }))
      const world = yield* World.make(live, partsWith({ Ship: ["refuse"] })())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour))
      assert.strictEqual((yield* Effect.flip(world.cancel())).reason._tag, "TooLate")
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("Ship done"))
      assert.deepStrictEqual(world.parts.log, ["A", "Ship", "Ship"])
    }).pipe(Effect.scoped))

  it.effect("is left to the last that acts: beside a sibling it stays, then it leaves until the first is due", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.all([
          Effect.andThen(Timer.sleep("long", 2 * hour), step("X")),
          Effect.andThen(Timer.sleep("longer", 3 * hour), step("Y")),
          step("Z")
        ], concurrent)
      )
      const world = yield* World.make(live)
      const gate = world.parts.gate("Z")
      yield* world.start
      yield* world.parts.hasBegun("Z")
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* world.status, { _tag: "Running", pivotPassed: false })
      yield* gate.open
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(2 * hour))
      yield* TestClock.adjust(hour)
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(3 * hour))
      assert.deepStrictEqual(world.parts.log, ["Z", "X"])
      yield* TestClock.adjust(hour)
      assert.isTrue(Exit.isSuccess(yield* world.result))
      assert.deepStrictEqual(world.parts.log, ["Z", "X", "Y"])
    }).pipe(Effect.scoped))
})

describe("a short wait", () => {
  it.effect("stays in memory: nothing is recorded of it but the timer", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        step("A").pipe(Effect.andThen(Timer.sleep("wait", "10 seconds")), Effect.andThen(step("B")))
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* World.quiet
      assert.strictEqual((yield* row(world)).status, "running")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.notInclude((yield* world.journal).join(), "Suspended")
    }).pipe(Effect.scoped))

  it.effect("is as long as the limit says", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.andThen(Timer.sleep("wait", "2 hours"), step("B")))
      const world = yield* Effect.provideService(World.make(live), limits.SuspendAfter, "1 day")
      yield* world.start
      yield* World.quiet
      assert.strictEqual((yield* row(world)).status, "running")
    }).pipe(Effect.scoped))
})

describe("an append that would suspend and that the store refuses for good", () => {
  it.effect("parks the execution: its row says so, and nobody sleeps on it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(hourBetween())
      const refused = new SagaStore.StoreError({ operation: "append", retryable: false, cause: new Error("too odd") })
      world.recorded.onAppend.current = (append) => {
        if (append.entries.includes("TimerSet")) world.recorded.failures.push(refused)
      }
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unencodable")
      const { status, wakeAt, worker } = yield* row(world)
      assert.deepStrictEqual([status, worker, wakeAt], ["parked", null, null])
    }).pipe(Effect.scoped))
})

describe("what brings a suspended execution back", () => {
  /** A worker of which one can see what is in its memory. */
  const workerWith = Effect.fnUntraced(function*(live: World.Live, parts: World.Parts) {
    const store = yield* SagaStore.makeMemory
    const worker = yield* Effect.provideService(SagaWorker.make({}), SagaStore.SagaStore, SagaStore.make(store))
    const engine = Layer.succeed(SagaEngine.SagaEngine, { register: worker.register } as never)
    yield* Layer.build(Layer.provide(Process.saga(live, parts), engine))
    worker.start("S", id, { name: "S", payload: JSON.stringify(payload) })
    yield* World.quiet
    return { worker, store }
  })

  it.effect("is not a fiber of its own: the worker holds nothing of it, until it is due", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      const { store, worker } = yield* workerWith(hourBetween(), parts)
      assert.deepStrictEqual(yield* rowOf(store), asleep(hour))
      assert.deepStrictEqual(worker.live.values().map((_) => _.id), [])
      yield* TestClock.adjust(hour - 1)
      assert.deepStrictEqual(worker.live.values().map((_) => _.id), [])
      const gate = parts.gate("B")
      yield* TestClock.adjust(1)
      yield* World.quiet
      assert.deepStrictEqual(worker.live.values().map((_) => _.id), [id])
      yield* gate.open
      yield* World.quiet
      assert.deepStrictEqual(worker.live.values().map((_) => _.id), [])
      assert.strictEqual((yield* rowOf(store)).status, "completed")
    }).pipe(Effect.scoped))

  it.effect("its own process, within a second, however seldom the store is asked", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      const context = yield* Layer.build(
        Layer.provideMerge(Process.saga(hourBetween(), parts), Layer.fresh(SagaEngine.layerMemory))
      )
      // It asks every minute: not when this is due.
      yield* World.quiet
      yield* TestClock.adjust("30 seconds")
      yield* Effect.provideContext(definition.start(payload), context)
      yield* World.quiet
      yield* TestClock.adjust(hour)
      yield* TestClock.adjust("1 second")
      yield* World.quiet
      assert.deepStrictEqual(parts.log, ["A", "B"])
      assert.strictEqual((yield* Effect.provideContext(definition.poll(id), context))._tag, "Completed")
    }).pipe(Effect.scoped))

  it.effect("leaves memory also where timers ring a millisecond before the clock says so", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const early = Clock.Clock.of({
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        currentTimeMillis: clock.currentTimeMillis,
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        currentTimeNanos: clock.currentTimeNanos,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: clock.monotonicTimeNanos,
        sleep: (duration) => clock.sleep(Duration.subtract(duration, Duration.millis(1)))
      })
      const Paid = Signal.make("Paid", { payload: Schema.Number })
      const receiving = World.body(() => Signal.receive(Paid))
      const { store, worker } = yield* Effect.provideService(
        workerWith(receiving, World.makeParts()),
        Clock.Clock,
        early
      )
      yield* TestClock.adjust("10 seconds")
      yield* World.quiet
      assert.strictEqual((yield* rowOf(store)).status, "suspended")
      assert.deepStrictEqual(worker.live.values().map((_) => _.id), [])
    }).pipe(Effect.scoped))

  it.effect("and who waits for it asks the store as seldom as its worker, and is told at once all the same", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const process = yield* Process.open(store, Process.saga(hourBetween(), parts), {
        poll: "1 day",
        lease: "2 days",
        margin: 0
      })
      const waiting = yield* Effect.forkChild(process.use(definition.execute(payload)))
      yield* World.quiet
      yield* TestClock.adjust("59 minutes")
      assert.isBelow(process.calls.filter((call) => call === "read").length, 25)
      yield* TestClock.adjust("1 minute")
      yield* World.quiet
      assert.deepStrictEqual(waiting.pollUnsafe(), Exit.succeed("B done"))
    }).pipe(Effect.scoped))

  it.effect("another process, if its own is gone, and only one of several", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const first = yield* Process.open(store, Process.saga(hourBetween(), parts))
      yield* first.use(definition.start(payload))
      yield* World.quiet
      yield* first.stop
      assert.deepStrictEqual(yield* rowOf(store), asleep(hour))
      const others = yield* Effect.forEach([1, 2, 3], () => Process.open(store, Process.saga(hourBetween(), parts)))
      yield* TestClock.adjust("59 minutes")
      assert.deepStrictEqual(parts.log, ["A"])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(parts.log, ["A", "B"])
      assert.deepStrictEqual(yield* World.ended(others[0]!.use(definition.result(id))), Exit.succeed("B done"))
      const journal = yield* Process.journal(store, id)
      assert.strictEqual(journal.filter((_) => _ === "Claimed").length, 1)
    }).pipe(Effect.scoped))

  it.effect("a process that takes over after any append: the wait is not served twice", () =>
    Effect.gen(function*() {
      const live = hourBetween()
      const world = yield* World.make(live)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done"), `after ${cut.appends}`)
        const timers = (yield* cut.world.entries).filter((_) => _._tag === "TimerSet")
        assert.strictEqual(timers.length, 1)
        const done = (yield* world.journal).slice(0, cut.appends).join()
        for (const name of ["A", "B"]) {
          assert.strictEqual(cut.world.parts.log.includes(name), !done.includes(`StepSucceeded ${name}`))
        }
      }
    }).pipe(Effect.scoped))

  it.effect("a cancel: it rolls back at once", () =>
    Effect.gen(function*() {
      const world = yield* World.make(hourBetween())
      yield* world.start
      yield* World.quiet
      yield* world.cancel("enough")
      yield* World.quiet
      assert.strictEqual(reasonOf(yield* world.result), "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "undo A"])
      const entries = yield* world.entries
      assert.include(entries.map(World.sentence).join(), "TimerWithdrawn wait")
      assert.strictEqual(entries.at(-1)!.at, 0)
    }).pipe(Effect.scoped))

  it.effect("a cancel while a step backs off: it is settled by its last outcome, not tried and not asked", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(
          step("A"),
          step("B", { retry: hourly, check: () => Effect.orDie(parts.act("check B", Step.never)) })
        )
      )
      const world = yield* World.make(live, partsWith({ B: ["refuse"] })())
      yield* world.start
      yield* World.quiet
      assert.strictEqual((yield* row(world)).status, "suspended")
      yield* world.cancel()
      assert.strictEqual(reasonOf(yield* world.result), "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("not a cancel where it rolls back already, nor a resume", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.andThen(step("A", { compensation: { retry: hourly } }), step("B")))
      const world = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour))
      assert.strictEqual((yield* Effect.flip(world.cancel())).reason._tag, "NotAccepting")
      assert.strictEqual((yield* Effect.flip(world.resume)).reason._tag, "NotAccepting")
      assert.deepStrictEqual(yield* row(world), asleep(hour))
    }).pipe(Effect.scoped))

  it.effect("a deadline before the wait ends: it wakes then, and rolls back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(hourBetween({ deadline: "30 minutes" }))
      yield* world.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(world), asleep(hour / 2))
      yield* TestClock.adjust("30 minutes")
      yield* World.quiet
      assert.strictEqual(reasonOf(yield* world.result), "DeadlineExceeded")
      assert.deepStrictEqual(world.parts.log, ["A", "undo A"])
      assert.strictEqual((yield* world.entries).at(-1)!.at, hour / 2)
    }).pipe(Effect.scoped))

  it.effect("a deadline after the wait ends, or of a saga that rolls back, does not wake it", () =>
    Effect.gen(function*() {
      const late = yield* World.make(hourBetween({ deadline: "2 hours" }))
      yield* late.start
      yield* World.quiet
      assert.deepStrictEqual(yield* row(late), asleep(hour))
      assert.deepStrictEqual(yield* late.result, Exit.succeed("B done"))
      const live = World.body(({ step }) => Effect.andThen(step("A", { compensation: { retry: hourly } }), step("B")), {
        deadline: "30 minutes"
      })
      const undoing = yield* World.make(live, partsWith({ B: ["refuse"], "undo A": ["refuse"] })())
      const from = (yield* late.entries).at(-1)!.at
      yield* undoing.start
      yield* World.quiet
      assert.isAtLeast((yield* row(undoing)).wakeAt!, from + hour)
      assert.deepStrictEqual(World.errorOf(yield* undoing.result), new Refused({ step: "B" }))
    }).pipe(Effect.scoped))
})
