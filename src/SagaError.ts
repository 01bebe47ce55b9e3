/**
 * What the library itself answers when an execution does not end with the user's own result or error.
 *
 * One error, `SagaError`, with a `reason` union: `Effect.catchReason("SagaError", "Parked", ...)` picks one. A user's
 * own errors never travel in here, except as the original cause and the unresolved compensations of `Parked`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Why an execution waits for a person.
 *
 * **Details**
 *
 * `CompensationFailed`: a compensation failed for good, its step's effect stands. `Unknown`: nobody knows whether a
 * step happened. `Defect`: a bug in the body, a step or a compensation. `Nondeterminism`: the body asked for something
 * else than the journal holds. `Undecodable`, `Unencodable`: a stored value does not fit its schema, or a value cannot
 * be stored. `RecoveryExhausted`: claimed again and again without progress. `Exhausted`: the schedule of a step past
 * the point of no return ended.
 *
 * @category models
 * @since 0.1.0
 */
// Persistent: stored in `SagaParked`.
export const ParkReason = Schema.Union([
  Schema.TaggedStruct("CompensationFailed", {}),
  Schema.TaggedStruct("Unknown", { step: Schema.String, message: Schema.String }),
  Schema.TaggedStruct("Defect", { step: Schema.optionalKey(Schema.String), message: Schema.String }),
  Schema.TaggedStruct("Nondeterminism", { journal: Schema.String, body: Schema.String }),
  Schema.TaggedStruct("Undecodable", { what: Schema.String, message: Schema.String }),
  Schema.TaggedStruct("Unencodable", { what: Schema.String, message: Schema.String }),
  Schema.TaggedStruct("RecoveryExhausted", { claims: Schema.Int }),
  Schema.TaggedStruct("Exhausted", { step: Schema.String, message: Schema.String })
])

/**
 * @category models
 * @since 0.1.0
 */
export type ParkReason = typeof ParkReason.Type

/**
 * A step whose effect stands although the saga rolled back, with the error of its compensation (`undefined` when it
 * died with a defect, which `defect` then describes).
 *
 * @category models
 * @since 0.1.0
 */
export interface Unresolved<out CE> {
  readonly step: string
  readonly attempts: number
  readonly error: CE | undefined
  readonly defect: string | undefined
}

/**
 * What made a parked execution roll back: the declared error of the body, or a cancel.
 *
 * @category models
 * @since 0.1.0
 */
export type Original =
  | { readonly _tag: "Failed"; readonly error: unknown }
  | { readonly _tag: "Cancelled"; readonly reason: string | undefined }

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const execution = { execution: Schema.String }

/**
 * The execution waits for a person: nothing more happens to it before it is resumed.
 *
 * @category errors
 * @since 0.1.0
 */
export class Parked<out CE = unknown>
  extends Schema.TaggedError<Parked<any>>("effect-saga/SagaError/Parked")("Parked", {
    ...execution,
    why: ParkReason,
    unresolved: Schema.Array(Schema.Struct({
      step: Schema.String,
      attempts: Schema.Int,
      error: Schema.Unknown,
      defect: Schema.UndefinedOr(Schema.String)
    })),
    original: Schema.UndefinedOr(Schema.Union([
      Schema.TaggedStruct("Failed", { error: Schema.Unknown }),
      Schema.TaggedStruct("Cancelled", { reason: Schema.UndefinedOr(Schema.String) })
    ]))
  })
{
  declare readonly unresolved: ReadonlyArray<Unresolved<CE>>
  declare readonly original: Original | undefined
  override get message(): string {
    const left = this.unresolved.length === 0
      ? ""
      : ` Left undone: ${this.unresolved.map((_) => _.step).join(", ")}.`
    return `${this.execution} is parked: ${describe(this.why)}.${left} ` +
      "Nothing was lost: mend the cause and call `resume` with its id."
  }
}

/**
 * The execution was cancelled, and everything it did is undone.
 *
 * @category errors
 * @since 0.1.0
 */
export class Cancelled extends Schema.TaggedError<Cancelled>("effect-saga/SagaError/Cancelled")("Cancelled", {
  ...execution,
  reason: Schema.UndefinedOr(Schema.String)
}) {
  override get message(): string {
    return `${this.execution} was cancelled${this.reason === undefined ? "" : ` (${this.reason})`} and rolled back. ` +
      "Start it under another idempotency key to try again."
  }
}

