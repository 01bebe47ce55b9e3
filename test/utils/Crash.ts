/**
 * Sagas for `SagaTest.crashEverywhere`, on participants that answer by keys, outlive the processes and know the truth:
 * what has happened, and what was undone.
 */
import { Context, type Duration, Effect, Layer, Option, Schema } from "effect"
import { Limits, Saga, type SagaEngine, type SagaInspector, type SagaStore, type Signal, Step } from "effect-saga"
import { SagaTest } from "effect-saga/testing"
import * as assert from "node:assert/strict"
import type * as Journal from "../../src/Journal.ts"
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
  /** What every process sends, twice and with one key, one after the other: the second a second after the first. */
  readonly signals?: ReadonlyArray<Signalled>
  /** The child that every process lets go on, over and over, where it is parked. */
  readonly helped?: string
  /** What happens at every point of this one, beside what happens to all. */
  readonly mishaps?: ReadonlyArray<ReadonlyArray<SagaTest.Mishap>>
}

export interface Signalled {
  readonly signal: Signal.Signal<string, typeof Schema.String>
  readonly payload: string
  readonly key: string
}

export type Answer = (inspector: SagaInspector.SagaInspector["Service"], id: string) => Effect.Effect<void, unknown>

interface Options {
  readonly deadline?: Duration.Input
  readonly onDefect?: "rollback"
  readonly compensation?: "parallel"
  readonly published?: Readonly<Record<string, typeof Schema.String>>
}

// ---------------------------------------------------------------------------------------------------------------------
// participants
// ---------------------------------------------------------------------------------------------------------------------

export class Participants extends Context.Service<Participants, Parts>()("test/Crash/Participants") {}

const base = (key: string): string => key.slice(0, key.lastIndexOf("/"))

/** Passes points of its own just before and just after. */
const pointed = (name: string, effect: Loose): Loose =>
  SagaTest.crashPoint(`right before ${name}`).pipe(
    Effect.andThen(effect),
    Effect.tap(() => SagaTest.crashPoint(`right after ${name}`))
  )

const Row = Schema.Struct({ row: Schema.Int })

/**
 * Goes on from the row of the last attempt, beats three times, then acts. Once nobody wants it, it makes sure that it
 * will not happen, and withdraws.
 */
const beating = (parts: Parts, name: string, each: Duration.Input, act: Loose): Loose =>
  Effect.gen(function*() {
    const { key } = yield* Step.StepContext
    const from = Option.match(yield* Step.lastHeartbeat(Row), { onNone: () => 0, onSome: (_) => _.row })
    parts.resumed.push({ of: key.endsWith("/compensation") ? key : base(key), row: from })
    for (let row = from + 1; row <= from + 3; row++) {
      yield* Effect.sleep(each)
      yield* SagaTest.crashPoint(`right before row ${row - from} of ${name}`)
      const { cancelRequested } = yield* Step.heartbeat({ row }, Row)
      if (!cancelRequested) continue
      const found = yield* parts.check(key)
      return Option.isSome(found) ? found.value : yield* Step.withdraw
    }
    return yield* act
  })

/** Participants that do a thing once for its key; `next` says what an act does instead, the first time. */
export const makeParts = (next: (act: string, key: string) => Fault | undefined): Parts => {
  const known = new Map<string, "ok" | "refused">()
  const effects = new Map<string, number>()
  const undone = new Set<string>()
  const answers: Array<Parts["answers"][number]> = []
  const latest = new Map<string, number>()
  return {
    effects,
    undone,
    answers,
    resumed: [],
    act: (act, name) =>
      Effect.gen(function*() {
        const { epoch, execution, key } = yield* Step.StepContext
        // A fence: who was taken over is not heard any more.
        if (epoch < (latest.get(execution) ?? 0)) return yield* Effect.die(new Error(`${act} ${name} comes too late`))
        latest.set(execution, epoch)
        const fault = known.has(key) ? undefined : next(act === "undo" ? `undo ${name}` : name, key)
        if (typeof fault === "number") yield* Effect.sleep(fault)
        const before = known.get(key)
        const happens = before === undefined && fault !== "refuse" && fault !== "die" && fault !== "lost"
        answers.push({
          act: `${act} ${name}`,
          key,
          answer: before === undefined ? String(fault ?? "ok") : `again: ${before}`
        })
        if (happens && act !== "read") {
          known.set(key, "ok")
          if (act === "do") effects.set(base(key), (effects.get(base(key)) ?? 0) + 1)
          else undone.add(base(key))
        }
        // A participant that stores its answers repeats a refusal under the same key.
        if (fault === "refuse" && act === "do") known.set(key, "refused")
        if (fault === "late" || fault === "lost") {
          yield* SagaTest.crashPoint(`when ${act} ${name} does not answer`)
          return yield* Effect.never
        }
        if (fault === "die") return yield* Effect.die(new Error(`${name} is broken`))
        if (fault === "refuse" || before === "refused") return yield* new Refused({ step: name })
        return `${name} done`
      }),
    check: (key) =>
      Effect.map(Step.StepContext, ({ step }) => {
        const before = known.get(key)
        // Never promises that the participant refuses this key from now on.
        if (before === undefined) known.set(key, "refused")
        return before === "ok" ? Option.some(`${step} done`) : Option.none()
      }),
    ask: (key) => Effect.sync(() => known.get(key) === "ok" ? Option.some("undone") : Option.none())
  }
}

