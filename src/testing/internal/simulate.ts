/**
 * One scenario: several workers on one store, and what happens to them, on virtual time.
 *
 * Everything that is random depends on the seed and on what it is about, so that a scenario with less in it goes its
 * way as before. It judges by `rules`; which scenario is run says `Simulation`.
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
import * as Limits from "../../internal/limits.ts"
import type * as Journal from "../../Journal.ts"
import * as SagaEngine from "../../SagaEngine.ts"
import { SagaError } from "../../SagaError.ts"
import * as SagaStore from "../../SagaStore.ts"
import type * as SagaWorker from "../../SagaWorker.ts"
import * as Draw from "./draw.ts"
import * as Process from "./process.ts"
import { violations } from "./rules.ts"
import { type Event, format } from "./timeline.ts"
import * as Virtual from "./virtual.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Something that happens to a worker, or to a saga; all times in milliseconds of virtual time.
 *
 * **Details**
 *
 * `Crash`: the process dies, and another comes in its place after `down`. `Stop`: it is stopped as by a deployment.
 * `Pause`: it stands still, then goes on as if nothing had been. `Unavailable`: it does not reach the store.
 * `LostAnswers`: the store does what it asks, and it does not hear of it. `Slow`: its calls of the store take `by`
 * longer. `Skew`: its clock jumps, forward or back. `Cancel`: somebody cancels a saga.
 *
 * @category models
 * @since 0.1.0
 */
export type Trouble =
  | { readonly _tag: "Crash" | "Stop"; readonly at: number; readonly worker: number; readonly down: number }
  | {
    readonly _tag: "Pause" | "Unavailable" | "LostAnswers"
    readonly at: number
    readonly worker: number
    readonly lasts: number
  }
  | {
    readonly _tag: "Slow"
    readonly at: number
    readonly worker: number
    readonly lasts: number
    readonly by: number
  }
  | { readonly _tag: "Skew"; readonly at: number; readonly worker: number; readonly by: number }
  | { readonly _tag: "Cancel"; readonly at: number; readonly saga: number }

/**
 * Everything that a run depends on, beside the code.
 *
 * @category models
 * @since 0.1.0
 */
export interface Scenario {
  readonly seed: string | number
  /** The numbers of the sagas that are started. */
  readonly sagas: ReadonlyArray<number>
  readonly workers: number
  /** Sagas start within this time, in milliseconds. */
  readonly spread: number
  readonly troubles: ReadonlyArray<Trouble>
}

/**
 * An execution of a simulation, once all have ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ended {
  /** Its saga's number. */
  readonly saga: number
  readonly execution: ExecutionId.ExecutionId
  readonly status: SagaStore.Status
  readonly journal: ReadonlyArray<Journal.Entry>
}

/**
 * What is run, and what must hold.
 *
 * @category options
 * @since 0.1.0
 */
export interface SimulationOptions<R, P> {
  /** The layers of the sagas; built anew in each process. */
  readonly handlers: Layer.Layer<never, unknown, R>
  /**
   * What the steps ask: built once, and it outlives the processes.
   *
   * @default what the handlers need is taken from the context of the test
   */
  readonly participants?: Layer.Layer<P, unknown> | undefined
  /** Starts saga `n`, from 0; again where its process dies. What it draws depends on the seed and on `n` alone. */
  readonly start: (
    n: number,
    draw: Draw.Draw
  ) => Effect.Effect<ExecutionId.ExecutionId, SagaError, SagaEngine.SagaEngine>
  /** What must hold beside the rules, when all have ended: it fails or dies where it does not. */
  readonly check?: ((ended: ReadonlyArray<Ended>) => Effect.Effect<unknown, unknown, R | P>) | undefined
  /**
   * The settings of the workers.
   *
   * @default a lease of 5 seconds, a margin of 1 second, a poll each 500 milliseconds, a grace of 1 second
   */
  readonly worker?: SagaWorker.Options | undefined
  /**
   * How long nothing may happen, in virtual time, before it counts as stuck; longer than any act takes.
   *
   * @default "10 minutes"
   */
  readonly within?: Duration.Input | undefined
}

