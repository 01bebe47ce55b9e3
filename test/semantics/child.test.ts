/**
 * Children, rules 8, 24, 30 and 32: an execution of its own with a derived id, whose end is a step of its parent.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Schema } from "effect"
import { ExecutionId, Saga, type SagaEngine, SagaInspector, SagaStore, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import type * as Journal from "../../src/Journal.ts"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const Child = Saga.make("C", {
  payload: Schema.Struct({ n: Schema.Number }),
  success: Schema.String,
  error: Refused,
  idempotencyKey: () => "the same for all"
})

const childId = (name = "C", place: number | string = 0, parent = "S/1") => `C/${parent}/0/${name}/${place}`

/** Which of its steps each child has. */
type ChildBody = (parts: World.Steps, n: number) => Effect.Effect<any, any, any>

const twoSteps: ChildBody = ({ step }, n) => Effect.andThen(step(`child A${n}`), step(`child B${n}`))

/** A parent and its children in one process. */
const family = (parent: World.Live, child: ChildBody = twoSteps): World.Live => (parts) =>
  Layer.merge(parent(parts), childrenOf(child)(parts))

const childrenOf = (child: ChildBody): World.Live => (parts) =>
  Child.toLayer((({ n }: { readonly n: number }) => Effect.map(child(parts, n), String)) as never)

const undo = ({ parts }: World.Steps) => (value: string) =>
  Effect.asVoid(Effect.orDie(parts.act(`undo child (${value})`, undefined)))

/** A, a child, B. */
const between = World.body((parts) =>
  Effect.gen(function*() {
    yield* parts.step("A")
    const value = yield* Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) })
    yield* parts.parts.seen("child", value)
    return yield* parts.step("B")
  })
)

const journalOf = (world: World.World, id: string) =>
  Effect.map(
    Effect.orDie(world.recorded.store.journal(id)),
    (journal) => journal.appends.map((append) => append.entries.map(World.sentence).join(", "))
  )
const entriesOf = (world: World.World, id: string): Effect.Effect<ReadonlyArray<Journal.Entry>> =>
  Effect.map(Effect.orDie(world.recorded.store.journal(id)), (journal) => journal.appends.flatMap((_) => _.entries))
const rowOf = (world: World.World, id: string) => Effect.orDie(world.recorded.store.encoded.read(id))
const inspector = (world: World.World) =>
  Effect.provideService(SagaInspector.make, SagaStore.SagaStore, world.recorded.store)
const use = <A, E>(world: World.World, effect: Effect.Effect<A, E, SagaEngine.SagaEngine>) => world.use(effect)

