/**
 * One execution from its start, or from its claim, to its end.
 *
 * One fiber drives; everything that happens beside it (attempts, timers, roll-backs, messages) comes back as an event
 * and is handled alone. The rule of the write: before a step acts, everything that happened before it is durable, and a
 * result goes out together with the next intent. A lost append ends the execution in this process and nowhere else.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Journal from "../Journal.ts"
import { describe } from "../SagaError.ts"
import type { Append, Claimed, SagaStore, StoreError } from "../SagaStore.ts"
import * as Attempt from "./attempt.ts"
import type { Blank } from "./blank.ts"
import type * as Body from "./body.ts"
import * as Core from "./core.ts"
import * as Eager from "./eager.ts"
import type { Handler } from "./engine.ts"
import { isSettled } from "./fold.ts"
import * as Forward from "./forward.ts"
import * as Heartbeat from "./heartbeat.ts"
import * as Intake from "./intake.ts"
import type { JournalWriter, Written } from "./journalWriter.ts"
import * as Mail from "./mail.ts"
import * as Notation from "./notation.ts"
import * as Recovery from "./recovery.ts"
import * as Run from "./run.ts"
import * as SagaStarted from "./started.ts"
import * as Starting from "./starting.ts"
import * as Suspension from "./suspension.ts"
import * as Undoing from "./undoing.ts"

/**
 * An execution in this process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Live {
  readonly id: string
  readonly handler: Handler
  /** JSON text of the payload, for those who start it again; undefined until it is read. */
  payload: string | undefined
  /** Drives it to its end, or until it leaves, and then calls back; to be called once. */
  readonly run: (onEnd: () => void) => void
  /** How it left, once that has ended. */
  readonly ending: () => Run.Ending
  /** Completed when its first append is durable, or with why it is not. */
  readonly started: Deferred.Deferred<Run.Ending | undefined>
  readonly ended: Deferred.Deferred<Run.Ending>
  /** Attempts that go on in this process although the execution has left it. */
  readonly lingering: () => Iterable<Fiber.Fiber<unknown, unknown>>
  /** There may be a message for it. */
  readonly notify: () => void
  /** Start nothing new; leave when nothing is in flight. */
  readonly drain: () => void
  /** Stop at once: the claim is lost, or the grace is over. */
  readonly abandon: () => void
}

/**
 * What an execution needs from its process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly id: string
  readonly handler: Handler
  readonly context: Context.Context<never>
  readonly limits: Core.Limits
  readonly store: SagaStore["Service"]
  readonly writer: JournalWriter
  readonly worker: string
  readonly starting: Starting.Starting
  /** Whether the lease holds. */
  readonly mayAct: () => boolean
  /** Who started it does nothing else until its end: it may append at once, where the writer allows that. */
  readonly awaited: boolean
  /** A token that tells an append from all others that may race for its place; short for those of an owner. */
  readonly token: (owned?: boolean) => string
  /** A new execution with its payload, or one that was claimed at this `seq`; `stored` is forgotten once it is read. */
  readonly from:
    | { readonly _tag: "Start"; readonly create: NonNullable<Append["create"]>; readonly parent?: string }
    | { readonly _tag: "Claim"; readonly seq: number; stored?: Claimed["stored"] }
}

