/**
 * `Saga.rollback` undoes named steps in the middle of a body; `Saga.isExecuted` and `Saga.executedSteps` say what has
 * happened and is not undone: live, on replay, and without a journal.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule } from "effect"
import { Saga, SagaError, Step } from "effect-saga"
import { Refused, Shop, step as shopStep } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const concurrent = { concurrency: "unbounded" } as const

const partsWith = (faults: Record<string, Array<World.Fault>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

const seen = (log: ReadonlyArray<string>) => log.filter((_) => _.includes("="))
const undone = (log: ReadonlyArray<string>) => log.filter((_) => _.startsWith("undo "))
const keysOf = (parts: World.Parts, act: string) =>
  parts.keys.filter((_) => _.startsWith(`${act} S/`)).map((_) => _.slice(act.length + 1))

/** Rolls the named steps back and writes down what it was told. */
const rollback = (parts: World.Parts, ...names: ReadonlyArray<string>) =>
  Effect.tap(Saga.rollback(...names), (names) => parts.seen("undone", names.join("+")))

const executed = (parts: World.Parts) =>
  Effect.flatMap(Saga.executedSteps, (names) => parts.seen("executed", names.join("+")))

describe("Saga.rollback", () => {
  it.effect("undoes the named steps at once, the last one first, and answers their names in that order", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        Effect.gen(function*() {
          for (const name of ["A", "B", "C"]) yield* step(name)
          yield* rollback(parts, "A", "C")
          return yield* step("D")
        })
      ))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("D done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo C", "undo A", "undone=C+A", "D"])
      assert.deepStrictEqual(
        (yield* world.poll).compensations.map((_: any) => `${_.step} ${_.status}`),
        ["A completed", "B pending", "C completed", "D pending"]
      )
    }).pipe(Effect.scoped))

  it.effect("what it undid is not undone again when the saga rolls back; the rest is", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, step }) =>
          Effect.gen(function*() {
            for (const name of ["A", "B", "C"]) yield* step(name)
            yield* rollback(parts, "B")
            return yield* step("D")
          })
        ),
        partsWith({ D: ["refuse"] })()
      )
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "D" }))
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo C", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("a step may be executed again afterwards, under a key of its own, and is undone later", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, step }) =>
          Effect.gen(function*() {
            yield* step("A")
            yield* rollback(parts, "A")
            yield* step("A")
            return yield* step("B")
          })
        ),
        partsWith({ B: ["refuse"] })()
      )
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["A", "undo A", "undone=A", "A", "B", "undo A"])
      assert.deepStrictEqual(keysOf(world.parts, "A"), ["S/1/0/A/0/0", "S/1/0/A/1/0"])
      assert.deepStrictEqual(keysOf(world.parts, "undo A"), ["S/1/0/A/0/compensation", "S/1/0/A/1/compensation"])
    }).pipe(Effect.scoped))

  it.effect("all occurrences of a name that have happened are undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* step("B")
          yield* step("A")
          yield* rollback(parts, "A")
          return yield* rollback(parts, "A")
        })
      ))
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["A", "B", "A", "undo A", "undo A", "undone=A+A", "undone="])
    }).pipe(Effect.scoped))

  it.effect("names that are unknown, refused, undone already, or only read pass", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, readonly, step }) =>
          Effect.gen(function*() {
            yield* step("A")
            yield* readonly("Look")
            yield* Effect.ignore(step("B"))
            yield* rollback(parts, "A")
            yield* rollback(parts, "A", "B", "Look", "Nobody")
            yield* rollback(parts)
            yield* executed(parts)
          })
        ),
        partsWith({ B: ["refuse"] })()
      )
      yield* world.execute
      assert.deepStrictEqual(seen(world.parts.log), ["undone=A", "undone=", "undone=", "executed=Look"])
      assert.deepStrictEqual(undone(world.parts.log), ["undo A"])
    }).pipe(Effect.scoped))

  it.effect("two at once that name the same step undo it once", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, step }) =>
          Effect.gen(function*() {
            yield* step("A", { compensation: { retry: Schedule.spaced("1 second") } })
            yield* step("B")
            yield* Effect.all([rollback(parts, "A"), rollback(parts, "A", "B")], concurrent)
          })
        ),
        partsWith({ "undo A": ["refuse"] })()
      )
      assert.isTrue(Exit.isSuccess(yield* world.execute))
      assert.deepStrictEqual(undone(world.parts.log), ["undo A", "undo B", "undo A"])
      assert.deepStrictEqual(seen(world.parts.log), ["undone=B", "undone=A"])
    }).pipe(Effect.scoped))

  it.effect("beside a Saga.scoped that is being undone passes over what belongs to that", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(({ parts, step }) =>
          Effect.all([
            Effect.ignore(Saga.scoped(Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))))),
            Effect.andThen(step("X"), Effect.andThen(rollback(parts, "A", "X"), rollback(parts, "A")))
          ], concurrent)
        ),
        partsWith({ C: ["refuse"] })()
      )
      world.parts.gate("undo B")
      world.parts.gate("X")
      yield* world.start
      yield* world.parts.hasBegun("undo B")
      yield* world.parts.gate("X").open
      yield* World.quiet
      yield* world.parts.gate("undo B").open
      assert.isTrue(Exit.isSuccess(yield* world.result))
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo X", "undo A"])
      assert.deepStrictEqual(seen(world.parts.log), ["undone=X", "undone="])
    }).pipe(Effect.scoped))

  it.effect("after a crash in the middle of it, it goes on and answers the same", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          for (const name of ["A", "B", "C"]) yield* step(name)
          yield* rollback(parts, "A", "B", "C")
          yield* executed(parts)
          return yield* step("D")
        })
      )
      const world = yield* World.make(live)
      yield* world.execute
      const begun = (yield* world.journal).findIndex((_) => _.includes("StepsRollbackStarted"))
      assert.isAbove(begun, 0)
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        const where = `after ${cut.appends}`
        assert.deepStrictEqual(cut.exit, Exit.succeed("D done"), where)
        assert.deepStrictEqual(seen(cut.world.parts.log), ["undone=C+B+A", "executed="], where)
        const entries = yield* cut.world.entries
        const undoing = entries.flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        assert.deepStrictEqual(undoing, ["C", "B", "A"], where)
        // What is recorded as undone is not undone again.
        const before = (yield* world.journal).slice(0, cut.appends).join()
        for (const name of ["A", "B", "C"]) {
          if (before.includes(`CompensationSucceeded ${name}`)) assert.notInclude(cut.world.parts.log, `undo ${name}`)
        }
      }
    }).pipe(Effect.scoped))

  it.effect("a compensation that fails for good parks before the body goes on; a resume tries it again", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          for (const name of ["A", "B", "C"]) yield* step(name)
          yield* rollback(parts, "A", "B")
          return yield* step("D")
        })
      )
      const world = yield* World.make(live, partsWith({ "undo B": ["refuse", "refuse"] })())
      for (let times = 0; times < 2; times++) {
        const reason = World.whyParked(yield* (times === 0 ? world.execute : world.result))
        assert.strictEqual(reason.why._tag, "CompensationFailed")
        assert.deepStrictEqual(reason.unresolved.map((_) => `${_.step} ${_.attempts}`), [`B ${times + 1}`])
        assert.isUndefined(reason.original)
        assert.notInclude(world.parts.log, "D")
        yield* world.resume
        yield* World.quiet
      }
      assert.deepStrictEqual(yield* world.result, Exit.succeed("D done"))
      // What it did beside that is not done twice, and the body is told of both.
      assert.deepStrictEqual(undone(world.parts.log), ["undo B", "undo A", "undo B", "undo B"])
      assert.strictEqual(world.parts.log.filter((_) => _ === "undone=B+A").length, 1)
      assert.strictEqual(new Set(keysOf(world.parts, "undo B")).size, 1)
    }).pipe(Effect.scoped))

  it.effect("a cancel in the middle of it waits for it, then undoes the rest; the body is not told", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          for (const name of ["A", "B", "C"]) yield* step(name)
          yield* rollback(parts, "B")
          return yield* step("D")
        })
      )
      const world = yield* World.make(live)
      const gate = world.parts.gate("undo B")
      yield* world.start
      yield* world.parts.hasBegun("undo B")
      yield* world.cancel()
      yield* World.quiet
      assert.deepStrictEqual(undone(world.parts.log), ["undo B"])
      yield* gate.open
      const error = World.errorOf(yield* world.result)
      assert.instanceOf(error, SagaError.SagaError)
      assert.strictEqual(error.reason._tag, "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B", "undo C", "undo A"])
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        const entries = yield* cut.world.entries
        const undoing = entries.flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
        const cancelled = entries.some((_) => _._tag === "CancelRequested")
        assert.deepStrictEqual(undoing, cancelled ? ["B", "C", "A"] : ["B"], `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("a carrier for one that failed: undo what belongs to it, and take another", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* step("Reserve")
          const by = (carrier: string) => Saga.scoped(Effect.andThen(step(`Label ${carrier}`), step(carrier)))
          const shipped = yield* Effect.catch(by("DHL"), () => by("UPS"))
          yield* executed(parts)
          yield* parts.seen("DHL", yield* Saga.isExecuted("Label DHL"))
          return shipped
        })
      )
      const parts = partsWith({ DHL: ["refuse"] })
      const world = yield* World.make(live, parts())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("UPS done"))
      assert.deepStrictEqual(world.parts.log, [
        "Reserve",
        "Label DHL",
        "DHL",
        "undo Label DHL",
        "Label UPS",
        "UPS",
        "executed=Reserve+Label UPS+UPS",
        "DHL=false"
      ])
      for (const cut of yield* World.everyCut(world, live, parts)) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("UPS done"), `after ${cut.appends}`)
        assert.deepStrictEqual(seen(cut.world.parts.log), seen(world.parts.log), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("past the point of no return is a bug: nothing is undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.settled(({ parts, step }) => ({
        attempt: step("A"),
        settle: () => Effect.as(rollback(parts, "A"), "done")
      })))
      const { why } = World.whyParked(yield* world.execute)
      assert.strictEqual(why._tag, "Defect")
      assert.include(why._tag === "Defect" ? why.message : "", "Saga.rollback belongs before")
      assert.deepStrictEqual(world.parts.log, ["A"])
    }).pipe(Effect.scoped))
})

describe("Saga.isExecuted and Saga.executedSteps", () => {
  /** Runs a body live and from every cut: what it sees must be the same, as far as it sees it again. */
  const sameOnReplay = (
    live: World.Live,
    expected: ReadonlyArray<string>,
    faults: Record<string, Array<World.Fault>>
  ) =>
    Effect.gen(function*() {
      const world = yield* World.make(live, partsWith(faults)())
      const exit = yield* world.execute
      assert.deepStrictEqual(seen(world.parts.log), expected)
      for (const cut of yield* World.everyCut(world, live, partsWith(faults))) {
        assert.deepStrictEqual(cut.exit, exit, `after ${cut.appends}`)
        assert.deepStrictEqual(seen(cut.world.parts.log), expected, `after ${cut.appends}`)
      }
    })

  it.effect("say what has happened, in that order, and not what was undone: live and from every cut", () =>
    sameOnReplay(
      World.body(({ parts, readonly, step }) =>
        Effect.gen(function*() {
          yield* executed(parts)
          yield* step("A")
          yield* readonly("Look")
          yield* step("B")
          yield* executed(parts)
          yield* rollback(parts, "A")
          yield* executed(parts)
          yield* parts.seen("A", yield* Saga.isExecuted("A"))
          yield* step("A")
          yield* executed(parts)
          yield* parts.seen("A", yield* Saga.isExecuted("A"))
          return yield* step("C")
        })
      ),
      [
        "executed=",
        "executed=A+Look+B",
        "undone=A",
        "executed=Look+B",
        "A=false",
        "executed=Look+B+A",
        "A=true"
      ],
      {}
    ).pipe(Effect.scoped))

  it.effect("do not count a hook, nor a step that refused", () =>
    sameOnReplay(
      World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* Saga.onRollback("Apologize", () => Effect.void)
          yield* Saga.onCommit("Invoice", Effect.void)
          yield* Effect.ignore(step("B"))
          yield* executed(parts)
          return yield* step("C")
        })
      ),
      ["executed="],
      { B: ["refuse"] }
    ).pipe(Effect.scoped))

  it.effect("inside a concurrent region say what the body has been told, live and from every cut", () =>
    sameOnReplay(
      World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* Effect.all([
            Effect.andThen(step("X"), executed(parts)),
            Effect.andThen(Effect.andThen(Effect.sleep("1 second"), step("Y")), executed(parts)),
            Effect.andThen(Effect.andThen(Effect.sleep("2 seconds"), step("Z")), executed(parts))
          ], concurrent)
          yield* executed(parts)
        })
      ),
      ["executed=X", "executed=X+Y", "executed=X+Y+Z", "executed=X+Y+Z"],
      {}
    ).pipe(Effect.scoped))

  it.effect("two that end in one append: each path sees what was delivered to it", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.all([Effect.andThen(step("X"), executed(parts)), Effect.andThen(step("Y"), executed(parts))], concurrent)
      )
      const world = yield* World.make(live)
      yield* world.execute
      const live_ = seen(world.parts.log)
      assert.deepStrictEqual(live_, ["executed=X", "executed=X+Y"])
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(seen(cut.world.parts.log), live_, `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("after a Saga.scoped failed leave out what it undid, live and from every cut", () =>
    sameOnReplay(
      World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* Effect.ignore(Saga.scoped(
            Effect.gen(function*() {
              yield* step("B")
              yield* Effect.ignore(Saga.scoped(Effect.andThen(step("C"), step("D"))))
              yield* executed(parts)
              return yield* step("E")
            })
          ))
          yield* executed(parts)
          return yield* step("F")
        })
      ),
      ["executed=A+B", "executed=A"],
      { D: ["refuse"], E: ["refuse"] }
    ).pipe(Effect.scoped))
})

