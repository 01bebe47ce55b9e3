/**
 * Runs a body on its own dispatcher, and says what it asks.
 *
 * The body's fibers run only while they are driven, to quiescence: between two answers nothing in the body depends on
 * the process. Each fiber has a path (which fork of which fiber it is), found by watching the evaluation of the body's
 * primitives, so that one request has one name in every run. This module knows no journal, no step and no store; it
 * never answers a request itself.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Tracer from "effect/Tracer"
import * as Execution from "../Execution.ts"
import { type Blank, extend } from "./blank.ts"

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
  readonly takeAsked: () => Array<Asked>
  /** Requests withdrawn since the last call. */
  readonly takeWithdrawn: () => Array<Asked>
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
}

/**
 * How many tasks of a body run before the process gets its turn.
 */
const driveSize = 2048

/**
 * A body that has not started.
 *
 * **Details**
 *
 * `onActivity` is called when the body did something while it was not driven, which only an effect from outside of any
 * step can cause.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: {
    readonly id: string
    readonly onActivity: () => void
    /** What the body knows to have happened. */
    readonly executed: () => ReadonlyArray<string>
  }
): Body => {
  const paths = makePaths()
  let tasks: Array<() => void> = []
  let asked: Array<Asked> = []
  let withdrawn: Array<Asked> = []
  let time = 0
  let driving = false
  let closed = false
  let violation: string | undefined
  let root: Fiber.Fiber<unknown, unknown> | undefined

  const active = () => {
    if (!driving) options.onActivity()
  }
  const scheduler: Scheduler.Scheduler = {
    ...blankScheduler,
    executionMode: "async",
    shouldYield: (fiber) => fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield,
    makeDispatcher: () => {
      const owner = paths.current()
      return {
        ...blankDispatcher,
        scheduleTask: (task) => {
          tasks.push(() => paths.runTask(owner, task))
          active()
        },
        flush: () => {}
      }
    }
  }

  const withdraw = (request: Asked): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      if (closed || request.answered) return resume(Effect.void)
      request.withdrawn = true
      const answer = () => resume(Effect.void)
      request.answer = answer
      if (asked.includes(request)) {
        // Asked and withdrawn before anybody looked: it never existed.
        asked = asked.filter((_) => _ !== request)
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
      const place = paths.place(fiber, isStep ? name : undefined, `${isStep ? "Step" : request._tag}|${name}`)
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
      const place = paths.place(fiber, undefined, "Scope|")
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
      const tracer = Context.get(context, Tracer.Tracer)
      const own = extend(context, (put) => {
        put(Execution.Execution, execution)
        put(Execution.Waiting, waiting)
        put(Execution.Inbox, inbox)
        put(Clock.Clock, clock)
        put(Random.Random, seededRandom(options.id))
        put(Scheduler.Scheduler, scheduler)
        put(Tracer.Tracer, Tracer.make({ span: (_) => tracer.span(_), context: paths.watch(tracer.context) }))
      })
      root = Effect.runForkWith(own as Context.Context<unknown>)(body)
      driving = false
      return own
    },
    drive: () => {
      driving = true
      let ran = 0
      while (tasks.length > 0 && ran < driveSize) {
        const batch = tasks
        tasks = []
        ran += batch.length
        for (const task of batch) task()
      }
      driving = false
      return tasks.length === 0
    },
    takeAsked: () => {
      const taken = asked
      asked = []
      return taken
    },
    takeWithdrawn: () => {
      const taken = withdrawn
      withdrawn = []
      return taken
    },
    deliver: (request, exit) => {
      if (request.answered) return
      request.answered = true
      driving = true
      request.answer(exit)
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
      asked = []
      withdrawn = []
      driving = true
      root?.interruptUnsafe()
      let rounds = 0
      while (tasks.length > 0 && rounds++ < driveSize) {
        const batch = tasks
        tasks = []
        for (const task of batch) task()
      }
      driving = false
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
// internal: which fork of which fiber
// ---------------------------------------------------------------------------------------------------------------------

/** The forks of one operation of one fiber, for instance of one `Effect.all`. */
interface Region {
  readonly parent: FiberInfo
  /** Which of its forks asked for a step of a name. */
  readonly names: Map<string, FiberInfo>
}

interface FiberInfo {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly path: string
  readonly region: Region | undefined
  readonly counts: Map<string, number>
  children: number
  /** The region of the operation that it evaluates now. */
  forking: Region | undefined
}

interface Paths {
  readonly current: () => FiberInfo | undefined
  /** A task of a dispatcher: what starts in it was forked by the dispatcher's fiber. */
  readonly runTask: (owner: FiberInfo | undefined, task: () => void) => void
  readonly watch: (inner: Tracer.Tracer["context"]) => NonNullable<Tracer.Tracer["context"]>
  /** Where a request of this fiber stands; refused where two forks of one region ask for one step. */
  readonly place: (fiber: Fiber.Fiber<unknown, unknown>, step: string | undefined, counted: string) => Place
}

type Place =
  | { readonly _tag: "Placed"; readonly path: string; readonly occurrence: number }
  | { readonly _tag: "Refused"; readonly reason: string }

const blank: Blank<Body> = {
  start: undefined,
  drive: undefined,
  takeAsked: undefined,
  takeWithdrawn: undefined,
  deliver: undefined,
  exit: undefined,
  violation: undefined,
  setTime: undefined,
  close: undefined
}
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
const blankInfo: Blank<FiberInfo> = {
  fiber: undefined,
  path: undefined,
  region: undefined,
  counts: undefined,
  children: undefined,
  forking: undefined
}
const blankWaiting: Blank<Execution.Waiting["Service"]> = { sleep: undefined }
const blankInbox: Blank<Execution.Inbox["Service"]> = { receive: undefined }
const blankDispatcher: Blank<Scheduler.SchedulerDispatcher> = { scheduleTask: undefined, flush: undefined }
const blankPaths: Blank<Paths> = { current: undefined, runTask: undefined, watch: undefined, place: undefined }

const evaluate = "~effect/Effect/evaluate"

const makePaths = (): Paths => {
  const infos = new WeakMap<Fiber.Fiber<unknown, unknown>, FiberInfo>()
  /** The fiber that is being evaluated; nested evaluations restore it. */
  let current: FiberInfo | undefined
  /** The fiber that was evaluated last. */
  let last: FiberInfo | undefined
  let rooted = false

  const regionOf = (parent: FiberInfo): Region => parent.forking ??= { parent, names: new Map() }

  /** A fiber seen for the first time: who forked it? */
  const adopt = (fiber: Fiber.Fiber<unknown, unknown>): FiberInfo => {
    let region: Region | undefined
    if (rooted) {
      // A sibling that just ended makes room for the next one of its region (`Effect.all` with a bounded concurrency).
      region = last?.region !== undefined && last.fiber.pollUnsafe() !== undefined
        ? last.region
        : current !== undefined
        ? regionOf(current)
        : last !== undefined
        ? regionOf(last)
        : undefined
    }
    rooted = true
    const parent = region?.parent
    const index = parent === undefined ? 0 : parent.children++
    const path = parent === undefined ? "" : parent.path === "" ? `${index}` : `${parent.path}.${index}`
    const info: FiberInfo = { ...blankInfo, fiber, path, region, counts: new Map(), children: 0, forking: undefined }
    infos.set(fiber, info)
    return info
  }

  return {
    ...blankPaths,
    current: () => current ?? last,
    runTask: (owner: FiberInfo | undefined, task: () => void): void => {
      const outer = current
      const before = last
      current = owner
      last = undefined
      if (owner !== undefined) owner.forking = undefined
      task()
      current = outer
      last ??= before
    },
    watch: (inner: Tracer.Tracer["context"]): NonNullable<Tracer.Tracer["context"]> => (primitive, fiber) => {
      const info = last?.fiber === fiber ? last : infos.get(fiber) ?? adopt(fiber)
      const outer = current
      current = info
      last = info
      info.forking = undefined
      try {
        return inner === undefined ? primitive[evaluate](fiber) : inner(primitive, fiber)
      } finally {
        current = outer
        last = info
      }
    },
    place: (fiber: Fiber.Fiber<unknown, unknown>, step: string | undefined, counted: string): Place => {
      const info = infos.get(fiber)
      if (info === undefined) {
        return {
          _tag: "Refused",
          reason: "was asked by a fiber that is not part of the saga's body: ask for steps in the body itself, " +
            "in Effect.all or in Effect.forkChild"
        }
      }
      if (step !== undefined) {
        for (let fork = info; fork.region !== undefined; fork = fork.region.parent) {
          const other = fork.region.names.get(step)
          if (other !== undefined && other !== fork) {
            return {
              _tag: "Refused",
              reason: "is the name of two steps in one concurrent region: give each its own name, " +
                "for instance with the index in it"
            }
          }
          fork.region.names.set(step, fork)
        }
      }
      const occurrence = info.counts.get(counted) ?? 0
      info.counts.set(counted, occurrence + 1)
      return { _tag: "Placed", path: info.path, occurrence }
    }
  }
}

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
