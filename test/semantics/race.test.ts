/**
 * Rule 33: a race returns when its winner is journaled; what the losers did, or still do, is undone before any outcome.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Schedule, Schema } from "effect"
import { Journal, Saga, SagaError, Signal, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const Paid = Signal.make("Paid", { payload: Schema.Number })

const partsWith = (faults: Record<string, Array<World.Fault>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}
const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason._tag
}
const tagsOf = (world: World.World) => Effect.map(world.entries, (entries) => entries.map(World.sentence))

/** A slow step against a short timer; then B. */
const slow = World.body(({ parts, step }) =>
  Effect.gen(function*() {
    const won = yield* Saga.race([step("Slow"), Effect.as(Timer.sleep("t", 1_000), "timer")])
    yield* parts.seen("won", won)
    yield* step("B")
    return won
  })
)

describe("a race", () => {
  it.effect("returns when its winner is journaled; a step that loses goes on and is undone, before the end", () =>
    Effect.gen(function*() {
      const world = yield* World.make(slow, partsWith({ Slow: [5_000] })())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust(1_000)
      yield* World.quiet
      assert.deepStrictEqual(world.parts.log, ["Slow", "won=timer", "B"])
      assert.deepStrictEqual(yield* world.status, { _tag: "Running", pivotPassed: false })
      yield* TestClock.adjust(4_000)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("timer"))
      assert.deepStrictEqual(world.parts.log, ["Slow", "won=timer", "B", "undo Slow"])
      assert.deepStrictEqual((yield* tagsOf(world)).slice(2), [
        "TimerSet t@1.0",
        "TimerFired t@1.0",
        "RaceWon race",
        "StepStarted B",
        "StepSucceeded B",
        "StepSucceeded Slow@0.0",
        "CompensationStarted Slow@0.0",
        "CompensationSucceeded Slow@0.0",
        "ScopeRolledBack :0",
        "SagaCompleted"
      ])
    }).pipe(Effect.scoped))

  it.effect("has the same winner and undoes the same, wherever its journal is cut", () =>
    Effect.gen(function*() {
      const parts = partsWith({ Slow: [5_000] })
      const world = yield* World.make(slow, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("timer"))
      const cuts = yield* World.everyCut(world, slow, World.makeParts)
      assert.isAbove(cuts.length, 3)
      for (const { appends, exit, world: cut } of cuts) {
        const entries = yield* cut.entries
        const fired = entries.findIndex((_) => _._tag === "TimerFired")
        const won = entries.flatMap((_) => _._tag === "RaceWon" ? [_.winner] : [])
        assert.strictEqual(won.length, 1, `after ${appends} appends`)
        assert.deepStrictEqual(exit, Exit.succeed(won[0] === 1 ? "timer" : "Slow done"), `after ${appends} appends`)
        assert.strictEqual(won[0] === 1, fired >= 0)
        const undone = cut.parts.log.filter((_) => _ === "undo Slow").length
        const before = (yield* World.cut(world.recorded, world.id, appends)).store
        const known = (yield* Effect.orDie(before.journal(world.id))).appends.flatMap((_) => _.entries)
        const done = known.some((_) => _._tag === "CompensationSucceeded")
        assert.strictEqual(undone, won[0] === 1 && !done ? 1 : 0, `after ${appends} appends`)
      }
    }).pipe(Effect.scoped))

  it.effect("that a step wins withdraws the timer and the receive, and a signal that comes later is not lost", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          const won = yield* Saga.race([step("A"), Timer.sleep("t", 60_000), Signal.receive(Paid)])
          return `${won} ${yield* Signal.receive(Paid)}`
        })
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* World.quiet
      yield* world.signal(Paid, 3)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("A done 3"))
      const tags = yield* tagsOf(world)
      assert.includeMembers(tags, ["TimerWithdrawn t@1.0", "ReceiveWithdrawn Paid@2.0", "RaceWon race"])
      assert.notInclude(tags.join(), "ScopeRolledBack")
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        if (cut.appends > 1) assert.deepStrictEqual(cut.exit, Exit.succeed("A done 3"))
      }
    }).pipe(Effect.scoped))

  it.effect("of two receives that are both served: one signal is taken, the other stays", () =>
    Effect.gen(function*() {
      const Note = Signal.make("Note", { payload: Schema.String })
      const world = yield* World.make(World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("A")
          const first = yield* Saga.race([Signal.receive(Paid), Signal.receive(Note)])
          return `${first} ${yield* Signal.receiveAny(Paid, Note).pipe(Effect.map((_) => _.payload))}`
        })
      ))
      world.parts.gate("A")
      yield* world.start
      yield* world.parts.hasBegun("A")
      yield* world.signal(Note, "n")
      yield* world.signal(Paid, 1)
      world.parts.gate("A").openUnsafe()
      assert.deepStrictEqual(yield* world.result, Exit.succeed("n 1"))
    }).pipe(Effect.scoped))

  it.effect("undoes everything that a loser did, the last first, and nothing of the winner", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Effect.gen(function*() {
            const long = Effect.andThen(step("A"), Effect.andThen(step("B"), step("C")))
            const short = Effect.andThen(step("X"), Effect.andThen(Timer.sleep("t", 1_000), step("Y")))
            yield* Saga.race([long, short])
            return (yield* Saga.executedSteps).join(" ")
          })
        ),
        partsWith({ C: [5_000] })()
      )
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("A X B Y"))
      assert.deepStrictEqual(world.parts.log.slice(-3), ["undo C", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("fails as its first fails, and undoes the others", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Effect.catch(
            Saga.race([Effect.andThen(step("A"), step("B")), step("C")]),
            (error) => Effect.as(step("D"), `${(error as Refused)._tag}`)
          )
        ),
        partsWith({ B: ["refuse"], C: [2_000] })()
      )
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Refused"))
      // What the first did stays held, as after any failure that is caught.
      assert.deepStrictEqual(world.parts.log, ["A", "C", "B", "D", "undo C"])
    }).pipe(Effect.scoped))

  it.effect("takes what happens after a failure of the saga: losers are undone before its roll-back begins", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Effect.gen(function*() {
            yield* step("A")
            yield* Saga.race([step("Slow"), Timer.sleep("t", 1_000)])
            return yield* step("B")
          })
        ),
        partsWith({ Slow: [5_000], B: ["refuse"] })()
      )
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "B" }))
      assert.deepStrictEqual(world.parts.log, ["A", "Slow", "B", "undo Slow", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a cancel while a loser is in flight: it is awaited and undone, then the rest", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Effect.gen(function*() {
            yield* step("A")
            yield* Saga.race([step("Slow"), Timer.sleep("t", 1_000)])
            return yield* Timer.sleep("long", 60_000)
          })
        ),
        partsWith({ Slow: [5_000] })()
      )
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust(2_000)
      yield* World.quiet
      yield* world.cancel()
      assert.strictEqual(reasonOf(yield* world.result), "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "Slow", "undo Slow", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a loser that is refused, or waits for its next attempt, did not happen: nothing is undone", () =>
    Effect.gen(function*() {
      for (const backOff of [true, false]) {
        const live = World.body(({ step }) =>
          Effect.gen(function*() {
            yield* Saga.race([step("Slow", backOff ? { retry: Schedule.spaced(5_000) } : {}), Timer.sleep("t", 1_000)])
            return yield* step("B")
          })
        )
        const world = yield* World.make(live, partsWith({ Slow: ["refuse"] })())
        if (!backOff) world.parts.gate("Slow")
        yield* world.start
        yield* World.quiet
        yield* TestClock.adjust(1_000)
        yield* World.quiet
        world.parts.gate("Slow").openUnsafe()
        assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
        assert.deepStrictEqual(world.parts.log, ["Slow", "B"])
        assert.include((yield* tagsOf(world)).join(), backOff ? "StepFailed Slow" : "RaceWon race,StepStarted B")
      }
    }).pipe(Effect.scoped))

  it.effect("a loser in doubt parks before any outcome, and is undone when a person says that it happened", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* Saga.race([step("Slow", { timeout: "5 seconds", unknown: "park" }), Timer.sleep("t", 1_000)])
          return yield* step("B")
        })
      )
      const world = yield* World.make(live, partsWith({ Slow: ["hang"] })())
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unknown")
      assert.deepStrictEqual(world.parts.log, ["Slow", "B"])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.deepStrictEqual(world.parts.log, ["Slow", "B", "Slow", "undo Slow"])
    }).pipe(Effect.scoped))

  it.effect("a loser whose compensation fails for good parks, and names it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(slow, partsWith({ Slow: [5_000], "undo Slow": ["refuse"] })())
      const reason = World.whyParked(yield* world.execute)
      assert.strictEqual(reason.why._tag, "CompensationFailed")
      assert.deepStrictEqual(reason.unresolved.map(({ step }) => step), ["Slow"])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("timer"))
    }).pipe(Effect.scoped))

  it.effect("the point of no return waits until losers are undone, a pivot too", () =>
    Effect.gen(function*() {
      for (const pivot of [true, false]) {
        const live = World.settled(({ pivot: decide, retryable, step }) => ({
          attempt: Saga.race([step("Slow"), Effect.as(Timer.sleep("t", 1_000), "timer")]),
          ...(pivot ? { pivot: () => decide("Pivot") } : undefined),
          settle: () => retryable("Ship")
        }))
        const world = yield* World.make(live, partsWith({ Slow: [5_000] })())
        assert.deepStrictEqual(yield* world.execute, Exit.succeed("Ship done"))
        assert.deepStrictEqual(world.parts.log, ["Slow", "undo Slow", ...(pivot ? ["Pivot"] : []), "Ship"])
        for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
          assert.deepStrictEqual(cut.exit, Exit.succeed("Ship done"), `after ${cut.appends} appends`)
        }
      }
    }).pipe(Effect.scoped))

  it.effect("past the point of no return: a retryable step that loses goes on to its end first", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.settled(({ retryable, step }) => ({
          attempt: step("A"),
          settle: () => Effect.andThen(Saga.race([retryable("Slow"), Timer.sleep("t", 1_000)]), retryable("Ship"))
        })),
        partsWith({ Slow: [5_000] })()
      )
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Ship done"))
      assert.deepStrictEqual(world.parts.log, ["A", "Slow", "Ship"])
      const tags = yield* tagsOf(world)
      assert.isBelow(tags.findIndex((_) => _.startsWith("StepSucceeded Slow")), tags.indexOf("SagaCompleted"))
    }).pipe(Effect.scoped))
})

