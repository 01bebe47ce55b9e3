/**
 * One run of a saga, with what was chosen to happen at some of its points.
 *
 * It lets processes follow each other until the saga has ended, and says what is broken then; how a process runs says
 * `process`, what must hold `rules`.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type * as ExecutionId from "../../ExecutionId.ts"
import * as Notation from "../../internal/notation.ts"
import type * as Journal from "../../Journal.ts"
import type * as Saga from "../../Saga.ts"
import type * as SagaEngine from "../../SagaEngine.ts"
import * as SagaInspector from "../../SagaInspector.ts"
import * as SagaStore from "../../SagaStore.ts"
import type * as SagaWorker from "../../SagaWorker.ts"
import { CrashPoint } from "./crashPoint.ts"
import * as Process from "./process.ts"
import { violations } from "./rules.ts"
import { type Act, type Event, format, formatEntry } from "./timeline.ts"
import * as Virtual from "./virtual.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What happens to a process at a point.
 *
 * **Details**
 *
 * `dies`: nothing of it reaches the store or a participant any more. `loses the answer`: what it appended is durable,
 * and it is told that the store could not be reached. `is taken over`: it stands still until another process has taken
 * its execution, and then goes on as if nothing had been. `is stopped`: as a deployment stops it. `is cancelled`:
 * somebody cancels the execution there. Anything else that somebody does from outside, a signal for instance, has a
 * name and is run.
 *
 * @category models
 * @since 0.1.0
 */
export type Mishap = "dies" | "loses the answer" | "is taken over" | "is stopped" | "is cancelled" | Outside

/**
 * What somebody does from outside at a point; its process waits for it meanwhile.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outside {
  /** What happens to the execution, in the third person: "is signalled". */
  readonly name: string
  /** Runs in a process of its own, without handlers. That it fails is ignored: it may come too early or too late. */
  readonly run: (execution: ExecutionId.ExecutionId) => Effect.Effect<unknown, unknown, SagaEngine.SagaEngine>
}

/**
 * One run of a saga, once it has ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface CrashRun<A, E, CE> {
  /** Which steps refused, and what happened where, as people read it. */
  readonly name: string
  readonly execution: ExecutionId.ExecutionId
  readonly outcome: Saga.Status<A, E, CE>
  /** What steps did, in the order in which they began. */
  readonly acts: ReadonlyArray<Act>
  readonly journal: ReadonlyArray<Journal.Entry>
  /** Everything that was seen, as people read it. */
  readonly timeline: string
}

/**
 * How everywhere is everywhere, and what must hold there.
 *
 * @category options
 * @since 0.1.0
 */
export interface CrashOptions<A, E, CE, R, P> {
  /** The layers of the sagas; built anew in each process. */
  readonly handlers: Layer.Layer<never, unknown, R>
  /**
   * What the steps ask: built anew for each run, and it outlives the processes.
   *
   * @default what the handlers need is taken from the context of the test, and shared by all runs
   */
  readonly participants?: Layer.Layer<P, unknown> | undefined
  /** What must hold beside the rules: it fails or dies where it does not. */
  readonly check?: ((run: CrashRun<A, E, CE>) => Effect.Effect<unknown, unknown, R | P>) | undefined
  /**
   * An empty store for each run.
   *
   * @default a store in memory
   */
  readonly store?: Effect.Effect<SagaStore.Encoded, unknown, Scope.Scope> | undefined
  /**
   * What happens, one after the other, in the runs of each course.
   *
   * @default each mishap alone, two deaths, and a death after a cancel
   */
  readonly mishaps?: ReadonlyArray<ReadonlyArray<Mishap>> | undefined
  /**
   * At how many of the next points the second mishap of a chain happens, after each point of the first.
   *
   * @default 3
   */
  readonly pairs?: number | undefined
  /**
   * Which steps refuse, each in a course of its own.
   *
   * @default every step that can fail
   */
  readonly refusing?: ReadonlyArray<string> | undefined
  /**
   * What a step refuses with.
   *
   * @default a value that fits its schema
   */
  readonly errors?: Readonly<Record<string, unknown>> | undefined
  /**
   * How it may end; rolled back, too, where somebody cancels it.
   *
   * @default as the undisturbed run of its course
   */
  readonly ends?: ReadonlyArray<SagaStore.Status> | undefined
  /** What a person answers each time it is parked, in order. What does not apply is refused. */
  readonly answers?:
    | ReadonlyArray<
      (
        inspector: SagaInspector.SagaInspector["Service"],
        execution: ExecutionId.ExecutionId
      ) => Effect.Effect<unknown, unknown>
    >
    | undefined
  /**
   * The settings of the workers.
   *
   * @default a lease of 30 seconds, longer where the saga waits for days
   */
  readonly worker?: SagaWorker.Options | undefined
  /**
   * How long nothing may happen, in virtual time, before it counts as stuck.
   *
   * @default "3 days"
   */
  readonly within?: Duration.Input | undefined
}

