/**
 * What persons see of executions, and what they answer for those that are parked.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schedule, Schema, Stream } from "effect"
import { Saga, SagaEngine, SagaError, SagaInspector, SagaStore, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Process from "./utils/Process.ts"
import { Refused, Stuck } from "./utils/Shop.ts"
import * as World from "./utils/World.ts"

const inspectorOf = (world: World.World) =>
  world.use(Effect.provideService(SagaInspector.make, SagaStore.SagaStore, world.recorded.store))

const partsWith = (faults: Record<string, ReadonlyArray<World.Fault>>) => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

const row = World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))))

/** Lets what was sent be taken. */
const taken = Effect.andThen(World.quiet, Effect.andThen(TestClock.adjust("2 seconds"), World.quiet))

const reasonOf = (error: unknown): any => {
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason
}

const refusal = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(Effect.flip(effect), reasonOf)

describe("a compensation that failed for good", () => {
  const parked = Effect.gen(function*() {
    const world = yield* World.make(row, partsWith({ C: ["refuse"], "undo B": ["refuse"] }))
    assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "CompensationFailed")
    return { world, inspector: yield* inspectorOf(world) }
  })

  it.effect("has a record: of what, how often, how long, why", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* parked
      const records = yield* inspector.compensations(world.id)
      assert.deepStrictEqual(records.map(({ attempts, status, step }) => [step, status, attempts]), [
        ["A", "completed", 1],
        ["B", "failed", 1]
      ])
      assert.deepStrictEqual(records[1]!.error, { _tag: "Stuck", step: "B" })
      assert.isNumber(records[1]!.duration)
      const polled = yield* world.poll
      assert.deepStrictEqual(polled.compensations, records)
      assert.deepStrictEqual(polled.steps, yield* inspector.steps(world.id))
    }).pipe(Effect.scoped))

  it.effect("is tried again by retry, with its whole budget and the person's name", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* parked
      yield* Effect.provideService(inspector.retry(world.id, "the bank is back"), SagaInspector.Actor, "ann")
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      const [, b] = yield* inspector.compensations(world.id)
      assert.deepStrictEqual([b!.status, b!.attempts], ["completed", 2])
      const { actor, reason, resolution } = b!.resolvedBy!
      assert.deepStrictEqual([actor, reason, resolution], ["ann", "the bank is back", "Retry"])
      assert.deepStrictEqual(world.parts.log.slice(3), ["undo B", "undo A", "undo B"])
    }).pipe(Effect.scoped))

  it.effect("is passed over by skip, which ends the roll-back where nothing else is left", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* parked
      yield* inspector.skip(world.id, "B", "refunded by hand")
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      const [a, b] = yield* inspector.compensations(world.id)
      assert.deepStrictEqual([a!.status, b!.status], ["completed", "skipped"])
      assert.strictEqual(b!.resolvedBy!.reason, "refunded by hand")
      assert.strictEqual(b!.resolvedBy!.actor, "unknown")
      assert.strictEqual((yield* world.status)._tag, "RolledBack")
    }).pipe(Effect.scoped))

  it.effect("stays as it is when the execution is abandoned, and those who wait are told", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* parked
      yield* Effect.provideService(inspector.abandon(world.id, "written off"), SagaInspector.Actor, "bob")
      const reason = reasonOf(World.errorOf(yield* world.result))
      assert.instanceOf(reason, SagaError.Abandoned)
      assert.deepStrictEqual([reason.actor, reason.reason, reason.why._tag], [
        "bob",
        "written off",
        "CompensationFailed"
      ])
      assert.deepStrictEqual(reason.unresolved, [{
        step: "B",
        attempts: 1,
        error: new Stuck({ step: "B" }),
        defect: undefined
      }])
      assert.deepStrictEqual(reason.original, { _tag: "Failed", error: new Refused({ step: "C" }) })
      assert.strictEqual((yield* world.status)._tag, "Abandoned")
      const record = (yield* inspector.compensations(world.id))[1]!
      assert.strictEqual(record.status, "failed")
      assert.strictEqual((yield* refusal(world.resume))._tag, "NotAccepting")
      assert.strictEqual((yield* refusal(inspector.retry(world.id)))._tag, "NotAccepting")
      assert.strictEqual((yield* refusal(world.cancel()))._tag, "NotAccepting")
    }).pipe(Effect.scoped))

  it.effect("is not rolled back a second time", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* parked
      const reason = yield* refusal(inspector.rollback(world.id))
      assert.strictEqual(reason._tag, "ResolutionRefused")
      assert.include(reason.message, "it rolls back already, and waits for B")
    }).pipe(Effect.scoped))

  it.effect("two of them: one skipped and one retried, in either order", () =>
    Effect.gen(function*() {
      for (const skipFirst of [true, false]) {
        const faults = { C: ["refuse"], "undo B": ["refuse"], "undo A": ["refuse", "refuse"] } as const
        const world = yield* World.make(row, partsWith(faults))
        yield* world.execute
        const inspector = yield* inspectorOf(world)
        if (skipFirst) yield* inspector.skip(world.id, "B", "by hand")
        else yield* inspector.retry(world.id)
        yield* taken
        assert.deepStrictEqual((yield* world.poll)._tag, "Parked")
        const left = World.whyParked(yield* world.result).unresolved.map((_) => _.step)
        assert.deepStrictEqual(left, ["A"])
        if (skipFirst) yield* inspector.skip(world.id, "A", "by hand")
        else yield* inspector.retry(world.id)
        assert.instanceOf(World.errorOf(yield* world.result), Refused)
      }
    }).pipe(Effect.scoped))

  it.effect("lets a halted roll-back go on when it is skipped", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.andThen(step("A"), Effect.andThen(step("B", { compensation: { onFailure: "halt" } }), step("C")))
      )
      const world = yield* World.make(live, partsWith({ C: ["refuse"], "undo B": ["refuse"] }))
      yield* world.execute
      const inspector = yield* inspectorOf(world)
      assert.deepStrictEqual((yield* inspector.compensations(world.id)).map((_) => _.status), ["pending", "failed"])
      yield* inspector.skip(world.id, "B", "by hand")
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      assert.deepStrictEqual(world.parts.log.slice(3), ["undo B", "undo A"])
    }).pipe(Effect.scoped))
})

