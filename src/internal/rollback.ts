/**
 * Undoing what is held: compensations as finalizers of a real scope, closed in reverse order of completion.
 *
 * One roll-back is one run of `run`, beside the driving fiber: it records through the core and never touches the body.
 * It relies on the order in which what it gets was recorded; it knows nothing of attempts at steps.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Compensation } from "../Execution.ts"
import type * as Journal from "../Journal.ts"
import { TimedOut } from "../Step.ts"
import * as Attempt from "./attempt.ts"
import type { Asked } from "./body.ts"
import * as Core from "./core.ts"

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
  status: "held" | "running" | "succeeded" | "failed"
  readonly history: Array<Journal.FailedAttempt>
  /** Why it failed for good. */
  failure: { readonly error: Schema.Json | undefined; readonly defect: string | undefined } | undefined
}

/**
 * Runs what is held, the last recorded first. Ends when each has succeeded or failed for good, or when one that failed
 * says `halt`.
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(
  function*(core: Core.Core, held: ReadonlyArray<Held>, cause: Cause.Cause<unknown>) {
    const scope = Scope.makeUnsafe("sequential")
    let halted = false
    for (const one of held) {
      yield* Scope.addFinalizer(
        scope,
        Effect.suspend(() => {
          if (halted || one.status === "succeeded" || one.status === "failed") return Effect.void
          return Effect.map(compensate(core, one, cause), () => {
            if (one.status === "failed" && one.compensation.onFailure === "halt") halted = true
          })
        })
      )
    }
    yield* Scope.close(scope, Exit.failCause(cause))
  }
)

/**
 * What of this stays undone, for the journal.
 *
 * @category destructors
 * @since 0.1.0
 */
export const unresolved = (held: Iterable<Held>): Array<Journal.Unresolved> => {
  const left: Array<Journal.Unresolved> = []
  for (const one of held) {
    if (one.status === "succeeded") continue
    left.push({
      ...one.ref,
      attempts: one.history.length + (one.status === "failed" ? 1 : 0),
      ...(one.failure?.error === undefined ? undefined : { error: one.failure.error }),
      ...(one.failure?.defect === undefined ? undefined : { defect: one.failure.defect })
    })
  }
  return left
}

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
  | { readonly _tag: "Died"; readonly message: string }

/** One compensation to its end: never fails, and leaves what it came to in `held.status`. */
const compensate = Effect.fnUntraced(function*(core: Core.Core, held: Held, cause: Cause.Cause<unknown>) {
  let step: Attempt.Step | undefined
  if (held.status === "held") {
    held.status = "running"
    yield* Core.recordDurably(core, () => ({ _tag: "CompensationStarted", at: Core.now(core), ...held.ref }))
  }
  const last = held.history.at(-1)
  if (last?.wakeAt !== undefined) yield* sleepUntil(core, last.wakeAt)
  while (true) {
    const failure = yield* attempt(core, held, cause)
    if (failure === undefined) return succeeded(core, held)
    if (failure._tag === "Died") return failedForGood(core, held, undefined, failure.message)
    step ??= yield* resumed(core, held)
    const at = Core.now(core)
    const time = step === undefined
      ? undefined
      : yield* Core.provide(step(at, failure.error), context(core, held)).pipe(
        Effect.catchCause((cause) => Effect.sync(() => Attempt.defectMessage(cause)))
      )
    if (typeof time === "string") return failedForGood(core, held, failure.json, time)
    if (time === undefined) return failedForGood(core, held, failure.json, undefined)
    yield* attemptFailed(core, held, failure, at, time)
    yield* sleepUntil(core, time)
  }
})

const context = (core: Core.Core, held: Held) =>
  Core.stepContext(core, held.asked, {
    key: Core.compensationKey(core, held.ref),
    attempt: held.history.length + 1
  })

/** Runs the compensation once; what it failed with, or undefined. */
const attempt = (core: Core.Core, held: Held, cause: Cause.Cause<unknown>): Effect.Effect<Failure | undefined> =>
  Effect.callback((resume) => {
    // Without a lease, or in a process that shuts down, nothing is undone here: the next owner does it.
    if (!core.mayAct()) return core.leave()
    if (core.draining) return
    const { compensation } = held
    const effect = Effect.suspend(() => compensation.run(held.value, cause)).pipe(
      Effect.matchEffect({
        onSuccess: () => Effect.succeed(undefined),
        onFailure: (error) => toFailure(core, held, "failed", error)
      })
    )
    Core.fork(
      core,
      core.attempts,
      Effect.flatMap(
        Attempt.run(
          Effect.scoped(effect as Effect.Effect<Failure | undefined>),
          compensation.timeout,
          core.limits.grace
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
              return Effect.succeed({ _tag: "Died", message: "it goes on past its timeout and the grace" })
          }
        }
      ),
      context(core, held),
      (failure) => resume(Effect.succeed(failure)),
      { _tag: "Died", message: Attempt.defectMessage(Attempt.selfInterrupted.cause) }
    )
  })

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
        ? Option.none()
        : yield* Effect.option(core.handler.definition.compensationError.decode(past.error))
      yield* Effect.exit(step(past.at, Option.getOrUndefined(input)))
    }
    return step
  })
  return Core.provide(fed, context(core, held))
}

const sleepUntil = (core: Core.Core, time: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    Core.wakeAt(core, time, () => resume(Effect.void))
  })

const attemptFailed = (
  core: Core.Core,
  held: Held,
  failure: Extract<Failure, { _tag: "Failed" }>,
  at: number,
  time: number
): Effect.Effect<void> => {
  const number = held.history.length + 1
  const { json: error, outcome } = failure
  held.history.push({ at, attempt: number, outcome, error, message: undefined, wakeAt: time })
  return Core.recordDurably(core, () => ({
    _tag: "CompensationAttemptFailed",
    at,
    ...held.ref,
    attempt: number,
    outcome,
    error,
    wakeAt: time
  }))
}

const succeeded = (core: Core.Core, held: Held): void => {
  held.status = "succeeded"
  Core.emit(core, () =>
    Core.record(core, {
      _tag: "CompensationSucceeded",
      at: Core.now(core),
      ...held.ref,
      attempt: held.history.length + 1
    }))
}

const failedForGood = (
  core: Core.Core,
  held: Held,
  error: Schema.Json | undefined,
  defect: string | undefined
): void => {
  held.status = "failed"
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
