/**
 * What DTM's tests of its workflow mode show: a transfer between two accounts whose branches succeed, fail, are still
 * going on, or are cut off by a crash and taken up again by the server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schedule } from "effect"
import { Saga, SagaError, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import { Refused, Stuck } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const failure = (branch: string) => new Refused({ step: branch })
const minutes = (times: number) => Schedule.spaced("1 minute").pipe(Schedule.upTo({ times }))

const partsWith = (faults: Readonly<Record<string, ReadonlyArray<World.Fault>>> = {}) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

/** Takes money from one account and puts it on the other. */
const transfer = (given: World.PartOptions = {}) =>
  World.body(({ step }) => Effect.andThen(step("TransOut", given), step("TransIn", given)))

/** The result, or the error. */
const ending = (exit: Exit.Exit<unknown, unknown>) => Exit.isSuccess(exit) ? exit.value : World.errorOf(exit)

const reasonOf = (error: unknown) => {
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason._tag
}

describe("a transfer", () => {
  it.effect("succeeds when both branches do", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("TransIn done"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn"])
    }).pipe(Effect.scoped))

  it.effect("is rolled back when the second branch answers FAILURE, and fails with that", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer(), partsWith({ TransIn: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), failure("TransIn"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn", "undo TransOut"])
    }).pipe(Effect.scoped))

  it.effect("with a first branch that fails has nothing to undo: no empty compensation is sent", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer(), partsWith({ TransOut: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), failure("TransOut"))
      assert.deepStrictEqual(world.parts.log, ["TransOut"])
    }).pipe(Effect.scoped))

  it.effect("is retried by the server when a branch answers with another error than FAILURE", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        transfer({ retry: Schedule.spaced("1 second") }),
        partsWith({ TransOut: ["refuse", "refuse"] })()
      )
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("TransIn done"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransOut", "TransOut", "TransIn"])
    }).pipe(Effect.scoped))
})

describe("a crash, and the server that resumes", () => {
  for (
    const [title, faults, end] of [
      ["that succeeds", {}, "TransIn done"],
      ["whose second branch fails", { TransIn: ["refuse"] }, failure("TransIn")],
      ["whose first branch fails", { TransOut: ["refuse"] }, failure("TransOut")]
    ] as const
  ) {
    it.effect(`a transfer ${title} ends so after a crash at any append; what is recorded is skipped`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(transfer(), partsWith(faults)())
        assert.deepStrictEqual(ending(yield* world.execute), end)
        const journal = yield* world.journal
        for (const cut of yield* World.everyCut(world, transfer(), partsWith(faults))) {
          assert.deepStrictEqual(ending(cut.exit), end)
          const recorded = journal.slice(0, cut.appends).join()
          for (const branch of ["TransOut", "TransIn"]) {
            if (recorded.includes(`StepSucceeded ${branch}`) || recorded.includes(`StepFailed ${branch}`)) {
              assert.notInclude(cut.world.parts.log, branch, `after ${cut.appends}`)
            }
            if (recorded.includes(`CompensationSucceeded ${branch}`)) {
              assert.notInclude(cut.world.parts.log, `undo ${branch}`, `after ${cut.appends}`)
            }
          }
        }
      }).pipe(Effect.scoped))
  }

  it.effect("a branch that was asked and not recorded is asked again under its key: the other side's barrier", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer())
      world.parts.gate("TransIn")
      yield* world.start
      yield* world.parts.hasBegun("TransIn")
      const next = yield* world.crashed((yield* world.journal).length, transfer(), World.makeParts())
      assert.deepStrictEqual(yield* next.result, Exit.succeed("TransIn done"))
      assert.deepStrictEqual(next.parts.log, ["TransIn"])
      assert.strictEqual(next.parts.keys[0], world.parts.keys[1])
      yield* world.parts.gate("TransIn").open
    }).pipe(Effect.scoped))

  it.effect("a process that crashes at every branch and every compensation, one after the other, still ends it", () =>
    Effect.gen(function*() {
      const acts: Array<string> = []
      const faults = { TransIn: ["refuse"] } as const
      let world = yield* World.make(transfer(), partsWith(faults)())
      for (const act of ["TransOut", "TransIn", "undo TransOut"]) {
        world.parts.gate(act)
        if (act === "TransOut") yield* world.start
        else yield* Effect.forkChild(world.result)
        yield* world.parts.hasBegun(act)
        acts.push(...world.parts.log)
        const before = world
        const parts = partsWith(faults)()
        parts.gate("TransIn")
        parts.gate("undo TransOut")
        world = yield* before.crashed((yield* before.journal).length, transfer(), parts)
        // Whoever died does not come back; its participant only lets it go.
        yield* before.parts.gate(act).open
        yield* world.parts.gate(act).open
      }
      assert.deepStrictEqual(World.errorOf(yield* world.result), failure("TransIn"))
      assert.deepStrictEqual(acts, ["TransOut", "TransOut", "TransIn", "TransIn", "undo TransOut"])
      assert.deepStrictEqual(world.parts.log, ["undo TransOut"])
    }).pipe(Effect.scoped))
})

