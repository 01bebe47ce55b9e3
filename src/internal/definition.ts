/**
 * What `Saga.make` makes: a definition whose methods ask the engine in the context.
 *
 * The types of a definition are in `Saga`; this is what is behind them. It owns no fiber, no store and no clock.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Execution from "../Execution.ts"
import * as ExecutionId from "../ExecutionId.ts"
import type { Compensation, Options, Published, Saga } from "../Saga.ts"
import { codec } from "./codec.ts"
import { type Definition, SagaEngine } from "./engine.ts"
import { messages } from "./messages.ts"
import { schedule } from "./step.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~effect-saga/Saga"

/**
 * A definition, with the methods that reach the engine of whoever calls them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = <
  Tag extends string,
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  CE extends Schema.Top,
  Pub extends Published
>(
  tag: string,
  options: Options<P, S, E, CE, Pub>
): Saga<Tag, P, S, E, CE, Pub> => {
  const success = options.success ?? Schema.Void
  const error = options.error ?? Schema.Never
  const compensationError = options.compensationError ?? Schema.Never
  const compensation: Compensation<CE["Type"]> = typeof options.compensation === "string"
    ? { order: options.compensation }
    : options.compensation ?? {}
  const definition: Definition = {
    tag,
    payload: codec(options.payload),
    success: codec(success),
    error: codec(error),
    compensationError: codec(compensationError),
    idempotencyKey: options.idempotencyKey,
    version: options.version ?? 1,
    replaces: options.replaces ?? [],
    tags: options.tags ?? (() => ({})),
    deadline: options.deadline === undefined ? undefined : Duration.fromInputUnsafe(options.deadline),
    onDefect: options.onDefect ?? "park",
    compensation: compensation.order ?? "sequential",
    compensationDefaults: {
      retry: schedule(compensation.retry),
      timeout: compensation.timeout === undefined
        ? undefined
        : Duration.fromInputUnsafe(compensation.timeout as Duration.Input),
      onFailure: compensation.onFailure
    },
    published: new Map(Object.entries<Schema.Top>(options.published ?? {}).map(([key, schema]) => [key, codec(schema)]))
  }
  const register = (body: (payload: P["Type"]) => Effect.Effect<unknown, unknown, unknown>) =>
    Layer.effectDiscard(SagaEngine.use((engine) => engine.register({ definition, body })))
  const settled = (
    attempt: (payload: P["Type"]) => Effect.Effect<unknown, unknown, unknown>,
    settle: (value: never, payload: P["Type"]) => Effect.Effect<unknown, unknown, unknown>
  ) =>
    register((payload) =>
      Effect.flatMap(attempt(payload), (value) => Effect.andThen(pointOfNoReturn, settle(value as never, payload)))
    )
  const saga = {
    ...messages(definition),
    [TypeId]: TypeId,
    tag,
    payloadSchema: options.payload,
    successSchema: success,
    errorSchema: error,
    compensationErrorSchema: compensationError,
    executionId: (payload: P["Type"]) => ExecutionId.make(tag, options.idempotencyKey(payload)),
    execute: (payload: P["Type"]) =>
      SagaEngine.use((engine) => engine.execute(definition, payload)).pipe(
        Effect.withSpan(`${tag}.execute`, {}, { captureStackTrace: false })
      ),
    start: (payload: P["Type"]) =>
      SagaEngine.use((engine) => engine.start(definition, payload)).pipe(
        Effect.withSpan(`${tag}.start`, {}, { captureStackTrace: false })
      ),
    poll: (id: ExecutionId.ExecutionId) => SagaEngine.use((engine) => engine.poll(definition, id)),
    result: (id: ExecutionId.ExecutionId) => SagaEngine.use((engine) => engine.result(definition, id)),
    cancel: (id: ExecutionId.ExecutionId, cancel?: { readonly reason?: string | undefined }) =>
      SagaEngine.use((engine) => engine.cancel(id, cancel?.reason)),
    resume: (id: ExecutionId.ExecutionId) => SagaEngine.use((engine) => engine.resume(id)),
    toLayer: register,
    attempt: (attempt: (payload: P["Type"]) => Effect.Effect<unknown, unknown, unknown>) => ({
      settle: (settle: (value: never, payload: P["Type"]) => Effect.Effect<unknown, unknown, unknown>) =>
        settled(attempt, settle),
      pivot: (pivot: (value: unknown, payload: P["Type"]) => Effect.Effect<unknown, unknown, unknown>) => ({
        settle: (settle: (value: never, payload: P["Type"]) => Effect.Effect<unknown, unknown, unknown>) =>
          settled(
            (payload) => Effect.flatMap(attempt(payload), (a) => Effect.map(pivot(a, payload), (b) => [a, b] as const)),
            settle
          )
      })
    })
  } as unknown as Saga<Tag, P, S, E, CE, Pub>
  definitions.set(saga, definition)
  return saga
}

/**
 * What is behind a saga that was made here.
 *
 * @category destructors
 * @since 0.1.0
 */
export const definitionOf = (saga: object): Definition | undefined => definitions.get(saga)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const definitions = new WeakMap<object, Definition>()

const pointOfNoReturn = Effect.withFiber((fiber) =>
  Effect.flatMap(Execution.Execution, (execution) => execution.ask({ _tag: "PointOfNoReturn" }, fiber))
)
