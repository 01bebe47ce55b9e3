/**
 * What every step is made of: the prototype that makes it an Effect, and the request that it asks with.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Execution from "../Execution.ts"
import type * as Journal from "../Journal.ts"
import type { Any } from "../Step.ts"
import { codec } from "./codec.ts"
import { TimedOut } from "./timedOut.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~effect-saga/Step"

/**
 * When to try again, without its types.
 *
 * @category models
 * @since 0.1.0
 */
export type Retry = Schedule.Schedule<unknown, never, unknown, unknown> | {
  readonly schedule: Schedule.Schedule<unknown, never, unknown, unknown>
  readonly while: (error: never) => boolean
}

/**
 * What the constructors take, without its types.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly success?: Schema.Top | undefined
  readonly error?: Schema.Top | undefined
  readonly execute: Effect.Effect<unknown, unknown, unknown>
  readonly retry?: Retry | undefined
  readonly timeout?: unknown
  readonly heartbeatTimeout?: unknown
  readonly check?: Execution.CheckRequest | undefined
  readonly unknown?: "park" | "refused" | undefined
  readonly compensate?:
    | ((value: never, cause: Cause.Cause<unknown>) => Effect.Effect<unknown, unknown, unknown>)
    | undefined
  readonly commit?: Options | undefined
  readonly compensation?: {
    readonly retry?: Retry | undefined
    readonly timeout?: unknown
    readonly heartbeatTimeout?: unknown
    readonly onFailure?: "continue" | "halt" | undefined
    readonly check?: Execution.CheckRequest | undefined
  } | undefined
}

/**
 * The schedule of a `retry` option: it is fed with the errors that the types allowed.
 *
 * @category combinators
 * @since 0.1.0
 */
export const schedule = (retry: Retry | undefined): Execution.StepRequest["retry"] => {
  if (retry === undefined || Schedule.isSchedule(retry)) return retry as Execution.StepRequest["retry"]
  return (retry.schedule as NonNullable<Execution.StepRequest["retry"]>).pipe(
    Schedule.while(({ input }) => (retry.while as (error: unknown) => boolean)(input))
  )
}

/**
 * A step of this kind.
 *
 * @category constructors
 * @since 0.1.0
 */
export const describe = <S extends Any>(name: string, kind: Journal.Kind, options: Options): S => {
  const self = Object.create(Proto)
  self.request = toRequest(name, kind, options)
  return self
}

/**
 * A step that does nothing itself, and something when the saga rolls back or commits.
 *
 * @category constructors
 * @since 0.1.0
 */
export const hook = <S extends Effect.Effect<void, never, unknown>>(
  name: string,
  options: Pick<Options, "compensate" | "compensation" | "commit">
): S => describe<S & Any>(name, options.commit ? "onCommit" : "onRollback", { execute: Effect.void, ...options })

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

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
  retry: schedule(options.retry),
  timeout: duration(options.timeout),
  heartbeatTimeout: duration(options.heartbeatTimeout),
  check: options.check,
  unknown: options.unknown,
  compensation: options.compensate === undefined ? undefined : {
    run: options.compensate as Execution.Compensation["run"],
    retry: schedule(options.compensation?.retry),
    timeout: duration(options.compensation?.timeout),
    heartbeatTimeout: duration(options.compensation?.heartbeatTimeout),
    onFailure: options.compensation?.onFailure,
    check: options.compensation?.check
  },
  commit: options.commit === undefined
    ? undefined
    : toRequest(name, "retryable", { ...options.commit, error: Schema.Defect() })
})

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
