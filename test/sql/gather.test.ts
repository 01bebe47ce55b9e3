import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch } from "effect"
import * as SagaStore from "../../src/SagaStore.ts"
import * as Gather from "../../src/sql/internal/gather.ts"

const all = { concurrency: "unbounded" } as const

/** Answers twice what was asked, and remembers what was asked together. */
const twice = (most: number, gate: Effect.Effect<void, SagaStore.StoreError> = Effect.void) => {
  const asked: Array<ReadonlyArray<number>> = []
  const ask = Gather.make(most, (questions: ReadonlyArray<number>) =>
    Effect.suspend(() => {
      asked.push(questions)
      return Effect.as(gate, questions.map((question) => question * 2))
    }))
  return { ask, asked }
}

describe("questions of one moment", () => {
  it.effect("are asked together, and each gets its own answer", () =>
    Effect.gen(function*() {
      const { ask, asked } = twice(10)
      assert.deepStrictEqual(yield* Effect.forEach([3, 1, 3, 2], ask, all), [6, 2, 6, 4])
      assert.deepStrictEqual(yield* ask(5), 10)
      assert.deepStrictEqual(asked, [[3, 1, 3, 2], [5]])
    }))

  it.effect("are several where they are too many", () =>
    Effect.gen(function*() {
      const { ask, asked } = twice(2)
      assert.deepStrictEqual(yield* Effect.forEach([1, 2, 3, 4, 5], ask, all), [2, 4, 6, 8, 10])
      assert.deepStrictEqual(asked.map((_) => _.length), [2, 2, 1])
    }))

  it.effect("fail together, and the next ones are asked again", () =>
    Effect.gen(function*() {
      const failures = [new SagaStore.StoreError({ operation: "read", retryable: true, cause: "no connection" })]
      const { ask } = twice(10, Effect.suspend(() => failures.length > 0 ? Effect.fail(failures.pop()!) : Effect.void))
      const exits = yield* Effect.forEach([1, 2], (question) => Effect.exit(ask(question)), all)
      assert.isTrue(exits.every(Exit.isFailure))
      assert.deepStrictEqual(yield* ask(1), 2)
    }))

  it.effect("are answered though one who asked does not wait any more", () =>
    Effect.gen(function*() {
      const gate = Latch.makeUnsafe(false)
      const { ask, asked } = twice(10, gate.await)
      const fibers = yield* Effect.forEach([1, 2], (question) => Effect.forkChild(ask(question)))
      yield* Effect.repeat(Effect.yieldNow, { until: () => asked.length > 0 })
      yield* Fiber.interrupt(fibers[0]!)
      yield* gate.open
      assert.deepStrictEqual(yield* Fiber.await(fibers[1]!), Exit.succeed(4))
    }))
})
