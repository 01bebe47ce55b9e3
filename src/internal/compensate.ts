/**
 * One compensation to its end: attempts, doubt, retries and durable waits.
 *
 * It never fails: what it came to stands in `Held.status`, and in the journal. Its start is durable before it acts, its
 * key is the same in every attempt, and what the journal holds of earlier attempts feeds its schedule.
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
import type { Check, CheckRequest, Compensation } from "../Execution.ts"
import type * as Journal from "../Journal.ts"
import { TimedOut } from "../Step.ts"
import * as Attempt from "./attempt.ts"
import type { Asked } from "./body.ts"
import * as Core from "./core.ts"
import { isDone } from "./eager.ts"
import * as Heartbeat from "./heartbeat.ts"
import * as Waits from "./waits.ts"

/**
 * A compensation that is held: its step happened, with this value.
 *
 * @category models
 * @since 0.1.0
 */
export interface Held {
  readonly key: string
  readonly ref: Journal.Ref
  readonly asked: Asked
  /** As its step says it; what that leaves open, the saga's definition says. */
  readonly compensation: Compensation
  readonly value: unknown
  /** How often its step was refused before it happened: the ordinal in its key. */
  readonly refusals: number
  status: "held" | "running" | "succeeded" | "failed" | "skipped"
  readonly history: Array<Journal.FailedAttempt>
  /** The last heartbeat that was recorded. */
  heartbeat: Journal.HeartbeatState | undefined
  /** How many attempts have ended, also those that a person's retry took off its budget. */
  attempted: number
  /** When the durable waits of this attempt end; undefined where there are none, as nearly always. */
  timers: Map<string, number> | undefined
  /** What it has received: every attempt gets it again. Undefined: nothing. */
  signals: Map<string, { readonly signal: string; readonly value: Schema.Json }> | undefined
  /** It was under way when its process died, so an attempt may have been. */
  recovered: boolean
  /** Why it failed for good. */
  failure: { readonly error: Schema.Json | undefined; readonly defect: string | undefined } | undefined
}

/**
 * Undoes what is held, until that has succeeded or failed for good: then calls back, in the driving fiber.
 *
 * @category running
 * @since 0.1.0
 */
export const start = (core: Core.Core, held: Held, cause: Cause.Cause<unknown>, done: () => void): void => {
  const undo: Undo = { core, held, cause, done, schedule: undefined, inDoubt: false }
  const begins = held.status === "held"
  held.status = "running"
  core.compensating++
  Core.emit(core, () => {
    if (begins) Core.record(core, { _tag: "CompensationStarted", at: Core.now(core), ...held.ref })
    // Of one that was begun before: what let it go on, perhaps a person, comes before its next act.
    Core.onceDurable(core, () => takeUp(undo))
  })
}

/**
 * Whether none begins any more once this one has failed for good.
 *
 * @category guards
 * @since 0.1.0
 */
export const halts = (core: Core.Core, { compensation: { onFailure } }: Held): boolean =>
  (onFailure ?? core.handler.definition.compensationDefaults.onFailure) === "halt"

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** A compensation under way. */
interface Undo {
  readonly core: Core.Core
  readonly held: Held
  readonly cause: Cause.Cause<unknown>
  readonly done: () => void
  schedule: Attempt.Step | undefined
  /** Nobody knows whether the last attempt happened. */
  inDoubt: boolean
}

type Failure =
  | {
    readonly _tag: "Failed"
    readonly outcome: "failed" | "timeout"
    readonly error: unknown
    readonly json: Schema.Json
  }
  | { readonly _tag: "Died"; readonly message: string; readonly running?: true }

const takeUp = (undo: Undo): void => {
  const { core, held } = undo
  const last = held.history.at(-1)
  const waits = last?.wakeAt !== undefined && last.wakeAt > core.clock.currentTimeMillisUnsafe()
  undo.inDoubt = last?.outcome === "pending" || (held.recovered && !waits)
  held.recovered = false
  if (last?.wakeAt === undefined) next(undo)
  else Core.wakeAt(core, last.wakeAt, () => next(undo), "compensation")
}

/** The next attempt; where nobody knows how the last one ended, its check comes first. */
const next = (undo: Undo): void => {
  const { check } = undo.held.compensation
  if (!undo.inDoubt || check === undefined) return attempt(undo)
  ask(undo, check, (found) => {
    if (found === "Never") return attempt(undo)
    const message = "its check says that it is still going on, and the schedule has ended"
    again(undo, "pending", new TimedOut({ step: undo.held.ref.name }), undefined, message)
  })
}