describe("a child", () => {
  it.effect("is an execution of its own, and its result is that of a step of its parent", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(between))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "child A1", "child B1", "child=child B1 done", "B"])
      assert.deepStrictEqual(yield* world.journal, [
        "SagaStarted, StepStarted A",
        "StepSucceeded A, ChildStarted C",
        "ChildEnded C, StepStarted B",
        "StepSucceeded B, SagaCompleted"
      ])
      assert.deepStrictEqual(yield* journalOf(world, childId()), [
        "SagaStarted, StepStarted child A1",
        "StepSucceeded child A1, StepStarted child B1",
        "StepSucceeded child B1, SagaCompleted"
      ])
      assert.deepStrictEqual(yield* Effect.orDie(world.recorded.store.encoded.inbox("S/1", 0)), [])
    }).pipe(Effect.scoped))

  it.effect("32: has an id from its parent, the name and the occurrence, and not from its own key", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(World.body((parts) =>
        Effect.gen(function*() {
          for (const n of [1, 2]) yield* Saga.child(Child, { n }, { onParentRollback: "leave" })
          yield* Effect.all(
            [3, 4].map((n) => Saga.child(Child, { n }, { name: `x/${n}` as "x", onParentRollback: undo(parts) })),
            { concurrency: "unbounded" }
          )
        })
      )))
      yield* world.execute
      const ids = (yield* world.entries).flatMap((_) => _._tag === "ChildStarted" ? [[_.child, _.undo]] : [])
      assert.deepStrictEqual(ids, [
        [childId("C", 0), undefined],
        [childId("C", 1), undefined],
        [childId("x%2F3", "0:0"), true],
        [childId("x%2F4", "1:0"), true]
      ])
      assert.strictEqual(ExecutionId.tag(String(ids[0]![0])), "C")
      const started = (yield* entriesOf(world, childId()))[0]
      assert.deepInclude(started, { _tag: "SagaStarted", parent: "S/1" })
    }).pipe(Effect.scoped))

  it.effect("is created only when its parent's journal has it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(between))
      const seen: Array<string> = []
      world.recorded.onAppend.current = ({ entries, execution }) => {
        if (entries.includes("ChildStarted") || execution === childId()) seen.push(execution)
      }
      yield* world.execute
      assert.deepStrictEqual(seen.slice(0, 2), ["S/1", childId()])
    }).pipe(Effect.scoped))

  it.effect("is the same one wherever its parent is taken up, and does nothing twice", () =>
    Effect.gen(function*() {
      const live = family(between)
      const world = yield* World.make(live)
      yield* world.execute
      const cuts = yield* World.everyCut(world, live, World.makeParts)
      assert.strictEqual(cuts.length, 3)
      for (const cut of cuts) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done"), `after ${cut.appends} appends`)
        const ids = (yield* cut.world.entries).flatMap((_) => _._tag === "ChildStarted" ? [_.child] : [])
        assert.deepStrictEqual(ids, [childId()])
      }
    }).pipe(Effect.scoped))
})

describe("the end of a child", () => {
  it.effect("is its error, typed, once it has undone what it did; the parent may catch it", () =>
    Effect.gen(function*() {
      const caught = World.body((parts) =>
        Effect.gen(function*() {
          yield* parts.step("A")
          const error = yield* Effect.flip(Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) }))
          return yield* parts.step(`after ${error._tag} of ${error.step}`)
        })
      )
      const live = family(caught)
      const world = yield* World.make(live)
      world.parts.faults.set("child B1", ["refuse"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("after Refused of child B1 done"))
      assert.deepStrictEqual(world.parts.log, [
        "A",
        "child A1",
        "child B1",
        "undo child A1",
        "after Refused of child B1"
      ])
      for (
        const cut of yield* World.everyCut(world, live, () => {
          const parts = World.makeParts()
          parts.faults.set("child B1", ["refuse"])
          return parts
        })
      ) assert.deepStrictEqual(cut.exit, Exit.succeed("after Refused of child B1 done"))
    }).pipe(Effect.scoped))

  it.effect("that fails rolls its parent back, and there is nothing of it left to undo", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(between))
      world.parts.faults.set("child B1", ["refuse"])
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "child B1" }))
      assert.deepStrictEqual(world.parts.log, ["A", "child A1", "child B1", "undo child A1", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("that completed is undone in its place when its parent rolls back, with its result", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(World.body((parts) =>
        Effect.gen(function*() {
          yield* parts.step("A")
          yield* Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) })
          yield* Saga.child(Child, { n: 2 }, { onParentRollback: "leave", name: "stays" })
          yield* parts.step("B")
          return yield* parts.step("C")
        })
      )))
      world.parts.faults.set("C", ["refuse"])
      yield* world.execute
      assert.deepStrictEqual(world.parts.log.slice(-4), ["C", "undo B", "undo child (child B1 done)", "undo A"])
      assert.strictEqual((yield* rowOf(world, childId()))?.status, "completed")
      assert.include(world.parts.keys.join(), "undo child (child B1 done) S/1/0/C/0/compensation")
    }).pipe(Effect.scoped))

  it.effect("that completed is undone by its name, and may be asked for again", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(World.body((parts) =>
        Effect.gen(function*() {
          yield* Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) })
          const before = yield* Saga.executedSteps
          const undone = yield* Saga.rollback("C")
          yield* Saga.child(Child, { n: 2 }, { onParentRollback: undo(parts) })
          return `${before.join()} ${undone.join()}`
        })
      )))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C C"))
      assert.include(world.parts.log, "undo child (child B1 done)")
      assert.notInclude(world.parts.log, "undo child (child B2 done)")
    }).pipe(Effect.scoped))
})

