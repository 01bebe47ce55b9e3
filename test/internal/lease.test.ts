import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Scope } from "effect"
import { SagaStore } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Lease from "../../src/internal/lease.ts"

const gone = new SagaStore.StoreError({ operation: "renew", retryable: true, cause: "no connection" })

/** A store of leases that is seen, and may be out of reach. */
const observed = Effect.map(SagaStore.makeMemory, (encoded) => {
  const log: Array<string> = []
  const state = { answer: Effect.void as Effect.Effect<void, SagaStore.StoreError> }
  return {
    log,
    state,
    encoded,
    register: (worker: string, lease: number) =>
      Effect.suspend(() => {
        log.push(`register ${worker}`)
        return Effect.andThen(state.answer, encoded.register(worker, lease))
      }),
    renew: (worker: string, lease: number) =>
      Effect.suspend(() => {
        log.push(`renew ${worker}`)
        return Effect.andThen(state.answer, encoded.renew(worker, lease))
      }),
    retire: (worker: string) =>
      Effect.suspend(() => {
        log.push(`retire ${worker}`)
        return Effect.andThen(state.answer, encoded.retire(worker))
      })
  }
})

const thirty = Duration.seconds(30)

describe("lease", () => {
  it.effect("14: holds as long as it is renewed, at a third of its length, under one id", () =>
    Effect.gen(function*() {
      const store = yield* observed
      let lost = 0
      const lease = yield* Lease.make(store, thirty, Effect.sync(() => lost++))
      const worker = lease.worker()
      assert.isTrue(lease.holds())
      yield* TestClock.adjust("60 seconds")
      assert.isTrue(lease.holds())
      assert.deepStrictEqual(store.log, [`register ${worker}`, ...Array.from({ length: 6 }, () => `renew ${worker}`)])
      assert.strictEqual(lost, 0)
    }))

  it.effect("14: two starts have two ids", () =>
    Effect.gen(function*() {
      const store = yield* observed
      const one = yield* Lease.make(store, thirty, Effect.void)
      const two = yield* Lease.make(store, thirty, Effect.void)
      assert.notStrictEqual(one.worker(), two.worker())
    }))

  it.effect("10: ends here when the last renewal was sent a lease ago, though the store hangs", () =>
    Effect.gen(function*() {
      const store = yield* observed
      let lost = 0
      const lease = yield* Lease.make(store, thirty, Effect.sync(() => lost++))
      yield* TestClock.adjust("10 seconds")
      store.state.answer = Effect.never
      yield* TestClock.adjust("29 seconds")
      assert.isTrue(lease.holds())
      assert.strictEqual(lost, 0)
      yield* TestClock.adjust("1 second")
      assert.isFalse(lease.holds())
      assert.strictEqual(lost, 1)
      store.state.answer = Effect.void
    }))

  it.effect("10: counts from when a renewal was sent, not from when it was answered", () =>
    Effect.gen(function*() {
      const store = yield* observed
      store.state.answer = Effect.sleep("9 seconds")
      yield* Effect.forkChild(TestClock.adjust("9 seconds"))
      const lease = yield* Lease.make(store, thirty, Effect.void)
      store.state.answer = Effect.never
      yield* TestClock.adjust("20 seconds")
      assert.isTrue(lease.holds())
      yield* TestClock.adjust("1 second")
      assert.isFalse(lease.holds())
      store.state.answer = Effect.void
    }))

  it.effect("14: registers anew under another id after its lease ended", () =>
    Effect.gen(function*() {
      const store = yield* observed
      let lost = 0
      const lease = yield* Lease.make(store, thirty, Effect.sync(() => lost++))
      const before = lease.worker()
      yield* store.encoded.retire(before)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(lost, 1)
      assert.notStrictEqual(lease.worker(), before)
      assert.isTrue(lease.holds())
      assert.strictEqual(store.log.at(-1), `register ${lease.worker()}`)
      yield* TestClock.adjust("60 seconds")
      assert.isTrue(lease.holds())
      assert.strictEqual(lost, 1)
    }))

  it.effect("asks a store that fails again until the lease has ended, without spinning", () =>
    Effect.gen(function*() {
      const store = yield* observed
      let lost = 0
      const lease = yield* Lease.make(store, thirty, Effect.sync(() => lost++))
      store.state.answer = Effect.fail(gone)
      yield* TestClock.adjust("25 seconds")
      assert.isTrue(lease.holds())
      store.state.answer = Effect.void
      yield* TestClock.adjust("4 seconds")
      assert.isTrue(lease.holds())
      assert.strictEqual(lost, 0)
      store.state.answer = Effect.fail(gone)
      store.log.length = 0
      yield* TestClock.adjust("10 minutes")
      assert.isFalse(lease.holds())
      assert.strictEqual(lost, 1)
      assert.isBelow(store.log.length, 700)
      store.state.answer = Effect.void
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(lease.holds())
    }))

  it.effect("retires when its scope closes, and is not held up by a store that hangs", () =>
    Effect.gen(function*() {
      const store = yield* observed
      const scope = yield* Scope.make()
      const lease = yield* Scope.provide(Lease.make(store, thirty, Effect.void), scope)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(store.log.at(-1), `retire ${lease.worker()}`)
      const other = yield* Scope.make()
      yield* Scope.provide(Lease.make(store, thirty, Effect.void), other)
      store.state.answer = Effect.never
      const closing = yield* Effect.forkChild(Scope.close(other, Exit.void))
      yield* TestClock.adjust("10 seconds")
      assert.isDefined(closing.pollUnsafe())
    }))
})
