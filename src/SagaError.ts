/**
 * What the library itself answers when an execution does not end with the user's own result or error.
 *
 * One error, `SagaError`, with a `reason` union: `Effect.catchReason("SagaError", "Parked", ...)` picks one. A user's
 * own errors never travel in here, except as the original cause and the unresolved compensations of `Parked`.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
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
 * the point of no return ended. `Child`: an execution that it started could not be, or ended in a way that says neither
 * a result nor an error.
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
  Schema.TaggedStruct("Exhausted", { step: Schema.String, message: Schema.String }),
  Schema.TaggedStruct("Child", { step: Schema.String, child: Schema.String, message: Schema.String })
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
 * What makes a parked execution roll back, now or once it goes on: the declared error of the body, a cancel, its
 * deadline (milliseconds since the epoch), a person, or a bug in a saga that rolls back on defects.
 *
 * @category models
 * @since 0.1.0
 */
export type Original =
  | { readonly _tag: "Failed"; readonly error: unknown }
  | { readonly _tag: "Cancelled"; readonly reason: string | undefined }
  | { readonly _tag: "DeadlineExceeded"; readonly deadline: number }
  | { readonly _tag: "Operator"; readonly actor: string; readonly reason: string | undefined }
  | { readonly _tag: "Defect"; readonly step: string | undefined; readonly message: string }

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const execution = { execution: Schema.String }

const left = {
  why: ParkReason,
  unresolved: Schema.Array(Schema.Struct({
    step: Schema.String,
    attempts: Schema.Int,
    error: Schema.Unknown,
    defect: Schema.UndefinedOr(Schema.String)
  })),
  original: Schema.UndefinedOr(Schema.Union([
    Schema.TaggedStruct("Failed", { error: Schema.Unknown }),
    Schema.TaggedStruct("Cancelled", { reason: Schema.UndefinedOr(Schema.String) }),
    Schema.TaggedStruct("DeadlineExceeded", { deadline: Schema.Number }),
    Schema.TaggedStruct("Operator", { actor: Schema.String, reason: Schema.UndefinedOr(Schema.String) }),
    Schema.TaggedStruct("Defect", { step: Schema.UndefinedOr(Schema.String), message: Schema.String })
  ]))
}

/** A remark, where there is one. */
const because = (text: string | undefined): string => text === undefined || text === "" ? "" : ` (${text})`

/** A time as people read it; as it is where a calendar has no such time. */
const timeOf = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? DateTime.formatIso(DateTime.makeUnsafe(millis)) : `${millis}`

const leftUndone = (unresolved: ReadonlyArray<Unresolved<unknown>>): string =>
  unresolved.length === 0 ? "" : ` Left undone: ${unresolved.map((_) => _.step).join(", ")}.`

/**
 * The execution waits for a person: nothing more happens to it before it is resumed.
 *
 * @category errors
 * @since 0.1.0
 */
export class Parked<out CE = unknown>
  extends Schema.TaggedError<Parked<any>>("effect-saga/SagaError/Parked")("Parked", { ...execution, ...left })
{
  declare readonly unresolved: ReadonlyArray<Unresolved<CE>>
  declare readonly original: Original | undefined
  override get message(): string {
    return `${this.execution} is parked: ${describe(this.why)}.${leftUndone(this.unresolved)} ` +
      "Nothing was lost: mend the cause and call `resume` with its id, or answer with `SagaInspector`."
  }
}

/**
 * A person closed a parked execution as it was: what is unresolved stays so.
 *
 * @category errors
 * @since 0.1.0
 */
export class Abandoned<out CE = unknown>
  extends Schema.TaggedError<Abandoned<any>>("effect-saga/SagaError/Abandoned")("Abandoned", {
    ...execution,
    actor: Schema.String,
    reason: Schema.String,
    ...left
  })
{
  declare readonly unresolved: ReadonlyArray<Unresolved<CE>>
  declare readonly original: Original | undefined
  override get message(): string {
    return `${this.execution} was abandoned by ${this.actor}${because(this.reason)}, ` +
      `parked because ${describe(this.why)}.` +
      `${leftUndone(this.unresolved)} Start it under another idempotency key to try again.`
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
    return `${this.execution} was cancelled${because(this.reason)} and rolled back. ` +
      "Start it under another idempotency key to try again."
  }
}

/**
 * The execution took longer than its deadline, and everything it did is undone. `deadline`: milliseconds since the
 * epoch.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>("effect-saga/SagaError/DeadlineExceeded")(
  "DeadlineExceeded",
  { ...execution, deadline: Schema.Number }
) {
  override get message(): string {
    return `${this.execution} took longer than its deadline (${timeOf(this.deadline)}) and was rolled back. ` +
      "Start it under another idempotency key to try again."
  }
}

/**
 * A person rolled the execution back: everything it did is undone. `reason` is empty where none was given.
 *
 * @category errors
 * @since 0.1.0
 */
export class RolledBackByOperator
  extends Schema.TaggedError<RolledBackByOperator>("effect-saga/SagaError/RolledBackByOperator")(
    "RolledBackByOperator",
    { ...execution, actor: Schema.String, reason: Schema.UndefinedOr(Schema.String) }
  )
{
  override get message(): string {
    return `${this.execution} was rolled back by ${this.actor}${because(this.reason)}. ` +
      "Start it under another idempotency key to try again."
  }
}

/**
 * A bug in a saga that rolls back on defects: everything it did is undone. `step`: the one that died; undefined where
 * the body did.
 *
 * @category errors
 * @since 0.1.0
 */
