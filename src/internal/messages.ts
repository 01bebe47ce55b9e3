/**
 * What a definition sends to its executions: the methods of a saga that are about signals.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as ExecutionId from "../ExecutionId.ts"
import { SagaError, UnknownExecution } from "../SagaError.ts"
import type { Signal } from "../Signal.ts"
import { codec } from "./codec.ts"
import { type Definition, SagaEngine, type SignalMessage } from "./engine.ts"

/**
 * The methods of a saga's definition that send signals.
 *
 * @category models
 * @since 0.1.0
 */
export interface Messages<P extends Schema.Top> {
  /**
   * Sends a signal to an execution, from any process; returns once it is durable.
   *
   * **Details**
   *
   * It is received exactly once, by the first receive of its kind that asks for it, also when it comes before that. Two
   * that are sent with one `key` are one, as long as the execution is stored: also when the first was received, and
   * when the execution has ended since.
   *
   * Fails with `SignalInvalid` where the payload does not fit its schema, `UnknownExecution` where there is no such
   * execution of this saga, and `NotAccepting` once it has ended. A parked one keeps it.
   *
   * **Gotchas**
   *
   * Who sends again after `StoreUnavailable` needs a `key`, or it may be received twice.
   */
  signal<Name extends string, S extends Schema.Top>(
    id: ExecutionId.ExecutionId,
    signal: Signal<Name, S>,
    payload: S["Type"],
    options?: SignalOptions
  ): Effect.Effect<void, SagaError<never>, SagaEngine | S["EncodingServices"]>

  /**
   * Starts an execution, or joins the one with the same key, and sends it a signal; returns once both are durable.
   *
   * **Details**
   *
   * A new execution and its first signal become durable together: after a crash there are both or neither. Fails as
   * `start` and `signal` do; with `PayloadMismatch` nothing is sent.
   */
  startWithSignal<Name extends string, S extends Schema.Top>(
    payload: P["Type"],
    signal: Signal<Name, S>,
    signalPayload: S["Type"],
    options?: SignalOptions
  ): Effect.Effect<
    ExecutionId.ExecutionId,
    SagaError<never>,
    SagaEngine | P["EncodingServices"] | S["EncodingServices"]
  >
}

/**
 * How a signal is sent.
 *
 * @category options
 * @since 0.1.0
 */
export interface SignalOptions {
  /**
   * Makes two signals with one key one signal, at most 512 UTF-16 code units long.
   *
   * @default each is a signal of its own
   */
  readonly key?: string | undefined
}

/**
 * The methods for a definition.
 *
 * @category constructors
 * @since 0.1.0
 */
export const messages = (definition: Definition): Messages<Schema.Top> => {
  const methods = {
    signal: (id: ExecutionId.ExecutionId, signal: AnySignal, payload: unknown, options?: SignalOptions) =>
      Effect.flatMap(SagaEngine, (engine) =>
        ExecutionId.tag(id) === definition.tag
          ? engine.signal(id, message(signal, payload), options?.key)
          : Effect.fail(new SagaError({ reason: new UnknownExecution({ execution: id }) })))
        .pipe(Effect.withSpan(`${definition.tag}.signal`, {}, { captureStackTrace: false })),
    startWithSignal: (payload: unknown, signal: AnySignal, signalPayload: unknown, options?: SignalOptions) =>
      SagaEngine.use((engine) =>
        engine.startWithSignal(definition, payload, message(signal, signalPayload), options?.key)
      ).pipe(Effect.withSpan(`${definition.tag}.startWithSignal`, {}, { captureStackTrace: false }))
  }
  return methods as unknown as Messages<Schema.Top>
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

type AnySignal = Signal<string, Schema.Top>

const message = (signal: AnySignal, payload: unknown): SignalMessage => ({
  signal: signal.name,
  codec: codec(signal.payloadSchema),
  payload
})
