/**
 * Processes that die, stop, freeze or are cancelled at a chosen point, on one store, with participants that outlive
 * them; and what must hold whenever that happens.
 *
 * A point is a moment that a process passes: just before and just after an append, just after a claim, just before and
 * just after an act of a participant. A run counts them; `everywhere` runs the same saga again once for each. The
 * timeline of durable appends and acts is what the checks read: no mock is asked.
 */
import { assert } from "@effect/vitest"
import { Cause, type Duration, Effect, Exit, Latch, Layer, Logger, Option, Result, Schema, Scope } from "effect"
import { Limits, Saga, SagaEngine, SagaInspector, SagaStore, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Journal from "../../src/Journal.ts"
import { Refused, Stuck } from "./Shop.ts"

// ---------------------------------------------------------------------------------------------------------------------
// what is run
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What an act does instead of succeeding, once for each element. `late`: it happens, and the answer never comes.
 * `lost`: it does not happen, and no answer comes. A number: it happens after so many milliseconds.
 */
export type Fault = "refuse" | "die" | "late" | "lost" | number

export interface Scenario {
  readonly name: string
  readonly saga: (
    parts: Parts,
    definition: ReturnType<typeof define>
  ) => Layer.Layer<never, never, SagaEngine.SagaEngine>
  readonly faults?: Readonly<Record<string, ReadonlyArray<Fault>>>
  /** How it may end, whenever the process dies. */
  readonly ends: ReadonlyArray<SagaStore.Status>
  /** What the definition says beside its schemas. */
  readonly options?: Options
  /** How long it may wait in memory. */
  readonly suspendAfter?: Duration.Input
  /** What a person answers each time it is parked; what does not apply is refused. */
  readonly answers?: ReadonlyArray<ReadonlyArray<Answer>>
  /** Several roll-backs at one time, each with an order of its own. */
  readonly unordered?: true
}

export type Answer = (inspector: SagaInspector.SagaInspector["Service"], id: string) => Effect.Effect<void, unknown>

interface Options {
  readonly deadline?: Duration.Input
  readonly onDefect?: "rollback"
  readonly compensation?: "parallel"
}

/** What happens to the process that passes a point. */
export type Blow = "dies" | "stops" | "freezes" | "is cancelled"

/** `at`: how many points all processes together have passed before. */
export interface Injection {
  readonly at: number
  readonly blow: Blow
}

// ---------------------------------------------------------------------------------------------------------------------
// what is seen
// ---------------------------------------------------------------------------------------------------------------------

/** `ask`: whether an undoing happened. */
type Act = "do" | "read" | "undo" | "check" | "ask"

export type Event =
  | { readonly _tag: "Append"; readonly process: number; readonly entries: ReadonlyArray<Journal.Entry> }
  | {
    readonly _tag: "Act"
    readonly process: number
    readonly act: Act
    readonly name: string
    readonly key: string
    readonly epoch: number
    readonly answer: string
  }

export interface Seen {
  readonly scenario: Scenario
  readonly timeline: ReadonlyArray<Event>
  readonly journal: ReadonlyArray<Journal.Entry>
  readonly status: SagaStore.Status
  /** The points that were passed, in order. */
  readonly points: ReadonlyArray<string>
  readonly effects: ReadonlyMap<string, number>
  readonly undone: ReadonlySet<string>
  readonly frozen: boolean
}

// ---------------------------------------------------------------------------------------------------------------------
// participants
// ---------------------------------------------------------------------------------------------------------------------

export interface Parts {
  readonly act: (act: "do" | "read" | "undo", name: string) => Effect.Effect<string, Refused, Step.StepContext>
  readonly check: (key: string) => Effect.Effect<Option.Option<string>, never, Step.StepContext>
  readonly ask: (key: string) => Effect.Effect<Option.Option<string>, never, Step.StepContext>
}

type Loose = Effect.Effect<any, any, any>

interface StepOptions {
  readonly retry?: unknown
  readonly timeout?: unknown
  readonly check?: boolean
  readonly unknown?: "park" | "refused"
  readonly compensation?: unknown
}

/** Steps whose acts the participants keep by their keys. */
export const steps = (parts: Parts) => {
  const undo = (name: string) => Effect.mapError(parts.act("undo", name), () => new Stuck({ step: name }))
  const options = (act: "do" | "read", name: string, { check, ...given }: StepOptions) => ({
    success: Schema.String,
    error: Refused,
    execute: parts.act(act, name),
    ...(check === true ? { check: parts.check } : undefined),
    ...given
  })
  return {
    step: (name: string, given: StepOptions = {}): Loose =>
      Step.make(name as "step", {
        compensate: () => undo(name),
        ...options("do", name, given)
      } as never) as Loose,
    /** Its compensation is asked for by its key. */
    asked: (name: string, compensation: object): Loose =>
      Step.make(name as "step", {
        compensate: () => undo(name),
        compensation: { check: parts.ask, ...compensation },
        ...options("do", name, {})
      } as never) as Loose,
    /** Its compensation does something around what undoes it. */
    undoneBy: (name: string, compensate: (undo: Loose) => Loose): Loose =>
      Step.make(name as "step", {
        compensate: () => compensate(undo(name)),
        ...options("do", name, {})
      } as never) as Loose,
    readonly: (name: string, given: StepOptions = {}): Loose =>
      Step.readonly(name as "step", options("read", name, given) as never) as Loose,
    retryable: (name: string, given: StepOptions = {}): Loose =>
      Step.retryable(name as "step", options("do", name, given) as never) as Loose,
    pivot: (name: string, given: StepOptions = {}): any =>
      Step.pivot(name as "step", options("do", name, given) as never),
    onRollback: (name: string): Loose => Saga.onRollback(name as "hook", () => undo(name)) as Loose,
    onCommit: (name: string): Loose => Saga.onCommit(name as "hook", parts.act("do", name)) as Loose
  }
}

export type Steps = ReturnType<typeof steps>

const define = (options: Options = {}) =>
  Saga.make("S", {
    payload: Schema.Struct({ id: Schema.String }),
    success: Schema.String,
    error: Schema.Union([Refused, Step.TimedOut]),
    compensationError: Schema.Union([Stuck, Step.TimedOut]),
    idempotencyKey: (order) => order.id,
    ...options
  })
const id = define().executionId({ id: "1" })

/** A body without a point of no return. */
export const body = (make: (steps: Steps) => Loose): Scenario["saga"] => (parts, definition) =>
  definition.toLayer((() => Effect.map(Effect.suspend(() => make(steps(parts))), String)) as never)

/** A body with one. */
export const settled = (
  make: (steps: Steps) => {
    readonly attempt: Loose
    readonly pivot?: (value: unknown) => unknown
    readonly settle: (value: unknown) => Loose
  }
): Scenario["saga"] =>
(parts, definition) => {
  const made = make(steps(parts))
  const attempted = definition.attempt((() => made.attempt) as never) as any
  const decided = made.pivot === undefined ? attempted : attempted.pivot(made.pivot)
  return decided.settle((value: unknown) => Effect.map(made.settle(value), String))
}

// ---------------------------------------------------------------------------------------------------------------------
// a run
// ---------------------------------------------------------------------------------------------------------------------

interface Process {
  readonly index: number
  /** Nothing of it reaches the store or a participant any more. */
  dead: boolean
  /** Everything that it does waits until all is over: it lost its lease and does not know. */
  frozen: boolean
  /** Another process takes over. */
  gone: boolean
}

interface World {
  readonly scenario: Scenario
  readonly encoded: SagaStore.Encoded
  readonly injections: ReadonlyArray<Injection>
  readonly timeline: Array<Event>
  readonly points: Array<string>
  readonly faults: Map<string, Array<Fault>>
  readonly answers: Map<string, "ok" | "refused">
  readonly effects: Map<string, number>
  readonly undone: Set<string>
  readonly thaw: Latch.Latch
  readonly cancel: Effect.Effect<void>
  readonly scope: Scope.Scope
  readonly closers: Map<Process, Effect.Effect<void>>
  activity: number
}

const base = (key: string): string => key.slice(0, key.lastIndexOf("/"))

/** Passes a point: what was chosen to happen here happens. */
const pass = (world: World, process: Process, what: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    world.activity++
    if (process.dead) return Effect.never
    if (process.frozen) return world.thaw.await
    const at = world.points.length
    world.points.push(`${what} in process ${process.index}`)
    const blow = world.injections.find((_) => _.at === at)?.blow
    switch (blow) {
      case undefined:
        return Effect.void
      case "dies":
        process.dead = true
        process.gone = true
        return Effect.never
      case "freezes":
        process.frozen = true
        process.gone = true
        return world.thaw.await
      case "is cancelled":
        return world.cancel
      case "stops":
        process.gone = true
        return Effect.forkDetach(world.closers.get(process)).pipe(
          Effect.andThen(Effect.yieldNow),
          Effect.andThen(Effect.yieldNow)
        )
    }
  })