/**
 * What came of a scenario.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome {
  readonly ended: ReadonlyArray<Ended>
  readonly broken: ReadonlyArray<Broken>
  readonly timeline: ReadonlyArray<Event>
  /** Virtual time that it took, in milliseconds. */
  readonly took: number
  /** How many timers fired: what it cost. */
  readonly steps: number
}

/**
 * An execution, or all together, that breaks a rule.
 *
 * @category models
 * @since 0.1.0
 */
export interface Broken {
  /** Undefined where it is all together. */
  readonly saga: number | undefined
  readonly execution: string
  readonly sentences: ReadonlyArray<string>
  readonly timeline: string
}

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs a scenario until all its executions have ended, or nothing happens any more.
 *
 * @category running
 * @since 0.1.0
 */
export const simulate = (
  scenario: Scenario,
  options: SimulationOptions<SagaEngine.SagaEngine, never>,
  context: Context.Context<never>
): Effect.Effect<Outcome> =>
  Effect.scoped(Effect.gen(function*() {
    const run = yield* prepare(scenario, options, context)
    const { virtual } = run.world
    for (let slot = 0; slot < scenario.workers; slot++) enter(run, slot)
    for (const saga of scenario.sagas) {
      virtual.at(startsAt(scenario, saga), () => begin(run, saga, 0))
    }
    for (const trouble of scenario.troubles) virtual.at(trouble.at, () => strike(run, trouble))

    const { open, steps } = yield* untilEnded(run)
    const outcome: Outcome = { ...(yield* judge(run, open)), steps }
    for (const process of run.processes) Process.kill(process)
    return outcome
  }))

/**
 * When a saga starts, in milliseconds.
 *
 * @category drawing
 * @since 0.1.0
 */
export const startsAt = ({ seed, spread }: Scenario, saga: number): number =>
  Draw.make(seed, `start/${saga}`).int(0, spread)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** A place for a process: when one is gone, another comes. */
interface Slot {
  readonly index: number
  process: Process.Process | undefined
  skew: number
  /** Until when, in virtual time. */
  unavailable: number
  deaf: number
  slow: number
  slowBy: number
}

interface Simulation {
  readonly scenario: Scenario
  readonly options: SimulationOptions<SagaEngine.SagaEngine, never>
  readonly world: Process.World
  readonly worker: SagaWorker.Options
  readonly slots: ReadonlyArray<Slot>
  readonly processes: Array<Process.Process>
  readonly slotOf: Map<Process.Process, Slot>
  readonly client: Process.Process
  readonly started: Map<number, ExecutionId.ExecutionId>
  /** A bug in what is run, not in what is looked for. */
  readonly fatal: Array<Cause.Cause<unknown>>
}

const defaultWorker: SagaWorker.Options = {
  lease: "5 seconds",
  margin: "1 second",
  poll: "500 millis",
  grace: "1 second"
}

