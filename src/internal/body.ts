/**
 * Runs a body on its own dispatcher, and says what it asks.
 *
 * The body's fibers run only while they are driven, to quiescence: between two answers nothing in the body depends on
 * the process. One request has one name in every run: that of its fiber's path. This module knows no journal, no step
 * and no store; it never answers a request itself.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Tracer from "effect/Tracer"
import * as Execution from "../Execution.ts"
import { type Blank, extend } from "./blank.ts"
import * as Paths from "./paths.ts"

/**
 * A request of the body, waiting for its answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Asked {
  readonly request: Execution.Request
  readonly name: string
  readonly path: string
  readonly occurrence: number
  /** The roll-back scope of the asking code. */
  readonly scope: string
  /** What the asking fiber provides. */
  readonly context: Context.Context<never>
  /** The asking fiber was interrupted: it waits for the answer, and will not use it. */
  withdrawn: boolean
  /** Set by `deliver`: nobody waits any more. */
  answered: boolean
  answer: (exit: Exit.Exit<unknown, unknown>) => void
}

/**
 * A running body.
 *
 * @category models
 * @since 0.1.0
 */
export interface Body {
  /** Starts the root fiber, and answers what it runs with; `drive` runs it. */
  readonly start: (
    body: Effect.Effect<unknown, unknown, unknown>,
    context: Context.Context<never>
  ) => Context.Context<never>
  /** Runs the body's fibers; false when more is to be done, so that a long body does not hold the process. */
  readonly drive: () => boolean
  /** What was asked since the last call, in order, without what was withdrawn in between. */
  readonly takeAsked: () => ReadonlyArray<Asked>
  /** Requests withdrawn since the last call. */
  readonly takeWithdrawn: () => ReadonlyArray<Asked>
  /** Answers one request. The fiber resumes; `drive` runs what follows. */
  readonly deliver: (asked: Asked, exit: Exit.Exit<unknown, unknown>) => void
  /** The end of the root fiber. */
  readonly exit: () => Exit.Exit<unknown, unknown> | undefined
  /** The first request that broke a rule, as a sentence. */
  readonly violation: () => string | undefined
  /** The body's time, in milliseconds. */
  readonly setTime: (millis: number) => void
  /** Closes the seam: nothing is asked any more; then interrupts the body. */
  readonly close: () => void
  /** Nobody drives it any more: what its fibers still do is not watched, and what they schedule is dropped. */
  readonly leave: () => void
}

/**
 * How many tasks of a body run before the process gets its turn.
 */
const driveSize = 2048

/**
 * What a body needs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly id: string
  /** Called when the body did something while it was not driven, which only an effect from outside can cause. */
  readonly onActivity: () => void
  /** What the body knows to have happened. */
  readonly executed: () => ReadonlyArray<string>
}

