/**
 * The journal as a state machine: one pure function from entries to where an execution stands.
 *
 * Transitions are total. An entry that cannot follow what was recorded before it is a value that names both sides.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import type {
  End,
  Entry,
  EntryOf,
  FailedAttempt,
  HeartbeatState,
  Illegal,
  JournalState,
  Ref,
  Resolution,
  ResolvedBy,
  RollbackCause,
  StepState,
  Unresolved
} from "../Journal.ts"
import { initial, newStep } from "./beginning.ts"
import { isWithin, ref_, refKey, refName } from "./ref.ts"

/**
 * Where an execution stands after these entries; or the first entry that cannot be where it is.
 *
 * @category state
 * @since 0.1.0
 */
export const fold = (entries: Iterable<Entry>): Result.Result<JournalState, Illegal> => {
  const { illegal, state } = run(entries)
  if (illegal !== undefined) return Result.fail(illegal)
  return state === undefined ? Result.fail({ entry: "SagaStarted", state: "no entries at all" }) : Result.succeed(state)
}

/**
 * Where an execution stands after as many of these entries as follow each other.
 *
 * @category state
 * @since 0.1.0
 */
export const foldPrefix = (entries: Iterable<Entry>): JournalState | undefined => run(entries).state

/**
 * Applies the next entry to a state that nobody else sees. Returns what makes it illegal.
 *
 * @category state
 * @since 0.1.0
 */
export const apply = (state: JournalState, entry: Entry): string | undefined => {
  const illegal = step(state, entry)
  if (illegal !== undefined) return illegal
  state.at = Math.max(state.at, entry.at)
  if (!looks.includes(entry._tag)) state.touched = true
  if (entry._tag !== "Claimed") {
    // A step that beats and then ends its process gets no further: that is no progress.
    if (entry._tag !== "StepHeartbeat" && entry._tag !== "CompensationHeartbeat") {
      state.claims = 0
      if (state.claimants.length > 0) state.claimants.length = 0
    }
    state.suspended = entry._tag === "Suspended" ? entry.wakeAt ?? Infinity : undefined
  }
  return undefined
}

/**
 * What a roll-back that has begun has not undone yet.
 *
 * @category state
 * @since 0.1.0
 */
export const unresolved = (state: JournalState): ReadonlyArray<Unresolved> =>
  state.held.flatMap((key) => {
    const { compensation, ref } = state.steps.get(key)!
    return !isUndoing(state, key) || isSettled(compensation.status) ? [] : [{
      ...ref,
      attempts: compensation.attempted,
      ...(compensation.error === undefined ? undefined : { error: compensation.error }),
      ...(compensation.defect === undefined ? undefined : { defect: compensation.defect })
    }]
  })

