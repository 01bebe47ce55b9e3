/**
 * The story of one execution, told from its journal: every attempt, what it took, and what was undone.
 */
import { Result, type Schema } from "effect"
import { Journal, SagaError, type SagaStore } from "effect-saga"
import { paint } from "./screen.ts"

/** How an execution ended, as the journal says. */
export type Ending = "completed" | "rolled back" | "failed at once" | "parked" | "not ended"

export interface Timeline {
  readonly ending: Ending
  /** How long it took, in milliseconds. */
  readonly took: number
  /** Whether everything went well at the first attempt. */
  readonly smooth: boolean
  readonly lines: ReadonlyArray<string>
  /** The same in one line, for a smooth one. */
  readonly line: string
}

/** Reads the journal of one execution. */
export const make = (journal: SagaStore.StoredJournal): Timeline => {
  const entries = journal.appends.flatMap((append) => append.entries)
  const state = Result.getOrThrowWith(
    Journal.fold(entries),
    (illegal) => new Error(`The journal has ${illegal.entry} after ${illegal.state}`)
  )
  const lines: Array<string> = []
  for (const [index, entry] of entries.entries()) {
    const text = sentence(entry, entries.slice(0, index))
    if (text !== undefined) lines.push(`${`+${entry.at - state.startedAt} ms`.padStart(12)}  ${text}`)
  }
  const steps = [...state.steps.values()]
  const noted = entries.some(({ _tag }) => _tag === "AttemptFailed" || _tag === "Claimed" || _tag === "Resolved")
  return {
    ending: endingOf(state),
    took: state.at - state.startedAt,
    smooth: state.phase === "completed" && !noted,
    lines,
    line: `${steps.map((step) => `${step.ref.name} ${step.endedAt! - step.startedAt}`).join(", ")} ms`
  }
}

const endingOf = (state: Journal.JournalState): Ending => {
  switch (state.phase) {
    case "completed":
      return "completed"
    case "parked":
      return "parked"
    case "rolledback":
      // Where no step had happened there was nothing to undo.
      return [...state.steps.values()].some(({ status }) => status === "succeeded") ? "rolled back" : "failed at once"
    case "running":
    case "settling":
    case "compensating":
      return "not ended"
  }
}

/** What an entry says to people; most say nothing new. */
const sentence = (entry: Journal.Entry, before: ReadonlyArray<Journal.Entry>): string | undefined => {
  switch (entry._tag) {
    case "StepSucceeded": {
      const attempt = entry.attempt > 1 ? `, attempt ${entry.attempt}` : ""
      return `${paint("green", "done")}     ${name(entry)} ${took(entry, before)}${attempt}`
    }
    case "AttemptFailed": {
      const what = entry.outcome === "refused" ? errorOf(entry.error) : entry.message ?? errorOf(entry.error)
      const next = entry.wakeAt === undefined ? "" : `, again in ${entry.wakeAt - entry.at} ms`
      return `${paint("yellow", "refused")}  ${name(entry)} attempt ${entry.attempt}: ${what}${next}`
    }
    case "StepFailed":
      return `${paint("red", "failed")}   ${name(entry)} ${took(entry, before)}: ${errorOf(entry.error)}`
    case "Claimed":
      return before.at(-1)?._tag === "SagaParked"
        ? undefined
        : paint("red", "recovered by the next process") + inFlight(before)
    case "PivotPassed":
      return paint("dim", "-------- the point of no return: from here on nothing is undone")
    case "RollbackStarted":
      return paint(
        "dim",
        before.some(({ _tag }) => _tag === "StepSucceeded")
          ? "-------- roll-back: what happened is undone, the last step first"
          : "-------- roll-back: nothing has happened yet, so nothing is undone"
      )
    case "CompensationAttemptFailed": {
      const next = entry.wakeAt === undefined ? "" : `, again in ${entry.wakeAt - entry.at} ms`
      const what = errorOf(entry.error)
      return `${paint("yellow", "refused")}  ${name(entry)} undoing, attempt ${entry.attempt}: ${what}${next}`
    }
    case "CompensationSucceeded":
      return `${paint("magenta", "undone")}   ${name(entry)} ${took(entry, before)}`
    case "CompensationFailed":
      return `${paint("red", "stuck")}    ${name(entry)} cannot be undone: ${
        entry.error === undefined ? entry.defect : errorOf(entry.error)
      }`
    case "CancelRequested":
      return `${paint("yellow", "cancel")}   asked for: ${entry.reason ?? "no reason given"}`
    case "Resolved":
      return paint("yellow", "resumed  by a person")
    case "SagaParked":
      return `${paint("red", "parked")}   ${SagaError.describe(entry.reason)}`
    case "SagaStarted":
    case "SagaCompleted":
    case "SagaRolledBack":
    case "StepStarted":
    case "StepWithdrawn":
    case "CompensationStarted":
    case "ScopeRolledBack":
    case "ParkRequested":
    case "TimerSet":
    case "TimerFired":
    case "TimerWithdrawn":
      return undefined
  }
}

const name = (ref: Journal.Ref): string => Journal.refName(ref).padEnd(16)

/** How long the last attempt took: since its start, the end of its back-off, or the recovery. */
const took = (entry: Journal.Entry & Journal.Ref, before: ReadonlyArray<Journal.Entry>): string => {
  let since = entry.at
  for (const earlier of before) {
    if (earlier._tag === "Claimed") since = Math.max(since === entry.at ? 0 : since, earlier.at)
    if (!("name" in earlier) || Journal.refKey(earlier) !== Journal.refKey(entry)) continue
    if (earlier._tag === "StepStarted" || earlier._tag === "CompensationStarted") since = earlier.at
    if ("wakeAt" in earlier && earlier.wakeAt !== undefined) since = earlier.wakeAt
  }
  return `in ${Math.max(0, entry.at - since)} ms`
}

/** What was under way when the process died. */
const inFlight = (before: ReadonlyArray<Journal.Entry>): string => {
  const open = new Map<string, string>()
  for (const entry of before) {
    if (!("name" in entry)) continue
    const key = Journal.refKey(entry)
    if (entry._tag === "StepStarted") open.set(key, entry.name)
    else if (entry._tag === "CompensationStarted") open.set(key, `the undoing of ${entry.name}`)
    else if (!entry._tag.endsWith("AttemptFailed")) open.delete(key)
  }
  return open.size === 0 ? "" : `, which finds ${[...open.values()].join(" and ")} in doubt`
}

/** A stored error, as people read it. */
const errorOf = (error: Schema.Json | undefined): string => {
  if (typeof error !== "object" || error === null || Array.isArray(error)) return JSON.stringify(error)
  const { _tag, ...fields } = error as { readonly [key: string]: Schema.Json }
  const details = Object.entries(fields).map(([key, value]) => `${key} ${JSON.stringify(value)}`).join(", ")
  const tag = typeof _tag === "string" ? _tag : "error"
  return details === "" ? tag : `${tag} (${details})`
}
