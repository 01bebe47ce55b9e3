import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Latch, Schema } from "effect"
import { SagaError, SagaStore, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as limits from "../../src/internal/limits.ts"
import * as Process from "../utils/Process.ts"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const two = World.body(({ step }) => Effect.andThen(step("A"), step("B")))
const { definition } = World
const payload = { id: "1" }
const id = definition.executionId(payload)

const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason
}

describe("the owner", () => {
  it.effect("8: alone appends: a cancel of another process reaches it through the inbox", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const owner = yield* Process.open(store, Process.saga(two, parts))
      const client = yield* Process.open(store)
      const gate = parts.gate("A")
      yield* owner.use(definition.start(payload))
      yield* parts.hasBegun("A")
      yield* client.use(definition.cancel(id, { reason: "enough" }))
      yield* World.quiet
      yield* gate.open
      const exit = yield* World.ended(client.use(definition.result(id)))
      assert.deepInclude(reasonOf(exit), { _tag: "Cancelled", reason: "enough" })
      assert.deepStrictEqual(client.appends, [])
      assert.deepStrictEqual(parts.log, ["A", "undo A"])
    }))

  it.effect("8: an execution without an owner is claimed before a message becomes an entry", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      parts.faults.set("B", ["die"])
      const worker = yield* Process.open(store, Process.saga(two, parts))
      const client = yield* Process.open(store)
      yield* World.ended(worker.use(definition.execute(payload)))
      yield* client.use(definition.cancel(id))
      yield* World.ended(client.use(definition.result(id)))
      const journal = yield* Process.journal(store, id)
      assert.deepStrictEqual(journal[3], "Claimed")
      assert.include(journal[4], "CancelRequested")
    }))

  it.effect("8: a message that comes while the execution is being parked is not lost", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      parts.faults.set("B", ["die"])
      const worker = yield* Process.open(store, Process.saga(two, parts))
      const client = yield* Process.open(store)
      const parking = yield* Latch.make()
      const gate = yield* Latch.make()
      worker.before = (call, argument) =>
        call === "append" && Process.tags((argument as ReadonlyArray<SagaStore.Append>)[0]!).includes("SagaParked")
          ? Effect.andThen(parking.open, gate.await)
          : Effect.void
      yield* worker.use(definition.start(payload))
      yield* parking.await
      yield* client.use(definition.cancel(id))
      yield* gate.open
      assert.strictEqual(reasonOf(yield* World.ended(client.use(definition.result(id))))._tag, "Cancelled")
      assert.deepStrictEqual(parts.log.slice(-2), ["undo B", "undo A"])
    }))
})

describe("a message that cannot be read", () => {
  const odd = (store: SagaStore.Encoded) =>
    Effect.orDie(store.send({ execution: id, message: `{"_tag":"FromTheFuture"}`, now: 0, refuse: [] }))

  it.effect("8: does not hold up the next one", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const owner = yield* Process.open(store, Process.saga(two, parts))
      const gate = parts.gate("A")
      yield* owner.use(definition.start(payload))
      yield* parts.hasBegun("A")
      yield* odd(store)
      yield* owner.use(definition.cancel(id))
      yield* World.quiet
      yield* gate.open
      assert.strictEqual(reasonOf(yield* World.ended(owner.use(definition.result(id))))._tag, "Cancelled")
    }))

  it.effect("8: is looked at once by a parked execution, not for ever", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      parts.faults.set("B", ["die"])
      const owner = yield* Process.open(store, Process.saga(two, parts))
      World.whyParked(yield* World.ended(owner.use(definition.execute(payload))))
      yield* odd(store)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual((yield* Process.journal(store, id)).slice(3), ["Claimed", "SagaParked"])
    }))
})