/** A child beside a step of the parent. */
const beside = World.body((parts) =>
  Effect.gen(function*() {
    yield* parts.step("A")
    yield* Effect.all([
      Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) }),
      parts.step("B")
    ], { concurrency: "unbounded" })
    return "both"
  })
)

describe("a parent that rolls back", () => {
  it.effect("cancels a child that runs, and undoes itself only when the child has ended", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(beside))
      world.parts.faults.set("B", ["refuse"])
      const gate = world.parts.gate("undo child A1")
      const inChild = world.parts.gate("child B1")
      const inParent = world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      inParent.openUnsafe()
      yield* World.quiet
      assert.notInclude(world.parts.log, "undo A")
      inChild.openUnsafe()
      yield* world.parts.hasBegun("undo child A1")
      assert.notInclude(world.parts.log, "undo A")
      gate.openUnsafe()
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "B" }))
      assert.deepStrictEqual(world.parts.log.slice(-3), ["undo child B1", "undo child A1", "undo A"])
      const child = yield* rowOf(world, childId("C", "0:0"))
      assert.strictEqual(child?.status, "rolledback")
      assert.include(child?.result ?? "", "its parent S/1 does not wait for it any more")
      assert.deepStrictEqual((yield* world.journal).slice(2), [
        "StepFailed B@1, ChildCancelRequested C@0",
        "ChildEnded C@0, RollbackStarted, CompensationStarted A",
        "CompensationSucceeded A, SagaRolledBack"
      ])
    }).pipe(Effect.scoped))

  it.effect("counts a child as completed that does so all the same, and undoes it", () =>
    Effect.gen(function*() {
      const Decided = Saga.make("D", {
        payload: Schema.Struct({ n: Schema.Number }),
        success: Schema.String,
        idempotencyKey: () => ""
      })
      const child: World.Live = ({ retryable }) =>
        Decided.attempt(() => Effect.void).settle((() => retryable("child Ship")) as never)
      const parent = World.body((parts) =>
        Effect.all([
          Saga.child(Decided, { n: 1 }, { onParentRollback: undo(parts) }),
          Effect.andThen(parts.step("A"), parts.step("B"))
        ], { concurrency: "unbounded" })
      )
      const world = yield* World.make((parts) => Layer.merge(parent(parts), child(parts)))
      const gate = world.parts.gate("child Ship")
      world.parts.faults.set("B", ["refuse"])
      yield* world.start
      yield* world.parts.hasBegun("B")
      yield* World.quiet
      assert.notInclude(world.parts.log, "undo A")
      gate.openUnsafe()
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "B" }))
      assert.deepStrictEqual(world.parts.log.slice(-2), ["undo child (child Ship done)", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("does so for a cancel and for its deadline", () =>
    Effect.gen(function*() {
      for (const deadline of [undefined, "1 minute"] as const) {
        const sleeps: ChildBody = ({ step }) => Effect.andThen(step("child A"), Timer.sleep("t", "1 day"))
        const options = deadline === undefined ? {} : { deadline }
        const world = yield* World.make(family(
          World.body(
            (parts) => Effect.andThen(parts.step("A"), Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) })),
            options
          ),
          sleeps
        ))
        yield* world.start
        yield* world.parts.hasBegun("child A")
        yield* TestClock.adjust("30 seconds")
        yield* World.quiet
        if (deadline === undefined) yield* world.cancel("no")
        assert.strictEqual(Exit.isFailure(yield* world.result), true)
        assert.deepStrictEqual(world.parts.log, ["A", "child A", "undo child A", "undo A"])
        assert.strictEqual((yield* rowOf(world, childId()))?.status, "rolledback")
      }
    }).pipe(Effect.scoped))

  it.effect("makes sure that a child is never created which its journal has, and nobody started", () =>
    Effect.gen(function*() {
      const live = family(between)
      const before = yield* World.make(live)
      yield* before.execute
      const died = yield* World.cut(before.recorded, "S/1", 2)
      assert.strictEqual(yield* Effect.orDie(died.store.encoded.read(childId())), null)
      yield* Effect.orDie(died.store.encoded.send({
        execution: "S/1",
        message: JSON.stringify({ _tag: "Cancel" }),
        now: 0,
        refuse: []
      }))
      const after = yield* World.crash(died, live)
      assert.strictEqual(Exit.isFailure(yield* after.result), true)
      assert.deepStrictEqual(after.parts.log, ["undo A"])
      assert.strictEqual((yield* rowOf(after, childId()))?.status, "rolledback")
      assert.deepStrictEqual(yield* journalOf(after, childId()), [
        "SagaStarted, RollbackRequested, RollbackStarted, SagaRolledBack"
      ])
    }).pipe(Effect.scoped))
})