const storeOf = (world: World, process: Process): SagaStore.Encoded => {
  const { encoded } = world
  const alive = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      world.activity++
      if (process.dead) return Effect.never
      return process.frozen ? Effect.andThen(world.thaw.await, effect) : effect
    })
  const kept = (entries: string) => {
    world.timeline.push({ _tag: "Append", process: process.index, entries: JSON.parse(entries) })
  }
  return {
    append: (batch) => {
      const what = batch.map((_) =>
        JSON.parse(_.entries).map((entry: Journal.Entry) =>
          "name" in entry ? `${entry._tag} ${entry.name}` : entry._tag
        )
      ).join(", ")
      return Effect.andThen(
        pass(world, process, `before the append of ${what}`),
        Effect.flatMap(encoded.append(batch), (result) => {
          batch.forEach((one, index) => {
            if (result[index] === true) kept(one.entries)
          })
          return Effect.as(pass(world, process, `after the append of ${what}`), result)
        })
      )
    },
    claim: (options) =>
      Effect.flatMap(alive(encoded.claim(options)), (claimed) => {
        if (claimed.length === 0) return Effect.succeed(claimed)
        kept(options.entries)
        return Effect.as(pass(world, process, "after the claim"), claimed)
      }),
    witness: (execution, seq) => alive(encoded.witness(execution, seq)),
    read: (execution) => alive(encoded.read(execution)),
    journal: (execution, after) => alive(encoded.journal(execution, after)),
    list: (query) => alive(encoded.list(query)),
    stats: alive(encoded.stats),
    release: (options) => alive(encoded.release(options)),
    send: (options) => alive(encoded.send(options)),
    inbox: (execution, after) => alive(encoded.inbox(execution, after)),
    owned: (worker) => alive(encoded.owned(worker)),
    unread: (worker) => alive(encoded.unread(worker)),
    register: (worker, lease) => alive(encoded.register(worker, lease)),
    renew: (worker, lease) => alive(encoded.renew(worker, lease)),
    retire: (worker) => alive(encoded.retire(worker)),
    listen: (onWake) => encoded.listen(Effect.suspend(() => process.dead ? Effect.void : onWake)),
    wake: alive(encoded.wake)
  }
}