const prepare = Effect.fnUntraced(function*(
  scenario: Scenario,
  options: Simulation["options"],
  context: Context.Context<never>
): Effect.fn.Return<Simulation, never, Scope.Scope> {
  const virtual = Virtual.make()
  const scope = yield* Effect.scope
  const encoded = yield* SagaStore.makeMemory
  const built = yield* virtual.run(
    Effect.provideContext(
      Layer.build(options.participants ?? Layer.empty),
      Context.add(context, Scope.Scope, scope)
    ),
    Virtual.makeGate()
  )
  if (built === undefined) return yield* Effect.die(new Error("the participants cannot be built without time"))
  if (Exit.isFailure(built)) return yield* Effect.die(Cause.squash(built.cause))
  const counts = new Map<string, number>()
  const count = (key: string): number => {
    const next = (counts.get(key) ?? 0) + 1
    counts.set(key, next)
    return next
  }
  const slotOf = new Map<Process.Process, Slot>()
  const world: Process.World = {
    virtual,
    encoded,
    timeline: [],
    owners: new Map(),
    epochs: new Map(),
    definitions: new Map(),
    hooks: {
      call: (process, call, effect) => {
        const slot = slotOf.get(process)
        return slot === undefined ? effect : called({ slot, call, effect, count, scenario, virtual })
      },
      act: (_, { attempt, key, name }, effect, see) => {
        const draw = Draw.make(scenario.seed, `act/${name}/${key}/${attempt}`)
        // Now and then one takes long.
        const there = Draw.latency(draw, draw.chance(0.03) ? 3_000 : 100)
        return Effect.delay(
          Effect.flatMap(Effect.exit(see(effect)), (exit) => Effect.delay(exit, Draw.latency(draw, 50))),
          there
        )
      }
    },
    // More die here than anywhere else, and none of them because of what it ran.
    context: Context.add(Context.merge(context, built.value), Limits.MaxClaims, 1_000)
  }
  const worker = options.worker ?? defaultWorker
  const client = yield* Process.spawn(world, { index: -1, handlers: Layer.empty, worker })
  yield* virtual.settle
  const slots = Array.from({ length: scenario.workers }, (_, index): Slot => ({
    index,
    process: undefined,
    skew: Draw.make(scenario.seed, `skew/${index}`).int(-2_000, 2_000),
    unavailable: 0,
    deaf: 0,
    slow: 0,
    slowBy: 0
  }))
  return {
    scenario,
    options,
    world,
    worker,
    slots,
    processes: [],
    slotOf,
    client,
    started: new Map(),
    fatal: []
  }
})

/** A call of the store takes its way there and back, and may not come through. */
const called = <A>({ call, count, effect, scenario, slot, virtual }: {
  readonly slot: Slot
  readonly call: Process.Call
  readonly effect: Effect.Effect<A, SagaStore.StoreError>
  readonly count: (key: string) => number
  readonly scenario: Scenario
  readonly virtual: Virtual.Virtual
}): Effect.Effect<A, SagaStore.StoreError> =>
  Effect.suspend(() => {
    // A worker's own id is new in each run: its place is not.
    const key = `${call.operation}/${call.subject ?? slot.index}`
    const draw = Draw.make(scenario.seed, `call/${key}/${count(key)}`)
    const there = Draw.latency(draw, draw.chance(0.03) ? 300 : 5)
    const back = Draw.latency(draw, draw.chance(0.03) ? 300 : 5)
    const failure = (what: string) =>
      new SagaStore.StoreError({ operation: call.operation, retryable: true, cause: new Error(what) })
    const done = Effect.suspend(() =>
      virtual.now() < slot.unavailable ? Effect.fail(failure("the store cannot be reached")) : effect
    )
    const slow = virtual.now() < slot.slow ? slot.slowBy : 0
    return Effect.delay(done, there + slow).pipe(
      Effect.flatMap((value) =>
        virtual.now() < slot.deaf
          ? Effect.delay(Effect.fail(failure("its answer was lost")), back)
          : Effect.delay(Effect.succeed(value), back)
      )
    )
  })

/** A process begins its work in a slot. */
const enter = (run: Simulation, index: number): void => {
  const { options, processes, slotOf, slots, worker, world } = run
  const slot = slots[index]!
  const spawned = Process.spawn(world, {
    index: processes.length,
    handlers: options.handlers,
    worker,
    skew: slot.skew,
    created: (process) => {
      processes.push(process)
      slotOf.set(process, slot)
      slot.process = process
    }
  })
  world.virtual.fork(spawned, Virtual.makeGate())
}

const isAlive = (process: Process.Process | undefined): process is Process.Process =>
  process !== undefined && process.gate.state === "open" && process.services !== undefined

