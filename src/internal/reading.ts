/**
 * Asking a store on behalf of a caller: patiently, and with the caller's error at the end.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { type Reason, SagaError, StoreUnavailable } from "../SagaError.ts"
import type { StoreError } from "../SagaStore.ts"

/**
 * Asks again while that may help, for 30 seconds: as long as a lease by default.
 *
 * @category running
 * @since 0.1.0
 */
export const reading = <A, R>(
  execution: string,
  effect: Effect.Effect<A, StoreError, R>
): Effect.Effect<A, SagaError<never>, R> =>
  Effect.mapError(
    Effect.retry(effect, { while: (error) => error.retryable, schedule: patience }),
    (cause) => failure(new StoreUnavailable({ execution, cause }))
  )

/**
 * The library's error with this reason.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failure = (reason: Reason<never>): SagaError<never> => new SagaError({ reason })

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const patience = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.upTo({ duration: "30 seconds" })
)
