/**
 * The children of one execution: created once their intent is durable, waited for, cancelled, and what their end says.
 *
 * A child is a step that takes an execution of its own. Its end comes as mail; this module says what that means for
 * the parent. It knows neither the body nor the roll-back.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { ChildRequest } from "../Execution.ts"
import * as Journal from "../Journal.ts"
import type { StoreError } from "../SagaStore.ts"
import * as Attempt from "./attempt.ts"
import type { Asked } from "./body.ts"
import { ChildRolledBack } from "./childRolledBack.ts"
import * as Core from "./core.ts"
import { childOutcome } from "./fold.ts"
import type { Settler } from "./forward.ts"
import type { Birth, Born } from "./starting.ts"
import { storable } from "./storable.ts"

/**
 * A child in flight.
 *
 * **Details**
 *
 * `ready`: recorded, not created by this process. `running`: it is being created. `waiting`: it goes on by itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildTask {
  readonly _tag: "Child"
  readonly key: string
  readonly asked: Asked
  readonly request: ChildRequest
  readonly ref: Journal.Ref
  readonly id: string
  /** When it was asked for first. */
  readonly since: number
  phase: "ready" | "running" | "waiting" | "done"
  /** Its intent is from another process. */
  readonly recovered: boolean
  /** It was suspended, so the child had been created. */
  readonly quiet: boolean
  /** The journal has that it is to roll back. */
  cancelled: boolean
  /** How it ended, where that says neither a result nor an error. */
  ended: Journal.End | undefined
  cancelWait: (() => void) | undefined
}

/**
 * A child that was asked for at this time; `known`: what the journal says of it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const task = (
  core: Core.Core,
  key: string,
  asked: Asked,
  request: ChildRequest,
  since: number,
  known: Journal.ChildState | undefined,
  quiet = false
): ChildTask => {
  const ref = Core.refOf(asked)
  return {
    _tag: "Child",
    key,
    asked,
    request,
    ref,
    id: Core.childId(core, request.saga.tag, ref),
    since,
    phase: "ready",
    recovered: known !== undefined,
    quiet,
    cancelled: known?.cancelled ?? false,
    ended: known !== undefined && known.end !== undefined &&
        childOutcome(known.end, known.cancelled) === undefined
      ? known.end
      : undefined,
    cancelWait: undefined
  }
}

/**
 * Creates it, or takes it up where another process left it.
 *
 * @category running
 * @since 0.1.0
 */
export const start = (to: Settler, task: ChildTask): Effect.Effect<void, never, unknown> | void => {
  if (task.phase !== "ready") return
  if (task.ended !== undefined) return odd(to, task, task.ended)
  if (task.cancelled || (task.recovered && isSettling(to, task))) return withdraw(to, task)
  if (task.recovered && task.quiet) return wait(to, task)
  const { core } = to
  if (!core.mayAct()) return core.leave()
  task.phase = "running"
  ask(
    to,
    task,
    (birth): Effect.Effect<Born | Asking, StoreError> =>
      birth.invalid === undefined ? core.starting.create(birth, task.recovered) : Effect.succeed(birth),
    (born) => {
      if (typeof born === "object") {
        const reason = { _tag: "Unencodable", what: `the payload of child ${Journal.refName(task.ref)}` } as const
        return to.park({ ...reason, message: born.invalid ?? "" })
      }
      switch (born) {
        case "There":
          wait(to, task)
          return isSettling(to, task) ? requestCancel(to, task) : undefined
        case "Taken":
          return park(to, task, "cannot be created: somebody else has started an execution with its id")
        case "Changed":
          return to.park({
            _tag: "Nondeterminism",
            journal: `child ${task.id} with the payload that it was created with`,
            body: `child ${Journal.refName(task.ref)} with another payload`
          })
      }
    }
  )
}

/**
 * Nobody waits for it any more, or the saga rolls back: it is cancelled, and its end is awaited.
 *
 * @category running
 * @since 0.1.0
 */
export const withdraw = (to: Settler, task: ChildTask): Effect.Effect<void, never, unknown> | void => {
  if (task.phase === "done" || task.phase === "running") return
  if (task.ended !== undefined) return odd(to, task, task.ended)
  if (task.phase === "waiting") return requestCancel(to, task)
  // Its intent was never durable, so it was never created.
  if (!task.recovered) return neverWas(to, task)
  wait(to, task)
  if (task.cancelled) cancel(to, task)
  else requestCancel(to, task)
}

/**
 * It has said something: recorded, and answered where that is a result or an error.
 *
 * @category running
 * @since 0.1.0
 */
