/**
 * What the parts of the executor share: one live execution, its buffer of entries, its events and its fibers.
 *
 * The core decides nothing about steps or roll-back; `forward` and `rollback` do, and `executor` drives them. All state
 * here is touched only between two awaits of the driving fiber, or in a synchronous callback that queues an event.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Execution from "../Execution.ts"
import * as ExecutionId from "../ExecutionId.ts"
import * as Journal from "../Journal.ts"
import type { ParkReason } from "../SagaError.ts"
import * as Step from "../Step.ts"
import * as Attempt from "./attempt.ts"
import { type Blank, extend, once, type Put } from "./blank.ts"
import type { Asked } from "./body.ts"
import type { Eager } from "./eager.ts"
import type { Handler } from "./engine.ts"
import type { Heart } from "./heartbeat.ts"
import * as Notation from "./notation.ts"
import type { Starting } from "./starting.ts"
import { type Limits as StorableLimits, storable, type Unstorable } from "./storable.ts"

/**
 * The limits that apply inside an execution, read once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  readonly storable: StorableLimits
  readonly grace: number
  readonly maxClaims: number
  /** How long it may wait in memory for nothing but time, in milliseconds. */
  readonly suspendAfter: number
  /** How long the newest heartbeat of an attempt waits until it is recorded: at least, and at most. */
  readonly heartbeatPause: number
  readonly maxHeartbeatPause: number
}

/**
 * Why the seam is closed: nothing new is answered, what is in flight is settled.
 *
 * @category models
 * @since 0.1.0
 */
export type Seal =
  | { readonly _tag: "Park"; readonly reason: ParkReason }
  | { readonly _tag: "Undo"; readonly cause: Journal.RollbackCause }
  | { readonly _tag: "Rollback" }

/**
 * An event: what the driving fiber does next, alone.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = () => Eager

/**
 * Who waits for nothing but time: a step or a timer, a compensation between two attempts, or within one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sleeper {
  /** Infinite for who waits for a message. */
  readonly time: number
  readonly who: "task" | "compensation" | "attempt"
  /** It keeps the execution in memory all the same, for now. */
  stays?: boolean
}

/**
 * A signal in the inbox that nobody has received.
 *
 * @category models
 * @since 0.1.0
 */
export interface Letter {
  readonly mail: number
  readonly signal: string
  readonly payload: Schema.Json
}

/**
 * Who waits for a signal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receiver {
  readonly kinds: Execution.ReceiveRequest["kinds"]
  /** What it decodes with. */
  readonly context: Context.Context<never>
  /** Whether it may be given something now. */
  readonly listens: () => boolean
  readonly take: (letter: Letter, received: Execution.Received) => void
  /** This letter is not what its kind says. It stays where it is. */
  readonly undecodable: (what: string, message: string) => void
}

/**
 * One live execution.
 *
 * @category models
 * @since 0.1.0
 */