const participants = (scenario: Scenario) =>
  Layer.sync(Participants, () => {
    const faults = new Map(Object.entries(scenario.faults ?? {}).map(([act, faults]) => [act, [...faults]]))
    return makeParts((act) => faults.get(act)?.shift())
  })

export interface Parts {
  /** How often each step happened, by the part of its keys that its attempts share. */
  readonly effects: ReadonlyMap<string, number>
  readonly undone: ReadonlySet<string>
  /** From which row each attempt that beats went on, in order. */
  readonly resumed: Array<{ readonly of: string; readonly row: number }>
  /** What acts answered, in order. */
  readonly answers: ReadonlyArray<{ readonly act: string; readonly key: string; readonly answer: string }>
  readonly act: (act: "do" | "read" | "undo", name: string) => Effect.Effect<string, Refused, Step.StepContext>
  readonly check: (key: string) => Effect.Effect<Option.Option<string>, never, Step.StepContext>
  readonly ask: (key: string) => Effect.Effect<Option.Option<string>, never, Step.StepContext>
}

type Loose = Effect.Effect<any, any, any>

interface StepOptions {
  readonly retry?: unknown
  readonly timeout?: unknown
  readonly heartbeatTimeout?: unknown
  readonly check?: boolean
  readonly unknown?: "park" | "refused"
  readonly compensation?: unknown
}

/** Steps whose acts the participants keep by their keys. */
export const steps = (parts: Parts, round = 0) => {
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
        compensate: () => compensate(pointed(`undo ${name}`, undo(name))),
        ...options("do", name, {})
      } as never) as Loose,
    /** It beats, and so does what undoes it; `each`: how long each of its three rows takes. */
    beating: (name: string, each: Duration.Input, given: StepOptions = {}): Loose =>
      Step.make(name as "step", {
        compensate: () => beating(parts, `undo ${name}`, each, undo(name)),
        ...options("do", name, given),
        execute: beating(parts, name, each, parts.act("do", name))
      } as never) as Loose,
    readonly: (name: string, given: StepOptions = {}): Loose =>
      Step.readonly(name as "step", options("read", name, given) as never) as Loose,
    retryable: (name: string, given: StepOptions = {}): Loose =>
      Step.retryable(name as "step", options("do", name, given) as never) as Loose,
    pivot: (name: string, given: StepOptions = {}): any =>
      Step.pivot(name as "step", options("do", name, given) as never),
    /** Continues as new, unless that was done so often. */
    continueUntil: (rounds: number): Loose =>
      round < rounds ? Saga.continueAsNew({ id: "1", round: round + 1 }) : Effect.succeed("done"),
    onRollback: (name: string): Loose => Saga.onRollback(name as "hook", () => undo(name)) as Loose,
    onCommit: (name: string): Loose => Saga.onCommit(name as "hook", parts.act("do", name)) as Loose
  }
}

export type Steps = ReturnType<typeof steps>

const define = (options: Options = {}) =>
  Saga.make("S", {
    payload: Schema.Struct({ id: Schema.String, round: Schema.optionalKey(Schema.Number) }),
    success: Schema.String,
    error: Schema.Union([Refused, Step.TimedOut]),
    compensationError: Schema.Union([Stuck, Step.TimedOut]),
    idempotencyKey: (order) => order.id,
    ...options
  })
const id = define().executionId({ id: "1" })

/** A body without a point of no return. */
export const body = (make: (steps: Steps) => Loose): Scenario["saga"] => (parts, definition) =>
  definition.toLayer(
    (({ round }: Payload) => Effect.map(Effect.suspend(() => make(steps(parts, round))), String)) as never
  )

