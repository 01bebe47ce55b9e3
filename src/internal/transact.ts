/**
 * The seam in memory: steps run at once, in the fiber that asks, and what they did is undone when the body fails.
 *
 * No journal, no engine, no codec: values are what they are. The order of undoing, retries, timeouts and doubt are
 * those of the executor; what would park there is reported here, once everything else is undone.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Execution from "../Execution.ts"
import * as ExecutionId from "../ExecutionId.ts"
import { Parked, type ParkReason, SagaError, type Unresolved } from "../SagaError.ts"
import { StepContext, TimedOut } from "../Step.ts"
import * as Attempt from "./attempt.ts"
import { InterruptGrace } from "./limits.ts"
import { isWithin } from "./ref.ts"

/**
 * Runs a body without a journal. See `Saga.transact`.
 *
 * @category running
 * @since 0.1.0
 */
export const transact = (body: Effect.Effect<unknown, unknown, unknown>): Effect.Effect<unknown, unknown, unknown> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(InterruptGrace, (grace) => {
      const state: State = {
        id: `transact/${SecureRandom.uuidV7Unsafe()}`,
        grace,
        occurrences: new Map(),
        scopes: 0,
        held: [],
        executed: [],
        commits: [],
        unresolved: []
      }
      return Effect.flatMap(
        Effect.exit(
          restore(body).pipe(
            Effect.provideService(Execution.Execution, seam(state)),
            Effect.provideService(Execution.Waiting, waiting),
            Effect.provideService(Execution.Inbox, inbox)
          )
        ),
        (exit) => Exit.isSuccess(exit) ? commit(state, exit.value) : undo(state, exit.cause)
      )
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Held {
  readonly request: Execution.StepRequest
  readonly compensation: Execution.Compensation
  /** The key of its step, and that of the attempt that happened. */
  readonly step: string
  readonly stepKey: string
  readonly scope: string
  readonly value: unknown
  readonly context: Context.Context<never>
}

interface State {
  readonly id: string
  readonly grace: typeof InterruptGrace["Service"]
  readonly occurrences: Map<string, number>
  scopes: number
  held: Array<Held>
  /** The steps that have happened and are not undone. */
  executed: Array<{ readonly name: string; readonly key: string }>
  readonly commits: Array<{ readonly request: Execution.StepRequest; readonly context: Context.Context<never> }>
  readonly unresolved: Array<Unresolved<unknown>>
}

/** What would park an execution: it goes through the body as a defect, so that nothing there catches it. */
class Stuck extends Data.TaggedError("effect-saga/Stuck")<{ readonly reason: ParkReason }> {}

const seam = (state: State): Execution.Execution["Service"] => ({
  id: state.id,
  openScope: (outer) => `${outer}/${state.scopes++}`,
  executed: () => state.executed.map((_) => _.name),
  ask: (request, fiber) => {
    switch (request._tag) {
      case "Step":
        return runStep(state, request, fiber.context, fiber.getRef(Execution.CurrentScope))
      case "Timer":
        return sleep(request.until)
      case "Child":
        return Effect.die(new Error(`${request.name} is a child: Saga.transact has no journal, and so no children`))
      case "Race":
        return Effect.andThen(
          request.settled,
          rollbackWhere(state, (one) => request.losers.some((scope) => isWithin(one.scope, scope)), Cause.empty)
        )
      case "Receive":
        return inbox.receive(request, fiber)
      case "PointOfNoReturn":
      case "Publish":
        return Effect.void
      case "Continue":
        return Effect.die(new Error("Saga.transact has no journal, so there is nothing to continue as new"))
      case "Version":
        return Effect.succeed(request.max)
      case "RollbackScope":
        return rollbackWhere(
          state,
          (one) => isWithin(one.scope, request.scope),
          request.cause
        )
      case "RollbackSteps":
        return rollbackWhere(state, (one) => request.names.includes(one.request.name), Cause.empty)
    }
  }
})

const sleep = (until: { readonly time: number } | { readonly millis: number }): Effect.Effect<void> =>
  "millis" in until
    ? Effect.sleep(until.millis)
    : Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(Math.max(0, until.time - now)))

/** The types refuse it: nobody can send anything here. */
const inbox: Execution.Inbox["Service"] = {
  receive: ({ name }) =>
    Effect.die(new Error(`${name} would be waited for for ever: Saga.transact has no journal, and so no inbox`))
}

const waiting: Execution.Waiting["Service"] = { sleep: (_, until) => sleep(until) }

/** A step is not cut by an interruption; its back-off is. */
const runStep = (
  state: State,
  request: Execution.StepRequest,
  context: Context.Context<never>,
  scope: string
): Effect.Effect<unknown, unknown> => {
  const occurrence = state.occurrences.get(request.name) ?? 0
  state.occurrences.set(request.name, occurrence + 1)
  const key = `${state.id}/0/${ExecutionId.escape(request.name)}/${occurrence}`
  const outer = Context.omit(Execution.Execution, Execution.Waiting, Execution.Inbox)(context)
  const used = { key: `${key}/0` }
  return Effect.uninterruptibleMask((restore) =>
    Effect.tap(attempts(state, request, outer, key, used, restore), (value) =>
      Effect.sync(() => {
        const { commit, compensation } = request
        if (request.kind !== "onRollback" && request.kind !== "onCommit") {
          state.executed.push({ name: request.name, key })
        }
        if (commit !== undefined) state.commits.push({ request: commit, context: outer })
        if (compensation !== undefined) {
          const undoing = outer.pipe(Context.add(Execution.Waiting, waiting), Context.add(Execution.Inbox, inbox))
          state.held.push({ request, compensation, step: key, stepKey: used.key, scope, value, context: undoing })
        }
      }))
  )
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** The attempts at a step until one decides. */
const attempts = Effect.fnUntraced(function*(
  state: State,
  request: Execution.StepRequest,
  outer: Context.Context<never>,
  base: string,
  used: { key: string },
  restore: Restore
) {
  let attempt = 1
  let refusals = 0
  const kept = keep()
  const next = yield* stepper(request.retry ?? (request.kind === "retryable" ? Attempt.endless : undefined), outer)
  while (true) {
    const key = `${base}/${refusals}`
    used.key = key
    const outcome = yield* once(state, request.execute, request, outer, request.name, key, attempt++, kept)
    if (outcome._tag === "Succeeded") return outcome.value
    if (outcome._tag === "StillRunning") return yield* stuck(state, request.name, attempt - 1)
    const error: unknown = outcome._tag === "Failed" ? outcome.error : new TimedOut({ step: request.name })
    let certain = outcome._tag === "Failed" || request.kind === "readonly"
    if (!certain && request.check !== undefined) {
      const found = yield* ask(state, request, outer, key, next, restore)
      if (found._tag === "Happened") return found.value
      certain = true
    }
    if (outcome._tag === "Died") return yield* Effect.failCause(outcome.cause)
    if (certain) refusals++
    const delay = yield* next(error)
    if (delay !== undefined) {
      yield* restore(Effect.sleep(delay))
      continue
    }
    if (!certain && request.unknown !== "refused") return yield* stuck(state, request.name, attempt - 1)
    return yield* Effect.fail(error)
  }
})

/** Whether it happened; a participant that is still at it is asked again by the schedule. */
const ask = Effect.fnUntraced(function*(
  state: State,
  request: Execution.StepRequest,
  outer: Context.Context<never>,
  key: string,
  next: (error: unknown) => Effect.Effect<number | undefined>,
  restore: Restore
) {
  while (true) {
    const check = Effect.suspend(() => request.check!(key))
    const outcome = yield* once(state, check, {}, outer, request.name, key, 1, keep())
    if (outcome._tag !== "Succeeded") return yield* stuck(state, request.name, 1)
    const found = outcome.value
    if (found._tag === "Some") return { _tag: "Happened", value: found.value } as const
    if (found._tag === "None") return { _tag: "Never" } as const
    if (found._tag !== "StillGoing") return found
    const delay = yield* next(new TimedOut({ step: request.name }))
    if (delay === undefined) return yield* stuck(state, request.name, 1)
    yield* restore(Effect.sleep(delay))
  }
})

const stuck = (state: State, step: string, attempts: number): Effect.Effect<never> => {
  const message = "it timed out, and nobody knows whether it happened"
  state.unresolved.push({ step, attempts, error: undefined, defect: message })
  return Effect.die(new Stuck({ reason: { _tag: "Unknown", step, message } }))
}

const once = <A>(
  state: State,
  effect: Effect.Effect<A, unknown, unknown>,
  { heartbeatTimeout, timeout }: Partial<Pick<Execution.StepRequest, "timeout" | "heartbeatTimeout">>,
  outer: Context.Context<never>,
  step: string,
  key: string,
  attempt: number,
  heart: Kept,
  stepKey = key
): Effect.Effect<Attempt.Outcome<A, unknown>> => {
  heart.before = heart.details
  const known = { execution: state.id, step, key, stepKey, attempt, epoch: 0, heart }
  const scoped = Effect.scoped(effect as Effect.Effect<A, unknown, Scope.Scope>)
  const limited = timeout !== undefined || heartbeatTimeout !== undefined
  const silence = heartbeatTimeout === undefined
    ? undefined
    : Effect.clockWith((clock) => {
      heart.at = Attempt.monotonic(clock)
      return Attempt.silence(clock, heart, heartbeatTimeout)
    })
  return provide(
    Attempt.run(limited ? Effect.interruptible(scoped) : scoped, timeout, state.grace, silence),
    Context.add(outer, StepContext, known) as Context.Context<never>
  )
}

/** What the attempts of one step said last, and when by the monotonic clock, in milliseconds. */
interface Kept extends Execution.Heart {
  before: Schema.Json | undefined
  details: Schema.Json | undefined
  at: number
}

const keep = (): Kept => ({ beat, before: undefined, details: undefined, at: 0 })

/** Nobody cancels a body in memory: who interrupts it waits for the step. */
function beat(this: Kept, details: Schema.Json | undefined): Effect.Effect<Execution.Heartbeat> {
  return Effect.clockWith((clock) => {
    this.at = Attempt.monotonic(clock)
    if (details !== undefined) this.details = details
    return Effect.succeed({ cancelRequested: false })
  })
}

/** The next delay that a schedule wants, in milliseconds. */
const stepper = (
  schedule: Execution.StepRequest["retry"],
  outer: Context.Context<never>
): Effect.Effect<(error: unknown) => Effect.Effect<number | undefined>> => {
  if (schedule === undefined) return Effect.succeed(() => Effect.succeed(undefined))
  return Effect.map(
    provide(Attempt.stepper(schedule), outer),
    (step) => (error) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) =>
          Effect.map(Effect.orDie(provide(step(now, error), outer)), (time) => time === undefined ? time : time - now)
      )
  )
}