export class RolledBackByDefect
  extends Schema.TaggedError<RolledBackByDefect>("effect-saga/SagaError/RolledBackByDefect")(
    "RolledBackByDefect",
    { ...execution, step: Schema.UndefinedOr(Schema.String), defect: Schema.String }
  )
{
  override get message(): string {
    return `${this.execution} was rolled back, because ${this.step ?? "its body"} died: ${this.defect}. ` +
      "Mend it, and start it under another idempotency key."
  }
}

/**
 * The point of no return is passed: the execution goes on to its end and cannot be undone.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooLate extends Schema.TaggedError<TooLate>("effect-saga/SagaError/TooLate")("TooLate", execution) {
  override get message(): string {
    return `${this.execution} has passed its point of no return and cannot be undone. Wait for its result.`
  }
}

/**
 * The execution does not take this message: it has ended, it is not parked, or a cancel came while it waits for a
 * person in the middle of its roll-back.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotAccepting extends Schema.TaggedError<NotAccepting>("effect-saga/SagaError/NotAccepting")(
  "NotAccepting",
  { ...execution, status: Schema.String, request: Schema.String }
) {
  override get message(): string {
    return `${this.execution} does not accept ${this.request}: its status is ${this.status}. ` +
      (this.status === "parked" ? "Answer for it with `SagaInspector`." : "Poll it for its result.")
  }
}

/**
 * This answer to a parked execution does not apply to it, or its value does not fit: `issue` says why, and what does.
 *
 * @category errors
 * @since 0.1.0
 */
export class ResolutionRefused extends Schema.TaggedError<ResolutionRefused>("effect-saga/SagaError/ResolutionRefused")(
  "ResolutionRefused",
  { ...execution, request: Schema.String, issue: Schema.String }
) {
  override get message(): string {
    return `${this.execution} does not take ${this.request}: ${this.issue}.`
  }
}

/**
 * This version cannot read the execution's journal: a newer version wrote it, or somebody changed it by hand.
 *
 * @category errors
 * @since 0.1.0
 */
export class JournalUnreadable extends Schema.TaggedError<JournalUnreadable>("effect-saga/SagaError/JournalUnreadable")(
  "JournalUnreadable",
  { ...execution, issue: Schema.String }
) {
  override get message(): string {
    return `The journal of ${this.execution} cannot be read: ${this.issue}. ` +
      "Use the version that wrote it, or repair the row."
  }
}

/**
 * A question about executions that makes no sense: `issue` says what to change.
 *
 * @category errors
 * @since 0.1.0
 */
export class QueryInvalid extends Schema.TaggedError<QueryInvalid>("effect-saga/SagaError/QueryInvalid")(
  "QueryInvalid",
  { issue: Schema.String }
) {
  override get message(): string {
    return `The inspector cannot answer this: ${this.issue}.`
  }
}

/**
 * A version of a saga is said to be retired, and executions that started with it have not ended: `executions` names
 * them, up to a hundred.
 *
 * @category errors
 * @since 0.1.0
 */
export class VersionInUse extends Schema.TaggedError<VersionInUse>("effect-saga/SagaError/VersionInUse")(
  "VersionInUse",
  { saga: Schema.String, version: Schema.Number, executions: Schema.Array(Schema.String) }
) {
  override get message(): string {
    const { executions, saga, version } = this
    const named = executions.slice(0, 5).join(", ")
    const more = executions.length > 5 ? " and more" : ""
    return `Version ${version} of ${saga} is not retired: ${named}${more} started with it and have not ended. Deploy ` +
      "its handler beside the new one until they have, or name it in `replaces` of one that replays their journals."
  }
}

/**
 * The store did not take a request within its time, or refused it. `execution` is empty where the request was about
 * none in particular, as a list is.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>("effect-saga/SagaError/StoreUnavailable")(
  "StoreUnavailable",
  { ...execution, cause: Schema.Defect() }
) {
  override get message(): string {
    return `The saga store is not available${because(this.execution)}. Check the database (\`cause\` says what it ` +
      "answered) and send the same request again: it is harmless, as the idempotency key makes a start one."
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
 * A signal's payload does not fit its schema, or cannot be stored; or its key cannot. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class SignalInvalid extends Schema.TaggedError<SignalInvalid>("effect-saga/SagaError/SignalInvalid")(
  "SignalInvalid",
  { ...execution, signal: Schema.String, issue: Schema.String }
) {
  override get message(): string {
    return `Signal ${this.signal} cannot be sent to ${this.execution}: ${this.issue}. Nothing was sent: correct it.`
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
  | Abandoned<CE>
  | Cancelled
  | DeadlineExceeded
  | RolledBackByOperator
  | RolledBackByDefect
  | TooLate
  | NotAccepting
  | ResolutionRefused
  | JournalUnreadable
  | QueryInvalid
  | VersionInUse
  | StoreUnavailable
  | PayloadMismatch
  | PayloadInvalid
  | SignalInvalid
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
      Abandoned,
      Cancelled,
      DeadlineExceeded,
      RolledBackByOperator,
      RolledBackByDefect,
      TooLate,
      NotAccepting,
      ResolutionRefused,
      JournalUnreadable,
      QueryInvalid,
      VersionInUse,
      StoreUnavailable,
      PayloadMismatch,
      PayloadInvalid,
      SignalInvalid,
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
    case "Child":
      return `its child ${reason.child} (${reason.step}) ${reason.message}`
  }
}