export interface Core {
  readonly id: string
  readonly handler: Handler
  /** What the handler was registered with; the engine's clock and random numbers among it. */
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly intercept: typeof Execution.Interceptor["Service"]
  readonly limits: Limits
  readonly starting: Starting
  /** What the body's root fiber runs with. */
  bodyContext: Context.Context<never> | undefined
  /** How often the execution has continued as new: part of every key that it makes. */
  generation: number
  /** The `seq` of the claim under which this process acts. */
  epoch: number
  /** The time of the last entry. */
  at: number
  /** Recorded, not yet sent; as text too, since whoever gave its values may change them. */
  readonly pending: Array<Notation.Line>
  /** Called once what is pending now is durable. */
  readonly onDurable: Array<() => void>
  /** The row changes with the next append. */
  rowChanged: boolean
  /** Something waits for what is pending to be durable. */
  mustFlush: boolean
  seal: Seal | undefined
  /** A roll-back that waits for the pivot in flight: if that happened, it came too late. */
  undoPending: Journal.RollbackCause | undefined
  /** The process shuts down: nothing new is started. */
  draining: boolean
  pivotPassed: boolean
  readonly events: Array<Event>
  wake: () => void
  /** Whether the lease still holds; if not, the execution is on its way out of this process. Asked before every act. */
  readonly mayAct: () => boolean
  /** Takes the execution out of this process, since it may not act: whoever owns it next goes on. */
  leave: () => void
  /** It is on its way out of this process. */
  left: boolean
  /** A bug in the library or in a codec; parks the execution. */
  onDefect: (cause: Cause.Cause<unknown>) => void
  /** Attempts in flight. */
  readonly attempts: Set<Fiber.Fiber<unknown, unknown>>
  /** Attempts that do not end although they were interrupted: nothing runs beside them, also not after a park. */
  lingering: Set<Fiber.Fiber<unknown, unknown>> | undefined
  /** Everything else that waits: timers, back-offs, roll-backs. */
  readonly waits: Set<Fiber.Fiber<unknown, unknown>>
  sleepers: Set<Sleeper> | undefined
  /** What was sent and nobody has received, in the order in which it was sent. */
  readonly mailbox: Array<Letter>
  /** Who waits for signals, in the order in which they asked. */
  receivers: Set<Receiver> | undefined
  /** Compensations that have begun and not ended. */
  compensating: number
  /** Attempts with a heartbeat that is not recorded. */
  beating: Set<Heart> | undefined
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Pick<Core, "id" | "handler" | "context" | "limits" | "mayAct" | "starting">
): Core => ({
  ...blank,
  id: options.id,
  handler: options.handler,
  context: options.context,
  limits: options.limits,
  mayAct: options.mayAct,
  starting: options.starting,
  clock: Context.get(options.context, Clock.Clock),
  intercept: Context.get(options.context, Execution.Interceptor),
  bodyContext: undefined,
  generation: 0,
  epoch: 0,
  at: 0,
  pending: [],
  onDurable: [],
  rowChanged: false,
  mustFlush: false,
  seal: undefined,
  undoPending: undefined,
  draining: false,
  pivotPassed: false,
  events: [],
  wake: () => {},
  leave: () => {},
  left: false,
  onDefect: () => {},
  attempts: new Set(),
  // Those that few executions need are made by the first who does.
  lingering: undefined,
  waits: new Set(),
  sleepers: undefined,
  mailbox: [],
  receivers: undefined,
  compensating: 0,
  beating: undefined
})

/**
 * The time of the next entry: now, and never before the last one.
 *
 * @category accessors
 * @since 0.1.0
 */
export const now = (core: Core): number => core.at = Math.max(core.at, core.clock.currentTimeMillisUnsafe())

/**
 * Adds an entry to what goes out with the next append. `value` is the text of its `value`, where that is known.
 *
 * @category recording
 * @since 0.1.0
 */
export const record = (core: Core, entry: Journal.Entry, value?: string): void => {
  core.at = Math.max(core.at, entry.at)
  core.pending.push(Notation.write(entry, value))
}

/**
 * Records another entry instead of those of what is pending that it is said for.
 *
 * @category recording
 * @since 0.1.0
 */
export const replace = (core: Core, instead: (entry: Journal.Entry) => Journal.Entry): void => {
  for (const [index, { entry }] of core.pending.entries()) {
    const other = instead(entry)
    if (other !== entry) core.pending[index] = Notation.write(other)
  }
}

/**
 * Calls back once everything that is recorded is durable. For the driving fiber, which calls back too.
 *
 * @category recording
 * @since 0.1.0
 */
export const onceDurable = (core: Core, then: () => void): void => {
  if (core.pending.length === 0) return then()
  core.mustFlush = true
  core.onDurable.push(then)
}

/**
 * Queues an event for the driving fiber.
 *
 * @category events
 * @since 0.1.0
 */
export const emit = (core: Core, event: Event): void => {
  core.events.push(event)
  core.wake()
}

/**
 * Runs an effect beside the driving fiber; its result comes back as an event. A defect in it is a defect of the
 * library. One that interrupts itself gives `interrupted`, where there is one.
 *
 * @category running
 * @since 0.1.0
 */