/** Undoes a part of what is held, and answers the names, the last one first. */
const rollbackWhere = (
  state: State,
  inside: (one: Held) => boolean,
  cause: Cause.Cause<unknown>
): Effect.Effect<ReadonlyArray<string>> => {
  const range = state.held.filter(inside)
  state.held = state.held.filter((_) => !range.includes(_))
  const before = state.unresolved.length
  return Effect.andThen(
    compensateAll(state, range, cause),
    Effect.suspend(() => {
      state.executed = state.executed.filter(({ key }) => !range.some((_) => _.step === key))
      return state.unresolved.length > before
        ? Effect.die(new Stuck({ reason: { _tag: "CompensationFailed" } }))
        : Effect.succeed(range.map((_) => _.request.name).reverse())
    })
  )
}

/** The last first, on a scope's finalizers. */
const compensateAll = Effect.fnUntraced(function*(
  state: State,
  held: ReadonlyArray<Held>,
  cause: Cause.Cause<unknown>
) {
  const scope = Scope.makeUnsafe("sequential")
  let halted = false
  for (const one of held) {
    const undoing = Effect.suspend(() =>
      halted ?
        Effect.sync(() => leave(state, one, 0, undefined, "an earlier one halted the roll-back")) :
        Effect.map(compensate(state, one, cause), (done) => {
          if (!done && one.compensation.onFailure === "halt") halted = true
        })
    )
    yield* Scope.addFinalizer(scope, undoing)
  }
  yield* Scope.close(scope, Exit.failCause(cause))
})