const partsOf = (world: World, process: Process): Parts => {
  const record = (act: Act, name: string, key: string, answer: string, epoch: number) => {
    world.timeline.push({ _tag: "Act", process: process.index, act, name, key, epoch, answer })
  }
  return {
    act: (act, name) =>
      Effect.gen(function*() {
        const { epoch, key } = yield* Step.StepContext
        yield* pass(world, process, `before ${act} ${name}`)
        const fault = world.answers.has(key)
          ? undefined
          : world.faults.get(act === "undo" ? `undo ${name}` : name)?.shift()
        if (typeof fault === "number") yield* Effect.sleep(fault)
        const known = world.answers.get(key)
        const happens = known === undefined && fault !== "refuse" && fault !== "die" && fault !== "lost"
        const answer = known !== undefined ? `again: ${known}` : String(fault ?? "ok")
        record(act, name, key, answer, epoch)
        if (happens && act !== "read") {
          world.answers.set(key, "ok")
          if (act === "do") world.effects.set(base(key), (world.effects.get(base(key)) ?? 0) + 1)
          else world.undone.add(base(key))
        }
        // A participant that stores its answers repeats a refusal under the same key.
        if (fault === "refuse" && act === "do") world.answers.set(key, "refused")
        if (fault === "late" || fault === "lost") {
          yield* pass(world, process, `after ${act} ${name}`)
          return yield* Effect.never
        }
        yield* pass(world, process, `after ${act} ${name}`)
        if (fault === "die") return yield* Effect.die(new Error(`${name} is broken`))
        if (fault === "refuse" || known === "refused") return yield* new Refused({ step: name })
        return `${name} done`
      }),
    check: (key) =>
      Effect.gen(function*() {
        const { epoch, step } = yield* Step.StepContext
        yield* pass(world, process, `before check ${step}`)
        const known = world.answers.get(key)
        // Never promises that the participant refuses this key from now on.
        if (known === undefined) world.answers.set(key, "refused")
        record("check", step, key, known ?? "never", epoch)
        yield* pass(world, process, `after check ${step}`)
        return known === "ok" ? Option.some(`${step} done`) : Option.none()
      }),
    ask: (key) =>
      Effect.gen(function*() {
        const { epoch, step } = yield* Step.StepContext
        yield* pass(world, process, `before ask ${step}`)
        const known = world.answers.get(key)
        record("ask", step, key, known ?? "never", epoch)
        yield* pass(world, process, `after ask ${step}`)
        return known === "ok" ? Option.some("undone") : Option.none()
      })
  }
}

