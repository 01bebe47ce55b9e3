/**
 * Taking up an execution that another process, or an earlier life of this one, left behind.
 *
 * Reads the journal once, unless it came with the claim, and runs the body again against it, answer by answer. It
 * stops at the first contradiction: nothing acts before the whole journal was matched. Afterwards the execution is
 * live, or it has an ending.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Journal from "../Journal.ts"
import { describe, type ParkReason } from "../SagaError.ts"
import { type Claimed, decode, type SagaStore, type Status } from "../SagaStore.ts"
import * as Attempt from "./attempt.ts"
import * as Body from "./body.ts"
import * as Children from "./children.ts"
import * as Core from "./core.ts"
import type { Recorded, Replayed } from "./engine.ts"
import { isSettled } from "./fold.ts"
import * as Forward from "./forward.ts"
import { runs } from "./handlers.ts"
import * as Intake from "./intake.ts"
import * as Mail from "./mail.ts"
import * as Notes from "./notes.ts"
import * as Receiving from "./receiving.ts"
import * as Replay from "./replay.ts"
import * as Run from "./run.ts"
import * as Starting from "./starting.ts"
import * as Undoing from "./undoing.ts"

/**
 * Brings an execution that was claimed at this place to where its journal ends.
 *
 * **Details**
 *
 * Answers the payload's text once it is read, for those who start the execution again.
 *
 * @category running
 * @since 0.1.0
 */
export const recover = Effect.fnUntraced(function*(
  run: Run.Run,
  { seq, stored, worker }: Pick<Claimed, "seq" | "stored"> & { readonly worker: string },
  onPayload: (text: string) => void
) {
  const { core, store } = run
  core.epoch = seq
  const row = stored === undefined ? yield* store.encoded.read(core.id) : stored.row
  // Another version's: it was claimed while this handler was the only one here. Or somebody else's, by now.
  if (row === null || row.worker !== worker || !runs(run.handler, row.version)) {
    run.ending = { _tag: "Left" }
    return
  }
  onPayload(row.payload)
  run.received = row.received
  if (isEnd(row.status)) return yield* Mail.returnToSender(run, row)
  const journal = stored === undefined
    ? yield* Effect.result(store.journal(core.id, row.base - 1))
    : decode(core.id, stored.journal, row.base)
  if (Result.isFailure(journal)) {
    if (journal.failure._tag === "StoreError") return yield* journal.failure
    core.at = core.clock.currentTimeMillisUnsafe()
    run.parent = yield* Starting.parentOf(store, core.id)
    return yield* unreadable(run, "an append", journal.failure.issue)
  }
  const entries = Journal.current(journal.success.appends.flatMap((_) => _.entries))
  const [started] = entries
  if (started?._tag === "SagaStarted" || started?._tag === "ContinuedAsNew") run.parent = started.parent
  core.at = entries.reduce((at, entry) => Math.max(at, entry.at), 0)
  // What is sent from now on comes with a notice, as to every execution that runs; what was seen before and nobody has
  // received lies there still.
  yield* takeUp(run, entries, row.payload, row.mail > 0)
})

/**
 * Why a value in its stored form is not a result of a step of this execution; undefined where it is one, and where the
 * body does not come to the step.
 *
 * **Details**
 *
 * Runs the body against the journal and starts nothing: nothing is recorded, nothing acts.
 *
 * @category running
 * @since 0.1.0
 */
export const resultIssue = Effect.fnUntraced(function*(
  options: Pick<Core.Core, "id" | "handler" | "context" | "limits"> & { readonly store: SagaStore["Service"] },
  step: Journal.Ref,
  value: Schema.Json
) {
  const { handler, id, store } = options
  const row = yield* store.encoded.read(id)
  const journal = yield* store.journal(id)
  const core = Core.make({ ...options, mayAct: () => false, starting: Starting.nothing })
  const run = Run.make({ core, handler, store, mode: "replay", seq: journal.next })
  const entries = Journal.current(journal.appends.flatMap((_) => _.entries))
  const state = Journal.fold(entries)
  if (row === null || Result.isFailure(state)) return undefined
  const payload = yield* Run.decodePayload(run, payloadOf(state.success, row.payload))
  if (typeof payload === "string") return undefined
  yield* replay({ run, state: state.success, quiet: true, plan: Replay.plan(entries) }, entries, payload.value)
  const task = run.tasks.get(Replay.keys.step(step))
  run.body.close()
  if (task?._tag === "Child") {
    const exit = yield* Children.issueOf(core, task, value)
    return typeof exit === "string" ? exit : undefined
  }
  if (task?._tag !== "Step") return undefined
  return yield* Forward.issueOf(run.settler, task, value)
}, Effect.catch(() => Effect.succeed(undefined)))

