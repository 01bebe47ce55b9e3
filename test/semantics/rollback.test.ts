/**
 * Rules 24 to 29: what is undone, in which order, and what can go wrong with it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Result, Schedule, Schema } from "effect"
import { Saga, SagaError, Signal, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Notation from "../../src/internal/notation.ts"
import * as Journal from "../../src/Journal.ts"
import { Refused, Stuck } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const concurrent = { concurrency: "unbounded" } as const
const refused = (step: string) => new Refused({ step })

const partsWith = (faults: Record<string, Array<World.Fault>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

const undone = (log: ReadonlyArray<string>) => log.filter((_) => _.startsWith("undo "))
const steps = (count: number) => Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: count }))
const tagsOf = (entries: ReadonlyArray<Journal.Entry>) => entries.map(World.sentence)

/** A, B, C in a row; what C does comes from the faults. */
const row = World.body(({ step }) => step("A").pipe(Effect.andThen(step("B")), Effect.andThen(step("C"))))

describe("rule 24: the order is that of the journal, reversed", () => {
  it.effect("what completed last is undone first, whatever was asked first", () =>
    Effect.gen(function*() {
      const parts = partsWith({ A: [300], B: [100], C: [200], D: ["refuse"] })
      const live = World.body(({ step }) =>
        Effect.andThen(Effect.all([step("A"), step("B"), step("C")], concurrent), step("D"))
      )
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("D"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "undo C", "undo B"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("D"))
        const completed = (yield* cut.world.entries).flatMap((_) =>
          _._tag === "StepSucceeded" ? [`undo ${_.name}`] : []
        )
        const undoing = (yield* cut.world.entries).flatMap((_) =>
          _._tag === "CompensationSucceeded" ? [`undo ${_.name}`] : []
        )
        assert.deepStrictEqual(undoing, completed.reverse(), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a step whose asker is gone when it succeeds is undone like every other", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.all([step("A"), step("C")], concurrent))
      const parts = partsWith({ A: [500], C: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("C"))
      assert.deepStrictEqual(world.parts.log, ["A", "C", "undo A"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("C"))
        assert.deepStrictEqual(undone(cut.world.parts.log), ["undo A"], `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("they run one after the other", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["refuse"] })())
      world.parts.gate("undo B")
      yield* world.start
      yield* world.parts.hasBegun("undo B")
      yield* World.quiet
      assert.deepStrictEqual(undone(world.parts.log), ["undo B"])
      assert.deepStrictEqual(yield* world.status, { _tag: "Compensating" })
      yield* world.parts.gate("undo B").open
      yield* world.result
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a step that refused, and one that never began, are not undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ B: ["refuse"] })())
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("each compensation gets its own step's result and the cause of the roll-back", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const live = World.body(({ step }) =>
        Effect.andThen(
          Effect.forEach([1, 2], (n) =>
            step("A", {
              success: Schema.Date,
              value: new Date(n),
              compensate: (value, cause) => Effect.sync(() => seen.push([value, Cause.squash(cause)]))
            })),
          step("B")
        )
      )
      const parts = partsWith({ B: ["refuse"] })
      const expected = [[new Date(2), refused("B")], [new Date(1), refused("B")]]
      const world = yield* World.make(live, parts())
      yield* world.execute
      assert.deepStrictEqual(seen.splice(0), expected)
      const rolling = (yield* world.journal).findIndex((_) => _.includes("RollbackStarted"))
      const recovered = yield* world.crashed(rolling + 1, live)
      yield* recovered.result
      assert.deepStrictEqual(seen.splice(0), expected)
    }).pipe(Effect.scoped))
})

describe("rule 25: once a failure leaves its region, nothing new is tried", () => {
  it.effect("a sibling in back-off is settled by its last outcome", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.all([step("A", { retry: steps(9) }), step("B")], concurrent))
      const parts = partsWith({ A: ["refuse"], B: [100, "refuse"] })
      const world = yield* World.make(live, parts())
      world.parts.faults.set("B", ["refuse"])
      world.parts.gate("B")
      yield* world.start
      yield* World.quiet
      yield* world.parts.gate("B").open
      assert.deepStrictEqual(World.errorOf(yield* world.result), refused("B"))
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
      assert.include(yield* Effect.map(world.entries, tagsOf), "StepFailed A@0")
      for (const cut of yield* World.everyCut(world, live, partsWith({ A: ["refuse"], B: ["refuse"] }))) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("B"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a sibling that refuses afterwards is not tried again", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.all([step("A", { retry: steps(9) }), step("B")], concurrent))
      const world = yield* World.make(live, partsWith({ A: ["refuse"], B: ["refuse"] })())
      world.parts.gate("A")
      yield* world.start
      yield* World.quiet
      yield* world.parts.gate("A").open
      assert.deepStrictEqual(World.errorOf(yield* world.result), refused("B"))
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
    }).pipe(Effect.scoped))

  it.effect("a read that nobody waits for any more is not done again after a crash", () =>
    Effect.gen(function*() {
      const live = World.body(({ readonly, step }) =>
        Effect.all([readonly("R"), Effect.andThen(step("A"), step("B"))], concurrent)
      )
      const parts = partsWith({ B: ["refuse"] })()
      parts.gate("R")
      const world = yield* World.make(live, parts)
      yield* world.start
      yield* World.quiet
      const journal = yield* world.journal
      assert.include(journal.at(-1), "StepFailed B")
      const recovered = yield* world.crashed(journal.length, live, partsWith({ B: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* recovered.result), refused("B"))
      assert.deepStrictEqual(recovered.parts.log, ["undo A"])
      yield* parts.gate("R").open
    }).pipe(Effect.scoped))

  it.effect("timers are withdrawn", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.all([Effect.sleep("1 hour"), Effect.andThen(step("A"), step("B"))], concurrent)
      )
      const parts = partsWith({ B: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("B"))
      const entries = yield* world.entries
      assert.include(tagsOf(entries), "TimerWithdrawn sleep@0")
      assert.isBelow(entries.at(-1)!.at, 60_000)
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("B"))
        assert.deepStrictEqual(undone(cut.world.parts.log), ["undo A"], `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("what runs is awaited, and only then the roll-back is recorded", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.all([step("A"), step("B"), step("C")], concurrent))
      const world = yield* World.make(live, partsWith({ C: ["refuse"] })())
      world.parts.gate("A")
      world.parts.gate("B")
      yield* world.start
      yield* World.quiet
      assert.notInclude((yield* world.journal).join(), "RollbackStarted")
      yield* world.parts.gate("B").open
      yield* World.quiet
      assert.notInclude((yield* world.journal).join(), "RollbackStarted")
      assert.deepStrictEqual(undone(world.parts.log), [])
      yield* world.parts.gate("A").open
      yield* world.result
      const tags = tagsOf(yield* world.entries)
      assert.isAbove(tags.indexOf("RollbackStarted"), tags.indexOf("StepSucceeded A@0"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "undo B"])
    }).pipe(Effect.scoped))

  it.effect("a cancel awaits what runs, withdraws what waits, then undoes", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.all([step("A"), step("B", { retry: steps(9) }), Effect.sleep("1 day"), step("D")], concurrent)
      )
      const world = yield* World.make(live, partsWith({ B: ["refuse"] })())
      world.parts.gate("A")
      yield* world.start
      yield* World.quiet
      yield* world.cancel("no more")
      yield* World.quiet
      yield* world.parts.gate("A").open
      const error = World.errorOf(yield* world.result)
      assert.instanceOf(error, SagaError.SagaError)
      assert.deepStrictEqual([error.reason._tag, (error.reason as SagaError.Cancelled).reason], [
        "Cancelled",
        "no more"
      ])
      assert.deepStrictEqual(world.parts.log, ["A", "B", "D", "undo A", "undo D"])
      const tags = tagsOf(yield* world.entries)
      assert.includeMembers(tags, ["TimerWithdrawn sleep@2", "StepFailed B@1"])
      for (const cut of yield* World.everyCut(world, live, partsWith({ B: ["refuse"] }))) {
        const cancelled = (yield* cut.world.journal).slice(0, cut.appends).join().includes("CancelRequested")
        if (cancelled) assert.instanceOf(World.errorOf(cut.exit), SagaError.SagaError, `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a second failure changes neither the cause nor what is undone", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.all([step("A"), step("B"), step("C")], concurrent))
      const world = yield* World.make(live, partsWith({ B: ["refuse"], C: ["refuse"] })())
      world.parts.gate("C")
      yield* world.start
      yield* World.quiet
      yield* world.parts.gate("C").open
      assert.deepStrictEqual(World.errorOf(yield* world.result), refused("B"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo A"])
    }).pipe(Effect.scoped))
})

describe("rule 26: recovery in a roll-back", () => {
  it.effect("goes on where the journal ends, and nothing goes forward", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.forEach(["A", "B", "C", "D"], (name) => step(name)))
      const parts = partsWith({ D: ["refuse"] })
      const world = yield* World.make(live, parts())
      yield* world.execute
      const journal = yield* world.journal
      const began = journal.findIndex((_) => _.includes("RollbackStarted"))
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("D"))
        if (cut.appends <= began) continue
        const recorded = journal.slice(0, cut.appends).join()
        const left = ["C", "B", "A"].filter((_) => !recorded.includes(`CompensationSucceeded ${_}`))
        assert.deepStrictEqual(cut.world.parts.log, left.map((_) => `undo ${_}`), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("parks and names what it misses when a step that must be undone left the code; with it back, goes on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["refuse"] })())
      yield* world.execute
      const rolling = (yield* world.journal).findIndex((_) => _.includes("RollbackStarted")) + 1
      const without = World.body(({ step }) => Effect.andThen(step("A"), step("C")))
      const recovered = yield* world.crashed(rolling, without, World.makeParts())
      const parked = World.whyParked(yield* recovered.result)
      assert.deepStrictEqual(parked.why, {
        _tag: "Nondeterminism",
        journal: "compensations of B",
        body: "nothing, it failed"
      })
      assert.deepStrictEqual(parked.unresolved.map((_) => _.step), ["A", "B"])
      assert.deepStrictEqual(parked.original, { _tag: "Failed", error: refused("C") })
      assert.deepStrictEqual(recovered.parts.log, [])
      const back = yield* recovered.crashed((yield* recovered.journal).length, row)
      yield* back.resume
      assert.deepStrictEqual(World.errorOf(yield* back.result), refused("C"))
      assert.deepStrictEqual(back.parts.log, ["undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("goes on although the body breaks the rule again for which it rolls back", () =>
    Effect.gen(function*() {
      const twice = World.body(
        ({ step }) =>
          Effect.andThen(step("A"), Effect.all([step("B"), Effect.andThen(step("C"), step("B"))], concurrent)),
        { onDefect: "rollback" }
      )
      const world = yield* World.make(twice, partsWith({ B: [1_000] })())
      yield* world.execute
      const requested = (yield* world.journal).findIndex((_) => _.includes("RollbackRequested")) + 1
      const recovered = yield* world.crashed(requested, twice, World.makeParts())
      const error = World.errorOf(yield* recovered.result)
      assert.instanceOf(error, SagaError.SagaError)
      assert.strictEqual(error.reason._tag, "RolledBackByDefect")
    }).pipe(Effect.scoped))

  it.effect("starts nothing that the body asks on the way", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["refuse"] })())
      yield* world.execute
      const rolling = (yield* world.journal).findIndex((_) => _.includes("RollbackStarted")) + 1
      const eager = World.body(({ step }) =>
        step("A").pipe(
          Effect.andThen(step("B")),
          Effect.andThen(step("C")),
          Effect.catchCause(() => step("Another way")),
          Effect.ensuring(Effect.ignore(step("At last")))
        )
      )
      const recovered = yield* world.crashed(rolling, eager, World.makeParts())
      assert.deepStrictEqual(World.errorOf(yield* recovered.result), refused("C"))
      assert.deepStrictEqual(recovered.parts.log, ["undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("of a cancel in the middle of a body undoes what had happened then", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      yield* world.cancel()
      yield* World.quiet
      yield* world.parts.gate("B").open
      yield* world.result
      const journal = yield* world.journal
      const first = journal.findIndex((_) => _.includes("CancelRequested")) + 1
      for (let n = first; n < journal.length; n++) {
        const recovered = yield* world.crashed(n, row, World.makeParts())
        const error = World.errorOf(yield* recovered.result)
        assert.strictEqual((error as SagaError.SagaError).reason._tag, "Cancelled", `after ${n}`)
        assert.notInclude(recovered.parts.log, "C")
        const undoing = (yield* recovered.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        assert.deepStrictEqual(undoing, ["B", "A"], `after ${n}`)
      }
    }).pipe(Effect.scoped))
})

describe("rule 27: Saga.scoped", () => {
  /** Tries B and C in a scope, and D when that fails. */
  const detour = World.body(({ parts, step }) =>
    Effect.gen(function*() {
      yield* step("A")
      const first = yield* Effect.result(Saga.scoped(Effect.andThen(step("B"), step("C"))) as never)
      if (Result.isFailure(first)) yield* parts.seen("caught", (first.failure as Refused).step)
      yield* step("D")
      return yield* step("E")
    })
  )

  it.effect("undoes what it did before the error reaches the body, which may try another way", () =>
    Effect.gen(function*() {
      const parts = partsWith({ C: ["refuse"] })
      const world = yield* World.make(detour, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("E done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B", "caught=C", "D", "E"])
      for (const cut of yield* World.everyCut(world, detour, parts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("E done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("is not undone again when the saga rolls back later", () =>
    Effect.gen(function*() {
      const parts = partsWith({ C: ["refuse"], E: ["refuse"] })
      const world = yield* World.make(detour, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("E"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo D", "undo A"])
      for (const cut of yield* World.everyCut(world, detour, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("E"), `after ${cut.appends}`)
        const undoing = (yield* cut.world.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        assert.deepStrictEqual(undoing, ["B", "D", "A"])
      }
    }).pipe(Effect.scoped))

  it.effect("that succeeded is undone with the saga, in its place", () =>
    Effect.gen(function*() {
      const parts = partsWith({ E: ["refuse"] })
      const world = yield* World.make(detour, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("E"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo D", "undo C", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("nests: the inner one first, then what is left of the outer one", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* Effect.ignore(Saga.scoped(Effect.gen(function*() {
            yield* step("B")
            yield* Effect.ignore(Saga.scoped(Effect.andThen(step("C"), step("D"))) as never)
            yield* Saga.scoped(step("E"))
            yield* step("F")
          })) as never)
          return yield* step("G")
        })
      )
      const parts = partsWith({ D: ["refuse"], F: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("G done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "D", "undo C", "E", "F", "undo E", "undo B", "G"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("G done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("two at the same time each undo their own", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.andThen(
          Effect.all([
            Effect.exit(Saga.scoped(Effect.andThen(step("A"), step("B")))),
            Effect.exit(Saga.scoped(Effect.andThen(step("C"), step("D"))))
          ] as never, concurrent),
          step("E")
        )
      )
      const parts = partsWith({ B: ["refuse"], D: [50] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("E done"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo A"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("E done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a compensation in it that fails for good parks before the error reaches the body", () =>
    Effect.gen(function*() {
      const world = yield* World.make(detour, partsWith({ C: ["refuse"], "undo B": ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.why, { _tag: "CompensationFailed" })
      assert.deepStrictEqual(parked.unresolved, [
        { step: "B", attempts: 1, error: new Stuck({ step: "B" }), defect: undefined }
      ])
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B"])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("E done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B", "undo B", "caught=C", "D", "E"])
    }).pipe(Effect.scoped))

  it.effect("parked there, a cancel undoes it and everything else", () =>
    Effect.gen(function*() {
      const world = yield* World.make(detour, partsWith({ C: ["refuse"], "undo B": ["refuse"] })())
      World.whyParked(yield* world.execute)
      yield* world.cancel()
      const error = World.errorOf(yield* world.result)
      assert.strictEqual((error as SagaError.SagaError).reason._tag, "Cancelled")
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a cancel in the middle waits for its roll-back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(detour, partsWith({ C: ["refuse"] })())
      world.parts.gate("undo B")
      yield* world.start
      yield* world.parts.hasBegun("undo B")
      yield* world.cancel()
      yield* World.quiet
      assert.deepStrictEqual(undone(world.parts.log), ["undo B"])
      yield* world.parts.gate("undo B").open
      const error = World.errorOf(yield* world.result)
      assert.strictEqual((error as SagaError.SagaError).reason._tag, "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B", "undo A"])
      for (const cut of yield* World.everyCut(world, detour, partsWith({ C: ["refuse"] }))) {
        const undoing = (yield* cut.world.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        if ((yield* cut.world.journal).join().includes("CancelRequested")) {
          assert.deepStrictEqual(undoing, ["B", "A"], `after ${cut.appends}`)
        }
      }
    }).pipe(Effect.scoped))

  it.effect("a defect in it undoes nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(detour, partsWith({ C: ["die"] })())
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Defect")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("E done"))
    }).pipe(Effect.scoped))

  it.effect("a sibling's failure interrupts it: what it did is undone with the saga", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.all([
          Saga.scoped(Effect.andThen(step("A"), Effect.sleep("1 hour"))),
          Effect.andThen(step("B"), step("C"))
        ] as never, concurrent)
      )
      const parts = partsWith({ C: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("C"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a fiber forked in it that goes on: its step is awaited and undone too", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* Effect.exit(Saga.scoped(Effect.gen(function*() {
            yield* Effect.forkChild(step("A"), { startImmediately: true })
            yield* step("B")
          })) as never)
          return yield* step("C")
        })
      )
      const parts = partsWith({ A: [500], B: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A", "C"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("C done"), `after ${cut.appends}`)
        const undoing = (yield* cut.world.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        assert.deepStrictEqual(undoing, ["A"], `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a fiber forked in it that asks for more after it failed is refused", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          const forked = yield* Effect.exit(Saga.scoped(Effect.gen(function*() {
            yield* Effect.forkChild(Effect.andThen(step("A"), step("X")), { startImmediately: true })
            yield* step("B")
          })) as never)
          yield* step("C")
          return forked
        })
      )
      const world = yield* World.make(live, partsWith({ A: [500], B: ["refuse"] })())
      const { why } = World.whyParked(yield* world.execute)
      assert.match(JSON.stringify(why), /X was asked in a Saga.scoped that has failed/)
      assert.notInclude(world.parts.log, "X")
    }).pipe(Effect.scoped))

  it.effect("what it wanted to do after the commit is forgotten when it fails", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* Effect.ignore(
            Saga.scoped(Effect.andThen(Saga.onCommit("X", parts.act("X", undefined)), step("A"))) as never
          )
          yield* Saga.onCommit("Y", parts.act("Y", undefined))
          return yield* step("B")
        })
      )
      const parts = partsWith({ A: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "Y"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))
})