describe("Saga.transact", () => {
  const shopped = <A, E>(test: Effect.Effect<A, E, Shop>) => Effect.provide(test, Shop.layer)

  it.effect("undoes named steps, answers them, and lets them happen again", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      const answers: Array<ReadonlyArray<string>> = []
      shop.faults.set("C", ["refuse"])
      const note = Effect.map(Saga.executedSteps, (names) => void answers.push(names))
      yield* Effect.flip(Saga.transact(Effect.gen(function*() {
        yield* shopStep("A")
        yield* shopStep("B")
        yield* note
        answers.push(yield* Saga.rollback("Nobody", "A", "B"))
        yield* note
        yield* shopStep("A")
        yield* note
        yield* shopStep("C")
      })))
      assert.deepStrictEqual(answers, [["A", "B"], ["B", "A"], [], ["A"]])
      assert.deepStrictEqual(shop.names(), ["A", "B", "undo B", "undo A", "A", "C", "undo A"])
      const keys = shop.log.filter((_) => _.step === "A" && _.act === "do").map((_) => _.key)
      assert.strictEqual(new Set(keys).size, 2)
    })))

  it.effect("a named compensation that fails for good ends the body: nothing after it runs, the rest is undone", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("undo B", ["refuse"])
      const error = yield* Effect.flip(Saga.transact(
        shopStep("A").pipe(
          Effect.andThen(shopStep("B")),
          Effect.andThen(Saga.rollback("B")),
          Effect.andThen(shopStep("C"))
        )
      ))
      assert.instanceOf(error, SagaError.SagaError)
      assert.strictEqual(error.reason._tag, "Parked")
      assert.deepStrictEqual(shop.names(), ["A", "B", "undo B", "undo A"])
    })))

  it.effect("two at once that name the same step undo it once", () =>
    shopped(Effect.gen(function*() {
      const shop = yield* Shop
      const slow = Step.make("Slow", {
        execute: Effect.void,
        compensate: () => Effect.andThen(Effect.orDie(Shop.use((_) => _.run("undo", "Slow"))), Effect.yieldNow)
      })
      const fiber = yield* Effect.forkChild(Saga.transact(
        Effect.andThen(slow, Effect.all([Saga.rollback("Slow"), Saga.rollback("Slow")], concurrent))
      ))
      assert.deepStrictEqual(yield* Fiber.join(fiber), [["Slow"], []])
      assert.deepStrictEqual(shop.names(), ["undo Slow"])
    })))
})