/**
 * Runs a body against a journal, also one that has ended: whether it would be taken up, and where the two part.
 *
 * **Details**
 *
 * Nothing is recorded, and nothing acts. Stricter than a recovery: one that rolls back must ask for what it asked too,
 * and one that has ended must end as it did.
 *
 * @category running
 * @since 0.1.0
 */
export const rehearse = Effect.fnUntraced(function*(
  options: Pick<Core.Core, "id" | "handler" | "context" | "limits"> & { readonly store: SagaStore["Service"] },
  { entries: all, payload: payloadText }: Recorded
): Effect.fn.Return<Replayed, never, unknown> {
  const entries = Journal.current(all)
  const diverges = (reason: ParkReason, entry?: Journal.Entry): Replayed => ({ _tag: "Diverges", reason, entry })
  const { handler, store } = options
  const core = Core.make({ ...options, mayAct: () => false, starting: Starting.nothing })
  const run = Run.make({ core, handler, store, mode: "replay", seq: entries.length })
  const folded = Journal.fold(entries)
  if (Result.isFailure(folded)) {
    const message = `${folded.failure.entry} cannot follow ${folded.failure.state}`
    return diverges({ _tag: "Undecodable", what: "an entry", message })
  }
  const state = folded.success
  const payload = yield* Run.decodePayload(run, payloadOf(state, payloadText))
  if (typeof payload === "string") return diverges({ _tag: "Undecodable", what: "the payload", message: payload })
  const past: Past = { run, state, quiet: true, plan: Replay.plan(entries) }
  yield* begin(past, entries, payload.value)
  for (const instruction of past.plan) {
    const found = yield* followOld(past, instruction)
    if (found !== undefined) return yield* Effect.as(closed(run), diverges(found, instruction.entry))
    yield* Intake.quiesce(run) ?? Effect.void
    // A bug that parked it before does so again.
    if (core.seal?._tag === "Park" && state.end?._tag !== "SagaParked") {
      return yield* Effect.as(closed(run), diverges(core.seal.reason, instruction.entry))
    }
  }
  const wrong = yield* endsOtherwise(past)
  const replayed: Replayed = wrong === undefined ? { _tag: "Same" } : diverges(wrong, state.end)
  return yield* Effect.as(closed(run), replayed)
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** A worker that claims something again survived it: it may have lost the store in between. */
const claimsOfAWorker = 10

const closed = (run: Run.Run): Effect.Effect<void> => Effect.sync(() => run.body.close())

/** What the body of an ended execution does instead of ending as the journal says. */
const endsOtherwise = Effect.fnUntraced(function*({ run, state }: Past) {
  const { core } = run
  const failed = state.end?._tag === "SagaRolledBack" && state.end.cause._tag === "Failed"
  if (core.seal !== undefined || (state.end?._tag !== "SagaCompleted" && !failed)) return undefined
  // What was asked for after the last entry, it asked for before it knew that change.
  while (Run.exit(run) === undefined && Notes.presume(run, undefined)) yield* Intake.quiesce(run) ?? Effect.void
  const exit = Run.exit(run)
  const otherwise = (journal: string, body: string): ParkReason => ({ _tag: "Nondeterminism", journal, body })
  if (failed) {
    return exit !== undefined && Exit.isFailure(exit) ? undefined : otherwise("the saga failed", bodyAsks(run))
  }
  if (exit === undefined || Exit.isFailure(exit) || run.continuing !== undefined) {
    return otherwise("the saga completed", bodyAsks(run))
  }
  return undefined
})

/** Parks an execution whose journal says nothing to this version; what was sent to it is kept for one that can read. */
const unreadable = Effect.fnUntraced(function*(run: Run.Run, what: string, message: string) {
  const abandoned = yield* Mail.keep(run)
  const reason = { _tag: "Undecodable", what, message } as const
  if (abandoned === undefined) return Run.finishPark(run, reason)
  Run.finishAbandoned(run, { reason, unresolved: [] }, abandoned)
})

/** Decides from the fold what there is to do. */
const takeUp = Effect.fnUntraced(function*(
  run: Run.Run,
  entries: ReadonlyArray<Journal.Entry>,
  payloadText: string,
  hasMail: boolean
) {
  const { core } = run
  const before = Journal.fold(entries)
  if (Result.isFailure(before)) {
    return yield* unreadable(run, "an entry", `${before.failure.entry} cannot follow ${before.failure.state}`)
  }
  const wasParked = before.success.end
  if (wasParked?._tag === "SagaParked") run.told = JSON.stringify(wasParked.reason)
  const answer = hasMail ? yield* Mail.take(run, entries) : undefined
  const all = [...entries, ...core.pending.map(({ entry }) => entry)]
  const state = Result.getOrThrow(Journal.fold(all))
  core.pivotPassed = state.pivotPassed
  core.generation = state.generation
  run.parks = state.parks
  run.rollback = state.rollback
  run.requested = state.requested
  Run.setStatus(run, state.rollback !== undefined ? "compensating" : state.pivotPassed ? "settling" : "running")
  if (answer?.resolution._tag === "Abandon" && state.end?._tag === "SagaParked") {
    return Run.finishAbandoned(run, state.end, answer)
  }
  if (state.end !== undefined) return leaveAsItIs(run, state.end)
  const { maxClaims } = core.limits
  if (state.claimants.length > maxClaims || state.claims > maxClaims * claimsOfAWorker) {
    return Run.finishPark(run, { _tag: "RecoveryExhausted", claims: state.claims }, Journal.unresolved(state))
  }
  if (state.parking !== undefined) return Run.finishPark(run, state.parking, Journal.unresolved(state))
  const payload = yield* Run.decodePayload(run, payloadOf(state, payloadText))
  if (typeof payload === "string") {
    return Run.finishPark(
      run,
      { _tag: "Undecodable", what: "the payload", message: payload },
      Journal.unresolved(state)
    )
  }
  const quiet = entries.at(-1)?._tag === "Claimed" && entries.at(-2)?._tag === "Suspended"
  const past = { run, state, quiet, plan: Replay.plan(all) }
  const problem = yield* replay(past, all, payload.value)
  if (problem !== undefined) {
    if (answer !== undefined) refuseAnswer(run, answer, `the body does not come to it any more (${describe(problem)})`)
    return Run.finishPark(run, problem, Journal.unresolved(state))
  }
  run.mode = "live"
  const taken = answer === undefined || wasParked === undefined || (yield* settle(run, answer, wasParked))
  if (taken) yield* goOn(past)
})

/** What the body begins with: the text of the row, or what it last continued as new with. */
const payloadOf = ({ payload }: Journal.JournalState, first: string): string =>
  payload === undefined ? first : JSON.stringify(payload)

/** A journal that is taken up: where it stands, and what it says to the body. */
interface Past {
  readonly run: Run.Run
  readonly state: Journal.JournalState
  /** It was suspended, so nothing was in flight. */
  readonly quiet: boolean
  readonly plan: ReadonlyArray<Replay.Instruction>
}

/** What a person said of a step in flight; whether the execution goes on. */
const settle = Effect.fnUntraced(function*(run: Run.Run, answer: Mail.Answer, end: Journal.End) {
  const { resolution } = answer
  if (resolution._tag !== "Resolve" && resolution._tag !== "Skip") return true
  const task = run.tasks.get(Replay.keys.step(resolution.step))
  if ((task?._tag !== "Step" && task?._tag !== "Child") || task.phase === "done") return true
  const commit = task._tag === "Step" && task.request.kind === "retryable"
  if (resolution._tag === "Skip" && !commit) {
    if (task._tag === "Step") Forward.leaveOut(run.settler, task)
    else Children.neverWas(run.settler, task)
    leaveAsItIs(run, end)
    return false
  }
  const value = resolution._tag === "Skip" ? null : resolution.value
  const issue = task._tag === "Step"
    ? yield* Forward.resolve(run.settler, task, value)
    : yield* Children.resolve(run.settler, task, value)
  if (issue === undefined) return true
  refuseAnswer(run, answer, `this is not a result of ${Journal.refName(task.ref)}: ${issue}`)
  leaveAsItIs(run, end)
  return false
})

/** What an answer said of a step cannot be, so in the journal it was not taken. */
const refuseAnswer = ({ core }: Run.Run, answer: Mail.Answer, issue: string): void => {
  if (answer.resolution._tag !== "Resolve" && answer.resolution._tag !== "Skip") return
  Core.replace(
    core,
    (entry) =>
      entry._tag === "Resolved" && entry.mail === answer.mail ? { ...answer, _tag: "ResolutionRefused", issue } : entry
  )
}

/** It was claimed for a message that changes nothing: it stays as it is. */
const leaveAsItIs = (run: Run.Run, entry: Journal.End): void => {
  Run.finish(run, { ...entry, at: Core.now(run.core) }, Run.statusOf(entry))
}

/** Starts the body of a journal, and runs it to its first requests. */
const begin = Effect.fnUntraced(function*(
  { plan, run, state }: Past,
  entries: ReadonlyArray<Journal.Entry>,
  payload: unknown
) {
  run.core.pivotPassed = false
  run.lenient = state.rollback !== undefined || state.requested !== undefined
  run.intents = new Set(plan.flatMap((_) => _._tag === "Intent" ? [_.key] : []))
  Notes.restore(run, entries)
  run.body.setTime(state.startedAt)
  Run.start(run, payload)
  yield* Intake.quiesce(run) ?? Effect.void
})

/**
 * Runs the body against the journal; the first contradiction, if there is one. Where it rolls back anyway, one does not
 * matter as long as everything that must be undone is known again.
 */
const replay = Effect.fnUntraced(function*(past: Past, entries: ReadonlyArray<Journal.Entry>, payload: unknown) {
  const { plan, run } = past
  const { core } = run
  yield* begin(past, entries, payload)
  const undoes = run.lenient
  let problem: ParkReason | undefined
  for (const instruction of plan) {
    if (core.seal?._tag === "Park") return core.seal.reason
    const found = yield* followOld(past, instruction)
    if (found !== undefined && !undoes) return found
    problem ??= found
    yield* Intake.quiesce(run) ?? Effect.void
  }
  if (core.seal?._tag === "Park") return core.seal.reason
  return undoes ? missing(past, problem) : undefined
})

/** What must be undone, or settled before, and the body did not ask for again. */
const missing = ({ run, state }: Past, problem: ParkReason | undefined): ParkReason | undefined => {
  const held = state.held.filter((key) =>
    !isSettled(state.steps.get(key)!.compensation.status) && !run.held.has(`s${key}`)
  )
  const inFlight = [...state.steps].filter(([key, step]) => step.status === "started" && !run.tasks.has(`s${key}`))
  const names = (keys: ReadonlyArray<string>) =>
    keys.map((key) => Journal.refName(state.steps.get(key)!.ref)).join(", ")
  if (held.length > 0) {
    if (problem?._tag === "Undecodable") return problem
    return { _tag: "Nondeterminism", journal: `compensations of ${names(held)}`, body: bodyAsks(run) }
  }
  if (inFlight.length === 0) return undefined
  return problem ??
    { _tag: "Nondeterminism", journal: `steps in flight: ${names(inFlight.map(([key]) => key))}`, body: bodyAsks(run) }
}

/**
 * What one instruction says, to a body that knows changes which the journal does not: where the two part, the journal
 * was written before the change that the body asks for.
 */
const followOld = Effect.fnUntraced(function*(past: Past, instruction: Replay.Instruction) {
  while (true) {
    const found = yield* follow(past, instruction)
    if (found?._tag !== "Nondeterminism" || past.run.core.seal !== undefined) return found
    if (!Notes.presume(past.run, instruction)) return found
    yield* Intake.quiesce(past.run) ?? Effect.void
  }
})

/** Does what one instruction says; what contradicts it, or undefined. */
const follow = Effect.fnUntraced(function*(past: Past, instruction: Replay.Instruction) {
  const { run } = past
  const mismatch = (): ParkReason => ({
    _tag: "Nondeterminism",
    journal: Replay.describe(instruction),
    body: bodyAsks(run)
  })
  if (instruction._tag === "Pivot") return pivot(run, instruction.entry.at) ? undefined : mismatch()
  if (instruction._tag === "Intent") return intend(past, instruction) ? undefined : mismatch()
  const task = run.tasks.get(instruction.key)
  return task === undefined ? mismatch() : yield* outcome(past, task, instruction)
})

const pivot = (run: Run.Run, at: number): boolean => {
  const asked = run.open.get(Replay.keys.pivot)
  const exit = Run.exit(run)
  const byCommit = run.commits.length > 0 && exit !== undefined && Exit.isSuccess(exit)
  if (asked === undefined && !byCommit) return false
  run.open.delete(Replay.keys.pivot)
  run.core.pivotPassed = true
  if (asked !== undefined) Run.answer(run, asked, Exit.void, at)
  return true
}

/** The body must have asked for what the journal says that it asked. */
const intend = (
  { quiet, run, state }: Past,
  { entry, key }: Extract<Replay.Instruction, { _tag: "Intent" }>
): boolean => {
  const asked = run.open.get(key)
  if (asked === undefined) return false
  const { request } = asked
  if (entry._tag === "StepStarted" && request._tag === "Step" && request.kind === entry.kind) {
    run.tasks.set(key, Forward.stepTask(key, asked, request, state.steps.get(Journal.refKey(entry)), quiet))
  } else if (entry._tag === "ChildStarted" && request._tag === "Child") {
    const known = state.steps.get(Journal.refKey(entry))?.child
    const task = Children.task(run.core, key, asked, request, entry.at, known, quiet)
    if (task.id !== entry.child || (request.compensation !== undefined) !== (entry.undo === true)) return false
    run.tasks.set(key, task)
  } else if (entry._tag === "TimerSet" && request._tag === "Timer") {
    run.tasks.set(key, Intake.timerTask(key, asked, entry.wakeAt))
  } else if (entry._tag === "SignalAwaited" && request._tag === "Receive") {
    run.tasks.set(key, Receiving.task(key, asked, request, entry.at))
  } else if (entry._tag === "RaceWon" && request._tag === "Race" && request.winner === entry.winner) {
    Undoing.lose(run, asked, request, entry.losers)
    Run.answer(run, asked, Exit.void, entry.at)
  } else if (entry._tag === "RollbackStarted" && request._tag === "RollbackScope") {
    const { cause, scope } = request
    run.tasks.set(key, { _tag: "Scope", key, asked, scope, cause, phase: "ready" })
  } else if (entry._tag === "StepsRollbackStarted" && request._tag === "RollbackSteps") {
    run.tasks.set(key, Intake.stepsTask(key, asked, entry.steps.map(Replay.keys.step)))
  } else {
    return false
  }
  run.open.delete(key)
  return true
}

/** A recorded outcome: what it holds is held again, and the body gets it unless the seam was closed then. */
const outcome = Effect.fnUntraced(function*(
  past: Past,
  task: Run.Task,
  { _tag, entry }: Extract<Replay.Instruction, { _tag: "Answer" | "Keep" }>
) {
  const { run } = past
  const exit = yield* recorded(run, task, entry)
  if (typeof exit === "string") {
    const what = `the outcome of ${Body.requestName(task.asked.request)}`
    return { _tag: "Undecodable", what, message: exit } satisfies ParkReason
  }
  if (task._tag === "Scope") {
    Undoing.scopeDone(run, task)
  } else if (task._tag === "Steps") {
    Undoing.stepsDone(run, task)
  } else {
    Run.hold(run, task, exit)
    restoreHeld(past, task.key)
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
  if (entry._tag === "StepWithdrawn" || entry._tag === "TimerWithdrawn" || entry._tag === "ReceiveWithdrawn") {
    return Forward.withdrawn
  }
  if (task._tag === "Receive") return yield* receivedAgain(run, task, entry)
  if (task._tag === "Steps") return Undoing.undoneBy(run, task)
  if (task._tag === "Child" && entry._tag === "ChildEnded") return yield* Children.outcome(run.core, task, entry.end)
  if (task._tag === "Child") return yield* decodeOutcome(run, task, entry)
  return task._tag === "Step" ? yield* decodeOutcome(run, task, entry) : Exit.void
})

const decodeOutcome = Effect.fnUntraced(function*(
  run: Run.Run,
  task: Forward.StepTask | Children.ChildTask,
  entry: Extract<Replay.Instruction, { _tag: "Answer" | "Keep" }>["entry"]
) {
  if (entry._tag !== "StepSucceeded" && entry._tag !== "StepFailed") return Exit.void
  const decode = entry._tag === "StepSucceeded"
    ? task.request.success.decode(entry.value)
    : task.request.error.decodeError(entry.error)
  const exit = yield* Core.provide(Effect.exit(decode), run.core.context)
  if (Exit.isFailure(exit)) return Attempt.defectMessage(exit.cause)
  return entry._tag === "StepSucceeded" ? exit : Exit.fail(exit.value)
})

const receivedAgain = Effect.fnUntraced(function*(
  run: Run.Run,
  task: Receiving.ReceiveTask,
  entry: Extract<Replay.Instruction, { _tag: "Answer" | "Keep" }>["entry"]
) {
  if (entry._tag !== "SignalReceived") return Exit.void
  const { signal, value } = entry
  const codec = task.kinds.get(signal)
  if (codec === undefined) return `the body does not wait for ${signal} there any more`
  const exit = yield* Core.provide(Effect.exit(codec.decode(value)), run.core.context)
  return Exit.isFailure(exit) ? Attempt.defectMessage(exit.cause) : Exit.succeed({ signal, payload: exit.value })
})

/** How far the journal says that a held compensation got. */
const restoreHeld = ({ quiet, run, state }: Past, key: string): void => {
  const one = run.held.get(key)
  const known = state.steps.get(key.slice(1))?.compensation
  if (one === undefined || known === undefined || known.status === "none") return
  one.status = known.status
  one.history.push(...known.attempts)
  one.attempted = known.attempted
  one.heartbeat = known.heartbeat
  one.recovered = known.status === "running" && !quiet
  if (known.timers.size > 0) one.timers = new Map(known.timers)
  if (known.signals.size > 0) one.signals = new Map(known.signals)
  if (known.status === "failed") one.failure = { error: known.error, defect: known.defect }
}

/** After the last recorded entry: what was in flight is taken up, what was asked since is new. */
const goOn = Effect.fnUntraced(function*({ run, state }: Past) {
  const { core } = run
  if (state.rollback !== undefined) return yield* goOnUndoing(run, state.rollback)
  if (state.requested !== undefined && !core.pivotPassed) Run.undo(run, state.requested)
  // One that passed while nobody owned the execution comes before anything new.
  if (state.deadline === undefined || state.deadline > core.clock.currentTimeMillisUnsafe()) {
    Run.watchDeadline(run, state.deadline)
  } else {
    Run.passDeadline(run, state.deadline)
  }
  for (const task of run.tasks.values()) {
    if (task.phase !== "ready") continue
    // Its asker was interrupted when this process's predecessor still lived: nothing new is tried.
    const settling = !Run.undoes(task) && task.asked.withdrawn && core.seal === undefined
    if (settling) yield* Forward.withdraw(run.settler, task) ?? Effect.void
    else run.startNow.push(task)
  }
  if (core.seal === undefined) {
    Notes.catchUp(run)
    for (const asked of run.open.values()) Intake.accept(run, asked)
    yield* Intake.quiesce(run) ?? Effect.void
  }
  run.open.clear()
})

const goOnUndoing = Effect.fnUntraced(function*(run: Run.Run, why: Journal.RollbackCause) {
  if (why._tag !== "Failed") return Undoing.goOn(run, why, Undoing.causeOf(run, why))
  const { definition } = run.handler
  const error = yield* Core.provide(Effect.exit(definition.error.decodeError(why.error)), run.core.context)
  if (Exit.isFailure(error)) {
    const message = Attempt.defectMessage(error.cause)
    return Run.finishPark(run, { _tag: "Undecodable", what: "the error that began the roll-back", message })
  }
  Undoing.goOn(run, why, Cause.fail(error.value))
})

const isEnd = (status: Status): boolean => status === "completed" || status === "rolledback" || status === "abandoned"

const bodyAsks = (run: Run.Run): string => {
  const exit = Run.exit(run)
  if (run.open.size > 0) {
    return [...run.open.values()].map(describeAsked).join(", ")
  }
  if (run.continuing !== undefined) return describeAsked(run.continuing)
  return exit === undefined ? "nothing" : Exit.isSuccess(exit) ? "nothing, it completed" : "nothing, it failed"
}

const describeAsked = (asked: Body.Asked): string => {
  switch (asked.request._tag) {
    case "Step":
      return `step ${Journal.refName(Core.refOf(asked))} (${asked.request.kind})`
    case "Child":
      return `child ${Journal.refName(Core.refOf(asked))} of ${asked.request.saga.tag}`
    case "Timer":
      return `timer ${Journal.refName(Core.refOf(asked))}`
    case "Receive":
      return `the wait for ${Journal.refName(Core.refOf(asked))}`
    case "Race":
      return `${Journal.refName(Core.refOf(asked))} won by number ${asked.request.winner + 1}`
    case "RollbackScope":
      return `the roll-back of scope ${asked.request.scope}`
    case "RollbackSteps":
      return `the roll-back of ${asked.request.names.join(", ")}`
    case "PointOfNoReturn":
      return asked.name
    case "Publish":
      return `to publish ${asked.name}`
    case "Version":
      return `the version of ${asked.name}`
    case "Continue":
      return "to continue as new"
  }
}
