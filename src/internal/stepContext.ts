/**
 * What a step's own effects know of themselves, say while they run, and are told.
 *
 * It asks the interpreter through `StepContext`. It decides nothing: what a heartbeat or a withdrawal means is the
 * interpreter's business.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Execution from "../Execution.ts"
import { codec } from "./codec.ts"
import type { Storable } from "./types.ts"

/**
 * What `execute`, `check` and `compensate` know about themselves. Provided by the engine inside each of them.
 *
 * @category services
 * @since 0.1.0
 */
export class StepContext extends Context.Service<StepContext, {
  readonly execution: string
  readonly step: string
  /** The idempotency key of this attempt. */
  readonly key: string
  /** In a compensation, the key under which its step happened; elsewhere that of this attempt. */
  readonly stepKey: string
  /** Counted from 1, across restarts. */
  readonly attempt: number
  /** The `seq` of the claim under which this process acts: it grows with every takeover. */
  readonly epoch: number
  /** Who hears its heartbeats; a test that provides this context by hand needs nobody. */
  readonly heart?: Execution.Heart | undefined
}>()("effect-saga/Step/StepContext") {}

/**
 * The key under which the participant should do this once.
 *
 * **Details**
 *
 * Unchanged across crashes, timeouts and everything else after which nobody knows; another one after a journaled
 * refusal, since a participant that stores its answers by key would repeat the refusal for ever. In a compensation: the
 * compensation's own key, which never changes.
 *
 * @category accessors
 * @since 0.1.0
 */
export const idempotencyKey: Effect.Effect<string, never, StepContext> = StepContext.useSync((_) => _.key)

/**
 * In a compensation: the key under which its step happened, for a participant that wants to be told what to undo by the
 * key of what it did. Elsewhere the same as `idempotencyKey`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const stepKey: Effect.Effect<string, never, StepContext> = StepContext.useSync((_) => _.stepKey)

/**
 * Which attempt this is, from 1, across restarts.
 *
 * @category accessors
 * @since 0.1.0
 */
export const attempt: Effect.Effect<number, never, StepContext> = StepContext.useSync((_) => _.attempt)

/**
 * A fencing token: it grows whenever another process takes the execution over. A participant that remembers the
 * highest one can refuse a process that lost its claim and does not know it yet.
 *
 * @category accessors
 * @since 0.1.0
 */
export const epoch: Effect.Effect<number, never, StepContext> = StepContext.useSync((_) => _.epoch)

/**
 * What a heartbeat is told. `cancelRequested`: nobody wants the step any more, since the saga was cancelled, its
 * deadline passed, it rolls back, or what asked for the step has lost a race or was interrupted.
 *
 * @category heartbeats
 * @since 0.1.0
 */
export interface Heartbeat extends Execution.Heartbeat {}

/**
 * Says that an attempt is alive, how far it has come, and hears whether anybody wants the step still. For steps and
 * compensations that take long: call it as often as is convenient.
 *
 * **When to use**
 *
 * With `heartbeatTimeout`, so that an attempt that hangs is noticed soon although one that works may take hours; with
 * `lastHeartbeat`, so that the next attempt goes on where this one stopped; and to stop early when nobody wants it.
 *
 * **Details**
 *
 * `details` are stored in the form of `schema`, JSON where there is none. Details that cannot be stored are a defect. A
 * call returns at once: the details are written in the background, the newest ones only. They go with whatever the
 * execution appends, with the end of an attempt that does not succeed, and by themselves once `Limits.HeartbeatPause`
 * (10 seconds) or a twentieth of the attempt's age has passed since the last time, but at most
 * `Limits.MaxHeartbeatPause` (10 minutes). So a step of a day leaves some 230 of them in the journal, however often it
 * beats. Keep the details small.
 *
 * A step that hears `cancelRequested` may go on and finish: then it is undone. Or it makes sure that nothing of it is
 * left and yields `Step.withdraw`. Fail with a declared error instead, and that is recorded as its refusal.
 *
 * In a compensation nothing is ever cancelled; in a `check` the details are not kept.
 *
 * **Gotchas**
 *
 * A crash loses the details of the last pause, also all of a short attempt: an attempt must be right without them.
 * A process that has lost its claim stops here: the call does not return. Nor does it for what goes on after the end of
 * its attempt, for instance past a timeout and the grace: nothing that it says counts any more.
 *
 * **Example**
 *
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { Step } from "effect-saga"
 *
 * const Row = Schema.Struct({ row: Schema.Int })
 *
 * const copyAll = (copy: (row: number) => Effect.Effect<void>) =>
 *   Effect.gen(function*() {
 *     const from = Option.match(yield* Step.lastHeartbeat(Row), { onNone: () => 0, onSome: ({ row }) => row + 1 })
 *     for (let row = from; row < 1_000_000; row++) {
 *       yield* copy(row)
 *       yield* Step.heartbeat({ row }, Row)
 *     }
 *   })
 * ```
 *
 * @category heartbeats
 * @since 0.1.0
 */
