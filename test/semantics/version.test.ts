/**
 * A body that changes while executions of it are open: which version each of them goes by, after every crash.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Saga, Timer } from "effect-saga"
import * as World from "../utils/World.ts"

/** A, B, C as it was first. */
const before = World.body(({ step }) =>
  Effect.gen(function*() {
    yield* step("A")
    yield* step("B")
    return yield* step("C")
  })
)

/** B became B2. */
const after = (min = 1, max = 2) =>
  World.body(({ step }) =>
    Effect.gen(function*() {
      yield* step("A")
      const version: number = yield* Saga.version("b", { min, max } as { min: 1; max: 2 })
      yield* step(version === 1 ? "B" : `B${version}`)
      return yield* step("C")
    })
  )

const marks = (world: World.World) =>
  Effect.map(
    world.entries,
    (entries) => entries.flatMap((_) => _._tag === "VersionMarked" ? [`${_.change}=${_.version}`] : [])
  )
const logged = (world: World.World, name: string) => world.parts.log.filter((_) => _.startsWith(name))
const parked = (exit: Exit.Exit<unknown, unknown>) => {
  const { why } = World.whyParked(exit)
  return why._tag === "Nondeterminism" ? [why.journal, why.body] : assert.fail(why._tag)
}

describe("an execution that comes to a change for the first time", () => {
  it.effect("takes the newest version, and journals it with the next intent", () =>
    Effect.gen(function*() {
      const world = yield* World.make(after())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B2", "C"])
      assert.deepStrictEqual((yield* world.journal)[1], "StepSucceeded A, VersionMarked, StepStarted B2")
    }).pipe(Effect.scoped))

  it.effect("keeps it wherever the process dies, also where a newer one is deployed meanwhile", () =>
    Effect.gen(function*() {
      const world = yield* World.make(after())
      yield* world.execute
      const appends = (yield* world.journal).length
      for (let n = 1; n < appends; n++) {
        const later = yield* world.crashed(n, after(1, 3), World.makeParts())
        assert.deepStrictEqual(yield* later.result, Exit.succeed("C done"))
        // Only where the change was not journaled yet is the newest one taken.
        assert.deepStrictEqual(yield* marks(later), n === 1 ? ["b=3"] : ["b=2"])
        assert.deepStrictEqual(logged(later, "B"), n === 1 ? ["B3"] : n === 2 ? ["B2"] : [])
      }
    }).pipe(Effect.scoped))

  it.effect("has one answer everywhere in the body, and one entry", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          const named = (name: string) =>
            Effect.flatMap(Saga.version("names", { min: 1, max: 2 }), (version) => step(`${name}${version}`))
          yield* Effect.all([named("A"), Effect.andThen(step("X"), named("B"))], { concurrency: 2 })
          for (const name of ["C", "D"]) yield* named(name)
          return "done"
        })
      )
      const world = yield* World.make(live)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("done"))
      for (const { exit, world: other } of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(exit, Exit.succeed("done"))
        assert.deepStrictEqual(yield* marks(other), ["names=2"])
      }
    }).pipe(Effect.scoped))
})

