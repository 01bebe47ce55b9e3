/**
 * Steps and timers of one execution: attempts, retries, doubt, and how each is settled.
 *
 * The table of outcomes is here. A task is what the journal calls a step (or a timer) together with the body's request;
 * this module records what happens to it and says when it is settled. It does not know the body, nor the roll-back.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Check, StepRequest } from "../Execution.ts"
import * as Journal from "../Journal.ts"
import type { ParkReason } from "../SagaError.ts"
import { TimedOut } from "../Step.ts"
import * as Attempt from "./attempt.ts"
import type { Blank } from "./blank.ts"
import type { Asked } from "./body.ts"
import * as Children from "./children.ts"
import * as Core from "./core.ts"
import { after, type Eager, isDone } from "./eager.ts"
import * as Heartbeat from "./heartbeat.ts"
import * as Receiving from "./receiving.ts"
import { isWithdrawal } from "./stepContext.ts"
import * as StepOutcome from "./stepOutcome.ts"
import * as Timing from "./timing.ts"

/**
 * A step in flight, from its intent to its outcome.
 *
 * **Details**
 *
 * `ready`: recorded, not started. `running`: an attempt or a check is in flight. `waiting`: in back-off. `done`:
 * settled.
 *
 * @category models
 * @since 0.1.0
 */
export interface StepTask {
  readonly _tag: "Step"
  readonly key: string
  readonly asked: Asked
  readonly request: StepRequest
  readonly ref: Journal.Ref
  phase: "ready" | "running" | "waiting" | "done"
  /** The attempts that the journal has, the last one included. */
  readonly history: Array<Journal.FailedAttempt>
  refusals: number
  /** The last heartbeat that was recorded. */
  heartbeat: Journal.HeartbeatState | undefined
  /** Its intent is from another process. */
  recovered: boolean
  /** It was suspended, so no attempt was in flight. */
  readonly quiet: boolean
  schedule: Attempt.Step | undefined
  cancelWait: (() => void) | undefined
}

/**
 * What is in flight and undoes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Task = StepTask | Timing.TimerTask | Receiving.ReceiveTask | Children.ChildTask

/**
 * What settles tasks: the executor.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settler {
  readonly core: Core.Core
  /** The outcome is recorded: hold its compensation and answer the body, if it still listens. */
  readonly settled: (task: Task, exit: Exit.Exit<unknown, unknown>) => void
  /** Nothing goes on without a person. */
  readonly park: (reason: ParkReason) => void
  /** A bug; whether the saga rolls back for it instead of parking. */
  readonly died: (step: string, message: string) => boolean
}

/**
 * A step that was asked for and has its intent recorded.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stepTask = (
  key: string,
  asked: Asked,
  request: StepRequest,
  known: Journal.StepState | undefined,
  quiet = false
): StepTask => ({
  ...blank,
  _tag: "Step",
  key,
  asked,
  request,
  ref: Core.refOf(asked),
  phase: "ready",
  history: known === undefined ? [] : [...known.attempts],
  refusals: known?.refusals ?? 0,
  heartbeat: known?.heartbeat,
  recovered: known !== undefined,
  quiet,
  schedule: undefined,
  cancelWait: undefined
})

/**
 * The outcome of what did not happen and is not asked for any more.
 *
 * @category constants
 * @since 0.1.0
 */
export const withdrawn: Exit.Exit<never> = Exit.interrupt()

/**
 * Whether a step's effect must be preceded by a durable intent.
 *
 * @category guards
 * @since 0.1.0
 */
export const acts = (request: StepRequest): boolean =>
  request.kind === "compensable" || request.kind === "retryable" || request.kind === "pivot"

/**
 * Starts a task, or takes it up where another process left it.
 *
 * @category running
 * @since 0.1.0
 */
export const start = (to: Settler, task: Task): void => {
  if (task.phase !== "ready") return
  if (task._tag === "Child") return Core.emit(to.core, () => Children.start(to, task))
  if (task._tag === "Receive") return Receiving.start(to, task)
  if (task._tag === "Timer") return Timing.start(to, task)
  if (task.request.kind === "onRollback" || task.request.kind === "onCommit") {
    task.phase = "running"
    return Core.emit(to.core, () => succeed(to, task, { _tag: "Stored", json: null, text: "null" }))
  }
  const last = task.history.at(-1)
  if (last?.outcome === "pending") return wait(to, task, last.wakeAt ?? 0, () => runCheck(to, task, "pending"))
  if (last?.wakeAt !== undefined && last.wakeAt > to.core.clock.currentTimeMillisUnsafe()) {
    return wait(to, task, last.wakeAt, () => attempt(to, task))
  }
  takeUp(to, task)
}