export const fork = <A>(
  core: Core,
  fibers: Set<Fiber.Fiber<unknown, unknown>>,
  effect: Effect.Effect<A, never, unknown>,
  context: Context.Context<never>,
  onResult: (result: A) => Eager,
  interrupted?: A
): Fiber.Fiber<unknown, unknown> =>
  beside(fibers, effect, context, (exit) => {
    if (Exit.isSuccess(exit)) return emit(core, () => onResult(exit.value))
    if (!Cause.hasInterruptsOnly(exit.cause)) return emit(core, () => core.onDefect(exit.cause))
    if (interrupted !== undefined) return emit(core, () => onResult(interrupted))
    core.wake()
  })

/**
 * Runs one attempt at something beside the driving fiber, in a scope of its own; how it ended comes back as an event.
 *
 * @category running
 * @since 0.1.0
 */
export const attempt = <A, E>(
  core: Core,
  effect: Effect.Effect<A, E, unknown>,
  { silence, timeout }: {
    readonly timeout?: Duration.Duration | undefined
    readonly silence?: Effect.Effect<void> | undefined
  },
  contextIn: (scope?: Scope.Scope) => Context.Context<never>,
  onOutcome: (outcome: Attempt.Outcome<A, E>) => Eager
): void => {
  if (timeout !== undefined || silence !== undefined) {
    const limited = Attempt.run(Effect.scoped(effect), timeout, core.limits.grace, silence)
    fork(core, core.attempts, limited, contextIn(), onOutcome, Attempt.selfInterrupted)
    return
  }
  const scope = Scope.makeUnsafe()
  const context = contextIn(scope)
  const ended = (exit: Exit.Exit<A, E>) => emit(core, () => onOutcome(Attempt.classify(exit, false)))
  beside(core.attempts, effect, context, (exit) => {
    const closing = Scope.closeUnsafe(scope, exit)
    if (closing === undefined) return ended(exit)
    beside(core.attempts, Effect.uninterruptible(Effect.andThen(closing, exit)), context, ended)
  })
}

/**
 * An attempt that was given up goes on: nothing runs beside it.
 *
 * @category running
 * @since 0.1.0
 */
export const linger = (core: Core, fiber: Fiber.Fiber<unknown, unknown>): void => {
  core.lingering ??= new Set()
  core.lingering.add(fiber)
}

/**
 * Calls back at a time of the engine's clock; returns what cancels it. `who` waits for nothing else.
 *
 * @category running
 * @since 0.1.0
 */
export const wakeAt = (
  core: Core,
  time: number,
  then: () => Eager,
  who?: Sleeper["who"]
): () => void => {
  let cancelled = false
  const sleeper = who === undefined ? undefined : { time, who }
  if (sleeper !== undefined) sleep(core, sleeper)
  const awake = () => {
    if (sleeper !== undefined) core.sleepers?.delete(sleeper)
  }
  const delay = time - core.clock.currentTimeMillisUnsafe()
  const fiber = fork(
    core,
    core.waits,
    Effect.sleep(Math.max(0, delay)),
    core.context,
    () => {
      awake()
      return cancelled ? undefined : then()
    }
  )
  return () => {
    cancelled = true
    awake()
    fiber.interruptUnsafe()
  }
}

/**
 * Waits for nothing but messages: in memory for as long as `Limits.SuspendAfter` says, counted from `since`, and out of
 * it from then on. Returns what ends the waiting.
 *
 * @category running
 * @since 0.1.0
 */
export const waitForMail = (core: Core, since: number, who: Sleeper["who"]): () => void => {
  const until = since + core.limits.suspendAfter
  const sleeper: Sleeper = { time: Infinity, who, stays: until > core.clock.currentTimeMillisUnsafe() }
  sleep(core, sleeper)
  // Timers may ring before the clock says so: who asked the clock then would never ask again.
  const cancelTimer = until === Infinity || sleeper.stays !== true
    ? undefined
    : wakeAt(core, until, () => void (sleeper.stays = false))
  return () => {
    core.sleepers?.delete(sleeper)
    cancelTimer?.()
  }
}

/**
 * Waits until a time of the engine's clock.
 *
 * @category running
 * @since 0.1.0
 */
export const sleepUntil = (core: Core, time: number, who: Sleeper["who"] | undefined): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const cancel = wakeAt(core, time, () => resume(Effect.void), who)
    return Effect.sync(cancel)
  })

