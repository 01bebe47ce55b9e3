/**
 * Every limit of the library in one place, each with its reason.
 *
 * Each is a `Context.Reference`, so a program overrides one with `Layer.succeed(limit, value)` or
 * `Effect.provideService`. Nothing in here is read by a pure module: limits are applied where the effect is.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"

/**
 * The longest idempotency key that an execution id is made of, in UTF-16 code units.
 *
 * The id is part of the journal's primary key, and Postgres refuses index rows over 2,700 bytes: 512 code units are at
 * most 1,536 bytes of UTF-8, which leaves room for the saga's tag.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxKeyLength = Context.Reference<number>("effect-saga/limits/MaxKeyLength", { defaultValue: () => 512 })

/**
 * The largest encoded append and the largest encoded payload, in UTF-16 code units of JSON.
 *
 * A batch holds many appends and is one statement, which the database keeps in memory several times over. 4 Mi leave
 * room for large results beside the others of the batch.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxAppendSize = Context.Reference<number>("effect-saga/limits/MaxAppendSize", {
  defaultValue: () => 4 * 1024 * 1024
})

/**
 * How deep a stored value may nest. Postgres parses JSON recursively and gives up at its stack limit (about 6,400).
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxDepth = Context.Reference<number>("effect-saga/limits/MaxDepth", { defaultValue: () => 1_000 })

/**
 * How many appends one statement of the journal writer takes at most. Past a few hundred rows the cost of a row no
 * longer falls, while the wait of the first caller grows.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxBatch = Context.Reference<number>("effect-saga/limits/MaxBatch", { defaultValue: () => 512 })

/**
 * How many workers claim an execution without any progress between, before it is parked: a step that kills its process
 * must not be retried for ever. One worker may claim it ten times as often, since it survives.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxClaims = Context.Reference<number>("effect-saga/limits/MaxClaims", { defaultValue: () => 10 })

/**
 * How many executions one claim takes, so that a worker that comes first does not take all.
 *
 * @category limits
 * @since 0.1.0
 */
export const ClaimSize = Context.Reference<number>("effect-saga/limits/ClaimSize", { defaultValue: () => 64 })

/**
 * How many executions one page of a list has at most: each is a row in memory, and a page is one statement.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxPage = Context.Reference<number>("effect-saga/limits/MaxPage", { defaultValue: () => 1_000 })

/**
 * How many executions one worker holds by claiming. Starts by its own process are not counted against it: they
 * are the caller's choice.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxLive = Context.Reference<number>("effect-saga/limits/MaxLive", { defaultValue: () => 1_024 })

/**
 * How long an execution may wait for nothing but time before it leaves memory. A wait this long costs one more append
 * and a replay; a shorter one costs the memory of a few fibers.
 *
 * @category limits
 * @since 0.1.0
 */
export const SuspendAfter = Context.Reference<Duration.Input>("effect-saga/limits/SuspendAfter", {
  defaultValue: () => "10 seconds"
})

/**
 * How long the newest heartbeat of an attempt waits at least until it is journaled, counted from the one before, or
 * from when the attempt began: what a crash loses of it. What is appended anyway takes it along.
 *
 * **Details**
 *
 * Each costs an append and stays in the journal, so the pause grows with the attempt: a twentieth of how long it has
 * been going on, up to `MaxHeartbeatPause`. An attempt of an hour writes about 80, one of a day about 230.
 *
 * @category limits
 * @since 0.1.0
 */
export const HeartbeatPause = Context.Reference<Duration.Input>("effect-saga/limits/HeartbeatPause", {
  defaultValue: () => "10 seconds"
})

/**
 * The longest that the newest heartbeat of a long attempt waits until it is journaled.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxHeartbeatPause = Context.Reference<Duration.Input>("effect-saga/limits/MaxHeartbeatPause", {
  defaultValue: () => "10 minutes"
})

/**
 * How long a step that was interrupted by its timeout may take to end before its outcome is called unknown.
 *
 * @category limits
 * @since 0.1.0
 */
export const InterruptGrace = Context.Reference<Duration.Input>("effect-saga/limits/InterruptGrace", {
  defaultValue: () => "5 seconds"
})

/**
 * How long a resend of an unacknowledged append waits at most between two tries. The lease bounds the whole.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxResendDelay = Context.Reference<Duration.Input>("effect-saga/limits/MaxResendDelay", {
  defaultValue: () => "1 second"
})

/**
 * The most that a default retry of `Step.retryable` waits between two attempts.
 *
 * @category limits
 * @since 0.1.0
 */
export const MaxRetryDelay: Duration.Input = "1 minute"
