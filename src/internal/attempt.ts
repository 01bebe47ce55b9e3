/**
 * One attempt at a step, a check or a compensation: run in a fiber of its own, bounded by its timeout, and classified.
 *
 * Shared by the executor and by `Saga.transact`. It never fails, and it decides nothing: what an outcome means is the
 * caller's business. It knows no journal.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import { MaxRetryDelay } from "./limits.ts"

/**
 * How an attempt ended.
 *
 * **Details**
 *
 * `TimedOut`: it was interrupted and has ended without an outcome, since it took too long, or was silent for too long.
 * `StillRunning`: it was interrupted and goes on past the grace. `Died`: a bug, with what is known of it.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<A, E> =
  | { readonly _tag: "Succeeded"; readonly value: A }
  | { readonly _tag: "Failed"; readonly error: E }
  | { readonly _tag: "Died"; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "TimedOut" }
  | { readonly _tag: "StillRunning"; readonly fiber: Fiber.Fiber<unknown, unknown> }

/**
 * Runs an effect once. An outcome that comes after the timeout, but within the grace, counts. `silence` ends once the
 * effect has given no sign of life for too long, which counts as its timeout.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  timeout: Duration.Duration | undefined,
  grace: Duration.Input,
  silence?: Effect.Effect<void>
): Effect.Effect<Outcome<A, E>, never, R> =>
  timeout === undefined && silence === undefined
    ? Effect.map(Effect.exit(effect), (exit) => classify(exit, false))
    : Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkDetach(restore(effect)), (fiber) =>
        restore(within(fiber, timeout, grace, silence)).pipe(Effect.onInterrupt(() => Fiber.interrupt(fiber))))
    )

/**
 * How an attempt ended; `interrupted`: it was interrupted for its time.
 *
 * @category destructors
 * @since 0.1.0
 */
export const classify = <A, E>(exit: Exit.Exit<A, E>, interrupted: boolean): Outcome<A, E> => {
  if (Exit.isSuccess(exit)) return { _tag: "Succeeded", value: exit.value }
  if (Cause.hasDies(exit.cause)) return { _tag: "Died", cause: exit.cause }
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isSome(error)) return { _tag: "Failed", error: error.value }
  return interrupted ? { _tag: "TimedOut" } : selfInterrupted
}

/**
 * Ends once `of` has given no sign of life for this long: `at` is the monotonic time of its last one.
 *
 * @category running
 * @since 0.1.0
 */
export const silence = (
  clock: Clock.Clock,
  of: { readonly at: number },
  timeout: Duration.Duration
): Effect.Effect<void> => {
  const millis = Duration.toMillis(timeout)
  const wait: Effect.Effect<void> = Effect.suspend(() => {
    const left = of.at + millis - monotonic(clock)
    return left > 0 ? Effect.andThen(Effect.sleep(left), wait) : Effect.void
  })
  return wait
}

/**
 * The monotonic time, in milliseconds.
 *
 * @category accessors
 * @since 0.1.0
 */
export const monotonic = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)

/**
 * The outcome of an attempt whose own fiber was interrupted by what it ran.
 *
 * @category constants
 * @since 0.1.0
 */
export const selfInterrupted: Extract<Outcome<never, never>, { _tag: "Died" }> = {
  _tag: "Died",
  cause: Cause.die(new Error("it interrupted itself"))
}

/**
 * What is known of a bug, as text for the journal.
 *
 * @category destructors
 * @since 0.1.0
 */
export const defectMessage = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

/**
 * Why a value does not fit its schema, as text for the journal.
 *
 * @category destructors
 * @since 0.1.0
 */
export const issueMessage = (cause: Cause.Cause<Error>): string => {
  const error = Cause.findErrorOption(cause)
  return Option.isSome(error) ? error.value.message : defectMessage(cause)
}

/**
 * A schedule's step: from the time and the error of a failed attempt to the time of the next, or undefined when there
 * is none.
 *
 * @category models
 * @since 0.1.0
 */
export type Step = (now: number, input: unknown) => Effect.Effect<number | undefined, unknown, unknown>

/**
 * Steps a schedule by hand, so that it is resumed by feeding it what the journal holds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stepper = (
  schedule: Schedule.Schedule<unknown, unknown, unknown, unknown>
): Effect.Effect<Step, never, unknown> =>
  Effect.map(Schedule.toStep(schedule), (step): Step => (now, input) =>
    Pull.catchDone(
      Effect.map(step(now, input), ([, delay]): number | undefined => now + toMillis(delay)),
      () => Effect.succeed(undefined)
    ))

/**
 * How a step past the point of no return is retried unless it says otherwise: from 100 milliseconds, doubling, capped,
 * without end.
 *
 * @category constants
 * @since 0.1.0
 */
export const endless: Schedule.Schedule<unknown, unknown> = Schedule.min([
  Schedule.exponential("100 millis"),
  Schedule.spaced(MaxRetryDelay)
])

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const toMillis = (delay: Duration.Duration): number => Math.ceil(Math.min(Duration.toMillis(delay), maxDelay))

/** A schedule may ask for an infinite delay; a journal holds finite times. Ten years are as good. */
const maxDelay = 10 * 365 * 24 * 3_600_000

const within = <A, E>(
  fiber: Fiber.Fiber<A, E>,
  timeout: Duration.Duration | undefined,
  grace: Duration.Input,
  silence: Effect.Effect<void> | undefined
): Effect.Effect<Outcome<A, E>> =>
  Effect.flatMap(inTime(fiber, timeout, silence), (exit) => {
    if (Option.isSome(exit)) return Effect.succeed(classify(exit.value, false))
    fiber.interruptUnsafe()
    return Effect.map(
      Effect.timeoutOption(Fiber.await(fiber), grace),
      (late): Outcome<A, E> => Option.isSome(late) ? classify(late.value, true) : { _tag: "StillRunning", fiber }
    )
  })

/** Its end, or nothing once its time is over. */
const inTime = <A, E>(
  fiber: Fiber.Fiber<A, E>,
  timeout: Duration.Duration | undefined,
  silence: Effect.Effect<void> | undefined
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> => {
  const end = timeout === undefined
    ? Effect.map(Fiber.await(fiber), Option.some)
    : Effect.timeoutOption(Fiber.await(fiber), timeout)
  return silence === undefined ? end : Effect.raceFirst(end, Effect.as(silence, Option.none()))
}
