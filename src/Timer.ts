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
import { Waiting } from "./Execution.ts"
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
// internal
// ---------------------------------------------------------------------------------------------------------------------

const wait = (name: string, until: { readonly time: number } | { readonly millis: number }) =>
  Effect.withFiber((fiber) => Effect.flatMap(Waiting, (waiting) => waiting.sleep(name, until, fiber)))

/** A journal holds finite times: a hundred years are as good as for ever. */
const maxDelay = 100 * 365 * 24 * 3_600_000

/** The last millisecond that a date can say. */
const maxTime = 8.64e15

const toMillis = (duration: Duration.Input): number =>
  Math.ceil(Math.min(Math.max(0, Duration.toMillis(Duration.fromInputUnsafe(duration))), maxDelay))
