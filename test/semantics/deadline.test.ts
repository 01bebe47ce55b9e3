/**
 * A saga's deadline: what happens when it passes, and where it comes too late.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule } from "effect"
import { Saga, SagaError, SagaStore, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Process from "../utils/Process.ts"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const partsWith = (faults: Record<string, Array<World.Fault>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

const deadline = 60_000
const within = { deadline }

const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason
}
const exceeded = (exit: Exit.Exit<unknown, unknown>) =>
  assert.deepInclude(reasonOf(exit), { _tag: "DeadlineExceeded", execution: "S/1", deadline })

const row = World.body(({ step }) => step("A").pipe(Effect.andThen(step("B")), Effect.andThen(step("C"))), within)
const decided = (pivot: World.PartOptions = {}) =>
  World.settled(({ pivot: decide, retryable, step }) => ({
    attempt: step("A"),
    pivot: () => decide("P", pivot),
    settle: () => retryable("Ship")
  }), within)

/** The act has begun and does not end before its gate is open. */
const stopAt = Effect.fnUntraced(function*(world: World.World, act: string) {
  const gate = world.parts.gate(act)
  yield* world.start
  yield* world.parts.hasBegun(act)
  return gate
})

describe("a deadline", () => {
  it.effect("awaits the step in flight, tries nothing new, and undoes all", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      const gate = yield* stopAt(world, "B")
      yield* TestClock.adjust(deadline - 1)
      assert.notInclude((yield* world.journal).join(), "DeadlinePassed")
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* world.journal).at(-1), "DeadlinePassed")
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
      yield* gate.open
      exceeded(yield* world.result)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is the same for `poll`, for `result` and for whoever executes it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      const gate = world.parts.gate("B")
      const executing = yield* Effect.forkChild(world.execute)
      yield* world.parts.hasBegun("B")
      yield* TestClock.adjust(deadline)
      yield* gate.open
      const exits = [yield* Fiber.join(executing), yield* world.result]
      exits.forEach(exceeded)
      const status = yield* world.status
      assert.strictEqual(status._tag, "RolledBack")
      exceeded(Exit.fail(status.error))
      assert.deepStrictEqual(
        (yield* world.entries).find((_) => _._tag === "RollbackStarted"),
        { _tag: "RollbackStarted", at: deadline, scope: "", cause: { _tag: "DeadlineExceeded", deadline } }
      )
    }).pipe(Effect.scoped))

  it.effect("does nothing to a saga that ended in time", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      const journal = yield* world.journal
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* world.journal, journal)
    }).pipe(Effect.scoped))

  it.effect("settles a step in back-off by its last outcome, and withdraws a timer", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.andThen(
          step("A"),
          Effect.all([step("B", { retry: Schedule.spaced("1 hour") }), Effect.sleep("2 hours")], { concurrency: 2 })
        ), within)
      const world = yield* World.make(live, partsWith({ B: ["refuse"] })())
      exceeded(yield* world.execute)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A"])
      const journal = (yield* world.journal).join()
      assert.include(journal, "StepFailed B@")
      assert.include(journal, "TimerWithdrawn")
      assert.strictEqual((yield* world.entries).at(-1)!.at, deadline)
    }).pipe(Effect.scoped))

  it.effect("waits for a roll-back in the middle of the body, then undoes the rest", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* step("B")
          yield* Saga.rollback("B")
          return yield* step("C")
        }), within)
      const world = yield* World.make(live)
      const gate = yield* stopAt(world, "undo B")
      yield* TestClock.adjust(deadline)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo B"])
      yield* gate.open
      exceeded(yield* world.result)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("that passes while the saga rolls back for its own error changes nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["refuse"] })())
      const gate = yield* stopAt(world, "undo B")
      yield* TestClock.adjust(deadline * 2)
      yield* gate.open
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "C" }))
      assert.notInclude((yield* world.journal).join(), "DeadlinePassed")
    }).pipe(Effect.scoped))

  it.effect("what fails to be undone parks, with the deadline as the original cause", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ "undo A": ["refuse"] })())
      const gate = yield* stopAt(world, "B")
      yield* TestClock.adjust(deadline)
      yield* gate.open
      const { original, unresolved } = World.whyParked(yield* world.result)
      assert.deepStrictEqual(original, { _tag: "DeadlineExceeded", deadline })
      assert.deepStrictEqual(unresolved.map((_) => _.step), ["A"])
    }).pipe(Effect.scoped))
})

describe("a deadline and the point of no return", () => {
  it.effect("past it nothing happens", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided())
      const gate = yield* stopAt(world, "Ship")
      yield* TestClock.adjust(deadline * 2)
      yield* gate.open
      assert.deepStrictEqual(yield* world.result, Exit.succeed("Ship done"))
      assert.notInclude((yield* world.journal).join(), "DeadlinePassed")
    }).pipe(Effect.scoped))

  it.effect("a pivot in flight decides: if it happens, the deadline came too late", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided())
      const gate = yield* stopAt(world, "P")
      yield* TestClock.adjust(deadline)
      yield* gate.open
      assert.deepStrictEqual(yield* world.result, Exit.succeed("Ship done"))
      assert.deepStrictEqual(world.parts.log, ["A", "P", "Ship"])
    }).pipe(Effect.scoped))

  it.effect("a pivot in flight decides: if it is refused, it is not tried again, and all is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        decided({ retry: Schedule.spaced("1 second") }),
        partsWith({ P: ["refuse"] })()
      )
      const gate = yield* stopAt(world, "P")
      yield* TestClock.adjust(deadline)
      yield* gate.open
      exceeded(yield* world.result)
      assert.deepStrictEqual(world.parts.log, ["A", "P", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("also after a crash with the pivot in flight, whether the deadline passed before or after it", () =>
    Effect.gen(function*() {
      const live = decided()
      const world = yield* World.make(live)
      yield* stopAt(world, "P")
      const before = (yield* world.journal).length
      yield* TestClock.adjust(deadline)
      assert.strictEqual((yield* world.journal).at(-1), "DeadlinePassed")
      for (const appends of [before, before + 1]) {
        const next = yield* world.crashed(appends, live, World.makeParts())
        assert.deepStrictEqual(yield* next.result, Exit.succeed("Ship done"))
        assert.deepStrictEqual(next.parts.log, ["P", "Ship"])
      }
    }).pipe(Effect.scoped))
})

