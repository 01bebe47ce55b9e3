/**
 * Steps: named effects whose results are journaled, with what undoes them.
 *
 * A step is an Effect: it composes with `map`, `catchTag`, `Effect.all`, generators and pipes. Running it asks the
 * current interpreter (`Execution`) to run it, or to answer from the journal. This module describes; it runs nothing.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type * as Execution from "./Execution.ts"
import { describe, TypeId } from "./internal/step.ts"
import type { StepContext } from "./internal/stepContext.ts"
import type { TimedOut } from "./internal/timedOut.ts"
import type {
  Codecs,
  Decides,
  Forward,
  Literal,
  MayWait,
  NoSteps,
  Receives,
  SagaTypeError,
  Storable,
  Undo,
  Uses
} from "./internal/types.ts"
import type * as Journal from "./Journal.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A named, journaled effect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Step<out Name extends string, out A, out E, out R> extends Effect.Effect<A, E, R> {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly kind: Journal.Kind
  readonly request: Execution.StepRequest
}

/**
 * A step of which only the shape is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Step<string, unknown, unknown, unknown> {}

/**
 * A step that can be undone. `R`: the services that it and its compensation use; `CE`: what the compensation can fail
 * with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compensable<Name extends string, A, E = never, R = never, CE = never>
  extends Step<Name, A, E, Execution.Execution | Uses<R> | Residue<Name, CE>>
{}

/**
 * A step that only reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface Readonly<Name extends string, A, E = never, R = never>
  extends Step<Name, A, E, Execution.Execution | Uses<R>>
{}

/**
 * A step that is retried until it succeeds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Retryable<Name extends string, A, R = never>
  extends Step<Name, A, never, Execution.Execution | Uses<R> | Forward>
{}

/**
 * A step that decides.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pivot<Name extends string, A, E = never, R = never>
  extends Step<Name, A, E, Execution.Execution | Uses<R> | Decides>
{}

/**
 * What `check` answers: it happened, with this value; it did not, and the participant refuses this key from now on; or
 * it is still going on.
 *
 * @category models
 * @since 0.1.0
 */
export type Check<A> = Execution.Check<A>

/**
 * When to try again: a schedule over the errors, or one that applies only while an error is worth another try.
 *
 * @category options
 * @since 0.1.0
 */
export type Retry<E> = Schedule.Schedule<unknown, E> | {
  readonly schedule: Schedule.Schedule<unknown, E>
  /** Whether to try again after this error: a pure function. */
  readonly while: (error: E) => boolean
}

/**
 * How a step is stored and tried again.
 *
 * @category options
 * @since 0.1.0
 */
export interface Settings<S extends Schema.Top, E extends Schema.Top, T> {
  /**
   * How the result is stored.
   *
   * @default Schema.Void
   */
  readonly success?: (S & Storable<S>) | undefined
  /**
   * How a refusal is stored: an error of this schema says that the step did not happen.
   *
   * @default Schema.Never
   */
  readonly error?: (E & Storable<E>) | undefined
  /**
   * When to try again after a refusal or a timeout. Attempts and delays are journaled, so a delay once served is not
   * served again after a restart.
   *
   * @default not at all
   */
  readonly retry?: Retry<NoInfer<E["Type"] | Failing<T>>> | undefined
}

/**
 * What every constructor takes.
 *
 * @category options
 * @since 0.1.0
 */
export interface Common<S extends Schema.Top, E extends Schema.Top, R, T> extends Settings<S, E, T> {
  /** The effect. It has a scope of its own, which closes at the end of the attempt. */
  readonly execute: Effect.Effect<S["Type"], E["Type"], R>
}

/**
 * Finds out whether the attempt with this idempotency key happened. `Option.none()` says `Never`, and like it promises
 * that the participant will refuse the key from now on.
 *
 * @category options
 * @since 0.1.0
 */
export type CheckFn<A, KR> = (key: string) => NoSteps<KR> & Effect.Effect<Option.Option<A> | Check<A>, never, KR>

/**
 * What happens when nobody knows whether the step happened. With `timeout`, how long one attempt may take, or
 * `heartbeatTimeout`, how long it may go without `Step.heartbeat`, an answer is required; both are `TimedOut`.
 *
 * **Gotchas**
 *
 * A timed-out attempt is interrupted and awaited for a grace (`Limits.InterruptGrace`, 5 seconds). An error or a defect
 * that comes in that time counts; a success in an uninterruptible region is replaced by the interruption and counts as
 * timed out. So `unknown: "refused"` is your assertion that a timed-out attempt has not happened.
 *
 * @category options
 * @since 0.1.0
 */
