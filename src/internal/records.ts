/**
 * Steps and compensations as people read them: derived from the state, never stored. Pure.
 *
 * @since 0.1.0
 */
import type { CompensationRecord, CompensationState, JournalState, StepRecord, StepState } from "../Journal.ts"
import { refName } from "./ref.ts"

/**
 * The steps, in the order in which they began.
 *
 * @category records
 * @since 0.1.0
 */
export const stepRecords = (state: JournalState): ReadonlyArray<StepRecord> =>
  Array.from(
    state.steps.values(),
    ({ attempts, endedAt, error, heartbeat, kind, ref, scope, startedAt, value, ...known }) => ({
      step: refName(ref),
      ref,
      kind,
      scope,
      status: known.status === "started" && isClosed(state) ? "unknown" : stepStatus[known.status],
      attempts: known.attempted,
      startedAt,
      endedAt,
      duration: duration(startedAt, endedAt),
      heartbeat,
      value,
      error,
      message: attempts.at(-1)?.message,
      resolvedBy: known.resolvedBy,
      child: known.child === undefined ? undefined : { execution: known.child.execution, parked: known.child.parked }
    })
  )

/**
 * The compensations of the steps that happened, in the order in which they happened.
 *
 * @category records
 * @since 0.1.0
 */
export const compensationRecords = (state: JournalState): ReadonlyArray<CompensationRecord> =>
  state.held.map((key) => {
    const { compensation, ref, scope } = state.steps.get(key)!
    const { attempted, attempts, defect, endedAt, heartbeat, resolvedBy, startedAt, status } = compensation
    return {
      step: refName(ref),
      ref,
      scope,
      status: compensationStatus[status],
      attempts: attempted,
      startedAt,
      endedAt,
      duration: duration(startedAt, endedAt),
      heartbeat,
      error: compensation.error ?? (status === "succeeded" ? undefined : attempts.at(-1)?.error),
      defect,
      resolvedBy
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const isClosed = ({ phase }: JournalState): boolean => phase === "parked" || phase === "abandoned"

const stepStatus: Readonly<Record<StepState["status"], StepRecord["status"]>> = {
  started: "running",
  succeeded: "completed",
  failed: "failed",
  withdrawn: "withdrawn"
}

const compensationStatus: Readonly<Record<CompensationState["status"], CompensationRecord["status"]>> = {
  none: "pending",
  held: "pending",
  running: "running",
  succeeded: "completed",
  failed: "failed",
  skipped: "skipped"
}

const duration = (startedAt: number | undefined, endedAt: number | undefined): number | undefined =>
  startedAt === undefined || endedAt === undefined ? undefined : Math.max(0, endedAt - startedAt)