describe("a child that nobody waits for any more", () => {
  const sleeps: ChildBody = ({ step }, n) => Effect.andThen(step(`child A${n}`), Timer.sleep("t", "1 day"))

  it.effect("is cancelled when it loses a race, and the body goes on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(
        World.body((parts) =>
          Effect.gen(function*() {
            const first = yield* Saga.race([
              Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) }),
              Effect.as(Timer.sleep("t", "1 minute"), "the timer")
            ])
            return yield* parts.step(`B after ${first}`)
          })
        ),
        sleeps
      ))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B after the timer done"))
      assert.sameMembers(world.parts.log, ["child A1", "B after the timer", "undo child A1"])
      const ids = (yield* world.entries).flatMap((_) => _._tag === "ChildStarted" ? [_.child] : [])
      assert.strictEqual((yield* rowOf(world, ids[0]!))?.status, "rolledback")
    }).pipe(Effect.scoped))

  it.effect("wins a race against a timer, whose loss changes nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(World.body((parts) =>
        Saga.race([
          Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) }),
          Effect.as(Timer.sleep("t", "1 minute"), "the timer")
        ])
      )))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("child B1 done"))
    }).pipe(Effect.scoped))

  it.effect("is undone when it has completed in a part that loses", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(World.body((parts) =>
        Saga.race([
          Effect.andThen(
            Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) }),
            Effect.as(Timer.sleep("long", "1 day"), "never")
          ),
          Effect.as(Timer.sleep("t", "1 minute"), "the timer")
        ])
      )))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("the timer"))
      assert.deepStrictEqual(world.parts.log, ["child A1", "child B1", "undo child (child B1 done)"])
    }).pipe(Effect.scoped))

  it.effect("is cancelled when its time is over", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(
        World.body((parts) =>
          Effect.catchTag(
            Timer.timeout(Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) }), "a minute", "1 minute"),
            "TimedOut",
            ({ step }) => Effect.succeed(`no ${step}`)
          )
        ),
        sleeps
      ))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("no a minute"))
      assert.deepStrictEqual(world.parts.log, ["child A1", "undo child A1"])
    }).pipe(Effect.scoped))

  it.effect("is undone with the scope that it was asked for in, and only then is the error told", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(World.body((parts) =>
        Effect.gen(function*() {
          yield* parts.step("A")
          yield* Effect.ignore(Saga.scoped(Effect.andThen(
            Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) }),
            parts.step("B")
          )))
          return yield* parts.step("C")
        })
      )))
      world.parts.faults.set("B", ["refuse"])
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, [
        "A",
        "child A1",
        "child B1",
        "B",
        "undo child (child B1 done)",
        "C"
      ])
    }).pipe(Effect.scoped))
})

