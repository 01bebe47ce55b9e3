/**
 * Rules 34 and 35: the words for endings, and what an undisturbed run costs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch, Schema } from "effect"
import { Saga, SagaError, SagaInspector, SagaStore } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const row = World.body(({ step }) => step("A").pipe(Effect.andThen(step("B")), Effect.andThen(step("C"))))
const decided = World.settled(({ retryable, step }) => ({ attempt: step("A"), settle: () => retryable("B") }))

const reasonOf = (exit: Exit.Exit<unknown, unknown>): SagaError.SagaError["reason"] => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason
}

describe("rule 34: the words for endings", () => {
  it.effect("Completed: the result, for every caller, now and later", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(yield* world.result, Exit.succeed("C done"))
      assert.deepStrictEqual(yield* world.status, { _tag: "Completed", value: "C done" })
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
    }).pipe(Effect.scoped))

  it.effect("RolledBack: the saga's own error, once all is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.faults.set("C", ["refuse"])
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "C" }))
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "C" }))
      assert.deepStrictEqual(yield* world.status, { _tag: "RolledBack", error: new Refused({ step: "C" }) })
    }).pipe(Effect.scoped))

  it.effect("Parked: why, and it stays until it is resumed", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.faults.set("C", ["die"])
      const reason = reasonOf(yield* world.execute)
      assert.strictEqual(reason._tag, "Parked")
      assert.match(reason.message, /S\/1 is parked: .*C is broken.*resume/s)
      assert.strictEqual((yield* world.poll)._tag, "Parked")
      assert.strictEqual(reasonOf(yield* world.execute)._tag, "Parked")
      yield* TestClock.adjust("2 days")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
    }).pipe(Effect.scoped))

  it.effect("Cancelled: with its reason, once all is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      const waiting = yield* Effect.forkChild(world.execute)
      yield* world.cancel("too dear")
      yield* World.quiet
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
      yield* world.parts.gate("B").open
      const reason = reasonOf(yield* Fiber.join(waiting))
      assert.deepStrictEqual([reason._tag, (reason as SagaError.Cancelled).reason], ["Cancelled", "too dear"])
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo B", "undo A"])
      const polled = yield* world.poll
      assert.deepStrictEqual([polled._tag, polled.error.reason._tag], ["RolledBack", "Cancelled"])
    }).pipe(Effect.scoped))

  it.effect("Cancelled: a parked execution is rolled back by a cancel", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.faults.set("C", ["die"])
      yield* world.execute
      yield* world.cancel()
      assert.strictEqual(reasonOf(yield* world.result)._tag, "Cancelled")
      const undoing = (yield* world.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
      // C died, so nobody knows: it is run again under its key and then undone.
      assert.deepStrictEqual(undoing, ["C", "B", "A"])
    }).pipe(Effect.scoped))

  it.effect("Cancelled: a cancel that comes while a park waits for a sibling is not lost", () =>
    Effect.gen(function*() {
      const live = World.body(({ readonly, step }) =>
        Effect.all([step("A"), readonly("B")], { concurrency: "unbounded" })
      )
      const world = yield* World.make(live)
      world.parts.faults.set("B", ["die", "die"])
      world.parts.gate("A")
      yield* world.start
      yield* World.quiet
      yield* world.cancel()
      yield* World.quiet
      yield* world.parts.gate("A").open
      assert.strictEqual(reasonOf(yield* world.result)._tag, "Cancelled")
      assert.deepStrictEqual(world.parts.log.at(-1), "undo A")
    }).pipe(Effect.scoped))

  it.effect("TooLate: a cancel past the point of no return", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      assert.deepStrictEqual(yield* world.status, { _tag: "Running", pivotPassed: true })
      const error = yield* Effect.flip(world.cancel())
      assert.strictEqual(error.reason._tag, "TooLate")
      yield* world.parts.gate("B").open
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
    }).pipe(Effect.scoped))

  it.effect("TooLate: also for an execution that parked there", () =>
    Effect.gen(function*() {
      const world = yield* World.make(decided)
      world.parts.faults.set("B", ["die"])
      World.whyParked(yield* world.execute)
      assert.strictEqual((yield* Effect.flip(world.cancel())).reason._tag, "TooLate")
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
    }).pipe(Effect.scoped))

  it.effect("NotAccepting: a cancel or a resume of an execution that has ended, a resume of one that runs", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      const running = yield* Effect.flip(world.resume)
      assert.deepStrictEqual([running.reason._tag, running.reason.status], ["NotAccepting", "running"])
      yield* world.parts.gate("B").open
      yield* world.result
      for (const refused of [yield* Effect.flip(world.cancel()), yield* Effect.flip(world.resume)]) {
        assert.deepStrictEqual([refused.reason._tag, refused.reason.status], ["NotAccepting", "completed"])
      }
    }).pipe(Effect.scoped))

  it.effect("NotAccepting: a cancel of an execution that parked while it rolled back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.faults.set("C", ["refuse"]).set("undo B", ["die"])
      World.whyParked(yield* world.execute)
      assert.strictEqual((yield* Effect.flip(world.cancel())).reason._tag, "NotAccepting")
    }).pipe(Effect.scoped))

  it.effect("PayloadMismatch: one key, another payload; the same payload joins", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      const first = World.definition.execute({ id: "1", note: "a" })
      assert.deepStrictEqual(yield* World.ended(world.use(first)), Exit.succeed("C done"))
      const exit = yield* World.ended(world.use(World.definition.execute({ id: "1", note: "b" })))
      assert.strictEqual(reasonOf(exit)._tag, "PayloadMismatch")
      assert.deepStrictEqual(yield* World.ended(world.use(first)), Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
    }).pipe(Effect.scoped))

  it.effect("PayloadMismatch: also while the execution runs, here and in another process", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      const other = yield* world.beside(row)
      for (const process of [world, other]) {
        const exit = yield* World.ended(process.use(World.definition.start({ id: "1", note: "b" })))
        assert.strictEqual(reasonOf(exit)._tag, "PayloadMismatch")
      }
      yield* world.parts.gate("B").open
      assert.deepStrictEqual(yield* other.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
    }).pipe(Effect.scoped))

  it.effect("UnknownExecution: poll, result, cancel and resume of an id that was never started", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      for (const call of [world.poll, world.cancel(), world.resume]) {
        assert.strictEqual((yield* Effect.flip(call as Effect.Effect<unknown, any>)).reason._tag, "UnknownExecution")
      }
      assert.strictEqual(reasonOf(yield* world.result)._tag, "UnknownExecution")
    }).pipe(Effect.scoped))

  const failing = (retryable: boolean) =>
    new SagaStore.StoreError({ operation: "append", retryable, cause: new Error("no database") })

  it.effect("StoreUnavailable: a start that the store refuses; nothing has run", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.recorded.failures.push(failing(false))
      assert.strictEqual(reasonOf(yield* world.execute)._tag, "StoreUnavailable")
      assert.deepStrictEqual(world.parts.log, [])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
    }).pipe(Effect.scoped))

  it.effect("a store that does not answer for a while loses nothing and repeats nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      for (let i = 0; i < 5; i++) world.recorded.failures.push(failing(true))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
      assert.strictEqual((yield* world.journal).length, 4)
    }).pipe(Effect.scoped))

  it.effect("a refused append in the middle parks, and says so", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      world.recorded.failures.push(failing(false))
      yield* world.parts.gate("B").open
      assert.strictEqual(World.whyParked(yield* world.result).why._tag, "Unencodable")
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("C done"))
    }).pipe(Effect.scoped))

  it.effect("a result that its schema does not take parks", () =>
    Effect.gen(function*() {
      const definition = Saga.make("N", {
        payload: Schema.Struct({ id: Schema.String }),
        success: Schema.Int,
        idempotencyKey: (_) => _.id
      })
      const world = yield* World.make(
        () => definition.toLayer(() => Effect.succeed(1.5))
      )
      const exit = yield* World.ended(world.use(definition.execute({ id: "1" })))
      assert.strictEqual(World.whyParked(exit).why._tag, "Unencodable")
    }).pipe(Effect.scoped))

  it.effect("interrupting who waits stops the waiting, not the execution", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.gate("B")
      const waiting = yield* Effect.forkChild(world.use(World.definition.execute({ id: "1" })))
      yield* world.parts.hasBegun("B")
      yield* Fiber.interrupt(waiting)
      yield* world.parts.gate("B").open
      assert.deepStrictEqual(yield* world.result, Exit.succeed("C done"))
    }).pipe(Effect.scoped))

  it.effect("a start of an execution that was taken over returns at once, here and elsewhere", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      yield* world.execute
      const parts = World.makeParts()
      parts.gate("B")
      const recovered = yield* world.crashed(2, row, parts)
      const waiting = yield* Effect.forkChild(recovered.result)
      yield* recovered.parts.hasBegun("B")
      yield* World.quiet
      yield* recovered.start
      const mismatch = yield* Effect.flip(recovered.use(World.definition.start({ id: "1", note: "b" })))
      assert.strictEqual(mismatch.reason._tag, "PayloadMismatch")
      assert.strictEqual((yield* recovered.poll)._tag, "Running")
      yield* recovered.parts.gate("B").open
      assert.deepStrictEqual(yield* Fiber.join(waiting), Exit.succeed("C done"))
    }).pipe(Effect.scoped))

  it.effect("ten callers of one key are one execution", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      const all = yield* Effect.forEach(Array.from({ length: 10 }), () => world.execute, { concurrency: "unbounded" })
      assert.deepStrictEqual(all, all.map(() => Exit.succeed("C done")))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
    }).pipe(Effect.scoped))
})

describe("a cancel that comes with the pivot's result", () => {
  it.effect("undoes nothing: the pivot has happened", () =>
    Effect.gen(function*() {
      const live = World.settled(({ pivot, retryable, step }) => ({
        attempt: Effect.andThen(step("A"), Effect.forkChild(step("X"))),
        pivot: () => pivot("Pivot"),
        settle: () => retryable("Ship")
      }))
      const world = yield* World.make(live)
      const { encoded } = world.recorded.store
      const store = Latch.makeUnsafe(true)
      const { append } = encoded
      Object.assign(encoded, { append: (batch: never) => Effect.andThen(store.await, append(batch)) })
      for (const act of ["X", "Pivot"]) world.parts.gate(act)
      yield* world.start
      yield* World.quiet
      store.closeUnsafe()
      yield* world.parts.gate("X").open
      yield* World.quiet
      // X is being stored now; both come meanwhile.
      yield* world.parts.gate("Pivot").open
      yield* World.quiet
      yield* world.cancel()
      store.openUnsafe()
      assert.deepStrictEqual(yield* world.result, Exit.succeed("Ship done"))
      assert.isFalse(world.parts.log.some((_) => _.startsWith("undo ")))
    }).pipe(Effect.scoped))
})

describe("a pivot in doubt that is rolled back", () => {
  it.effect("has happened in the meantime: the roll-back comes too late, also for who takes over then", () =>
    Effect.gen(function*() {
      for (const how of ["cancel", "roll-back"]) {
        const live = World.settled(({ pivot, retryable, step }) => ({
          attempt: step("A"),
          pivot: () => pivot("Pivot", { timeout: "1 second", unknown: "park" }),
          settle: () => Effect.andThen(retryable("Ship"), retryable("Mail"))
        }))
        const parts = World.makeParts()
        parts.faults.set("Pivot", ["hang"])
        const world = yield* World.make(live, parts)
        assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unknown")
        const inspector = yield* world.use(
          Effect.provideService(SagaInspector.make, SagaStore.SagaStore, world.recorded.store)
        )
        yield* how === "cancel" ? world.cancel() : inspector.rollback(world.id)
        assert.deepStrictEqual(yield* world.result, Exit.succeed("Mail done"))
        const journal = yield* world.journal
        const passed = journal.findIndex((_) => _.includes("PivotPassed")) + 1
        for (let appends = passed; appends < journal.length; appends++) {
          const recovered = yield* world.crashed(appends, live, World.makeParts())
          assert.deepStrictEqual(yield* recovered.result, Exit.succeed("Mail done"), `${how}, after ${appends}`)
        }
      }
    }).pipe(Effect.scoped))
})

describe("rule 35: a saga of n acting steps costs n + 1 appends", () => {
  const cases: ReadonlyArray<readonly [string, World.Live, number]> = [
    ["of nothing", World.body(() => Effect.succeed("")), 1],
    ["of one read", World.body(({ readonly }) => readonly("R")), 1],
    ["of three steps", row, 4],
    [
      "of three steps with reads between",
      World.body(({ readonly, step }) =>
        readonly("R1").pipe(
          Effect.andThen(step("A")),
          Effect.andThen(readonly("R2")),
          Effect.andThen(readonly("R3")),
          Effect.andThen(step("B")),
          Effect.andThen(step("C")),
          Effect.andThen(readonly("R4"))
        )
      ),
      4
    ],
    [
      "of two steps and a hook for the roll-back",
      World.body(({ parts, step }) =>
        step("A").pipe(Effect.andThen(Saga.onRollback("H", () => parts.act("H", undefined))), Effect.andThen(step("B")))
      ),
      3
    ],
    [
      "of two steps and one after the commit",
      World.body(({ parts, step }) =>
        step("A").pipe(Effect.andThen(Saga.onCommit("H", parts.act("H", undefined))), Effect.andThen(step("B")))
      ),
      4
    ],
    ["of a step and a settled one", decided, 3],
    [
      "of a step, a pivot and two settled ones",
      World.settled(({ pivot, retryable, step }) => ({
        attempt: step("A"),
        pivot: () => pivot("P"),
        settle: () => Effect.andThen(retryable("B"), retryable("C"))
      })),
      5
    ],
    [
      "of steps that run together: one for all of them, and one for each tick in which some end",
      World.body(({ step }) => Effect.all([step("A"), step("B"), step("C")], { concurrency: "unbounded" })),
      2
    ]
  ]
  for (const [what, live, appends] of cases) {
    it.effect(`${what}: ${appends}`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(live)
        const exit = yield* world.execute
        const journal = yield* world.journal
        assert.isTrue(Exit.isSuccess(exit), String(exit))
        assert.strictEqual(journal.length, appends, journal.join("\n"))
        assert.strictEqual(world.recorded.appends.length, appends)
      }).pipe(Effect.scoped))
  }

  it.effect("the point of no return, the pivot's result and the next intent are one append", () =>
    Effect.gen(function*() {
      const live = World.settled(({ pivot, retryable, step }) => ({
        attempt: step("A"),
        pivot: () => pivot("P"),
        settle: () => retryable("B")
      }))
      const world = yield* World.make(live)
      yield* world.execute
      assert.deepStrictEqual(yield* world.journal, [
        "SagaStarted, StepStarted A",
        "StepSucceeded A, StepStarted P",
        "StepSucceeded P, PivotPassed, StepStarted B",
        "StepSucceeded B, SagaCompleted"
      ])
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a body that fails before it asks anything costs one append, and undoes nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(() => Effect.fail(new Refused({ step: "none" }))))
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "none" }))
      assert.deepStrictEqual(yield* world.journal, ["SagaStarted, RollbackStarted, SagaRolledBack"])
    }).pipe(Effect.scoped))
})

describe("a process that goes", () => {
  it.effect("with a body that never waits does not keep its engine from closing", () =>
    Effect.gen(function*() {
      const world = yield* Effect.scoped(Effect.gen(function*() {
        const world = yield* World.make(
          World.body(({ step }) => Effect.andThen(step("A"), Effect.forever(Effect.yieldNow)))
        )
        yield* world.start
        yield* world.parts.hasBegun("A")
        yield* World.quiet
        return world
      }))
      assert.deepStrictEqual(world.parts.log, ["A"])
    }))
})