const compensate = Effect.fnUntraced(function*(state: State, one: Held, cause: Cause.Cause<unknown>) {
  const { compensation, request } = one
  const kept = keep()
  const next = yield* stepper(compensation.retry, one.context)
  for (let attempt = 1;; attempt++) {
    const effect = Effect.suspend(() => compensation.run(one.value, cause))
    const key = `${one.step}/compensation`
    const call = <A>(effect: Effect.Effect<A, unknown, unknown>, limits: Partial<typeof compensation>) =>
      once(state, effect, limits, one.context, request.name, key, attempt, kept, one.stepKey)
    const outcome = yield* call(effect, compensation)
    if (outcome._tag === "Succeeded") return true
    if (compensation.check !== undefined && (outcome._tag === "Died" || outcome._tag === "TimedOut")) {
      const found = yield* call(compensation.check(key), {})
      if (found._tag === "Succeeded" && (found.value._tag === "Some" || found.value._tag === "Happened")) return true
    }
    if (outcome._tag === "Died") return leave(state, one, attempt, undefined, Attempt.defectMessage(outcome.cause))
    const error = outcome._tag === "Failed" ? outcome.error : new TimedOut({ step: request.name })
    const delay = outcome._tag === "StillRunning" ? undefined : yield* next(error)
    if (delay === undefined) return leave(state, one, attempt, error, undefined)
    yield* Effect.sleep(delay)
  }
})