/**
 * A body that has not started.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Body => {
  const paths = Paths.make()
  const seen: Seen = { ...blankSeen, paths, schedule: undefined }
  const tasks: Array<() => void> = []
  const asked: Array<Asked> = []
  const withdrawn: Array<Asked> = []
  let time = 0
  let driving = false
  let closed = false
  let violation: string | undefined
  let root: Fiber.Fiber<unknown, unknown> | undefined

  const active = () => {
    if (!driving) options.onActivity()
  }
  const schedule: Seen["schedule"] = (owner, task) => {
    tasks.push(() => Paths.runTask(paths, owner, task))
    active()
  }
  seen.schedule = schedule

  const withdraw = (request: Asked): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      if (closed || request.answered) return resume(Effect.void)
      request.withdrawn = true
      const answer = () => resume(Effect.void)
      request.answer = answer
      if (asked.includes(request)) {
        // Asked and withdrawn before anybody looked: it never existed.
        asked.splice(asked.indexOf(request), 1)
        request.answered = true
        return resume(Effect.void)
      }
      withdrawn.push(request)
      active()
    })

  const ask = (request: Execution.Request, fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<unknown, unknown> =>
    Effect.callback<unknown, unknown>((resume) => {
      if (closed) return resume(Effect.interrupt)
      const name = requestName(request)
      // A child is a step of the journal, and shares its names.
      const isStep = request._tag === "Step" || request._tag === "Child"
      const place = Paths.place(paths, fiber, isStep ? name : undefined, `${isStep ? "Step" : request._tag}|${name}`)
      if (place._tag === "Refused") {
        violation ??= `${name} ${place.reason}`
        return active()
      }
      const made: Asked = {
        ...blankAsked,
        request,
        name,
        path: place.path,
        occurrence: place.occurrence,
        scope: fiber.getRef(Execution.CurrentScope),
        context: fiber.context,
        withdrawn: false,
        answered: false,
        answer: (exit) => resume(exit)
      }
      asked.push(made)
      active()
      return withdraw(made)
    })

  const clock: Clock.Clock = {
    ...blankClock,
    currentTimeMillisUnsafe: () => time,
    currentTimeMillis: Effect.sync(() => time),
    currentTimeNanosUnsafe: () => BigInt(Math.round(time)) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(Math.round(time)) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(Math.round(time)) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(Math.round(time)) * 1_000_000n),
    sleep: (duration) => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return Effect.yieldNow
      if (millis === Infinity) return Effect.never
      return Effect.withFiber((fiber) =>
        Effect.orDie(Effect.asVoid(ask({ _tag: "Timer", name: "sleep", until: { millis } }, fiber)))
      )
    }
  }

  const execution: Execution.Execution["Service"] = {
    ...blankExecution,
    id: options.id,
    ask,
    openScope: (outer, fiber) => {
      const place = Paths.place(paths, fiber, undefined, "Scope|")
      const own = place._tag === "Refused" ? "" : `${place.path}:${place.occurrence}`
      return outer === "" ? own : `${outer}/${own}`
    },
    executed: options.executed
  }
  const waiting: Execution.Waiting["Service"] = {
    ...blankWaiting,
    sleep: (name, until, fiber) => Effect.orDie(Effect.asVoid(ask({ _tag: "Timer", name, until }, fiber)))
  }
  const inbox: Execution.Inbox["Service"] = {
    ...blankInbox,
    receive: (request, fiber) => Effect.orDie(ask(request, fiber)) as Effect.Effect<Execution.Received>
  }

  return {
    ...blank,
    start: (body, context) => {
      driving = true
      const own = extend(context, (put) => {
        put(Execution.Execution, execution)
        put(Execution.Waiting, waiting)
        put(Execution.Inbox, inbox)
        put(Clock.Clock, clock)
        put(Random.Random, seededRandom(options.id))
        put(Scheduler.Scheduler, schedulerOf(seen))
        put(Tracer.Tracer, tracerOf(Context.get(context, Tracer.Tracer), seen))
      })
      root = Effect.runForkWith(own as Context.Context<unknown>)(body)
      driving = false
      return own
    },
    drive: () => {
      driving = true
      let ran = 0
      while (tasks.length > 0 && ran < driveSize) {
        const batch = tasks.splice(0)
        ran += batch.length
        for (const task of batch) task()
      }
      driving = false
      return tasks.length === 0
    },
    takeAsked: () => asked.length === 0 ? none : asked.splice(0),
    takeWithdrawn: () => withdrawn.length === 0 ? none : withdrawn.splice(0),
    deliver: (request, exit) => {
      if (request.answered) return
      request.answered = true
      const { answer } = request
      // What was asked is kept for its compensation; who asked need not be.
      request.answer = constVoid
      driving = true
      answer(exit)
      driving = false
    },
    exit: () => root?.pollUnsafe(),
    violation: () => violation,
    setTime: (millis) => {
      time = millis
    },
    close: () => {
      if (closed) return
      closed = true
      asked.length = 0
      withdrawn.length = 0
      driving = true
      root?.interruptUnsafe()
      let rounds = 0
      while (tasks.length > 0 && rounds++ < driveSize) {
        const batch = tasks.splice(0)
        for (const task of batch) task()
      }
      driving = false
    },
    leave: () => {
      seen.paths = undefined
      seen.schedule = undefined
    }
  }
}

/**
 * The name under which a request is journaled.
 *
 * @category destructors
 * @since 0.1.0
 */