describe("an execution that was past the change before it was made", () => {
  it.effect("takes the oldest version, journaled when it is taken up; one that was not takes the newest", () =>
    Effect.gen(function*() {
      const world = yield* World.make(before)
      yield* world.execute
      const appends = (yield* world.journal).length
      for (let n = 1; n < appends; n++) {
        const later = yield* world.crashed(n, after(), World.makeParts())
        assert.deepStrictEqual(yield* later.result, Exit.succeed("C done"))
        assert.deepStrictEqual(yield* marks(later), n === 1 ? ["b=2"] : ["b=1"])
        assert.deepStrictEqual(logged(later, "B"), n === 1 ? ["B2"] : n === 2 ? ["B"] : [])
      }
    }).pipe(Effect.scoped))

  it.effect("undoes what it did by the old version, wherever it dies in its roll-back", () =>
    Effect.gen(function*() {
      const refusing = () => {
        const parts = World.makeParts()
        parts.faults.set("C", ["refuse"])
        return parts
      }
      const world = yield* World.make(before, refusing())
      yield* world.execute
      const appends = (yield* world.journal).length
      for (let n = 3; n < appends; n++) {
        const later = yield* world.crashed(n, after(), refusing())
        assert.strictEqual((World.errorOf(yield* later.result) as { _tag: string })._tag, "Refused")
        const undone = (yield* later.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        assert.deepStrictEqual(undone, ["B", "A"])
      }
    }).pipe(Effect.scoped))

  it.effect("in a loop: what comes after the deployment goes by the old version too", () =>
    Effect.gen(function*() {
      const loop = (changed: boolean) =>
        World.body(({ step }) =>
          Effect.gen(function*() {
            for (let i = 0; i < 4; i++) {
              const version = changed ? yield* Saga.version("loop", { min: 1, max: 2 }) : 1
              yield* step(version === 1 ? "Old" : "New")
            }
            return "done"
          })
        )
      const world = yield* World.make(loop(false))
      yield* world.execute
      const later = yield* world.crashed(2, loop(true), World.makeParts())
      assert.deepStrictEqual(yield* later.result, Exit.succeed("done"))
      assert.deepStrictEqual(later.parts.log, ["Old", "Old", "Old"])
      assert.deepStrictEqual(yield* marks(later), ["loop=1"])
    }).pipe(Effect.scoped))

  it.effect("beside a fork that is not: the change is taken where the journal goes on", () =>
    Effect.gen(function*() {
      const forks = (changed: boolean) =>
        World.body(({ step }) =>
          Effect.gen(function*() {
            const fork = (name: string) =>
              Effect.gen(function*() {
                yield* step(name)
                if (name === "Y") yield* Timer.sleep("wait", "5 seconds")
                const version = changed ? yield* Saga.version(name as "X", { min: 1, max: 2 }) : 1
                yield* step(`${name}.${version}`)
              })
            yield* Effect.all([fork("Y"), fork("X")], { concurrency: 2 })
            return "done"
          })
        )
      const world = yield* World.make(forks(false))
      yield* world.execute
      const journal = yield* world.journal
      const past = journal.findIndex((append) => append.includes("StepStarted X.1")) + 1
      const later = yield* world.crashed(past, forks(true), World.makeParts())
      assert.deepStrictEqual(yield* later.result, Exit.succeed("done"))
      assert.deepStrictEqual(yield* marks(later), ["X=1", "Y=2"])
      assert.deepStrictEqual(logged(later, "Y."), ["Y.2"])
    }).pipe(Effect.scoped))
})

describe("a change whose versions the body does not know any more", () => {
  it.effect("parks before anything is executed, and goes on when the body knows it again", () =>
    Effect.gen(function*() {
      const world = yield* World.make(after())
      yield* world.execute
      const later = yield* world.crashed(2, after(3, 4), World.makeParts())
      assert.deepStrictEqual(parked(yield* later.result), ["version 2 of b", "versions 3 to 4 of b"])
      assert.deepStrictEqual(later.parts.log, [])
      const mended = yield* later.crashed((yield* later.journal).length, after(2, 4), World.makeParts())
      yield* mended.resume
      assert.deepStrictEqual(yield* mended.result, Exit.succeed("C done"))
      assert.deepStrictEqual(mended.parts.log, ["B2", "C"])
    }).pipe(Effect.scoped))

  it.effect("raised over executions that are older than the change: they park", () =>
    Effect.gen(function*() {
      const world = yield* World.make(before)
      yield* world.execute
      const later = yield* world.crashed(2, after(2, 2), World.makeParts())
      assert.deepStrictEqual(parked(yield* later.result)[0], "step B (compensable)")
      assert.deepStrictEqual(later.parts.log, [])
    }).pipe(Effect.scoped))

  it.effect("rolls back all the same, when that had begun", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      parts.faults.set("B2", ["refuse"])
      const world = yield* World.make(after(), parts)
      yield* world.execute
      const begun = (yield* world.journal).findIndex((append) => append.includes("RollbackStarted")) + 1
      const later = yield* world.crashed(begun, after(3, 4), World.makeParts())
      assert.strictEqual((World.errorOf(yield* later.result) as { _tag: string })._tag, "Refused")
      assert.deepStrictEqual(later.parts.log, ["undo A"])
    }).pipe(Effect.scoped))

  it.effect("is not asked for at all: the call was taken out, and what it chose stayed", () =>
    Effect.gen(function*() {
      const world = yield* World.make(after())
      yield* world.execute
      const only = World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B2"), step("C"))))
      for (const { exit } of yield* World.everyCut(world, only, World.makeParts)) {
        assert.deepStrictEqual(exit, Exit.succeed("C done"))
      }
    }).pipe(Effect.scoped))

  it.effect("makes no sense: a bug", () =>
    Effect.gen(function*() {
      const world = yield* World.make(after(2, 1))
      const { why } = World.whyParked(yield* world.execute)
      assert.include(why._tag === "Defect" ? why.message : "", "the versions of b are whole numbers")
      assert.deepStrictEqual(yield* marks(world), [])
    }).pipe(Effect.scoped))
})

it.effect("the body's time does not depend on whether the change was journaled before", () =>
  Effect.gen(function*() {
    const timed = (changed: boolean) =>
      World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("A")
          if (changed) yield* Saga.version("v", { min: 1, max: 2 })
          const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
          yield* step("B")
          return String(now)
        })
      )
    const world = yield* World.make(timed(false))
    const expected = yield* world.execute
    const later = yield* world.crashed(2, timed(true))
    assert.deepStrictEqual(yield* later.result, expected)
    assert.deepStrictEqual(yield* marks(later), ["v=1"])
  }).pipe(Effect.scoped))

it.effect("in Saga.transact the newest one holds", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* Saga.transact(Saga.version("v", { min: 1, max: 4 })), 4)
  }))