describe("a parent that waits for long", () => {
  it.effect("leaves memory, also while the child it cancelled has not ended, and is resumed by the child's end", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(between, ({ step }, n) =>
        Effect.andThen(
          step(`child A${n}`, {
            compensate: () => Effect.andThen(Timer.sleep("undoing", "1 hour"), Effect.void)
          }),
          Timer.sleep("t", "1 day")
        )))
      yield* world.start
      yield* world.parts.hasBegun("child A1")
      yield* TestClock.adjust("1 minute")
      yield* World.quiet
      assert.deepStrictEqual(yield* world.status, { _tag: "Suspended", wakeAt: undefined })
      yield* world.cancel("no")
      yield* World.quiet
      yield* TestClock.adjust("1 minute")
      yield* World.quiet
      assert.deepStrictEqual(yield* world.status, { _tag: "Suspended", wakeAt: undefined })
      assert.notInclude(world.parts.log, "undo A")
      assert.strictEqual(Exit.isFailure(yield* world.result), true)
      assert.deepStrictEqual(world.parts.log, ["A", "child A1", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("goes on in another process that has no handler of the child", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      const world = yield* World.make(between, parts)
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("1 minute")
      yield* World.quiet
      // Nobody has the child's handler yet: it waits for one.
      assert.strictEqual((yield* rowOf(world, childId()))?.status, "running")
      assert.deepStrictEqual(parts.log, ["A"])
      yield* world.beside(childrenOf(twoSteps))
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
    }).pipe(Effect.scoped))
})

describe("a parked child", () => {
  it.effect("shows in its parent, which waits, and goes on with it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(between))
      world.parts.faults.set("child B1", ["die"])
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      yield* World.quiet
      const records = (yield* world.poll).steps as ReadonlyArray<Journal.StepRecord>
      assert.deepInclude(records[1], { status: "running", kind: "child" })
      assert.strictEqual(records[1]?.child?.execution, childId())
      assert.deepInclude(records[1]?.child?.parked, { _tag: "Defect", step: "child B1" })
      const { text } = Saga.explain(yield* world.entries)
      assert.include(text, "C is parked, because child B1 died")
      assert.include(text, "the saga waits for child C, which is parked")
      // It is asked for again and again; what has not changed is not told again.
      yield* TestClock.adjust("5 minutes")
      yield* World.quiet
      yield* use(world, Child.resume(childId() as never))
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.deepStrictEqual(
        (yield* world.entries).filter(({ _tag }) => _tag.startsWith("Child")).map((_) => _._tag),
        ["ChildStarted", "ChildParked", "ChildResumed", "ChildEnded"]
      )
      assert.strictEqual((yield* world.poll).steps[1].child.parked, undefined)
    }).pipe(Effect.scoped))

  it.effect("that its parent cancels rolls back from where it parked", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(between))
      world.parts.faults.set("child B1", ["die"])
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      yield* World.quiet
      yield* world.cancel("no")
      assert.strictEqual(Exit.isFailure(yield* world.result), true)
      assert.deepStrictEqual(world.parts.log.slice(-3), ["undo child B1", "undo child A1", "undo A"])
    }).pipe(Effect.scoped))
})