export const hear = (
  to: Settler,
  task: ChildTask | undefined,
  mail: number,
  message: Extract<Journal.Mail, { _tag: "Child" }>
): Effect.Effect<void, never, unknown> | void => {
  const { core } = to
  const known = task === undefined || task.phase === "done" ? undefined : { ref: task.ref, end: task.ended }
  const entry = news(Core.now(core), mail, message, known)
  Core.record(core, entry)
  if (entry._tag !== "ChildEnded" || task === undefined) return
  const { end } = entry
  if (childOutcome(end, task.cancelled) === undefined) {
    task.ended = end
    task.phase = "waiting"
    stay(task)
    return odd(to, task, end)
  }
  return Effect.map(outcome(core, task, end), (exit) =>
    typeof exit === "string"
      ? to.park({ _tag: "Undecodable", what: `the outcome of child ${Journal.refName(task.ref)}`, message: exit })
      : settle(to, task, exit))
}

/**
 * What a child has said, as the journal keeps it; `known`: what the journal says of it before.
 *
 * @category constructors
 * @since 0.1.0
 */
export const news = (
  at: number,
  mail: number,
  message: Extract<Journal.Mail, { _tag: "Child" }>,
  known: { readonly ref: Journal.Ref; readonly end: Journal.End | undefined } | undefined
): Journal.EntryOf<"ChildEnded" | "ChildParked" | "ChildResumed" | "MailUndelivered"> => {
  const { end } = message
  // It was given up, or a person said how it ended.
  if (known === undefined || known.end !== undefined) return { _tag: "MailUndelivered", at, mail, message }
  if (end === undefined) return { _tag: "ChildResumed", at, ...known.ref, mail }
  return end._tag === "SagaParked"
    ? { _tag: "ChildParked", at, ...known.ref, mail, reason: end.reason }
    : { _tag: "ChildEnded", at, ...known.ref, mail, end }
}

/**
 * What the end of a child says to the body, or why it says nothing.
 *
 * @category destructors
 * @since 0.1.0
 */
export const outcome = (
  core: Core.Core,
  task: ChildTask,
  end: Journal.End
): Effect.Effect<Exit.Exit<unknown, unknown> | string> => {
  switch (childOutcome(end, task.cancelled)) {
    case "succeeded":
      return end._tag === "SagaCompleted" ? decoded(core, task, task.request.success.decode(end.value), false) : none
    case "failed":
      return end._tag === "SagaRolledBack" && end.cause._tag === "Failed"
        ? decoded(core, task, task.request.error.decodeError(end.cause.error), true)
        : none
    case "withdrawn":
    case undefined:
      return none
  }
}

/**
 * A person says that it has completed, with this value in its stored form: recorded as its result. Answers why it
 * cannot be one, instead.
 *
 * @category running
 * @since 0.1.0
 */
export const resolve = (
  to: Settler,
  task: ChildTask,
  json: Schema.Json
): Effect.Effect<string | undefined, never, unknown> => {
  const { core } = to
  return Effect.map(issueOf(core, task, json), (exit) => {
    if (typeof exit === "string") return exit
    Core.record(core, { _tag: "StepSucceeded", at: Core.now(core), ...task.ref, attempt: 1, value: json })
    settle(to, task, exit)
    return undefined
  })
}

/**
 * What a value in its stored form says as the result of a child, or why it cannot be one.
 *
 * @category destructors
 * @since 0.1.0
 */
export const issueOf = (
  core: Core.Core,
  task: ChildTask,
  json: Schema.Json
): Effect.Effect<Exit.Exit<unknown, unknown> | string> => {
  const checked = Core.check(core, json)
  return Result.isFailure(checked)
    ? Effect.succeed(checked.failure.message)
    : decoded(core, task, task.request.success.decode(json), false)
}

/**
 * It was never created, or is undone, and nobody waits for it.
 *
 * @category running
 * @since 0.1.0
 */
export const neverWas = (to: Settler, task: ChildTask): void => {
  Core.record(to.core, { _tag: "StepWithdrawn", at: Core.now(to.core), ...task.ref })
  settle(to, task, Exit.interrupt())
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const none = Effect.succeed<Exit.Exit<unknown, unknown>>(Exit.interrupt())

const decoded = (
  core: Core.Core,
  task: ChildTask,
  decode: Effect.Effect<unknown, unknown, unknown>,
  fails: boolean
): Effect.Effect<Exit.Exit<unknown, unknown> | string> =>
  Effect.map(
    Core.provide(Effect.exit(decode), Core.outerContext(core, task.asked)),
    (exit) => Exit.isFailure(exit) ? Attempt.defectMessage(exit.cause) : fails ? Exit.fail(exit.value) : exit
  )

/** Nothing new is started any more. */
const isSettling = ({ core }: Settler, task: ChildTask): boolean =>
  task.asked.withdrawn || (core.seal !== undefined && core.seal._tag !== "Park")

const stay = (task: ChildTask): void => {
  task.cancelWait?.()
  task.cancelWait = undefined
}

/** Waits for its end, also out of memory once that takes long. */
const wait = ({ core }: Settler, task: ChildTask): void => {
  stay(task)
  task.phase = "waiting"
  task.cancelWait = Core.waitForMail(core, task.since, "task")
}

/** That it is to roll back is durable before it is asked to: another process must know why it did. */
const requestCancel = (to: Settler, task: ChildTask): void => {
  const { core } = to
  if (task.cancelled) return
  task.cancelled = true
  Core.record(core, { _tag: "ChildCancelRequested", at: Core.now(core), ...task.ref })
  core.mustFlush = true
  core.onDurable.push(() => Core.emit(core, () => cancel(to, task)))
}

const cancel = (to: Settler, task: ChildTask): void => {
  const { core } = to
  if (task.phase !== "waiting" || core.draining) return
  if (!core.mayAct()) return core.leave()
  ask(
    to,
    task,
    (birth) => core.starting.cancel(birth, `its parent ${core.id} does not wait for it any more`),
    (answer) => answer === "Taken" && task.phase === "waiting" ? neverWas(to, task) : undefined
  )
}

/** As long as a lease, by default. */
const patience = Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: "30 seconds" }))