export type Doubt<T, H, A, KR> =
  | {
    readonly timeout: T
    readonly heartbeatTimeout?: H | undefined
    readonly check: CheckFn<A, KR>
    readonly unknown?: undefined
  }
  | {
    readonly timeout: T
    readonly heartbeatTimeout?: H | undefined
    readonly check?: undefined
    readonly unknown: "park" | "refused"
  }
  | {
    readonly timeout?: undefined
    readonly heartbeatTimeout: H
    readonly check: CheckFn<A, KR>
    readonly unknown?: undefined
  }
  | {
    readonly timeout?: undefined
    readonly heartbeatTimeout: H
    readonly check?: undefined
    readonly unknown: "park" | "refused"
  }
  // Last, since among equals the compiler explains a refusal by the last.
  | {
    readonly timeout?:
      | SagaTypeError<"a step with a timeout must say whether it happened: give `check` or `unknown`">
      | undefined
    readonly heartbeatTimeout?:
      | SagaTypeError<"a step with a timeout must say whether it happened: give `check` or `unknown`">
      | undefined
    readonly check?: CheckFn<A, KR> | undefined
    readonly unknown?: "park" | "refused" | undefined
  }

/**
 * How the compensation is run.
 *
 * @category options
 * @since 0.1.0
 */
export interface CompensationOptions<CE, CT, CKR = never, CH = never> {
  /**
   * When to try again after a failure or a timeout.
   *
   * @default what the saga says, not at all where it says nothing
   */
  readonly retry?: Retry<NoInfer<CE | Failing<CT | CH>>> | undefined
  /**
   * How long one attempt may take. A timed-out attempt is tried again with the same key.
   *
   * @default what the saga says, no limit where it says nothing
   */
  readonly timeout?: CT | undefined
  /**
   * How long one attempt may go without `Step.heartbeat` until it counts as timed out. A durable wait does not beat.
   *
   * @default no limit
   */
  readonly heartbeatTimeout?: CH | undefined
  /**
   * Whether the roll-back goes on with the other steps when this compensation failed for good. Either way the execution
   * parks in the end. `"halt"`: none begins that has not begun; where a saga undoes in parallel, all have.
   *
   * @default what the saga says, `"continue"` where it says nothing
   */
  readonly onFailure?: "continue" | "halt" | undefined
  /**
   * Finds out whether the compensation with this key happened: asked after a crash, a timeout and a defect.
   *
   * **Details**
   *
   * `Option.some` and `Happened` say that it did, whatever the value. `Option.none` and `Never` say that it has not: it
   * is tried again with the same key, at once after a crash and when `retry` says so after a timeout; one that died has
   * failed for good. `StillGoing` is asked again when `retry` says so.
   *
   * @default tried again with its key after a crash or a timeout; failed for good after a defect
   */
  readonly check?:
    | ((key: string) => NoSteps<CKR> & Effect.Effect<Option.Option<unknown> | Check<unknown>, never, CKR>)
    | undefined
}

/**
 * What an effect inside a step still needs: its scope and its `StepContext` are provided, and the durable waits and
 * the inbox of a compensation.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Plain<R> = R extends Receives<infer U> ? U
  : Exclude<R, Scope | StepContext | Execution.Waiting | Execution.Inbox>

/**
 * What a timeout adds to the errors: `TimedOut` where there is one.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Failing<T> = [T] extends [never] ? never : TimedOut

/**
 * The evidence of a held compensation that can fail with `CE`.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Residue<Name extends string, CE> = Undo<
  CE extends unknown ? { readonly step: Name; readonly error: CE } : never
>

/**
 * What a constructor asks of a name, of an effect and of a schema. A generic helper around a constructor asks the same
 * of its own parameters: `name: Step.Literal<Name>`, `execute: Effect.Effect<A, E, R> & Step.NoSteps<R>`,
 * `success: S & Step.Storable<S>`; of a compensation `Step.MayWait<R>`, since that may wait durably.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type { Literal, MayWait, NoSteps, Storable }

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

export {
  /**
   * An attempt at a step, or at a compensation, took longer than its timeout.
   *
   * @category errors
   * @since 0.1.0
   */
  TimedOut
} from "./internal/timedOut.ts"

// ---------------------------------------------------------------------------------------------------------------------
// guards
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whether a value is a step.
 *
 * @category guards
 * @since 0.1.0
 */
export const isStep = (u: unknown): u is Any => typeof u === "object" && u !== null && TypeId in u

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A compensable step: it acts, and `compensate` undoes it if the saga fails later.
 *
 * **Details**
 *
 * `compensate` gets the step's result and the cause of the roll-back. It runs at least once for every step that
 * happened and never for one that did not; `Step.idempotencyKey` inside it is the compensation's own key, the same in
 * every attempt. What it can fail with must be declared in the saga's `compensationError`.
 *
 * **Gotchas**
 *
 * After a crash in the middle of `execute` it runs again with the same key, or is settled by `check`: pass the key on
 * to the participant. Two results of the same shape are one type to the compiler: brand your identifiers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Name extends string,
  R,
  CE,
  CR,
  KR = never,
  T extends Duration.Input = never,
  CT extends Duration.Input = never,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never,
  CKR = never,
  H extends Duration.Input = never,
  CH extends Duration.Input = never