describe("a race and code that changed", () => {
  it.effect("another winner than the journal's parks, and both are named", () =>
    Effect.gen(function*() {
      const of = (order: ReadonlyArray<string>) =>
        World.body(({ step }) =>
          Effect.gen(function*() {
            const parts: Record<string, Effect.Effect<unknown, never, unknown>> = {
              timer: Timer.sleep("t", 1_000),
              paid: Signal.receive(Paid),
              never: Effect.never
            }
            yield* Saga.race(order.map((name) => parts[name]!))
            return yield* step("B")
          })
        )
      const world = yield* World.make(of(["timer", "paid", "never"]))
      world.parts.gate("B")
      yield* world.start
      yield* World.quiet
      yield* world.signal(Paid, 1)
      yield* world.parts.hasBegun("B")
      const appends = (yield* world.journal).length
      const changed = yield* world.crashed(appends, of(["timer", "paid"]), World.makeParts())
      assert.deepStrictEqual(yield* changed.result, Exit.succeed("B done"))
      const other = yield* world.crashed(appends, of(["never", "timer", "paid"]), World.makeParts())
      const { why } = World.whyParked(yield* other.result)
      assert.strictEqual(why._tag, "Nondeterminism")
    }).pipe(Effect.scoped))

  it.effect("the same requests and another winner park too", () =>
    Effect.gen(function*() {
      const of = (swapped: boolean) =>
        World.body(({ step }) =>
          Effect.gen(function*() {
            yield* Saga.race(swapped ? [Effect.never, Effect.void] : [Effect.void, Effect.never])
            return yield* step("B")
          })
        )
      const world = yield* World.make(of(false))
      world.parts.gate("B")
      yield* world.start
      yield* World.quiet
      yield* world.parts.hasBegun("B")
      const appends = (yield* world.journal).length
      const same = yield* world.crashed(appends, of(false), World.makeParts())
      assert.deepStrictEqual(yield* same.result, Exit.succeed("B done"))
      const other = yield* world.crashed(appends, of(true), World.makeParts())
      assert.strictEqual(World.whyParked(yield* other.result).why._tag, "Nondeterminism")
    }).pipe(Effect.scoped))
})