/**
 * The asking code is gone, or the saga rolls back: nothing new is tried, what is in flight is awaited, what waits is
 * settled by its last outcome.
 *
 * @category running
 * @since 0.1.0
 */
export const withdraw = (to: Settler, task: Task): Eager => {
  if (task.phase === "done" || task.phase === "running") return
  if (task._tag === "Receive") return Receiving.withdraw(to, task)
  if (task._tag === "Child") return Children.withdraw(to, task)
  if (task._tag === "Timer") return Timing.withdraw(to, task)
  const last = task.history.at(-1)
  if (task.phase === "ready" && (!task.recovered || !acts(task.request))) return withdrawStep(to, task)
  // A recovered task may have acted: it is checked or run again under its key, then undone. One that waits for its next
  // attempt too, until that is made here: the clock of who died may have been ahead of this one.
  const waited = task.quiet && last?.wakeAt !== undefined
  if (task.recovered && acts(task.request) && last?.outcome !== "pending" && !waited) {
    task.cancelWait?.()
    return takeUp(to, task)
  }
  // A check is asked again: only it can say how the attempt ended.
  if (last?.outcome === "pending") return task.phase === "ready" ? start(to, task) : undefined
  task.cancelWait?.()
  if (last?.outcome !== "timeout" && last?.error === undefined) return withdrawStep(to, task)
  task.phase = "running"
  return last.outcome === "timeout" ? doubt(to, task) : refuse(to, task, last.error!)
}

/**
 * A person says that a step has happened, with this value in its stored form: recorded as its result. Answers why it
 * cannot be one, instead.
 *
 * @category running
 * @since 0.1.0
 */
export const resolve = (
  to: Settler,
  task: StepTask,
  json: Schema.Json
): Effect.Effect<string | undefined, never, unknown> =>
  Effect.map(resultOf(to, task, json), (result) => {
    if (Result.isFailure(result)) return result.failure
    const attempt = task.history.length + 1
    Core.record(to.core, { _tag: "StepSucceeded", at: Core.now(to.core), ...task.ref, attempt, value: json })
    settle(to, task, Exit.succeed(result.success))
    return undefined
  })

/**
 * Why a value in its stored form cannot be the result of a step; undefined where it can.
 *
 * @category guards
 * @since 0.1.0
 */
export const issueOf = (
  to: Settler,
  task: StepTask,
  json: Schema.Json
): Effect.Effect<string | undefined, never, unknown> =>
  Effect.map(resultOf(to, task, json), (result) => Result.isFailure(result) ? result.failure : undefined)

/**
 * A person says that a step did not happen, and is not to be tried again.
 *
 * @category running
 * @since 0.1.0
 */
export const leaveOut = (to: Settler, task: StepTask): void => withdrawStep(to, task)

/**
 * Stops waiting without recording anything: another process takes over.
 *
 * @category running
 * @since 0.1.0
 */
export const leave = (task: Task): void => task.cancelWait?.()

// ---------------------------------------------------------------------------------------------------------------------
// internal: attempts
// ---------------------------------------------------------------------------------------------------------------------

const blank: Blank<StepTask> = {
  _tag: undefined,
  key: undefined,
  asked: undefined,
  request: undefined,
  ref: undefined,
  phase: undefined,
  history: undefined,
  refusals: undefined,
  heartbeat: undefined,
  recovered: undefined,
  quiet: undefined,
  schedule: undefined,
  cancelWait: undefined
}

const context = (
  { core }: Settler,
  task: StepTask,
  heart?: Heartbeat.Heart,
  scope?: Scope.Scope
): Context.Context<never> => {
  const key = Core.stepKey(core, task.ref, task.refusals)
  return Core.stepContext(core, task.asked, heart, key, task.history.length + 1, { scope })
}

type ContextIn = (scope?: Scope.Scope) => Context.Context<never>

