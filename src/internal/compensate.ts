/**
 * One compensation to its end: attempts, doubt, retries and durable waits.
 *
 * It never fails: what it came to stands in `Held.status`, and in the journal. Its start is durable before it acts, its
 * key is the same in every attempt, and what the journal holds of earlier attempts feeds its schedule.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import { type Check, type CheckRequest, type Compensation, Inbox, Waiting } from "../Execution.ts"
import type * as Journal from "../Journal.ts"
import { TimedOut } from "../Step.ts"
import * as Attempt from "./attempt.ts"
import type { Asked } from "./body.ts"
import * as Core from "./core.ts"
import * as Heartbeat from "./heartbeat.ts"
import * as Receiving from "./receiving.ts"

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
  /** When the durable waits of this attempt end. */
  readonly timers: Map<string, number>
  /** What it has received: every attempt gets it again. */
  readonly signals: Map<string, { readonly signal: string; readonly value: Schema.Json }>
  /** It was under way when its process died, so an attempt may have been. */
  recovered: boolean
  /** Why it failed for good. */
  failure: { readonly error: Schema.Json | undefined; readonly defect: string | undefined } | undefined
}

/**
 * Runs a compensation until it has succeeded or failed for good.
 *
 * @category running
 * @since 0.1.0
 */
export const compensate = (core: Core.Core, held: Held, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    core.compensating++
    return Effect.ensuring(
      attempts(core, held, cause),
      Effect.sync(() => {
        core.compensating--
      })
    )
  })

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

type Failure =
  | {
    readonly _tag: "Failed"
    readonly outcome: "failed" | "timeout"
    readonly error: unknown
    readonly json: Schema.Json
  }
  | { readonly _tag: "Died"; readonly message: string; readonly running?: true }

const attempts = Effect.fnUntraced(function*(core: Core.Core, held: Held, cause: Cause.Cause<unknown>) {
  const { check } = held.compensation
  if (held.status === "held") {
    held.status = "running"
    yield* Core.recordDurably(core, () => ({ _tag: "CompensationStarted", at: Core.now(core), ...held.ref }))
  } else {
    // It was begun before; what let it go on, perhaps a person, comes before its next act.
    yield* Core.durable(core)
  }
  const last = held.history.at(-1)
  const waited = last?.wakeAt !== undefined && last.wakeAt > core.clock.currentTimeMillisUnsafe()
  if (last?.wakeAt !== undefined) yield* Core.sleepUntil(core, last.wakeAt, "compensation")
  const schedule: Stepper = { step: undefined }
  /** Nobody knows whether the last attempt happened. */
  let inDoubt = last?.outcome === "pending" || (held.recovered && !waited)
  held.recovered = false
  while (true) {
    if (inDoubt && check !== undefined) {
      const found = yield* ask(core, held, check)
      if (found === "Happened") return succeeded(core, held, true)
      if (typeof found === "object") return failedForGood(core, held, undefined, found.message)
      if (found === "StillGoing") {
        const problem = yield* again(core, held, schedule, "pending", new TimedOut({ step: held.ref.name }), undefined)
        if (problem === undefined) continue
        const message = "its check says that it is still going on, and the schedule has ended"
        return failedForGood(core, held, undefined, problem.message ?? message)
      }
    }
    inDoubt = false
    const failure = yield* attempt(core, held, cause)
    if (failure === undefined) return succeeded(core, held, false)
    // While it still runs here nothing is to be learned from anybody.
    const unknown = failure._tag === "Died" ? failure.running !== true : failure.outcome === "timeout"
    if (unknown && check !== undefined) {
      const found = yield* ask(core, held, check)
      if (found === "Happened") return succeeded(core, held, true)
      if (typeof found === "object") return failedForGood(core, held, undefined, found.message)
      inDoubt = found === "StillGoing" && failure._tag !== "Died"
    }
    if (failure._tag === "Died") return failedForGood(core, held, undefined, failure.message)
    const outcome = inDoubt ? "pending" : failure.outcome
    const problem = yield* again(core, held, schedule, outcome, failure.error, failure.json)
    if (problem !== undefined) return failedForGood(core, held, failure.json, problem.message)
  }
})

interface Stepper {
  step: Attempt.Step | undefined
}