/**
 * What is run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Setting {
  readonly definition: Saga.Any
  readonly payload: unknown
  readonly options: CrashOptions<unknown, unknown, unknown, SagaEngine.SagaEngine, never>
  readonly context: Context.Context<never>
}

/**
 * Which steps refuse, each time that they are tried, and with what.
 *
 * @category models
 * @since 0.1.0
 */
export interface Course {
  readonly refusing: ReadonlyArray<string>
  readonly errors: ReadonlyMap<string, unknown>
}

/**
 * Something that happens at a point; `at` is how many points all processes together have passed before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Injection {
  readonly at: number
  readonly mishap: Mishap
}

/**
 * What came of a run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Result {
  readonly status: SagaStore.Status
  readonly points: ReadonlyArray<string>
  /** Which of them come after an append. */
  readonly appends: ReadonlySet<number>
  readonly acts: ReadonlyMap<string, Process.Doing>
  /** Virtual time that it took, in milliseconds. */
  readonly took: number
  readonly broken: ReadonlyArray<string>
  readonly timeline: ReadonlyArray<Event>
}

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Which steps refuse, as people read it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const courseName = ({ refusing }: Course): string =>
  refusing.length === 0
    ? "no step refuses"
    : `${refusing.join(" and ")} ${refusing.length === 1 ? "refuses" : "refuse"}`

/**
 * Which steps refuse, and what happens where, as people read it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const runName = (course: Course, injections: ReadonlyArray<Injection>, points: ReadonlyArray<string>): string =>
  [
    courseName(course),
    ...injections.map(({ at, mishap }) => `${mishapName(mishap)} ${points[at] ?? `at point ${at}`}`)
  ].join(", ")

const mishapName = (mishap: Mishap): string => typeof mishap === "string" ? mishap : mishap.name

/**
 * Runs a saga once, to its end.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (
  setting: Setting,
  course: Course,
  injections: ReadonlyArray<Injection>,
  worker: SagaWorker.Options,
  baseline: SagaStore.Status | undefined
): Effect.Effect<Result> =>
  Effect.scoped(Effect.gen(function*() {
    const run = yield* prepare(setting, course, injections, worker)
    const { broken, id, points, processes, virtual, world } = run
    const { answers, check, ends } = setting.options
    const cancelled = injections.some((_) => _.mishap === "is cancelled")
    const outside = injections.some((_) => typeof _.mishap === "object")
    if (cancelled || outside || answers !== undefined) run.client = yield* spawn(run, -1, Layer.empty)

    yield* untilEnded(run)
    yield* wakeUp(run)

    const row = yield* Effect.orDie(world.encoded.read(id))
    if (row === null) {
      return yield* Effect.die(new Error(`${setting.definition.tag} never starts: its store keeps nothing`))
    }
    for (const { at, mishap } of injections) {
      if (at >= points.length) {
        broken.push(`point ${at}, where it ${mishapName(mishap)}, was not reached: it took another way`)
      }
    }
    const undisturbed = ends ?? [baseline ?? row.status]
    const permitted = cancelled ? [...undisturbed, "rolledback"] : undisturbed
    if (baseline === undefined && ends === undefined && answers === undefined && row.status === "parked") {
      broken.push(`it parks although nothing has happened to it${parkReason(world.timeline)}: say so in ends`)
    }
    if (!permitted.includes(row.status)) broken.push(`it ends ${row.status}, not ${permitted.join(" or ")}`)
    const all = new Map<string, SagaStore.Status>()
    for (const execution of world.owners.keys()) {
      const found = yield* Effect.orDie(world.encoded.read(execution))
      if (found !== null) all.set(execution, found.status)
    }
    for (const execution of world.owners.keys()) broken.push(...(yield* judge(run, execution, all)))

    const last = processes.at(-1)!
    const polled = yield* virtual.run(Process.inside(world, last, setting.definition.poll(id)), last.gate)
    if (polled === undefined) broken.push("poll waits for something")
    else if (Exit.isFailure(polled)) broken.push(`poll fails: ${Cause.pretty(polled.cause)}`)
    else if (statuses[polled.value._tag] !== row.status) {
      broken.push(`its row says ${row.status}, poll ${polled.value._tag}`)
    } else if (check !== undefined) {
      const checked = yield* virtual.run(
        Process.inside(
          world,
          last,
          Effect.suspend(() =>
            check({
              name: runName(course, injections, points),
              execution: id,
              outcome: polled.value,
              acts: world.timeline.filter((_) => _._tag === "Act"),
              journal: world.timeline.flatMap((_) => _._tag === "Append" && _.execution === id ? _.entries : []),
              timeline: format(world.timeline)
            })
          )
        ),
        last.gate
      )
      if (checked === undefined) broken.push("the check waits for something")
      else if (Exit.isFailure(checked)) broken.push(`the check: ${Cause.pretty(checked.cause)}`)
    }
    const took = virtual.now()
    for (const process of processes) Process.kill(process)
    return { status: row.status, points, appends: run.appends, acts: run.acts, took, broken, timeline: world.timeline }
  }))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Run {
  readonly setting: Setting
  readonly course: Course
  readonly injections: ReadonlyArray<Injection>
  readonly id: ExecutionId.ExecutionId
  readonly worker: SagaWorker.Options
  readonly virtual: Virtual.Virtual
  readonly world: Process.World
  readonly processes: Array<Process.Process>
  /** Something happened to these: others come in their place. */
  readonly gone: Set<Process.Process>
  readonly takenOver: Set<Process.Process>
  /** Who cancels, does what else comes from outside, and answers what is parked. */
  client: Process.Process | undefined
  readonly points: Array<string>
  readonly appends: Set<number>
  readonly acts: Map<string, Process.Doing>
  readonly broken: Array<string>
}

