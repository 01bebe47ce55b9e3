/**
 * Rules 1 to 7: the seam between a body and its execution, and replay.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Random, Result, Schedule, Schema } from "effect"
import { Limits, Saga, Step } from "effect-saga"
import * as Execution from "../../src/Execution.ts"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const concurrent = { concurrency: "unbounded" } as const
const refused = (step: string) => new Refused({ step })

const partsWith = (faults: Record<string, Array<World.Fault>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

describe("rule 1: answers come one at a time, in the order of the journal", () => {
  it.effect("a step whose asker was interrupted in the same tick neither acts nor is undone", () =>
    Effect.gen(function*() {
      const parts = partsWith({ C: ["refuse"] })
      const live = World.body(({ step }) => Effect.all([Effect.andThen(step("A"), step("B")), step("C")], concurrent))
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("C"))
      assert.deepStrictEqual(world.parts.log, ["A", "C", "undo A"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("C"), `after ${cut.appends}`)
        assert.notInclude(cut.world.parts.log, "B")
        assert.notInclude(cut.world.parts.log, "undo B")
      }
    }).pipe(Effect.scoped))

  it.effect("a recorded failure does not keep later siblings from asking what they asked", () =>
    Effect.gen(function*() {
      const parts = partsWith({ A: ["refuse"] })
      const live = World.body(({ step }) => Effect.all([step("A"), step("B"), step("C")], concurrent))
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("A"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo C", "undo B"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("A"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("of two siblings that are withdrawn together, each goes on before the other is answered", () =>
    Effect.gen(function*() {
      const parts = partsWith({ A: ["refuse"], B: ["refuse"], D: ["refuse"] })
      const seen: Array<string> = []
      const live = World.body(({ step }) => {
        const cleaning = (name: string) =>
          Effect.onInterrupt(
            step(name, { retry: Schedule.spaced("1 hour") }),
            () =>
              Effect.sync(() => seen.push(`${name} begins`)).pipe(
                Effect.andThen(Effect.yieldNow),
                Effect.andThen(Effect.sync(() => seen.push(`${name} ends`)))
              )
          )
        return Effect.all([cleaning("A"), cleaning("B"), Effect.andThen(step("C"), step("D"))], concurrent)
      })
      const order = ["A begins", "A ends", "B begins", "B ends"]
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("D"))
      assert.deepStrictEqual(seen.splice(0), order)
      const rolling = (yield* world.journal).findIndex((_) => _.includes("RollbackStarted")) + 1
      const recovered = yield* world.crashed(rolling, live, parts())
      assert.deepStrictEqual(World.errorOf(yield* recovered.result), refused("D"))
      assert.deepStrictEqual(seen, order)
    }).pipe(Effect.scoped))

  it.effect("the seam never answers at once: what a fiber does next comes after its siblings have asked", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, readonly }) =>
        Effect.all([
          Effect.andThen(readonly("A"), parts.seen("after", "A")),
          parts.seen("sibling", "asks"),
          Effect.andThen(readonly("B"), parts.seen("after", "B"))
        ], concurrent)
      )
      const world = yield* World.make(live)
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["sibling=asks", "A", "B", "after=A", "after=B"])
    }).pipe(Effect.scoped))
})

describe("rule 2: a closed seam starts nothing and appends nothing", () => {
  const tidy = World.body(({ step }) =>
    Effect.andThen(step("A"), step("B")).pipe(
      Effect.onInterrupt(() => Effect.ignore(step("on interrupt"))),
      Effect.ensuring(Effect.ignore(step("ensuring"))),
      Effect.onExit(() => Effect.sleep("1 second"))
    )
  )

  it.effect("when it parks", () =>
    Effect.gen(function*() {
      const world = yield* World.make(tidy, partsWith({ B: ["die"] })())
      World.whyParked(yield* world.execute)
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
      assert.notMatch((yield* world.journal).join(), /ensuring|interrupt|sleep/)
    }).pipe(Effect.scoped))

  it.effect("when it is cancelled", () =>
    Effect.gen(function*() {
      const world = yield* World.make(tidy)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      yield* world.cancel()
      yield* World.quiet
      yield* world.parts.gate("B").open
      yield* world.result
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo B", "undo A"])
      assert.notMatch((yield* world.journal).join(), /ensuring|interrupt|sleep/)
    }).pipe(Effect.scoped))

  it.effect("when its process shuts down", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      parts.gate("B")
      const world = yield* Effect.scoped(Effect.gen(function*() {
        const world = yield* World.make(tidy, parts)
        yield* world.start
        yield* parts.hasBegun("B")
        yield* Effect.forkDetach(Effect.andThen(World.quiet, parts.gate("B").open))
        return world
      }))
      assert.deepStrictEqual(parts.log, ["A", "B"])
      assert.notMatch((yield* world.journal).join(), /ensuring|interrupt|sleep/)
      const next = yield* world.beside(tidy)
      assert.deepStrictEqual(yield* next.result, Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "B", "ensuring"])
    }).pipe(Effect.scoped))
})

describe("rule 3: what is not the body's never enters the body", () => {
  const deaf = World.body(({ parts, step }) =>
    Effect.gen(function*() {
      yield* step("A")
      yield* step("B").pipe(
        Effect.catchCause((cause) => Effect.andThen(parts.seen("swallowed", cause), Effect.succeed("swallowed"))),
        Effect.exit
      )
      yield* step("C")
    })
  )

  it.effect("a defect parks, whatever the body catches", () =>
    Effect.gen(function*() {
      const world = yield* World.make(deaf, partsWith({ B: ["die"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.why, { _tag: "Defect", step: "B", message: "Error: B is broken" })
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
    }).pipe(Effect.scoped))

  it.effect("a cancel rolls back, whatever the body catches", () =>
    Effect.gen(function*() {
      const world = yield* World.make(deaf)
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      yield* world.cancel("changed my mind")
      yield* World.quiet
      yield* world.parts.gate("B").open
      yield* world.result
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a contradiction between journal and body parks, whatever the body catches", () =>
    Effect.gen(function*() {
      const world = yield* World.make(deaf)
      yield* world.execute
      const recovered = yield* world.crashed(
        2,
        World.body(({ step }) =>
          step("A").pipe(Effect.andThen(Effect.catchCause(step("X"), () => Effect.succeed("swallowed"))))
        ),
        World.makeParts()
      )
      assert.strictEqual(World.whyParked(yield* recovered.result).why._tag, "Nondeterminism")
      assert.deepStrictEqual(recovered.parts.log, [])
    }).pipe(Effect.scoped))
})

describe("rule 4: a request is named by its fork path, its name and its occurrence", () => {
  it.effect("a loop counts the occurrences of one name, and each has its own key", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.forEach([1, 2, 3], () => step("A")))
      const world = yield* World.make(live)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("A done,A done,A done"))
      assert.deepStrictEqual(yield* world.journal, [
        "SagaStarted, StepStarted A",
        "StepSucceeded A, StepStarted A#2",
        "StepSucceeded A#2, StepStarted A#3",
        "StepSucceeded A#3, SagaCompleted"
      ])
      assert.deepStrictEqual(world.parts.keys, ["A S/1/0/A/0/0", "A S/1/0/A/1/0", "A S/1/0/A/2/0"])
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.strictEqual(cut.world.parts.log.length, 4 - cut.appends)
      }
    }).pipe(Effect.scoped))

  it.effect("one name in two regions, one after the other, is two steps", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => {
        const both = Effect.all([step("A"), step("B")], concurrent)
        return Effect.andThen(both, both)
      })
      const world = yield* World.make(live)
      assert.isTrue(Exit.isSuccess(yield* world.execute))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "A", "B"])
      assert.strictEqual(new Set(world.parts.keys).size, 4)
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.isTrue(Exit.isSuccess(cut.exit), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  const conflicts: ReadonlyArray<readonly [string, (parts: World.Steps) => Effect.Effect<unknown, unknown, unknown>]> =
    [
      ["at the same time", ({ step }) => Effect.all([step("X"), step("X")], concurrent)],
      [
        "when the first has ended",
        ({ step }) => Effect.all([step("X"), Effect.andThen(Effect.sleep("1 second"), step("X"))], concurrent)
      ],
      [
        "when one of them is in a region of its own",
        ({ step }) => Effect.all([Effect.all([step("X"), step("Y")], concurrent), step("X")], concurrent)
      ],
      [
        "when the region takes one at a time",
        ({ step }) => Effect.forEach([1, 2, 3], () => Effect.andThen(step("X"), Effect.yieldNow), { concurrency: 2 })
      ],
      ["when they race", ({ step }) => Effect.race(step("X"), step("X"))]
    ]
  for (const [when, make] of conflicts) {
    it.effect(`two paths of one region that use one name are refused ${when}`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(World.body(make))
        const { why } = World.whyParked(yield* world.execute)
        assert.strictEqual(why._tag, "Defect")
        assert.match(JSON.stringify(why), /X is the name of two steps in one concurrent region/)
        assert.isAtMost(world.parts.log.filter((_) => _ === "X").length, 1)
      }).pipe(Effect.scoped))
  }

  it.effect("paths are the same in every run, however the region is bounded", () =>
    Effect.gen(function*() {
      for (const concurrency of [1, 2, 3, 8]) {
        const live = World.body(({ step }) =>
          Effect.forEach(
            [1, 2, 3, 4, 5, 6],
            (n) => Effect.andThen(Effect.andThen(step(`A${n}`), Effect.yieldNow), step(`B${n}`)),
            { concurrency }
          )
        )
        const parts = partsWith({ A1: [30], A2: [10], B2: [20], A3: [5], A5: [40] })
        const world = yield* World.make(live, parts())
        assert.isTrue(Exit.isSuccess(yield* world.execute), `concurrency ${concurrency}`)
        for (const cut of yield* World.everyCut(world, live, parts)) {
          assert.isTrue(
            Exit.isSuccess(cut.exit),
            `concurrency ${concurrency} after ${cut.appends}: ${String(cut.exit)}`
          )
        }
      }
    }).pipe(Effect.scoped))

  it.effect("forked fibers have paths of their own", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          const one = yield* Effect.forkChild(step("A"))
          const two = yield* Effect.forkChild(step("A"), { startImmediately: true })
          yield* step("A")
          yield* Fiber.join(one)
          yield* Fiber.join(two)
          return yield* step("B")
        })
      )
      const world = yield* World.make(live)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      assert.strictEqual(new Set(world.parts.keys).size, 4)
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("B done"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))
})

describe("rule 5: the body's time and chance come from the journal", () => {
  it.effect("the body reads the time of the last answer it got, live and on replay", () =>
    Effect.gen(function*() {
      const now = (parts: World.Steps) =>
        Effect.flatMap(Clock.currentTimeMillis, (time) => parts.parts.seen("at", time))
      const live = World.body((parts) =>
        Effect.gen(function*() {
          yield* now(parts)
          yield* parts.step("A")
          yield* now(parts)
          yield* Effect.sleep("1 minute")
          yield* now(parts)
          yield* parts.step("B")
          yield* now(parts)
        })
      )
      const times = partsWith({ A: [7_000], B: [3_000] })
      const world = yield* World.make(live, times())
      yield* world.execute
      const seen = world.parts.log.filter((_) => _.startsWith("at="))
      const entries = yield* world.entries
      const recorded = entries.flatMap((entry) =>
        ["SagaStarted", "StepSucceeded", "TimerFired"].includes(entry._tag) ? [`at=${entry.at}`] : []
      )
      assert.deepStrictEqual(seen, recorded)
      assert.strictEqual(new Set(seen).size, 4)
      for (const cut of yield* World.everyCut(world, live, times)) {
        const replayed = cut.world.parts.log.filter((_) => _.startsWith("at="))
        const answered = entries.slice(0, -1)
        assert.strictEqual(replayed.length, 4)
        assert.deepStrictEqual(replayed.slice(0, 1), seen.slice(0, 1), `after ${cut.appends} of ${answered.length}`)
      }
      const last = yield* world.crashed((yield* world.journal).length - 1, live, times())
      yield* last.result
      assert.deepStrictEqual(last.parts.log.filter((_) => _.startsWith("at=")).slice(0, 3), seen.slice(0, 3))
    }).pipe(Effect.provideService(Limits.SuspendAfter, "1 hour"), Effect.scoped))

  it.effect("a sleep is a durable timer: a crash in it does not start it anew", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* Effect.sleep("1 hour")
          yield* step("B")
        })
      )
      const world = yield* World.make(live)
      yield* world.execute
      const set = (yield* world.entries).find((_) => _._tag === "TimerSet")
      const at = (yield* world.journal).findIndex((_) => _.includes("TimerSet")) + 1
      const recovered = yield* world.crashed(at, live)
      yield* recovered.result
      const entries = yield* recovered.entries
      assert.deepStrictEqual(entries.filter((_) => _._tag === "TimerSet"), [set])
      assert.strictEqual(entries.filter((_) => _._tag === "TimerFired").length, 1)
    }).pipe(Effect.scoped))

  it.effect("timeout and retry in a body work on steps, and replay", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          const slow = yield* Effect.exit(Effect.timeout(step("slow"), "1 second"))
          yield* parts.seen("slow", slow._tag)
          yield* Effect.retry(step("flaky"), Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 3 })))
          const quick = yield* Effect.timeout(step("quick"), "1 hour")
          return yield* step(`after ${quick}`)
        })
      )
      const faults = partsWith({ slow: [5_000], flaky: ["refuse", "refuse"] })
      const world = yield* World.make(live, faults())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("after quick done done"))
      assert.deepStrictEqual(world.parts.log, [
        "slow",
        "slow=Failure",
        "flaky",
        "flaky",
        "flaky",
        "quick",
        "after quick done"
      ])
      const appends = yield* world.journal
      assert.match(appends.join("\n"), /TimerWithdrawn sleep/)
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.isTrue(Exit.isSuccess(cut.exit), `after ${cut.appends}: ${String(cut.exit)}\n${appends.join("\n")}`)
      }
    }).pipe(Effect.provideService(Limits.SuspendAfter, "1 hour"), Effect.scoped))

  it.effect("a body draws the same numbers in every run, and another execution draws others", () =>
    Effect.gen(function*() {
      const drawn: Array<number> = []
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          drawn.push(yield* Random.next)
          yield* step("A")
          drawn.push(yield* Random.next)
          yield* step("B")
        })
      )
      const world = yield* World.make(live)
      yield* world.execute
      const first = drawn.splice(0)
      const cuts = yield* World.everyCut(world, live, World.makeParts)
      for (const _ of cuts) assert.deepStrictEqual(drawn.splice(0, 2), first)
      yield* world.use(World.definition.execute({ id: "2" }))
      assert.notDeepEqual(drawn, first)
    }).pipe(Effect.scoped))

  it.effect("a step runs on the engine's clock and chance, not on the body's", () =>
    Effect.gen(function*() {
      const step = Step.make("A", {
        success: Schema.Struct({ now: Schema.Number, random: Schema.Number }),
        execute: Effect.andThen(
          Effect.sleep("10 seconds"),
          Effect.all({ now: Clock.currentTimeMillis, random: Random.next })
        ),
        compensate: () => Effect.void
      })
      const results: Array<unknown> = []
      const live = World.body(() =>
        Effect.gen(function*() {
          const random = yield* Random.next
          const result = yield* step
          results.push([result.now, result.random === random])
        })
      )
      const world = yield* World.make(live)
      yield* world.execute
      assert.deepStrictEqual(results, [[10_000, false]])
      assert.deepStrictEqual((yield* world.entries).filter((_) => _._tag === "TimerSet"), [])
    }).pipe(Effect.scoped))

  it.effect("no entry is older than the one before it", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.forEach([1, 2, 3], (n) => step(`A${n}`)))
      const world = yield* World.make(live, partsWith({ A1: [50], A2: [70] })())
      yield* world.execute
      const times = (yield* world.entries).map((_) => _.at)
      assert.deepStrictEqual(times, [...times].sort((a, b) => a - b))
    }).pipe(Effect.scoped))
})

describe("rule 6: catching a failure undoes nothing", () => {
  it.effect("what a caught region did stays, and is undone when the saga rolls back later", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          const caught = yield* Effect.result(Effect.andThen(step("A"), step("B")))
          yield* parts.seen("caught", Result.isFailure(caught))
          yield* step("C")
          yield* step("D")
        })
      )
      const parts = partsWith({ B: ["refuse"], D: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), refused("D"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "caught=true", "C", "D", "undo C", "undo A"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), refused("D"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))
})

describe("rule 7: what the types cannot see is refused when it happens", () => {
  it.effect("a request of a fiber that is not the body's is refused", () =>
    Effect.gen(function*() {
      const captured = yield* Deferred.make<Execution.Execution["Service"]>()
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* Deferred.succeed(captured, yield* Execution.Execution)
          yield* step("A")
          yield* step("B")
        })
      )
      const world = yield* World.make(live)
      const { step } = World.steps(world.parts)
      world.parts.gate("A")
      yield* world.start
      const execution = yield* Deferred.await(captured)
      yield* Effect.forkChild(Effect.provideService(step("X"), Execution.Execution, execution))
      yield* World.quiet
      yield* world.parts.gate("A").open
      const { why } = World.whyParked(yield* world.result)
      assert.match(JSON.stringify(why), /X was asked by a fiber that is not part of the saga's body/)
      assert.notInclude(world.parts.log, "X")
    }).pipe(Effect.scoped))

  const detached: ReadonlyArray<readonly [string, (parts: World.Steps) => Effect.Effect<unknown, unknown, unknown>]> = [
    ["has asked", ({ step }) => Effect.andThen(Effect.forkDetach(step("X")), step("A"))],
    [
      "asks when the body has ended",
      ({ step }) => Effect.forkDetach(Effect.andThen(step("A"), step("X")), { startImmediately: true })
    ],
    [
      "sleeps",
      ({ step }) => Effect.andThen(Effect.forkDetach(Effect.andThen(Effect.sleep("1 hour"), step("X"))), step("A"))
    ]
  ]
  for (const [how, make] of detached) {
    it.effect(`a detached fiber that ${how} is refused, since nobody waits for it`, () =>
      Effect.gen(function*() {
        const live = World.body((parts) => make(parts))
        const parts = World.makeParts()
        parts.gate("X")
        const world = yield* World.make(live, parts)
        yield* world.start
        yield* World.quiet
        yield* parts.gate("X").open
        const { why } = World.whyParked(yield* world.result)
        assert.match(JSON.stringify(why), /outlives/)
      }).pipe(Effect.scoped))
  }

  const wrongPhase: ReadonlyArray<readonly [string, World.Live, RegExp]> = [
    [
      "a retryable step before the point of no return",
      World.body(({ retryable, step }) => Effect.andThen(step("A"), retryable("X"))),
      /a retryable step is never undone/
    ],
    [
      "a compensable step after it",
      World.settled(({ step }) => ({ attempt: step("A"), settle: () => step("X") })),
      /after the point of no return nothing can be compensated/
    ],
    [
      "a pivot after it",
      World.settled(({ pivot, step }) => ({ attempt: step("A"), settle: () => pivot("X") })),
      /nothing decides/
    ],
    [
      "a compensation held after it",
      World.settled(({ parts, step }) => ({
        attempt: step("A"),
        settle: () => Saga.onRollback("X", () => parts.act("undo X", undefined)) as never
      })),
      /nothing can be compensated/
    ]
  ]
  for (const [what, live, sentence] of wrongPhase) {
    it.effect(`${what} is refused at run time too`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(live)
        const { why } = World.whyParked(yield* world.execute)
        assert.match(JSON.stringify(why), sentence)
        assert.deepStrictEqual(world.parts.log, ["A"])
      }).pipe(Effect.scoped))
  }

  it.effect("a step inside a step finds nobody to ask", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => step("A", { execute: step("B") }))
      const world = yield* World.make(live)
      const { why } = World.whyParked(yield* world.execute)
      assert.match(JSON.stringify(why), /B is a step: yield it in a saga's body/)
      assert.deepStrictEqual(world.parts.log, [])
    }).pipe(Effect.scoped))

  it.effect("a compensation that fails with an undeclared error counts as a defect", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.andThen(
          step("A", { compensate: () => Effect.fail(new Error("undeclared")) }),
          step("B")
        )
      )
      const world = yield* World.make(live, partsWith({ B: ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.unresolved.map((_) => _.step), ["A"])
      assert.match(parked.unresolved[0]!.defect!, /compensationError does not declare/)
    }).pipe(Effect.scoped))
})

describe("journaled values", () => {
  class Money extends Schema.Class<Money>("Money")({ cents: Schema.BigInt, on: Schema.Date }) {
    get text(): string {
      return `${this.cents} on ${this.on.getTime()}`
    }
  }

  it.effect("are class instances and tagged errors, live and on replay", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          const money = yield* step("A", { success: Money, value: new Money({ cents: 5n, on: new Date(7) }) })
          seen.push(money instanceof Money ? money.text : "a plain object")
          const error = yield* Effect.flip(step("B"))
          seen.push(error instanceof Refused ? error.step : "a plain object")
          yield* step("C")
        })
      )
      const parts = partsWith({ B: ["refuse"] })
      const world = yield* World.make(live, parts())
      yield* world.execute
      for (const _ of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(seen.splice(0, 2), ["5 on 7", "B"])
      }
      assert.deepStrictEqual(seen, ["5 on 7", "B"])
    }).pipe(Effect.scoped))

  it.effect("the payload too: the first run gets what later runs get", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const live: World.Live = (parts) =>
        World.definition.toLayer(
          ((payload: unknown) => {
            seen.push(payload)
            return Effect.andThen(parts.step("A"), parts.step("B"))
          }) as never
        )
      const world = yield* World.make(live)
      yield* World.ended(world.use(World.definition.execute({ id: "1", more: () => 1 } as never)))
      yield* World.everyCut(world, live, World.makeParts)
      assert.deepStrictEqual(seen, [{ id: "1" }, { id: "1" }, { id: "1" }])
    }).pipe(Effect.scoped))

  it.effect("that no longer fit their schema park, and nothing runs", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      yield* world.execute
      const recovered = yield* world.crashed(
        2,
        World.body(({ step }) => Effect.andThen(step("A", { success: Schema.Number }), step("B"))),
        World.makeParts()
      )
      const { why } = World.whyParked(yield* recovered.result)
      assert.strictEqual(why._tag, "Undecodable")
      assert.match(JSON.stringify(why), /the outcome of A/)
      assert.deepStrictEqual(recovered.parts.log, [])
    }).pipe(Effect.scoped))
})

describe("a body that contradicts its journal", () => {
  const original = World.body(({ step }) =>
    Effect.gen(function*() {
      yield* step("A")
      yield* step("B")
      yield* step("C")
      return yield* step("D")
    })
  )
  const others: ReadonlyArray<readonly [string, World.Live, string, string]> = [
    [
      "without a step",
      World.body(({ step }) => step("A").pipe(Effect.andThen(step("C")), Effect.andThen(step("D")))),
      "step B (compensable)",
      "step C (compensable)"
    ],
    [
      "with a renamed step",
      World.body(({ step }) => step("A").pipe(Effect.andThen(step("B2")), Effect.andThen(step("C")))),
      "step B (compensable)",
      "step B2 (compensable)"
    ],
    [
      "with a step of another kind",
      World.body(({ readonly, step }) => step("A").pipe(Effect.andThen(readonly("B")), Effect.andThen(step("C")))),
      "step B (compensable)",
      "step B (readonly)"
    ],
    [
      "with a step inserted",
      World.body(({ step }) => step("A").pipe(Effect.andThen(step("New")), Effect.andThen(step("B")))),
      "step B (compensable)",
      "step New (compensable)"
    ],
    [
      "with steps in another order",
      World.body(({ step }) => step("B").pipe(Effect.andThen(step("A")), Effect.andThen(step("C")))),
      "step A (compensable)",
      "step B (compensable)"
    ],
    ["that ends too soon", World.body(({ step }) => step("A")), "step B (compensable)", "nothing, it completed"],
    [
      "that waits for a timer instead",
      World.body(({ step }) => step("A").pipe(Effect.andThen(Effect.sleep(5)), Effect.andThen(step("B")))),
      "step B (compensable)",
      "timer sleep"
    ]
  ]
  for (const [how, live, journal, asks] of others) {
    it.effect(`${how} parks, names both sides, and runs nothing; with the code back it goes on`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(original)
        yield* world.execute
        const recovered = yield* world.crashed(3, live, World.makeParts())
        const parked = World.whyParked(yield* recovered.result)
        assert.deepStrictEqual(parked.why, { _tag: "Nondeterminism", journal, body: asks })
        assert.deepStrictEqual(recovered.parts.log, [])
        const before = yield* recovered.journal
        const back = yield* recovered.crashed(before.length, original, recovered.parts)
        yield* back.resume
        assert.deepStrictEqual(yield* back.result, Exit.succeed("D done"))
        assert.deepStrictEqual(back.parts.log, ["C", "D"])
      }).pipe(Effect.scoped))
  }

  it.effect("a point of no return that moved is a contradiction", () =>
    Effect.gen(function*() {
      const live = World.settled(({ retryable, step }) => ({ attempt: step("A"), settle: () => retryable("B") }))
      const world = yield* World.make(live)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("B done"))
      const recovered = yield* world.crashed(2, World.body(({ step }) => step("A")), World.makeParts())
      assert.deepStrictEqual(World.whyParked(yield* recovered.result).why, {
        _tag: "Nondeterminism",
        journal: "the point of no return",
        body: "nothing, it completed"
      })
    }).pipe(Effect.scoped))

  it.effect("a body may ask more at its end than it did before", () =>
    Effect.gen(function*() {
      const world = yield* World.make(original)
      yield* world.execute
      const longer = World.body(({ step }) =>
        step("A").pipe(Effect.andThen(step("B")), Effect.andThen(step("C")), Effect.andThen(step("E")))
      )
      const recovered = yield* world.crashed(3, longer, World.makeParts())
      assert.deepStrictEqual(yield* recovered.result, Exit.succeed("E done"))
      assert.deepStrictEqual(recovered.parts.log, ["C", "E"])
    }).pipe(Effect.scoped))
})

describe("defects", () => {
  it.effect("in a step park the execution; resumed, the step runs again with its key", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => step("A").pipe(Effect.andThen(step("B")), Effect.andThen(step("C"))))
      const world = yield* World.make(live, partsWith({ B: ["die"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.why, { _tag: "Defect", step: "B", message: "Error: B is broken" })
      assert.deepStrictEqual(parked.unresolved, [])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("C done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "B", "C"])
      const keys = world.parts.keys.filter((_) => _.startsWith("B"))
      assert.strictEqual(keys[0], keys[1])
    }).pipe(Effect.scoped))

  it.effect("in the body park it and undo nothing; resumed with the code mended it goes on", () =>
    Effect.gen(function*() {
      const broken = World.body(({ step }) => Effect.andThen(step("A"), Effect.die(new Error("a bug"))))
      const world = yield* World.make(broken)
      assert.deepStrictEqual(World.whyParked(yield* world.execute).why, { _tag: "Defect", message: "Error: a bug" })
      const mended = yield* world.crashed(
        (yield* world.journal).length,
        World.body(({ step }) => Effect.andThen(step("A"), step("B")))
      )
      yield* mended.resume
      assert.deepStrictEqual(yield* mended.result, Exit.succeed("B done"))
      assert.deepStrictEqual(mended.parts.log, ["A", "B"])
    }).pipe(Effect.scoped))

  it.effect("that a body throws synchronously, before it asks anything, park it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(() => {
        throw new Error("at once")
      }))
      assert.deepStrictEqual(World.whyParked(yield* world.execute).why, { _tag: "Defect", message: "Error: at once" })
    }).pipe(Effect.scoped))

  it.effect("beside a sibling in flight: it is awaited, journaled, and answered after the resume", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => Effect.all([step("A"), Effect.andThen(step("B"), step("C"))], concurrent))
      const world = yield* World.make(live, partsWith({ A: ["die"] })())
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      yield* World.quiet
      yield* world.parts.gate("B").open
      World.whyParked(yield* world.result)
      assert.deepStrictEqual(world.parts.log, ["A", "B"])
      assert.match((yield* world.journal).join(), /StepSucceeded B.*SagaParked$/)
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("A done,C done"))
      assert.deepStrictEqual(world.parts.log.filter((_) => _ === "B"), ["B"])
    }).pipe(Effect.scoped))

  it.effect("an interruption that the body causes itself parks it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), Effect.interrupt)))
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Defect")
    }).pipe(Effect.scoped))

  it.effect("a step that interrupts its own fiber parks, and is not waited for", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        step("A", {
          execute: Effect.withFiber((fiber) => Effect.andThen(Effect.sync(() => fiber.interruptUnsafe()), Effect.never))
        })
      )
      const world = yield* World.make(live)
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Defect")
    }).pipe(Effect.scoped))
})

describe("what the body provides", () => {
  class Region extends Context.Service<Region, string>()("test/Region") {}

  it.effect("reaches its steps, and their compensations also after a crash", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(
          Effect.provideService(
            Step.make("A", {
              execute: Effect.flatMap(Region, (region) => parts.seen("do in", region)),
              compensate: () => Effect.flatMap(Region, (region) => parts.seen("undo in", region))
            }) as never,
            Region,
            "north"
          ),
          step("B")
        )
      )
      const parts = partsWith({ B: ["refuse"] })
      const world = yield* World.make(live, parts())
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["do in=north", "B", "undo in=north"])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.strictEqual(cut.world.parts.log.at(-1), "undo in=north", `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))
})