export const heartbeat = <S extends Schema.Top = typeof Schema.Json>(
  details?: S["Type"],
  schema?: S & Storable<S>
): Effect.Effect<Heartbeat, never, StepContext | S["EncodingServices"]> =>
  StepContext.use(({ heart }): Effect.Effect<Heartbeat, never, S["EncodingServices"]> => {
    if (heart === undefined) return Effect.succeed({ cancelRequested: false })
    if (details === undefined) return heart.beat(undefined)
    const json = schema === undefined ? Effect.succeed(details as Schema.Json) : codec(schema).encode(details)
    return Effect.flatMap(
      Effect.orDie(json) as Effect.Effect<Schema.Json, never, S["EncodingServices"]>,
      (stored) => heart.beat(stored)
    )
  })

/**
 * The last details that an earlier attempt gave and that are durable: after a refusal, a timeout, a crash, in another
 * process. In `check` those of the attempt that it asks about.
 *
 * **Details**
 *
 * The same throughout an attempt. None in a first attempt, where none gave any, where a crash came before they were
 * durable, and where they do not fit `schema`, since another version of the code wrote them: that is logged.
 *
 * @category heartbeats
 * @since 0.1.0
 */
export const lastHeartbeat = <S extends Schema.Top>(
  schema: S & Storable<S>
): Effect.Effect<Option.Option<S["Type"]>, never, StepContext | S["DecodingServices"]> =>
  StepContext.use(({ heart, step }): Effect.Effect<Option.Option<S["Type"]>, never, S["DecodingServices"]> => {
    if (heart?.before === undefined) return Effect.succeedNone
    return Effect.asSome(codec(schema).decode(heart.before)).pipe(
      Effect.catch((error) =>
        Effect.as(
          Effect.logWarning(`the last heartbeat of ${step} does not fit its schema, and is left out: ${error.message}`),
          Option.none()
        )
      )
    )
  })

/**
 * Ends a step that nobody wants: it did not happen, and is not tried again. For a step whose heartbeat was told so
 * (`cancelRequested`); without that it is a defect.
 *
 * **Details**
 *
 * It is journaled as `StepWithdrawn`, and nothing is undone for it. Nothing in the step catches it but what catches
 * defects; its finalizers run.
 *
 * **Gotchas**
 *
 * It is your assertion, for every attempt under this idempotency key: take back first what this one and an earlier one
 * that died have done, or go on and finish, so that the compensation does it.
 *
 * @category heartbeats
 * @since 0.1.0
 */
export const withdraw: Effect.Effect<never, never, StepContext> = Effect.suspend(() => Effect.die(new Withdrawal()))

/**
 * Whether an attempt ended by `withdraw`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isWithdrawal = (cause: Cause.Cause<unknown>): boolean => {
  const defects = cause.reasons.filter((_) => _._tag === "Die")
  return defects.length > 0 && defects.every(({ defect }) => defect instanceof Withdrawal)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** It goes through the step as a defect, so that nothing there takes it for a refusal. */
class Withdrawal extends Error {
  override readonly name = "Withdrawal"
  override readonly message = "it was withdrawn, although no heartbeat was told that nobody wants it"
}