/** Waits as the schedule says, once that is durable; or says that there is no further attempt, and why. */
const again = Effect.fnUntraced(function*(
  core: Core.Core,
  held: Held,
  schedule: Stepper,
  outcome: "failed" | "timeout" | "pending",
  error: unknown,
  json: Schema.Json | undefined
) {
  const at = Core.now(core)
  schedule.step ??= yield* resumed(core, held)
  const time = schedule.step === undefined
    ? undefined
    : yield* Core.provide(schedule.step(at, error), context(core, held)).pipe(
      Effect.catchCause((cause) => Effect.succeed(Attempt.defectMessage(cause)))
    )
  if (time === undefined || typeof time === "string") return { message: time }
  yield* attemptFailed(core, held, outcome, json, at, time)
  yield* Core.sleepUntil(core, time, "compensation")
  return undefined
})

const context = (core: Core.Core, held: Held, heart?: Heartbeat.Heart): Context.Context<never> => {
  const key = Core.compensationKey(core, held.ref)
  const stepKey = Core.stepKey(core, held.ref, held.refusals)
  return Core.stepContext(core, held.asked, heart, key, held.history.length + 1, stepKey)
}

/** Runs the compensation once; what it failed with, or undefined. */
const attempt = (core: Core.Core, held: Held, cause: Cause.Cause<unknown>): Effect.Effect<Failure | undefined> => {
  const { compensation } = held
  const error = core.handler.definition.compensationError
  const waiting = waits(core, held)
  const heart = Heartbeat.make(core, held)
  const effect = Effect.withFiber((fiber) => {
    waiting.fiber = fiber
    return Effect.matchEffect(
      Core.intercepted(core, { kind: "compensate", error }, compensation.run(held.value, cause)),
      {
        onSuccess: () => Effect.succeed(undefined),
        onFailure: (error) => toFailure(core, held, "failed", error)
      }
    )
  })
  return act(
    core,
    Effect.flatMap(
      Attempt.run(
        Effect.scoped(effect as Effect.Effect<Failure | undefined>),
        compensation.timeout,
        core.limits.grace,
        Heartbeat.silence(heart, compensation.heartbeatTimeout)
      ),
      (outcome): Effect.Effect<Failure | undefined, never, unknown> => {
        switch (outcome._tag) {
          case "Succeeded":
            return Effect.succeed(outcome.value)
          case "Failed":
            return Effect.succeed(undefined)
          case "Died":
            return Effect.succeed({ _tag: "Died", message: Attempt.defectMessage(outcome.cause) })
          case "TimedOut":
            return toFailure(core, held, "timeout", new TimedOut({ step: held.ref.name }))
          case "StillRunning":
            core.lingering.add(outcome.fiber)
            return Effect.succeed({ _tag: "Died", message: "it goes on past its timeout and the grace", running: true })
        }
      }
    ),
    context(core, held, heart).pipe(
      Context.add(Waiting, waiting.service),
      Context.add(Inbox, Receiving.inbox(core, held, (fiber) => waiting.who(fiber)))
    ),
    { _tag: "Died", message: Attempt.defectMessage(Attempt.selfInterrupted.cause) },
    heart
  )
}

/** Runs what acts among the attempts; it never returns where this process may not act, or shuts down. */
const act = <A>(
  core: Core.Core,
  effect: Effect.Effect<A, never, unknown>,
  context: Context.Context<never>,
  interrupted: A,
  heart?: Heartbeat.Heart
): Effect.Effect<A> =>
  Effect.callback((resume) => {
    // Without a lease, or in a process that shuts down, nothing is undone here: the next owner does it.
    if (!core.mayAct()) return core.leave()
    if (core.draining) return
    const ended = (result: A) => {
      if (heart !== undefined) Heartbeat.end(heart, result !== undefined)
      resume(Effect.succeed(result))
    }
    Core.fork(core, core.attempts, effect, context, ended, interrupted)
  })

type Found = "Happened" | "Never" | "StillGoing" | { readonly message: string }

