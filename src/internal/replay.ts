/**
 * What a journal says to a body that runs again: which requests it must ask, and which answers it gets, in order.
 *
 * Pure: from entries to instructions. The executor follows them and stops at the first one that the body contradicts.
 *
 * @since 0.1.0
 */
import * as Journal from "../Journal.ts"
import { childOutcome } from "./fold.ts"

type IntentEntry = Journal.EntryOf<
  "StepStarted" | "ChildStarted" | "TimerSet" | "RollbackStarted" | "StepsRollbackStarted" | "SignalAwaited" | "RaceWon"
>
type AnswerEntry = Journal.EntryOf<
  | "StepSucceeded"
  | "StepFailed"
  | "StepWithdrawn"
  | "ChildEnded"
  | "TimerFired"
  | "TimerWithdrawn"
  | "ScopeRolledBack"
  | "StepsRolledBack"
  | "SignalReceived"
  | "ReceiveWithdrawn"
>

/**
 * One thing that the replay does.
 *
 * **Details**
 *
 * `Intent`: the body has asked for this by now. `Answer`: it gets this answer now. `Keep`: the answer came when the
 * seam was closed (a cancel, a park, the roll-back), so the body never sees it, but what it did is held.
 *
 * @category models
 * @since 0.1.0
 */
export type Instruction =
  | { readonly _tag: "Intent"; readonly key: string; readonly entry: IntentEntry }
  | { readonly _tag: "Answer"; readonly key: string; readonly entry: AnswerEntry }
  | { readonly _tag: "Keep"; readonly key: string; readonly entry: AnswerEntry }
  | { readonly _tag: "Pivot"; readonly entry: Journal.EntryOf<"PivotPassed"> }

/**
 * The keys of requests: one letter for what it is, then which one.
 *
 * @category keys
 * @since 0.1.0
 */
export const keys = {
  step: (ref: Journal.Ref): string => `s${Journal.refKey(ref)}`,
  timer: (ref: Journal.Ref): string => `t${Journal.refKey(ref)}`,
  scope: (scope: string): string => `r${scope}`,
  steps: (ref: Journal.Ref): string => `b${Journal.refKey(ref)}`,
  published: (ref: Journal.Ref): string => `u${Journal.refKey(ref)}`,
  version: (ref: Journal.Ref): string => `v${Journal.refKey(ref)}`,
  receive: (ref: Journal.Ref): string => `m${Journal.refKey(ref)}`,
  race: (ref: Journal.Ref): string => `w${Journal.refKey(ref)}`,
  continued: "n",
  pivot: "p"
}