>(
  name: Literal<Name>,
  options:
    & { readonly execute: NoSteps<R> }
    & Common<S, E, R, T | H>
    & Doubt<T, H, S["Type"], KR>
    & {
      readonly compensate: (
        value: S["Type"],
        cause: Cause.Cause<unknown>
      ) => MayWait<CR> & Effect.Effect<unknown, CE, CR>
      readonly compensation?: CompensationOptions<CE, CT, CKR, CH> | undefined
    }
): Compensable<
  Name,
  S["Type"],
  E["Type"] | Failing<T | H>,
  Plain<R | CR | KR | CKR> | Codecs<S> | Codecs<E>,
  CE | Failing<CT | CH>
> => describe(name, "compensable", options)

/**
 * A read-only step: nothing to undo, allowed anywhere. It costs no append of its own.
 *
 * **Details**
 *
 * A timeout counts as a refusal: whether a read happened does not matter.
 *
 * @category constructors
 * @since 0.1.0
 */
const readonly_ = <
  const Name extends string,
  R,
  T extends Duration.Input = never,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never,
  H extends Duration.Input = never
>(
  name: Literal<Name>,
  options:
    & {
      readonly execute: NoSteps<R>
      readonly timeout?: T | undefined
      readonly heartbeatTimeout?: H | undefined
    }
    & Common<S, E, R, T | H>
): Readonly<Name, S["Type"], E["Type"] | Failing<T | H>, Plain<R> | Codecs<S> | Codecs<E>> =>
  describe(name, "readonly", options)
export {
  /**
   * A read-only step: nothing to undo, allowed anywhere. It costs no append of its own.
   *
   * **Details**
   *
   * A timeout counts as a refusal: whether a read happened does not matter.
   *
   * @category constructors
   * @since 0.1.0
   */
  readonly_ as readonly
}

/**
 * A step that is retried until it succeeds: the acting steps after the point of no return.
 *
 * **Details**
 *
 * Its error type is `never`. `retry` defaults to an exponential back-off from 100 milliseconds, capped at one minute,
 * without end; when a schedule of your own ends, the execution parks (`Exhausted`). A timed-out attempt is tried again
 * with the same key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const retryable = <
  const Name extends string,
  E,
  R,
  T extends Duration.Input = never,
  S extends Schema.Top = Schema.Void,
  X extends Schema.Top = Schema.Never,
  H extends Duration.Input = never
>(
  name: Literal<Name>,
  options: {
    readonly success?: (S & Storable<S>) | undefined
    /**
     * How an error is stored, so that the schedule sees it again after a restart.
     *
     * @default Schema.Defect(), which keeps name and message
     */
    readonly error?: (X & Schema.Schema<E> & Storable<X>) | undefined
    readonly execute: NoSteps<R> & Effect.Effect<S["Type"], E, R>
    readonly retry?: Retry<NoInfer<E | Failing<T | H>>> | undefined
    readonly timeout?: T | undefined
    readonly heartbeatTimeout?: H | undefined
  }
): Retryable<Name, S["Type"], Plain<R> | Codecs<S> | Codecs<X>> =>
  describe(name, "retryable", { ...options, error: options.error ?? Schema.Defect() })