/**
 * Whether nothing is left to do for a compensation.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSettled = (status: StepState["compensation"]["status"]): boolean =>
  status === "succeeded" || status === "skipped"

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const run = (
  entries: Iterable<Entry>
): { readonly state: JournalState | undefined; readonly illegal: Illegal | undefined } => {
  let state: JournalState | undefined
  for (const entry of entries) {
    if (state === undefined) {
      if (entry._tag !== "SagaStarted" && entry._tag !== "ContinuedAsNew") {
        return { state, illegal: { entry: entry._tag, state: "an empty journal" } }
      }
      state = initial(entry)
      continue
    }
    const illegal = apply(state, entry)
    if (illegal !== undefined) return { state, illegal: { entry: entry._tag, state: illegal } }
  }
  return { state, illegal: undefined }
}

/** Applies one entry to a state that nobody else sees; returns what makes it illegal. */
const step = (state: JournalState, entry: Entry): string | undefined => {
  const { phase } = state
  if (entry._tag === "MailUndelivered") return undelivered(state, entry)
  if (entry._tag === "Claimed" && state.end !== undefined && phase !== "parked") return undefined
  if (phase === "completed" || phase === "rolledback") return `an execution that ${phase}`
  if (phase === "abandoned") return "an execution that was abandoned"
  if (phase === "parked" && !wakes.includes(entry._tag)) return "an execution that is parked"
  switch (entry._tag) {
    case "SagaStarted":
      return "an execution that started"
    case "ContinuedAsNew":
      return continued(state, entry)
    case "Claimed":
      state.claims++
      if (!state.claimants.includes(entry.worker)) state.claimants.push(entry.worker)
      return undefined
    case "StepStarted":
    case "AttemptFailed":
    case "StepHeartbeat":
    case "StepSucceeded":
    case "StepFailed":
    case "StepWithdrawn":
      return stepEntry(state, entry)
    case "ChildStarted":
    case "ChildCancelRequested":
    case "ChildParked":
    case "ChildResumed":
    case "ChildEnded":
      return childEntry(state, entry)
    case "CompensationStarted":
    case "CompensationHeartbeat":
    case "CompensationAttemptFailed":
    case "CompensationTimerSet":
    case "CompensationSignalReceived":
    case "CompensationSucceeded":
    case "CompensationFailed":
      return compensationEntry(state, entry)
    case "RaceWon":
      if (state.rollback !== undefined) return "an execution that rolls back"
      for (const scope of entry.losers) state.undoing.add(scope)
      return undefined
    case "SignalAwaited":
    case "SignalReceived":
    case "ReceiveWithdrawn":
      return receiveEntry(state, entry)
    case "TimerSet":
    case "TimerFired":
    case "TimerWithdrawn":
    case "Suspended":
      return undefined
    case "VersionMarked": {
      const known = state.versions.get(entry.change)
      if (known !== undefined) return `an execution that goes by version ${known} of ${entry.change}`
      state.versions.set(entry.change, entry.version)
      return undefined
    }
    case "Published":
      state.published.set(entry.name, entry.value)
      return undefined
    case "PivotPassed":
      if (state.rollback !== undefined) return "an execution that rolls back"
      state.pivotPassed = true
      state.phase = "settling"
      state.requested = undefined
      return undefined
    case "ParkRequested":
      state.parking = entry.reason
      return undefined
    case "CancelRequested":
      state.received = Math.max(state.received, entry.mail)
      return request(state, {
        _tag: "Cancelled",
        ...(entry.reason === undefined ? undefined : { reason: entry.reason })
      })
    case "DeadlinePassed":
      return request(state, { _tag: "DeadlineExceeded", deadline: state.deadline ?? entry.at })
    case "RollbackRequested":
      return request(state, entry.cause)
    case "Resolved":
      state.received = Math.max(state.received, entry.mail)
      return resolved(state, entry)
    case "ResolutionRefused":
      state.received = Math.max(state.received, entry.mail)
      return undefined
    case "RollbackStarted":
    case "ScopeRolledBack":
    case "StepsRollbackStarted":
    case "StepsRolledBack":
      return rollbackEntry(state, entry)
    case "SagaCompleted":
    case "SagaRolledBack":
    case "SagaParked":
    case "SagaAbandoned":
      return endEntry(state, entry)
  }
}

/** Nothing is in flight, and nothing is held that could be undone: the next generation knows nothing of this one. */
const continued = (state: JournalState, entry: EntryOf<"ContinuedAsNew">): string | undefined => {
  if (state.rollback !== undefined || state.undoing.size > 0) return "an execution that rolls back"
  if (inFlight(state) !== undefined) return `an execution with ${inFlight(state)} in flight`
  const holds = state.pivotPassed ? undefined : state.held.find((key) => !isSettled(compensationOf(state, key).status))
  if (holds !== undefined) return `an execution that holds the compensation of ${refName(state.steps.get(holds)!.ref)}`
  const { received } = state
  Object.assign(state, initial(entry), { received })
  return undefined
}

const compensationOf = (state: JournalState, key: string): StepState["compensation"] =>
  state.steps.get(key)!.compensation

/** What a parked execution takes. */
const wakes: ReadonlyArray<Entry["_tag"]> = [
  "Claimed",
  "CancelRequested",
  "Resolved",
  "ResolutionRefused",
  "ChildParked",
  "ChildResumed",
  "ChildEnded",
  "SagaParked",
  "SagaAbandoned"
]

/** What does not move an execution from where it parked. */
const looks: ReadonlyArray<Entry["_tag"]> = [
  "Claimed",
  "Resolved",
  "ResolutionRefused",
  "StepWithdrawn",
  "ParkRequested",
  "ChildParked",
  "ChildResumed",
  "ChildEnded",
  "SagaParked",
  "MailUndelivered"
]

/** What nobody has received is told when nobody will: with the end, or after it. */
const undelivered = (state: JournalState, { at, mail, message }: EntryOf<"MailUndelivered">): undefined => {
  state.received = Math.max(state.received, mail)
  if (message?._tag !== "Signal") return undefined
  const { payload, signal } = message
  state.signals.push({ at, mail, signal, status: "undelivered", by: undefined, payload })
  return undefined
}

