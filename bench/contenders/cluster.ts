/**
 * `effect/workflow` on the cluster engine of one process, messages and runners in SQL (`SingleRunner`), as Effect's own
 * documentation composes it. Its pool is twice the default; entities and mailboxes are not bounded by less than the
 * callers need. Compensations are `Workflow.withCompensation`.
 */
import { NodeCrypto } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import { ClusterWorkflowEngine, SingleRunner } from "effect/cluster"
import { Activity, Workflow, type WorkflowEngine } from "effect/workflow"
import { type Contender, holding, result, serve } from "../work.ts"
import { callers, client } from "./effects.ts"

const Result = Schema.Struct({ id: Schema.Int, state: Schema.String })
class Refused extends Schema.TaggedError<Refused>()("Refused", { step: Schema.Int }) {}

let inHeld = 0

const step = (number: number) =>
  Activity.make({ name: `Step${number}`, success: Result, execute: Effect.sync(() => result(number)) })

const refused = Activity.make({ name: "Step5", success: Result, error: Refused, execute: new Refused({ step: 5 }) })

const definition = <const Name extends string>(name: Name) =>
  Workflow.make(name, {
    payload: { id: Schema.String },
    success: Result,
    idempotencyKey: ({ id }) => id
  })

const S5 = definition("S5")
const S20 = definition("S20")
const Held = definition("Held")
const S5F = Workflow.make("S5F", {
  payload: { id: Schema.String },
  success: Result,
  error: Refused,
  idempotencyKey: ({ id }) => id
})

const sequence = (steps: number) =>
  Effect.gen(function*() {
    for (let number = 1; number < steps; number++) yield* step(number)
    return yield* step(steps)
  })

const live = Layer.mergeAll(
  S5.toLayer(() => sequence(5)),
  S20.toLayer(() => sequence(20)),
  S5F.toLayer(Effect.fnUntraced(function*() {
    for (let number = 1; number < 5; number++) {
      yield* step(number).pipe(
        S5F.withCompensation(() => Activity.make({ name: `Undo${number}`, execute: Effect.void }))
      )
    }
    return yield* refused
  })),
  Held.toLayer(Effect.fnUntraced(function*() {
    yield* step(1)
    yield* step(2)
    yield* Activity.make({
      name: "Step3",
      success: Result,
      execute: Effect.suspend(() => {
        inHeld++
        return holding ? Effect.never : Effect.succeed(result(3))
      })
    })
    yield* step(4)
    return yield* step(5)
  }))
)

await serve(async (task): Promise<Contender> => {
  const engine = ClusterWorkflowEngine.layer.pipe(
    Layer.provideMerge(SingleRunner.layer({
      runnerStorage: "sql",
      shardingConfig: { maxResidentEntities: "unbounded", entityMailboxCapacity: "unbounded" }
    })),
    Layer.provide(NodeCrypto.layerDigest),
    Layer.provideMerge(client(task.url, { maxConnections: 20 }))
  )
  const runtime = ManagedRuntime.make(live.pipe(Layer.provideMerge(engine)))
  const unique = `${process.pid}-${Date.now().toString(36)}`
  let next = 0
  const payload = () => ({ id: `${unique}-${next++}` })
  await runtime.runPromise(PgClient.PgClient)
  const runs = {
    S5: Effect.suspend(() => S5.execute(payload())),
    S20: Effect.suspend(() => S20.execute(payload())),
    S5F: Effect.suspend(() => Effect.flip(S5F.execute(payload())))
  }
  return {
    drive: (work, concurrency, until) =>
      runtime.runPromise(
        Effect.orDie(callers<unknown, WorkflowEngine.WorkflowEngine>(concurrency, until, runs[work]))
      ),
    hold: async (count) => {
      const numbers = Array.from({ length: count })
      await runtime.runPromise(
        Effect.forEach(numbers, () => Held.execute(payload(), { discard: true }), { concurrency: 64, discard: true })
      )
      while (inHeld < count) await new Promise((resolve) => setTimeout(resolve, 50))
    },
    open: () =>
      runtime.runPromise(PgClient.PgClient.use((sql) =>
        Effect.map(
          sql.unsafe<{ readonly count: number }>(
            `SELECT count(*)::float8 AS count FROM cluster_messages WHERE tag = 'run' AND NOT processed`
          ).unprepared,
          ([row]) => row!.count
        )
      )),
    close: () => runtime.dispose()
  }
})