/** Runs the compensation once. */
const attempt = (undo: Undo): void => {
  const { cause, core, held } = undo
  undo.inDoubt = false
  if (!mayAct(core)) return
  const { compensation } = held
  const { compensationDefaults, compensationError } = core.handler.definition
  const timeout = compensation.timeout ?? compensationDefaults.timeout
  const heart = Heartbeat.make(core, held)
  const silence = Heartbeat.silence(core, heart, compensation.heartbeatTimeout)
  const waits = Waits.make(core, held)
  const effect = Effect.withFiber((fiber) => {
    // What else the attempt does meanwhile, or how long it may take, keeps it in memory.
    if (timeout === undefined && silence === undefined) waits.fiber = fiber
    const act = { kind: "compensate", error: compensationError } as const
    return Core.intercepted(core, act, compensation.run(held.value, cause))
  })
  const own = (scope?: Scope.Scope) => context(core, held, heart, { scope, more: Waits.services(waits) })
  const finish: Finish = (keep) => {
    Heartbeat.end(heart, keep)
    Waits.end(waits)
  }
  Core.attempt(core, effect, { timeout, silence }, own, (outcome) => afterAttempt(undo, outcome, finish, own))
}

/** Nothing that the attempt does from now on counts, also where it goes on. `keep`: what it said last is recorded. */
type Finish = (keep: boolean) => void

const context = (
  core: Core.Core,
  held: Held,
  heart?: Heartbeat.Heart,
  besides?: Core.Besides
): Context.Context<never> =>
  Core.compensationContext(core, held.asked, heart, held.ref, held.refusals, held.history.length + 1, besides)

const afterAttempt = (
  undo: Undo,
  outcome: Attempt.Outcome<unknown, unknown>,
  finish: Finish,
  own: () => Context.Context<never>
): void => {
  switch (outcome._tag) {
    case "Succeeded":
      finish(false)
      return succeeded(undo, false)
    case "Failed":
      return encode(undo, "failed", outcome.error, finish, own)
    case "Died":
      return afterFailure(undo, { _tag: "Died", message: Attempt.defectMessage(outcome.cause) }, finish)
    case "TimedOut":
      return encode(undo, "timeout", new TimedOut({ step: undo.held.ref.name }), finish, own)
    case "StillRunning":
      Core.linger(undo.core, outcome.fiber)
      return afterFailure(
        undo,
        { _tag: "Died", message: "it goes on past its timeout and the grace", running: true },
        finish
      )
  }
}

const afterFailure = (undo: Undo, failure: Failure, finish: Finish): void => {
  finish(true)
  const { check } = undo.held.compensation
  // While it still runs here nothing is to be learned from anybody.
  const unknown = failure._tag === "Died" ? failure.running !== true : failure.outcome === "timeout"
  if (!unknown || check === undefined) return failed(undo, failure, false)
  ask(undo, check, (found) => failed(undo, failure, found === "StillGoing"))
}

const failed = (undo: Undo, failure: Failure, isGoing: boolean): void => {
  if (failure._tag === "Died") return failedForGood(undo, undefined, failure.message)
  undo.inDoubt = isGoing
  again(undo, isGoing ? "pending" : failure.outcome, failure.error, failure.json, undefined)
}

/** Tries again when the schedule says so, once that is durable; where there is no further attempt, it has failed. */
const again = (
  undo: Undo,
  outcome: "failed" | "timeout" | "pending",
  error: unknown,
  json: Schema.Json | undefined,
  message: string | undefined
): void => {
  const { core, held } = undo
  const retry = held.compensation.retry ?? core.handler.definition.compensationDefaults.retry
  if (retry === undefined) return failedForGood(undo, json, message)
  const at = Core.now(core)
  // A schedule may do anything: beside the driving fiber.
  const step = undo.schedule === undefined ? resumed(undo, retry) : Effect.succeed(undo.schedule)
  const time = Effect.flatMap(
    step,
    (step) => Effect.catchCause(step(at, error), (cause) => Effect.succeed(Attempt.defectMessage(cause)))
  )
  Core.fork(core, core.waits, time, context(core, held), (time) => {
    if (typeof time !== "number") return failedForGood(undo, json, time ?? message)
    attemptFailed(undo, outcome, json, at, time)
    Core.onceDurable(core, () => {
      Core.wakeAt(core, time, () => next(undo), "compensation")
    })
  })
}

/** The schedule, fed what the journal has. */
const resumed = (
  undo: Undo,
  retry: NonNullable<Compensation["retry"]>
): Effect.Effect<Attempt.Step, never, unknown> => {
  const { core, held } = undo
  return Effect.gen(function*() {
    const step = yield* Attempt.stepper(retry)
    for (const past of held.history) {
      const input = past.error === undefined
        ? new TimedOut({ step: held.ref.name })
        : yield* Effect.orElseSucceed(
          core.handler.definition.compensationError.decodeError(past.error),
          () => undefined
        )
      yield* Effect.exit(step(past.at, input))
    }
    return undo.schedule = step
  })
}