describe("a step of which nobody knows whether it happened", () => {
  const live = World.body(({ step }) =>
    Effect.gen(function*() {
      yield* step("A")
      const answer = yield* step("B", { timeout: "1 second", unknown: "park" })
      return yield* step("C", { value: `after ${answer}` })
    })
  )
  const inDoubt = (more: Record<string, ReadonlyArray<World.Fault>> = {}) =>
    Effect.gen(function*() {
      const world = yield* World.make(live, partsWith({ B: ["hang"], ...more }))
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unknown")
      return { world, inspector: yield* inspectorOf(world) }
    })

  it.effect("is resolved with its value, and the body goes on with it", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* inDoubt()
      yield* Effect.provideService(inspector.resolve(world.id, "B", "paid by hand"), SagaInspector.Actor, "ann")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("after paid by hand"))
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C"])
      const [, b] = yield* inspector.steps(world.id)
      assert.deepStrictEqual([b!.status, b!.value, b!.resolvedBy!.actor], ["completed", "paid by hand", "ann"])
    }).pipe(Effect.scoped))

  it.effect("is undone with that value when the saga rolls back later", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* inDoubt({ C: ["refuse"] })
      yield* inspector.resolve(world.id, "B", "paid by hand")
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("takes no value that its schema refuses, where the handler is known", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* inDoubt()
      const reason = yield* refusal(inspector.resolve(world.id, "B", { paid: true }))
      assert.strictEqual(reason._tag, "ResolutionRefused")
      assert.include(reason.message, "this is not a result of B: ")
      assert.strictEqual((yield* inspector.get(world.id)).unread.length, 0)
    }).pipe(Effect.scoped))

  it.effect("takes none from a process without the handler either: the worker refuses it, and says so", () =>
    Effect.gen(function*() {
      const { world } = yield* inDoubt()
      const client = yield* Effect.provideService(SagaInspector.make, SagaStore.SagaStore, world.recorded.store)
      yield* client.resolve(world.id, "B", { paid: true })
      yield* taken
      assert.strictEqual((yield* world.status)._tag, "Parked")
      const entry = (yield* world.entries).find((_) => _._tag === "ResolutionRefused")
      assert.include(entry?._tag === "ResolutionRefused" ? entry.issue : "", "this is not a result of B: ")
      yield* client.resolve(world.id, "B", "paid by hand")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("after paid by hand"))
    }).pipe(Effect.scoped))

  it.effect("is left out by skip: then only the way back is open", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* inDoubt()
      yield* inspector.skip(world.id, "B", "the bank knows nothing of it")
      yield* taken
      assert.strictEqual((yield* world.status)._tag, "Parked")
      const reason = yield* refusal(inspector.retry(world.id))
      assert.include(reason.message, "B was skipped, so the body cannot go on: roll it back, or abandon it")
      yield* Effect.provideService(inspector.rollback(world.id, "no stock"), SagaInspector.Actor, "ann")
      const error = reasonOf(World.errorOf(yield* world.result))
      assert.instanceOf(error, SagaError.RolledBackByOperator)
      assert.deepStrictEqual([error.actor, error.reason], ["ann", "no stock"])
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is settled first by a roll-back: run again under its key, then undone", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* inDoubt()
      yield* inspector.rollback(world.id)
      assert.instanceOf(reasonOf(World.errorOf(yield* world.result)), SagaError.RolledBackByOperator)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "B", "undo B", "undo A"])
      const keys = world.parts.keys.filter((_) => _.startsWith("B "))
      assert.strictEqual(new Set(keys).size, 1)
    }).pipe(Effect.scoped))

  it.effect("is not resolved twice, nor when it has ended", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* inDoubt()
      assert.include((yield* refusal(inspector.resolve(world.id, "A", "x"))).message, "A has succeeded")
      assert.include(
        (yield* refusal(inspector.resolve(world.id, "Z", "x"))).message,
        "there is no step Z in its journal, only A, B"
      )
      assert.include(
        (yield* refusal(inspector.skip(world.id, "A", "x"))).message,
        "A has succeeded, and nothing rolls it back"
      )
      yield* inspector.resolve(world.id, "B", "once")
      yield* inspector.resolve(world.id, "B", "once")
      assert.include((yield* refusal(inspector.resolve(world.id, "B", "twice"))).message, "is on its way")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("after once"))
      assert.strictEqual((yield* world.entries).filter((_) => _._tag === "Resolved").length, 1)
      assert.strictEqual((yield* refusal(inspector.resolve(world.id, "B", "twice")))._tag, "NotAccepting")
    }).pipe(Effect.scoped))
})

