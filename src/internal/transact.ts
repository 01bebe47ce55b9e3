/**
 * The seam in memory: steps run at once, in the fiber that asks, and what they did is undone when the body fails.
 *
 * No journal, no engine, no codec: values are what they are. The order of undoing, retries, timeouts and doubt are
 * those of the executor; what would park there is reported here, once everything else is undone.
 *
 * Most steps have no time limit, and succeed at once: for these it makes no fiber, no generator, no key and no copy of
 * a context, so that they cost little more than an effect with a finalizer.
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
import type * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
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
    Effect.withFiber((fiber) => {
      const state = begin(fiber.context)
      return Effect.matchCauseEffect(provide(restore(body), state.inner), {
        onFailure: (cause) => close(state, () => undo(state, cause)),
        onSuccess: (value) => close(state, () => commit(state, value))
      })
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// internal: the seam
// ---------------------------------------------------------------------------------------------------------------------

/** A run of a body. */
interface State {
  /** Its id, once somebody has asked for it. */
  id: string | undefined
  readonly grace: typeof InterruptGrace["Service"]
  /** The context of the fiber that asked last, and the same without the seam. */
  inner: Context.Context<never>
  outer: Context.Context<never>
  readonly occurrences: Map<string, number>
  scopes: number
  /** How many steps have begun and not ended, and who waits for the last of them. */
  inFlight: number
  settled: (() => void) | undefined
  closed: boolean
  /** The steps that have happened and are not undone. */
  happened: Array<Task>
  readonly unresolved: Array<Unresolved<unknown>>
}

/** A step that was asked for. */
interface Task {
  readonly state: State
  readonly request: Execution.StepRequest
  readonly occurrence: number
  /** What its effects run in: all that the asking fiber has, but the seam. */
  readonly context: Context.Context<never>
  refusals: number
  /** What it gave, once it has happened. */
  value: unknown
  /** Its compensation was taken: it is not held any more. */
  undoing: boolean
}

/** What would park an execution: it goes through the body as a defect, so that nothing there catches it. */
class Stuck extends Data.TaggedError("effect-saga/Stuck")<{ readonly reason: ParkReason }> {}

/** A run whose body begins, in a context of its own, where this is the context around. */
const begin = (context: Context.Context<never>): State => {
  const state: State = {
    id: undefined,
    grace: Context.get(context, InterruptGrace),
    inner: context,
    outer: withoutSeam(context),
    occurrences: new Map(),
    scopes: 0,
    inFlight: 0,
    settled: undefined,
    closed: false,
    happened: [],
    unresolved: []
  }
  const seam: Seam = Object.create(SeamProto)
  seam.state = state
  state.inner = context.pipe(
    Context.add(Execution.Waiting, waiting),
    Context.add(Execution.Inbox, inbox),
    Context.add(Execution.Execution, seam)
  )
  return state
}