/** Lets everything run that needs no time. */
const quiet = (world: World): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (let still = 0, seen = -1; still < 6; still++) {
      if (world.activity !== seen) still = 0
      seen = world.activity
      yield* Effect.yieldNow
    }
  })

const settings = { lease: "600 millis", margin: "200 millis", poll: "300 millis", grace: "2 seconds" } as const

const engine = (encoded: SagaStore.Encoded, suspendAfter: Duration.Input = "10 seconds") =>
  SagaEngine.layerOptions(settings).pipe(
    Layer.provide(Layer.succeed(SagaStore.SagaStore, SagaStore.make(encoded))),
    Layer.provide(Layer.succeed(Limits.SuspendAfter, suspendAfter))
  )

/** Runs a scenario to its end, with fresh processes where one is gone. */
export const run = (
  scenario: Scenario,
  injections: ReadonlyArray<Injection>,
  makeStore: Effect.Effect<SagaStore.Encoded, never, Scope.Scope> = SagaStore.makeMemory
): Effect.Effect<Seen> =>
  Effect.scoped(Effect.provide(
    Effect.gen(function*() {
      const encoded = yield* makeStore
      const scope = yield* Effect.scope
      const definition = define(scenario.options)
      const client = yield* Effect.orDie(Layer.build(engine(encoded)))
      const inspector = yield* Effect.provideService(SagaInspector.make, SagaStore.SagaStore, SagaStore.make(encoded))
      const answers = [...scenario.answers ?? []]
      const world: World = {
        scenario,
        encoded,
        injections,
        timeline: [],
        points: [],
        faults: new Map(Object.entries(scenario.faults ?? {}).map(([act, faults]) => [act, [...faults]])),
        answers: new Map(),
        effects: new Map(),
        undone: new Set(),
        thaw: Latch.makeUnsafe(false),
        cancel: Effect.ignore(Effect.provideContext(definition.cancel(id), client)),
        scope,
        closers: new Map(),
        activity: 0
      }
      const spawn = (index: number) =>
        Effect.gen(function*() {
          const process: Process = { index, dead: false, frozen: false, gone: false }
          const own = yield* Scope.make()
          world.closers.set(process, Scope.close(own, Exit.void))
          const context = yield* Effect.orDie(Layer.buildWithScope(
            Layer.provideMerge(
              scenario.saga(partsOf(world, process), definition),
              engine(storeOf(world, process), scenario.suspendAfter)
            ),
            own
          ))
          if ((yield* Effect.orDie(encoded.read(id))) === null) {
            yield* Effect.forkIn(Effect.exit(Effect.provideContext(definition.start({ id: "1" }), context)), scope)
          }
          return { process, context }
        })
      const all: Array<Process> = []
      let current = yield* spawn(0)
      all.push(current.process)
      const hangs = (what: string) =>
        assert.fail(`${title(scenario, injections, world.points)}: ${what}\n${describe(world.timeline)}`)
      for (let round = 0;; round++) {
        yield* quiet(world)
        if (current.process.gone) {
          current = yield* spawn(all.length)
          all.push(current.process)
          yield* quiet(world)
        }
        const row = yield* Effect.orDie(encoded.read(id))
        // Mail makes a parked execution due again; what comes after an end comes too late.
        const isOver = row !== null && row.result !== null && (row.status !== "parked" || row.mail <= row.received)
        if (isOver && row.worker === null && !current.process.gone) {
          const next = row.status === "parked" ? answers.shift() : undefined
          if (next === undefined) break
          for (const answer of next) yield* Effect.ignore(answer(inspector, id))
          continue
        }
        if (round > 120) return hangs(`it stays ${row?.status ?? "unknown"} for ever`)
        yield* TestClock.adjust(round < 60 ? "400 millis" : round < 90 ? "10 seconds" : "1 hour")
      }
      // A process that was frozen wakes up; nothing that ended is taken up again.
      const before = world.timeline.length
      for (const process of all) process.frozen = false
      world.thaw.openUnsafe()
      yield* quiet(world)
      yield* TestClock.adjust("8 seconds")
      yield* quiet(world)
      for (const late of world.timeline.slice(before)) {
        if (late._tag === "Append") hangs("something was appended after the end")
      }
      for (const { at, blow } of injections) {
        if (at >= world.points.length) hangs(`point ${at}, where the process ${blow}, was not reached`)
      }
      const polled = yield* Effect.exit(Effect.provideContext(definition.poll(id), client))
      const row = (yield* Effect.orDie(encoded.read(id)))!
      const statuses = {
        Completed: "completed",
        RolledBack: "rolledback",
        Parked: "parked",
        Abandoned: "abandoned"
      } as Record<string, string>
      if (Exit.isFailure(polled)) hangs(`poll failed with ${Cause.pretty(polled.cause)}`)
      else if (statuses[polled.value._tag] !== row.status) {
        hangs(`its row says ${row.status}, poll ${polled.value._tag}`)
      }
      for (const process of all) {
        if (!process.dead && !process.gone) yield* world.closers.get(process)!
        process.dead = true
      }
      const journal = yield* Effect.orDie(SagaStore.make(encoded).journal(id))
      return {
        scenario,
        timeline: world.timeline,
        journal: journal.appends.flatMap((_) => _.entries),
        status: row.status,
        points: world.points,
        effects: world.effects,
        undone: world.undone,
        frozen: injections.some((_) => _.blow === "freezes")
      }
    }),
    quietly
  ))

