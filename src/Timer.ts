/**
 * Durable waits: in a saga's body, and inside a compensation.
 *
 * A wait is journaled with the time at which it ends, so a process that takes over waits no longer than the one before.
 * One that is longer than `Limits.SuspendAfter` leaves memory. This module asks the current interpreter; it knows no
 * clock.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import { type Execution, Waiting } from "./Execution.ts"
import { named } from "./internal/race.ts"
import { TimedOut } from "./internal/timedOut.ts"
import type { Literal } from "./internal/types.ts"

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Waits for a while. `name` is stored; a name may be used again, it is then counted.
 *
 * **Details**
 *
 * In a body it is a step of its own in the journal, answered from there on replay. In a compensation it belongs to the
 * attempt: an attempt that fails and is tried again waits again. Less than a millisecond is one, less than nothing is
 * nothing, and more than a hundred years are a hundred years.
 *
 * **Gotchas**
 *
 * A compensation that waits is run again from its beginning when another process takes over, or when it comes back to
 * memory: what it did before the wait it does again, under the same idempotency key. A wait that is over is passed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sleep = <const Name extends string>(
  name: Literal<Name>,
  duration: Duration.Input
): Effect.Effect<void, never, Waiting> => wait(name, { millis: toMillis(duration) })

/**
 * Waits until a time of the engine's clock; not at all where that has passed. `name` and the rest are as for `sleep`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sleepUntil = <const Name extends string>(
  name: Literal<Name>,
  time: DateTime.DateTime.Input
): Effect.Effect<void, never, Waiting> =>
  wait(name, { time: Math.min(DateTime.toEpochMillis(DateTime.makeUnsafe(time)), maxTime) })

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Gives a part of a body so much time, durably; then it fails with `Step.TimedOut`, in which `step` is `name`.
 *
 * **Details**
 *
 * A `Saga.race` with a timer of this name: when the time is over, what the part waits for is withdrawn, a step of it in
 * flight goes on under the executor, and what it did is undone as soon as that has settled. The body goes on at once.
 *
 * **Gotchas**
 *
 * `Effect.timeout` over steps waits for the step that is in flight, and undoes nothing.
 *
 * @category combinators
 * @since 0.1.0
 */
export const timeout: {
  <const Name extends string>(
    name: Literal<Name>,
    duration: Duration.Input
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | TimedOut, R | Execution | Waiting>
  <A, E, R, const Name extends string>(
    self: Effect.Effect<A, E, R>,
    name: Literal<Name>,
    duration: Duration.Input
  ): Effect.Effect<A, E | TimedOut, R | Execution | Waiting>
} = dual(
  3,
  <A, E, R>(self: Effect.Effect<A, E, R>, name: string, duration: Duration.Input) =>
    Effect.flatMap(
      within(self, name, duration),
      (result) => Option.isSome(result) ? Effect.succeed(result.value) : Effect.fail(new TimedOut({ step: name }))
    )
)

/**
 * Gives a part of a body so much time, durably: its result, or none. Otherwise as `timeout`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const timeoutOption: {
  <const Name extends string>(
    name: Literal<Name>,
    duration: Duration.Input
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<Option.Option<A>, E, R | Execution | Waiting>
  <A, E, R, const Name extends string>(
    self: Effect.Effect<A, E, R>,
    name: Literal<Name>,
    duration: Duration.Input
  ): Effect.Effect<Option.Option<A>, E, R | Execution | Waiting>
} = dual(
  3,
  <A, E, R>(self: Effect.Effect<A, E, R>, name: string, duration: Duration.Input) => within(self, name, duration)
)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const within = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  name: string,
  duration: Duration.Input
): Effect.Effect<Option.Option<A>, E, R | Execution | Waiting> =>
  named<Option.Option<A>, E, R | Waiting>(name, [
    Effect.map(self, Option.some),
    Effect.map(wait(name, { millis: toMillis(duration) }), Option.none)
  ])

const wait = (name: string, until: { readonly time: number } | { readonly millis: number }) =>
  Effect.withFiber((fiber) => Effect.flatMap(Waiting, (waiting) => waiting.sleep(name, until, fiber)))

/** A journal holds finite times: a hundred years are as good as for ever. */
const maxDelay = 100 * 365 * 24 * 3_600_000

/** The last millisecond that a date can say. */
const maxTime = 8.64e15

const toMillis = (duration: Duration.Input): number =>
  Math.ceil(Math.min(Math.max(0, Duration.toMillis(Duration.fromInputUnsafe(duration))), maxDelay))