/**
 * The point of no return is passed: the execution goes on to its end and cannot be cancelled.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooLate extends Schema.TaggedError<TooLate>("effect-saga/SagaError/TooLate")("TooLate", execution) {
  override get message(): string {
    return `${this.execution} has passed its point of no return and cannot be cancelled. Wait for its result.`
  }
}

/**
 * The execution does not take this message: it has ended, or it is not parked.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotAccepting extends Schema.TaggedError<NotAccepting>("effect-saga/SagaError/NotAccepting")(
  "NotAccepting",
  { ...execution, status: Schema.String, request: Schema.String }
) {
  override get message(): string {
    return `${this.execution} does not accept ${this.request}: its status is ${this.status}. Poll it for its result.`
  }
}

/**
 * The store did not take a request within its time, or refused it.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>("effect-saga/SagaError/StoreUnavailable")(
  "StoreUnavailable",
  { ...execution, cause: Schema.Defect() }
) {
  override get message(): string {
    return `The saga store is not available (${this.execution}). ` +
      "Check the database and send the same request again: the idempotency key makes it harmless."
  }
}

/**
 * The idempotency key is taken by an execution with another payload.
 *
 * @category errors
 * @since 0.1.0
 */
export class PayloadMismatch extends Schema.TaggedError<PayloadMismatch>("effect-saga/SagaError/PayloadMismatch")(
  "PayloadMismatch",
  execution
) {
  override get message(): string {
    return `${this.execution} was started before with another payload. ` +
      "Two payloads with one idempotency key are one execution: make the key tell them apart."
  }
}

/**
 * The payload cannot be stored: its schema refuses it, or the key or the encoded payload breaks a limit.
 *
 * @category errors
 * @since 0.1.0
 */
export class PayloadInvalid extends Schema.TaggedError<PayloadInvalid>("effect-saga/SagaError/PayloadInvalid")(
  "PayloadInvalid",
  { ...execution, issue: Schema.String }
) {
  override get message(): string {
    return `The payload of ${this.execution} cannot be stored: ${this.issue}. Nothing was started: correct the payload.`
  }
}

/**
 * The stored end of an execution does not fit this definition's schemas.
 *
 * @category errors
 * @since 0.1.0
 */
export class ResultUndecodable extends Schema.TaggedError<ResultUndecodable>("effect-saga/SagaError/ResultUndecodable")(
  "ResultUndecodable",
  { ...execution, issue: Schema.String }
) {
  override get message(): string {
    return `${this.execution} has ended, but its result does not fit the definition: ${this.issue}. ` +
      "Read it with the version of the definition that wrote it."
  }
}

/**
 * There is no execution with this id.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownExecution extends Schema.TaggedError<UnknownExecution>("effect-saga/SagaError/UnknownExecution")(
  "UnknownExecution",
  execution
) {
  override get message(): string {
    return `There is no execution ${this.execution} in this store. Check the id, and that this is the right store.`
  }
}

/**
 * Everything that `SagaError` can say.
 *
 * @category errors
 * @since 0.1.0
 */
export type Reason<CE> =
  | Parked<CE>
  | Cancelled
  | TooLate
  | NotAccepting
  | StoreUnavailable
  | PayloadMismatch
  | PayloadInvalid
  | ResultUndecodable
  | UnknownExecution

/**
 * The library's error. `CE` is what the saga's compensations can fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export class SagaError<out CE = unknown>
  extends Schema.TaggedError<SagaError<any>>("effect-saga/SagaError")("SagaError", {
    reason: Schema.Union([
      Parked,
      Cancelled,
      TooLate,
      NotAccepting,
      StoreUnavailable,
      PayloadMismatch,
      PayloadInvalid,
      ResultUndecodable,
      UnknownExecution
    ])
  })
{
  declare readonly reason: Reason<CE>
  override get message(): string {
    return this.reason.message
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/**
 * One sentence's worth of why an execution is parked.
 *
 * @category destructors
 * @since 0.1.0
 */
export const describe = (reason: ParkReason): string => {
  switch (reason._tag) {
    case "CompensationFailed":
      return "a compensation failed for good"
    case "Unknown":
      return `nobody knows whether ${reason.step} happened (${reason.message})`
    case "Defect":
      return reason.step === undefined
        ? `the body died: ${reason.message}`
        : `${reason.step} died: ${reason.message}`
    case "Nondeterminism":
      return `the journal and the code disagree: the journal has ${reason.journal}, the body asked for ${reason.body}`
    case "Undecodable":
      return `${reason.what} in the journal does not fit its schema: ${reason.message}`
    case "Unencodable":
      return `${reason.what} cannot be stored: ${reason.message}`
    case "RecoveryExhausted":
      return `it was claimed ${reason.claims} times without progress`
    case "Exhausted":
      return `the schedule of ${reason.step} ended: ${reason.message}`
  }
}