describe("a deadline and a parked execution", () => {
  it.effect("nothing happens while it is parked; when it is resumed it rolls back", () =>
    Effect.gen(function*() {
      const live = World.body(
        ({ step }) => step("A").pipe(Effect.andThen(step("B")), Effect.andThen(step("C"))),
        within
      )
      const world = yield* World.make(live, partsWith({ B: ["die"] })())
      World.whyParked(yield* world.execute)
      const journal = yield* world.journal
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* world.journal, journal)
      assert.strictEqual((yield* world.status)._tag, "Parked")
      yield* world.resume
      exceeded(yield* world.result)
      // Nobody knows whether B happened, so it is done again with its key and then undone, as after a crash.
      assert.deepStrictEqual(world.parts.log, ["A", "B", "B", "undo B", "undo A"])
      assert.strictEqual(world.parts.keys[1], world.parts.keys[2])
    }).pipe(Effect.scoped))

  it.effect("one that is resumed in time goes on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ B: ["die"] })())
      World.whyParked(yield* world.execute)
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("C done"))
    }).pipe(Effect.scoped))
})

describe("a deadline and cancels", () => {
  it.effect("a cancel after it changes nothing: not while a step is awaited, and not while it undoes", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      const gate = yield* stopAt(world, "B")
      const undoing = world.parts.gate("undo B")
      yield* TestClock.adjust(deadline)
      yield* world.cancel("enough")
      yield* World.quiet
      yield* gate.open
      yield* world.parts.hasBegun("undo B")
      const refused = yield* Effect.flip(world.cancel("enough"))
      assert.strictEqual(refused.reason._tag, "NotAccepting")
      yield* undoing.open
      exceeded(yield* world.result)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a deadline after a cancel changes nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      const gate = yield* stopAt(world, "B")
      yield* world.cancel("enough")
      yield* TestClock.adjust(deadline)
      yield* gate.open
      assert.deepInclude(reasonOf(yield* world.result), { _tag: "Cancelled", reason: "enough" })
    }).pipe(Effect.scoped))
})

describe("a deadline and several processes", () => {
  const definition = World.definitionWith(within)
  const payload = { id: "1" }
  const id = definition.executionId(payload)

  it.effect("counts from the start by a client, also before anybody works on it", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const client = yield* Process.open(store)
      yield* client.use(definition.start(payload))
      yield* TestClock.adjust(deadline - 1_000)
      const parts = World.makeParts()
      const gate = parts.gate("B")
      yield* Process.open(store, Process.saga(row, parts))
      yield* parts.hasBegun("B")
      yield* TestClock.adjust("2 seconds")
      yield* gate.open
      exceeded(yield* World.ended(client.use(definition.result(id))))
      assert.deepStrictEqual(parts.log, ["A", "B", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("one that passed before anybody worked on it: nothing begins", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const client = yield* Process.open(store)
      yield* client.use(definition.start(payload))
      yield* TestClock.adjust(deadline)
      const parts = World.makeParts()
      yield* Process.open(store, Process.saga(row, parts))
      exceeded(yield* World.ended(client.use(definition.result(id))))
      assert.deepStrictEqual(parts.log, [])
    }).pipe(Effect.scoped))

  it.effect("one that passed while nobody owned it: what was in flight is settled, nothing new begins", () =>
    Effect.gen(function*() {
      const withCheck = (answer?: Step.Check<string>) =>
        World.body(({ parts, step }) =>
          Effect.gen(function*() {
            yield* step("A")
            yield* step("B", answer === undefined ? {} : { check: () => Effect.orDie(parts.act("check B", answer)) })
            return yield* step("C")
          }), within)
      const world = yield* World.make(withCheck())
      yield* stopAt(world, "B")
      const appends = (yield* world.journal).length
      yield* TestClock.adjust(deadline)
      const after = [
        [undefined, ["B", "undo B", "undo A"]],
        [Step.happened("B done"), ["check B", "undo B", "undo A"]],
        [Step.never, ["check B", "undo A"]]
      ] as const
      for (const [answer, log] of after) {
        const next = yield* world.crashed(appends, withCheck(answer), World.makeParts())
        exceeded(yield* next.result)
        assert.deepStrictEqual(next.parts.log, [...log])
      }
    }).pipe(Effect.scoped))

  it.effect("one that passed after a shutdown between two steps: the next step does not begin", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const [first, second] = [World.makeParts(), World.makeParts()]
      const worker = yield* Process.open(store, Process.saga(row, first))
      const gate = first.gate("A")
      yield* worker.use(definition.start(payload))
      yield* first.hasBegun("A")
      const stopping = yield* Effect.forkChild(worker.stop)
      yield* World.quiet
      yield* gate.open
      yield* Fiber.join(stopping)
      assert.strictEqual((yield* Process.journal(store, id)).at(-1), "StepSucceeded A")
      yield* TestClock.adjust(deadline)
      const other = yield* Process.open(store, Process.saga(row, second))
      exceeded(yield* World.ended(other.use(definition.result(id))))
      assert.deepStrictEqual(second.log, ["undo A"])
    }).pipe(Effect.scoped))
})
