import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as SagaStore from "../src/SagaStore.ts"

const started: SagaStore.Append = {
  execution: "Order/1",
  seq: 0,
  token: "t",
  at: 5,
  entries: `[{"_tag":"SagaStarted","at":5}]`,
  create: { name: "Order", payload: "{}" },
  row: { status: "running", result: null, worker: "w", wakeAt: null, received: 0 }
}
const later = (seq: number, entries: string): SagaStore.Append => ({
  ...started,
  seq,
  entries,
  create: undefined,
  row: undefined
})
const claimBy = (worker: string, margin: number) => ({
  worker,
  names: ["Order"],
  limit: 10,
  now: 0,
  margin,
  token: worker,
  entries: "[]"
})

describe("the typed store", () => {
  it.effect("decodes a journal and names the next free seq", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.SagaStore
      yield* store.encoded.append([started])
      const end = `[{"_tag":"PivotPassed","at":6},{"_tag":"SagaCompleted","at":7,"value":1}]`
      yield* store.encoded.append([later(1, end)])
      assert.deepStrictEqual(yield* store.journal("Order/1"), {
        appends: [
          { seq: 0, at: 5, entries: [{ _tag: "SagaStarted", at: 5 }] },
          { seq: 1, at: 5, entries: [{ _tag: "PivotPassed", at: 6 }, { _tag: "SagaCompleted", at: 7, value: 1 }] }
        ],
        next: 2
      })
    }).pipe(Effect.provide(SagaStore.layerMemory)))

  it.effect("has an empty journal for an execution that was never started", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.SagaStore
      assert.deepStrictEqual(yield* store.journal("Order/1"), { appends: [], next: 0 })
    }).pipe(Effect.provide(SagaStore.layerMemory)))

  for (
    const [what, entries, issue] of [
      ["an entry of a newer version", `[{"_tag":"FromTheFuture","at":1}]`, /Expected|FromTheFuture/],
      ["an entry without its fields", `[{"_tag":"SagaStarted"}]`, /at/],
      ["text that is no JSON", `[{"_tag":`, /JSON|Unexpected/]
    ] as const
  ) {
    it.effect(`refuses ${what}, and says where it is`, () =>
      Effect.gen(function*() {
        const store = yield* SagaStore.SagaStore
        yield* store.encoded.append([started])
        yield* store.encoded.append([later(1, entries)])
        const error = yield* Effect.flip(store.journal("Order/1"))
        assert.instanceOf(error, SagaStore.Undecodable)
        assert.deepStrictEqual([error.execution, error.seq], ["Order/1", 1])
        assert.match(error.message, issue)
        assert.match(error.message, /^The journal of Order\/1 cannot be read at 1: .*repair the row\.$/s)
      }).pipe(Effect.provide(SagaStore.layerMemory)))
  }

  it.effect("refuses a journal with a hole", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.SagaStore
      yield* store.encoded.append([started])
      yield* store.encoded.append([later(2, started.entries)])
      const error = yield* Effect.flip(store.journal("Order/1"))
      assert.match(error.message, /cannot be read at 1: append 1 is missing/)
    }).pipe(Effect.provide(SagaStore.layerMemory)))

  it("says in an error what the reader does next", () => {
    const cause = new Error("connection lost")
    assert.match(
      new SagaStore.StoreError({ operation: "append", retryable: true, cause }).message,
      /did not answer \(append\).*may be sent again/
    )
    assert.match(
      new SagaStore.StoreError({ operation: "append", retryable: false, cause }).message,
      /refused append.*will not help/
    )
  })
})

describe("the store in memory", () => {
  it.effect("counts leases on the clock of the program", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      yield* store.append([started])
      yield* store.register("w", 1_000)
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(yield* store.claim(claimBy("other", 0)), [])
      assert.isTrue(yield* store.renew("w", 1_000))
      yield* TestClock.adjust(1_000)
      assert.isFalse(yield* store.renew("w", 1_000))
      assert.deepStrictEqual(yield* store.claim(claimBy("other", 1)), [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* store.claim(claimBy("other", 1)), [{ id: "Order/1", seq: 1 }])
    }))

  it.effect("is empty each time it is built", () =>
    Effect.gen(function*() {
      const first = yield* Effect.provide(SagaStore.SagaStore, Layer.fresh(SagaStore.layerMemory))
      yield* first.encoded.append([started])
      const second = yield* Effect.provide(SagaStore.SagaStore, Layer.fresh(SagaStore.layerMemory))
      assert.isNull(yield* second.encoded.read("Order/1"))
    }))

  it.effect("gives back a copy: what a caller does to a journal does not reach the store", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      yield* store.append([started])
      const journal = yield* store.journal("Order/1")
      yield* store.append([later(1, started.entries)])
      assert.strictEqual(journal.length, 1)
    }))
})
