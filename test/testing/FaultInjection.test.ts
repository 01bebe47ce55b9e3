/**
 * The store that fails by a plan, and what an engine makes of every single fault.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schedule } from "effect"
import { SagaEngine, SagaStore } from "effect-saga"
import { FaultInjection, StoreContract } from "effect-saga/testing"
import * as TestClock from "effect/testing/TestClock"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

describe("a store without faults", () => {
  it("takes the first of several plans that has a fault for a call", () => {
    const plan = FaultInjection.either(
      FaultInjection.nth("append", 1, FaultInjection.lost),
      FaultInjection.nth("append", 1, FaultInjection.refused)
    )
    assert.deepStrictEqual(plan({ operation: "append", number: 1, total: 1 }), FaultInjection.lost)
  })

  for (const { name, run } of StoreContract.cases) {
    it.live(
      name,
      () => Effect.provide(run, FaultInjection.layer(FaultInjection.none).pipe(Layer.provide(SagaStore.layerMemory)))
    )
  }
})

describe("a plan", () => {
  const call = (operation: FaultInjection.Operation, number: number, total: number) => ({ operation, number, total })

  it("of one call, of a range, of several plans", () => {
    const nth = FaultInjection.nth("append", 2, FaultInjection.lost)
    assert.isUndefined(nth(call("append", 1, 2)))
    assert.strictEqual(nth(call("append", 2, 9)), FaultInjection.lost)
    assert.isUndefined(nth(call("claim", 2, 2)))
    const some = FaultInjection.from({ operation: "read", first: 2, times: 2, fault: FaultInjection.unavailable })
    const seen = [1, 2, 3, 4].map((number) => some(call("read", number, 10))?._tag)
    assert.deepStrictEqual(seen, [undefined, "Unavailable", "Unavailable", undefined])
    const all = FaultInjection.from({ first: 3, fault: FaultInjection.refused })
    assert.deepStrictEqual([all(call("wake", 9, 2)), all(call("wake", 1, 99))], [undefined, FaultInjection.refused])
    const both = FaultInjection.either(nth, some)
    assert.strictEqual(both(call("append", 2, 3)), FaultInjection.lost)
    assert.strictEqual(both(call("read", 3, 3)), FaultInjection.unavailable)
    assert.isUndefined(both(call("read", 1, 3)))
  })

  it("by a seed is the same each time, and has the rate that it says", () => {
    const faults = [FaultInjection.lost, FaultInjection.unavailable]
    const draw = (seed: string) => {
      const plan = FaultInjection.randomly({ seed, rate: 0.25, faults })
      return Array.from({ length: 2_000 }, (_, n) => plan(call("append", n + 1, n + 1))?._tag)
    }
    assert.deepStrictEqual(draw("a"), draw("a"))
    assert.notDeepEqual(draw("a"), draw("b"))
    const failed = draw("a").filter((tag) => tag !== undefined)
    assert.isAbove(failed.length, 400)
    assert.isBelow(failed.length, 600)
    assert.sameMembers([...new Set(failed)], ["Lost", "Unavailable"])
  })

  it.effect("loses the answer, not the append; keeps the append of one that is not reached", () =>
    Effect.gen(function*() {
      const memory = yield* SagaStore.makeMemory
      const plan = FaultInjection.either(
        FaultInjection.nth("append", 1, FaultInjection.unavailable),
        FaultInjection.nth("append", 2, FaultInjection.lost),
        FaultInjection.nth("read", 1, FaultInjection.refused),
        FaultInjection.nth("read", 2, FaultInjection.slow("1 hour"))
      )
      const store = FaultInjection.make(memory, plan)
      const row = { status: "running", result: null, worker: null, wakeAt: null, received: 0 } as const
      const create = { name: "S", payload: "1" }
      const append = [{ execution: "S/1", seq: 0, token: "t", at: 0, entries: "[]", create, row }]
      const first = yield* Effect.flip(store.append(append))
      assert.deepStrictEqual([first.retryable, first.operation], [true, "append"])
      assert.include(first.message, "a fault that was planned: it cannot be reached")
      assert.isNull(yield* memory.read("S/1"))
      assert.isTrue((yield* Effect.flip(store.append(append))).retryable)
      assert.isNotNull(yield* memory.read("S/1"))
      assert.isFalse((yield* Effect.flip(store.read("S/1"))).retryable)
      const reading = yield* Effect.forkChild(store.read("S/1"))
      yield* TestClock.adjust("59 minutes")
      assert.isUndefined(reading.pollUnsafe())
      yield* TestClock.adjust("1 minute")
      assert.isDefined(reading.pollUnsafe())
    }))
})

describe("an engine on a store that fails once", () => {
  const retry = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
  const live = World.body(({ step }) =>
    Effect.gen(function*() {
      yield* step("A", { retry })
      yield* step("B", { compensation: { retry } })
      return yield* step("C")
    })
  )

  /** One execution to its end; the calls that were made, and what came of it. */
  const run = (plan: FaultInjection.Plan) =>
    Effect.scoped(Effect.gen(function*() {
      const calls: Array<FaultInjection.Call> = []
      const counted: FaultInjection.Plan = (call) => {
        calls.push(call)
        return plan(call)
      }
      const memory = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      parts.faults.set("A", ["refuse"])
      parts.faults.set("C", ["refuse"])
      parts.faults.set("undo B", ["refuse"])
      const store = Layer.succeed(SagaStore.SagaStore, SagaStore.make(FaultInjection.make(memory, counted)))
      const engine = Layer.provide(SagaEngine.layerOptions({ lease: "3 seconds", poll: "500 millis" }), store)
      const context = yield* Effect.exit(
        Layer.build(Layer.provideMerge(live({ ...World.steps(parts), parts }), engine))
      )
      yield* Effect.addFinalizer(() => Effect.forkDetach(Effect.andThen(World.quiet, TestClock.adjust("1 minute"))))
      if (Exit.isFailure(context)) return { calls, exit: context, log: parts.log }
      const { definition } = World
      const exit = yield* World.ended(Effect.provideContext(definition.execute({ id: "1" }), context.value))
      return { calls, exit, log: parts.log }
    }))

  it.effect(
    "does the same work to the same end, whichever call is not reached, not heard or late",
    () =>
      Effect.gen(function*() {
        const clean = yield* run(FaultInjection.none)
        const undoing = ["undo B", "undo B", "undo A"]
        assert.deepStrictEqual(clean.log, ["A", "A", "B", "C", ...undoing])
        assert.deepStrictEqual(World.errorOf(clean.exit), new Refused({ step: "C" }))
        const faults = [FaultInjection.unavailable, FaultInjection.lost, FaultInjection.slow("700 millis")]
        let ran = 0
        for (const { number, operation } of clean.calls.slice(0, 60)) {
          for (const fault of faults) {
            // An engine whose worker cannot be registered does not start; that is its caller's to try again.
            if (operation === "register" && fault._tag !== "Slow") continue
            const { exit, log } = yield* run(FaultInjection.nth(operation, number, fault))
            const what = `${fault._tag} at ${operation} ${number}`
            assert.deepStrictEqual(World.errorOf(exit), new Refused({ step: "C" }), what)
            assert.deepStrictEqual(log, clean.log, what)
            ran++
          }
        }
        assert.isAbove(ran, 60)
        console.log(`a fault at one call: ${ran} runs`)
      }),
    60_000
  )

  it.effect("on one that fails now and then, by a seed, loses nothing", () =>
    Effect.gen(function*() {
      for (let seed = 0; seed < 30; seed++) {
        const faults = [FaultInjection.unavailable, FaultInjection.lost, FaultInjection.slow("300 millis")]
        const plan = FaultInjection.randomly({ seed, rate: 0.2, faults })
        const { exit, log } = yield* run((call) => call.operation === "register" ? undefined : plan(call))
        assert.deepStrictEqual(World.errorOf(exit), new Refused({ step: "C" }), `seed ${seed}`)
        for (const act of ["B", "undo A"]) assert.include(log, act, `seed ${seed}`)
        assert.strictEqual(log.filter((_) => _ === "undo B").length >= 2, true, `seed ${seed}`)
      }
    }), 60_000)
})