export const requestName = (request: Execution.Request): string => {
  switch (request._tag) {
    case "Step":
    case "Child":
    case "Timer":
    case "Receive":
    case "Race":
      return request.name
    case "PointOfNoReturn":
      return "the point of no return"
    case "RollbackScope":
      return request.scope
    case "RollbackSteps":
      return "rollback"
    case "Continue":
      return "continueAsNew"
    case "Publish":
      return request.key
    case "Version":
      return request.change
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The body as its fibers' scheduler and tracer know it. Effect keeps these two beside each context, in an object that
 * V8 may take for old: so they forget the body when it is left.
 */
interface Seen {
  paths: Paths.Paths | undefined
  schedule: ((owner: Paths.FiberInfo | undefined, task: () => void) => void) | undefined
}

const none: ReadonlyArray<Asked> = []

const schedulerOf = (seen: Seen): Scheduler.Scheduler => ({
  ...blankScheduler,
  executionMode: "async",
  shouldYield: (fiber) => fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield,
  makeDispatcher: () => {
    const owner = seen.paths?.current ?? seen.paths?.last
    return {
      ...blankDispatcher,
      scheduleTask: (task) => seen.schedule?.(owner, task),
      flush: () => {}
    }
  }
})

const tracerOf = (tracer: Tracer.Tracer, seen: Seen): Tracer.Tracer =>
  Tracer.make({ span: (_) => tracer.span(_), context: Paths.watch(tracer.context, seen) })

/** The default generator, seeded; made at the first draw, since few bodies draw. */
const seededRandom = (seed: string): Random.Random => {
  let made: Random.Random | undefined
  const get = (): Random.Random =>
    made ??= Effect.runSync(Random.withSeed(Effect.map(Random.Random, (random) => random), seed))
  return {
    nextIntUnsafe: () => get().nextIntUnsafe(),
    nextDoubleUnsafe: () => get().nextDoubleUnsafe()
  }
}

const blank: Blank<Body> = {
  start: undefined,
  drive: undefined,
  takeAsked: undefined,
  takeWithdrawn: undefined,
  deliver: undefined,
  exit: undefined,
  violation: undefined,
  setTime: undefined,
  close: undefined,
  leave: undefined
}
const blankSeen: Blank<Seen> = { paths: undefined, schedule: undefined }
const blankAsked: Blank<Asked> = {
  request: undefined,
  name: undefined,
  path: undefined,
  occurrence: undefined,
  scope: undefined,
  context: undefined,
  withdrawn: undefined,
  answered: undefined,
  answer: undefined
}
const blankClock: Blank<Clock.Clock> = {
  currentTimeMillisUnsafe: undefined,
  currentTimeMillis: undefined,
  currentTimeNanosUnsafe: undefined,
  currentTimeNanos: undefined,
  monotonicTimeNanosUnsafe: undefined,
  monotonicTimeNanos: undefined,
  sleep: undefined
}
const blankScheduler: Blank<Scheduler.Scheduler> = {
  executionMode: undefined,
  shouldYield: undefined,
  makeDispatcher: undefined
}
const blankExecution: Blank<Execution.Execution["Service"]> = {
  id: undefined,
  ask: undefined,
  openScope: undefined,
  executed: undefined
}
const blankWaiting: Blank<Execution.Waiting["Service"]> = { sleep: undefined }
const blankInbox: Blank<Execution.Inbox["Service"]> = { receive: undefined }
const blankDispatcher: Blank<Scheduler.SchedulerDispatcher> = { scheduleTask: undefined, flush: undefined }