describe("one append", () => {
  it.effect("9: is in flight for an execution, and what comes meanwhile is merged into the next", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const names = ["P", "Q", "R", "S"]
      const live = World.body(({ step }) =>
        Effect.all(names.map((name) => Effect.andThen(step(name), step(`${name}2`))), { concurrency: "unbounded" })
      )
      const owner = yield* Process.open(store, Process.saga(live, parts))
      let inFlight = 0
      let most = 0
      owner.before = (call) =>
        call === "append"
          ? Effect.andThen(Effect.sync(() => most = Math.max(most, ++inFlight)), Effect.sleep(50))
          : Effect.void
      owner.after = (call) => call === "append" ? Effect.sync(() => inFlight--) : Effect.void
      const exit = yield* World.ended(owner.use(definition.execute(payload)))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(most, 1)
      assert.isBelow(owner.appends.length, 6)
      const seqs = (yield* Effect.orDie(store.journal(id))).map((_) => _.seq)
      assert.deepStrictEqual(seqs, seqs.map((_, index) => index))
    }))

  it.effect("10: whose acknowledgement was lost is sent again verbatim, and nothing acts twice", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const owner = yield* Process.open(store, Process.saga(two, parts))
      const sent: Array<string> = []
      let losses = 0
      owner.before = (call, argument) =>
        Effect.sync(() => {
          if (call === "append") sent.push(JSON.stringify(argument))
        })
      owner.after = (call) => call === "append" && losses++ % 2 === 0 ? Effect.fail(Process.offline) : Effect.void
      assert.deepStrictEqual(yield* World.ended(owner.use(definition.execute(payload))), Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "B"])
      assert.deepStrictEqual(sent.length, 6)
      for (let i = 0; i < 6; i += 2) assert.strictEqual(sent[i], sent[i + 1])
      assert.strictEqual(new Set(sent).size, 3)
    }))

  it.effect("10: before every act the worker looks at its lease", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const owner = yield* Process.open(store, Process.saga(two, parts))
      const gate = parts.gate("A")
      yield* owner.use(definition.start(payload))
      yield* parts.hasBegun("A")
      owner.before = (call) => call === "renew" || call === "register" ? Effect.never : Effect.void
      yield* TestClock.adjust("31 seconds")
      yield* gate.open
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(parts.log, ["A"])
      owner.before = () => Effect.void
    }))

  it.effect("11: two workers that come at once claim an orphan once", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const client = yield* Process.open(store)
      yield* client.use(definition.start(payload))
      const layer = Process.saga(two, parts)
      yield* Effect.all([Process.open(store, layer), Process.open(store, layer)], { concurrency: 2 })
      assert.deepStrictEqual(yield* World.ended(client.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual((yield* Process.journal(store, id)).filter((_) => _ === "Claimed").length, 1)
      assert.deepStrictEqual(parts.log, ["A", "B"])
    }))
})

describe("what cannot be stored", () => {
  const malformed = new SagaStore.StoreError({ operation: "append", retryable: false, cause: "malformed" })

  it.effect("13: parks the one execution whose append the store refuses, and no other of its batch", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const owner = yield* Process.open(store, Process.saga(World.body(({ step }) => step("A")), parts))
      owner.before = (call, argument) =>
        call === "append" &&
          (argument as ReadonlyArray<SagaStore.Append>).some((one) =>
            one.execution === "S/bad" && Process.tags(one).includes("StepSucceeded")
          )
          ? Effect.fail(malformed)
          : Effect.void
      const ids = ["1", "2", "bad", "3"]
      const exits = yield* Effect.forEach(
        ids,
        (id) => World.ended(owner.use(definition.execute({ id }))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, true, false, true])
      const parked = World.whyParked(exits[2]!)
      assert.strictEqual(parked.why._tag, "Unencodable")
      // What was refused is not in the journal: after the cause is mended, the step runs again under its key.
      owner.before = () => Effect.void
      yield* owner.use(definition.resume("S/bad" as never))
      assert.deepStrictEqual(yield* World.ended(owner.use(definition.result("S/bad" as never))), Exit.succeed("A done"))
    }))

  it.effect("13: a first append that the store refuses fails the start, and nothing acts", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const owner = yield* Process.open(store, Process.saga(two, parts))
      owner.before = (call) => call === "append" ? Effect.fail(malformed) : Effect.void
      const exit = yield* World.ended(owner.use(definition.execute(payload)))
      assert.strictEqual(reasonOf(exit)._tag, "StoreUnavailable")
      assert.deepStrictEqual(parts.log, [])
    }))

  for (const [what, text] of [["a NUL", "a\u0000b"], ["a lone surrogate", "a\ud800b"]] as const) {
    it.effect(`13: ${what} in a step's result parks, the step having acted once`, () =>
      Effect.gen(function*() {
        const live = World.body(({ step }) => Effect.andThen(step("A"), step("B", { value: text })))
        const world = yield* World.make(live)
        assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unencodable")
        assert.deepStrictEqual(world.parts.log, ["A", "B"])
      }))

    it.effect(`13: ${what} in a saga's result parks`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(World.body(({ step }) => Effect.as(step("A"), text)))
        assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unencodable")
      }))

    it.effect(`13: ${what} in a step's error parks`, () =>
      Effect.gen(function*() {
        const live = World.body(({ step }) => step("A", { execute: Effect.fail(new Refused({ step: text })) }))
        const world = yield* World.make(live)
        assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unencodable")
      }))

    it.effect(`13: ${what} in a payload or its key is refused, and nothing is started`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(two)
        for (const bad of [{ id: "1", note: text }, { id: text }]) {
          const exit = yield* World.ended(world.use(definition.start(bad)))
          assert.strictEqual(reasonOf(exit)._tag, "PayloadInvalid")
        }
        assert.deepStrictEqual(world.recorded.appends, [])
        assert.deepStrictEqual(world.parts.log, [])
      }))
  }

  it.effect("13: a result deeper, or a payload larger, than the limit", () =>
    Effect.gen(function*() {
      type Nested = ReadonlyArray<Nested>
      const Deep = Schema.Array(Schema.suspend((): Schema.Codec<Nested> => Deep as never)) as unknown as Schema.Codec<
        Nested
      >
      let deep: Nested = []
      for (let i = 0; i < 50; i++) deep = [deep]
      const live = World.body(({ step }) => step("A", { value: deep, success: Deep }))
      const world = yield* Effect.provideService(World.make(live), limits.MaxDepth, 20)
      assert.strictEqual(World.whyParked(yield* world.execute).why._tag, "Unencodable")
      const small = yield* Effect.provideService(World.make(two), limits.MaxAppendSize, 100)
      const exit = yield* World.ended(small.use(definition.start({ id: "1", note: "x".repeat(200) })))
      assert.strictEqual(reasonOf(exit)._tag, "PayloadInvalid")
    }))
})

