import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch, Scope } from "effect"
import { SagaStore } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as JournalWriter from "../../src/internal/journalWriter.ts"
import * as limits from "../../src/internal/limits.ts"

const row: SagaStore.RowUpdate = { status: "running", result: null, worker: "w", wakeAt: null, received: 0 }

const append = (execution: string, seq = 0, token = `${execution}:${seq}`): SagaStore.Append => ({
  execution,
  seq,
  token,
  at: 0,
  entries: `[{"_tag":"SagaStarted","at":0}]`,
  create: seq === 0 ? { name: "S", payload: "{}" } : undefined,
  row: seq === 0 ? row : undefined
})

const lost = new SagaStore.StoreError({ operation: "append", retryable: true, cause: "no connection" })
const malformed = new SagaStore.StoreError({ operation: "append", retryable: false, cause: "malformed" })

type Batch = ReadonlyArray<SagaStore.Append>

/** A memory store whose appends are seen, and do what the test says. */
const observed = (
  onAppend: (batch: Batch, call: number) => Effect.Effect<void, SagaStore.StoreError> = () => Effect.void,
  afterAppend: (batch: Batch, call: number) => Effect.Effect<void, SagaStore.StoreError> = () => Effect.void
) =>
  Effect.map(SagaStore.makeMemory, (encoded) => {
    const batches: Array<Batch> = []
    return {
      batches,
      encoded,
      append: (batch: Batch) =>
        Effect.gen(function*() {
          const call = batches.push(batch) - 1
          yield* onAppend(batch, call)
          const kept = yield* encoded.append(batch)
          yield* afterAppend(batch, call)
          return kept
        }),
      witness: encoded.witness
    }
  })

const ids = (batch: Batch | undefined) => batch?.map((_) => _.execution)

