/**
 * Steps: named effects whose results are journaled, with what undoes them.
 *
 * A step is an Effect: it composes with `map`, `catchTag`, `Effect.all`, generators and pipes. Running it asks the
 * current interpreter (`Execution`) to run it, or to answer from the journal. This module describes; it runs nothing.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Execution from "./Execution.ts"
import { codec } from "./internal/codec.ts"
import type { Decides, Forward, Literal, NoSteps, SagaTypeError, Storable, Undo, Uses } from "./internal/types.ts"
import type * as Journal from "./Journal.ts"

const TypeId = "~effect-saga/Step"

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
 * What every constructor takes.
 *
 * @category options
 * @since 0.1.0
 */
export interface Common<S extends Schema.Top, E extends Schema.Top, R, T> {
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
  /** The effect. It has a scope of its own, which closes at the end of the attempt. */
  readonly execute: Effect.Effect<S["Type"], E["Type"], R>
  /**
   * When to try again after a refusal or a timeout. Attempts and delays are journaled, so a delay once served is not
   * served again after a restart.
   *
   * @default not at all
   */
  readonly retry?: Schedule.Schedule<unknown, NoInfer<E["Type"] | Failing<T>>> | undefined
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
 * What happens when nobody knows whether the step happened. With a timeout an answer is required.
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
export type Doubt<T, A, KR> =
  | { readonly timeout: T; readonly check: CheckFn<A, KR>; readonly unknown?: undefined }
  | { readonly timeout: T; readonly check?: undefined; readonly unknown: "park" | "refused" }
  // Last, since among equals the compiler explains a refusal by the last.
  | {
    readonly timeout?:
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
export interface CompensationOptions<CE, CT> {
  /**
   * When to try again after a failure or a timeout.
   *
   * @default not at all
   */
  readonly retry?: Schedule.Schedule<unknown, NoInfer<CE | Failing<CT>>> | undefined
  /**
   * How long one attempt may take. A timed-out attempt is tried again with the same key.
   *
   * @default no limit
   */
  readonly timeout?: CT | undefined
  /**
   * Whether the roll-back goes on with the other steps when this compensation failed for good. Either way the execution
   * parks in the end.
   *
   * @default "continue"
   */
  readonly onFailure?: "continue" | "halt" | undefined
}

/**
 * What an effect inside a step still needs: its scope and its `StepContext` are provided.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Plain<R> = Exclude<R, Scope | StepContext>

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
 * `success: S & Step.Storable<S>`.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type { Literal, NoSteps, Storable }

type Codecs<S extends Schema.Top> = S["EncodingServices"] | S["DecodingServices"]

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An attempt at a step, or at a compensation, took longer than its timeout.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimedOut extends Schema.TaggedError<TimedOut>("effect-saga/Step/TimedOut")("TimedOut", {
  step: Schema.String
}) {
  override get message(): string {
    return `${this.step} took longer than its timeout`
  }
}

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
  E extends Schema.Top = Schema.Never
>(
  name: Literal<Name>,
  options:
    & { readonly execute: NoSteps<R> }
    & Common<S, E, R, T>
    & Doubt<T, S["Type"], KR>
    & {
      readonly compensate: (
        value: S["Type"],
        cause: Cause.Cause<unknown>
      ) => NoSteps<CR> & Effect.Effect<unknown, CE, CR>
      readonly compensation?: CompensationOptions<CE, CT> | undefined
    }
): Compensable<
  Name,
  S["Type"],
  E["Type"] | Failing<T>,
  Plain<R | CR | KR> | Codecs<S> | Codecs<E>,
  CE | Failing<CT>
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
  E extends Schema.Top = Schema.Never
>(
  name: Literal<Name>,
  options: { readonly execute: NoSteps<R>; readonly timeout?: T | undefined } & Common<S, E, R, T>
): Readonly<Name, S["Type"], E["Type"] | Failing<T>, Plain<R> | Codecs<S> | Codecs<E>> =>
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
  X extends Schema.Top = Schema.Never
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
    readonly retry?: Schedule.Schedule<unknown, NoInfer<E | Failing<T>>> | undefined
    readonly timeout?: T | undefined
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
  E extends Schema.Top = Schema.Never
>(
  name: Literal<Name>,
  options:
    & { readonly execute: NoSteps<R> }
    & Common<S, E, R, T>
    & Doubt<T, S["Type"], KR>
    & {
      readonly unknown?:
        | SagaTypeError<"while nobody knows what the pivot decided nothing may be undone: give `check`, or \"park\"">
        | "park"
        | undefined
    }
): Pivot<Name, S["Type"], E["Type"] | Failing<T>, Plain<R | KR> | Codecs<S> | Codecs<E>> =>
  describe(name, "pivot", options)

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
  /** Counted from 1, across restarts. */
  readonly attempt: number
  /** The `seq` of the claim under which this process acts: it grows with every takeover. */
  readonly epoch: number
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

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Options {
  readonly success?: Schema.Top | undefined
  readonly error?: Schema.Top | undefined
  readonly execute: Effect.Effect<unknown, unknown, unknown>
  readonly retry?: Schedule.Schedule<unknown, never, unknown, unknown> | undefined
  readonly timeout?: unknown
  readonly check?:
    | ((key: string) => Effect.Effect<Option.Option<unknown> | Check<unknown>, unknown, unknown>)
    | undefined
  readonly unknown?: "park" | "refused" | undefined
  readonly compensate?:
    | ((value: never, cause: Cause.Cause<unknown>) => Effect.Effect<unknown, unknown, unknown>)
    | undefined
  readonly commit?: Options | undefined
  readonly compensation?: {
    readonly retry?: Schedule.Schedule<unknown, never, unknown, unknown> | undefined
    readonly timeout?: unknown
    readonly onFailure?: "continue" | "halt" | undefined
  } | undefined
}

const Proto = {
  ...Effectable.Prototype<Any>({
    label: "Step",
    evaluate(this: Any, fiber: Fiber.Fiber<unknown, unknown>) {
      return ask(this.request, fiber)
    }
  }),
  [TypeId]: TypeId,
  get name(): string {
    return (this as unknown as Any).request.name
  },
  get kind(): Journal.Kind {
    return (this as unknown as Any).request.kind
  }
}

/** Asks the interpreter of the fiber, or dies with a sentence where there is none. */
const ask = (request: Execution.StepRequest, fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<unknown, unknown> => {
  const execution = Context.getOrUndefined(fiber.context, Execution.Execution)
  return execution === undefined
    ? Effect.die(new Error(`${request.name} is a step: yield it in a saga's body, or run the body with Saga.transact`))
    : execution.ask(request, fiber)
}

const describe = <S extends Any>(name: string, kind: Journal.Kind, options: Options): S => {
  const self = Object.create(Proto)
  self.request = toRequest(name, kind, options)
  return self
}

/**
 * The one place where what the constructors' types say is forgotten: below, a request is data.
 */
const toRequest = (name: string, kind: Journal.Kind, options: Options): Execution.StepRequest => ({
  _tag: "Step",
  name,
  kind,
  success: codec(options.success ?? Schema.Void),
  error: codec(withTimedOut(options.error ?? Schema.Never)),
  execute: options.execute,
  retry: options.retry as Execution.StepRequest["retry"],
  timeout: duration(options.timeout),
  check: options.check,
  unknown: options.unknown,
  compensation: options.compensate === undefined ? undefined : {
    run: options.compensate as Execution.Compensation["run"],
    retry: options.compensation?.retry as Execution.Compensation["retry"],
    timeout: duration(options.compensation?.timeout),
    onFailure: options.compensation?.onFailure ?? "continue"
  },
  commit: options.commit === undefined
    ? undefined
    : toRequest(name, "retryable", { ...options.commit, error: Schema.Defect() })
})

/**
 * A step that does nothing itself, and something when the saga rolls back or commits.
 *
 * @internal
 * @category constructors
 * @since 0.1.0
 */
export const hook = <S extends Effect.Effect<void, never, unknown>>(
  name: string,
  options: Pick<Options, "compensate" | "compensation" | "commit">
): S => describe<S & Any>(name, options.commit ? "onCommit" : "onRollback", { execute: Effect.void, ...options })

const duration = (input: unknown): Duration.Duration | undefined =>
  input === undefined ? undefined : Duration.fromInputUnsafe(input as Duration.Input)

/** A step's error is stored by its own schema, or is the library's `TimedOut`. */
const withTimedOut = (schema: Schema.Top): Schema.Top => {
  const known = errors.get(schema)
  if (known !== undefined) return known
  const made = Schema.Union([schema, TimedOut])
  errors.set(schema, made)
  return made
}
const errors = new WeakMap<Schema.Top, Schema.Top>()