type Payload = ReturnType<typeof define>["payloadSchema"]["Type"]

/** What a body may leave to an execution of its own. */
export const Child = Saga.make("C", {
  payload: Schema.Struct({ name: Schema.String }),
  success: Schema.String,
  error: Schema.Union([Refused, Step.TimedOut]),
  compensationError: Schema.Union([Stuck, Step.TimedOut]),
  idempotencyKey: () => "of its parent alone"
})

/** A child of this name, which the parent undoes once it has completed. */
export const child = (parts: Parts, name: string, options: object = {}): Loose =>
  Saga.child(Child, { name }, {
    name: name as "name",
    onParentRollback: () => Effect.orDie(parts.act("undo", name)),
    ...options
  })

/** What children do; `decided`: they have a point of no return behind what they attempt. */
export const childLayer = (
  parts: Parts,
  child: (steps: Steps, name: string, parts: Parts) => Loose,
  decided?: (steps: Steps, name: string) => Loose
): Layer.Layer<never, never, SagaEngine.SagaEngine> => {
  const own = steps(parts)
  const attempt = ({ name }: { readonly name: string }) =>
    Effect.map(Effect.suspend(() => child(own, name, parts)), String)
  if (decided === undefined) return Child.toLayer(attempt as never)
  return (Child.attempt(attempt as never) as any).settle((_: unknown, { name }: { readonly name: string }) =>
    Effect.map(decided(own, name), String)
  )
}