/** Its own time, and no log: a park is warned of, and there are thousands. */
const quietly = Layer.merge(TestClock.layer(), Logger.layer([]))

const title = (scenario: Scenario, injections: ReadonlyArray<Injection>, points: ReadonlyArray<string>): string =>
  `${scenario.name}${injections.map(({ at, blow }) => `, ${blow} ${points[at] ?? `at point ${at}`}`).join("")}`

/** The timeline as people read it. */
export const describe = (timeline: ReadonlyArray<Event>): string =>
  timeline.map((event) =>
    event._tag === "Act"
      ? `  ${event.process}  ${event.act} ${event.name} (${event.key}, epoch ${event.epoch}): ${event.answer}`
      : `  ${event.process} [${
        event.entries.map((entry) =>
          `${entry._tag}${"name" in entry ? ` ${entry.name}` : "scope" in entry ? ` (${entry.scope})` : ""}${
            "outcome" in entry ? ` ${entry.outcome}` : ""
          }${"reason" in entry ? ` ${JSON.stringify(entry.reason)}` : ""}`
        ).join(", ")
      }]`
  ).join("\n")

// ---------------------------------------------------------------------------------------------------------------------
// what must hold
// ---------------------------------------------------------------------------------------------------------------------

const refBase = (ref: Journal.Ref): string => {
  const occurrence = ref.occurrence ?? 0
  return `${id}/0/${ref.name}/${ref.path === undefined ? occurrence : `${ref.path}:${occurrence}`}`
}