/** Without a lease, or in a process that shuts down, nothing is undone here: the next owner does it. */
const mayAct = (core: Core.Core): boolean => {
  if (core.mayAct()) return !core.draining
  core.leave()
  return false
}

type Found = "Happened" | "Never" | "StillGoing" | { readonly message: string }

/** Asks the participant whether the compensation happened. A check that dies says nothing: that fails it for good. */
const ask = (undo: Undo, check: CheckRequest, then: (found: "Never" | "StillGoing") => void): void => {
  const { core, held } = undo
  if (!mayAct(core)) return
  const asked = Core.intercepted(
    core,
    { kind: "checkCompensation" },
    Effect.suspend(() => check(Core.compensationKey(core, held.ref)))
  ) as Effect.Effect<Option.Option<unknown> | Check<unknown>>
  Core.fork<Found>(
    core,
    core.attempts,
    Effect.map(Effect.exit(Effect.scoped(asked)), toFound),
    context(core, held, Heartbeat.mute(core, held)),
    (found) => {
      if (found === "Happened") return succeeded(undo, true)
      if (typeof found === "object") return failedForGood(undo, undefined, found.message)
      then(found)
    },
    { message: "its check interrupted itself" }
  )
}

const toFound = (exit: Exit.Exit<Option.Option<unknown> | Check<unknown>>): Found => {
  if (Exit.isFailure(exit)) return { message: `its check died: ${Attempt.defectMessage(exit.cause)}` }
  switch (exit.value._tag) {
    case "Some":
    case "Happened":
      return "Happened"
    case "None":
    case "Never":
      return "Never"
    case "StillGoing":
      return "StillGoing"
  }
}

/** What it failed with, in its stored form. An error that the saga did not declare has none: it counts as a defect. */
const encode = (
  undo: Undo,
  outcome: "failed" | "timeout",
  error: unknown,
  finish: Finish,
  own: () => Context.Context<never>
): void => {
  const { core, held } = undo
  const then = (exit: Exit.Exit<Schema.Json, Schema.SchemaError>): void => {
    if (Exit.isFailure(exit)) {
      const message = `the compensation of ${held.ref.name} failed with an error that compensationError does not ` +
        `declare: ${Attempt.defectMessage(Cause.fail(error))}`
      return afterFailure(undo, { _tag: "Died", message }, finish)
    }
    const checked = Core.check(core, exit.value)
    afterFailure(
      undo,
      Result.isSuccess(checked)
        ? { _tag: "Failed", outcome, error, json: checked.success }
        : { _tag: "Died", message: checked.failure.message },
      finish
    )
  }
  const encoded = core.handler.definition.compensationError.encode(error)
  if (isDone(encoded)) then(encoded)
  else Core.fork(core, core.attempts, Effect.exit(encoded), own(), then, Exit.interrupt())
}

const attemptFailed = (
  { core, held }: Undo,
  outcome: "failed" | "timeout" | "pending",
  error: Schema.Json | undefined,
  at: number,
  wakeAt: number
): void => {
  const attempt = held.history.length + 1
  held.history.push({ at, attempt, outcome, error, message: undefined, wakeAt })
  held.timers = undefined
  if (outcome !== "pending") held.attempted++
  Core.record(core, {
    _tag: "CompensationAttemptFailed",
    at,
    ...held.ref,
    attempt,
    outcome,
    ...(error === undefined ? undefined : { error }),
    wakeAt
  })
}

const succeeded = (undo: Undo, found: boolean): void => {
  const { core, held } = undo
  held.status = "succeeded"
  Core.record(core, {
    _tag: "CompensationSucceeded",
    at: Core.now(core),
    ...held.ref,
    attempt: held.history.length + 1,
    ...(found ? { found } : undefined)
  })
  ended(undo)
}

const failedForGood = (undo: Undo, error: Schema.Json | undefined, defect: string | undefined): void => {
  const { core, held } = undo
  held.status = "failed"
  held.failure = { error, defect }
  Core.record(core, {
    _tag: "CompensationFailed",
    at: Core.now(core),
    ...held.ref,
    attempt: held.history.length + 1,
    ...(error === undefined ? undefined : { error }),
    ...(defect === undefined ? undefined : { defect })
  })
  ended(undo)
}

const ended = ({ core, done, held }: Undo): void => {
  held.attempted++
  core.compensating--
  done()
}