/** A parent and its children. */
export const family = (
  parent: (steps: Steps, parts: Parts) => Loose,
  child: (steps: Steps, name: string, parts: Parts) => Loose,
  decided?: (steps: Steps, name: string) => Loose
): Scenario["saga"] =>
(parts, definition) =>
  Layer.merge(body((steps) => parent(steps, parts))(parts, definition), childLayer(parts, child, decided))

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
  return decided.settle((value: unknown, { round }: Payload) =>
    Effect.map(make(steps(parts, round)).settle(value), String)
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// everywhere
// ---------------------------------------------------------------------------------------------------------------------

/** What is seen of one run, beside what the kit shows. */
export type Run = SagaTest.CrashRun<unknown, unknown, unknown> & { readonly parts: Parts }

/** Runs a scenario with these mishaps at every point; fails with what it breaks. */
export const everywhere = (
  scenario: Scenario,
  options: {
    readonly mishaps: ReadonlyArray<ReadonlyArray<SagaTest.Mishap>>
    readonly pairs?: number
    readonly seen?: (run: Run) => void
  }
): Effect.Effect<SagaTest.CrashReport, SagaTest.CrashFailed> => {
  const definition = define(scenario.options)
  return SagaTest.crashEverywhere(definition, { id: "1" }, {
    handlers: Layer.merge(
      Layer.unwrap(Effect.map(Participants, (parts) => scenario.saga(parts, definition))),
      Layer.merge(sending(scenario.signals ?? []), helping(scenario.helped))
    ),
    participants: participants(scenario),
    check: (run) =>
      Effect.map(Participants, (parts) => {
        options.seen?.({ ...run, parts })
        assert.deepStrictEqual([
          ...conservation(run.journal, statuses[run.outcome._tag], id, parts),
          ...forgotten(run.journal, parts)
        ], [])
      }),
    mishaps: [...options.mishaps, ...scenario.mishaps ?? []],
    pairs: options.pairs,
    // What refuses here are the participants.
    refusing: [],
    ends: scenario.ends,
    answers: scenario.answers?.map((several) => (inspector, execution) =>
      Effect.forEach(several, (answer) => Effect.ignore(answer(inspector, execution)))
    ),
    worker: { lease: "600 millis", margin: "200 millis", poll: "300 millis", grace: "2 seconds" }
  }).pipe(Effect.provideService(Limits.SuspendAfter, scenario.suspendAfter ?? "10 seconds"))
}

/** Sends a signal twice. */
export const signalled = (signals: Signalled): SagaTest.Outside => ({
  name: `is signalled ${signals.payload}`,
  run: () => Effect.andThen(send(signals), send(signals))
})

const send = ({ key, payload, signal }: Signalled) => define().signal(id, signal, payload, { key })

const helping = (child: string | undefined): Layer.Layer<never, never, SagaEngine.SagaEngine> =>
  child === undefined ? Layer.empty : Layer.effectDiscard(
    Effect.forkScoped(
      Effect.forEach(
        Array.from({ length: 20 }),
        () => Effect.sleep("3 seconds").pipe(Effect.andThen(Child.resume(child as never)), Effect.ignore)
      )
    )
  )

/** Who is cut off may have sent nothing yet, so every process sends all. */
const sending = (signals: ReadonlyArray<Signalled>): Layer.Layer<never, never, SagaEngine.SagaEngine> =>
  Layer.effectDiscard(
    Effect.forkScoped(
      Effect.forEach(
        signals,
        (one) => Effect.sleep("1 second").pipe(Effect.andThen(signalled(one).run(id)), Effect.ignore)
      )
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// the truth
// ---------------------------------------------------------------------------------------------------------------------

const statuses: Readonly<Record<string, SagaStore.Status>> = {
  Completed: "completed",
  RolledBack: "rolledback",
  Parked: "parked",
  Abandoned: "abandoned"
}

/** An attempt goes on from what is durable, and never from before what another one went on from. */
const forgotten = (
  journal: ReadonlyArray<Journal.Entry>,
  { resumed }: Pick<Parts, "resumed">
): ReadonlyArray<string> => {
  const written = journal.flatMap((entry) =>
    entry._tag === "StepHeartbeat" || entry._tag === "CompensationHeartbeat" ? [JSON.stringify(entry.details)] : []
  )
  const rows = new Map<string, number>()
  return resumed.flatMap(({ of, row }) => {
    const before = rows.get(of) ?? 0
    rows.set(of, row)
    return [
      ...row < before ? [`${of} goes on from row ${row} after ${before}`] : [],
      ...row > 0 && !written.includes(JSON.stringify({ row })) ? [`${of} goes on from row ${row}: not durable`] : []
    ]
  })
}

/** Everything that happened is undone, completed, or named as unresolved; nothing happened twice. */
export const conservation = (
  journal: ReadonlyArray<Journal.Entry>,
  status: SagaStore.Status | undefined,
  execution: string,
  { effects, undone }: Pick<Parts, "effects" | "undone">
): ReadonlyArray<string> => {
  let generation = 0
  const baseOf = (ref: Journal.Ref): string => {
    const occurrence = ref.occurrence ?? 0
    return `${execution}/${generation}/${ref.name}/${ref.path === undefined ? occurrence : `${ref.path}:${occurrence}`}`
  }
  const found: Array<string> = []
  const kinds = new Map<string, Journal.Kind>()
  const isOwn = (of: string) => of.startsWith(`${execution}/`)
  let rollback = false
  let anyRollback = false
  const named = new Set<string>()
  const skipped = new Set<string>()
  for (const entry of journal) {
    if (entry._tag === "ContinuedAsNew") generation = entry.generation
    if (entry._tag === "StepStarted") kinds.set(baseOf(entry), entry.kind)
    if (entry._tag === "ChildStarted") kinds.set(baseOf(entry), "child")
    if (entry._tag === "StepsRollbackStarted" || entry._tag === "RaceWon") anyRollback = true
    // What a person says to have taken care of is named as well.
    if (entry._tag === "Resolved" && entry.resolution._tag === "Skip") skipped.add(baseOf(entry.resolution.step))
    if (entry._tag === "RollbackStarted") {
      anyRollback = true
      if (entry.scope === "") rollback = true
    }
    if (entry._tag === "SagaParked") { for (const one of entry.unresolved) named.add(baseOf(one)) }
  }
  for (const [of, times] of effects) {
    if (!isOwn(of)) continue
    if (times > 1) found.push(`${of} happened ${times} times`)
    if (!kinds.has(of)) found.push(`${of} happened and the journal does not know of it`)
    if (undone.has(of)) continue
    // What is not undone when its generation ends never will be.
    if (skipped.has(of) || !of.startsWith(`${execution}/${generation}/`)) continue
    if (status === "rolledback") found.push(`${of} happened and was not undone`)
    if ((status === "parked" || status === "abandoned") && rollback && !named.has(of)) {
      found.push(`${of} happened and nobody says so`)
    }
  }
  for (const of of undone) {
    if (!isOwn(of)) continue
    if (!anyRollback) found.push(`${of} was undone though nothing rolled back`)
    const acts = kinds.get(of) !== "onRollback" && kinds.get(of) !== "child"
    if (acts && !effects.has(of)) found.push(`${of} was undone and never happened`)
  }
  return found
}