const statuses: Readonly<Record<string, SagaStore.Status>> = {
  Completed: "completed",
  RolledBack: "rolledback",
  Parked: "parked",
  Abandoned: "abandoned"
}

const parkReason = (timeline: ReadonlyArray<Event>): string => {
  const parks = timeline.flatMap((_) => _._tag === "Append" ? _.entries.filter((one) => one._tag === "SagaParked") : [])
  const reason = parks.at(-1)?.reason
  return reason === undefined ? "" : `, for ${reason._tag}`
}

const prepare = Effect.fnUntraced(function*(
  setting: Setting,
  course: Course,
  injections: ReadonlyArray<Injection>,
  worker: SagaWorker.Options
): Effect.fn.Return<Run, never, Scope.Scope> {
  const { definition, options, payload } = setting
  const virtual = Virtual.make()
  const scope = yield* Effect.scope
  const build = Effect.fnUntraced(function*<A>(effect: Effect.Effect<A, unknown, Scope.Scope>, what: string) {
    const context = Context.add(setting.context, Scope.Scope, scope)
    const exit = yield* virtual.run(Effect.provideContext(effect, context), Virtual.makeGate())
    if (exit === undefined) return yield* Effect.die(new Error(`${what} cannot be built without time`))
    return Exit.isSuccess(exit) ? exit.value : yield* Effect.die(Cause.squash(exit.cause))
  })
  const encoded = yield* build(options.store ?? SagaStore.makeMemory, "the store")
  const participants = yield* build(Layer.build(options.participants ?? Layer.empty), "the participants")
  const run: Run = {
    setting,
    course,
    injections,
    id: definition.executionId(payload),
    worker,
    virtual,
    world: {
      virtual,
      encoded,
      timeline: [],
      owners: new Map(),
      epochs: new Map(),
      definitions: new Map(),
      hooks: {
        call: (process, call, effect) => called(run, process, call, effect),
        act: (process, act, effect, see) => acted(run, process, act, effect, see)
      },
      context: Context.merge(setting.context, participants)
    },
    processes: [],
    gone: new Set(),
    takenOver: new Set(),
    client: undefined,
    points: [],
    appends: new Set(),
    acts: new Map(),
    broken: []
  }
  return run
})