describe("journalWriter", () => {
  it.effect("sends what is asked for in one tick as one batch", () =>
    Effect.gen(function*() {
      const store = yield* observed()
      const writer = yield* JournalWriter.make(store, () => false)
      const kept = yield* Effect.all(["a", "b", "c"].map((id) => writer.append(append(id))), { concurrency: 3 })
      assert.deepStrictEqual(kept, ["Kept", "Kept", "Kept"])
      assert.deepStrictEqual(store.batches.map(ids), [["a", "b", "c"]])
    }))

  it.effect("sends with the answer what the only one who was answered appends next", () =>
    Effect.gen(function*() {
      let answer = (): void => assert.fail("nothing was sent")
      const sent = Effect.callback<void>((resume) => {
        answer = () => resume(Effect.void)
      })
      const store = yield* observed(undefined, (_, call) => call === 0 ? sent : Effect.void)
      const writer = yield* JournalWriter.make(store, () => false)
      const fiber = yield* Effect.forkChild(
        Effect.andThen(writer.append(append("a")), writer.append(append("a", 1)))
      )
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.deepStrictEqual(store.batches.map(ids), [["a"]])
      answer()
      assert.deepStrictEqual(store.batches.map(ids), [["a"], ["a"]])
      yield* Fiber.join(fiber)
    }))

  it.effect("waits to the end of the tick for those who were answered and are not back yet", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const store = yield* observed((_, call) => call === 0 ? gate.await : Effect.void)
      const writer = yield* JournalWriter.make(store, () => false)
      const twice = (id: string, between: Effect.Effect<void>) =>
        Effect.andThen(Effect.andThen(writer.append(append(id)), between), writer.append(append(id, 1)))
      const fiber = yield* Effect.forkChild(
        Effect.all([twice("a", Effect.void), twice("b", Effect.yieldNow)], { concurrency: 2 })
      )
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      const late = yield* Effect.forkChild(writer.append(append("c")))
      yield* Effect.yieldNow
      yield* gate.open
      yield* Fiber.join(fiber)
      yield* Fiber.join(late)
      assert.deepStrictEqual(store.batches.map(ids), [["a", "b"], ["c", "a", "b"]])
    }))

  it.effect("9: has two batches in flight where many write, and no execution in both", () =>
    Effect.gen(function*() {
      const gates = [yield* Latch.make(), yield* Latch.make()]
      const store = yield* observed((_, call) => gates[call]?.await ?? Effect.void)
      const writer = yield* JournalWriter.make(store, () => false)
      const names = Array.from({ length: 40 }, (_, n) => `e${n}`)
      const twice = (id: string) => Effect.andThen(writer.append(append(id)), writer.append(append(id, 1)))
      const fiber = yield* Effect.forkChild(Effect.forEach(names, twice, { concurrency: "unbounded" }))
      for (let turn = 0; turn < 10; turn++) yield* Effect.yieldNow
      assert.deepStrictEqual(store.batches.map(ids), [names.slice(0, 20), names.slice(20)])
      yield* gates[1]!.open
      for (let turn = 0; turn < 10; turn++) yield* Effect.yieldNow
      // Those of the second go on while the first is still on its way.
      assert.deepStrictEqual(store.batches.map(ids)[2], names.slice(20))
      assert.deepStrictEqual(store.batches[2]?.every(({ seq }) => seq === 1), true)
      yield* gates[0]!.open
      yield* Fiber.join(fiber)
      assert.strictEqual(store.batches.flat().length, 80)
    }))

  it.effect("9: merges a few that come while a batch is in flight into the next", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const store = yield* observed((_, call) => call === 0 ? gate.await : Effect.void)
      const writer = yield* JournalWriter.make(store, () => false)
      const fibers = [yield* Effect.forkChild(writer.append(append("a")))]
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      for (const id of ["b", "c", "d"]) {
        fibers.push(yield* Effect.forkChild(writer.append(append(id))))
        yield* Effect.yieldNow
        yield* Effect.yieldNow
      }
      assert.deepStrictEqual(store.batches.map(ids), [["a"]])
      yield* gate.open
      yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual(store.batches.map(ids), [["a"], ["b", "c", "d"]])
    }))

  it.effect("sends no more in one batch than the limit", () =>
    Effect.gen(function*() {
      const store = yield* observed()
      const writer = yield* Effect.provideService(JournalWriter.make(store, () => false), limits.MaxBatch, 2)
      yield* Effect.all(["a", "b", "c", "d", "e"].map((id) => writer.append(append(id))), { concurrency: 5 })
      assert.deepStrictEqual(store.batches.map((_) => _.length), [2, 2, 1])
    }))

  it.effect("10: sends a batch that was not acknowledged again, byte for byte, and knows its own by the token", () =>
    Effect.gen(function*() {
      const store = yield* observed(undefined, (_, call) => call < 3 ? Effect.fail(lost) : Effect.void)
      const writer = yield* JournalWriter.make(store, () => false)
      const fiber = yield* Effect.forkChild(
        Effect.all([append("a"), append("b")].map(writer.append), { concurrency: 2 })
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["Kept", "Kept"])
      assert.strictEqual(store.batches.length, 4)
      for (const batch of store.batches) assert.deepStrictEqual(batch, store.batches[0])
    }))

  it.effect("10: is lost when somebody else wrote there", () =>
    Effect.gen(function*() {
      const store = yield* observed()
      yield* store.encoded.append([append("a", 0, "another")])
      const writer = yield* JournalWriter.make(store, () => false)
      assert.deepStrictEqual(
        yield* Effect.all([append("a"), append("b")].map(writer.append), { concurrency: 2 }),
        ["Lost", "Kept"]
      )
    }))

  it.effect("10: is lost when its own row is there and somebody wrote after it", () =>
    Effect.gen(function*() {
      const store = yield* observed(undefined, (_, call) => call === 0 ? Effect.fail(lost) : Effect.void)
      const writer = yield* JournalWriter.make(store, () => false)
      const fiber = yield* Effect.forkChild(writer.append(append("a")))
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      yield* store.encoded.append([append("a", 1, "a claim")])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), "Lost")
    }))

  it.effect("12: asks a witness that does not answer again", () =>
    Effect.gen(function*() {
      const store = yield* observed(undefined, (_, call) => call === 0 ? Effect.fail(lost) : Effect.void)
      let asked = 0
      const witness: SagaStore.Encoded["witness"] = (execution, seq) =>
        Effect.suspend(() => asked++ < 2 ? Effect.fail(lost) : store.witness(execution, seq))
      const writer = yield* JournalWriter.make({ ...store, witness }, () => false)
      const fiber = yield* Effect.forkChild(writer.append(append("a")))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "Kept")
      assert.strictEqual(asked, 3)
    }))

  it.effect("10: gives up when the process may no longer write, and answers what waits behind it", () =>
    Effect.gen(function*() {
      let holds = true
      const store = yield* observed(() => Effect.fail(lost))
      const writer = yield* JournalWriter.make(store, () => !holds)
      const first = yield* Effect.forkChild(Effect.exit(writer.append(append("a"))))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(first.pollUnsafe())
      const second = yield* Effect.forkChild(Effect.exit(writer.append(append("b"))))
      holds = false
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(first), Exit.fail(lost))
      assert.deepStrictEqual(yield* Fiber.join(second), Exit.fail(lost))
    }))

  it.effect("13: splits a batch that is refused for good until the culprit is alone", () =>
    Effect.gen(function*() {
      const store = yield* observed((batch) =>
        batch.some((_) => _.execution === "bad") ? Effect.fail(malformed) : Effect.void
      )
      const writer = yield* JournalWriter.make(store, () => false)
      const names = ["a", "b", "c", "bad", "d", "e", "f"]
      const exits = yield* Effect.all(names.map((id) => Effect.exit(writer.append(append(id)))), { concurrency: 10 })
      assert.deepStrictEqual(
        exits,
        names.map((id) => id === "bad" ? Exit.fail(malformed) : Exit.succeed("Kept" as const))
      )
    }))

  it.effect("goes on after a defect of the driver, and answers with it", () =>
    Effect.gen(function*() {
      const store = yield* observed((_, call) => call === 0 ? Effect.die("a bug") : Effect.void)
      const writer = yield* JournalWriter.make(store, () => false)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(writer.append(append("a")))))
      assert.strictEqual(yield* writer.append(append("a")), "Kept")
    }))

  it.effect("answers what it never sent when its scope closes", () =>
    Effect.gen(function*() {
      const store = yield* observed(() => Effect.never)
      const scope = yield* Scope.make()
      const writer = yield* Scope.provide(JournalWriter.make(store, () => false), scope)
      const fibers = [yield* Effect.forkChild(Effect.exit(writer.append(append("a"))))]
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      fibers.push(yield* Effect.forkChild(Effect.exit(writer.append(append("b")))))
      yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      fibers.push(yield* Effect.forkChild(Effect.exit(writer.append(append("c")))))
      for (const exit of yield* Effect.forEach(fibers, Fiber.await)) {
        assert.isTrue(Exit.isSuccess(exit) || Exit.isFailure(exit))
      }
    }))

  it.effect("does nothing while nothing is asked", () =>
    Effect.gen(function*() {
      const store = yield* observed()
      yield* JournalWriter.make(store, () => false)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(store.batches.length, 0)
    }))

  it.effect("appends at once to a store in memory, and as usual what that refuses", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const writer = yield* JournalWriter.make(store, () => false)
      assert.isTrue(writer.now(append("a")))
      assert.lengthOf(yield* store.journal("a"), 1)
      assert.isFalse(writer.now(append("a", 0, "another")))
      assert.strictEqual(yield* writer.append(append("a", 0, "another")), "Lost")
      assert.strictEqual(yield* writer.append(append("a")), "Kept")
    }))

  it.effect("appends so many at once, and then no more until others have had their turn", () =>
    Effect.gen(function*() {
      const writer = yield* JournalWriter.make(yield* SagaStore.makeMemory, () => false)
      const atOnce = () =>
        Array.from({ length: 1_000 }, (_, seq) => writer.now(append("a", seq))).filter(Boolean).length
      assert.strictEqual(atOnce(), 512)
      assert.isFalse(writer.now(append("b")))
      assert.strictEqual(yield* writer.append(append("b")), "Kept")
      assert.isTrue(writer.now(append("c")))
    }))

  it.effect("appends nothing at once to a store that does something about its appends", () =>
    Effect.gen(function*() {
      const store = yield* observed()
      const writer = yield* JournalWriter.make(store, () => false)
      assert.isFalse(writer.now(append("a")))
      assert.isEmpty(yield* store.encoded.journal("a"))
    }))

  it.effect("appends nothing at once when its scope is closed", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const writer = yield* Effect.scoped(JournalWriter.make(store, () => false))
      assert.isFalse(writer.now(append("a")))
      assert.isEmpty(yield* store.journal("a"))
    }))
})
