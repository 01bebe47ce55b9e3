/**
 * How the store sends a statement: outside of any transaction of the caller, again after a deadlock, and with its
 * failure as a `StoreError`.
 *
 * @since 0.1.0
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { StoreError } from "../../SagaStore.ts"

/**
 * A row as the driver decodes it.
 *
 * @category models
 * @since 0.1.0
 */
export type Columns = Readonly<Record<string, unknown>>

/**
 * Sends statements for the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** Planned once a connection: for a text whose plan does not depend on statistics. */
  readonly prepared: Send
  /** Planned at each call, with the tables as they are. */
  readonly planned: Send
}

/**
 * @category models
 * @since 0.1.0
 */
export type Send = (
  operation: string,
  text: string,
  parameters: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<Columns>, StoreError>

/**
 * A session over a client. Result names are not transformed, whatever the client is set to.
 *
 * **Details**
 *
 * Every statement is its own transaction, also when the caller is inside one: what a store method returned is durable
 * and must not depend on a commit that comes later, if at all.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (client: PgClient): Session => {
  const sql = client.withoutTransforms()
  const outside = (context: Context.Context<never>): Context.Context<never> =>
    Context.getOrUndefined(context, sql.transactionService) === undefined
      ? context
      : Context.omit(sql.transactionService)(context)
  const finish = <A>(operation: string, statement: Effect.Effect<A, SqlError>): Effect.Effect<A, StoreError> => {
    const failed = storeError(operation)
    return statement.pipe(
      // What a statement needs once it has failed costs the others nothing.
      Effect.catch((error) =>
        wasVictim(error) ? Effect.mapError(resend(statement, error), failed) : Effect.fail(failed(error))
      ),
      Effect.updateContext(outside)
    )
  }
  return {
    prepared: (operation, text, parameters) => finish(operation, sql.unsafe<Columns>(text, parameters)),
    planned: (operation, text, parameters) => finish(operation, sql.unsafe<Columns>(text, parameters).unprepared)
  }
}

/**
 * A failure of the database as the store's own error.
 *
 * @category combinators
 * @since 0.1.0
 */
export const storeError = (operation: string) => (error: SqlError): StoreError =>
  new StoreError({ operation, retryable: isRetryable(error), cause: error })

/**
 * Whether a row could not be inserted because its key is taken. Nothing of the statement was stored.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTaken = ({ cause }: StoreError): boolean => isSqlError(cause) && cause.reason._tag === "UniqueViolation"

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** The database undid the statement in favour of another one (40P01, 40001): the same statement will do. */
const wasVictim = (error: SqlError): boolean =>
  error.reason._tag === "DeadlockError" || error.reason._tag === "SerializationError"

/** Sends again what has failed once, after a while. */
const resend = <A>(statement: Effect.Effect<A, SqlError>, first: SqlError): Effect.Effect<A, SqlError> => {
  let sent = false
  const next = Effect.suspend(() => {
    if (sent) return statement
    sent = true
    return Effect.fail(first)
  })
  return Effect.retry(next, { while: wasVictim, schedule: again })
}

/** Ten times: writers sort what they insert, so a second victim in a row is already rare. */
const again = Schedule.exponential("2 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 10 }))

/**
 * Failures that the driver does not class, and that pass: the server stops or starts (57P), lacks resources (53), has
 * trouble with its disk (58), or is read-only during a fail-over (25006).
 */
const passing = /^(?:57P|53|58|25006$)/

const isRetryable = (error: SqlError): boolean => {
  if (error.reason.isRetryable) return true
  const cause = error.reason.cause
  return Predicate.hasProperty(cause, "code") && typeof cause.code === "string" && passing.test(cause.code)
}