/**
 * Until when everything in it waits for nothing but time; undefined while anything runs, and where nothing waits.
 *
 * @category accessors
 * @since 0.1.0
 */
export const idleUntil = (core: Core, tasks: number): number | undefined => {
  const count = { task: 0, compensation: 0, attempt: 0 }
  let time: number | undefined
  for (const sleeper of core.sleepers ?? []) {
    count[sleeper.who]++
    time = Math.min(time ?? sleeper.time, sleeper.time)
  }
  const idle = tasks === count.task && core.attempts.size === count.attempt &&
    core.compensating === count.compensation + count.attempt
  return idle ? time : undefined
}

/**
 * What a step's own effects run with: what the asking code provides, the engine's clock, and what they may know of
 * themselves. No seam: a step inside a step finds nobody to ask.
 *
 * @category accessors
 * @since 0.1.0
 */
export const stepContext = (
  core: Core,
  asked: Asked,
  heart: Execution.Heart | undefined,
  key: string,
  attempt: number,
  { more, scope, stepKey = key }: Besides & { readonly stepKey?: string } = {}
): Context.Context<never> =>
  // What this refers to forgets the execution when the attempt ends, so that it may be old: see `blank.ts`.
  extend(outerContext(core, asked), (put) => {
    put(Step.StepContext, {
      ...blankStep,
      execution: core.id,
      step: asked.name,
      key,
      stepKey,
      attempt,
      epoch: core.epoch,
      heart
    })
    if (scope !== undefined) put(Scope.Scope, scope)
    more?.(put)
  })

/**
 * What an attempt runs with beside its step's own: a scope that ends with it, and other services.
 *
 * @category models
 * @since 0.1.0
 */
export interface Besides {
  readonly scope?: Scope.Scope | undefined
  readonly more?: ((put: Put) => void) | undefined
}

/**
 * What a compensation and its check run with: that of its step, with a key of its own, beside the one under which its
 * step happened after so many refusals.
 *
 * @category accessors
 * @since 0.1.0
 */
export const compensationContext = (
  core: Core,
  asked: Asked,
  heart: Execution.Heart | undefined,
  ref: Journal.Ref,
  refusals: number,
  attempt: number,
  besides?: Besides
): Context.Context<never> => {
  const own = base(core, ref)
  return stepContext(core, asked, heart, compensationOf(own), attempt, { ...besides, stepKey: stepOf(own, refusals) })
}

/**
 * What the asking code provides, with the engine's clock and random numbers, and without the seam.
 *
 * @category accessors
 * @since 0.1.0
 */
export const outerContext = (core: Core, asked: Asked): Context.Context<never> =>
  // Most code provides nothing of its own: then this is what the handler was registered with.
  asked.context === core.bodyContext ? core.context : asked.context.pipe(
    Context.omit(Execution.Execution, Execution.Waiting, Execution.Inbox),
    Context.add(Clock.Clock, core.clock),
    Context.add(Random.Random, Context.get(core.context, Random.Random)),
    Context.add(Scheduler.Scheduler, Context.get(core.context, Scheduler.Scheduler)),
    Context.add(Tracer.Tracer, Context.get(core.context, Tracer.Tracer))
  )

/**
 * Gives an effect everything that it may ask for. What that is, the types checked where the saga was written.
 *
 * @category running
 * @since 0.1.0
 */
export const provide = <A, E>(
  effect: Effect.Effect<A, E, unknown>,
  context: Context.Context<never>
): Effect.Effect<A, E> => Effect.provideContext(effect, context as Context.Context<unknown>)

/**
 * Runs an effect in a fiber of its own with everything that it may ask for, see `provide`.
 *
 * @category running
 * @since 0.1.0
 */
export const runFork = <A, E>(
  effect: Effect.Effect<A, E, unknown>,
  context: Context.Context<never>
): Fiber.Fiber<A, E> => Effect.runForkWith(context as Context.Context<unknown>)(effect)

/**
 * What a step asks of the world, as it is run: in tests, perhaps something else. An interceptor keeps the types of what
 * it wraps, or its faults are those of a participant that does not.
 *
 * @category running
 * @since 0.1.0
 */