/** What a run breaks, as sentences. */
export const violations = (seen: Seen): ReadonlyArray<string> => [
  ...permitted(seen),
  ...order(seen),
  ...conservation(seen),
  ...(seen.frozen ? [] : acting(seen))
]

/** No saga here contradicts its journal, writes one that cannot be read, or is claimed without end. */
const never: ReadonlyArray<string> = ["Nondeterminism", "Undecodable", "Unencodable", "RecoveryExhausted"]

const permitted = ({ journal, scenario, status }: Seen): ReadonlyArray<string> => {
  const folded = Journal.fold(journal)
  return [
    ...(scenario.ends.includes(status) ? [] : [`it ends ${status}`]),
    ...journal.flatMap((entry) =>
      entry._tag === "SagaParked" && never.includes(entry.reason._tag) ? [`it parks: ${entry.reason._tag}`] : []
    ),
    ...(Result.isSuccess(folded)
      ? folded.success.phase === status ? [] : [`its journal says ${folded.success.phase}, its row ${status}`]
      : [`${folded.failure.entry} cannot follow ${folded.failure.state}`])
  ]
}

/** Walks the timeline: each act is judged by what was durable when it began. */
const acting = ({ timeline }: Seen): ReadonlyArray<string> => {
  const found: Array<string> = []
  const started = new Set<string>()
  const ended = new Set<string>()
  const refusals = new Map<string, number>()
  const undoing = new Set<string>()
  const undone = new Set<string>()
  let rollback = false
  let epoch = 0
  for (const event of timeline) {
    if (event._tag === "Append") {
      for (const entry of event.entries) {
        if (entry._tag === "RollbackStarted" && entry.scope === "") rollback = true
        if (!("name" in entry)) continue
        const of = refBase(entry)
        if (entry._tag === "StepStarted") started.add(of)
        if (entry._tag === "StepSucceeded" || entry._tag === "StepFailed" || entry._tag === "StepWithdrawn") {
          ended.add(of)
        }
        if (entry._tag === "AttemptFailed" && (entry.outcome === "refused" || entry.outcome === "never")) {
          refusals.set(of, (refusals.get(of) ?? 0) + 1)
        }
        if (entry._tag === "CompensationStarted") undoing.add(of)
        if (entry._tag === "CompensationSucceeded") undone.add(of)
      }
      continue
    }
    const of = base(event.key)
    const what = `${event.act} ${event.name}`
    if (event.epoch < epoch) found.push(`${what} came from an earlier claim than what was done before it`)
    epoch = Math.max(epoch, event.epoch)
    if (event.act === "undo" || event.act === "ask") {
      if (!undoing.has(of)) found.push(`${what} acted before its start was durable`)
      if (undone.has(of)) found.push(`${what} acted again after it was recorded as done`)
      continue
    }
    if (rollback) found.push(`${what} acted after the roll-back began`)
    if (ended.has(of)) found.push(`${what} acted again after its outcome was recorded`)
    if (event.act === "read") continue
    if (!started.has(of)) found.push(`${what} acted before its intent was durable`)
    const ordinal = Number(event.key.slice(event.key.lastIndexOf("/") + 1))
    if (ordinal !== (refusals.get(of) ?? 0)) {
      found.push(`${what} used key ${ordinal} after ${refusals.get(of) ?? 0} recorded refusals`)
    }
  }
  return found
}

