/**
 * What a long loop costs: sagas of more and more steps, run and replayed in memory. Twice the steps take twice as long.
 *
 *     npm run bench:loop -- --steps 10000
 */
import { Clock, Effect, Layer, Schema } from "effect"
import { parseArgs } from "node:util"
import { Saga, SagaEngine, SagaStore, Step } from "../src/index.ts"
import { ReplayTest } from "../src/testing/index.ts"

const { values } = parseArgs({
  options: { steps: { type: "string", default: "10000" }, rounds: { type: "string", default: "3" } }
})

const Loop = Saga.make("Loop", { payload: Schema.Number, success: Schema.Number, idempotencyKey: String })
const handler = Loop.toLayer(Effect.fn(function*(steps) {
  let sum = 0
  for (let i = 0; i < steps; i++) {
    sum += yield* Step.make("Add", {
      success: Schema.Number,
      execute: Effect.succeed(1),
      compensate: () => Effect.void
    })
  }
  return sum
}))

const timed = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const clock = yield* Clock.Clock
  const begin = clock.currentTimeNanosUnsafe()
  const value = yield* effect
  return [Number(clock.currentTimeNanosUnsafe() - begin) / 1_000_000, value] as const
})

const measure = (steps: number) =>
  Effect.gen(function*() {
    const [ran, id] = yield* timed(Effect.tap(Loop.start(steps), (id) => Loop.result(id)))
    const recorded = yield* ReplayTest.record(id)
    if (recorded === undefined) return yield* Effect.die("it was not started")
    const [replayed, divergence] = yield* timed(ReplayTest.replay(recorded))
    if (divergence !== undefined) return yield* Effect.die(divergence.message)
    return { ran, replayed }
  }).pipe(
    Effect.provide(Layer.provideMerge(handler, SagaEngine.layer)),
    Effect.provide(SagaStore.layerMemory)
  )

const median = (numbers: ReadonlyArray<number>): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!

const program = Effect.gen(function*() {
  yield* measure(1_000)
  const most = Number(values.steps)
  for (const steps of [most / 8, most / 4, most / 2, most]) {
    const rounds = yield* Effect.forEach(Array.from({ length: Number(values.rounds) }), () => measure(steps))
    const line = (name: string, took: number) =>
      `${name} ${took.toFixed(0)} ms (${(took / steps * 1_000).toFixed(1)} us)`
    const ran = median(rounds.map((_) => _.ran))
    const replayed = median(rounds.map((_) => _.replayed))
    yield* Effect.log(`${steps} steps: ${line("run", ran)}, ${line("replayed", replayed)}`)
  }
})

void Effect.runPromise(program)