export const intercepted = <A, E, R>(
  core: Core,
  act: Execution.InterceptedAct,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  core.intercept === undefined ? effect : core.intercept(act, effect) as Effect.Effect<A, E, R>

/**
 * The stored form of a request's identity.
 *
 * @category accessors
 * @since 0.1.0
 */
export const refOf = (asked: Asked): Journal.Ref => Journal.ref_(asked.name, asked.path, asked.occurrence)

/**
 * The idempotency key of a step's attempt: unchanged while nobody knows, another one after each journaled refusal.
 *
 * @category keys
 * @since 0.1.0
 */
// Persistent: participants store it.
export const stepKey = (core: Core, ref: Journal.Ref, refusals: number): string => stepOf(base(core, ref), refusals)

/**
 * The idempotency key of a compensation: the same in every attempt.
 *
 * @category keys
 * @since 0.1.0
 */
// Persistent: participants store it.
export const compensationKey = (core: Core, ref: Journal.Ref): string => compensationOf(base(core, ref))

/**
 * The id of an execution of saga `tag` that this one starts: the same whoever starts it, and however often.
 *
 * @category keys
 * @since 0.1.0
 */
// Persistent: the primary key of every child.
export const childId = (core: Core, tag: string, ref: Journal.Ref): ExecutionId.ExecutionId =>
  ExecutionId.make(tag, base(core, ref))

/**
 * A value as the journal keeps it, whatever becomes of the one that was given; or why it cannot.
 *
 * @category recording
 * @since 0.1.0
 */
export const check = (core: Core, json: Schema.Json): Result.Result<Schema.Json, Unstorable> =>
  Result.map(textOf(core, json), (text) => JSON.parse(text) as Schema.Json)

/**
 * The text of a value as the journal keeps it, or why it cannot.
 *
 * @category recording
 * @since 0.1.0
 */
export const textOf = (core: Core, json: Schema.Json): Result.Result<string, Unstorable> =>
  storable(json, core.limits.storable)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const blank: Blank<Core> = {
  id: undefined,
  handler: undefined,
  context: undefined,
  clock: undefined,
  intercept: undefined,
  limits: undefined,
  starting: undefined,
  bodyContext: undefined,
  generation: undefined,
  epoch: undefined,
  at: undefined,
  pending: undefined,
  onDurable: undefined,
  rowChanged: undefined,
  mustFlush: undefined,
  seal: undefined,
  undoPending: undefined,
  draining: undefined,
  pivotPassed: undefined,
  events: undefined,
  wake: undefined,
  mayAct: undefined,
  leave: undefined,
  left: undefined,
  onDefect: undefined,
  attempts: undefined,
  lingering: undefined,
  waits: undefined,
  sleepers: undefined,
  mailbox: undefined,
  receivers: undefined,
  compensating: undefined,
  beating: undefined
}
const blankStep: Blank<typeof Step.StepContext["Service"]> = {
  execution: undefined,
  step: undefined,
  key: undefined,
  stepKey: undefined,
  attempt: undefined,
  epoch: undefined,
  heart: undefined
}

const sleep = (core: Core, sleeper: Sleeper): void => {
  core.sleepers ??= new Set()
  core.sleepers.add(sleeper)
}

const beside = <A, E>(
  fibers: Set<Fiber.Fiber<unknown, unknown>>,
  effect: Effect.Effect<A, E, unknown>,
  context: Context.Context<never>,
  onExit: (exit: Exit.Exit<A, E>) => void
): Fiber.Fiber<unknown, unknown> => {
  const fiber = runFork(effect, context)
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) {
    onExit(exit)
    return fiber
  }
  fibers.add(fiber)
  fiber.addObserver(once((exit) => {
    fibers.delete(fiber)
    onExit(exit)
  }))
  return fiber
}

const stepOf = (base: string, refusals: number): string => `${base}/${refusals}`

const compensationOf = (base: string): string => `${base}/compensation`

/** execution / generation / name / occurrence; the fork path goes with the occurrence. */
const base = (core: Core, ref: Journal.Ref): string => {
  const occurrence = ref.occurrence ?? 0
  return `${core.id}/${core.generation}/${ExecutionId.escape(ref.name)}/${
    ref.path === undefined ? occurrence : `${ref.path}:${occurrence}`
  }`
}
