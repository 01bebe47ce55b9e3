/**
 * What has happened to an execution: entries, and the pure fold that says where it stands.
 *
 * A journal is append-only. An entry is a past fact in its stored form (plain JSON: values and errors were encoded by
 * the step's own schemas before they got here), with the time at which it was recorded. This module relies on nothing
 * but Schema: it knows no store, no engine and no clock.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Notation from "./internal/notation.ts"
import { ParkReason } from "./SagaError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Which request of the body an entry speaks of: its name, the fork path that asked (absent: the body itself) and how
 * often that path had asked for the name before (absent: never).
 *
 * @category models
 * @since 0.1.0
 */
export interface Ref {
  readonly name: string
  readonly path?: string
  readonly occurrence?: number
}

const ref = {
  name: Schema.String,
  path: Schema.optionalKey(Schema.String),
  occurrence: Schema.optionalKey(Schema.Int)
}
const at = { at: Schema.Number }
const received = { mail: Schema.Int, signal: Schema.String, value: Schema.Json }
const beating = {
  attempt: Schema.Int,
  details: Schema.optionalKey(Schema.Json),
  beatAt: Schema.optionalKey(Schema.Number)
}

/**
 * How a step relates to the point of no return. `onRollback` acts only in its compensation, `onCommit` only when the
 * saga can no longer roll back. A `child` is an execution of its own.
 *
 * @category models
 * @since 0.1.0
 */
export const Kind = Schema.Literals([
  "compensable",
  "readonly",
  "retryable",
  "pivot",
  "onRollback",
  "onCommit",
  "child"
])

/**
 * @category models
 * @since 0.1.0
 */
export type Kind = typeof Kind.Type

/**
 * What one attempt that did not succeed says about its effect.
 *
 * `refused`: a declared error, it did not happen. `timeout`: nobody knows. `never`: `check` promises that it did not
 * and will not happen. `pending`: `check` says it is still going on. `defect`: a bug, nobody knows.
 *
 * @category models
 * @since 0.1.0
 */
export const AttemptOutcome = Schema.Literals(["refused", "timeout", "never", "pending", "defect"])

/**
 * @category models
 * @since 0.1.0
 */
export type AttemptOutcome = typeof AttemptOutcome.Type

/**
 * Why a roll-back began: the saga failed with its own error, was cancelled, took longer than its deadline (in
 * milliseconds since the epoch), a person ordered it, or a bug in a saga that rolls back on defects.
 *
 * @category models
 * @since 0.1.0
 */