/** Starts a saga through a worker, or from outside; again where nothing is heard of it. */
const begin = (run: Simulation, saga: number, times: number): void => {
  const { client, fatal, options, scenario, slots, started, world } = run
  const place = Draw.make(scenario.seed, `through/${saga}`).int(-1, scenario.workers - 1)
  const chosen = place < 0 || times > 3 ? client : slots[(place + times) % scenario.workers]!.process
  const process = isAlive(chosen) ? chosen : client
  const draw = Draw.make(scenario.seed, `saga/${saga}`)
  const start = Effect.suspend(() => options.start(saga, draw)).pipe(
    Effect.matchCause({
      onSuccess: (id) => {
        started.set(saga, id)
      },
      onFailure: (cause) => {
        const error = Cause.squash(cause)
        if (isUnavailable(error) || Cause.hasInterrupts(cause)) return
        fatal.push(cause)
      }
    })
  )
  world.virtual.fork(Process.inside(world, process, start), process.gate)
  world.virtual.at(world.virtual.now() + patience, () => {
    if (!started.has(saga) && fatal.length === 0) begin(run, saga, times + 1)
  })
}

/** How long a start may take, in milliseconds, until it is tried elsewhere. */
const patience = 10_000

const isUnavailable = (error: unknown): boolean =>
  error instanceof SagaError && error.reason._tag === "StoreUnavailable"

/** What was planned happens, as far as there is somebody that it can happen to. */
const strike = (run: Simulation, trouble: Trouble): void => {
  const { client, scenario, slots, started, world } = run
  const { virtual } = world
  if (trouble._tag === "Cancel") {
    const id = started.get(trouble.saga)
    if (id === undefined) return
    const cancel = SagaEngine.SagaEngine.use((engine) => engine.cancel(id, undefined))
    virtual.fork(Effect.ignoreCause(Process.inside(world, client, cancel)), client.gate)
    return
  }
  if (trouble.worker >= scenario.workers) return
  const slot = slots[trouble.worker]!
  const { process } = slot
  const until = "lasts" in trouble ? trouble.at + trouble.lasts : trouble.at
  switch (trouble._tag) {
    case "Crash":
    case "Stop":
      if (process === undefined) return
      slot.process = undefined
      if (trouble._tag === "Crash") Process.kill(process)
      else virtual.fork(process.stop, process.gate)
      virtual.at(trouble.at + trouble.down, () => enter(run, trouble.worker))
      return
    case "Pause":
      if (process === undefined || process.gate.state !== "open") return
      process.gate.state = "held"
      virtual.at(until, () => {
        if (process.gate.state === "held") virtual.open(process.gate)
      })
      return
    case "Unavailable":
      slot.unavailable = Math.max(slot.unavailable, until)
      return
    case "LostAnswers":
      slot.deaf = Math.max(slot.deaf, until)
      return
    case "Slow":
      slot.slow = Math.max(slot.slow, until)
      slot.slowBy = trouble.by
      return
    case "Skew":
      slot.skew += trouble.by
      if (process !== undefined) process.gate.skew = slot.skew
      return
  }
}

/** Lets time pass until all have ended; the sagas that do not. */
const untilEnded = Effect.fnUntraced(function*(run: Simulation) {
  const { fatal, options, scenario, slots, started, world } = run
  const { virtual } = world
  const within = Duration.toMillis(Duration.fromInputUnsafe(options.within ?? "10 minutes"))
  const open = new Set(scenario.sagas)
  const counts = new Map<string, number>()
  let seen = 0
  let since = 0
  let steps = 0
  for (let sweep = second; open.size > 0 || !(yield* childrenRest(run)); sweep += second) {
    while (yield* virtual.advance(sweep)) steps++
    if (fatal.length > 0) return yield* Effect.die(Cause.squash(fatal[0]!))
    // A process that could not begin is started again, as by whoever runs it.
    for (const [index, slot] of slots.entries()) {
      if (slot.process?.failure === undefined) continue
      const error = Cause.squash(slot.process.failure)
      if (!(error instanceof SagaStore.StoreError)) return yield* Effect.die(error)
      enter(run, index)
    }
    let wakeAt = 0
    for (const saga of open) {
      const id = started.get(saga)
      const row = id === undefined ? null : yield* Effect.orDie(world.encoded.read(id))
      if (row === null) continue
      // Mail makes an execution due again: a parked one to be answered, one that has ended to be told of.
      if (row.result !== null && row.worker === null && row.mail <= row.received) {
        open.delete(saga)
      }
      wakeAt = Math.max(wakeAt, row.wakeAt ?? 0)
    }
    if (world.timeline.length > seen) since = sweep
    let most = 0
    for (; seen < world.timeline.length; seen++) {
      const { execution } = world.timeline[seen]!
      const events = (counts.get(execution) ?? 0) + 1
      counts.set(execution, events)
      most = Math.max(most, events)
    }
    if (most > endless || sweep > Math.max(since, wakeAt) + within) break
  }
  return { open, steps }
})