const spawn = Effect.fnUntraced(function*(run: Run, index: number, handlers: Process.Options["handlers"]) {
  const { virtual, world } = run
  const references = (process: Process.Process) => Context.make(CrashPoint, (name) => pass(run, process, name))
  const process = yield* Process.spawn(world, { index, handlers, worker: run.worker, references })
  yield* virtual.settle
  if (process.failure !== undefined) return yield* Effect.die(Cause.squash(process.failure))
  return process
})

/** Lets processes follow each other until nothing is left to do. */
const untilEnded = Effect.fnUntraced(function*(run: Run) {
  const { broken, client, gone, id, processes, setting, virtual, world } = run
  const { definition, options, payload } = setting
  const within = Duration.toMillis(Duration.fromInputUnsafe(options.within ?? "3 days"))
  const answers = [...options.answers ?? []]
  const next = Effect.gen(function*() {
    const process = yield* spawn(run, processes.length, options.handlers)
    processes.push(process)
    if ((yield* Effect.orDie(world.encoded.read(id))) !== null) return
    const started = yield* virtual.run(Process.inside(world, process, definition.start(payload)), process.gate)
    if (started !== undefined && Exit.isFailure(started) && !gone.has(process)) {
      return yield* Effect.die(Cause.squash(started.cause))
    }
  })
  yield* next
  let seen = 0
  let since = 0
  while (true) {
    yield* virtual.settle
    if (gone.has(processes.at(-1)!)) {
      yield* next
      continue
    }
    const row = yield* Effect.orDie(world.encoded.read(id))
    // Mail makes an execution due again: a parked one to be answered, one that has ended to be told of.
    const isOver = row !== null && row.result !== null && row.mail <= row.received
    const answer = isOver && row.worker === null && row.status === "parked" ? answers.shift() : undefined
    if (answer === undefined && isOver && row.worker === null && (yield* atRest(run))) return
    if (answer !== undefined) {
      const inspector = Context.get(client!.services!, SagaInspector.SagaInspector)
      yield* virtual.run(Process.inside(world, client!, answer(inspector, id)), client!.gate)
      continue
    }
    if (world.timeline.length > seen) {
      seen = world.timeline.length
      since = virtual.now()
    }
    if (!(yield* virtual.advance(Math.max(since, row?.wakeAt ?? 0) + within))) {
      if (isOver) return
      broken.push(
        world.definitions.has(definition.tag)
          ? `it stays ${row?.status ?? "unknown"} for ever`
          : `nobody runs it: handlers has no layer of ${definition.tag}`
      )
      return
    }
  }
})

/** What stood still goes on: nothing that has ended is taken up again. */
const wakeUp = Effect.fnUntraced(function*(run: Run) {
  const { broken, processes, virtual, world } = run
  const held = processes.filter(({ gate }) => gate.state === "held")
  if (held.length === 0) return
  const before = world.timeline.length
  for (const { gate } of held) virtual.open(gate)
  yield* virtual.settle
  const until = virtual.now() + 2 * Duration.toMillis(Duration.fromInputUnsafe(run.worker.lease ?? "30 seconds"))
  while (yield* virtual.advance(until));
  for (const late of world.timeline.slice(before)) {
    // What came too late is told of after the end, by whoever finds it.
    const entries = late._tag === "Append" ? late.entries.filter((_) => _._tag !== "MailUndelivered") : []
    if (entries.length > 0) broken.push(`after the end was appended: ${entries.map(formatEntry).join(", ")}`)
  }
})

/** Whether everything that has begun is at rest, the children too. */
const atRest = Effect.fnUntraced(function*({ world }: Run) {
  for (const execution of world.owners.keys()) {
    const row = yield* Effect.orDie(world.encoded.read(execution))
    if (row !== null && (row.result === null || row.worker !== null || row.mail > row.received)) return false
  }
  return true
})

