/**
 * Which journals a deployment would park, where, and that finding out does nothing.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SagaEngine, SagaStore, Timer } from "effect-saga"
import { ReplayTest } from "effect-saga/testing"
import * as World from "../utils/World.ts"

const abc = World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))))

const storeOf = (world: World.World) => Layer.succeed(SagaStore.SagaStore, world.recorded.store)

/** What the handlers of `live` make of the store of a world. */
const check = (world: World.World, live: World.Live, parts = World.makeParts()) =>
  Effect.scoped(Effect.gen(function*() {
    const handlers = live({ ...World.steps(parts), parts })
    const context = yield* Layer.build(
      Layer.provideMerge(Layer.provideMerge(handlers, ReplayTest.layer), storeOf(world))
    )
    const report = yield* Effect.provideContext(ReplayTest.check(), context)
    assert.deepStrictEqual(parts.log, [])
    return report
  }))

const ran = Effect.fnUntraced(function*(live: World.Live, faults: Readonly<Record<string, Array<World.Fault>>> = {}) {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, list)
  const world = yield* World.make(live, parts)
  yield* world.execute
  return world
})

describe("a journal is taken as it is", () => {
  it.effect("by the body that wrote it, whether it completed, rolled back or parked", () =>
    Effect.gen(function*() {
      for (const faults of [{}, { C: ["refuse"] }, { B: ["die"] }, { C: ["refuse"], "undo A": ["refuse"] }]) {
        const world = yield* ran(abc, faults as Record<string, Array<World.Fault>>)
        assert.deepStrictEqual(yield* check(world, abc), { replayed: 1, divergences: [] })
      }
    }).pipe(Effect.scoped))

  it.effect("by a body that goes on otherwise after it", () =>
    Effect.gen(function*() {
      const world = yield* ran(abc)
      const open = yield* world.crashed(2, () => Layer.empty)
      const other = World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("D"))))
      assert.deepStrictEqual(yield* check(open, other), { replayed: 1, divergences: [] })
    }).pipe(Effect.scoped))
})

describe("a journal diverges", () => {
  it.effect("where the body asks for something else: the append, the entry, and both sides are named", () =>
    Effect.gen(function*() {
      const world = yield* ran(abc)
      const other = World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B2"), step("C"))))
      const { divergences } = yield* check(world, other)
      assert.deepStrictEqual(divergences, [{
        id: "S/1",
        version: 1,
        seq: 1,
        index: 1,
        reason: { _tag: "Nondeterminism", journal: "step B (compensable)", body: "step B2 (compensable)" },
        message: divergences[0]!.message
      }])
      assert.include(divergences[0]!.message, "S/1 diverges at entry 1 of append 1 (StepStarted): ")
    }).pipe(Effect.scoped))

  it.effect("where it completed and the body goes on, or fails", () =>
    Effect.gen(function*() {
      const world = yield* ran(abc)
      const longer = World.body(({ step }) =>
        Effect.andThen(step("A"), Effect.andThen(step("B"), Effect.andThen(step("C"), step("D"))))
      )
      const failing = World.body(({ step }) =>
        Effect.andThen(step("A"), Effect.andThen(step("B"), Effect.andThen(step("C"), Effect.die("no"))))
      )
      for (const [live, body] of [[longer, "step D (compensable)"], [failing, "nothing, it failed"]] as const) {
        const { divergences } = yield* check(world, live)
        assert.deepStrictEqual(divergences.map((_) => _.reason), [
          { _tag: "Nondeterminism", journal: "the saga completed", body }
        ])
      }
    }).pipe(Effect.scoped))

  it.effect("where it failed and the body does not, although the roll-back needs nothing of that", () =>
    Effect.gen(function*() {
      const world = yield* ran(abc, { C: ["refuse"] })
      const catching = World.body(({ step }) =>
        Effect.andThen(step("A"), Effect.andThen(step("B"), Effect.ignore(step("C"))))
      )
      const { divergences } = yield* check(world, catching)
      assert.deepStrictEqual(divergences.map((_) => [_.reason, _.seq]), [[
        { _tag: "Nondeterminism", journal: "the saga failed", body: "nothing, it completed" },
        (yield* world.journal).length - 1
      ]])
    }).pipe(Effect.scoped))

  it.effect("where no handler here runs its version", () =>
    Effect.gen(function*() {
      const world = yield* ran(abc)
      const { divergences } = yield* check(world, () => Layer.empty)
      assert.deepStrictEqual(divergences.map((_) => _.message), ["S/1 has no handler here: it started with version 1."])
    }).pipe(Effect.scoped))

  it.effect("where an append cannot be read, or an entry cannot be where it is", () =>
    Effect.gen(function*() {
      const world = yield* ran(abc)
      const journal = (yield* Effect.provide(ReplayTest.record("S/1"), storeOf(world)))!
      const handlers = abc({ ...World.steps(world.parts), parts: world.parts })
      const context = yield* Layer.build(
        Layer.provideMerge(Layer.provideMerge(handlers, ReplayTest.layer), storeOf(world))
      )
      const disorder = { ...journal, appends: [...journal.appends, journal.appends[1]!] }
      const found = yield* Effect.provideContext(ReplayTest.replay(disorder), context)
      assert.strictEqual(found?.reason?._tag, "Undecodable")
      const entries = `[{"_tag":"FromTheFuture","at":1}]`
      yield* world.recorded.store.encoded.append([
        { execution: "S/1", seq: journal.appends.length, token: "t", at: 1, entries, create: undefined, row: undefined }
      ])
      const { divergences } = yield* check(world, abc)
      assert.deepStrictEqual(divergences.map((_) => [_.seq, _.reason?._tag]), [[
        journal.appends.length,
        "Undecodable"
      ]])
    }).pipe(Effect.scoped))
})