/**
 * An execution that is ready to run.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Live => {
  const { from } = options
  const core = Core.make(options)
  const driver: Driver = {
    ...blank,
    options,
    run: Run.make({
      core,
      handler: options.handler,
      store: options.store,
      mode: from._tag === "Start" ? "live" : "replay",
      seq: from._tag === "Start" ? 0 : from.seq + 1
    }),
    started: Deferred.makeUnsafe(),
    abandoned: false,
    durableEnd: false,
    fiber: undefined,
    mailDue: false,
    suspending: undefined,
    continuing: false
  }
  const ended = Deferred.makeUnsafe<Run.Ending>()
  const live: Live = {
    ...blankLive,
    id: core.id,
    handler: options.handler,
    payload: from._tag === "Start" ? from.create.payload : undefined,
    run: (onEnd) => within(() => void Core.runFork(run(onEnd), core.context)),
    ending: () => endingOf(driver),
    started: driver.started,
    ended,
    lingering: () => core.lingering ?? [],
    notify: () => {
      driver.mailDue = true
      Core.emit(core, () => {})
    },
    drain: () => {
      core.draining = true
      Core.emit(core, () => Heartbeat.flush(core))
    },
    abandon: () => core.leave()
  }
  const driven = Effect.withFiber((fiber) => {
    driver.fiber = fiber
    return Effect.flatMap(drive(driver, (text) => live.payload = text), () => announce(driver))
  })
  const run = (onEnd: () => void) =>
    Effect.onExit(driven, (exit) => {
      const known = Exit.isFailure(exit) ? left(driver, exit.cause) : Effect.void
      stop(driver.run)
      const last = endingOf(driver)
      // What was not started here has another payload, perhaps.
      if (last._tag === "Exists") live.payload = undefined
      Deferred.doneUnsafe(driver.started, Exit.succeed(last))
      Deferred.doneUnsafe(ended, Exit.succeed(last))
      // No observer of the fiber: V8 may take what keeps it for old, see `blank.ts`.
      const told = Result.try(onEnd)
      return Result.isSuccess(told) ? known : Effect.andThen(known, Effect.logError(told.failure))
    })
  if (from._tag === "Claim") Deferred.doneUnsafe(driver.started, Exit.succeed(undefined))
  const leave = () => {
    driver.abandoned = true
    core.left = true
    core.wake()
    // A store that does not answer holds nobody back.
    driver.fiber?.interruptUnsafe()
  }
  core.leave = leave
  return live
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: driving
// ---------------------------------------------------------------------------------------------------------------------

interface Driver {
  readonly options: Options
  readonly run: Run.Run
  readonly started: Deferred.Deferred<Run.Ending | undefined>
  abandoned: boolean
  durableEnd: boolean
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  mailDue: boolean
  /** It leaves memory with the next append, until this time; infinite: until a message comes. */
  suspending: number | undefined
  /** It continues as new with the next append. */
  continuing: boolean
}

const blank: Blank<Driver> = {
  options: undefined,
  run: undefined,
  started: undefined,
  abandoned: undefined,
  durableEnd: undefined,
  fiber: undefined,
  mailDue: undefined,
  suspending: undefined,
  continuing: undefined
}
const blankLive: Blank<Live> = {
  id: undefined,
  handler: undefined,
  payload: undefined,
  run: undefined,
  ending: undefined,
  started: undefined,
  ended: undefined,
  lingering: undefined,
  notify: undefined,
  drain: undefined,
  abandon: undefined
}

/** An end that was decided, and is not durable, is none: whoever claims the execution next decides it again. */
const endingOf = ({ durableEnd, run: { ending } }: Driver): Run.Ending =>
  ending === undefined || (ending._tag === "Ended" && !durableEnd) ? { _tag: "Left" } : ending

/**
 * How many executions run within others on the stack of this moment: a step starts one and waits for it, or wakes one
 * by a signal. Those that come too deep wait for their appends, which begins another stack.
 */
let depth = 0
const maxDepth = 8
const within = (f: () => void): void => {
  depth++
  try {
    f()
  } finally {
    depth--
  }
}