export const RollbackCause = Schema.Union([
  Schema.TaggedStruct("Failed", { error: Schema.Json }),
  Schema.TaggedStruct("Cancelled", { reason: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("DeadlineExceeded", { deadline: Schema.Number }),
  Schema.TaggedStruct("Operator", { actor: Schema.String, reason: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("Defect", { step: Schema.optionalKey(Schema.String), message: Schema.String })
])

/**
 * @category models
 * @since 0.1.0
 */
export type RollbackCause = typeof RollbackCause.Type

/**
 * A step whose effect stands although the execution rolled back, or whose outcome nobody knows.
 *
 * @category models
 * @since 0.1.0
 */
export const Unresolved = Schema.Struct({
  ...ref,
  attempts: Schema.Int,
  error: Schema.optionalKey(Schema.Json),
  defect: Schema.optionalKey(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Unresolved = typeof Unresolved.Type

/**
 * What a person answered to a parked execution.
 *
 * **Details**
 *
 * `Retry`: go on from the journal. `Resolve`: the step happened, with this value in its stored form. `Skip`: the
 * compensation of this step is taken care of; or the step, whose outcome nobody knows, did not happen. `Rollback`: undo
 * what it did. `Abandon`: close it as it is.
 *
 * @category models
 * @since 0.1.0
 */
export const Resolution = Schema.Union([
  Schema.TaggedStruct("Retry", {}),
  Schema.TaggedStruct("Resolve", { step: Schema.Struct(ref), value: Schema.Json }),
  Schema.TaggedStruct("Skip", { step: Schema.Struct(ref) }),
  Schema.TaggedStruct("Rollback", {}),
  Schema.TaggedStruct("Abandon", {})
])

/**
 * @category models
 * @since 0.1.0
 */
export type Resolution = typeof Resolution.Type

/** Who answers, why, and which park: the first one of an execution is 1. */
const resolving = {
  resolution: Resolution,
  actor: Schema.optionalKey(Schema.String),
  reason: Schema.optionalKey(Schema.String),
  park: Schema.optionalKey(Schema.Int)
}

const parked = {
  ...at,
  reason: ParkReason,
  cause: Schema.optionalKey(RollbackCause),
  unresolved: Schema.Array(Unresolved)
}

/**
 * The entries that end an execution. `SagaParked` may be taken back by a person; `SagaAbandoned` says who closed it.
 *
 * @category models
 * @since 0.1.0
 */
export const End = Schema.Union([
  Schema.TaggedStruct("SagaCompleted", { ...at, value: Schema.Json }),
  Schema.TaggedStruct("SagaRolledBack", { ...at, cause: RollbackCause }),
  Schema.TaggedStruct("SagaParked", parked),
  Schema.TaggedStruct("SagaAbandoned", { ...parked, actor: Schema.String, because: Schema.String })
])

/**
 * @category models
 * @since 0.1.0
 */
export type End = typeof End.Type

/**
 * A message to the owner of an execution: only the owner appends, everybody else writes into the inbox.
 *
 * **Details**
 *
 * `Child`: what became of an execution that this one started. Without `end` it was parked and goes on.
 *
 * @category models
 * @since 0.1.0
 */
export const Mail = Schema.Union([
  Schema.TaggedStruct("Cancel", { reason: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("Resolve", resolving),
  Schema.TaggedStruct("Signal", { signal: Schema.String, payload: Schema.Json }),
  Schema.TaggedStruct("Child", { child: Schema.String, end: Schema.optionalKey(End) })
])

/**
 * @category models
 * @since 0.1.0
 */
export type Mail = typeof Mail.Type

/**
 * An end from the JSON text in an execution's row.
 *
 * @category models
 * @since 0.1.0
 */
export const decodeEnd = (text: string): Effect.Effect<End, Schema.SchemaError> =>
  Effect.flatMap(decodeJson(text), (json) => decodeExpandedEnd(Notation.expandOne(json)))

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))
const decodeExpandedEnd = Schema.decodeUnknownEffect(End)

/**
 * Everything a journal can say.
 *
 * **Details**
 *
 * `at` is the time at which the entry was recorded, in milliseconds since the epoch, never before that of its
 * predecessor. `value`, `error` hold what the step's schemas encoded. `wakeAt` is the time chosen for the next attempt:
 * it is read back and never computed again. `found`: a `check` found that it had happened. `mail` is the number of the
 * inbox row that the entry answers, and which goes with it. `deadline` is a time as well. An absent `version` is 1. The
 * name of what was published is its key. A `Suspended` without `wakeAt` waits for a message alone. `losers` are the
 * scopes that a race leaves to be undone. `parent` is the execution that started this one, `child` one that this
 * execution started; `undo`: it holds a compensation once that has completed. `MailUndelivered` says what nobody
 * received before the end, and may follow it; without `message` nobody could read it. `ContinuedAsNew` begins the
 * journal anew: nothing before it counts for the body, and its `generation` (from 1) is part of every key; `parks` is
 * how often it was parked before. A heartbeat's `details` are those that its attempt gave last, absent where it gave
 * none; it came at `beatAt`, where that was before the entry.
 *
 * @category models
 * @since 0.1.0
 */
// Persistent: every tag and every field below is stored. A change is additive.
export const Entry = Schema.Union([
  Schema.TaggedStruct("SagaStarted", {
    ...at,
    deadline: Schema.optionalKey(Schema.Number),
    version: Schema.optionalKey(Schema.Int),
    parent: Schema.optionalKey(Schema.String)
  }),
  Schema.TaggedStruct("Claimed", { ...at, worker: Schema.String }),
  Schema.TaggedStruct("StepStarted", { ...at, ...ref, kind: Kind, scope: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("AttemptFailed", {
    ...at,
    ...ref,
    attempt: Schema.Int,
    outcome: AttemptOutcome,
    error: Schema.optionalKey(Schema.Json),
    message: Schema.optionalKey(Schema.String),
    wakeAt: Schema.optionalKey(Schema.Number)
  }),
  Schema.TaggedStruct("StepHeartbeat", { ...at, ...ref, ...beating }),
  Schema.TaggedStruct("StepSucceeded", {
    ...at,
    ...ref,
    attempt: Schema.Int,
    value: Schema.Json,
    found: Schema.optionalKey(Schema.Literal(true))
  }),
  Schema.TaggedStruct("StepFailed", { ...at, ...ref, attempt: Schema.Int, error: Schema.Json }),
  Schema.TaggedStruct("StepWithdrawn", { ...at, ...ref }),
  Schema.TaggedStruct("PivotPassed", at),
  Schema.TaggedStruct("TimerSet", { ...at, ...ref, wakeAt: Schema.Number }),
  Schema.TaggedStruct("TimerFired", { ...at, ...ref }),
  Schema.TaggedStruct("TimerWithdrawn", { ...at, ...ref }),
  Schema.TaggedStruct("ParkRequested", { ...at, reason: ParkReason }),
  Schema.TaggedStruct("CancelRequested", { ...at, mail: Schema.Int, reason: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("DeadlinePassed", at),
  Schema.TaggedStruct("RollbackRequested", { ...at, cause: RollbackCause }),
  Schema.TaggedStruct("Resolved", { ...at, mail: Schema.Int, ...resolving }),
  Schema.TaggedStruct("ResolutionRefused", { ...at, mail: Schema.Int, ...resolving, issue: Schema.String }),
  Schema.TaggedStruct("Suspended", { ...at, wakeAt: Schema.optionalKey(Schema.Number) }),
  Schema.TaggedStruct("Published", { ...at, ...ref, value: Schema.Json }),
  Schema.TaggedStruct("VersionMarked", { ...at, change: Schema.String, version: Schema.Int }),
  Schema.TaggedStruct("RollbackStarted", { ...at, scope: Schema.String, cause: RollbackCause }),
  Schema.TaggedStruct("CompensationStarted", { ...at, ...ref }),
  Schema.TaggedStruct("CompensationAttemptFailed", {
    ...at,
    ...ref,
    attempt: Schema.Int,
    outcome: Schema.Literals(["failed", "timeout", "pending"]),
    error: Schema.optionalKey(Schema.Json),
    wakeAt: Schema.optionalKey(Schema.Number)
  }),
  Schema.TaggedStruct("CompensationTimerSet", { ...at, ...ref, timer: Schema.String, wakeAt: Schema.Number }),
  Schema.TaggedStruct("CompensationHeartbeat", { ...at, ...ref, ...beating }),
  Schema.TaggedStruct("CompensationSucceeded", {
    ...at,
    ...ref,
    attempt: Schema.Int,
    found: Schema.optionalKey(Schema.Literal(true))
  }),
  Schema.TaggedStruct("CompensationFailed", {
    ...at,
    ...ref,
    attempt: Schema.Int,
    error: Schema.optionalKey(Schema.Json),
    defect: Schema.optionalKey(Schema.String)
  }),
  Schema.TaggedStruct("ScopeRolledBack", { ...at, scope: Schema.String }),
  Schema.TaggedStruct("StepsRollbackStarted", { ...at, ...ref, steps: Schema.Array(Schema.Struct(ref)) }),
  Schema.TaggedStruct("StepsRolledBack", { ...at, ...ref }),
  Schema.TaggedStruct("SignalAwaited", { ...at, ...ref, signals: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("SignalReceived", { ...at, ...ref, ...received }),
  Schema.TaggedStruct("ReceiveWithdrawn", { ...at, ...ref }),
  Schema.TaggedStruct("CompensationSignalReceived", { ...at, ...ref, wait: Schema.String, ...received }),
  Schema.TaggedStruct("ChildStarted", {
    ...at,
    ...ref,
    child: Schema.String,
    undo: Schema.optionalKey(Schema.Literal(true)),
    scope: Schema.optionalKey(Schema.String)
  }),
  Schema.TaggedStruct("ChildCancelRequested", { ...at, ...ref }),
  Schema.TaggedStruct("ChildParked", { ...at, ...ref, mail: Schema.Int, reason: ParkReason }),
  Schema.TaggedStruct("ChildResumed", { ...at, ...ref, mail: Schema.Int }),
  Schema.TaggedStruct("ChildEnded", { ...at, ...ref, mail: Schema.Int, end: End }),
  Schema.TaggedStruct("RaceWon", { ...at, ...ref, winner: Schema.Int, losers: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("ContinuedAsNew", {
    ...at,
    payload: Schema.Json,
    generation: Schema.Int,
    deadline: Schema.optionalKey(Schema.Number),
    version: Schema.optionalKey(Schema.Int),
    parks: Schema.optionalKey(Schema.Int),
    parent: Schema.optionalKey(Schema.String)
  }),
  Schema.TaggedStruct("MailUndelivered", { ...at, mail: Schema.Int, message: Schema.optionalKey(Mail) }),
  ...End.members
])

/**
 * @category models
 * @since 0.1.0
 */
export type Entry = typeof Entry.Type

/**
 * The entry with a given tag.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type EntryOf<Tag extends Entry["_tag"]> = Extract<Entry, { readonly _tag: Tag }>

// ---------------------------------------------------------------------------------------------------------------------
// state
// ---------------------------------------------------------------------------------------------------------------------

/**
 * One attempt that did not succeed, with the time at which it was recorded.
 *
 * @category state
 * @since 0.1.0
 */
export interface FailedAttempt {
  readonly at: number
  readonly attempt: number
  readonly outcome: AttemptOutcome | "failed"
  readonly error: Schema.Json | undefined
  readonly message: string | undefined
  readonly wakeAt: number | undefined
}

/**
 * The last heartbeat that the journal has: when it came, in which attempt, and the last details that any gave, in their
 * stored form.
 *
 * @category state
 * @since 0.1.0
 */
export interface HeartbeatState {
  readonly at: number
  readonly attempt: number
  readonly details: Schema.Json | undefined
}

/**
 * A person who settled something, and why.
 *
 * @category state
 * @since 0.1.0
 */
export interface ResolvedBy {
  readonly at: number
  readonly resolution: Resolution["_tag"]
  readonly actor: string | undefined
  readonly reason: string | undefined
}

/**
 * What the journal says about one step.
 *
 * @category state
 * @since 0.1.0
 */
export interface StepState {
  readonly ref: Ref
  readonly kind: Kind
  readonly scope: string
  readonly startedAt: number
  endedAt: number | undefined
  status: "started" | "succeeded" | "failed" | "withdrawn"
  readonly attempts: Array<FailedAttempt>
  /** The number of the last attempt that ended. */
  attempted: number
  /** How many attempts certainly did not happen: the ordinal in the idempotency key. */
  refusals: number
  heartbeat: HeartbeatState | undefined
  value: Schema.Json | undefined
  error: Schema.Json | undefined
  /** A person said how it ended. */
  resolvedBy: ResolvedBy | undefined
  /** The execution that it is, where it is one of its own. */
  readonly child: ChildState | undefined
  compensation: CompensationState
}

/**
 * What the journal says about an execution that this one started.
 *
 * **Details**
 *
 * `cancelled`: it was asked to roll back by this one. `parked`: why it waits for a person, as far as it has said.
 * `end`: how it ended.
 *
 * @category state
 * @since 0.1.0
 */
export interface ChildState {
  readonly execution: string
  /** It is undone once it has completed. */
  readonly undo: boolean
  cancelled: boolean
  parked: ParkReason | undefined
  end: End | undefined
}

/**
 * What the journal says about one compensation. `held`: the step happened, so it runs if its scope rolls back.
 *
 * @category state
 * @since 0.1.0
 */
export interface CompensationState {
  status: "none" | "held" | "running" | "succeeded" | "failed" | "skipped"
  startedAt: number | undefined
  endedAt: number | undefined
  /** Those that count for its schedule: a person who retries it gives it its whole budget again. */
  attempts: Array<FailedAttempt>
  /** How many attempts have ended, in all. */
  attempted: number
  heartbeat: HeartbeatState | undefined
  error: Schema.Json | undefined
  defect: string | undefined
  /** When its durable waits end, by their names. */
  readonly timers: Map<string, number>
  /** What it has received, by the names of its waits: every attempt gets it again. */
  readonly signals: Map<string, { readonly signal: string; readonly value: Schema.Json }>
  /** Who retried or skipped it last. */
  resolvedBy: ResolvedBy | undefined
}

/**
 * Where an execution stands, as its journal says.
 *
 * @category state
 * @since 0.1.0
 */
export interface JournalState {
  /** When this generation began. */
  readonly startedAt: number
  readonly version: number
  /** How often it has continued as new. */
  readonly generation: number
  /** What this generation began with, in its stored form; undefined where that is what the execution began with. */
  readonly payload: Schema.Json | undefined
  /** When it rolls back unless it has passed its point of no return. */
  readonly deadline: number | undefined
  /** The time of the last entry. */
  at: number
  phase: "running" | "settling" | "compensating" | "completed" | "rolledback" | "parked" | "abandoned"
  /** Until when it left memory, if nothing but claims happened since; infinite where it waits for a message alone. */
  suspended: number | undefined
  /** Claims since the last progress. */
  claims: number
  /** Who made them: a worker that claims it again was not ended by it. */
  readonly claimants: Array<string>
  /** The number of the last inbox row that an entry answered. */
  received: number
  /** How often it was parked. */
  parks: number
  /** Whether anything was done since it parked, other than leaving something out. */
  touched: boolean
  pivotPassed: boolean
  /** A roll-back that was asked for and has not begun. */
  requested: RollbackCause | undefined
  /** Set while a park is under way: decided, but not yet recorded as done. */
  parking: ParkReason | undefined
  /** The root roll-back. */
  rollback: RollbackCause | undefined
  /** The inner scopes whose roll-back has begun and not ended. */
  readonly undoing: Set<string>
  /** The same for `Saga.rollback`: which steps each of them undoes. */
  readonly undoingSteps: Map<string, ReadonlyArray<string>>
  readonly steps: Map<string, StepState>
  /** The steps that hold a compensation, in the order in which they succeeded. */
  held: Array<string>
  /** What the body published last under each key, in its stored form. */
  readonly published: Map<string, Schema.Json>
  /** Which version of each change the body went by (`Saga.version`). */
  readonly versions: Map<string, number>
  /** What it waits for, by the keys of its receives. */
  readonly awaiting: Map<string, AwaitingState>
  /** What was sent to it that its journal answers, in that order. */
  readonly signals: Array<SignalState>
  /** What persons answered that was taken, the last one last. */
  readonly resolutions: Array<ResolutionState>
  end: End | undefined
}

/**
 * A receive of the body that has got nothing yet.
 *
 * @category state
 * @since 0.1.0
 */
export interface AwaitingState {
  readonly ref: Ref
  /** The kinds of signals that it takes. */
  readonly signals: ReadonlyArray<string>
  readonly since: number
}

/**
 * A signal that the journal answers.
 *
 * **Details**
 *
 * `received`: the body got it, in the receive `by`; or a compensation did, then `by` is its step. `undelivered`: nobody
 * had received it when the execution ended. `mail` is its number among all messages to the execution.
 *
 * @category state
 * @since 0.1.0
 */
export interface SignalState {
  readonly at: number
  readonly mail: number
  readonly signal: string
  readonly status: "received" | "undelivered"
  readonly by: Ref | undefined
  /** In its stored form. */
  readonly payload: Schema.Json
}

/**
 * An answer of a person that was taken, and to which park.
 *
 * @category state
 * @since 0.1.0
 */
export interface ResolutionState extends Omit<ResolvedBy, "resolution"> {
  readonly park: number
  readonly resolution: Resolution
}

/**
 * An entry that cannot follow what was recorded before it.
 *
 * @category state
 * @since 0.1.0
 */
export interface Illegal {
  readonly entry: Entry["_tag"]
  readonly state: string
}

/**
 * What counts of a journal: all of it, or what there is from where it last continued as new.
 *
 * @category state
 * @since 0.1.0
 */
export const current = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry> => {
  const last = entries.findLastIndex(({ _tag }) => _tag === "ContinuedAsNew")
  return last <= 0 ? entries : entries.slice(last)
}

export {
  /**
   * Where an execution stands after these entries; or the first entry that cannot be where it is.
   *
   * @category state
   * @since 0.1.0
   */
  fold,
  /**
   * Where an execution stands after as many of these entries as follow each other.
   *
   * @category state
   * @since 0.1.0
   */
  foldPrefix,
  /**
   * What a roll-back that has begun has not undone yet.
   *
   * @category state
   * @since 0.1.0
   */
  unresolved
} from "./internal/fold.ts"

export {
  /**
   * Whether a roll-back scope is `outer` or lies inside it; everything lies inside the saga itself.
   *
   * @category refs
   * @since 0.1.0
   */
  isWithin,
  /**
   * The `Ref` of a name as people read it, `Ship` or `Ship#2`: without a fork path.
   *
   * @category refs
   * @since 0.1.0
   */
  parseRef,
  /**
   * A `Ref` in its stored form: what is the default is left out.
   *
   * @category refs
   * @since 0.1.0
   */
  ref_,
  /**
   * The key of a request in maps: injective, since a path holds only digits, dots and letters without `|`.
   *
   * @category refs
   * @since 0.1.0
   */
  refKey,
  /**
   * A request's name as people read it: `Ship`, `Ship#2` for its second occurrence.
   *
   * @category refs
   * @since 0.1.0
   */
  refName
} from "./internal/ref.ts"

// ---------------------------------------------------------------------------------------------------------------------
// records
// ---------------------------------------------------------------------------------------------------------------------

export {
  /**
   * A child as people read it: which execution it is, and why it is parked, if it has said so.
   *
   * @category records
   * @since 0.1.0
   */
  type ChildRecord,
  /**
   * One compensation as people read it.
   *
   * @category records
   * @since 0.1.0
   */
  type CompensationRecord,
  /**
   * The compensations of the steps that happened, in the order in which they happened: the order of undoing reversed.
   *
   * @category records
   * @since 0.1.0
   */
  compensationRecords,
  /**
   * One step as people read it.
   *
   * @category records
   * @since 0.1.0
   */
  type StepRecord,
  /**
   * The steps, in the order in which they began.
   *
   * @category records
   * @since 0.1.0
   */
  stepRecords
} from "./internal/records.ts"
