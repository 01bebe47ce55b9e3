/**
 * Steps and compensations as people read them: derived from the state, never stored. Pure.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import type { CompensationState, HeartbeatState, JournalState, Kind, Ref, ResolvedBy, StepState } from "../Journal.ts"
import type { ParkReason } from "../SagaError.ts"
import { refName } from "./ref.ts"

/**
 * One step as people read it.
 *
 * **Details**
 *
 * `unknown`: it was in flight when the execution parked, so a person may have to say how it ended. `withdrawn`: it did
 * not happen, and nobody asks for it any more.
 *
 * Times and `duration` are in milliseconds; `endedAt` and `duration` are undefined while it runs. `attempts` counts
 * those that have ended. `child` is set where it is an execution of its own. `value` and `error` are in their stored
 * form. `heartbeat` is the last one that is durable.
 *
 * @category records
 * @since 0.1.0
 */
export interface StepRecord {
  readonly step: string
  readonly ref: Ref
  readonly kind: Kind
  readonly scope: string
  readonly status: "running" | "unknown" | "completed" | "failed" | "withdrawn"
  readonly attempts: number
  readonly startedAt: number
  readonly endedAt: number | undefined
  readonly duration: number | undefined
  readonly heartbeat: HeartbeatState | undefined
  readonly value: Schema.Json | undefined
  readonly error: Schema.Json | undefined
  /** What the last attempt that did not succeed said. */
  readonly message: string | undefined
  readonly resolvedBy: ResolvedBy | undefined
  readonly child: ChildRecord | undefined
}

/**
 * A child as people read it: which execution it is, and why it is parked, if it has said so.
 *
 * @category records
 * @since 0.1.0
 */
export interface ChildRecord {
  readonly execution: string
  readonly parked: ParkReason | undefined
}

/**
 * One compensation as people read it.
 *
 * **Details**
 *
 * `pending`: its step happened, and it would run if the saga rolled back. `skipped`: a person took care of it. `error`
 * is what it failed with last, in its stored form; `defect` describes a bug.
 *
 * @category records
 * @since 0.1.0
 */
export interface CompensationRecord {
  readonly step: string
  readonly ref: Ref
  readonly scope: string
  readonly status: "pending" | "running" | "completed" | "failed" | "skipped"
  readonly attempts: number
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  readonly duration: number | undefined
  readonly heartbeat: HeartbeatState | undefined
  readonly error: Schema.Json | undefined
  readonly defect: string | undefined
  readonly resolvedBy: ResolvedBy | undefined
}

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