describe("a compensation that fails", () => {
  const withRetry = transfer({ compensation: { retry: minutes(3) } })

  it.effect("first, is tried again by its schedule, under one key, and the transfer is rolled back", () =>
    Effect.gen(function*() {
      const faults = { TransIn: ["refuse"], "undo TransOut": ["refuse", "refuse"] } as const
      const world = yield* World.make(withRetry, partsWith(faults)())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), failure("TransIn"))
      assert.deepStrictEqual(world.parts.log.slice(2), ["undo TransOut", "undo TransOut", "undo TransOut"])
      assert.strictEqual(new Set(world.parts.keys.slice(2)).size, 1)
    }).pipe(Effect.scoped))

  it.effect("for good, parks the transfer with both errors; resumed, it goes on until it is rolled back", () =>
    Effect.gen(function*() {
      const faults = { TransIn: ["refuse"], "undo TransOut": ["refuse", "refuse", "refuse", "refuse"] } as const
      const world = yield* World.make(withRetry, partsWith(faults)())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.original, { _tag: "Failed", error: failure("TransIn") })
      assert.deepStrictEqual(parked.unresolved, [
        { step: "TransOut", attempts: 4, error: new Stuck({ step: "TransOut" }), defect: undefined }
      ])
      yield* world.resume
      assert.deepStrictEqual(World.errorOf(yield* world.result), failure("TransIn"))
    }).pipe(Effect.scoped))

  it.effect("is of no branch that failed itself, unless it is held before the branch (CompensateErrorBranch)", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          yield* Saga.onRollback("RevertOut", () => parts.act("revert out", undefined))
          yield* step("TransOut")
          yield* Saga.onRollback("RevertIn", () => parts.act("revert in", undefined))
          yield* step("TransIn")
        })
      )
      const faults = partsWith({ TransIn: ["refuse"] })
      const world = yield* World.make(live, faults())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), failure("TransIn"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn", "revert in", "undo TransOut", "revert out"])
      for (const cut of yield* World.everyCut(world, live, faults)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), failure("TransIn"), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))
})

