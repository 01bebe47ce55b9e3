/**
 * Taking up an execution that another process, or an earlier life of this one, left behind.
 *
 * Reads the journal once, runs the body again against it, answer by answer, and stops at the first contradiction:
 * nothing acts before the whole journal was matched. Afterwards the execution is live, or it has an ending.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Journal from "../Journal.ts"
import type { ParkReason } from "../SagaError.ts"
import * as Attempt from "./attempt.ts"
import * as Body from "./body.ts"
import * as Core from "./core.ts"
import * as Forward from "./forward.ts"
import * as Intake from "./intake.ts"
import * as Mail from "./mail.ts"
import * as Replay from "./replay.ts"
import * as Run from "./run.ts"
import * as Undoing from "./undoing.ts"

/**
 * Brings an execution that was claimed at `claimed` to where its journal ends.
 *
 * **Details**
 *
 * Answers the payload's text once it is read, for those who start the execution again.
 *
 * @category running
 * @since 0.1.0
 */
export const recover = Effect.fnUntraced(function*(run: Run.Run, claimed: number, onPayload: (text: string) => void) {
  const { core, store } = run
  core.epoch = claimed
  const row = yield* store.encoded.read(core.id)
  if (row === null) {
    run.ending = { _tag: "Left" }
    return
  }
  onPayload(row.payload)
  run.received = row.received
  const journal = yield* Effect.result(store.journal(core.id))
  if (Result.isFailure(journal)) {
    if (journal.failure._tag === "StoreError") return yield* journal.failure
    core.at = core.clock.currentTimeMillisUnsafe()
    return Run.finishPark(run, { _tag: "Undecodable", what: "an append", message: journal.failure.issue })
  }
  const entries = journal.success.appends.flatMap((_) => _.entries)
  core.at = entries.reduce((at, entry) => Math.max(at, entry.at), 0)
  yield* Mail.read(run)
  yield* takeUp(run, entries, row.payload)
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Decides from the fold what there is to do. */
const takeUp = Effect.fnUntraced(function*(run: Run.Run, entries: ReadonlyArray<Journal.Entry>, payloadText: string) {
  const { core } = run
  const all = [...entries, ...core.pending]
  const folded = Journal.fold(all)
  if (Result.isFailure(folded)) {
    const message = `${folded.failure.entry} cannot follow ${folded.failure.state}`
    return Run.finishPark(run, { _tag: "Undecodable", what: "an entry", message })
  }
  const state = folded.success
  core.pivotPassed = state.pivotPassed
  run.rollback = state.rollback
  Run.setStatus(run, state.rollback !== undefined ? "compensating" : state.pivotPassed ? "settling" : "running")
  if (state.end !== undefined) return leaveAsItIs(run, state.end)
  if (state.claims > core.limits.maxClaims) {
    return Run.finishPark(run, { _tag: "RecoveryExhausted", claims: state.claims }, Journal.unresolved(state))
  }
  if (state.parking !== undefined) return Run.finishPark(run, state.parking, Journal.unresolved(state))
  const payload = yield* Run.decodePayload(run, payloadText)
  if (typeof payload === "string") {
    return Run.finishPark(
      run,
      { _tag: "Undecodable", what: "the payload", message: payload },
      Journal.unresolved(state)
    )
  }
  yield* replay(run, state, payload.value, Replay.plan(all))
})

/** It was claimed for a message that changes nothing: it stays as it is. */
const leaveAsItIs = (run: Run.Run, entry: Journal.End): void => {
  const status = entry._tag === "SagaParked" ? "parked" : entry._tag === "SagaCompleted" ? "completed" : "rolledback"
  Run.finish(run, { ...entry, at: Core.now(run.core) }, status)
}

const replay = Effect.fnUntraced(function*(
  run: Run.Run,
  state: Journal.JournalState,
  payload: unknown,
  plan: ReadonlyArray<Replay.Instruction>
) {
  const { body, core } = run
  core.pivotPassed = false
  run.intents = new Set(plan.flatMap((_) => _._tag === "Intent" ? [_.key] : []))
  body.setTime(state.startedAt)
  Run.start(run, payload)
  yield* Intake.quiesce(run)
  for (const instruction of plan) {
    const problem = core.seal?._tag === "Park" ? core.seal.reason : yield* follow(run, state, instruction)
    if (problem !== undefined) return Run.finishPark(run, problem, Journal.unresolved(state))
    yield* Intake.quiesce(run)
  }
  run.mode = "live"
  yield* goOn(run, state)
})

/** Does what one instruction says; what contradicts it, or undefined. */
const follow = Effect.fnUntraced(function*(run: Run.Run, state: Journal.JournalState, instruction: Replay.Instruction) {
  const mismatch = (): ParkReason => ({
    _tag: "Nondeterminism",
    journal: Replay.describe(instruction),
    body: bodyAsks(run)
  })
  if (instruction._tag === "Pivot") return pivot(run, instruction.entry.at) ? undefined : mismatch()
  if (instruction._tag === "Intent") return intend(run, state, instruction) ? undefined : mismatch()
  const task = run.tasks.get(instruction.key)
  return task === undefined ? mismatch() : yield* outcome(run, state, task, instruction)
})

const pivot = (run: Run.Run, at: number): boolean => {
  const asked = run.open.get(Replay.keys.pivot)
  const exit = run.body.exit()
  const byCommit = run.commits.length > 0 && exit !== undefined && Exit.isSuccess(exit)
  if (asked === undefined && !byCommit) return false
  run.open.delete(Replay.keys.pivot)
  run.core.pivotPassed = true
  if (asked !== undefined) Run.answer(run, asked, Exit.void, at)
  return true
}

/** The body must have asked for what the journal says that it asked. */
const intend = (
  run: Run.Run,
  state: Journal.JournalState,
  { entry, key }: Extract<Replay.Instruction, { _tag: "Intent" }>
): boolean => {
  const asked = run.open.get(key)
  if (asked === undefined) return false
  const { request } = asked
  if (entry._tag === "StepStarted" && request._tag === "Step" && request.kind === entry.kind) {
    run.tasks.set(key, Forward.stepTask(key, asked, request, state.steps.get(Journal.refKey(entry))))
  } else if (entry._tag === "TimerSet" && request._tag === "Timer") {
    run.tasks.set(key, Intake.timerTask(key, asked, entry.wakeAt))
  } else if (entry._tag === "RollbackStarted" && request._tag === "RollbackScope") {
    const { cause, scope } = request
    run.tasks.set(key, { _tag: "Scope", key, asked, scope, cause, phase: "ready" })
  } else {
    return false
  }
  run.open.delete(key)
  return true
}

/** A recorded outcome: what it holds is held again, and the body gets it unless the seam was closed then. */
const outcome = Effect.fnUntraced(function*(
  run: Run.Run,
  state: Journal.JournalState,
  task: Run.Task,
  { _tag, entry }: Extract<Replay.Instruction, { _tag: "Answer" | "Keep" }>
) {
  const exit = yield* recorded(run, task, entry)
  if (typeof exit === "string") {
    const what = `the outcome of ${Body.requestName(task.asked.request)}`
    return { _tag: "Undecodable", what, message: exit } satisfies ParkReason
  }
  if (task._tag === "Scope") {
    Undoing.scopeDone(run, task)
  } else {
    Run.hold(run, task, exit)
    restoreHeld(run, state, task.key)
  }
  task.phase = "done"
  if (_tag === "Answer") Run.answer(run, task.asked, exit, entry.at)
  return undefined
})

const recorded = Effect.fnUntraced(function*(
  run: Run.Run,
  task: Run.Task,
  entry: Extract<Replay.Instruction, { _tag: "Answer" | "Keep" }>["entry"]
) {
  if (entry._tag === "StepWithdrawn" || entry._tag === "TimerWithdrawn") return Forward.withdrawn
  if (task._tag !== "Step" || (entry._tag !== "StepSucceeded" && entry._tag !== "StepFailed")) return Exit.void
  const decode = entry._tag === "StepSucceeded"
    ? task.request.success.decode(entry.value)
    : task.request.error.decode(entry.error)
  const exit = yield* Core.provide(Effect.exit(decode), run.core.context)
  if (Exit.isFailure(exit)) return Attempt.defectMessage(exit.cause)
  return entry._tag === "StepSucceeded" ? exit : Exit.fail(exit.value)
})

/** How far the journal says that a held compensation got. */
const restoreHeld = (run: Run.Run, state: Journal.JournalState, key: string): void => {
  const one = run.held.get(key)
  const known = state.steps.get(key.slice(1))?.compensation
  if (one === undefined || known === undefined || known.status === "none") return
  one.status = known.status
  one.history.push(...known.attempts)
  if (known.status === "failed") one.failure = { error: known.error, defect: known.defect }
}

/** After the last recorded entry: what was in flight is taken up, what was asked since is new. */
const goOn = Effect.fnUntraced(function*(run: Run.Run, state: Journal.JournalState) {
  const { core } = run
  if (state.rollback !== undefined) return yield* goOnUndoing(run, state, state.rollback)
  if (state.cancel !== undefined && !core.pivotPassed) Run.cancel(run, state.cancel.reason)
  for (const task of run.tasks.values()) {
    if (task.phase !== "ready") continue
    // Its asker was interrupted when this process's predecessor still lived: nothing new is tried.
    const settling = task._tag !== "Scope" && task.asked.withdrawn && core.seal === undefined
    if (settling) yield* Forward.withdraw(run.settler, task) ?? Effect.void
    else run.startNow.push(task)
  }
  if (core.seal === undefined) {
    for (const asked of run.open.values()) Intake.accept(run, asked)
    yield* Intake.quiesce(run)
  }
  run.open.clear()
})

/** A roll-back goes on only when everything that it must undo is known again. */
const goOnUndoing = Effect.fnUntraced(function*(
  run: Run.Run,
  state: Journal.JournalState,
  why: Journal.RollbackCause
) {
  const missing = state.held.filter((key) => {
    const { compensation, scope } = state.steps.get(key)!
    return compensation.status !== "succeeded" && !run.held.has(`s${key}`) && scope !== undefined
  })
  if (missing.length > 0) {
    const names = missing.map((key) => Journal.refName(state.steps.get(key)!.ref)).join(", ")
    const reason = { _tag: "Nondeterminism", journal: `compensations of ${names}`, body: bodyAsks(run) } as const
    return Run.finishPark(run, reason, Journal.unresolved(state))
  }
  if (why._tag === "Cancelled") return Undoing.goOn(run, why, Undoing.cancelled(run, why.reason))
  const { definition } = run.handler
  const error = yield* Core.provide(Effect.exit(definition.error.decode(why.error)), run.core.context)
  if (Exit.isFailure(error)) {
    const message = Attempt.defectMessage(error.cause)
    return Run.finishPark(run, { _tag: "Undecodable", what: "the error that began the roll-back", message })
  }
  Undoing.goOn(run, why, Cause.fail(error.value))
})

const bodyAsks = (run: Run.Run): string => {
  const exit = run.body.exit()
  if (run.open.size > 0) {
    return [...run.open.values()].map(describe).join(", ")
  }
  return exit === undefined ? "nothing" : Exit.isSuccess(exit) ? "nothing, it completed" : "nothing, it failed"
}

const describe = (asked: Body.Asked): string => {
  switch (asked.request._tag) {
    case "Step":
      return `step ${Journal.refName(Core.refOf(asked))} (${asked.request.kind})`
    case "Timer":
      return `timer ${Journal.refName(Core.refOf(asked))}`
    case "RollbackScope":
      return `the roll-back of scope ${asked.request.scope}`
    case "PointOfNoReturn":
      return asked.name
  }
}