/** Asks the participant whether the compensation happened. A check that dies says nothing: that fails it for good. */
const ask = (core: Core.Core, held: Held, check: CheckRequest): Effect.Effect<Found> =>
  act<Found>(
    core,
    Effect.map(
      Effect.exit(Effect.scoped(
        Core.intercepted(
          core,
          { kind: "checkCompensation" },
          Effect.suspend(() => check(Core.compensationKey(core, held.ref)))
        ) as Effect.Effect<Option.Option<unknown> | Check<unknown>>
      )),
      (exit): Found => {
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
    ),
    context(core, held, Heartbeat.mute(core, held)),
    { message: "its check interrupted itself" }
  )

/** Durable waits within one attempt: each is journaled by its name, so that another process waits no longer. */
const waits = (core: Core.Core, held: Held) => {
  const counts = new Map<string, number>()
  const limited = held.compensation.timeout !== undefined || held.compensation.heartbeatTimeout !== undefined
  const waiting: {
    fiber: Fiber.Fiber<unknown, unknown> | undefined
    readonly who: (fiber: Fiber.Fiber<unknown, unknown>) => "attempt" | undefined
    readonly service: Waiting["Service"]
  } = {
    fiber: undefined,
    // What else the attempt does meanwhile, or how long it may take, keeps it in memory.
    who: (fiber) => fiber === waiting.fiber && !limited ? "attempt" : undefined,
    service: {
      sleep: (name, until, fiber) =>
        Effect.suspend(() => {
          const count = counts.get(name) ?? 0
          counts.set(name, count + 1)
          const timer = count === 0 ? name : `${name}#${count + 1}`
          const known = held.timers.get(timer)
          const wakeAt = known ?? ("time" in until ? until.time : Core.now(core) + until.millis)
          held.timers.set(timer, wakeAt)
          return Effect.andThen(
            known === undefined
              ? Core.recordDurably(core, () => ({
                _tag: "CompensationTimerSet",
                at: Core.now(core),
                ...held.ref,
                timer,
                wakeAt
              }))
              : Effect.void,
            Core.sleepUntil(core, wakeAt, waiting.who(fiber))
          )
        })
    }
  }
  return waiting
}

/** An error that the saga did not declare cannot be stored: it counts as a defect. */
const toFailure = (
  core: Core.Core,
  held: Held,
  outcome: "failed" | "timeout",
  error: unknown
): Effect.Effect<Failure, never, unknown> =>
  Effect.map(Effect.exit(core.handler.definition.compensationError.encode(error)), (exit): Failure => {
    if (Exit.isFailure(exit)) {
      return {
        _tag: "Died",
        message: `the compensation of ${held.ref.name} failed with an error that compensationError does not declare: ` +
          Attempt.defectMessage(Cause.fail(error))
      }
    }
    const checked = Core.check(core, exit.value)
    return Result.isSuccess(checked)
      ? { _tag: "Failed", outcome, error, json: exit.value }
      : { _tag: "Died", message: checked.failure.message }
  })

/** The schedule, fed what the journal has. */
const resumed = (core: Core.Core, held: Held): Effect.Effect<Attempt.Step | undefined> => {
  const schedule = held.compensation.retry
  if (schedule === undefined) return Effect.succeed(undefined)
  const fed = Effect.gen(function*() {
    const step = yield* Attempt.stepper(schedule)
    for (const past of held.history) {
      const input = past.error === undefined
        ? new TimedOut({ step: held.ref.name })
        : yield* Effect.orElseSucceed(core.handler.definition.compensationError.decode(past.error), () => undefined)
      yield* Effect.exit(step(past.at, input))
    }
    return step
  })
  return Core.provide(fed, context(core, held))
}

const attemptFailed = (
  core: Core.Core,
  held: Held,
  outcome: "failed" | "timeout" | "pending",
  error: Schema.Json | undefined,
  at: number,
  wakeAt: number
): Effect.Effect<void> => {
  const attempt = held.history.length + 1
  held.history.push({ at, attempt, outcome, error, message: undefined, wakeAt })
  held.timers.clear()
  if (outcome !== "pending") held.attempted++
  return Core.recordDurably(core, () => ({
    _tag: "CompensationAttemptFailed",
    at,
    ...held.ref,
    attempt,
    outcome,
    ...(error === undefined ? undefined : { error }),
    wakeAt
  }))
}

const succeeded = (core: Core.Core, held: Held, found: boolean): void => {
  held.status = "succeeded"
  held.attempted++
  Core.emit(core, () =>
    Core.record(core, {
      _tag: "CompensationSucceeded",
      at: Core.now(core),
      ...held.ref,
      attempt: held.history.length + 1,
      ...(found ? { found } : undefined)
    }))
}

const failedForGood = (
  core: Core.Core,
  held: Held,
  error: Schema.Json | undefined,
  defect: string | undefined
): void => {
  held.status = "failed"
  held.attempted++
  held.failure = { error, defect }
  Core.emit(core, () =>
    Core.record(core, {
      _tag: "CompensationFailed",
      at: Core.now(core),
      ...held.ref,
      attempt: held.history.length + 1,
      ...(error === undefined ? undefined : { error }),
      ...(defect === undefined ? undefined : { defect })
    }))
}