describe("an end that says neither a result nor an error", () => {
  /** Somebody cancels the child. */
  const cancelled = (parent: World.Live) =>
    Effect.gen(function*() {
      const world = yield* World.make(family(parent))
      const gate = world.parts.gate("child B1")
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      yield* Effect.orDie(use(world, Child.cancel(childId() as never, { reason: "by hand" })))
      gate.openUnsafe()
      return world
    })

  it.effect("parks the parent, and a person gives its value", () =>
    Effect.gen(function*() {
      const world = yield* cancelled(between)
      const { why } = World.whyParked(yield* world.result)
      assert.deepInclude(why, { _tag: "Child", step: "C", child: childId() })
      assert.include((why as { readonly message: string }).message, "was rolled back (Cancelled)")
      const inspect = yield* inspector(world)
      yield* Effect.orDie(inspect.resolve("S/1", "C", "by hand", "did it"))
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.include(world.parts.log, "child=by hand")
    }).pipe(Effect.scoped))

  it.effect("parks the parent, and a person rolls it back", () =>
    Effect.gen(function*() {
      const world = yield* cancelled(between)
      World.whyParked(yield* world.result)
      yield* Effect.orDie((yield* inspector(world)).rollback("S/1", "enough"))
      assert.strictEqual(Exit.isFailure(yield* world.result), true)
      assert.deepStrictEqual(world.parts.log.slice(-2), ["undo child A1", "undo A"])
      assert.strictEqual((yield* world.entries).at(-1)?._tag, "SagaRolledBack")
    }).pipe(Effect.scoped))

  it.effect("stays parked when it is resumed and nothing has changed", () =>
    Effect.gen(function*() {
      const world = yield* cancelled(between)
      World.whyParked(yield* world.result)
      yield* world.resume
      assert.strictEqual(World.whyParked(yield* world.result).why._tag, "Child")
    }).pipe(Effect.scoped))

  it.effect("is a typed error where the body asks for one, and again on replay", () =>
    Effect.gen(function*() {
      const caught = World.body((parts) =>
        Effect.catchTag(
          Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts), onRolledBack: "fail" }),
          "ChildRolledBack",
          (error) => parts.step(`after ${error.why}`)
        )
      )
      const world = yield* cancelled(caught)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("after Cancelled done"))
      const cuts = yield* World.everyCut(world, family(caught), World.makeParts)
      assert.deepStrictEqual(cuts.at(-1)?.exit, Exit.succeed("after Cancelled done"))
    }).pipe(Effect.scoped))

  it.effect("of a child that was abandoned is doubt: a person leaves it out before its parent can roll back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(between))
      world.parts.faults.set("child B1", ["die"])
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      yield* World.quiet
      const inspect = yield* inspector(world)
      const by = "enough"
      yield* Effect.orDie(inspect.abandon(childId(), by))
      const { why } = World.whyParked(yield* world.result)
      assert.include((why as { readonly message: string }).message, ": enough), and what it did stands")
      yield* Effect.orDie(inspect.rollback("S/1", by))
      yield* World.quiet
      assert.strictEqual(World.whyParked(yield* world.result).why._tag, "Child")
      yield* Effect.orDie(inspect.skip("S/1", "C", by))
      yield* TestClock.adjust("2 seconds")
      yield* World.quiet
      yield* Effect.orDie(inspect.retry("S/1"))
      assert.strictEqual(Exit.isFailure(yield* world.result), true)
      assert.deepStrictEqual(world.parts.log.slice(-1), ["undo A"])
    }).pipe(Effect.scoped))
})

describe("a child that cannot be created", () => {
  it.effect("parks its parent where somebody else has started an execution with its id", () =>
    Effect.gen(function*() {
      const Other = Saga.make("C", {
        payload: Schema.Struct({ n: Schema.Number }),
        success: Schema.String,
        idempotencyKey: () => "S/1/0/C/0"
      })
      const world = yield* World.make(family(between))
      world.parts.gate("child B1")
      yield* Effect.orDie(use(world, Other.start({ n: 1 })))
      assert.deepInclude(World.whyParked(yield* world.execute).why, { _tag: "Child", child: childId() })
      yield* world.cancel("no")
      assert.strictEqual(Exit.isFailure(yield* world.result), true)
      // It is not ours to cancel.
      assert.strictEqual((yield* rowOf(world, childId()))?.status, "running")
      assert.deepStrictEqual(world.parts.log.slice(-1), ["undo A"])
    }).pipe(Effect.scoped))

  it.effect("parks its parent where its payload does not fit its schema, and is created when that is mended", () =>
    Effect.gen(function*() {
      const mend = { n: "one" as never as number }
      const world = yield* World.make(
        family(
          World.body((parts) => Effect.suspend(() => Saga.child(Child, { ...mend }, { onParentRollback: undo(parts) })))
        )
      )
      assert.deepInclude(World.whyParked(yield* world.execute).why, {
        _tag: "Unencodable",
        what: "the payload of child C"
      })
      mend.n = 1
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("child B1 done"))
    }).pipe(Effect.scoped))

  it.effect("with another payload than it was created with is Nondeterminism", () =>
    Effect.gen(function*() {
      const payload = { n: 1 }
      const live = family(
        World.body((parts) =>
          Effect.suspend(() => Saga.child(Child, { ...payload }, { onParentRollback: undo(parts) }))
        )
      )
      const world = yield* World.make(live)
      world.parts.gate("child B1")
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      payload.n = 2
      const after = yield* World.crash(yield* World.cut(world.recorded, "S/1", 1, [childId()]), live)
      after.parts.gate("child B1")
      const { why } = World.whyParked(yield* after.result)
      assert.strictEqual(why._tag, "Nondeterminism")
    }).pipe(Effect.scoped))
})