describe("answers", () => {
  const broken = World.body(({ step }) => Effect.andThen(step("A"), step("B")))
  const parked = Effect.gen(function*() {
    const world = yield* World.make(broken, partsWith({ B: ["die"] }))
    assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Defect")
    return { world, inspector: yield* inspectorOf(world) }
  })

  it.effect("given twice to one park are taken once", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* parked
      yield* inspector.retry(world.id)
      yield* inspector.retry(world.id)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.strictEqual((yield* world.entries).filter((_) => _._tag === "Resolved").length, 1)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "B"])
    }).pipe(Effect.scoped))

  it.effect("to a park that is over do not touch the next one", () =>
    Effect.gen(function*() {
      const world = yield* World.make(broken, partsWith({ B: ["die", "die"] }))
      yield* world.execute
      const { encoded } = world.recorded.store
      const late = JSON.stringify({ _tag: "Resolve", resolution: { _tag: "Rollback" }, actor: "late", park: 1 })
      yield* world.resume
      yield* taken
      assert.strictEqual((yield* world.status)._tag, "Parked")
      yield* Effect.orDie(encoded.send({ execution: world.id, message: late, now: 0, refuse: [] }))
      yield* taken
      assert.strictEqual((yield* world.status)._tag, "Parked")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "B"])
      const refused = (yield* world.entries).filter((_) => _._tag === "ResolutionRefused")
      assert.deepStrictEqual(refused.map((_) => _.issue), ["it is not parked, or not for this any more"])
    }).pipe(Effect.scoped))

  it.effect("are refused with a typed error where nobody asked", () =>
    Effect.gen(function*() {
      const world = yield* World.make(broken)
      const inspector = yield* inspectorOf(world)
      assert.strictEqual((yield* refusal(inspector.retry("S/none")))._tag, "UnknownExecution")
      world.parts.gate("B")
      yield* world.start
      yield* world.parts.hasBegun("B")
      for (
        const call of [
          inspector.retry(world.id),
          inspector.rollback(world.id),
          inspector.abandon(world.id, "x"),
          inspector.skip(world.id, "A", "x"),
          inspector.resolve(world.id, "B", "x")
        ]
      ) {
        assert.strictEqual((yield* refusal(call))._tag, "NotAccepting")
      }
      yield* world.parts.gate("B").open
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B done"))
      assert.strictEqual((yield* refusal(inspector.abandon(world.id, "x")))._tag, "NotAccepting")
    }).pipe(Effect.scoped))

  it.effect("are refused where they hold what cannot be stored", () =>
    Effect.gen(function*() {
      const { inspector, world } = yield* parked
      assert.include((yield* refusal(inspector.retry(world.id, "a\u0000b"))).message, "cannot be stored")
      assert.include((yield* refusal(inspector.abandon(world.id, " "))).message, "say why")
      assert.include((yield* refusal(inspector.resolve(world.id, "B", "\ud800"))).message, "")
      yield* inspector.retry(world.id)
      yield* world.result
    }).pipe(Effect.scoped))

  it.effect("past the point of no return: no way back, no step left out; a value, a retry or an end", () =>
    Effect.gen(function*() {
      const live = World.settled(({ retryable, step }) => ({
        attempt: step("A"),
        settle: () => retryable("B", { retry: Schedule.recurs(0) })
      }))
      const world = yield* World.make(live, partsWith({ B: ["refuse"] }))
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Exhausted")
      const inspector = yield* inspectorOf(world)
      assert.strictEqual((yield* refusal(inspector.rollback(world.id)))._tag, "TooLate")
      assert.include((yield* refusal(inspector.skip(world.id, "B", "x"))).message, "B cannot be left out")
      yield* inspector.resolve(world.id, "B", "by hand")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("by hand"))
    }).pipe(Effect.scoped))

  it.effect("survive the death of the worker that takes them, at every append", () =>
    Effect.gen(function*() {
      for (const answer of ["retry", "rollback", "abandon", "skip"] as const) {
        const live = World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))))
        const parts = () => partsWith(answer === "skip" ? {} : { B: ["die"] })
        const world = yield* World.make(
          live,
          answer === "skip" ? partsWith({ C: ["refuse"], "undo B": ["refuse"] }) : parts()
        )
        yield* world.execute
        const inspector = yield* inspectorOf(world)
        if (answer === "skip") yield* inspector.skip(world.id, "B", "by hand")
        else if (answer === "abandon") yield* inspector.abandon(world.id, "x")
        else yield* inspector[answer](world.id)
        const expected = yield* world.result
        const appends = (yield* world.journal).length
        const resolvedAt = (yield* world.journal).findIndex((_) => _.includes("Resolved"))
        for (let n = resolvedAt + 1; n < appends; n++) {
          const recovered = yield* world.crashed(n, live, World.makeParts())
          const exit = yield* recovered.result
          assert.deepStrictEqual(String(exit), String(expected), `${answer}, cut after ${n} of ${appends}`)
        }
      }
    }).pipe(Effect.scoped))
})

