/**
 * effect-saga from the source of this repository, as a user runs it: the engine's and the client's defaults, schemas on
 * every step, no option for speed.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import { Saga, SagaEngine, SagaStore, Step, Timer } from "../../src/index.ts"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import { type Contender, holding, result, serve } from "../work.ts"
import { callers, client } from "./effects.ts"
import { finished, suspended } from "./sagaExtra.ts"

const Result = Schema.Struct({ id: Schema.Int, state: Schema.String })
class Refused extends Schema.TaggedError<Refused>()("Refused", { step: Schema.Int }) {}

const step = (number: number) =>
  Step.make(`Step${number}`, {
    success: Result,
    execute: Effect.sync(() => result(number)),
    compensate: () => Effect.void
  })

const refused = Step.make("Step5", {
  success: Result,
  error: Refused,
  execute: Effect.fail(new Refused({ step: 5 })),
  compensate: () => Effect.void
})

const held = Step.make("Step3", {
  success: Result,
  execute: Effect.suspend(() => {
    inHeld++
    return holding ? Effect.never : Effect.succeed(result(3))
  }),
  compensate: () => Effect.void
})
let inHeld = 0

const definition = <const Name extends string>(name: Step.Literal<Name>) =>
  Saga.make(name, {
    payload: Schema.Struct({ id: Schema.String }),
    success: Result,
    idempotencyKey: (payload: { readonly id: string }) => payload.id
  })

const S5 = definition("S5")
const S20 = definition("S20")
const Held = definition("Held")
const S5F = Saga.make("S5F", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Result,
  error: Refused,
  idempotencyKey: (payload) => payload.id
})
const Sleeping = Saga.make("Sleeping", {
  payload: Schema.Struct({ id: Schema.String, at: Schema.Number }),
  success: Result,
  idempotencyKey: (payload) => payload.id
})

const live = Layer.mergeAll(
  S5.toLayer(Effect.fnUntraced(function*() {
    for (let number = 1; number < 5; number++) yield* step(number)
    return yield* step(5)
  })),
  S20.toLayer(Effect.fnUntraced(function*() {
    for (let number = 1; number < 20; number++) yield* step(number)
    return yield* step(20)
  })),
  S5F.toLayer(Effect.fnUntraced(function*() {
    for (let number = 1; number < 5; number++) yield* step(number)
    return yield* refused
  })),
  Held.toLayer(Effect.fnUntraced(function*() {
    yield* step(1)
    yield* step(2)
    yield* held
    yield* step(4)
    return yield* step(5)
  })),
  Sleeping.toLayer(Effect.fnUntraced(function*({ at }) {
    yield* step(1)
    yield* Timer.sleepUntil("Window", at)
    late.push(Date.now() - at)
    return yield* step(2)
  }))
)
const late: Array<number> = []

await serve(async (task): Promise<Contender> => {
  const recovery = task.kind === "hold" || task.kind === "recover"
  // A dead worker's executions wait for its lease; the default of 30 seconds would only lengthen the run.
  const engine = recovery
    ? SagaEngine.layerOptions({ lease: "5 seconds", margin: "500 millis" })
    : SagaEngine.layer
  const runtime = ManagedRuntime.make(
    live.pipe(
      Layer.provideMerge(engine),
      Layer.provideMerge(SqlSagaStore.layer()),
      Layer.provideMerge(client(task.url))
    )
  )
  await runtime.runPromise(SagaEngine.SagaEngine)
  const unique = `${process.pid}-${Date.now().toString(36)}`
  let next = 0
  const payload = () => ({ id: `${unique}-${next++}` })
  const runs = {
    S5: Effect.suspend(() => S5.execute(payload())),
    S20: Effect.suspend(() => S20.execute(payload())),
    S5F: Effect.suspend(() => Effect.flip(S5F.execute(payload())))
  }
  const count = (where: string) =>
    PgClient.PgClient.use((sql) =>
      Effect.map(
        sql.unsafe<{ readonly count: number }>(
          `SELECT count(*)::float8 AS count FROM saga.saga_execution WHERE ${where}`
        )
          .unprepared,
        ([row]) => row!.count
      )
    )
  return {
    drive: (work, concurrency, until) =>
      runtime.runPromise(Effect.orDie(callers<unknown, SagaEngine.SagaEngine>(concurrency, until, runs[work]))),
    hold: async (wanted) => {
      await runtime.runPromise(
        Effect.forEach(Array.from({ length: wanted }), () => Held.start(payload()), {
          concurrency: 256,
          discard: true
        })
      )
      while (inHeld < wanted) await new Promise((resolve) => setTimeout(resolve, 50))
    },
    open: () => runtime.runPromise(count("status <> 'completed'")),
    extra: (name, wanted) =>
      name === "suspended"
        ? runtime.runPromise(suspended(wanted, (at) => Sleeping.start({ ...payload(), at }), late, count))
        : runtime.runPromise(finished(wanted, runs.S5, SagaStore.SagaStore)),
    close: () => runtime.dispose()
  }
})
