/**
 * What the journal's state machine begins in: an execution of which only its start is known, and a step likewise.
 *
 * @since 0.1.0
 */
import type { EntryOf, JournalState, StepState } from "../Journal.ts"
import { ref_ } from "./ref.ts"

/**
 * The state that a journal begins in.
 *
 * @category state
 * @since 0.1.0
 */
export const initial = (entry: EntryOf<"SagaStarted" | "ContinuedAsNew">): JournalState => ({
  startedAt: entry.at,
  version: entry.version ?? 1,
  generation: entry._tag === "SagaStarted" ? 0 : entry.generation,
  payload: entry._tag === "SagaStarted" ? undefined : entry.payload,
  deadline: entry.deadline,
  at: entry.at,
  phase: "running",
  suspended: undefined,
  claims: 0,
  claimants: [],
  received: 0,
  parks: entry._tag === "SagaStarted" ? 0 : entry.parks ?? 0,
  touched: true,
  pivotPassed: false,
  requested: undefined,
  parking: undefined,
  rollback: undefined,
  undoing: new Set(),
  undoingSteps: new Map(),
  steps: new Map(),
  held: [],
  published: new Map(),
  versions: new Map(),
  awaiting: new Map(),
  signals: [],
  resolutions: [],
  end: undefined
})

/**
 * The state that a step begins in, or a child.
 *
 * @category state
 * @since 0.1.0
 */
export const newStep = (entry: EntryOf<"StepStarted" | "ChildStarted">): StepState => ({
  ref: ref_(entry.name, entry.path ?? "", entry.occurrence ?? 0),
  kind: entry._tag === "ChildStarted" ? "child" : entry.kind,
  scope: entry.scope ?? "",
  startedAt: entry.at,
  endedAt: undefined,
  status: "started",
  attempts: [],
  attempted: 0,
  refusals: 0,
  heartbeat: undefined,
  value: undefined,
  error: undefined,
  resolvedBy: undefined,
  child: entry._tag === "StepStarted"
    ? undefined
    : { execution: entry.child, undo: entry.undo === true, cancelled: false, parked: undefined, end: undefined },
  compensation: {
    status: "none",
    startedAt: undefined,
    endedAt: undefined,
    attempts: [],
    attempted: 0,
    heartbeat: undefined,
    error: undefined,
    defect: undefined,
    timers: new Map(),
    signals: new Map(),
    resolvedBy: undefined
  }
})