describe("several persons", () => {
  it.effect("who each leave out another compensation are both heard", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["refuse"], "undo B": ["refuse"], "undo A": ["refuse"] }))
      yield* world.execute
      const inspector = yield* inspectorOf(world)
      yield* Effect.provideService(inspector.skip(world.id, "B", "by hand"), SagaInspector.Actor, "ann")
      yield* Effect.provideService(inspector.skip(world.id, "A", "by hand"), SagaInspector.Actor, "bob")
      yield* Effect.provideService(inspector.skip(world.id, "A", "again"), SagaInspector.Actor, "bob")
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      const records = yield* inspector.compensations(world.id)
      assert.deepStrictEqual(records.map((_) => [_.status, _.resolvedBy?.actor]), [["skipped", "bob"], [
        "skipped",
        "ann"
      ]])
    }).pipe(Effect.scoped))
})

describe("a compensation that is skipped while the roll-back goes on", () => {
  const halting = World.body(({ step }) =>
    Effect.gen(function*() {
      for (const name of ["A", "B", "C"]) yield* step(name, { compensation: { onFailure: "halt" } })
      return yield* step("D")
    })
  )

  it.effect("is left out where it has not begun, and is not where it is under way", () =>
    Effect.gen(function*() {
      const world = yield* World.make(halting, partsWith({ D: ["refuse"], "undo C": ["refuse"] }))
      yield* world.execute
      const inspector = yield* inspectorOf(world)
      world.parts.gate("undo B")
      yield* inspector.skip(world.id, "C", "by hand")
      yield* TestClock.adjust("2 seconds")
      yield* world.parts.hasBegun("undo B")
      assert.strictEqual((yield* world.status)._tag, "Compensating")
      assert.strictEqual((yield* refusal(inspector.skip(world.id, "B", "by hand")))._tag, "NotAccepting")
      const { encoded } = world.recorded.store
      const send = (step: string) =>
        Effect.orDie(encoded.send({
          execution: world.id,
          message: JSON.stringify({ _tag: "Resolve", resolution: { _tag: "Skip", step: { name: step } }, park: 1 }),
          now: 0,
          refuse: []
        }))
      // Both were on their way when the roll-back went on.
      yield* send("B")
      yield* send("A")
      yield* TestClock.adjust("2 seconds")
      yield* World.quiet
      yield* world.parts.gate("undo B").open
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      assert.deepStrictEqual(world.parts.log.slice(4), ["undo C", "undo B"])
      const records = yield* inspector.compensations(world.id)
      assert.deepStrictEqual(records.map((_) => _.status), ["skipped", "completed", "skipped"])
      const refused = (yield* world.entries).filter((_) => _._tag === "ResolutionRefused")
      assert.deepStrictEqual(refused.map((_) => _.resolution), [{ _tag: "Skip", step: { name: "B" } }])
    }).pipe(Effect.scoped))
})

