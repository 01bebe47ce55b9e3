/**
 * What has happened to an execution: entries, and the pure fold that says where it stands.
 *
 * A journal is append-only. An entry is a past fact in its stored form (plain JSON: values and errors were encoded by
 * the step's own schemas before they got here), with the time at which it was recorded. This module relies on nothing
 * but Schema: it knows no store, no engine and no clock.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
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

/**
 * How a step relates to the point of no return. `onRollback` acts only in its compensation, `onCommit` only when the
 * saga can no longer roll back.
 *
 * @category models
 * @since 0.1.0
 */
export const Kind = Schema.Literals(["compensable", "readonly", "retryable", "pivot", "onRollback", "onCommit"])

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
 * Why a roll-back began.
 *
 * @category models
 * @since 0.1.0
 */
export const RollbackCause = Schema.Union([
  Schema.TaggedStruct("Failed", { error: Schema.Json }),
  Schema.TaggedStruct("Cancelled", { reason: Schema.optionalKey(Schema.String) })
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
 * What a person answered to a parked execution. `retry`: go on from the journal.
 *
 * @category models
 * @since 0.1.0
 */
export const Resolution = Schema.Union([Schema.TaggedStruct("Retry", {})])

/**
 * @category models
 * @since 0.1.0
 */
export type Resolution = typeof Resolution.Type

/**
 * A message to the owner of an execution: only the owner appends, everybody else writes into the inbox.
 *
 * @category models
 * @since 0.1.0
 */
export const Mail = Schema.Union([
  Schema.TaggedStruct("Cancel", { reason: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("Resolve", { resolution: Resolution })
])

/**
 * @category models
 * @since 0.1.0
 */
export type Mail = typeof Mail.Type

/**
 * The entries that end an execution; the last one may be taken back by a person.
 *
 * @category models
 * @since 0.1.0
 */
export const End = Schema.Union([
  Schema.TaggedStruct("SagaCompleted", { ...at, value: Schema.Json }),
  Schema.TaggedStruct("SagaRolledBack", { ...at, cause: RollbackCause }),
  Schema.TaggedStruct("SagaParked", {
    ...at,
    reason: ParkReason,
    cause: Schema.optionalKey(RollbackCause),
    unresolved: Schema.Array(Unresolved)
  })
])

/**
 * @category models
 * @since 0.1.0
 */
export type End = typeof End.Type

/**
 * An end from the JSON text in an execution's row.
 *
 * @category models
 * @since 0.1.0
 */
export const decodeEnd: (text: string) => Effect.Effect<End, Schema.SchemaError> = Schema.decodeUnknownEffect(
  Schema.fromJsonString(End)
)

/**
 * Everything a journal can say.
 *
 * **Details**
 *
 * `at` is the time at which the entry was recorded, in milliseconds since the epoch, never before that of its
 * predecessor. `value`, `error` hold what the step's schemas encoded. `wakeAt` is the time chosen for the next attempt:
 * it is read back and never computed again. `found`: the step's `check` found that it had happened. `mail` is the
 * number of the inbox row that the entry answers.
 *
 * @category models
 * @since 0.1.0
 */
// Persistent: every tag and every field below is stored. A change is additive.
export const Entry = Schema.Union([
  Schema.TaggedStruct("SagaStarted", at),
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
  Schema.TaggedStruct("Resolved", { ...at, mail: Schema.Int, resolution: Resolution }),
  Schema.TaggedStruct("RollbackStarted", { ...at, scope: Schema.String, cause: RollbackCause }),
  Schema.TaggedStruct("CompensationStarted", { ...at, ...ref }),
  Schema.TaggedStruct("CompensationAttemptFailed", {
    ...at,
    ...ref,
    attempt: Schema.Int,
    outcome: Schema.Literals(["failed", "timeout"]),
    error: Schema.Json,
    wakeAt: Schema.optionalKey(Schema.Number)
  }),
  Schema.TaggedStruct("CompensationSucceeded", { ...at, ...ref, attempt: Schema.Int }),
  Schema.TaggedStruct("CompensationFailed", {
    ...at,
    ...ref,
    attempt: Schema.Int,
    error: Schema.optionalKey(Schema.Json),
    defect: Schema.optionalKey(Schema.String)
  }),
  Schema.TaggedStruct("ScopeRolledBack", { ...at, scope: Schema.String }),
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
  /** How many attempts certainly did not happen: the ordinal in the idempotency key. */
  refusals: number
  value: Schema.Json | undefined
  error: Schema.Json | undefined
  compensation: CompensationState
}

/**
 * What the journal says about one compensation. `held`: the step happened, so it runs if its scope rolls back.
 *
 * @category state
 * @since 0.1.0
 */
export interface CompensationState {
  status: "none" | "held" | "running" | "succeeded" | "failed"
  startedAt: number | undefined
  endedAt: number | undefined
  attempts: Array<FailedAttempt>
  error: Schema.Json | undefined
  defect: string | undefined
}

/**
 * Where an execution stands, as its journal says.
 *
 * @category state
 * @since 0.1.0
 */
export interface JournalState {
  readonly startedAt: number
  /** The time of the last entry. */
  at: number
  phase: "running" | "settling" | "compensating" | "completed" | "rolledback" | "parked"
  /** Claims since the last progress. */
  claims: number
  /** The number of the last inbox row that an entry answered. */
  received: number
  pivotPassed: boolean
  cancel: { readonly reason: string | undefined } | undefined
  /** Set while a park is under way: decided, but not yet recorded as done. */
  parking: ParkReason | undefined
  /** The root roll-back. */
  rollback: RollbackCause | undefined
  /** The inner scopes whose roll-back has begun and not ended. */
  readonly undoing: Set<string>
  readonly steps: Map<string, StepState>
  /** The steps that hold a compensation, in the order in which they succeeded. */
  held: Array<string>
  end: End | undefined
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
 * The key of a request in maps: injective, since a path holds only digits, dots and letters without `|`.
 *
 * @category state
 * @since 0.1.0
 */
export const refKey = (ref: Ref): string => `${ref.path ?? ""}|${ref.occurrence ?? 0}|${ref.name}`

/**
 * A request's name as people read it: `Ship`, `Ship#2` for its second occurrence.
 *
 * @category state
 * @since 0.1.0
 */
export const refName = (ref: Ref): string =>
  ref.occurrence === undefined ? ref.name : `${ref.name}#${ref.occurrence + 1}`

/**
 * A `Ref` in its stored form: what is the default is left out.
 *
 * @category state
 * @since 0.1.0
 */
export const ref_ = (name: string, path: string, occurrence: number): Ref => ({
  name,
  ...(path === "" ? undefined : { path }),
  ...(occurrence === 0 ? undefined : { occurrence })
})

/**
 * Whether a roll-back scope is `outer` or lies inside it; everything lies inside the saga itself.
 *
 * @category state
 * @since 0.1.0
 */
export const isWithin = (scope: string, outer: string): boolean =>
  outer === "" || scope === outer || scope.startsWith(`${outer}/`)

/**
 * What a roll-back that has begun has not undone yet.
 *
 * @category state
 * @since 0.1.0
 */
export const unresolved = (state: JournalState): ReadonlyArray<Unresolved> =>
  state.held.flatMap((key) => {
    const { compensation, ref, scope } = state.steps.get(key)!
    const undoing = state.rollback !== undefined || [...state.undoing].some((outer) => isWithin(scope, outer))
    return !undoing || compensation.status === "succeeded" ? [] : [{
      ...ref,
      attempts: compensation.attempts.length + (compensation.status === "failed" ? 1 : 0),
      ...(compensation.error === undefined ? undefined : { error: compensation.error }),
      ...(compensation.defect === undefined ? undefined : { defect: compensation.defect })
    }]
  })

/**
 * Where an execution stands after these entries; or the first entry that cannot be where it is.
 *
 * @category state
 * @since 0.1.0
 */
export const fold = (entries: Iterable<Entry>): Result.Result<JournalState, Illegal> => {
  let state: JournalState | undefined
  for (const entry of entries) {
    if (state === undefined) {
      if (entry._tag !== "SagaStarted") return Result.fail({ entry: entry._tag, state: "an empty journal" })
      state = initial(entry)
      continue
    }
    const illegal = step(state, entry)
    if (illegal !== undefined) return Result.fail({ entry: entry._tag, state: illegal })
    state.at = Math.max(state.at, entry.at)
    if (entry._tag !== "Claimed") state.claims = 0
  }
  return state === undefined ? Result.fail({ entry: "SagaStarted", state: "no entries at all" }) : Result.succeed(state)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const initial = (entry: EntryOf<"SagaStarted">): JournalState => ({
  startedAt: entry.at,
  at: entry.at,
  phase: "running",
  claims: 0,
  received: 0,
  pivotPassed: false,
  cancel: undefined,
  parking: undefined,
  rollback: undefined,
  undoing: new Set(),
  steps: new Map(),
  held: [],
  end: undefined
})

/** Applies one entry to a state that nobody else sees; returns what makes it illegal. */
const step = (state: JournalState, entry: Entry): string | undefined => {
  if (state.phase === "completed" || state.phase === "rolledback") return `an execution that ${state.phase}`
  if (state.phase === "parked" && !wakes.includes(entry._tag)) return "an execution that is parked"
  switch (entry._tag) {
    case "SagaStarted":
      return "an execution that started"
    case "Claimed":
      state.claims++
      return undefined
    case "StepStarted":
    case "AttemptFailed":
    case "StepSucceeded":
    case "StepFailed":
    case "StepWithdrawn":
      return stepEntry(state, entry)
    case "CompensationStarted":
    case "CompensationAttemptFailed":
    case "CompensationSucceeded":
    case "CompensationFailed":
      return compensationEntry(state, entry)
    case "TimerSet":
    case "TimerFired":
    case "TimerWithdrawn":
      return undefined
    case "ScopeRolledBack":
      return state.undoing.delete(entry.scope) ? undefined : `no roll-back of scope ${entry.scope}`
    case "PivotPassed":
      if (state.rollback !== undefined) return "an execution that rolls back"
      state.pivotPassed = true
      state.phase = "settling"
      state.cancel = undefined
      return undefined
    case "ParkRequested":
      state.parking = entry.reason
      return undefined
    case "CancelRequested":
      state.received = Math.max(state.received, entry.mail)
      if (!state.pivotPassed && state.rollback === undefined) {
        state.cancel = { reason: entry.reason }
        unpark(state)
      }
      return undefined
    case "Resolved":
      state.received = Math.max(state.received, entry.mail)
      unpark(state)
      return undefined
    case "RollbackStarted":
      if (state.pivotPassed) return "an execution past its point of no return"
      if (state.rollback !== undefined) return "an execution that rolls back"
      if (entry.scope !== "") {
        state.undoing.add(entry.scope)
        return undefined
      }
      if (inFlight(state) !== undefined) return `an execution with ${inFlight(state)} in flight`
      state.rollback = entry.cause
      state.phase = "compensating"
      return undefined
    case "SagaCompleted":
      if (state.rollback !== undefined) return "an execution that rolls back"
      if (inFlight(state) !== undefined) return `an execution with ${inFlight(state)} in flight`
      state.end = entry
      state.phase = "completed"
      return undefined
    case "SagaRolledBack":
      if (state.rollback === undefined) return "an execution that does not roll back"
      if (unresolved(state).length > 0) return `an execution with ${refName(unresolved(state)[0]!)} not undone`
      state.end = entry
      state.phase = "rolledback"
      return undefined
    case "SagaParked":
      state.end = entry
      state.parking = undefined
      state.phase = "parked"
      return undefined
  }
}

/** What a parked execution takes. */
const wakes: ReadonlyArray<Entry["_tag"]> = ["Claimed", "CancelRequested", "Resolved", "SagaParked"]

/** A step that has begun and not ended. */
const inFlight = (state: JournalState): string | undefined => {
  for (const { ref, status } of state.steps.values()) if (status === "started") return refName(ref)
  return undefined
}

const unpark = (state: JournalState): void => {
  if (state.phase !== "parked" && state.parking === undefined) return
  state.end = undefined
  state.parking = undefined
  state.phase = state.rollback !== undefined ? "compensating" : state.pivotPassed ? "settling" : "running"
  for (const { compensation } of state.steps.values()) {
    if (compensation.status !== "failed") continue
    // Its schedule starts anew: the person who resumed it gives it its whole budget again.
    compensation.status = "running"
    compensation.attempts = []
    compensation.endedAt = undefined
    compensation.error = undefined
    compensation.defect = undefined
  }
}

type StepEntry = EntryOf<"StepStarted" | "AttemptFailed" | "StepSucceeded" | "StepFailed" | "StepWithdrawn">

const stepEntry = (state: JournalState, entry: StepEntry): string | undefined => {
  const key = refKey(entry)
  const known = state.steps.get(key)
  if (entry._tag === "StepStarted") {
    if (known !== undefined) return `a step ${refName(entry)} that started`
    if (state.rollback !== undefined) return "an execution that rolls back"
    state.steps.set(key, newStep(entry))
    return undefined
  }
  if (known === undefined) return `no step ${refName(entry)}`
  if (known.status !== "started") return `a step ${refName(entry)} that ${known.status}`
  if (entry._tag === "AttemptFailed") {
    known.attempts.push(failedAttempt(entry, entry.message))
    if (entry.outcome === "refused" || entry.outcome === "never") known.refusals++
    return undefined
  }
  known.endedAt = entry.at
  if (entry._tag === "StepSucceeded") {
    known.status = "succeeded"
    known.value = entry.value
    if (!state.pivotPassed && (known.kind === "compensable" || known.kind === "onRollback")) {
      known.compensation.status = "held"
      state.held.push(key)
    }
  } else if (entry._tag === "StepFailed") {
    known.status = "failed"
    known.error = entry.error
  } else {
    known.status = "withdrawn"
  }
  return undefined
}

const newStep = (entry: EntryOf<"StepStarted">): StepState => ({
  ref: ref_(entry.name, entry.path ?? "", entry.occurrence ?? 0),
  kind: entry.kind,
  scope: entry.scope ?? "",
  startedAt: entry.at,
  endedAt: undefined,
  status: "started",
  attempts: [],
  refusals: 0,
  value: undefined,
  error: undefined,
  compensation: {
    status: "none",
    startedAt: undefined,
    endedAt: undefined,
    attempts: [],
    error: undefined,
    defect: undefined
  }
})

type CompensationEntry = EntryOf<
  "CompensationStarted" | "CompensationAttemptFailed" | "CompensationSucceeded" | "CompensationFailed"
>

const compensationEntry = (state: JournalState, entry: CompensationEntry): string | undefined => {
  const key = refKey(entry)
  const known = state.steps.get(key)
  if (known === undefined) return `no step ${refName(entry)}`
  const { compensation, scope } = known
  if (compensation.status !== "running" && !(compensation.status === "held" && entry._tag === "CompensationStarted")) {
    return `a compensation of ${refName(entry)} that is ${compensation.status}`
  }
  if (state.rollback === undefined && ![...state.undoing].some((outer) => isWithin(scope, outer))) {
    return "an execution that does not roll back"
  }
  switch (entry._tag) {
    case "CompensationStarted":
      compensation.status = "running"
      compensation.startedAt ??= entry.at
      return undefined
    case "CompensationAttemptFailed":
      compensation.attempts.push(failedAttempt(entry, undefined))
      return undefined
    case "CompensationSucceeded":
      compensation.status = "succeeded"
      compensation.endedAt = entry.at
      return undefined
    case "CompensationFailed":
      compensation.status = "failed"
      compensation.endedAt = entry.at
      compensation.error = entry.error
      compensation.defect = entry.defect
      return undefined
  }
}

const failedAttempt = (
  entry: EntryOf<"AttemptFailed" | "CompensationAttemptFailed">,
  message: string | undefined
): FailedAttempt => ({
  at: entry.at,
  attempt: entry.attempt,
  outcome: entry.outcome,
  error: entry.error,
  message,
  wakeAt: entry.wakeAt
})
