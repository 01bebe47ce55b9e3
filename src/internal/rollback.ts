/**
 * Undoing what is held: compensations as finalizers of a real scope, closed in reverse order of completion or together.
 *
 * One roll-back is one run of `run`, beside the driving fiber: it records through the core and never touches the body.
 * It relies on the order in which what it gets was recorded; what one compensation does is `compensate`'s.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Journal from "../Journal.ts"
import * as Compensate from "./compensate.ts"
import type { Held } from "./compensate.ts"
import type * as Core from "./core.ts"

/**
 * Runs what is held, the last recorded first, or all at once. Ends when each has succeeded or failed for good.
 *
 * **Details**
 *
 * After one that failed and says `halt`, none begins that had not begun.
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(
  function*(core: Core.Core, held: ReadonlyArray<Held>, cause: Cause.Cause<unknown>) {
    const scope = Scope.makeUnsafe(core.handler.definition.compensation)
    const undoing: Undoing = { core, cause, halted: held.some((one) => halts(core, one)) }
    for (const one of held) {
      if (!isSettled(one)) yield* Scope.addFinalizerExit(scope, () => finalizer(undoing, one))
    }
    yield* Scope.close(scope, Exit.failCause(cause))
  }
)

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
  readonly cause: Cause.Cause<unknown>
  halted: boolean
}

const finalizer = (undoing: Undoing, one: Held): Effect.Effect<void> => {
  const { cause, core, halted } = undoing
  if (one.status !== "running" && (halted || one.status !== "held")) return Effect.void
  return Effect.callback((resume) =>
    Compensate.start(core, one, cause, () => {
      if (halts(core, one)) undoing.halted = true
      resume(Effect.void)
    })
  )
}

const halts = (core: Core.Core, one: Held): boolean => one.status === "failed" && Compensate.halts(core, one)