describe("past the point of no return", () => {
  const Sure = Saga.make("C", {
    payload: Schema.Struct({ n: Schema.Number }),
    success: Schema.String,
    idempotencyKey: () => ""
  })

  it.effect("a child that cannot fail, and is left, is started and awaited", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(World.settled((parts) => ({
        attempt: parts.step("A"),
        settle: () => Saga.child(Sure, { n: 1 }, { onParentRollback: "leave" })
      }))))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("child B1 done"))
    }).pipe(Effect.scoped))

  it.effect("another one is a bug, also where the types did not see it", () =>
    Effect.gen(function*() {
      for (const options of [{ onParentRollback: () => Effect.void }, { onParentRollback: "leave" }] as const) {
        const saga = options.onParentRollback === "leave" ? Child : Sure
        const world = yield* World.make(family(World.settled((parts) => ({
          attempt: parts.step("A"),
          settle: () => Saga.child(saga as typeof Child, { n: 1 }, options)
        }))))
        const { why } = World.whyParked(yield* world.execute)
        assert.include(JSON.stringify(why), "no child may be started that can fail, or that would be undone")
        assert.strictEqual(yield* rowOf(world, childId()), null)
      }
    }).pipe(Effect.scoped))
})

describe("news of a child", () => {
  it.effect("reaches a parent that is parked for something else, and counts when it goes on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(beside))
      world.parts.faults.set("B", ["die"])
      const gate = world.parts.gate("child B1")
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      assert.strictEqual(World.whyParked(yield* world.result).why._tag, "Defect")
      gate.openUnsafe()
      yield* World.quiet
      yield* TestClock.adjust("5 seconds")
      yield* World.quiet
      const entries = yield* world.entries
      assert.include(entries.map((_) => _._tag), "ChildEnded")
      assert.strictEqual(World.whyParked(yield* world.result).why._tag, "Defect")
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("both"))
      assert.strictEqual(world.parts.log.filter((_) => _ === "child B1").length, 1)
    }).pipe(Effect.scoped))

  it.effect("is dropped where the parent was abandoned, and the child goes on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(family(beside))
      world.parts.faults.set("B", ["die"])
      const gate = world.parts.gate("child B1")
      yield* world.start
      yield* world.parts.hasBegun("child B1")
      World.whyParked(yield* world.result)
      yield* Effect.orDie((yield* inspector(world)).abandon("S/1", "enough"))
      yield* World.ended(Effect.orDie(world.result))
      gate.openUnsafe()
      yield* World.ended(use(world, Child.result(childId("C", "0:0") as never)))
      assert.strictEqual((yield* rowOf(world, childId("C", "0:0")))?.status, "completed")
      assert.deepStrictEqual(yield* Effect.orDie(world.recorded.store.encoded.inbox("S/1", 0)), [])
    }).pipe(Effect.scoped))

  it.effect("of several that end at once is told one at a time, in one order", () =>
    Effect.gen(function*() {
      const live = family(
        World.body((parts) =>
          Effect.map(
            Effect.all(
              [1, 2, 3, 4].map((n) =>
                Effect.tap(
                  Saga.child(Child, { n }, { name: `c${n}` as "c", onParentRollback: undo(parts) }),
                  (value) => parts.parts.seen(`told ${n}`, value)
                )
              ),
              { concurrency: "unbounded" }
            ),
            (all) => all.join()
          )
        )
      )
      const world = yield* World.make(live)
      const exit = yield* world.execute
      assert.deepStrictEqual(exit, Exit.succeed("child B1 done,child B2 done,child B3 done,child B4 done"))
      const told = world.parts.log.filter((_) => _.startsWith("told"))
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(cut.exit, exit)
        if (cut.appends > 3) assert.deepStrictEqual(cut.world.parts.log.filter((_) => _.startsWith("told")), told)
      }
    }).pipe(Effect.scoped))

  it.effect("goes from a grandchild to its parent, and from that one to its own", () =>
    Effect.gen(function*() {
      const Middle = Saga.make("M", {
        payload: Schema.Struct({ n: Schema.Number }),
        success: Schema.String,
        error: Refused,
        idempotencyKey: () => ""
      })
      const world = yield* World.make((parts) =>
        Layer.mergeAll(
          World.body((parts) => Saga.child(Middle, { n: 7 }, { onParentRollback: undo(parts) }))(parts),
          Middle.toLayer(({ n }) => Saga.child(Child, { n }, { onParentRollback: "leave" })),
          childrenOf(twoSteps)(parts)
        )
      )
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("child B7 done"))
      assert.strictEqual((yield* rowOf(world, "C/M/S/1/0/M/0/0/C/0"))?.status, "completed")
    }).pipe(Effect.scoped))
})

