/**
 * Undoing what is held, as a scope closes its finalizers: in reverse order of completion, or together.
 *
 * One roll-back is one run of `run`, a chain of calls in the driving fiber: a real scope would be a fiber of its own
 * that waits for each compensation. It never touches the body, and relies on the order in which what it gets was
 * recorded; what one compensation does is `compensate`'s.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Journal from "../Journal.ts"
import * as Compensate from "./compensate.ts"
import type { Held } from "./compensate.ts"
import * as Core from "./core.ts"

/**
 * Undoes what is held, the last recorded first, or all at once. Calls back when each has succeeded or failed for good.
 *
 * **Details**
 *
 * After one that failed and says `halt`, none begins that had not begun. What follows is an event of its own, even
 * where there is nothing to undo: the body runs after it.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (
  core: Core.Core,
  held: ReadonlyArray<Held>,
  cause: Cause.Cause<unknown>,
  then: () => void
): void => {
  const halted = held.some((one) => halts(core, one))
  goOn({ core, held, cause, then, halted, left: held.length, running: 0 })
}

/**
 * Whether nothing is left to do for it.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSettled = (held: Held): boolean => held.status === "succeeded" || held.status === "skipped"

/**
 * What of this stays undone, for the journal.
 *
 * @category destructors
 * @since 0.1.0
 */
export const unresolved = (held: Iterable<Held>): Array<Journal.Unresolved> => {
  const left: Array<Journal.Unresolved> = []
  for (const one of held) {
    if (isSettled(one)) continue
    left.push({
      ...one.ref,
      attempts: one.attempted,
      ...(one.failure?.error === undefined ? undefined : { error: one.failure.error }),
      ...(one.failure?.defect === undefined ? undefined : { defect: one.failure.defect })
    })
  }
  return left
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Undoing {
  readonly core: Core.Core
  readonly held: ReadonlyArray<Held>
  readonly cause: Cause.Cause<unknown>
  readonly then: () => void
  halted: boolean
  /** How many it has not come to: those that were recorded first. */
  left: number
  running: number
}

const goOn = (undoing: Undoing): void => {
  const { cause, core, held } = undoing
  const parallel = core.handler.definition.compensation === "parallel"
  while (undoing.left > 0 && (parallel || undoing.running === 0)) {
    const one = held[--undoing.left]!
    if (one.status !== "running" && (undoing.halted || one.status !== "held")) continue
    undoing.running++
    Compensate.start(core, one, cause, () => {
      undoing.running--
      if (halts(core, one)) undoing.halted = true
      goOn(undoing)
    })
  }
  if (undoing.running === 0) Core.emit(core, undoing.then)
}

const halts = (core: Core.Core, one: Held): boolean => one.status === "failed" && Compensate.halts(core, one)
