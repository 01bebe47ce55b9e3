/**
 * What a definition asks of the engine, and what a handler gives to it.
 *
 * The key and the interface lie below `Saga`, so that a definition's methods reach the engine; its layers lie above, in
 * `SagaEngine`. Payloads, results and errors cross this line decoded: the engine runs the definition's codecs.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { CompensationOptions } from "../Execution.ts"
import type { ExecutionId } from "../ExecutionId.ts"
import type * as Journal from "../Journal.ts"
import type { ParkReason, SagaError } from "../SagaError.ts"
import type { Codec } from "./codec.ts"

/**
 * A saga's definition as the engine sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Definition {
  readonly tag: string
  readonly payload: Codec
  readonly success: Codec
  readonly error: Codec
  readonly compensationError: Codec
  readonly idempotencyKey: (payload: unknown) => string
  readonly version: number
  /** The earlier versions whose open executions its handler runs too. */
  readonly replaces: ReadonlyArray<number>
  /** What executions are found by. */
  readonly tags: (payload: unknown) => Readonly<Record<string, string>>
  readonly deadline: Duration.Duration | undefined
  readonly onDefect: "park" | "rollback"
  /** Whether compensations run one after the other, or all at once. */
  readonly compensation: "sequential" | "parallel"
  readonly compensationDefaults: CompensationOptions
  /** What the body may publish, by its key. */
  readonly published: ReadonlyMap<string, Codec>
}

/**
 * A definition with its body. `body` still asks for `Execution`; everything else it needs is in the fiber that
 * registered it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handler {
  readonly definition: Definition
  readonly body: (payload: unknown) => Effect.Effect<unknown, unknown, unknown>
}

/**
 * A journal as it was stored, with what it began with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recorded {
  readonly id: string
  readonly version: number
  /** JSON text of the encoded payload. */
  readonly payload: string
  readonly entries: ReadonlyArray<Journal.Entry>
}

/**
 * How a body takes a journal: as it is, or not, and at which entry they part; undefined: before the first, or after the
 * last.
 *
 * @category models
 * @since 0.1.0
 */
export type Replayed =
  | { readonly _tag: "Same" }
  | { readonly _tag: "NoHandler" }
  | { readonly _tag: "Diverges"; readonly reason: ParkReason; readonly entry: Journal.Entry | undefined }

/**
 * Where an execution stands, decoded.
 *
 * @category models
 * @since 0.1.0
 */
export type Polled =
  & {
    readonly steps: ReadonlyArray<Journal.StepRecord>
    readonly compensations: ReadonlyArray<Journal.CompensationRecord>
    readonly published: Readonly<Record<string, unknown>>
  }
  & (
    | { readonly _tag: "Running"; readonly pivotPassed: boolean }
    | { readonly _tag: "Suspended"; readonly wakeAt: number | undefined }
    | { readonly _tag: "Compensating" }
    | { readonly _tag: "Completed"; readonly value: unknown }
    | { readonly _tag: "RolledBack"; readonly error: unknown }
    | { readonly _tag: "Parked"; readonly error: SagaError }
    | { readonly _tag: "Abandoned"; readonly error: SagaError }
  )

/**
 * A signal that is sent: its payload, decoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface SignalMessage {
  readonly signal: string
  readonly codec: Codec
  readonly payload: unknown
}

/**
 * The engine that a program runs its sagas with.
 *
 * @category services
 * @since 0.1.0
 */
export class SagaEngine extends Context.Service<SagaEngine, {
  /** Makes this process able to run a saga, until the scope closes: then what it runs of it is drained. */
  readonly register: (handler: Handler) => Effect.Effect<void, never, Scope.Scope>
  /** Starts an execution, or joins the one with this key; durable once it returned. */
  readonly start: (definition: Definition, payload: unknown) => Effect.Effect<ExecutionId, SagaError, unknown>
  /** Starts an execution, or joins the one with this key, and waits for its end as `result` does. */
  readonly execute: (definition: Definition, payload: unknown) => Effect.Effect<unknown, unknown, unknown>
  /** Waits for the end: the result, the saga's own error once it is rolled back, or `SagaError`. */
  readonly result: (definition: Definition, id: ExecutionId) => Effect.Effect<unknown, unknown, unknown>
  readonly poll: (definition: Definition, id: ExecutionId) => Effect.Effect<Polled, SagaError, unknown>
  readonly cancel: (id: ExecutionId, reason: string | undefined) => Effect.Effect<void, SagaError>
  readonly resume: (id: ExecutionId) => Effect.Effect<void, SagaError>
  /** Runs the body of this process's handler against a journal; nothing is recorded, and nothing acts. */
  readonly replay: (recorded: Recorded) => Effect.Effect<Replayed>
  /** Fails where executions of this version have not ended. */
  readonly retired: (tag: string, version: number) => Effect.Effect<void, SagaError<never>>
  /** Starts an execution with its first signal, or joins the one with this key and sends it. */
  readonly startWithSignal: (
    definition: Definition,
    payload: unknown,
    message: SignalMessage,
    key: string | undefined
  ) => Effect.Effect<ExecutionId, SagaError, unknown>
  /** Sends a signal; durable once it returned, and received at most once for each key. */
  readonly signal: (
    id: ExecutionId,
    message: SignalMessage,
    key: string | undefined
  ) => Effect.Effect<void, SagaError, unknown>
  /**
   * Why this is not a result of that step in its stored form; undefined where it is one, and where this process has no
   * handler to tell.
   */
  readonly issueOf: (id: string, step: Journal.Ref, value: Schema.Json) => Effect.Effect<string | undefined>
}>()("effect-saga/SagaEngine") {}