const drive = Effect.fnUntraced(function*(driver: Driver, onPayload: (text: string) => void) {
  const { options, run } = driver
  const { core } = run
  if (options.from._tag === "Claim") {
    const { stored } = options.from
    options.from.stored = undefined
    yield* Recovery.recover(run, { seq: options.from.seq, stored, worker: options.worker }, onPayload)
    // What was sent to it is durable before a step in flight is settled for it.
    if (run.ending === undefined && core.pending.some(settles)) yield* flush(driver) ?? Effect.void
  } else {
    run.parent = options.from.parent
    yield* begin(run, options.from.create.payload) ?? Effect.void
  }
  while (!driver.abandoned) {
    const sealed = core.seal
    const advanced = advance(driver)
    if (advanced !== undefined) yield* advanced
    // A park that was decided just now may have nothing to wait for.
    if (core.seal !== sealed && run.ending === undefined) continue
    const acted = run.ending === undefined ? act(driver) : undefined
    if (acted !== undefined) yield* acted
    if (run.ending !== undefined) {
      if (run.ending._tag !== "Ended" || core.pending.length === 0) return
      yield* flush(driver) ?? Effect.void
      continue
    }
    if (core.events.length === 0 && core.pending.length > 0) {
      // A read-only step may come back within the tick: then its result travels with the next intent.
      yield* Effect.yieldNow
      if (core.events.length === 0) yield* flush(driver) ?? Effect.void
      if (run.ending !== undefined) continue
    }
    if (drained(run)) return yield* flush(driver) ?? Effect.void
    if (core.events.length === 0) {
      const wakeAt = Suspension.until(run)
      if (wakeAt !== undefined) {
        yield* suspend(driver, wakeAt)
        continue
      }
      yield* awaitEvent(driver)
    }
    const handled = handleEvents(driver)
    if (handled !== undefined) yield* handled
  }
})

/** Whether an entry lets steps in flight be tried again, or settled. */
const settles = ({ entry }: Notation.Line): boolean =>
  entry._tag === "CancelRequested" || entry._tag === "DeadlinePassed" ||
  (entry._tag === "Resolved" && entry.resolution._tag !== "Skip")

const begin = (run: Run.Run, payloadText: string): Eager.Eager => {
  const { body, core, handler } = run
  const at = Core.now(core)
  const started = SagaStarted.entry(handler.definition, at, run.parent)
  Core.record(core, started)
  Run.watchDeadline(run, started.deadline)
  body.setTime(at)
  return Eager.use(Run.decodePayload(run, payloadText), (payload) => {
    if (typeof payload === "string") {
      return Run.finishPark(run, { _tag: "Undecodable", what: "the payload", message: payload })
    }
    Run.start(run, payload.value)
    return Intake.quiesce(run)
  })
}

/** Nothing is in flight, and nothing will be started: the rest is the next owner's. */
const drained = ({ core }: Run.Run): boolean => {
  if (!core.draining || core.events.length > 0) return false
  // A compensation that waits for nothing but time is taken up by the next owner.
  let asleep = 0
  for (const { who } of core.sleepers ?? []) if (who === "attempt") asleep++
  return core.attempts.size === asleep
}

/** Leaves memory until then. What it waits for is in the journal, so whoever claims it next waits no longer. */
const suspend = Effect.fnUntraced(function*(driver: Driver, wakeAt: number) {
  const { run } = driver
  const time = wakeAt === Infinity ? undefined : wakeAt
  // That it is suspended is the last thing that its journal says.
  Heartbeat.flush(run.core)
  Core.record(run.core, {
    _tag: "Suspended",
    at: Core.now(run.core),
    ...(time === undefined ? undefined : { wakeAt: time })
  })
  run.core.rowChanged = true
  driver.suspending = wakeAt
  yield* flush(driver) ?? Effect.void
  // Where the store refused it for good, what is written next is its park.
  driver.suspending = undefined
  if (run.ending === undefined) run.ending = { _tag: "Suspended", wakeAt: time }
})

const awaitEvent = (driver: Driver): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const { core } = driver.run
    if (core.events.length > 0 || driver.abandoned) return resume(Effect.void)
    const wake = () => {
      core.wake = constVoid
      within(() => resume(Effect.void))
    }
    core.wake = wake
  })

const handleEvents = (driver: Driver): Eager.Eager => Eager.repeat(() => handleEvent(driver))

const handleEvent = (driver: Driver): Eager.Again => {
  const { run } = driver
  const { core } = run
  if (core.events.length === 0 || run.ending !== undefined || driver.abandoned) return false
  const event = core.events.shift()!()
  // First what follows from it: a pivot that happened is past the point of no return before a cancel is read.
  const followed = Eager.andThen(
    event === undefined ? undefined : Core.provide(event, core.context),
    () => Intake.quiesce(run)
  )
  return Eager.again(driver.mailDue ? Eager.andThen(followed, () => readMail(driver)) : followed)
}