describe("OnCommit and OnRollback", () => {
  /** Each branch is tried; what is to be done at the end is held before it, one way and the other. */
  const tryConfirmCancel = World.body(({ parts, readonly }) =>
    Effect.forEach(["Out", "In"] as const, (branch) =>
      Effect.gen(function*() {
        yield* Saga.onCommit(`Confirm${branch}`, parts.act(`confirm ${branch}`, undefined))
        yield* Saga.onRollback(`Cancel${branch}`, () => parts.act(`cancel ${branch}`, undefined))
        return yield* readonly(`Try${branch}`)
      }))
  )

  it.effect("all is tried, then committed in the order in which it was held; nothing is cancelled", () =>
    Effect.gen(function*() {
      const world = yield* World.make(tryConfirmCancel)
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["TryOut", "TryIn", "confirm Out", "confirm In"])
      for (const cut of yield* World.everyCut(world, tryConfirmCancel, World.makeParts)) {
        assert.isTrue(Exit.isSuccess(cut.exit), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))

  it.effect("or cancelled, the last held first; nothing is committed", () =>
    Effect.gen(function*() {
      const world = yield* World.make(tryConfirmCancel, partsWith({ TryIn: ["refuse"] })())
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["TryOut", "TryIn", "cancel In", "cancel Out"])
    }).pipe(Effect.scoped))

  it.effect("a commit may fail: it is tried until it succeeds, and nothing is cancelled any more", () =>
    Effect.gen(function*() {
      const world = yield* World.make(tryConfirmCancel, partsWith({ "confirm Out": ["refuse", "refuse"] })())
      assert.isTrue(Exit.isSuccess(yield* world.execute))
      assert.deepStrictEqual(world.parts.log.slice(2), ["confirm Out", "confirm Out", "confirm Out", "confirm In"])
    }).pipe(Effect.scoped))
})

describe("a branch that is still going on", () => {
  /** The branch takes its time; who asks again learns how far it is. */
  const ongoing = (answers: ReadonlyArray<unknown>) => {
    const left = [...answers]
    return World.body(({ parts, step }) =>
      Effect.andThen(
        step("TransOut"),
        step("TransIn", {
          timeout: "10 seconds",
          retry: minutes(5),
          check: () => Effect.orDie(Effect.map(parts.act("ask TransIn", undefined), () => left.shift()))
        })
      )
    )
  }
  const slow = partsWith({ TransIn: ["hang"] })

  it.effect("is asked again, and not started again, until it has succeeded", () =>
    Effect.gen(function*() {
      const live = ongoing([Step.stillGoing, Step.stillGoing, Step.happened("arrived")])
      const world = yield* World.make(live, slow())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("arrived"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn", "ask TransIn", "ask TransIn", "ask TransIn"])
    }).pipe(Effect.scoped))

  it.effect("or until it has failed: then it is asked for anew while its schedule lasts", () =>
    Effect.gen(function*() {
      const live = ongoing([Step.stillGoing, Step.never])
      const world = yield* World.make(live, slow())
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("TransIn done"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn", "ask TransIn", "ask TransIn", "TransIn"])
    }).pipe(Effect.scoped))

  it.effect("undoes nothing meanwhile: a roll-back waits for its answer", () =>
    Effect.gen(function*() {
      const live = ongoing([Step.stillGoing, Step.happened("arrived")])
      const world = yield* World.make(live, slow())
      yield* world.start
      yield* TestClock.adjust("20 seconds")
      yield* world.cancel()
      yield* World.quiet
      assert.notInclude(world.parts.log, "undo TransOut")
      assert.strictEqual(reasonOf(World.errorOf(yield* world.result)), "Cancelled")
      assert.deepStrictEqual(world.parts.log, [
        "TransOut",
        "TransIn",
        "ask TransIn",
        "ask TransIn",
        "undo TransIn",
        "undo TransOut"
      ])
    }).pipe(Effect.scoped))
})

describe("a transfer that is submitted twice", () => {
  it.effect("under one gid is one transfer, while it runs and after it has ended, with one result", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer())
      world.parts.gate("TransIn")
      yield* world.start
      yield* world.start
      yield* world.parts.gate("TransIn").open
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("TransIn done"))
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("TransIn done"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn"])
    }).pipe(Effect.scoped))

  it.effect("and has failed is not tried again", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer(), partsWith({ TransIn: ["refuse"] })())
      assert.deepStrictEqual(World.errorOf(yield* world.execute), failure("TransIn"))
      assert.deepStrictEqual(World.errorOf(yield* world.execute), failure("TransIn"))
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn", "undo TransOut"])
    }).pipe(Effect.scoped))

  it.effect("with other data under one gid is refused", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer())
      yield* world.execute
      const other = world.use(World.definition.execute({ id: "1", note: "twice as much" }))
      assert.strictEqual(reasonOf(yield* Effect.flip(other)), "PayloadMismatch")
    }).pipe(Effect.scoped))

  it.effect("to two processes at once is done by one of them", () =>
    Effect.gen(function*() {
      const world = yield* World.make(transfer())
      const other = yield* world.beside(transfer())
      const [first, second] = yield* Effect.all([world.execute, other.execute], { concurrency: 2 })
      assert.deepStrictEqual([first, second], [Exit.succeed("TransIn done"), Exit.succeed("TransIn done")])
      assert.deepStrictEqual(world.parts.log, ["TransOut", "TransIn"])
    }).pipe(Effect.scoped))
})