const receiveEntry = (
  state: JournalState,
  entry: EntryOf<"SignalAwaited" | "SignalReceived" | "ReceiveWithdrawn">
): string | undefined => {
  const key = refKey(entry)
  const known = state.awaiting.get(key)
  if (entry._tag === "SignalAwaited") {
    if (known !== undefined) return `a wait for ${refName(entry)} that began`
    const ref = ref_(entry.name, entry.path ?? "", entry.occurrence ?? 0)
    state.awaiting.set(key, { ref, signals: entry.signals, since: entry.at })
    return undefined
  }
  if (known === undefined) return `no wait for ${refName(entry)}`
  state.awaiting.delete(key)
  if (entry._tag === "SignalReceived") takeSignal(state, entry, known.ref)
  return undefined
}

const takeSignal = (
  state: JournalState,
  { at, mail, signal, value }: EntryOf<"SignalReceived" | "CompensationSignalReceived">,
  by: Ref
): void => {
  state.received = Math.max(state.received, mail)
  state.signals.push({ at, mail, signal, status: "received", by, payload: value })
}

/** A step that has begun and not ended. */
const inFlight = (state: JournalState): string | undefined => {
  for (const { ref, status } of state.steps.values()) if (status === "started") return refName(ref)
  return undefined
}

/** A roll-back is asked for: the first one counts, and none past the point of no return. */
const request = (state: JournalState, cause: RollbackCause, by?: ResolvedBy): undefined => {
  if (state.pivotPassed || state.rollback !== undefined) return undefined
  state.requested ??= cause
  if (state.phase === "parked" || state.parking !== undefined) restart(state, by)
  unpark(state)
  return undefined
}

const unpark = (state: JournalState): void => {
  if (state.phase !== "parked" && state.parking === undefined) return
  state.end = undefined
  state.parking = undefined
  state.phase = state.rollback !== undefined ? "compensating" : state.pivotPassed ? "settling" : "running"
}

/** What failed for good is tried again, with its whole budget. */
const restart = (state: JournalState, by: ResolvedBy | undefined): void => {
  for (const { compensation } of state.steps.values()) {
    if (compensation.status !== "failed") continue
    compensation.status = "running"
    compensation.attempts = []
    compensation.timers.clear()
    compensation.endedAt = undefined
    compensation.error = undefined
    compensation.defect = undefined
    compensation.resolvedBy = by ?? compensation.resolvedBy
  }
}

const resolved = (state: JournalState, entry: EntryOf<"Resolved">): string | undefined => {
  const { actor, at, reason, resolution } = entry
  const open = state.phase === "parked" || state.parking !== undefined
  // What a roll-back has not begun, or has failed with, may be left out while it goes on.
  if (!open && (resolution._tag !== "Skip" || !isDue(state, resolution.step))) return undefined
  const by: ResolvedBy = { at, resolution: resolution._tag, actor, reason }
  state.resolutions.push({ at, actor, reason, resolution, park: entry.park ?? state.parks })
  switch (resolution._tag) {
    case "Retry":
      state.touched = true
      unpark(state)
      restart(state, by)
      return undefined
    case "Rollback":
      state.touched = true
      return request(
        state,
        { _tag: "Operator", actor: actor ?? "", ...(reason === undefined ? undefined : { reason }) },
        by
      )
    case "Abandon":
      return undefined
    case "Resolve":
    case "Skip":
      return settled(state, resolution, by)
  }
}

const isDue = (state: JournalState, ref: Ref): boolean => {
  const known = state.steps.get(refKey(ref))
  const status = known?.compensation.status
  return (status === "failed" || status === "held") && isUndoing(state, refKey(ref))
}

/** A person said how a step ended, or that its compensation is taken care of. */
const settled = (
  state: JournalState,
  { _tag, step }: Extract<Resolution, { _tag: "Resolve" | "Skip" }>,
  by: ResolvedBy
): string | undefined => {
  const known = state.steps.get(refKey(step))
  if (known === undefined) return `no step ${refName(step)}`
  const { compensation } = known
  if (_tag === "Resolve" || known.status === "started") {
    if (known.status !== "started") return `a step ${refName(step)} that ${known.status}`
    known.resolvedBy = by
  } else {
    if (compensation.status === "none" || isSettled(compensation.status)) {
      return `a compensation of ${refName(step)} that is ${compensation.status}`
    }
    compensation.status = "skipped"
    compensation.endedAt = by.at
    compensation.resolvedBy = by
  }
  unpark(state)
  return undefined
}

