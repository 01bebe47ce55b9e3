/**
 * What a step costs in memory, without a database: over a plain Effect, in `Saga.transact`, and on the engine with its
 * store in memory beside `effect/workflow` with its own.
 *
 *     npm run memory
 */
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import { Activity, Workflow, WorkflowEngine } from "effect/workflow"
import { Saga, SagaEngine, Step } from "../src/index.ts"
import { callers } from "./contenders/effects.ts"
import { result } from "./work.ts"

const quick = process.argv.includes("--quick")
const rounds = quick ? 3 : 7
const Result = Schema.Struct({ id: Schema.Int, state: Schema.String })

const acting = (number: number) => Effect.sync(() => result(number))
const step = (number: number) =>
  Step.make(`Step${number}`, { success: Result, execute: acting(number), compensate: () => Effect.void })

/** Five effects; the same with a finalizer each, as one undoes by hand; the same as steps. */
const bodies = {
  "a plain Effect": Effect.gen(function*() {
    for (let number = 1; number <= 5; number++) yield* acting(number)
  }),
  "a plain Effect with finalizers": Effect.scoped(Effect.gen(function*() {
    for (let number = 1; number <= 5; number++) {
      yield* acting(number)
      yield* Effect.addFinalizer(() => Effect.void)
    }
  })),
  "Saga.transact": Effect.orDie(Saga.transact(Effect.gen(function*() {
    for (let number = 1; number <= 5; number++) yield* step(number)
  })))
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const times = <A>(count: number, effect: Effect.Effect<A>): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (let run = 0; run < count; run++) yield* effect
  })

const nanos = new Map<string, Array<number>>()
const bytes = new Map<string, Array<number>>()
const count = quick ? 2_000 : 20_000
for (const effect of Object.values(bodies)) await Effect.runPromise(times(count, effect))
for (let round = 0; round < rounds; round++) {
  for (const [name, effect] of Object.entries(bodies)) {
    globalThis.gc?.()
    const before = performance.now()
    await Effect.runPromise(times(count, effect))
    nanos.set(name, [...nanos.get(name) ?? [], (performance.now() - before) * 1e6 / count / 5])
    // So few that nothing is collected between.
    const few = 200
    globalThis.gc?.()
    const heap = process.memoryUsage().heapUsed
    await Effect.runPromise(times(few, effect))
    bytes.set(name, [...bytes.get(name) ?? [], (process.memoryUsage().heapUsed - heap) / few / 5])
  }
}
console.log("in memory, a step: nanoseconds, bytes allocated (medians)")
for (const name of Object.keys(bodies)) {
  console.log(
    `${name.padEnd(34)}${median(nanos.get(name)!).toFixed(0).padStart(8)}${
      median(bytes.get(name)!).toFixed(0).padStart(8)
    }`
  )
}
const ratio = (name: keyof typeof bodies, to: keyof typeof bodies) =>
  (median(nanos.get(name)!) / median(nanos.get(to)!)).toFixed(2)
console.log(`transact over finalizers by hand: ${ratio("Saga.transact", "a plain Effect with finalizers")}`)

const payload = { id: Schema.String }
const S5 = Saga.make("S5", {
  payload: Schema.Struct(payload),
  success: Result,
  idempotencyKey: ({ id }) => id
})
const W5 = Workflow.make("S5", { payload, success: Result, idempotencyKey: ({ id }) => id })
const saga = S5.toLayer(Effect.fnUntraced(function*() {
  for (let number = 1; number < 5; number++) yield* step(number)
  return yield* step(5)
}))
const activity = (number: number) => Activity.make({ name: `Step${number}`, success: Result, execute: acting(number) })
const workflow = W5.toLayer(Effect.fnUntraced(function*() {
  for (let number = 1; number < 5; number++) yield* activity(number)
  return yield* activity(5)
}))

let next = 0
const forMillis = (millis: number): () => boolean => {
  const end = performance.now() + millis
  return () => performance.now() >= end
}
const rates = new Map<string, Array<number>>()
for (const concurrency of [1, 64]) {
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const sagas = ManagedRuntime.make(saga.pipe(Layer.provideMerge(SagaEngine.layerMemory)))
    const workflows = ManagedRuntime.make(workflow.pipe(Layer.provideMerge(WorkflowEngine.layerMemory)))
    const measure = async (name: string, drive: (until: () => boolean) => Promise<Array<number>>) => {
      await drive(forMillis(500))
      globalThis.gc?.()
      const before = performance.now()
      const ended = await drive(forMillis(quick ? 500 : 1_500))
      const rate = ended.length / (performance.now() - before) * 1_000
      const key = `${name}, ${concurrency === 1 ? "1 caller" : `${concurrency} callers`}`
      rates.set(key, [...rates.get(key) ?? [], rate])
    }
    const id = () => ({ id: `${next++}` })
    await measure(
      "effect-saga in memory",
      (until) => sagas.runPromise(Effect.orDie(callers(concurrency, until, Effect.suspend(() => S5.execute(id())))))
    )
    await sagas.dispose()
    await measure(
      "effect/workflow in memory",
      (until) => workflows.runPromise(callers(concurrency, until, Effect.suspend(() => W5.execute(id()))))
    )
    await workflows.dispose()
  }
}
console.log("\nS5 in memory, sagas a second (median, least to most)")
for (const [name, all] of rates) {
  console.log(
    `${name.padEnd(44)}${median(all).toFixed(0).padStart(8)}  (${Math.min(...all).toFixed(0)} to ${
      Math.max(...all).toFixed(0)
    })`
  )
}
process.exit(0)