describe("a scope that fails while one inside it is undone", () => {
  it.effect("waits for it, so nothing is undone twice", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* Saga.scoped(Effect.gen(function*() {
            yield* Effect.forkChild(Effect.ignore(Saga.scoped(Effect.andThen(step("A"), step("B")))))
            yield* step("C")
            return yield* step("E")
          })).pipe(Effect.ignore)
          return yield* step("D")
        })
      )
      const parts = partsWith({ B: ["refuse"], C: [200], E: ["refuse"], "undo A": [500] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("D done"))
      assert.isTrue(Result.isSuccess(Journal.fold(yield* world.entries)))
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "undo C"])
    }).pipe(Effect.scoped))
})

describe("a scope that fails past the point of no return", () => {
  const live = (attempt: "alone" | "in a fork") =>
    World.settled(({ pivot, readonly, retryable, step }) => ({
      attempt: attempt === "alone"
        ? step("A")
        : Effect.forkChild(Effect.ignore(Saga.scoped(Effect.andThen(step("A"), readonly("Look"))))),
      pivot: () => pivot("Pivot"),
      settle: () =>
        attempt === "alone"
          ? Effect.andThen(Effect.ignore(Saga.scoped(readonly("Look"))), retryable("Ship"))
          : Effect.andThen(Effect.sleep(2_000), retryable("Ship"))
    }))

  it.effect("undoes nothing and ends, also for who takes over then", () =>
    Effect.gen(function*() {
      const parts = partsWith({ Look: ["refuse"] })
      const world = yield* World.make(live("alone"), parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Ship done"))
      for (const cut of yield* World.everyCut(world, live("alone"), parts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("Ship done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("and holds something from before is a bug, which parks", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live("in a fork"), partsWith({ Look: ["refuse"] })())
      world.parts.gate("Look")
      yield* world.start
      yield* World.quiet
      yield* world.parts.gate("Look").open
      assert.strictEqual(World.whyParked(yield* world.result).why._tag, "Defect")
      assert.isTrue(Result.isSuccess(Journal.fold(yield* world.entries)))
      assert.deepStrictEqual(undone(world.parts.log), [])
    }).pipe(Effect.scoped))
})

describe("rule 28: compensations that do not succeed at once", () => {
  const withUndo = (compensation: unknown) =>
    World.body(({ step }) => step("A").pipe(Effect.andThen(step("B", { compensation })), Effect.andThen(step("C"))))

  it.effect("are tried again by their schedule, with their own key, and each failure is journaled", () =>
    Effect.gen(function*() {
      const live = withUndo({ retry: steps(5) })
      const parts = partsWith({ C: ["refuse"], "undo B": ["refuse", "refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("C"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo B", "undo B", "undo A"])
      const keys = world.parts.keys.filter((_) => _.startsWith("undo B"))
      assert.deepStrictEqual([...new Set(keys)], ["undo B S/1/0/B/0/compensation"])
      const failures = (yield* world.entries).flatMap((_) => _._tag === "CompensationAttemptFailed" ? [_] : [])
      assert.deepStrictEqual(failures.map((_) => [_.attempt, _.outcome, _.wakeAt! - _.at]), [
        [1, "failed", 60_000],
        [2, "failed", 60_000]
      ])
    }).pipe(Effect.scoped))

  it.effect("a crash in their back-off neither skips the wait nor the rest of the schedule", () =>
    Effect.gen(function*() {
      const live = withUndo({ retry: steps(2) })
      const always = partsWith({ C: ["refuse"], "undo B": ["refuse", "refuse", "refuse", "refuse"] })
      const world = yield* World.make(live, always())
      World.whyParked(yield* world.execute)
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo B", "undo B", "undo A"])
      const journal = yield* world.journal
      const failed = journal.findIndex((_) => _.includes("CompensationAttemptFailed")) + 1
      const wakeAt = (yield* world.entries).flatMap((_) => _._tag === "CompensationAttemptFailed" ? [_.wakeAt!] : [])
      const recovered = yield* world.crashed(failed, live, always())
      World.whyParked(yield* recovered.result)
      assert.deepStrictEqual(undone(recovered.parts.log), ["undo B", "undo B", "undo A"])
      const again = (yield* recovered.entries).flatMap((_) => _._tag === "CompensationAttemptFailed" ? [_.wakeAt!] : [])
      assert.strictEqual(again[0], wakeAt[0])
      assert.strictEqual(again.length, 2)
    }).pipe(Effect.scoped))

  it.effect("that fail for good are named with their error at the end; under `continue` the others are undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        withUndo({ retry: steps(1) }),
        partsWith({
          C: ["refuse"],
          "undo B": ["refuse", "refuse"]
        })()
      )
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.why, { _tag: "CompensationFailed" })
      assert.deepStrictEqual(parked.unresolved, [
        { step: "B", attempts: 2, error: new Stuck({ step: "B" }), defect: undefined }
      ])
      assert.deepStrictEqual(parked.original, { _tag: "Failed", error: refused("C") })
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo B", "undo A"])
      yield* world.resume
      assert.deepStrictEqual(World.errorOf(yield* world.result), refused("C"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo B", "undo A", "undo B"])
    }).pipe(Effect.scoped))

  it.effect("under `halt` the others are left, and all that is left is named; a resume goes on with all", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        step("A").pipe(
          Effect.andThen(step("B", { compensation: { onFailure: "halt" } })),
          Effect.andThen(step("C")),
          Effect.andThen(step("D"))
        )
      )
      const world = yield* World.make(live, partsWith({ D: ["refuse"], "undo B": ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.unresolved.map((_) => [_.step, _.attempts]), [["A", 0], ["B", 1]])
      assert.deepStrictEqual(undone(world.parts.log), ["undo C", "undo B"])
      yield* world.resume
      assert.deepStrictEqual(World.errorOf(yield* world.result), refused("D"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo C", "undo B", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("under `halt`, a crash right after the failure leaves the others alone too", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        step("A").pipe(
          Effect.andThen(step("B", { compensation: { onFailure: "halt" } })),
          Effect.andThen(step("C"))
        )
      )
      const faults = partsWith({ C: ["refuse"], "undo B": ["refuse"] })
      const world = yield* World.make(live, faults())
      World.whyParked(yield* world.execute)
      const journal = yield* world.journal
      for (const cut of yield* World.everyCut(world, live, faults)) {
        assert.strictEqual(World.whyParked(cut.exit).why._tag, "CompensationFailed")
        assert.notInclude(cut.world.parts.log, "undo A", `after ${cut.appends}: ${journal.join("\n")}`)
      }
    }).pipe(Effect.scoped))

  it.effect("that time out are tried again with their key; for good, `TimedOut` is what is left", () =>
    Effect.gen(function*() {
      const live = withUndo({ retry: steps(1), timeout: "5 seconds" })
      const once = partsWith({ C: ["refuse"], "undo B": ["hang"] })
      const world = yield* World.make(live, once())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("C"))
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo B", "undo A"])
      assert.strictEqual(new Set(world.parts.keys.filter((_) => _.startsWith("undo B"))).size, 1)
      const twice = yield* World.make(live, partsWith({ C: ["refuse"], "undo B": ["hang", "hang"] })())
      const parked = World.whyParked(yield* twice.execute)
      assert.deepStrictEqual(parked.unresolved, [
        { step: "B", attempts: 2, error: new Step.TimedOut({ step: "B" }), defect: undefined }
      ])
    }).pipe(Effect.scoped))

  it.effect("that die fail for good at once, are recorded, and the others go on", () =>
    Effect.gen(function*() {
      const world = yield* World.make(withUndo({ retry: steps(5) }), partsWith({ C: ["refuse"], "undo B": ["die"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.unresolved, [
        { step: "B", attempts: 1, error: undefined, defect: "Error: undo B is broken" }
      ])
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo A"])
      assert.include(tagsOf(yield* world.entries), "CompensationFailed B")
      yield* world.resume
      assert.deepStrictEqual(World.errorOf(yield* world.result), refused("C"))
    }).pipe(Effect.scoped))

  it.effect("that interrupt themselves, or throw before they are an effect, fail for good and are not waited for", () =>
    Effect.gen(function*() {
      const interrupting = Effect.withFiber((fiber) => {
        fiber.interruptUnsafe()
        return Effect.never
      })
      const live = World.body(({ step }) =>
        step("A", { compensate: () => interrupting }).pipe(
          Effect.andThen(step("B", {
            compensate: () => {
              throw new Error("no effect")
            }
          })),
          Effect.andThen(step("C"))
        )
      )
      const world = yield* World.make(live, partsWith({ C: ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.unresolved.map((_) => [_.step, _.defect]), [
        ["A", "Error: it interrupted itself"],
        ["B", "Error: no effect"]
      ])
    }).pipe(Effect.scoped))

  it.effect("that do not yield to the interruption of their timeout are given up after the grace", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.andThen(
          step("A", {
            compensation: { timeout: "1 second" },
            compensate: () => Effect.uninterruptible(Effect.sleep("1 hour"))
          }),
          step("B")
        )
      )
      const world = yield* World.make(live, partsWith({ B: ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.match(parked.unresolved[0]!.defect!, /past its timeout and the grace/)
      assert.isBelow((yield* world.entries).at(-1)!.at, 10_000)
    }).pipe(Effect.scoped))

  it.effect("that go on past the grace say nothing more in the journal: neither heartbeats nor waits", () =>
    Effect.gen(function*() {
      const after: Array<string> = []
      const lingering = (act: string, waits: Effect.Effect<unknown, never, any>) =>
        Effect.uninterruptible(Effect.sleep("1 minute")).pipe(
          Effect.andThen(Effect.uninterruptible(waits)),
          Effect.onExit(() => Effect.sync(() => after.push(act)))
        )
      const live = World.body(({ step }) =>
        step("A", { compensate: () => Effect.asVoid(Effect.sleep("2 minutes")) }).pipe(
          Effect.andThen(step("B", {
            compensation: { timeout: "1 second" },
            compensate: () => Effect.uninterruptible(lingering("B", Step.heartbeat()))
          })),
          Effect.andThen(step("D", {
            compensation: { timeout: "1 second" },
            compensate: () => Effect.uninterruptible(lingering("D", Timer.sleep("again", "1 second")))
          })),
          Effect.andThen(step("C"))
        )
      )
      const world = yield* World.make(live, partsWith({ C: ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.unresolved.map(({ step }) => step).toSorted(), ["B", "D"])
      assert.deepStrictEqual(after.toSorted(), ["B", "D"])
      const entries = yield* world.entries
      assert.deepStrictEqual(
        entries.filter((_) => _._tag === "CompensationHeartbeat" || _._tag === "CompensationTimerSet"),
        []
      )
      assert.strictEqual((yield* world.poll)._tag, "Parked")
    }).pipe(Effect.scoped))

  it.effect("that go on past the grace receive nothing more: what is sent then is for others", () =>
    Effect.gen(function*() {
      const Stop = Signal.make("Stop", { payload: Schema.String })
      let attempts = 0
      const live = World.body(({ parts, step }) =>
        step("A", {
          compensate: () =>
            Effect.andThen(
              Effect.sleep("1 minute"),
              Effect.flatMap(Signal.receive(Stop), (heard) => parts.seen("A heard", heard))
            )
        }).pipe(
          Effect.andThen(step("B", {
            compensation: { timeout: "1 second" },
            compensate: () =>
              Effect.suspend(() => ++attempts > 1 ? Effect.void : Effect.uninterruptible(Signal.receive(Stop))).pipe(
                Effect.asVoid
              )
          })),
          Effect.andThen(step("C"))
        )
      )
      const world = yield* World.make(live, partsWith({ C: ["refuse"] })())
      const running = yield* Effect.forkChild(world.execute)
      yield* TestClock.adjust("30 seconds")
      yield* world.signal(Stop, "now")
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(World.whyParked(yield* Fiber.join(running)).unresolved.map(({ step }) => step), ["B"])
      assert.deepStrictEqual(world.parts.log.slice(-1), ["A heard=now"])
      const received = (yield* world.entries).filter((_) => _._tag === "CompensationSignalReceived")
      assert.deepStrictEqual(received.map(({ name }) => name), ["A"])
      // It holds up nobody who takes the saga up again.
      yield* world.resume
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* world.poll)._tag, "RolledBack")
    }).pipe(Effect.scoped))

  it.effect("have their start on record before they act", () =>
    Effect.gen(function*() {
      const parts = partsWith({ C: ["refuse"] })()
      const world = yield* World.make(row, parts)
      const durable: Array<string> = []
      const seen: Array<readonly [string, boolean]> = []
      world.recorded.onAppend.current = (append) => {
        for (const entry of Notation.expand(JSON.parse(append.entries), append.at) as Array<Journal.Entry>) {
          durable.push(World.sentence(entry))
        }
      }
      const push = parts.log.push.bind(parts.log)
      parts.log.push = (...acts) => {
        for (const act of acts) {
          const intent = act.startsWith("undo ") ? `CompensationStarted ${act.slice(5)}` : `StepStarted ${act}`
          seen.push([act, durable.includes(intent)])
        }
        return push(...acts)
      }
      yield* world.execute
      assert.deepStrictEqual(seen, [["A", true], ["B", true], ["C", true], ["undo B", true], ["undo A", true]])
    }).pipe(Effect.scoped))

  it.effect("have the success of one on record before the next acts", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["refuse"] })())
      yield* world.execute
      assert.deepStrictEqual((yield* world.journal).slice(-3), [
        "StepFailed C, RollbackStarted, CompensationStarted B",
        "CompensationSucceeded B, CompensationStarted A",
        "CompensationSucceeded A, SagaRolledBack"
      ])
    }).pipe(Effect.scoped))

  it.effect("a cancel and a shutdown in the middle of them skip none", () =>
    Effect.gen(function*() {
      const parts = partsWith({ C: ["refuse"], "undo B": ["refuse"] })()
      const live = withUndo({ retry: steps(5) })
      const world = yield* Effect.scoped(Effect.gen(function*() {
        const world = yield* World.make(live, parts)
        yield* world.start
        yield* parts.hasBegun("undo B")
        yield* World.quiet
        const refusal = yield* Effect.flip(world.cancel())
        assert.strictEqual(refusal.reason._tag, "NotAccepting")
        return world
      }))
      assert.deepStrictEqual(undone(parts.log), ["undo B"])
      const next = yield* world.beside(live)
      assert.deepStrictEqual(World.errorOf(yield* next.result), refused("C"))
      assert.deepStrictEqual(undone(parts.log), ["undo B", "undo B", "undo A"])
    }).pipe(Effect.scoped))
})

describe("rule 29: hooks", () => {
  it.effect("onRollback is undone in its place, also after a crash", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* Saga.onRollback("H", (cause) => parts.seen("undo H", (Cause.squash(cause) as Refused).step))
          yield* step("B")
          yield* step("C")
        })
      )
      const parts = partsWith({ C: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("C"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B", "undo H=C", "undo A"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        const undoing = (yield* cut.world.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        assert.deepStrictEqual(undoing, ["B", "H", "A"], `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("onRollback does nothing when the saga completes", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(Saga.onRollback("H", () => parts.seen("undo", "H")), step("A"))
      )
      const world = yield* World.make(live)
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["A"])
    }).pipe(Effect.scoped))

  const committing = World.body(({ parts, step }) =>
    Effect.gen(function*() {
      yield* step("A")
      yield* Saga.onCommit("X", parts.act("X", undefined))
      yield* Saga.onCommit("Y", parts.act("Y", undefined), { retry: Schedule.spaced("1 minute") })
      return yield* step("B")
    })
  )

  it.effect("onCommit runs after the body, past the point of no return, before the saga completes", () =>
    Effect.gen(function*() {
      const world = yield* World.make(committing)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "X", "Y"])
      const tags = tagsOf(yield* world.entries)
      assert.isAbove(tags.indexOf("StepStarted X@commit"), tags.indexOf("PivotPassed"))
      assert.strictEqual(tags.at(-1), "SagaCompleted")
      for (const cut of yield* World.everyCut(world, committing, World.makeParts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("onCommit is tried until it succeeds, and a cancel comes too late", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        committing,
        partsWith({ X: ["refuse", "refuse"], Y: ["refuse", "refuse", "refuse"] })()
      )
      world.parts.gate("Y")
      yield* world.start
      const waiting = yield* Effect.forkChild(world.result)
      yield* world.parts.hasBegun("Y").pipe(Effect.raceFirst(World.ended(Effect.never as Effect.Effect<void>)))
      const refusal = yield* Effect.flip(world.cancel())
      assert.strictEqual(refusal.reason._tag, "TooLate")
      yield* world.parts.gate("Y").open
      assert.deepStrictEqual(yield* Fiber.join(waiting), Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "X", "X", "X", "Y", "Y", "Y", "Y"])
    }).pipe(Effect.scoped))

  it.effect("onCommit does not run when the saga rolls back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(committing, partsWith({ B: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("B"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("onCommit in an attempt runs after what is settled", () =>
    Effect.gen(function*() {
      const live = World.settled(({ parts, retryable, step }) => ({
        attempt: Effect.andThen(step("A"), Saga.onCommit("X", parts.act("X", undefined))),
        settle: () => Effect.andThen(Saga.onCommit("Y", parts.act("Y", undefined)), retryable("B"))
      }))
      const world = yield* World.make(live)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "X", "Y"])
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))
})