/**
 * The instructions of a journal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const plan = (entries: Iterable<Journal.Entry>): ReadonlyArray<Instruction> => {
  const instructions: Array<Instruction> = []
  let kept: Array<{ readonly key: string; readonly entry: AnswerEntry }> = []
  /** Open, closed until a person resumes it, or closed for good. */
  let seam: "open" | "parked" | "closed" = "open"
  let pivotPassed = false
  let undoing = false
  /** The pivot in flight. */
  let deciding: string | undefined
  /** The steps in flight. */
  const started = new Set<string>()
  /** The children that were asked to roll back. */
  const cancelled = new Set<string>()
  const open = () => {
    if (seam !== "parked") return
    seam = "open"
    for (const { entry, key } of kept) instructions.push({ _tag: "Answer", key, entry })
    kept = []
  }
  const answer = (key: string, entry: AnswerEntry) => {
    if (seam === "open") instructions.push({ _tag: "Answer", key, entry })
    else kept.push({ key, entry })
  }
  const request = () => {
    undoing = true
    if (pivotPassed) return
    // A pivot in flight decides first: if it happened, this came too late. Until then a parked body goes on.
    if (deciding === undefined) seam = "closed"
    else open()
  }
  for (const entry of entries) {
    switch (entry._tag) {
      case "StepStarted":
        if (entry.kind === "pivot") deciding = keys.step(entry)
        started.add(keys.step(entry))
        instructions.push({ _tag: "Intent", key: keys.step(entry), entry })
        break
      case "ChildStarted":
        started.add(keys.step(entry))
        instructions.push({ _tag: "Intent", key: keys.step(entry), entry })
        break
      case "ChildCancelRequested":
        cancelled.add(keys.step(entry))
        break
      case "ChildEnded":
        if (childOutcome(entry.end, cancelled.has(keys.step(entry))) === undefined) break
        started.delete(keys.step(entry))
        answer(keys.step(entry), entry)
        break
      case "TimerSet":
        instructions.push({ _tag: "Intent", key: keys.timer(entry), entry })
        break
      case "RollbackStarted":
        if (entry.scope === "") seam = "closed"
        else instructions.push({ _tag: "Intent", key: keys.scope(entry.scope), entry })
        break
      case "StepsRollbackStarted":
        instructions.push({ _tag: "Intent", key: keys.steps(entry), entry })
        break
      case "StepSucceeded":
      case "StepFailed":
      case "StepWithdrawn":
        started.delete(keys.step(entry))
        if (deciding === keys.step(entry)) {
          deciding = undefined
          if (undoing && entry._tag !== "StepSucceeded") seam = "closed"
        }
        answer(keys.step(entry), entry)
        break
      case "TimerFired":
      case "TimerWithdrawn":
        answer(keys.timer(entry), entry)
        break
      case "ScopeRolledBack":
        answer(keys.scope(entry.scope), entry)
        break
      case "StepsRolledBack":
        answer(keys.steps(entry), entry)
        break
      case "SignalAwaited":
        instructions.push({ _tag: "Intent", key: keys.receive(entry), entry })
        break
      case "RaceWon":
        instructions.push({ _tag: "Intent", key: keys.race(entry), entry })
        break
      case "SignalReceived":
      case "ReceiveWithdrawn":
        answer(keys.receive(entry), entry)
        break
      case "PivotPassed":
        pivotPassed = true
        instructions.push({ _tag: "Pivot", entry })
        break
      case "ParkRequested":
      case "SagaParked":
        if (seam === "open") seam = "parked"
        break
      case "CancelRequested":
      case "DeadlinePassed":
      case "RollbackRequested":
        request()
        break
      case "Resolved":
        switch (entry.resolution._tag) {
          case "Retry":
          case "Resolve":
            open()
            break
          case "Skip":
            // A step that was left out is never answered; a compensation lets its roll-back go on.
            if (!started.has(keys.step(entry.resolution.step))) open()
            break
          case "Rollback":
            request()
            break
          case "Abandon":
            break
        }
        break
      case "SagaStarted":
      case "ContinuedAsNew":
      case "Claimed":
      case "AttemptFailed":
      case "StepHeartbeat":
      case "CompensationStarted":
      case "CompensationAttemptFailed":
      case "CompensationHeartbeat":
      case "CompensationTimerSet":
      case "CompensationSignalReceived":
      case "CompensationSucceeded":
      case "CompensationFailed":
      case "ResolutionRefused":
      case "Suspended":
      case "Published":
      case "VersionMarked":
      case "ChildParked":
      case "ChildResumed":
      case "MailUndelivered":
      case "SagaCompleted":
      case "SagaRolledBack":
      case "SagaAbandoned":
        break
    }
  }
  for (const { entry, key } of kept) instructions.push({ _tag: "Keep", key, entry })
  return instructions
}

/**
 * What an instruction says that the journal has, for the sentence of a mismatch.
 *
 * @category destructors
 * @since 0.1.0
 */
export const describe = (instruction: Instruction): string => {
  if (instruction._tag === "Pivot") return "the point of no return"
  const { entry } = instruction
  switch (entry._tag) {
    case "StepStarted":
      return `step ${Journal.refName(entry)} (${entry.kind})`
    case "StepSucceeded":
    case "StepFailed":
    case "StepWithdrawn":
      return `step ${Journal.refName(entry)}`
    case "ChildStarted":
    case "ChildEnded":
      return `child ${Journal.refName(entry)}`
    case "TimerSet":
    case "TimerFired":
    case "TimerWithdrawn":
      return `timer ${Journal.refName(entry)}`
    case "RollbackStarted":
    case "ScopeRolledBack":
      return `the roll-back of scope ${entry.scope}`
    case "StepsRollbackStarted":
      return `the roll-back of ${entry.steps.map(Journal.refName).join(", ") || "no step"}`
    case "StepsRolledBack":
      return `the roll-back ${Journal.refName(entry)}`
    case "SignalAwaited":
    case "SignalReceived":
    case "ReceiveWithdrawn":
      return `the wait for ${Journal.refName(entry)}`
    case "RaceWon":
      return `${Journal.refName(entry)} won by number ${entry.winner + 1}`
  }
}