/** An attempt may have been in flight when its process died; a defect that a person resumed runs again as it is. */
const takeUp = (to: Settler, task: StepTask): void => {
  const asks = task.recovered && !task.quiet && acts(task.request) && task.request.check !== undefined &&
    (task.history.at(-1)?.outcome !== "defect" || isSettling(to, task))
  task.recovered = false
  if (asks) runCheck(to, task, "crash")
  else attempt(to, task)
}

/** Runs one attempt: the effect in a scope of its own, and its result through the step's schema. */
const attempt = (to: Settler, task: StepTask): void => {
  const { core } = to
  if (!core.mayAct()) return core.leave()
  task.phase = "running"
  task.recovered = false
  const { request } = task
  const heart = Heartbeat.make(core, task)
  const own: ContextIn = (scope) => context(to, task, heart, scope)
  const act = { kind: "execute", step: request.kind, error: request.error } as const
  Core.attempt(
    core,
    Core.intercepted(core, act, request.execute),
    { timeout: request.timeout, silence: Heartbeat.silence(core, heart, request.heartbeatTimeout) },
    own,
    (outcome) => store(to, task, outcome, heart, own)
  )
}

/** What is known of an outcome, in its stored form: an attempt of its own where the schema waits for something. */
const store = (
  to: Settler,
  task: StepTask,
  outcome: Attempt.Outcome<unknown, unknown>,
  heart: Heartbeat.Heart,
  own: ContextIn
): Eager => {
  const then = (stored: Attempt.Outcome<StepOutcome.StepOutcome, unknown>): Eager =>
    afterAttempt(to, task, stored, heart)
  if (outcome._tag !== "Succeeded" && outcome._tag !== "Failed") return then(outcome)
  const effect = StepOutcome.ofAttempt(to.core, task, outcome)
  if (isDone(effect)) return then(Attempt.classify(effect, false))
  Core.attempt(to.core, effect, {}, own, then)
}

const afterAttempt = (
  to: Settler,
  task: StepTask,
  outcome: Attempt.Outcome<StepOutcome.StepOutcome, unknown>,
  heart: Heartbeat.Heart
): Eager => {
  Heartbeat.end(heart, outcome._tag !== "Succeeded" || outcome.value._tag !== "Stored")
  switch (outcome._tag) {
    case "Succeeded":
      return afterStored(to, task, outcome.value)
    case "Failed":
      return
    case "TimedOut":
      return afterTimeout(to, task, Heartbeat.silent(heart))
    case "StillRunning":
      Core.linger(to.core, outcome.fiber)
      failed(to, task, { outcome: "timeout", message: "it goes on past its timeout and the grace" })
      return to.park({
        _tag: "Unknown",
        step: Journal.refName(task.ref),
        message: "its attempt goes on past its timeout and does not yield to interruption"
      })
    case "Died":
      // Said by a step that was told that nobody wants it.
      if (Heartbeat.wasTold(heart) && isWithdrawal(outcome.cause)) return withdrawStep(to, task)
      return task.request.check !== undefined && acts(task.request)
        ? runCheck(to, task, "defect", outcome.cause)
        : died(to, task, outcome.cause)
  }
}

const afterStored = (
  to: Settler,
  task: StepTask,
  stored: StepOutcome.StepOutcome,
  found = false
): Eager => {
  switch (stored._tag) {
    case "Stored":
      return succeed(to, task, stored, found)
    case "Refused":
      return retry(to, task, "refused", stored.error, stored.json)
    case "Unstorable":
      failed(to, task, { outcome: "defect", message: stored.message })
      return to.park({ _tag: "Unencodable", what: stored.what, message: stored.message })
  }
}

/** Nobody knows whether it happened; for a read, that does not matter. */
const afterTimeout = (
  to: Settler,
  task: StepTask,
  message: string | undefined
): Eager => {
  if (acts(task.request) && task.request.check !== undefined) return runCheck(to, task, "timeout")
  return retryTimedOut(to, task, acts(task.request) ? "timeout" : "refused", message)
}

/**
 * A bug. A saga that rolls back on defects says that what died did not happen, where nobody can tell: but not of a
 * pivot, and not of a step that says `unknown: "park"`.
 */