const rollbackEntry = (
  state: JournalState,
  entry: EntryOf<"RollbackStarted" | "ScopeRolledBack" | "StepsRollbackStarted" | "StepsRolledBack">
): string | undefined => {
  switch (entry._tag) {
    case "ScopeRolledBack":
      return state.undoing.delete(entry.scope) ? undefined : `no roll-back of scope ${entry.scope}`
    case "StepsRolledBack":
      return state.undoingSteps.delete(refKey(entry)) ? undefined : `no roll-back ${refName(entry)}`
    case "StepsRollbackStarted":
      if (state.pivotPassed) return "an execution past its point of no return"
      if (state.rollback !== undefined) return "an execution that rolls back"
      state.undoingSteps.set(refKey(entry), entry.steps.map(refKey))
      return undefined
    case "RollbackStarted":
      if (state.rollback !== undefined) return "an execution that rolls back"
      if (entry.scope !== "") {
        // Past the point of no return a scope holds nothing, but it ends all the same.
        state.undoing.add(entry.scope)
        return undefined
      }
      if (state.pivotPassed) return "an execution past its point of no return"
      if (inFlight(state) !== undefined) return `an execution with ${inFlight(state)} in flight`
      state.rollback = entry.cause
      state.requested = undefined
      state.phase = "compensating"
      return undefined
  }
}

const endEntry = (
  state: JournalState,
  entry: EntryOf<"SagaCompleted" | "SagaRolledBack" | "SagaParked" | "SagaAbandoned">
): string | undefined => {
  switch (entry._tag) {
    case "SagaCompleted":
      if (state.rollback !== undefined) return "an execution that rolls back"
      if (inFlight(state) !== undefined) return `an execution with ${inFlight(state)} in flight`
      state.phase = "completed"
      break
    case "SagaRolledBack":
      if (state.rollback === undefined) return "an execution that does not roll back"
      if (unresolved(state).length > 0) return `an execution with ${refName(unresolved(state)[0]!)} not undone`
      state.phase = "rolledback"
      break
    case "SagaParked":
      // One that was looked at, or of which a person only left something out, is still parked for the same.
      if (state.phase !== "parked" && state.touched) state.parks++
      state.touched = false
      state.parking = undefined
      state.phase = "parked"
      break
    case "SagaAbandoned":
      if (state.phase !== "parked") return "an execution that is not parked"
      state.phase = "abandoned"
      break
  }
  state.end = entry
  return undefined
}

type StepEntry = EntryOf<
  "StepStarted" | "AttemptFailed" | "StepHeartbeat" | "StepSucceeded" | "StepFailed" | "StepWithdrawn"
>

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
  if (entry._tag === "StepHeartbeat") {
    known.heartbeat = heartbeat(known, entry)
    return undefined
  }
  if (entry._tag !== "StepWithdrawn") known.attempted = Math.max(known.attempted, entry.attempt)
  if (entry._tag === "AttemptFailed") {
    known.attempts.push(failedAttempt(entry, entry.message))
    if (entry.outcome === "refused" || entry.outcome === "never") known.refusals++
    return undefined
  }
  known.endedAt = entry.at
  if (entry._tag === "StepSucceeded") {
    known.status = "succeeded"
    known.value = entry.value
    hold(state, known, key)
  } else if (entry._tag === "StepFailed") {
    known.status = "failed"
    known.error = entry.error
  } else {
    known.status = "withdrawn"
  }
  return undefined
}

type ChildEntry = EntryOf<"ChildStarted" | "ChildCancelRequested" | "ChildParked" | "ChildResumed" | "ChildEnded">

/** A child is a step that takes an execution of its own. */
const childEntry = (state: JournalState, entry: ChildEntry): string | undefined => {
  const key = refKey(entry)
  const known = state.steps.get(key)
  if ("mail" in entry) state.received = Math.max(state.received, entry.mail)
  if (entry._tag === "ChildStarted") {
    if (known !== undefined) return `a step ${refName(entry)} that started`
    if (state.rollback !== undefined) return "an execution that rolls back"
    state.steps.set(key, newStep(entry))
    return undefined
  }
  if (known?.child === undefined) return `no child ${refName(entry)}`
  if (known.status !== "started") return `a child ${refName(entry)} that ${known.status}`
  const { child } = known
  if (child.end !== undefined) return `a child ${refName(entry)} that ended`
  switch (entry._tag) {
    case "ChildCancelRequested":
      child.cancelled = true
      return undefined
    case "ChildParked":
      child.parked = entry.reason
      return undefined
    case "ChildResumed":
      child.parked = undefined
      return undefined
    case "ChildEnded":
      child.parked = undefined
      child.end = entry.end
      return endChild(state, known, key, entry)
  }
}