const judge = Effect.fnUntraced(function*(
  { world }: Run,
  execution: string,
  all: ReadonlyMap<string, SagaStore.Status>
) {
  const row = yield* Effect.orDie(world.encoded.read(execution))
  if (row === null) return [`${execution} has a journal and no row`]
  const journal = yield* Effect.orDie(SagaStore.make(world.encoded).journal(execution))
  const inbox = yield* Effect.orDie(world.encoded.inbox(execution, 0))
  const definition = world.definitions.get(row.name)
  return violations({
    execution,
    timeline: world.timeline.filter((event) => event.execution === execution),
    journal: journal.appends.flatMap((_) => _.entries),
    status: row.status,
    mail: row.mail,
    inbox: inbox.map((_) => _.number),
    sequential: definition?.compensation !== "parallel",
    all,
    whole: world.timeline
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// points
// ---------------------------------------------------------------------------------------------------------------------

/** Passes a point: what was chosen to happen here happens. */
const pass = (run: Run, process: Process.Process, what: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { client, gone, injections, points, virtual, world } = run
    if (process.index < 0) return Effect.void
    // Nothing more happens to one that was taken over.
    if (run.takenOver.has(process)) return virtual.pass(process.gate)
    const at = points.length
    points.push(process.index === 0 ? what : `${what} in process ${process.index}`)
    const mishap = injections.find((_) => _.at === at)?.mishap
    if (typeof mishap === "object") return Effect.ignore(Process.inside(world, client!, mishap.run(run.id)))
    switch (mishap) {
      case undefined:
      case "loses the answer":
        return Effect.void
      case "dies":
        Process.kill(process)
        gone.add(process)
        return Effect.never
      case "is taken over":
        process.gate.state = "held"
        run.takenOver.add(process)
        gone.add(process)
        return virtual.pass(process.gate)
      case "is stopped":
        gone.add(process)
        return Effect.forkDetach(process.stop).pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(Effect.yieldNow))
      case "is cancelled":
        return Effect.ignore(Process.inside(world, client!, run.setting.definition.cancel(run.id)))
    }
  })

const called = <A>(
  run: Run,
  process: Process.Process,
  { batch, operation }: Process.Call,
  effect: Effect.Effect<A, SagaStore.StoreError>
): Effect.Effect<A, SagaStore.StoreError> => {
  if (operation === "append") {
    const what = batch!.map(({ at, entries }) =>
      (Notation.expand(JSON.parse(entries), at) as ReadonlyArray<Journal.Entry>).map(formatEntry).join(", ")
    ).join("; ")
    return pass(run, process, `before the append of ${what}`).pipe(
      Effect.andThen(effect),
      Effect.tap(answered(run, process, `after the append of ${what}`))
    )
  }
  if (operation !== "claim") return effect
  return Effect.tap(effect, (claimed) => {
    if (!Array.isArray(claimed) || claimed.length === 0) return Effect.void
    for (const zombie of run.takenOver) {
      if (zombie !== process && zombie.gate.state === "held") run.virtual.open(zombie.gate)
    }
    return answered(run, process, "after the claim")
  })
}

/** What was appended is durable; whether its process hears of it may be chosen here. */
const answered = (run: Run, process: Process.Process, what: string): Effect.Effect<void, SagaStore.StoreError> =>
  Effect.suspend(() => {
    const at = run.points.length
    const counts = process.index >= 0 && !run.takenOver.has(process)
    if (counts) run.appends.add(at)
    const lost = counts && run.injections.some((_) => _.at === at && _.mishap === "loses the answer")
    return Effect.andThen(pass(run, process, what), lost ? Effect.fail(answerLost) : Effect.void)
  })

const answerLost = new SagaStore.StoreError({
  operation: "append",
  retryable: true,
  cause: new Error("the answer was lost, as was chosen here")
})

const acted = (
  run: Run,
  process: Process.Process,
  act: Process.Doing,
  effect: Effect.Effect<unknown, unknown, unknown>,
  see: (effect: Effect.Effect<unknown, unknown, unknown>) => Effect.Effect<unknown, unknown, unknown>
): Effect.Effect<unknown, unknown, unknown> => {
  const { acts, course } = run
  if (act.kind === "execute") acts.set(act.step, act)
  const goesOn = act.stepKind === "retryable" || act.stepKind === "onCommit"
  const refuses = act.kind === "execute" && course.errors.has(act.step) && (!goesOn || act.attempt <= refusalsThatPass)
  return pass(run, process, `before ${act.name}`).pipe(
    Effect.andThen(Effect.exit(see(refuses ? Effect.fail(course.errors.get(act.step)) : effect))),
    Effect.tap(pass(run, process, `after ${act.name}`)),
    Effect.flatten
  )
}

/** How often a step refuses that has to happen in the end. */
const refusalsThatPass = 2