/**
 * The step that decides the saga: it acts, cannot be undone and may fail. Given to `.attempt(...).pivot(...)`.
 *
 * **Details**
 *
 * Once it happened, nothing before it is ever undone. While its outcome is unknown nothing is undone either, so a
 * timeout needs `check`, or parks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pivot = <
  const Name extends string,
  R,
  KR = never,
  T extends Duration.Input = never,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never,
  H extends Duration.Input = never
>(
  name: Literal<Name>,
  options:
    & { readonly execute: NoSteps<R> }
    & Common<S, E, R, T | H>
    & Doubt<T, H, S["Type"], KR>
    & {
      readonly unknown?:
        | SagaTypeError<"while nobody knows what the pivot decided nothing may be undone: give `check`, or \"park\"">
        | "park"
        | undefined
    }
): Pivot<Name, S["Type"], E["Type"] | Failing<T | H>, Plain<R | KR> | Codecs<S> | Codecs<E>> =>
  describe(name, "pivot", options)

/**
 * A step that brings something into being, and takes it away again if the saga fails later.
 *
 * **Details**
 *
 * `Step.make` in the words of resources: `delete` is its compensation.
 *
 * **Gotchas**
 *
 * `delete` may find that somebody else has taken it away: let that succeed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resource = <
  const Name extends string,
  R,
  CE,
  CR,
  KR = never,
  T extends Duration.Input = never,
  CT extends Duration.Input = never,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never,
  CKR = never,
  H extends Duration.Input = never,
  CH extends Duration.Input = never
>(
  name: Literal<Name>,
  options: Settings<S, E, T | H> & Doubt<T, H, S["Type"], KR> & {
    readonly create: NoSteps<R> & Effect.Effect<S["Type"], E["Type"], R>
    readonly delete: (
      created: S["Type"],
      cause: Cause.Cause<unknown>
    ) => MayWait<CR> & Effect.Effect<unknown, CE, CR>
    readonly compensation?: CompensationOptions<CE, CT, CKR, CH> | undefined
  }
): Compensable<
  Name,
  S["Type"],
  E["Type"] | Failing<T | H>,
  Plain<R | CR | KR | CKR> | Codecs<S> | Codecs<E>,
  CE | Failing<CT | CH>
> => describe(name, "compensable", { ...options, execute: options.create, compensate: options.delete })

/**
 * A step that sets something going elsewhere, and calls it off if the saga fails later.
 *
 * **Details**
 *
 * `Step.make` in the words of operations: `cancel` is its compensation. The step ends when the operation has begun;
 * what waits for its end is a step of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const operation = <
  const Name extends string,
  R,
  CE,
  CR,
  KR = never,
  T extends Duration.Input = never,
  CT extends Duration.Input = never,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never,
  CKR = never,
  H extends Duration.Input = never,
  CH extends Duration.Input = never
>(
  name: Literal<Name>,
  options: Settings<S, E, T | H> & Doubt<T, H, S["Type"], KR> & {
    readonly start: NoSteps<R> & Effect.Effect<S["Type"], E["Type"], R>
    readonly cancel: (
      started: S["Type"],
      cause: Cause.Cause<unknown>
    ) => MayWait<CR> & Effect.Effect<unknown, CE, CR>
    readonly compensation?: CompensationOptions<CE, CT, CKR, CH> | undefined
  }
): Compensable<
  Name,
  S["Type"],
  E["Type"] | Failing<T | H>,
  Plain<R | CR | KR | CKR> | Codecs<S> | Codecs<E>,
  CE | Failing<CT | CH>
> => describe(name, "compensable", { ...options, execute: options.start, compensate: options.cancel })

export {
  /**
   * A step that overwrites a state, and puts back what was there before if the saga fails later.
   *
   * @category constructors
   * @since 0.1.0
   */
  snapshot
} from "./internal/snapshot.ts"

/**
 * `check`'s answer that the attempt happened, with its result.
 *
 * @category constructors
 * @since 0.1.0
 */
export const happened = <A>(value: A): Check<A> => ({ _tag: "Happened", value })

/**
 * `check`'s answer that the attempt did not happen, and that the participant refuses its key from now on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const never: Check<never> = { _tag: "Never" }

/**
 * `check`'s answer that the attempt has not ended: it is asked again by the step's schedule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stillGoing: Check<never> = { _tag: "StillGoing" }

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

export {
  /**
   * Which attempt this is, from 1, across restarts.
   *
   * @category accessors
   * @since 0.1.0
   */
  attempt,
  /**
   * A fencing token: it grows whenever another process takes the execution over.
   *
   * @category accessors
   * @since 0.1.0
   */
  epoch,
  /**
   * What a heartbeat is told: whether nobody wants the step any more.
   *
   * @category heartbeats
   * @since 0.1.0
   */
  type Heartbeat,
  /**
   * Says that an attempt is alive, how far it has come, and hears whether anybody wants the step still.
   *
   * @category heartbeats
   * @since 0.1.0
   */
  heartbeat,
  /**
   * The key under which the participant should do this once.
   *
   * @category accessors
   * @since 0.1.0
   */
  idempotencyKey,
  /**
   * The last details that an earlier attempt gave and that are durable.
   *
   * @category heartbeats
   * @since 0.1.0
   */
  lastHeartbeat,
  /**
   * What `execute`, `check` and `compensate` know about themselves.
   *
   * @category services
   * @since 0.1.0
   */
  StepContext,
  /**
   * In a compensation: the key under which its step happened.
   *
   * @category accessors
   * @since 0.1.0
   */
  stepKey,
  /**
   * Ends a step that nobody wants, as a heartbeat was told: it did not happen, and is not tried again.
   *
   * @category heartbeats
   * @since 0.1.0
   */
  withdraw
} from "./internal/stepContext.ts"