const endChild = (
  state: JournalState,
  known: StepState,
  key: string,
  { at, end }: EntryOf<"ChildEnded">
): undefined => {
  const status = childOutcome(end, known.child?.cancelled === true)
  if (status === undefined) return undefined
  known.endedAt = at
  known.status = status
  if (end._tag === "SagaCompleted") {
    known.attempted = 1
    known.value = end.value
    hold(state, known, key)
  } else if (end._tag === "SagaRolledBack" && end.cause._tag === "Failed" && status === "failed") {
    known.attempted = 1
    known.error = end.cause.error
  }
  return undefined
}

/**
 * What the end of a child says of it as a step; undefined where that does not follow: it rolled back although it did
 * not fail and its parent did not ask for that, or somebody abandoned it.
 *
 * @category destructors
 * @since 0.1.0
 */
export const childOutcome = (end: End, cancelled: boolean): "succeeded" | "failed" | "withdrawn" | undefined => {
  switch (end._tag) {
    case "SagaCompleted":
      return "succeeded"
    case "SagaRolledBack":
      return cancelled ? "withdrawn" : end.cause._tag === "Failed" ? "failed" : undefined
    case "SagaParked":
    case "SagaAbandoned":
      return undefined
  }
}

/** What happened before the point of no return is undone if the saga rolls back. */
const hold = (state: JournalState, { child, compensation, kind }: StepState, key: string): void => {
  if (state.pivotPassed || (kind !== "compensable" && kind !== "onRollback" && child?.undo !== true)) return
  compensation.status = "held"
  state.held.push(key)
}

/** Whether a roll-back that has begun and not ended undoes this step. */
const isUndoing = (state: JournalState, key: string): boolean => {
  if (state.rollback !== undefined) return true
  const { scope } = state.steps.get(key)!
  for (const outer of state.undoing) if (isWithin(scope, outer)) return true
  for (const steps of state.undoingSteps.values()) if (steps.includes(key)) return true
  return false
}

type CompensationEntry = EntryOf<
  | "CompensationStarted"
  | "CompensationAttemptFailed"
  | "CompensationHeartbeat"
  | "CompensationTimerSet"
  | "CompensationSignalReceived"
  | "CompensationSucceeded"
  | "CompensationFailed"
>

const compensationEntry = (state: JournalState, entry: CompensationEntry): string | undefined => {
  const key = refKey(entry)
  const known = state.steps.get(key)
  if (known === undefined) return `no step ${refName(entry)}`
  const { compensation } = known
  if (compensation.status !== "running" && !(compensation.status === "held" && entry._tag === "CompensationStarted")) {
    return `a compensation of ${refName(entry)} that is ${compensation.status}`
  }
  if (!isUndoing(state, key)) return "an execution that does not roll back"
  switch (entry._tag) {
    case "CompensationStarted":
      compensation.status = "running"
      compensation.startedAt ??= entry.at
      return undefined
    case "CompensationHeartbeat":
      compensation.heartbeat = heartbeat(compensation, entry)
      return undefined
    case "CompensationTimerSet":
      compensation.timers.set(entry.timer, entry.wakeAt)
      return undefined
    case "CompensationSignalReceived":
      compensation.signals.set(entry.wait, { signal: entry.signal, value: entry.value })
      takeSignal(state, entry, known.ref)
      return undefined
    case "CompensationAttemptFailed":
      compensation.attempts.push(failedAttempt(entry, undefined))
      compensation.timers.clear()
      if (entry.outcome !== "pending") compensation.attempted++
      return undefined
    case "CompensationSucceeded":
      compensation.status = "succeeded"
      compensation.endedAt = entry.at
      compensation.attempted++
      return undefined
    case "CompensationFailed":
      compensation.status = "failed"
      compensation.endedAt = entry.at
      compensation.error = entry.error
      compensation.defect = entry.defect
      compensation.attempted++
      return undefined
  }
}

/** One without details says only when: what an earlier one gave holds. */
const heartbeat = (
  known: Pick<StepState, "heartbeat">,
  { at, attempt, beatAt = at, details = known.heartbeat?.details }: EntryOf<"StepHeartbeat" | "CompensationHeartbeat">
): HeartbeatState => ({ at: beatAt, attempt, details })

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