interface Asking extends Birth {
  /** Why its payload cannot be stored. */
  readonly invalid: string | undefined
}

/** Asks the process for something; a store that refuses it for good parks the parent. */
const ask = <A>(
  to: Settler,
  task: ChildTask,
  what: (birth: Asking) => Effect.Effect<A, StoreError>,
  then: (answer: A) => Effect.Effect<void, never, unknown> | void
): void => {
  const { core } = to
  Core.fork(
    core,
    core.attempts,
    Effect.result(
      Effect.flatMap(birthOf(core, task), (birth) =>
        Effect.retry(what(birth), {
          while: (error) => error.retryable && core.mayAct(),
          schedule: patience
        }))
    ),
    Core.outerContext(core, task.asked),
    (result) => {
      // Its end may have been heard first.
      if (task.phase === "done" || task.ended !== undefined) return
      if (Result.isSuccess(result)) return then(result.success)
      // The store does not answer while the lease lasts: whoever has it next goes on.
      return result.failure.retryable ? core.leave() : park(to, task, `was refused: ${result.failure.message}`)
    }
  )
}

const birthOf = (core: Core.Core, task: ChildTask): Effect.Effect<Asking, never, unknown> => {
  const { payload, saga } = task.request
  const birth = { id: task.id, parent: core.id, saga, tags: {}, payload: "null" }
  return Effect.match(
    Effect.flatMap(saga.payload.encode(payload), (json) =>
      Effect.suspend(() => {
        const tags = saga.tags(payload)
        const long = tooLong(task.id)
        const stored = Result.flatMap(storable([tags, task.id], core.limits.storable), () =>
          storable(json, core.limits.storable))
        if (long !== undefined) {
          return Effect.fail(long)
        }
        return Result.isFailure(stored)
          ? Effect.fail(stored.failure)
          : Effect.succeed({ tags, payload: stored.success })
      })),
    {
      onFailure: ({ message }): Asking => ({ ...birth, invalid: message }),
      onSuccess: (encoded): Asking => ({ ...birth, ...encoded, invalid: undefined })
    }
  )
}

/** An id is part of index rows, of which Postgres refuses those over 2,700 bytes; the name of the saga is beside it. */
const maxIdBytes = 2_000

const tooLong = (id: string): { readonly message: string } | undefined => {
  const { length } = new TextEncoder().encode(id)
  return length <= maxIdBytes
    ? undefined
    : { message: `its id, which holds the ids of all its parents, has ${length} bytes of ${maxIdBytes}` }
}

/** It ended, and that says neither a result nor an error. */
const odd = (to: Settler, task: ChildTask, end: Journal.End): Effect.Effect<void, never, unknown> | void => {
  if (end._tag !== "SagaRolledBack" || end.cause._tag === "Failed") {
    const who = end._tag === "SagaAbandoned" ? `${end.actor || "a person"}: ${end.because}` : "nobody"
    return park(to, task, `was abandoned (${who}), and what it did stands: resolve it with a value, or skip it`)
  }
  if (isSettling(to, task)) return neverWas(to, task)
  const error = new ChildRolledBack({ child: task.id, why: end.cause._tag })
  if (task.request.undone === "park") {
    return park(to, task, `was rolled back (${error.why}): resolve it with a value, skip it, or roll its parent back`)
  }
  return Effect.map(
    Core.provide(Effect.exit(task.request.error.encode(error)), Core.outerContext(to.core, task.asked)),
    (exit) => {
      if (Exit.isFailure(exit)) return park(to, task, Attempt.defectMessage(exit.cause))
      const { core } = to
      Core.record(core, { _tag: "StepFailed", at: Core.now(core), ...task.ref, attempt: 1, error: exit.value })
      settle(to, task, Exit.fail(error))
    }
  )
}

const park = (to: Settler, task: ChildTask, message: string): void =>
  to.park({ _tag: "Child", step: Journal.refName(task.ref), child: task.id, message })

const settle = (to: Settler, task: ChildTask, exit: Exit.Exit<unknown, unknown>): void => {
  stay(task)
  task.phase = "done"
  to.settled(task, exit)
}
