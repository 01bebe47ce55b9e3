/**
 * Which answers of a person apply to an execution, as its journal says. Pure.
 *
 * The inspector asks before it sends one, and the owner before it takes one: what happened between the two decides.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import type { JournalState, Ref, Resolution, StepState } from "../Journal.ts"
import { isSettled, unresolved } from "./fold.ts"
import { parseRef, refKey, refName } from "./ref.ts"

/**
 * What is to be said of an answer.
 *
 * **Details**
 *
 * `Done`: it was taken before, so there is nothing to do. `NotParked`: nobody asked. `TooLate`: nothing can be undone
 * any more. `Refused`: it does not apply, with why and what does.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict =
  | { readonly _tag: "Applies" }
  | { readonly _tag: "Done" }
  | { readonly _tag: "NotParked" }
  | { readonly _tag: "TooLate" }
  | { readonly _tag: "Refused"; readonly issue: string }

/**
 * Judges an answer to the park with this number; to the present one where it is not given.
 *
 * @category destructors
 * @since 0.1.0
 */
export const judge = (state: JournalState, resolution: Resolution, park: number | undefined): Verdict => {
  if (state.phase === "abandoned" && resolution._tag === "Abandon") return done
  if (state.phase !== "parked") {
    if (wasTaken(state, resolution, park)) return done
    // Another one that was left out lets the roll-back go on: this one may be left out all the same.
    const due = resolution._tag === "Skip" && (park === undefined || park === state.parks)
    return due && mayLeaveOut(state, resolution.step) ? applies : notParked
  }
  if (park !== undefined && park !== state.parks) return notParked
  switch (resolution._tag) {
    case "Abandon":
      return applies
    case "Retry":
      return retry(state)
    case "Rollback":
      if (state.pivotPassed) return { _tag: "TooLate" }
      return state.rollback === undefined ? applies : refused(
        `it rolls back already, and waits for ${names(unresolved(state).map(refName))}: ` +
          "mend their cause and retry, or skip them"
      )
    case "Resolve":
      return resolve(state, resolution.step)
    case "Skip":
      return skip(state, resolution.step)
  }
}

/**
 * The step that a person means by `Ship` or `Ship#2`, also where a fork of the body asked for it; or why it is not
 * clear.
 *
 * @category destructors
 * @since 0.1.0
 */
export const find = (state: JournalState, step: string): Ref | string => {
  const ref = parseRef(step)
  if (state.steps.has(refKey(ref))) return ref
  const named = [...state.steps.values()].filter((known) => refName(known.ref) === refName(ref))
  if (named.length === 1) return named[0]!.ref
  const known = [...new Set(Array.from(state.steps.values(), (_) => refName(_.ref)))]
  return named.length > 1
    ? `${step} is the name of ${named.length} steps in forks of the body: give the path too`
    : `there is no step ${step} in its journal, only ${names(known)}`
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const applies: Verdict = { _tag: "Applies" }
const done: Verdict = { _tag: "Done" }
const notParked: Verdict = { _tag: "NotParked" }
const refused = (issue: string): Verdict => ({ _tag: "Refused", issue })

const names = (list: ReadonlyArray<string>): string => list.length === 0 ? "nothing" : list.join(", ")

const wasTaken = (state: JournalState, resolution: Resolution, park: number | undefined): boolean =>
  state.resolutions.some((taken) =>
    taken.park === (park ?? state.parks) && taken.park === state.parks && Equal.equals(taken.resolution, resolution)
  )

/** A step that a person left out has no answer for the body, so there is no way but back. */
const retry = (state: JournalState): Verdict => {
  const skipped = [...state.steps.values()].filter(isSkipped)
  return skipped.length === 0 || state.rollback !== undefined || state.requested !== undefined ? applies : refused(
    `${names(skipped.map((_) => refName(_.ref)))} was skipped, so the body cannot go on: roll it back, or abandon it`
  )
}

const statusOf = (step: StepState): string =>
  step.status === "withdrawn"
    ? `${refName(step.ref)} was ${isSkipped(step) ? "skipped" : "withdrawn"}`
    : `${refName(step.ref)} has ${step.status}`

const isSkipped = (step: StepState): boolean => step.status === "withdrawn" && step.resolvedBy?.resolution === "Skip"

const resolve = (state: JournalState, ref: Ref): Verdict => {
  const step = state.steps.get(refKey(ref))
  if (step === undefined) return missing(state, ref)
  if (step.status === "started") return applies
  return refused(
    state.held.includes(refKey(ref)) && !isSettled(step.compensation.status) && unresolved(state).length > 0
      ? `${refName(ref)} itself has succeeded; if it is about its compensation, retry or skip that`
      : `${statusOf(step)}; only a step in doubt takes a value`
  )
}

const skip = (state: JournalState, ref: Ref): Verdict => {
  const step = state.steps.get(refKey(ref))
  if (step === undefined) return missing(state, ref)
  if (step.status === "started") {
    return !state.pivotPassed || isCommit(ref) ? applies : refused(
      `past the point of no return ${refName(ref)} cannot be left out: retry, or resolve it with its value`
    )
  }
  if (isSkipped(step) || step.compensation.status === "skipped") return done
  const due = state.requested !== undefined || unresolved(state).some((one) => refKey(one) === refKey(ref))
  if (due && state.held.includes(refKey(ref)) && !isSettled(step.compensation.status)) return applies
  return refused(
    step.compensation.status === "succeeded"
      ? `${refName(ref)} is undone already`
      : `${statusOf(step)}, and nothing rolls it back: only a step in doubt, or a compensation that failed, is skipped`
  )
}

/** A compensation that is due, and is not under way. */
const mayLeaveOut = (state: JournalState, ref: Ref): boolean => {
  const status = state.steps.get(refKey(ref))?.compensation.status
  return (status === "failed" || status === "held") && unresolved(state).some((one) => refKey(one) === refKey(ref))
}

/** What `Saga.onCommit` left to be done has no value that anybody waits for. */
const isCommit = (ref: Ref): boolean => ref.path?.startsWith("commit") === true

const missing = (state: JournalState, ref: Ref): Verdict => {
  const found = find(state, refName(ref))
  return refused(typeof found === "string" ? found : `there is no step ${refName(ref)} on this path`)
}