/** Whether what the sagas have started is at rest too. */
const childrenRest = Effect.fnUntraced(function*({ started, world }: Simulation) {
  const roots = new Set<string>(started.values())
  for (const execution of new Set(world.timeline.map((_) => _.execution))) {
    if (roots.has(execution)) continue
    const row = yield* Effect.orDie(world.encoded.read(execution))
    if (row !== null && (row.result === null || row.worker !== null || row.mail > row.received)) return false
  }
  return true
})

const second = 1_000

/** More appends and acts than an execution has that ends. */
const endless = 1_000

const judge = Effect.fnUntraced(function*(run: Simulation, stuck: ReadonlySet<number>) {
  const { client, options, started, world } = run
  const { virtual } = world
  const timelines = new Map<string, Array<Event>>()
  for (const event of world.timeline) {
    const events = timelines.get(event.execution)
    if (events === undefined) timelines.set(event.execution, [event])
    else events.push(event)
  }
  const sagas = new Map<string, number>([...started].map(([saga, id]) => [id, saga]))
  const store = SagaStore.make(world.encoded)
  const ended: Array<Ended> = []
  const broken: Array<Broken> = []
  for (const saga of stuck) {
    if (!started.has(saga)) {
      broken.push({ saga, execution: `saga ${saga}`, sentences: ["it could not be started"], timeline: "" })
    }
  }
  const all = new Map<string, SagaStore.Status>()
  for (const execution of timelines.keys()) {
    const row = yield* Effect.orDie(world.encoded.read(execution))
    if (row !== null) all.set(execution, row.status)
  }
  for (const [execution, timeline] of timelines) {
    const saga = sagas.get(execution)
    const row = yield* Effect.orDie(world.encoded.read(execution))
    const journal = (yield* Effect.orDie(store.journal(execution))).appends.flatMap((_) => _.entries)
    const inbox = (yield* Effect.orDie(world.encoded.inbox(execution, 0))).map((_) => _.number)
    const sentences = row === null ? ["it has a journal and no row"] : [
      ...(saga !== undefined && stuck.has(saga) ? [`it stays ${row.status} for ever`] : []),
      ...violations({
        execution,
        timeline,
        journal,
        status: row.status,
        mail: row.mail,
        inbox,
        sequential: world.definitions.get(row.name)?.compensation !== "parallel",
        all,
        whole: world.timeline
      })
    ]
    if (row !== null && saga !== undefined) {
      ended.push({ saga, execution: started.get(saga)!, status: row.status, journal })
    }
    if (sentences.length > 0) broken.push({ saga, execution, sentences, timeline: format(timeline) })
  }
  if (options.check !== undefined && broken.length === 0) {
    const checked = yield* virtual.run(Process.inside(world, client, options.check(ended)), client.gate)
    const sentence = checked === undefined
      ? "the check waits for something"
      : Exit.isFailure(checked)
      ? `the check: ${Cause.pretty(checked.cause)}`
      : undefined
    if (sentence !== undefined) {
      broken.push({
        saga: undefined,
        execution: "all together",
        sentences: [sentence],
        timeline: format(world.timeline)
      })
    }
  }
  return { ended, broken, timeline: world.timeline, took: virtual.now() }
})