describe("taking over", () => {
  it.effect("15: a successor waits for the lease and the margin", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const [first, second] = [World.makeParts(), World.makeParts()]
      const owner = yield* Process.open(store, Process.saga(two, first), { lease: "30 seconds", margin: "5 seconds" })
      yield* Process.open(store, Process.saga(two, second), { lease: "30 seconds", margin: "5 seconds" })
      first.gate("A")
      yield* owner.use(definition.start(payload))
      yield* first.hasBegun("A")
      owner.before = () => Effect.never
      yield* TestClock.adjust("34 seconds")
      assert.deepStrictEqual(second.log, [])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(second.log, ["A", "B"])
      owner.before = () => Effect.void
    }))

  it.effect("15: an owner that comes back is fenced: its append is refused, and it acts no more", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const [first, second] = [World.makeParts(), World.makeParts()]
      const owner = yield* Process.open(store, Process.saga(two, first))
      const successor = yield* Process.open(store, Process.saga(two, second))
      const thaw = yield* Latch.make()
      owner.before = (call) => call === "append" && first.log.length > 0 ? thaw.await : Effect.void
      yield* owner.use(definition.start(payload))
      yield* first.hasBegun("A")
      owner.before = () => thaw.await
      assert.deepStrictEqual(
        yield* World.ended(successor.use(definition.result(id))),
        Exit.succeed("B done")
      )
      owner.before = () => Effect.void
      yield* thaw.open
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(first.log, ["A"])
      assert.deepStrictEqual(second.log, ["A", "B"])
      assert.strictEqual((yield* Process.journal(store, id)).at(-1), "StepSucceeded B, SagaCompleted")
    }))

  it.effect("15: a step's epoch grows with every takeover", () =>
    Effect.gen(function*() {
      const epochs: Array<number> = []
      const live = World.body(({ step }) =>
        step("A", {
          execute: Effect.flatMap(Step.epoch, (epoch) => Effect.sync(() => void epochs.push(epoch))),
          success: Schema.Void
        })
      )
      let world = yield* World.make(live)
      yield* world.execute
      for (let i = 1; i <= 3; i++) {
        world = yield* world.crashed(i, live)
        yield* world.result
      }
      assert.deepStrictEqual(epochs, [0, 1, 2, 3])
    }))

  it.effect("14: a worker whose lease ended goes on under another id, and takes its own work up again", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const worker = yield* Process.open(store, Process.saga(two, parts))
      parts.gate("A")
      yield* worker.use(definition.start(payload))
      yield* parts.hasBegun("A")
      const before = (yield* Effect.orDie(store.read(id)))?.worker
      worker.before = (call) => call === "renew" || call === "register" ? Effect.fail(Process.offline) : Effect.void
      yield* TestClock.adjust("31 seconds")
      worker.before = () => Effect.void
      yield* TestClock.adjust("5 seconds")
      const after = (yield* Effect.orDie(store.read(id)))?.worker
      assert.isString(after)
      assert.notStrictEqual(after, before)
      yield* parts.gate("A").open
      assert.deepStrictEqual(yield* World.ended(worker.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "A", "B"])
      assert.strictEqual(parts.keys[0], parts.keys[1])
    }))

  it.effect("16: an execution that kills every process is parked after so many claims without progress", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      parts.gate("A")
      const open = Effect.provideService(Process.open(store, Process.saga(two, parts)), limits.MaxClaims, 3)
      let process = yield* open
      const dead = [process]
      yield* process.use(definition.start(payload))
      for (let i = 0; i < 6; i++) {
        yield* TestClock.adjust("5 seconds")
        process.before = () => Effect.never
        process = yield* open
        dead.push(process)
        yield* TestClock.adjust("40 seconds")
      }
      const parked = World.whyParked(yield* World.ended(process.use(definition.result(id))))
      assert.strictEqual(parked.why._tag, "RecoveryExhausted")
      assert.strictEqual(parts.log.length, 4)
      for (const one of dead) one.before = () => Effect.void
      // A person gives it its budget back.
      yield* parts.gate("A").open
      yield* process.use(definition.resume(id))
      assert.deepStrictEqual(yield* World.ended(process.use(definition.result(id))), Exit.succeed("B done"))
    }))
})