describe("races and scopes", () => {
  it.effect("a race inside a race: what its losers did is undone with the part that lost", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          const inner = Saga.race([step("A"), Effect.andThen(Timer.sleep("short", 500), step("B"))])
          const won = yield* Saga.race([
            Effect.andThen(inner, step("C")),
            Effect.as(Timer.sleep("long", 2_000), "long")
          ])
          yield* step("D")
          return won
        })
      )
      const parts = partsWith({ A: [5_000], C: [4_000] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("long"))
      assert.deepStrictEqual(world.parts.log.slice(0, 4), ["A", "B", "C", "D"])
      assert.sameMembers(world.parts.log.slice(4), ["undo A", "undo B", "undo C"])
      assert.isBelow(world.parts.log.indexOf("undo C"), world.parts.log.indexOf("undo B"))
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        const log = [...world.parts.log, ...cut.world.parts.log]
        assert.isTrue(Exit.isSuccess(cut.exit), `after ${cut.appends}: ${log.join()}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a race inside Saga.scoped that fails: winner and losers are undone before the error is caught", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.catch(
          Saga.scoped(Effect.andThen(
            Saga.race([step("Slow"), Effect.andThen(step("W"), Timer.sleep("t", 1_000))]),
            step("F")
          )),
          () => step("Z")
        )
      )
      const world = yield* World.make(live, partsWith({ Slow: [5_000], F: ["refuse"] })())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Z done"))
      assert.deepStrictEqual(world.parts.log, ["Slow", "W", "F", "undo Slow", "undo W", "Z"])
      for (const cut of yield* World.everyCut(world, live, partsWith({ F: ["refuse"] }))) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("Z done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a part that lost asks for nothing more: a step in its finalizer is a bug", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) =>
        Saga.race([
          Effect.onInterrupt(Timer.sleep("long", 60_000), () => Effect.ignore(step("late"))),
          step("A")
        ])
      ))
      const { why } = World.whyParked(yield* world.execute)
      assert.include(why._tag === "Defect" ? why.message : "", "lost a race")
      assert.deepStrictEqual(world.parts.log, ["A"])
    }).pipe(Effect.scoped))

  it.effect("a signal that a part had received before it lost is received; what it waited for stays", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* Saga.race([
            Effect.andThen(Signal.receive(Paid), Signal.receive(Paid)),
            Effect.andThen(step("A"), Timer.sleep("t", 1_000))
          ])
          return yield* Signal.receive(Paid)
        })
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* World.quiet
      yield* world.signal(Paid, 1)
      yield* World.quiet
      yield* TestClock.adjust(1_000)
      yield* World.quiet
      yield* world.signal(Paid, 2)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("2"))
    }).pipe(Effect.scoped))

  it.effect("a race among steps that all succeed at once keeps one, and undoes the others", () =>
    Effect.gen(function*() {
      const names = Array.from({ length: 8 }, (_, n) => `S${n}`)
      const live = World.body(({ step }) =>
        Effect.andThen(
          Saga.race(names.map((name) => step(name))),
          Effect.map(Saga.executedSteps, (steps) => steps.join())
        )
      )
      const world = yield* World.make(live)
      yield* world.execute
      const undone = world.parts.log.filter((_) => _.startsWith("undo"))
      assert.strictEqual(undone.length, 7)
      assert.strictEqual(new Set(undone).size, 7)
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.isTrue(Exit.isSuccess(cut.exit), `after ${cut.appends}`)
        const state = Journal.foldPrefix(yield* cut.world.entries)
        const held = state!.held.filter((key) => state!.steps.get(key)!.compensation.status === "held")
        assert.strictEqual(held.length, 1, `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("two names at one time are refused in a race as in any concurrent region", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Saga.race([step("A"), step("A")])))
      const { why } = World.whyParked(yield* world.execute)
      assert.include(why._tag === "Defect" ? why.message : "", "two steps in one concurrent region")
    }).pipe(Effect.scoped))

  it.effect("a race that is interrupted waits for its steps, as Effect.all does", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.catch(
          Effect.all([Saga.race([step("A"), step("B")]), step("F")], { concurrency: "unbounded" }),
          () => Effect.map(Saga.executedSteps, (steps) => steps.join())
        )
      )
      const world = yield* World.make(live, partsWith({ A: [3_000], B: [2_000], F: ["refuse"] })())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B,A"))
    }).pipe(Effect.scoped))

  it.effect("without a journal it returns when its losers are undone", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      const { step } = World.steps(parts)
      const run = Saga.transact(
        Effect.gen(function*() {
          const won = yield* Saga.race([
            Effect.andThen(step("A"), Timer.sleep("long", 5_000)),
            Effect.as(Timer.sleep("t", 1_000), "timer")
          ])
          yield* step("B")
          return won
        }) as Effect.Effect<unknown, unknown>
      )
      assert.deepStrictEqual(yield* World.ended(run), Exit.succeed("timer"))
      assert.deepStrictEqual(parts.log, ["A", "undo A", "B"])
    }))
})