const readMail = (driver: Driver): Eager.Eager => {
  const { run } = driver
  if (!driver.mailDue) return
  driver.mailDue = false
  return Effect.andThen(Mail.read(run), Effect.suspend(() => Intake.quiesce(run) ?? Effect.void))
}

/** Starts what may start; flushes first where a step is about to act. */
const act = (driver: Driver): Eager.Eager => {
  const { run } = driver
  if (run.startNow.length > 0) start(run, run.startNow.splice(0))
  if (run.startDurable.length === 0 && !run.core.mustFlush) return
  const durable = run.startDurable.length === 0 ? none : run.startDurable.splice(0)
  return flush(driver, () => {
    if (run.ending === undefined) start(run, durable)
  })
}

const start = (run: Run.Run, tasks: ReadonlyArray<Run.Task>): void => {
  for (const task of tasks) {
    if (task.phase === "done" || run.core.draining || run.core.seal?._tag === "Park") continue
    if (!Run.undoes(task)) Forward.start(run.settler, task)
    else if (task._tag === "Steps") Undoing.steps(run, task)
    else if (Undoing.settledIn(run, task.scope)) Undoing.scope(run, task)
    else run.startNow.push(task)
  }
}

const stop = (run: Run.Run): void => {
  run.body.close()
  for (const task of run.tasks.values()) if (!Run.undoes(task)) Forward.leave(task)
  for (const fiber of [...run.core.attempts, ...run.core.waits]) fiber.interruptUnsafe()
  run.body.leave()
}

/** Nobody should have to poll to learn that a person is needed. */
const announce = ({ run }: Driver): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (run.ending?._tag !== "Ended" || run.ending.entry._tag !== "SagaParked") return Effect.void
    return Effect.logWarning(`${run.core.id} is parked: ${describe(run.ending.entry.reason)}`)
  })

