/**
 * Children, rules 8, 24, 30 and 32: an execution of its own with a derived id, whose end is a step of its parent.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema } from "effect"
import { ExecutionId, Limits, Saga, type SagaEngine, SagaInspector, SagaStore, Timer } from "effect-saga"
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

void [Limits, Timer, TestClock, rowOf, inspector, use]