const died = (to: Settler, task: StepTask, cause: Cause.Cause<unknown>, told?: "Never" | "StillGoing"): void => {
  const message = Attempt.defectMessage(cause)
  const step = Journal.refName(task.ref)
  const { kind, unknown } = task.request
  failed(to, task, { outcome: "defect", message })
  const undecided = told === "StillGoing" || (told === undefined && (unknown === "park" || kind === "pivot"))
  if (undecided) return to.park({ _tag: "Defect", step, message })
  if (to.died(step, message)) withdrawStep(to, task)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: doubt
// ---------------------------------------------------------------------------------------------------------------------

type Why = "timeout" | "crash" | "defect" | "pending"

/** Asks the participant whether the attempt under the current key happened. */
const runCheck = (to: Settler, task: StepTask, why: Why, cause?: Cause.Cause<unknown>): void => {
  const { core } = to
  task.phase = "running"
  const check = task.request.check!
  const asked = Effect.suspend(() => check(Core.stepKey(core, task.ref, task.refusals)))
  const answer = Effect.flatMap(Core.intercepted(core, { kind: "check" }, asked), (found) => toCheck(to, task, found))
  const heart = Heartbeat.mute(core, task)
  Core.attempt(
    core,
    answer as Effect.Effect<CheckOutcome>,
    {},
    (scope) => context(to, task, heart, scope),
    (outcome) => afterCheck(to, task, why, cause, outcome)
  )
}

type CheckOutcome =
  | { readonly _tag: "Happened"; readonly stored: StepOutcome.StepOutcome }
  | { readonly _tag: "Never" }
  | { readonly _tag: "StillGoing" }

const toCheck = (
  to: Settler,
  task: StepTask,
  found: Option.Option<unknown> | Check<unknown>
): Effect.Effect<CheckOutcome, never, unknown> => {
  if (found._tag === "None" || found._tag === "Never") return Effect.succeed({ _tag: "Never" })
  if (found._tag === "StillGoing") return Effect.succeed(found)
  return Effect.mapEager(
    StepOutcome.ofResult(to.core, task, "the checked result of", task.request.success.encode(found.value)),
    (stored) => ({ _tag: "Happened", stored })
  )
}

const afterCheck = (
  to: Settler,
  task: StepTask,
  why: Why,
  cause: Cause.Cause<unknown> | undefined,
  outcome: Attempt.Outcome<CheckOutcome, never>
): Eager => {
  if (outcome._tag !== "Succeeded") {
    // The one who could have told died too: nobody knows.
    const message = outcome._tag === "Died" ? Attempt.defectMessage(outcome.cause) : "its check did not end"
    failed(to, task, { outcome: "defect", message })
    return to.park({ _tag: "Defect", step: Journal.refName(task.ref), message })
  }
  const answer = outcome.value
  if (answer._tag === "Happened") return afterStored(to, task, answer.stored, true)
  if (why === "defect") return died(to, task, cause!, answer._tag)
  if (answer._tag === "StillGoing") return stillGoing(to, task)
  if (why !== "crash") return retryTimedOut(to, task, "never")
  // It did not happen and never will under this key.
  if (isSettling(to, task)) return withdrawStep(to, task)
  failed(to, task, { outcome: "never" })
  wait(to, task, to.core.at, () => attempt(to, task))
}

/** The participant is still at it: the schedule says when to ask again. */
const stillGoing = (to: Settler, task: StepTask): Effect.Effect<void, never, unknown> =>
  Effect.map(next(to, task, new TimedOut({ step: task.ref.name })), (time) => {
    if (time === undefined) {
      failed(to, task, { outcome: "timeout" })
      return to.park({
        _tag: "Unknown",
        step: Journal.refName(task.ref),
        message: "its check says that it is still going on, and the schedule has ended"
      })
    }
    failed(to, task, { outcome: "pending", wakeAt: time })
    wait(to, task, time, () => runCheck(to, task, "pending"))
  })

/** The schedule has ended on a timeout: the step's `unknown` decides. */
const doubt = (to: Settler, task: StepTask, message?: string): Eager => {
  if (task.request.unknown === "refused" || !acts(task.request)) return refuseTimedOut(to, task)
  if (task.history.at(-1)?.outcome !== "timeout") failed(to, task, { outcome: "timeout", message })
  to.park({
    _tag: "Unknown",
    step: Journal.refName(task.ref),
    message: "it timed out, and nobody knows whether it happened"
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: retries
// ---------------------------------------------------------------------------------------------------------------------

const retryTimedOut = (
  to: Settler,
  task: StepTask,
  outcome: "timeout" | "never" | "refused",
  message?: string
): Effect.Effect<void, never, unknown> => {
  const error = new TimedOut({ step: task.ref.name })
  return Effect.flatMap(
    Effect.orDie(task.request.error.encode(error)),
    (json) => retry(to, task, outcome, error, json, message) ?? Effect.void
  )
}

const refuseTimedOut = (to: Settler, task: StepTask): Effect.Effect<void, never, unknown> =>
  Effect.flatMap(
    Effect.orDie(task.request.error.encode(new TimedOut({ step: task.ref.name }))),
    (json) => refuse(to, task, json) ?? Effect.void
  )

/** Nothing new is tried any more, only what is in flight is brought to its outcome. */
const isSettling = ({ core }: Settler, task: StepTask): boolean =>
  task.asked.withdrawn || core.undoPending !== undefined || (core.seal !== undefined && core.seal._tag !== "Park")

/** Tries again when the schedule says so; otherwise the outcome stands. */
const retry = (
  to: Settler,
  task: StepTask,
  outcome: "refused" | "timeout" | "never",
  error: unknown,
  json: Schema.Json,
  message?: string
): Eager => {
  // A park is not the end: the schedule goes on when somebody resumes it.
  const settling = isSettling(to, task)
  if (settling && task.request.kind !== "retryable") {
    return outcome === "timeout" ? doubt(to, task, message) : refuse(to, task, json)
  }
  if (scheduleOf(task) === undefined) return outcome === "timeout" ? doubt(to, task, message) : refuse(to, task, json)
  return Effect.flatMap(next(to, task, error), (time) => {
    if (time === undefined) {
      if (task.request.kind === "retryable") return exhausted(to, task, outcome, error, json)
      return (outcome === "timeout" ? doubt(to, task, message) : refuse(to, task, json)) ?? Effect.void
    }
    failed(to, task, { outcome, error: json, message, wakeAt: time })
    wait(to, task, time, () => attempt(to, task))
    return Effect.void
  })
}

const scheduleOf = ({ request }: StepTask): StepRequest["retry"] =>
  request.retry ?? (request.kind === "retryable" ? Attempt.endless : undefined)

const exhausted = (
  to: Settler,
  task: StepTask,
  outcome: "refused" | "timeout" | "never",
  error: unknown,
  json: Schema.Json
): Effect.Effect<void> => {
  failed(to, task, { outcome, error: json })
  to.park({ _tag: "Exhausted", step: Journal.refName(task.ref), message: Attempt.defectMessage(Cause.fail(error)) })
  return Effect.void
}

/**
 * When the schedule wants the next attempt. It is fed what the journal holds first, so a restart does not rewind it; an
 * attempt without a wake time was not its business (a crash, a defect), and takes nothing of its budget.
 */
const next = (to: Settler, task: StepTask, error: unknown): Effect.Effect<number | undefined, never, unknown> => {
  const schedule = scheduleOf(task)
  if (schedule === undefined) return Effect.succeed(undefined)
  const step = task.schedule === undefined
    ? Effect.flatMap(Attempt.stepper(schedule), (made) => {
      task.schedule = made
      return Effect.as(
        Effect.forEach(
          task.history.filter((past) => past.wakeAt !== undefined),
          (past) => Effect.flatMap(pastError(task, past), (input) => made(past.at, input)),
          { discard: true }
        ),
        made
      )
    })
    : Effect.succeed(task.schedule)
  return Effect.flatMap(step, (made) => made(Core.now(to.core), error)).pipe(
    Effect.provideContext(context(to, task)),
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        died(to, task, cause)
        return undefined
      })
    )
  )
}

const pastError = (task: StepTask, past: Journal.FailedAttempt): Effect.Effect<unknown, unknown, unknown> =>
  past.error === undefined
    ? Effect.succeed(new TimedOut({ step: task.ref.name }))
    : task.request.error.decodeError(past.error)

/** Waits until `time`, and until why it waits is durable: a key is not used before the refusal that made it is. */
const wait = (to: Settler, task: StepTask, time: number, then: () => void): void => {
  const { core } = to
  task.phase = "waiting"
  let durable = core.pending.length === 0
  let due = false
  let cancelled = false
  const go = () => {
    // Nothing new is tried once the process shuts down or a park is decided: the journal has when to go on.
    if (!cancelled && task.phase === "waiting" && !core.draining && core.seal?._tag !== "Park") then()
  }
  if (!durable) {
    core.mustFlush = true
    core.onDurable.push(() => {
      durable = true
      if (due) Core.emit(core, go)
    })
  }
  const cancelTimer = Core.wakeAt(core, time, () => {
    due = true
    if (durable) go()
  }, "task")
  task.cancelWait = () => {
    cancelled = true
    cancelTimer()
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: recording
// ---------------------------------------------------------------------------------------------------------------------

const failed = (
  to: Settler,
  task: StepTask,
  attempt: {
    readonly outcome: Journal.AttemptOutcome
    readonly error?: Schema.Json
    readonly message?: string | undefined
    readonly wakeAt?: number
  }
): void => {
  const at = Core.now(to.core)
  const number = task.history.length + 1
  const { message, ...known } = attempt
  Core.record(to.core, {
    _tag: "AttemptFailed",
    at,
    ...task.ref,
    attempt: number,
    ...known,
    ...(message === undefined ? undefined : { message })
  })
  task.history.push({
    at,
    attempt: number,
    outcome: attempt.outcome,
    error: attempt.error,
    message: attempt.message,
    wakeAt: attempt.wakeAt
  })
  if (attempt.outcome === "refused" || attempt.outcome === "never") task.refusals++
}

const succeed = (
  to: Settler,
  task: StepTask,
  { json, text }: Extract<StepOutcome.StepOutcome, { readonly _tag: "Stored" }>,
  found = false
): Eager =>
  after(Core.provide(task.request.success.decode(json), Core.outerContext(to.core, task.asked)), (exit) => {
    if (Exit.isFailure(exit)) {
      const message = Attempt.issueMessage(exit.cause)
      failed(to, task, { outcome: "defect", message })
      return to.park({ _tag: "Unencodable", what: `the result of ${Journal.refName(task.ref)}`, message })
    }
    const attempt = task.history.length + 1
    const entry: Journal.Entry = {
      _tag: "StepSucceeded",
      at: Core.now(to.core),
      ...task.ref,
      attempt,
      value: json,
      ...(found ? { found } : undefined)
    }
    Core.record(to.core, entry, text)
    settle(to, task, Exit.succeed(exit.value))
  })

const refuse = (to: Settler, task: StepTask, json: Schema.Json): Eager =>
  after(Core.provide(task.request.error.decodeError(json), Core.outerContext(to.core, task.asked)), (exit) => {
    const attempt = Math.max(1, task.history.length + (task.phase === "running" ? 1 : 0))
    Core.record(to.core, { _tag: "StepFailed", at: Core.now(to.core), ...task.ref, attempt, error: json })
    settle(to, task, Exit.isSuccess(exit) ? Exit.fail(exit.value) : Exit.failCause(exit.cause))
  })

/** It did not happen, and is not asked for any more. */
const withdrawStep = (to: Settler, task: StepTask): void => {
  Core.record(to.core, { _tag: "StepWithdrawn", at: Core.now(to.core), ...task.ref })
  settle(to, task, withdrawn)
}

/** What a stored value says to the body, or why it says nothing. */
const resultOf = (
  { core }: Settler,
  task: StepTask,
  json: Schema.Json
): Effect.Effect<Result.Result<unknown, string>, never, unknown> => {
  const checked = Core.check(core, json)
  if (Result.isFailure(checked)) return Effect.succeed(Result.fail(checked.failure.message))
  return Effect.match(Core.provide(task.request.success.decode(json), Core.outerContext(core, task.asked)), {
    onFailure: (error) => Result.fail(error.message),
    onSuccess: (value) => Result.succeed(value)
  })
}

const settle = (to: Settler, task: StepTask, exit: Exit.Exit<unknown, unknown>): void => {
  task.phase = "done"
  task.cancelWait = undefined
  to.settled(task, exit)
}