/** A run whose body has ended: nothing is asked for any more, and what is in flight ends before the run does. */
const close = (
  state: State,
  then: () => Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> => {
  state.closed = true
  if (state.inFlight === 0) return then()
  return Effect.flatMap(
    Effect.callback<void>((resume) => {
      state.settled = () => resume(Effect.void)
    }),
    then
  )
}

/** Random bytes cost more than a step: they are drawn when somebody asks. */
const idOf = (state: State): string => state.id ??= `transact/${SecureRandom.uuidV7Unsafe()}`

/** What surrounds the asking fiber, which most often is what did the last time. */
const outerOf = (state: State, inner: Context.Context<never>): Context.Context<never> => {
  if (inner === state.inner) return state.outer
  state.inner = inner
  return state.outer = withoutSeam(inner)
}

const withoutSeam = (context: Context.Context<never>): Context.Context<never> =>
  Context.getOrUndefined(context, Execution.Waiting) === undefined
    ? context
    : Context.omit(Execution.Execution, Execution.Waiting, Execution.Inbox)(context)

interface Seam extends SeamService {
  state: State
}

type SeamService = Execution.Execution["Service"]

const SeamProto: SeamService & ThisType<Seam> = {
  get id() {
    return idOf(this.state)
  },
  openScope(outer) {
    return `${outer}/${this.state.scopes++}`
  },
  executed() {
    return this.state.happened.filter(({ request: { kind } }) => kind !== "onRollback" && kind !== "onCommit")
      .map(({ request }) => request.name)
  },
  ask(request, fiber) {
    const { state } = this
    return Effect.uninterruptibleMask((restore) =>
      state.closed
        ? Effect.die(new Error("the body has ended: a fiber that outlives it can ask for nothing"))
        : answer(state, request, fiber, restore)
    )
  }
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** It is not cut by an interruption: a step does not begin, or it is held; a roll-back does not, or it ends. */
const answer = (
  state: State,
  request: Execution.Request,
  fiber: Fiber.Fiber<unknown, unknown>,
  restore: Restore
): Effect.Effect<unknown, unknown> => {
  switch (request._tag) {
    case "Step":
      return runStep(state, request, outerOf(state, fiber.context), restore)
    case "Timer":
      return restore(sleep(request.until))
    case "Child":
      return Effect.die(new Error(`${request.name} is a child: Saga.transact has no journal, and so no children`))
    case "Race": {
      const lost = (one: Task) => request.losers.some((scope) => isWithin(scopeOf(one), scope))
      return Effect.flatMap(request.settled, () => rollbackWhere(state, lost, Cause.empty))
    }
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
      return rollbackWhere(state, (one) => isWithin(scopeOf(one), request.scope), request.cause)
    case "RollbackSteps":
      return rollbackWhere(state, (one) => request.names.includes(one.request.name), Cause.empty)
  }
}

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

// ---------------------------------------------------------------------------------------------------------------------
// internal: steps
// ---------------------------------------------------------------------------------------------------------------------

/** The attempts at a step until one decides; `restore` is for what an interruption may cut, its back-off. */
const runStep = (
  state: State,
  request: Execution.StepRequest,
  context: Context.Context<never>,
  restore: Restore
): Effect.Effect<unknown, unknown> => {
  const occurrence = state.occurrences.get(request.name) ?? 0
  state.occurrences.set(request.name, occurrence + 1)
  state.inFlight++
  const task: Task = { state, request, occurrence, context, refusals: 0, value: undefined, undoing: false }
  const first = running(task, 1, 0, undefined)
  if (isLimited(request)) return decide(first, once(first, request.execute, request), restore)
  return Effect.flatMap(Effect.exit(knowing(first, Effect.scoped(request.execute as Scoped))), (exit) => {
    if (Exit.isFailure(exit)) return decide(first, Attempt.run(exit, undefined, state.grace), restore)
    happened(task, exit.value)
    ended(state)
    return exit
  })
}

const happened = (task: Task, value: unknown): unknown => {
  task.value = value
  task.state.happened.push(task)
  return value
}

const ended = (state: State): void => {
  state.inFlight--
  if (state.inFlight === 0) state.settled?.()
}

/** What an effect asks for was checked where the body was written. */
type Scoped = Effect.Effect<unknown, unknown, Scope.Scope>

/** What is not the short way: limits, a failure, more attempts. */
const decide = (
  first: Running,
  outcome: Effect.Effect<Attempt.Outcome<unknown, unknown>>,
  restore: Restore
): Effect.Effect<unknown, unknown> =>
  Effect.ensuring(attempts(first, outcome, restore), Effect.sync(() => ended(first.task.state)))

/** The first attempt, which ends like this, and more of them until one decides. */
const attempts = Effect.fnUntraced(function*(
  first: Running,
  firstOutcome: Effect.Effect<Attempt.Outcome<unknown, unknown>>,
  restore: Restore
) {
  const { task } = first
  const { request } = task
  const next = yield* stepper(
    request.retry ?? (request.kind === "retryable" ? Attempt.endless : undefined),
    task.context
  )
  let attempt = first
  let outcome = yield* firstOutcome
  while (outcome._tag !== "Succeeded") {
    if (outcome._tag === "StillRunning") return yield* stuck(attempt)
    const error: unknown = outcome._tag === "Failed" ? outcome.error : new TimedOut({ step: request.name })
    let certain = outcome._tag === "Failed" || request.kind === "readonly"
    if (!certain && request.check !== undefined) {
      const found = yield* ask(attempt, request.check, next, restore)
      if (found._tag === "Happened") return happened(task, found.value)
      certain = true
    }
    if (outcome._tag === "Died") return yield* Effect.failCause(outcome.cause)
    if (certain) task.refusals++
    const delay = yield* next(error)
    if (delay === undefined) {
      return yield* certain || request.unknown === "refused" ? Effect.fail(error) : stuck(attempt)
    }
    yield* restore(Effect.sleep(delay))
    attempt = running(task, attempt.attempt + 1, task.refusals, attempt.kept)
    outcome = yield* once(attempt, request.execute, request)
  }
  return happened(task, outcome.value)
})

/** Whether it happened; a participant that is still at it is asked again by the schedule. */
const ask = Effect.fnUntraced(function*(
  attempt: Running,
  check: Execution.CheckRequest,
  next: (error: unknown) => Effect.Effect<number | undefined>,
  restore: Restore
) {
  while (true) {
    const outcome = yield* once(asking(attempt), Effect.suspend(() => check(attempt.key)), {})
    if (outcome._tag !== "Succeeded") return yield* stuck(attempt)
    const found = outcome.value
    if (found._tag === "Some") return { _tag: "Happened", value: found.value } as const
    if (found._tag === "None") return { _tag: "Never" } as const
    if (found._tag !== "StillGoing") return found
    const delay = yield* next(new TimedOut({ step: attempt.step }))
    if (delay === undefined) return yield* stuck(attempt)
    yield* restore(Effect.sleep(delay))
  }
})

const stuck = ({ attempt, step, task: { state } }: Running): Effect.Effect<never> => {
  const message = "it timed out, and nobody knows whether it happened"
  state.unresolved.push({ step, attempts: attempt, error: undefined, defect: message })
  return Effect.die(new Stuck({ reason: { _tag: "Unknown", step, message } }))
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: attempts
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What an attempt knows of itself. Its keys are made when somebody asks for them: they hang on the id of the run, and
 * that one costs more than a step.
 */
interface Running extends StepContextService {
  readonly task: Task
  /** How often the step had been refused before; undefined in a compensation. */
  readonly refusals: number | undefined
  readonly heart: Kept
  kept: Kept | undefined
}

type StepContextService = StepContext["Service"]

/** What the attempts of one step said last, and when by the monotonic clock, in milliseconds. */
interface Kept extends Execution.Heart {
  before: Schema.Json | undefined
  details: Schema.Json | undefined
  at: number
}

/** The next attempt after one that has kept this. */
const running = (task: Task, attempt: number, refusals: number | undefined, kept: Kept | undefined): Running => {
  if (kept !== undefined) kept.before = kept.details
  const self = Object.create(RunningProto)
  self.task = task
  self.attempt = attempt
  self.refusals = refusals
  self.kept = kept
  return self
}

/** What asks whether an attempt has happened reads what that one said last; what it says itself is not kept. */
const asking = ({ attempt, kept, refusals, task }: Running): Running =>
  running(task, attempt, refusals, kept && { ...kept })

const RunningProto: Omit<StepContextService, "attempt"> & { readonly heart: Kept } & ThisType<Running> = {
  epoch: 0,
  get execution() {
    return idOf(this.task.state)
  },
  get step() {
    return this.task.request.name
  },
  get key() {
    return `${keyOf(this.task)}/${this.refusals ?? "compensation"}`
  },
  get stepKey() {
    return `${keyOf(this.task)}/${this.refusals ?? this.task.refusals}`
  },
  get heart() {
    return this.kept ??= { beat, before: undefined, details: undefined, at: 0 }
  }
}

const keyOf = ({ occurrence, request, state }: Task): string =>
  `${idOf(state)}/0/${ExecutionId.escape(request.name)}/${occurrence}`

/** Nobody cancels a body in memory: who interrupts it waits for the step. */
function beat(this: Kept, details: Schema.Json | undefined): Effect.Effect<Execution.Heartbeat> {
  return Effect.clockWith((clock) => {
    this.at = Attempt.monotonic(clock)
    if (details !== undefined) this.details = details
    return Effect.succeed({ cancelRequested: false })
  })
}

interface Limits extends Partial<Pick<Execution.StepRequest, "timeout" | "heartbeatTimeout">> {}

const isLimited = ({ heartbeatTimeout, timeout }: Limits): boolean =>
  timeout !== undefined || heartbeatTimeout !== undefined

/** An effect of a step in the context of this attempt. */
const knowing = <A, E>(
  attempt: Running,
  effect: Effect.Effect<A, E>,
  context = attempt.task.context
): Effect.Effect<A, E> => provide(effect, Context.add(context, StepContext, attempt))

/** Runs it once, within its limits. */
const once = <A>(
  attempt: Running,
  effect: Effect.Effect<A, unknown, unknown>,
  limits: Limits,
  context?: Context.Context<never>
): Effect.Effect<Attempt.Outcome<A, unknown>> => {
  const { heartbeatTimeout, timeout } = limits
  const { grace } = attempt.task.state
  const scoped = Effect.scoped(effect as Effect.Effect<A, unknown, Scope.Scope>)
  const silence = heartbeatTimeout === undefined
    ? undefined
    : Effect.clockWith((clock) => {
      attempt.heart.at = Attempt.monotonic(clock)
      return Attempt.silence(clock, attempt.heart, heartbeatTimeout)
    })
  const limited = isLimited(limits) ? Effect.interruptible(scoped) : scoped
  return knowing(attempt, Attempt.run(limited, timeout, grace, silence), context)
}

/** The next delay that a schedule wants, in milliseconds. */
const stepper = (
  schedule: Execution.StepRequest["retry"],
  context: Context.Context<never>
): Effect.Effect<(error: unknown) => Effect.Effect<number | undefined>> => {
  if (schedule === undefined) return Effect.succeed(() => Effect.succeed(undefined))
  return Effect.map(
    provide(Attempt.stepper(schedule), context),
    (step) => (error) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) =>
          Effect.map(Effect.orDie(provide(step(now, error), context)), (time) => time === undefined ? time : time - now)
      )
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: roll-back
// ---------------------------------------------------------------------------------------------------------------------

/** What is held and meant; nobody else gets it. */
const take = (state: State, isMeant: (one: Task) => boolean): ReadonlyArray<Task> => {
  const taken = state.happened.filter((one) => one.request.compensation !== undefined && !one.undoing && isMeant(one))
  for (const one of taken) one.undoing = true
  return taken
}

const scopeOf = ({ context }: Task): string => Context.get(context, Execution.CurrentScope)

/** Undoes a part of what is held, and answers the names, the last one first. */
const rollbackWhere = (
  state: State,
  isMeant: (one: Task) => boolean,
  cause: Cause.Cause<unknown>
): Effect.Effect<ReadonlyArray<string>> => {
  const range = take(state, isMeant)
  const before = state.unresolved.length
  return Effect.flatMap(compensateAll(range, cause), () => {
    state.happened = state.happened.filter((one) => !range.includes(one))
    return state.unresolved.length > before
      ? Effect.die(new Stuck({ reason: { _tag: "CompensationFailed" } }))
      : Effect.succeed(range.map((_) => _.request.name).reverse())
  })
}

/** The last first, on a scope's finalizers. */
const compensateAll = Effect.fnUntraced(function*(held: ReadonlyArray<Task>, cause: Cause.Cause<unknown>) {
  const scope = Scope.makeUnsafe("sequential")
  let halted = false
  for (const one of held) {
    const undoing = Effect.suspend(() =>
      halted ?
        Effect.sync(() => leave(one, 0, undefined, "an earlier one halted the roll-back")) :
        Effect.map(compensate(one, one.request.compensation!, cause), (done) => {
          if (!done && one.request.compensation!.onFailure === "halt") halted = true
        })
    )
    yield* Scope.addFinalizer(scope, undoing)
  }
  yield* Scope.close(scope, Exit.failCause(cause))
})

const compensate = Effect.fnUntraced(
  function*(task: Task, compensation: Execution.Compensation, cause: Cause.Cause<unknown>) {
    const context = task.context.pipe(Context.add(Execution.Waiting, waiting), Context.add(Execution.Inbox, inbox))
    const next = yield* stepper(compensation.retry, context)
    const effect = Effect.suspend(() => compensation.run(task.value, cause))
    let kept: Kept | undefined
    for (let number = 1;; number++) {
      const attempt = running(task, number, undefined, kept)
      const outcome = yield* once(attempt, effect, compensation, context)
      if (outcome._tag === "Succeeded") return true
      if (compensation.check !== undefined && (outcome._tag === "Died" || outcome._tag === "TimedOut")) {
        const check = Effect.suspend(() => compensation.check!(attempt.key))
        const found = yield* once(asking(attempt), check, {}, context)
        if (found._tag === "Succeeded" && (found.value._tag === "Some" || found.value._tag === "Happened")) return true
      }
      if (outcome._tag === "Died") return leave(task, number, undefined, Attempt.defectMessage(outcome.cause))
      const error = outcome._tag === "Failed" ? outcome.error : new TimedOut({ step: task.request.name })
      const delay = outcome._tag === "StillRunning" ? undefined : yield* next(error)
      if (delay === undefined) return leave(task, number, error, undefined)
      yield* Effect.sleep(delay)
      kept = attempt.kept
    }
  }
)

const leave = ({ request, state }: Task, attempts: number, error: unknown, defect: string | undefined): false => {
  state.unresolved.push({ step: request.name, attempts, error, defect })
  return false
}

const undo = Effect.fnUntraced(function*(state: State, cause: Cause.Cause<unknown>) {
  yield* compensateAll(take(state, () => true), cause)
  const defect = Cause.squash(cause)
  const error = Cause.findErrorOption(cause)
  if (!(defect instanceof Stuck) && state.unresolved.length === 0) return yield* Effect.failCause(cause)
  const parked = new SagaError({
    reason: new Parked({
      execution: idOf(state),
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

/** What waits for the end runs as steps of their own. */
const commit = (state: State, value: unknown): Effect.Effect<unknown, unknown> => {
  const commits = state.happened.filter(({ request }) => request.commit !== undefined)
  return commits.length === 0
    ? Effect.succeed(value)
    : Effect.as(
      Effect.forEach(commits, ({ context, request }) => runStep(state, request.commit!, context, identity), {
        discard: true
      }),
      value
    )
}

/** In this context, and nothing of another. What an effect asks for was checked where the body was written. */
const provide = <A, E>(effect: Effect.Effect<A, E, unknown>, context: Context.Context<never>): Effect.Effect<A, E> =>
  Effect.updateContext(effect, () => context as Context.Context<unknown>)