describe("Timer.timeout", () => {
  it.effect("gives the result where it comes in time, and withdraws the timer", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Timer.timeout(step("A"), "a minute", "1 minute")))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("A done"))
      assert.include(yield* tagsOf(world), "TimerWithdrawn a minute@1.0")
    }).pipe(Effect.scoped))

  it.effect("fails with TimedOut and the timer's name; what was in flight is undone", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => step("A").pipe(Timer.timeout("a minute", "1 minute")))
      const world = yield* World.make(live, partsWith({ A: [90_000] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Step.TimedOut({ step: "a minute" }))
      assert.deepStrictEqual(world.parts.log, ["A", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is durable: who takes over waits no longer", () =>
    Effect.gen(function*() {
      const live = World.body(() =>
        Effect.map(
          Timer.timeoutOption(Signal.receive(Paid), "a day", "1 day"),
          Option.match({ onNone: () => "too late", onSome: (amount) => `paid ${amount}` })
        )
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("12 hours")
      const other = yield* world.crashed((yield* world.journal).length, live)
      yield* World.quiet
      assert.deepStrictEqual(yield* other.status, { _tag: "Suspended", wakeAt: 86_400_000 })
      yield* world.signal(Paid, 2)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("paid 2"))
      yield* TestClock.adjust("12 hours")
      assert.deepStrictEqual(yield* other.result, Exit.succeed("too late"))
    }).pipe(Effect.scoped))

  it.effect("keeps the error of what it bounds", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ step }) =>
          Timer.timeoutOption(step("A"), "a minute", "1 minute").pipe(
            Effect.catchCause((cause) => Effect.succeed(`caught ${Cause.hasFails(cause)}`))
          )
        ),
        partsWith({ A: ["refuse"] })()
      )
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("caught true"))
    }).pipe(Effect.scoped))
})
