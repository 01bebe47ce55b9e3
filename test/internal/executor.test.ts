/**
 * One execution, driven by hand: what its process may no longer do, it does not.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer } from "effect"
import { SagaStore } from "effect-saga"
import type { Handler } from "../../src/internal/engine.ts"
import { SagaEngine } from "../../src/internal/engine.ts"
import * as Executor from "../../src/internal/executor.ts"
import * as Starting from "../../src/internal/starting.ts"
import * as World from "../utils/World.ts"

/** The handler that a saga's layer registers. */
const handlerOf = (live: World.Live, parts: World.Parts) =>
  Effect.gen(function*() {
    const found: Array<Handler> = []
    const register = (handler: Handler) => Effect.sync(() => void found.push(handler))
    const engine = Layer.succeed(SagaEngine, { register } as never)
    yield* Layer.build(Layer.provide(live({ ...World.steps(parts), parts }), engine))
    return found[0]!
  })

describe("rule 10: without a lease", () => {
  const body = World.body(({ step }) => Effect.andThen(step("A"), step("B")))

  /** Runs an execution whose lease ends with an append; which acts there were. */
  const acts = (last: number) =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      const handler = yield* handlerOf(body, parts)
      const store = SagaStore.make(yield* SagaStore.makeMemory)
      let appends = 0
      const live = Executor.make({
        id: "S/1",
        handler,
        context: yield* Effect.context<never>(),
        limits: {
          storable: { depth: 100, size: 10_000 },
          grace: 0,
          maxClaims: 3,
          suspendAfter: 10_000,
          heartbeatPause: 10_000,
          maxHeartbeatPause: 10_000
        },
        store,
        writer: {
          now: () => false,
          append: () => Effect.die("not by an execution"),
          send: (_, answer) => {
            appends++
            answer(Exit.succeed("Kept"))
          }
        },
        worker: "w",
        awaited: false,
        starting: Starting.nothing,
        mayAct: () => appends < last,
        token: () => `t${appends}`,
        from: { _tag: "Start", create: { name: "S", payload: JSON.stringify({ id: "1" }) } }
      })
      // It runs in a fiber of its own, which leaving interrupts.
      live.run(() => {})
      const ending = yield* Deferred.await(live.ended)
      return { log: parts.log, ending: ending._tag }
    }).pipe(Effect.scoped)

  it.effect("no step acts, though its intent is durable: the execution leaves this process", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* acts(1), { log: [], ending: "Left" })
      assert.deepStrictEqual(yield* acts(2), { log: ["A"], ending: "Left" })
      assert.deepStrictEqual(yield* acts(9), { log: ["A", "B"], ending: "Ended" })
    }))
})