it.effect("a journal with children is told as people read it", () =>
  Effect.gen(function*() {
    const world = yield* World.make(family(World.body((parts) =>
      Effect.gen(function*() {
        yield* Saga.child(Child, { n: 1 }, { onParentRollback: undo(parts) })
        yield* Effect.ignore(Saga.child(Child, { n: 2 }, { onParentRollback: undo(parts) }))
        yield* Timer.timeoutOption(
          Saga.child(Child, { n: 3 }, { name: "slow", onParentRollback: undo(parts) }),
          "soon",
          "1 minute"
        )
        return yield* parts.step("B")
      })
    )))
    world.parts.faults.set("child B2", ["refuse"])
    world.parts.faults.set("child B3", [120_000])
    world.parts.faults.set("B", ["refuse"])
    yield* world.execute
    const { diagram, happened, lines } = Saga.explain(yield* world.entries)
    assert.strictEqual(happened, true)
    assert.deepStrictEqual(lines.map(({ mark, text }) => `${mark}: ${text}`), [
      "started: The saga started.",
      "started: C is left to C/S/1/0/C/0, which it starts.",
      "done: C completed after 0 ms.",
      "started: C#2 is left to C/S/1/0/C/1, which it starts.",
      "failed: C#2 is rolled back after 0 ms, because it failed with Refused (step \"child B2\").",
      "started: slow is left to C/S/1/0/slow/0.0:0, which it starts.",
      "waits: The saga waits 1 m (soon).",
      "waits: Nothing is due for 50 s: it left memory until then.",
      ...lines.slice(8).map(({ mark, text }) => `${mark}: ${text}`)
    ])
    const rest = lines.map(({ text }) => text).join(" ")
    assert.include(rest, "slow is not waited for any more, and is asked to roll back.")
    assert.include(rest, "slow is rolled back after 2 m, because it was cancelled (its parent S/1 does not wait for it")
    assert.include(diagram, "C")
    assert.include(diagram, "completed")
  }).pipe(Effect.scoped))

it.effect("Saga.transact has no children, also where the types did not see it", () =>
  Effect.gen(function*() {
    const exit = yield* Effect.exit(Saga.transact(
      Saga.child(Child, { n: 1 }, { onParentRollback: "leave" }) as never as Effect.Effect<string>
    ))
    assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "C is a child: Saga.transact has no journal")
  }))