const leave = (state: State, one: Held, attempts: number, error: unknown, defect: string | undefined): false => {
  state.unresolved.push({ step: one.request.name, attempts, error, defect })
  return false
}

const undo = Effect.fnUntraced(function*(state: State, cause: Cause.Cause<unknown>) {
  yield* compensateAll(state, state.held, cause)
  const defect = Cause.squash(cause)
  const error = Cause.findErrorOption(cause)
  if (!(defect instanceof Stuck) && state.unresolved.length === 0) return yield* Effect.failCause(cause)
  const parked = new SagaError({
    reason: new Parked({
      execution: state.id,
      why: defect instanceof Stuck ? defect.reason : { _tag: "CompensationFailed" },
      unresolved: state.unresolved,
      original: Option.isSome(error) ? { _tag: "Failed", error: error.value } : undefined
    })
  })
  if (defect instanceof Stuck || (Option.isSome(error) && !Cause.hasDies(cause))) return yield* Effect.fail(parked)
  // A defect goes on as a defect, and an interrupted fiber does not see its own error: neither hides what is left.
  yield* Effect.logError(parked)
  return yield* Effect.failCause(cause)
})

const commit = Effect.fnUntraced(function*(state: State, value: unknown) {
  for (const { context, request } of state.commits) {
    yield* runStep(state, request, context, "")
  }
  return value
})

/** What an effect asks for was checked where the body was written. */
const provide = <A, E>(effect: Effect.Effect<A, E, unknown>, context: Context.Context<never>): Effect.Effect<A, E> =>
  Effect.provideContext(effect, context as Context.Context<unknown>)