/** A bug in the library itself, or an interruption: the execution is recovered by whoever claims it next. */
const left = (driver: Driver, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  driver.run.ending = { _tag: "Left" }
  return Cause.hasInterruptsOnly(cause)
    ? Effect.void
    : Effect.logError(`${driver.run.core.id} left this process and will be claimed again`, cause)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: writing
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Sends what is pending as one append; afterwards it is durable, or the execution is not ours any more. Then goes on
 * with what waits for that.
 */
const flush = (driver: Driver, then: () => Eager.Eager = constVoid): Eager.Eager => {
  const { options, run } = driver
  const { core } = run
  if (core.beating !== undefined && core.pending.length > 0 && driver.suspending === undefined) Heartbeat.flush(core)
  if (core.pending.length === 0 && core.onDurable.length === 0) return then()
  const waiters = core.onDurable.length === 0 ? none : core.onDurable.splice(0)
  core.mustFlush = false
  if (core.pending.length === 0) {
    for (const waiter of waiters) waiter()
    return then()
  }
  const create = run.seq === 0 && options.from._tag === "Start" ? options.from.create : undefined
  let answered: Array<number> | undefined
  for (const { entry } of core.pending) if ("mail" in entry) (answered ??= []).push(entry.mail)
  const row = create !== undefined || core.rowChanged ? rowOf(driver) : undefined
  core.rowChanged = false
  const tell = telling(run)
  const append: Append = {
    execution: core.id,
    seq: run.seq,
    token: options.token(create === undefined),
    at: core.at,
    entries: Notation.append(core.pending, core.at),
    create,
    row,
    answered,
    tell
  }
  core.pending.length = 0
  if (options.awaited && depth <= maxDepth && options.writer.now(append)) {
    return Eager.andThen(afterAppend(driver, append, kept, waiters), then)
  }
  return Effect.callback((resume) => {
    options.writer.send(append, (written) => {
      // In its own fiber: a bug in one execution is none of the writer's.
      resume(Effect.suspend(() => Eager.andThen(afterAppend(driver, append, written, waiters), then) ?? Effect.void))
    })
  })
}

const kept = Exit.succeed<Written>("Kept")
const none: ReadonlyArray<never> = []

const rowOf = ({ continuing, options, run, suspending }: Driver): NonNullable<Append["row"]> => ({
  status: suspending === undefined ? run.status : "suspended",
  result: run.end === undefined ? null : Notation.encodeOne(run.end),
  worker: run.end === undefined && suspending === undefined ? options.worker : null,
  wakeAt: suspending === undefined || suspending === Infinity ? null : suspending,
  received: run.received,
  continued: continuing ? { version: run.handler.definition.version } : undefined
})

const afterAppend = (
  driver: Driver,
  { create, tell }: Append,
  written: Exit.Exit<Written, StoreError>,
  waiters: ReadonlyArray<() => void>
): Eager.Eager => {
  const { run, started } = driver
  if (Exit.isFailure(written)) return refused(run, written.cause)
  if (written.value === "Lost") {
    run.ending = create === undefined ? { _tag: "Left" } : { _tag: "Exists" }
    return
  }
  if (run.seq++ === 0) Deferred.doneUnsafe(started, Exit.succeed(undefined))
  driver.durableEnd = run.end !== undefined
  const told = tell === undefined ? undefined : run.core.starting.told(tell.execution)
  return Eager.andThen(told, () => {
    for (const waiter of waiters) waiter()
  })
}

/** What goes to who started it: its end, that it is parked and why, and that it goes on. */
const telling = (run: Run.Run): Append["tell"] => {
  const { core, end, parent } = run
  if (parent === undefined) return undefined
  const now = end?._tag === "SagaParked" ? JSON.stringify(end.reason) : undefined
  if (now === run.told && (end === undefined || end._tag === "SagaParked")) return undefined
  run.told = now
  return Starting.tell(core.id, parent, end)
}

/** The store refused this append for good, or the lease ended before it answered. */
const refused = (run: Run.Run, cause: Cause.Cause<StoreError>): void => {
  const error = Cause.findErrorOption(cause)
  if (Option.isSome(error) && run.seq === 0) {
    run.ending = { _tag: "Failed", error: error.value }
  } else if (Option.isSome(error) && !error.value.retryable && run.end?._tag !== "SagaParked") {
    // What was refused is not in the journal, so there it did not happen: only the park is recorded.
    Run.finishPark(run, { _tag: "Unencodable", what: "an append", message: error.value.message })
  } else {
    run.ending = { _tag: "Left" }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: where it goes from here
// ---------------------------------------------------------------------------------------------------------------------

/** Moves the execution on where that takes no event: to its end, to its roll-back, to its park. */
const advance = (driver: Driver): Eager.Eager => {
  const { run } = driver
  const { core } = run
  if (run.ending !== undefined) return
  if (core.seal?._tag === "Park") {
    if (Run.inFlight(run) === 0) Run.finishPark(run, core.seal.reason)
    return
  }
  if (run.rollingBack) return
  // A saga that has nothing left to do ends here; everything else is the next owner's.
  const exit = Run.exit(run)
  if (core.draining && (run.commits.length > 0 || exit === undefined || Exit.isFailure(exit))) return
  const settled = core.undoPending === undefined ? undefined : settlePivot(run)
  return Eager.andThen(settled, () => {
    if (core.seal?._tag === "Undo") return advanceUndo(run, core.seal.cause)
    if (exit !== undefined && core.seal === undefined) return conclude(driver, exit)
  })
}

/** The body has ended: so does the saga, once nothing of it is in flight. */
const conclude = (driver: Driver, exit: Exit.Exit<unknown, unknown>): Eager.Eager => {
  const { run } = driver
  const orphan = Run.orphan(run)
  if (orphan !== undefined) {
    const message = `${orphan} was asked by a fiber that outlives the saga's body: join it before the body ends`
    Run.defect(run, undefined, message)
    return
  }
  const commits = Exit.isSuccess(exit) && run.commits.length > 0 && run.core.pivotPassed
  if (!commits && Run.unsettled(run)) return
  return Exit.isSuccess(exit) ? complete(driver, exit.value) : fail(run, exit.cause)
}

/** A roll-back waits for the pivot: it is not tried again, and what is in flight is awaited. */
const settlePivot = Effect.fnUntraced(function*(run: Run.Run) {
  for (const task of run.tasks.values()) {
    if (task._tag === "Step" && task.request.kind === "pivot") {
      yield* Forward.withdraw(run.settler, task) ?? Effect.void
    }
  }
})

const advanceUndo = Effect.fnUntraced(function*(run: Run.Run, why: Journal.RollbackCause) {
  yield* settleAll(run)
  if (Run.unsettled(run) || run.core.seal?._tag !== "Undo" || why._tag === "Failed") return
  Undoing.begin(run, why, Undoing.causeOf(run, why))
})

/** Nothing new is tried: what waits is settled, what is in flight is awaited. */
const settleAll = Effect.fnUntraced(function*(run: Run.Run) {
  run.startNow = run.startNow.filter(Run.undoes)
  run.startDurable.length = 0
  for (const task of run.tasks.values()) {
    if (!Run.undoes(task)) yield* Forward.withdraw(run.settler, task) ?? Effect.void
  }
})

const complete = (driver: Driver, value: unknown): Eager.Eager => {
  const { run } = driver
  if (run.commits.length > 0 && !run.core.pivotPassed) {
    Intake.passPivot(run)
    return Intake.quiesce(run)
  }
  if (!Intake.allCommitted(run) || Run.unsettled(run)) return
  if (run.continuing !== undefined) return continueAsNew(driver, run.continuing)
  return store(run, run.handler.definition.success.encode(value), (json) => {
    if (Result.isSuccess(json)) {
      return Run.finish(run, { _tag: "SagaCompleted", at: Core.now(run.core), value: json.success }, "completed")
    }
    Run.park(run, { _tag: "Unencodable", what: "the saga's result", message: json.failure })
  })
}

/** The body begins anew in this execution, once that is durable: with an empty journal, and nothing to undo. */
const continueAsNew = (driver: Driver, { request }: Body.Asked): Eager.Eager => {
  const { run } = driver
  const { core, handler: { definition } } = run
  if (request._tag !== "Continue") return
  const holds = core.pivotPassed ? [] : [...run.held.values()].filter(({ status }) => !isSettled(status))
  if (holds.length > 0) {
    const names = holds.map(({ ref }) => Journal.refName(ref)).join(", ")
    const message = `it would continue as new while it holds the compensations of ${names}: ` +
      "undo them before, or pass the point of no return"
    return void Run.defect(run, undefined, message)
  }
  return store(run, definition.payload.encode(request.payload), (json) => {
    if (Result.isFailure(json)) {
      return Run.park(run, { _tag: "Unencodable", what: "the payload to continue with", message: json.failure })
    }
    Core.record(core, SagaStarted.again(definition, Core.now(core), json.success, run))
    Run.setStatus(run, "running")
    driver.continuing = true
    return flush(driver, () => {
      driver.continuing = false
      if (run.ending === undefined) run.ending = { _tag: "Continued", seq: run.seq - 1 }
    })
  })
}

const fail = (run: Run.Run, cause: Cause.Cause<unknown>): Eager.Eager => {
  const error = Cause.findErrorOption(cause)
  const died = (message: string) => void Run.defect(run, undefined, message)
  if (Cause.hasDies(cause) || Option.isNone(error)) return died(Attempt.defectMessage(cause))
  if (run.core.pivotPassed) return died(`it failed after the point of no return: ${Attempt.defectMessage(cause)}`)
  return store(run, run.handler.definition.error.encode(error.value), (json) => {
    if (Result.isFailure(json)) {
      return died(`it failed with an error that the saga does not declare: ${Attempt.defectMessage(cause)}`)
    }
    Undoing.begin(run, { _tag: "Failed", error: json.success }, cause)
  })
}

/** A value in its stored form, or why it has none. */
const store = (
  run: Run.Run,
  encode: Effect.Effect<Schema.Json, Schema.SchemaError, unknown>,
  then: (json: Result.Result<Schema.Json, string>) => Eager.Eager
): Eager.Eager =>
  Eager.after(Core.provide(encode, run.core.context), (exit) => {
    if (Exit.isFailure(exit)) return then(Result.fail(Attempt.defectMessage(exit.cause)))
    return then(Result.mapError(Core.check(run.core, exit.value), (error) => error.message))
  })