/** Compensations start in reverse order of completion, one after the other. */
const order = ({ journal, scenario, timeline }: Seen): ReadonlyArray<string> => {
  const found: Array<string> = []
  if (scenario.unordered === true || scenario.options?.compensation === "parallel") return found
  const completed: Array<string> = []
  let last = Infinity
  for (const entry of journal) {
    if (entry._tag === "StepSucceeded") completed.push(refBase(entry))
    if (entry._tag === "RollbackStarted" || entry._tag === "StepsRollbackStarted") last = Infinity
    if (entry._tag !== "CompensationStarted") continue
    const place = completed.indexOf(refBase(entry))
    if (place < 0) found.push(`${entry.name} is undone though it is not recorded as done`)
    if (place >= last) found.push(`${entry.name} is undone before a step that completed after it`)
    last = place
  }
  let running: string | undefined
  for (const event of timeline) {
    if (event._tag === "Act") {
      if (event.act !== "undo") continue
      if (running !== undefined && running !== base(event.key)) found.push(`undo ${event.name} overlaps ${running}`)
      running = base(event.key)
    } else {
      for (const entry of event.entries) {
        if (entry._tag !== "CompensationSucceeded" && entry._tag !== "CompensationFailed") continue
        if (running === refBase(entry)) running = undefined
      }
    }
  }
  return found
}

/** Everything that happened is undone, completed, or named as unresolved; nothing happened twice. */
const conservation = ({ effects, journal, status, undone }: Seen): ReadonlyArray<string> => {
  const found: Array<string> = []
  const kinds = new Map<string, Journal.Kind>()
  let rollback = false
  let anyRollback = false
  const named = new Set<string>()
  const skipped = new Set<string>()
  for (const entry of journal) {
    if (entry._tag === "StepStarted") kinds.set(refBase(entry), entry.kind)
    if (entry._tag === "StepsRollbackStarted") anyRollback = true
    // What a person says to have taken care of is named as well.
    if (entry._tag === "Resolved" && entry.resolution._tag === "Skip") skipped.add(refBase(entry.resolution.step))
    if (entry._tag === "RollbackStarted") {
      anyRollback = true
      if (entry.scope === "") rollback = true
    }
    if (entry._tag === "SagaParked") { for (const one of entry.unresolved) named.add(refBase(one)) }
  }
  for (const [of, times] of effects) {
    if (times > 1) found.push(`${of} happened ${times} times`)
    if (!kinds.has(of)) found.push(`${of} happened and the journal does not know of it`)
    if (undone.has(of)) continue
    if (skipped.has(of)) continue
    if (status === "rolledback") found.push(`${of} happened and was not undone`)
    if ((status === "parked" || status === "abandoned") && rollback && !named.has(of)) {
      found.push(`${of} happened and nobody says so`)
    }
  }
  for (const of of undone) {
    if (!anyRollback) found.push(`${of} was undone though nothing rolled back`)
    if (!effects.has(of) && kinds.get(of) !== "onRollback") found.push(`${of} was undone and never happened`)
  }
  return found
}

// ---------------------------------------------------------------------------------------------------------------------
// everywhere
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs once without a blow, then once for each point that the first blow can fall on, at most `first`; then, for each of
 * these, once for each of the next `limit` points that the second can fall on; and so on. Answers how many runs with a
 * blow there were.
 */
export const everywhere = (
  scenario: Scenario,
  blows: ReadonlyArray<Blow>,
  options: {
    readonly first?: number | undefined
    readonly limit?: number | undefined
    readonly store?: Effect.Effect<SagaStore.Encoded, never, Scope.Scope>
  } = {}
): Effect.Effect<number> => {
  const failures: Array<string> = []
  let visited = 0
  const visit = (injections: ReadonlyArray<Injection>): Effect.Effect<void> =>
    Effect.gen(function*() {
      const seen = yield* run(scenario, injections, options.store)
      visited++
      const broken = violations(seen)
      if (broken.length > 0) {
        failures.push(
          `${title(scenario, injections, seen.points)}:\n${broken.map((_) => `- ${_}\n`).join("")}${
            describe(seen.timeline)
          }`
        )
      }
      const blow = blows[injections.length]
      if (blow === undefined || failures.length >= 3) return
      const first = injections.length === 0 ? 0 : injections.at(-1)!.at + 1
      const most = (injections.length === 0 ? options.first : options.limit) ?? Infinity
      for (let at = first; at < seen.points.length && at - first < most; at++) {
        yield* visit([...injections, { at, blow }])
        if (failures.length >= 3) return
      }
    })
  return Effect.map(visit([]), () => {
    if (failures.length > 0) assert.fail(failures.join("\n\n"))
    return visited - 1
  })
}