describe("a halt that is durable when the process dies", () => {
  it.effect("still halts: the process that takes over begins nothing", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.andThen(step("A"), Effect.andThen(step("B", { compensation: { onFailure: "halt" } }), step("C")))
      )
      const world = yield* World.make(live, partsWith({ C: ["refuse"], "undo B": ["refuse"] }))
      yield* world.execute
      const begun = (yield* world.journal).findIndex((_) => _.includes("CompensationStarted B")) + 1
      const { store } = yield* World.cut(world.recorded, world.id, begun)
      const at = (yield* world.entries).at(-1)!.at
      const error = { _tag: "Stuck", step: "B" }
      const failed = JSON.stringify([{ _tag: "CompensationFailed", at, name: "B", attempt: 1, error }])
      const append = { execution: world.id, seq: begun, token: "last", at, entries: failed }
      yield* Effect.orDie(store.encoded.append([{ ...append, create: undefined, row: undefined }]))
      const parts = World.makeParts()
      const next = yield* Process.open(store.encoded, Process.saga(live, parts))
      const { definition } = World
      const id = definition.executionId({ id: "1" })
      const polled = next.use(definition.poll(id))
      for (let n = 0; n < 5; n++) yield* Effect.andThen(TestClock.adjust("1 second"), World.quiet)
      assert.deepStrictEqual(parts.log, [])
      const { _tag, compensations } = yield* Effect.orDie(polled)
      assert.deepStrictEqual([_tag, compensations.map((_) => _.status)], ["Parked", ["pending", "failed"]])
    }).pipe(Effect.scoped))
})

describe("an execution that no worker has the code for", () => {
  it.effect("is abandoned all the same", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["die"] }))
      yield* world.execute
      // A store with this journal, and nobody who runs it.
      const { store } = yield* World.cut(world.recorded, world.id, (yield* world.journal).length)
      const inspector = yield* Effect.provideService(SagaInspector.make, SagaStore.SagaStore, store)
      yield* inspector.abandon(world.id, "the saga is gone")
      yield* inspector.abandon(world.id, "the saga is gone")
      const { state, summary } = yield* inspector.get(world.id)
      assert.deepStrictEqual([summary.status, state.phase, summary.worker], ["abandoned", "abandoned", null])
      assert.deepStrictEqual(state.resolutions.map((_) => _.reason), ["the saga is gone"])
    }).pipe(Effect.scoped))

  it.effect("also where nobody can read its journal", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["die"] }))
      yield* world.execute
      const { encoded } = world.recorded.store
      const seq = (yield* world.journal).length
      const foreign = { execution: world.id, seq, token: "newer", at: 0, entries: `[{"_tag":"FromTheFuture","at":0}]` }
      yield* Effect.orDie(encoded.append([{ ...foreign, create: undefined, row: undefined }]))
      const inspector = yield* inspectorOf(world)
      assert.strictEqual((yield* refusal(inspector.journal(world.id)))._tag, "JournalUnreadable")
      yield* world.resume
      yield* taken
      assert.strictEqual(World.whyParked(yield* world.result).why._tag, "Undecodable")
      // What was sent to it is kept, and does not make it due for ever.
      const before = (yield* Effect.orDie(encoded.journal(world.id))).length
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Effect.orDie(encoded.journal(world.id))).length, before)
      yield* inspector.abandon(world.id, "beyond repair")
      assert.strictEqual((yield* world.status)._tag, "Abandoned")
      assert.strictEqual(reasonOf(World.errorOf(yield* world.result))._tag, "Abandoned")
    }).pipe(Effect.scoped))
})