describe("a check", () => {
  it.effect("writes nothing, claims nothing that is due, and refuses what would", () =>
    Effect.gen(function*() {
      const waiting = World.body(({ step }) => Effect.andThen(step("A"), Timer.sleep("wait", "1 hour")))
      const world = yield* World.make(waiting)
      yield* world.start
      yield* World.quiet
      const left = yield* world.crashed((yield* world.journal).length, () => Layer.empty)
      const before = yield* left.journal
      const parts = World.makeParts()
      const handlers = waiting({ ...World.steps(parts), parts })
      const context = yield* Layer.build(
        Layer.provideMerge(Layer.provideMerge(handlers, ReplayTest.layer), storeOf(left))
      )
      yield* World.ended(Effect.sleep("2 hours"))
      assert.deepStrictEqual((yield* Effect.provideContext(ReplayTest.check(), context)).divergences, [])
      assert.deepStrictEqual(yield* left.journal, before)
      assert.deepStrictEqual(parts.log, [])
      const engine = yield* Effect.provideContext(SagaEngine.SagaEngine, context)
      const refused = World.errorOf(yield* Effect.exit(engine.cancel("S/1" as never, undefined)))
      assert.include(String(refused), "The saga store is not available")
    }).pipe(Effect.scoped))

  it.effect("replays all that a filter has, page by page", () =>
    Effect.gen(function*() {
      const world = yield* World.make(abc)
      for (let n = 0; n < 205; n++) yield* World.ended(world.use(World.definition.execute({ id: `${n}` })))
      const count = (filter: Parameters<typeof ReplayTest.check>[0]) =>
        Effect.scoped(Effect.gen(function*() {
          const handlers = abc({ ...World.steps(world.parts), parts: world.parts })
          const context = yield* Layer.build(
            Layer.provideMerge(Layer.provideMerge(handlers, ReplayTest.layer), storeOf(world))
          )
          return (yield* Effect.provideContext(ReplayTest.check(filter), context)).replayed
        }))
      assert.deepStrictEqual(yield* count({}), 205)
      assert.deepStrictEqual(yield* count({ statuses: ["parked"] }), 0)
      assert.deepStrictEqual(yield* count({ names: ["T"] }), 0)
    }).pipe(Effect.scoped))
})