describe("a roll-back that the code no longer knows", () => {
  it.effect("names what it misses, and ends once that is skipped", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["die"] }))
      yield* world.execute
      const without = World.body(({ step }) => Effect.andThen(step("A"), step("C")))
      const next = yield* world.crashed((yield* world.journal).length, without)
      const inspector = yield* inspectorOf(next)
      yield* inspector.rollback(next.id)
      yield* taken
      const parked = World.whyParked(yield* next.result)
      assert.strictEqual(parked.why._tag, "Nondeterminism")
      assert.include(SagaError.describe(parked.why), "compensations of B")
      yield* inspector.skip(next.id, "B", "by hand")
      assert.instanceOf(reasonOf(World.errorOf(yield* next.result)), SagaError.RolledBackByOperator)
      // C died, so it is settled first: run again under its key, then undone.
      assert.deepStrictEqual(next.parts.log.slice(3), ["C", "undo C", "undo A"])
    }).pipe(Effect.scoped))
})

describe("looking", () => {
  it.effect("get has it all", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row)
      yield* world.execute
      const inspector = yield* inspectorOf(world)
      const found = yield* inspector.get(world.id)
      assert.deepStrictEqual(found.payload, { id: "1" })
      assert.strictEqual(found.summary.status, "completed")
      assert.strictEqual(found.state.phase, "completed")
      assert.deepStrictEqual(found.steps.map((_) => [_.step, _.status]), [
        ["A", "completed"],
        ["B", "completed"],
        ["C", "completed"]
      ])
      assert.deepStrictEqual(found.compensations.map((_) => _.status), ["pending", "pending", "pending"])
      assert.deepStrictEqual(found.unread, [])
      assert.strictEqual((yield* refusal(inspector.get("S/none")))._tag, "UnknownExecution")
    }).pipe(Effect.scoped))

  it.effect("list finds executions by what they are, page by page, and as a stream", () =>
    Effect.gen(function*() {
      const Parcel = Saga.make("Parcel", {
        payload: Schema.Struct({ id: Schema.String, city: Schema.String }),
        error: Refused,
        idempotencyKey: (parcel) => parcel.id,
        tags: (parcel) => ({ city: parcel.city }),
        version: 3
      })
      const live = Parcel.toLayer((parcel) =>
        Step.make("Send", {
          error: Refused,
          execute: parcel.city === "Ulm" ? Effect.void : Effect.fail(new Refused({ step: "Send" })),
          compensate: () => Effect.void
        })
      )
      const layer = Layer.merge(live, SagaInspector.layer).pipe(Layer.provideMerge(SagaEngine.layerMemory))
      yield* Effect.gen(function*() {
        const inspector = yield* SagaInspector.SagaInspector
        for (let n = 0; n < 7; n++) {
          yield* Effect.exit(Parcel.execute({ id: `p${n}`, city: n % 3 === 0 ? "Bonn" : "Ulm" }))
          yield* TestClock.adjust("1 hour")
        }
        const ids = (filter: SagaInspector.Filter) =>
          Effect.map(inspector.list(filter), (page) => page.items.map((_) => _.id.slice("Parcel/".length)))
        assert.deepStrictEqual(yield* ids({ tags: { city: "Bonn" } }), ["p6", "p3", "p0"])
        assert.deepStrictEqual(yield* ids({ status: "rolledback", order: "oldest" }), ["p0", "p3", "p6"])
        assert.deepStrictEqual(yield* ids({ status: ["completed", "parked"], limit: 2 }), ["p5", "p4"])
        assert.deepStrictEqual(yield* ids({ version: 2 }), [])
        assert.deepStrictEqual(yield* ids({ name: "Parcel", version: [2, 3], search: "/P1" }), ["p1"])
        assert.deepStrictEqual(yield* ids({ olderThan: "6 hours" }), ["p1", "p0"])
        assert.deepStrictEqual(yield* ids({ newerThan: "2 hours" }), ["p6"])
        assert.deepStrictEqual(yield* ids({ olderThan: "2 hours", newerThan: "4 hours" }), ["p5", "p4"])
        const first = yield* inspector.list({ limit: 4 })
        const second = yield* inspector.list({ limit: 4, after: first.next })
        assert.deepStrictEqual([first.items.length, second.items.length, second.next], [4, 3, undefined])
        const all = yield* Stream.runCollect(inspector.stream({ limit: 3 }))
        assert.deepStrictEqual(all, [...first.items, ...second.items])
        const filters: ReadonlyArray<SagaInspector.Filter> = [
          { limit: 0 },
          { limit: 1_001 },
          { limit: 1.5 },
          { after: "nonsense" },
          { search: "a\u0000" },
          { tags: { city: "\ud800" } },
          { status: "Parked" as "parked" },
          { version: Number.NaN },
          { olderThan: "1 fortnight" as "1 day" },
          { newerThan: -1 }
        ]
        for (const filter of filters) {
          assert.strictEqual((yield* refusal(inspector.list(filter)))._tag, "QueryInvalid")
        }
        const { counts, oldestOpen, open, sagas } = yield* inspector.stats
        assert.deepStrictEqual([counts.completed, counts.rolledback, open, oldestOpen], [4, 3, 0, undefined])
        assert.deepStrictEqual(sagas.map((_) => [_.name, _.counts.completed]), [["Parcel", 4]])
        const unstorable = yield* refusal(Parcel.start({ id: "x", city: "a\u0000" }))
        assert.strictEqual(unstorable._tag, "PayloadInvalid")
      }).pipe(Effect.provide(layer))
    }))

  it.effect("watch asks a store no more often than is good for it", () =>
    Effect.gen(function*() {
      const inspector = yield* inspectorOf(yield* World.make(row))
      for (const poll of [0, "abc" as "1 day"]) {
        assert.strictEqual((yield* refusal(Stream.runDrain(inspector.watch("S/1", { poll }))))._tag, "QueryInvalid")
      }
    }).pipe(Effect.scoped))

  it.effect("stateAt says where it stood after each append", () =>
    Effect.gen(function*() {
      const world = yield* World.make(row, partsWith({ C: ["refuse"] }))
      yield* world.execute
      const inspector = yield* inspectorOf(world)
      const { next } = yield* inspector.journal(world.id)
      const phases: Array<string> = []
      for (let seq = 0; seq < next; seq++) phases.push((yield* inspector.stateAt(world.id, seq)).phase)
      assert.deepStrictEqual([...new Set(phases)], ["running", "compensating", "rolledback"])
      for (const seq of [-1, next, 0.5]) {
        assert.strictEqual((yield* refusal(inspector.stateAt(world.id, seq)))._tag, "QueryInvalid")
      }
    }).pipe(Effect.scoped))

  it.effect("watch gives where it stands, every change, and ends with it", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.andThen(step("A"), Effect.andThen(Effect.sleep("3 seconds"), step("B")))
      )
      const world = yield* World.make(live)
      const inspector = yield* inspectorOf(world)
      assert.strictEqual(
        (yield* refusal(Stream.runCollect(inspector.watch(world.id))))._tag,
        "UnknownExecution"
      )
      yield* world.start
      const watching = yield* Effect.forkChild(Stream.runCollect(inspector.watch(world.id)))
      yield* world.result
      for (let i = 0; i < 10; i++) yield* Effect.andThen(TestClock.adjust("500 millis"), World.quiet)
      const changes = yield* Fiber.join(watching)
      assert.strictEqual(changes.at(-1)!.state.phase, "completed")
      assert.deepStrictEqual(changes.flatMap((_) => _.entries), yield* world.entries)
      assert.isAbove(changes.length, 1)
    }).pipe(Effect.scoped))
})
