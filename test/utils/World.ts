/**
 * A saga, a store that remembers every append, and participants that log what they do: what a test needs to run a body,
 * to look at its journal, and to take it up from any place of that journal in another process.
 */
import { assert } from "@effect/vitest"
import { Cause, type Duration, Effect, Exit, Fiber, Latch, Layer, Option, Schema, type Scope, Struct } from "effect"
import { Saga, SagaEngine, SagaError, SagaStore, type Signal, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import type * as Journal from "../../src/Journal.ts"
import { Refused, Stuck } from "./Shop.ts"

// ---------------------------------------------------------------------------------------------------------------------
// participants
// ---------------------------------------------------------------------------------------------------------------------

/** What an act does instead of succeeding, once for each element; a number is how many milliseconds it takes. */
export type Fault = "refuse" | "die" | "hang" | number

export interface Parts {
  /** Every act in the order in which they began: `A`, `undo A`, `check A`. */
  readonly log: Array<string>
  /** The idempotency key of each act, as `A key`, in the same order. */
  readonly keys: Array<string>
  readonly faults: Map<string, Array<Fault>>
  /** An act with a gate ends when it is open. */
  readonly gates: Map<string, Latch.Latch>
  readonly begun: Map<string, Latch.Latch>
  readonly gate: (act: string) => Latch.Latch
  /** Returns once this act has begun. */
  readonly hasBegun: (act: string) => Effect.Effect<void>
  readonly act: <A>(name: string, value: A) => Effect.Effect<A, Refused>
  readonly seen: (name: string, value: unknown) => Effect.Effect<void>
}

export const makeParts = (): Parts => {
  const log: Array<string> = []
  const keys: Array<string> = []
  const faults = new Map<string, Array<Fault>>()
  const gates = new Map<string, Latch.Latch>()
  const begun = new Map<string, Latch.Latch>()
  const latch = (map: Map<string, Latch.Latch>, name: string) => {
    const known = map.get(name) ?? Latch.makeUnsafe(false)
    map.set(name, known)
    return known
  }
  return {
    log,
    keys,
    faults,
    gates,
    begun,
    gate: (act) => latch(gates, act),
    hasBegun: (act) => latch(begun, act).await,
    seen: (name, value) => Effect.sync(() => void log.push(`${name}=${String(value)}`)),
    act: (name, value) =>
      Effect.gen(function*() {
        log.push(name)
        const context = yield* Effect.serviceOption(Step.StepContext)
        if (Option.isSome(context)) keys.push(`${name} ${context.value.key}`)
        latch(begun, name).openUnsafe()
        const gate = gates.get(name)
        if (gate !== undefined) yield* gate.await
        const fault = faults.get(name)?.shift()
        if (fault === "refuse") return yield* new Refused({ step: name })
        if (fault === "die") return yield* Effect.die(new Error(`${name} is broken`))
        if (fault === "hang") return yield* Effect.never
        if (typeof fault === "number") yield* Effect.sleep(fault)
        return value
      })
  }
}

type Loose = Effect.Effect<any, any, any>

/** The options of `Step.make` that a test sets, without their types. */
export interface PartOptions {
  readonly retry?: unknown
  readonly timeout?: unknown
  readonly check?: (key: string) => Loose
  readonly unknown?: "park" | "refused"
  readonly compensation?: unknown
  readonly success?: Schema.Top
  readonly error?: Schema.Top
  readonly value?: unknown
  readonly execute?: Loose
  readonly compensate?: (value: any, cause: Cause.Cause<unknown>) => Loose
}

/** Steps whose acts are logged. */
export const steps = (parts: Parts) => {
  const options = (name: string, given: PartOptions) => ({
    success: Schema.String,
    error: Refused,
    execute: parts.act(name, "value" in given ? given.value : `${name} done`),
    ...given
  })
  return {
    step: (name: string, given: PartOptions = {}): Loose =>
      Step.make(name as "step", {
        compensate: () => Effect.mapError(parts.act(`undo ${name}`, undefined), () => new Stuck({ step: name })),
        ...options(name, given)
      } as never) as Loose,
    readonly: (name: string, given: PartOptions = {}): Loose =>
      Step.readonly(name as "step", options(name, given) as never) as Loose,
    retryable: (name: string, given: PartOptions = {}): Loose =>
      Step.retryable(name as "step", options(name, given) as never) as Loose,
    pivot: (name: string, given: PartOptions = {}): any => Step.pivot(name as "step", options(name, given) as never)
  }
}

export type Steps = ReturnType<typeof steps> & { readonly parts: Parts }

// ---------------------------------------------------------------------------------------------------------------------
// definitions
// ---------------------------------------------------------------------------------------------------------------------

/** What a test may set of the saga itself, without the types. */
export interface SagaOptions {
  readonly deadline?: Duration.Input
  readonly onDefect?: "park" | "rollback"
  readonly compensation?: unknown
  readonly compensationError?: Schema.Top
  readonly published?: Saga.Published
}

export const definitionWith = (options: SagaOptions) =>
  Saga.make("S", {
    payload: Schema.Struct({ id: Schema.String, note: Schema.optionalKey(Schema.String) }),
    success: Schema.String,
    error: Schema.Union([Refused, Step.TimedOut]),
    compensationError: Schema.Union([Stuck, Step.TimedOut]),
    idempotencyKey: (order) => order.id,
    ...options as object
  })

export const definition = definitionWith({})

/** The layer that runs a body. */
export type Live = (parts: Steps) => Layer.Layer<never, never, SagaEngine.SagaEngine>

/** A body without a point of no return; its result is stored as text. */
export const body = (make: (parts: Steps) => Loose, options: SagaOptions = {}): Live => (parts) =>
  definitionWith(options).toLayer((() => Effect.map(Effect.suspend(() => make(parts)), String)) as never)

/** A body with a point of no return. */
export const settled = (
  make: (parts: Steps) => {
    readonly attempt: Loose
    readonly pivot?: (value: unknown) => unknown
    readonly settle: (value: unknown) => Loose
  },
  options: SagaOptions = {}
): Live =>
(parts) => {
  const made = make(parts)
  const attempted = definitionWith(options).attempt((() => made.attempt) as never) as any
  const decided = made.pivot === undefined ? attempted : attempted.pivot(made.pivot)
  return decided.settle((value: unknown) => Effect.map(made.settle(value), String))
}

// ---------------------------------------------------------------------------------------------------------------------
// stores and processes
// ---------------------------------------------------------------------------------------------------------------------

export interface Recorded {
  readonly store: SagaStore.SagaStore["Service"]
  readonly appends: Array<SagaStore.Append>
  /** What was sent, in order, as far as it was accepted. */
  readonly sent: Array<Parameters<SagaStore.Encoded["send"]>[0]>
  /** Called after each append that was kept, before its writer knows. */
  readonly onAppend: { current: (append: SagaStore.Append) => void }
  /** Called with the place of each row of a journal, those of claims too. */
  readonly onRow: { current: (seq: number) => void }
  /** What the next appends fail with, first to last. */
  readonly failures: Array<SagaStore.StoreError>
}

/** A memory store that remembers the appends of executors. */
export const recordedStore: Effect.Effect<Recorded> = Effect.map(SagaStore.makeMemory, (encoded) => {
  const appends: Array<SagaStore.Append> = []
  const sent: Recorded["sent"] = []
  const failures: Array<SagaStore.StoreError> = []
  const onAppend: Recorded["onAppend"] = { current: () => {} }
  const onRow: Recorded["onRow"] = { current: () => {} }
  const store = SagaStore.make({
    ...encoded,
    send: (options) =>
      Effect.gen(function*() {
        const before = yield* encoded.read(options.execution)
        const answer = yield* encoded.send(options)
        const after = yield* encoded.read(options.execution)
        if (after?.mail !== before?.mail) sent.push(options)
        return answer
      }),
    claim: (options) =>
      Effect.tap(
        encoded.claim(options),
        (claimed) => Effect.sync(() => claimed.forEach(({ seq }) => onRow.current(seq)))
      ),
    append: (batch) =>
      Effect.suspend(() => {
        const failure = failures.shift()
        return failure === undefined ? encoded.append(batch) : Effect.fail(failure)
      }).pipe(
        Effect.tap((kept) =>
          Effect.sync(() => {
            batch.forEach((one, index) => {
              if (kept[index] !== true) return
              appends.push(one)
              onAppend.current(one)
              onRow.current(one.seq)
            })
          })
        )
      )
  })
  return { store, appends, sent, onAppend, onRow, failures }
})

export interface World {
  readonly id: Journal.Ref["name"]
  readonly parts: Parts
  readonly recorded: Recorded
  readonly execute: Effect.Effect<Exit.Exit<unknown, unknown>>
  readonly result: Effect.Effect<Exit.Exit<unknown, unknown>>
  readonly start: Effect.Effect<void>
  readonly poll: Effect.Effect<any, any>
  /** What `poll` says, without the records. */
  readonly status: Effect.Effect<any, any>
  readonly cancel: (reason?: string) => Effect.Effect<void, any>
  readonly resume: Effect.Effect<void, any>
  readonly signal: <Name extends string, P extends Schema.Top>(
    signal: Signal.Signal<Name, P>,
    payload: P["Type"],
    key?: string
  ) => Effect.Effect<void, SagaError.SagaError>
  readonly entries: Effect.Effect<ReadonlyArray<Journal.Entry>>
  /** One line an append: the tags of its entries with the names of their steps. */
  readonly journal: Effect.Effect<ReadonlyArray<string>>
  /** Runs in the engine of this process. */
  readonly use: <A, E>(effect: Effect.Effect<A, E, SagaEngine.SagaEngine>) => Effect.Effect<A, E>
  /** Another process on the same store; this one goes on. */
  readonly beside: (live: Live) => Effect.Effect<World, never, Scope.Scope>
  /** The process died after the first `appends` of the journal; another one, with these participants, takes over. */
  readonly crashed: (appends: number, live: Live, parts?: Parts) => Effect.Effect<World, never, Scope.Scope>
}

/** A new world around a saga's body. */
export const make = (live: Live, parts: Parts = makeParts()): Effect.Effect<World, never, Scope.Scope> =>
  Effect.flatMap(recordedStore, (recorded) => open(recorded, live, parts))

const open = Effect.fnUntraced(function*(recorded: Recorded, live: Live, parts: Parts) {
  const layer = live({ ...steps(parts), parts }).pipe(
    Layer.provideMerge(Layer.fresh(SagaEngine.layer)),
    Layer.provide(Layer.succeed(SagaStore.SagaStore, recorded.store))
  )
  const context = yield* Effect.orDie(Layer.build(layer))
  // A shutdown gives what is in flight some time: it passes.
  yield* Effect.addFinalizer(() => Effect.forkDetach(Effect.andThen(quiet, TestClock.adjust("1 minute"))))
  const id = "S/1"
  const use = <A, E>(effect: Effect.Effect<A, E, SagaEngine.SagaEngine>) => Effect.provideContext(effect, context)
  const entries = Effect.map(
    Effect.orDie(recorded.store.journal(id)),
    (journal) => journal.appends.flatMap((_) => _.entries)
  )
  const payload = { id: "1" }
  const world: World = {
    id,
    parts,
    recorded,
    use,
    entries,
    execute: ended(use(definition.execute(payload))),
    result: ended(use(definition.result(id as never))),
    start: Effect.orDie(Effect.asVoid(use(definition.start(payload)))),
    poll: use(definition.poll(id as never)),
    status: Effect.map(
      use(definition.poll(id as never)),
      (polled) => Struct.omit(polled, ["steps", "compensations", "published"] as never)
    ),
    cancel: (reason) => use(definition.cancel(id as never, { reason })),
    resume: use(definition.resume(id as never)),
    signal: (signal, payload, key) => use(definition.signal(id as never, signal, payload, { key }) as never),
    journal: Effect.map(
      Effect.orDie(recorded.store.journal(id)),
      (journal) => journal.appends.map((append) => append.entries.map(sentence).join(", "))
    ),
    beside: (live) => open(recorded, live, parts),
    crashed: (appends, live, other = parts) =>
      Effect.flatMap(cut(recorded, id, appends), (recorded) => open(recorded, live, other))
  }
  return world
})

/** An entry as a test reads it. */
export const sentence = (entry: Journal.Entry): string => {
  if ("name" in entry) {
    const path = entry.path === undefined ? "" : `@${entry.path}`
    const occurrence = entry.occurrence === undefined ? "" : `#${entry.occurrence + 1}`
    return `${entry._tag} ${entry.name}${path}${occurrence}`
  }
  if (entry._tag === "RollbackStarted" || entry._tag === "ScopeRolledBack") {
    return entry.scope === "" ? entry._tag : `${entry._tag} ${entry.scope}`
  }
  return entry._tag
}

/** Another process on what one that died has left. */
export const crash = (recorded: Recorded, live: Live, parts: Parts = makeParts()) => open(recorded, live, parts)

/**
 * A fresh store with the first appends of a journal, as a process that died left it; `others` are there as they were.
 */
export const cut = Effect.fnUntraced(function*(
  from: Recorded,
  id: string,
  appends: number,
  others: ReadonlyArray<string> = []
) {
  const to = yield* recordedStore
  const stored = yield* Effect.orDie(from.store.encoded.journal(id))
  const isSignal = ({ message }: Recorded["sent"][number]) => message.includes("\"Signal\"")
  let sent = 0
  /** What is no signal was taken, or will not come. */
  const send = Effect.fnUntraced(function*(count: number) {
    for (; sent < count; sent++) {
      const options = from.sent[sent] ?? { execution: id, message: "{}", now: 0, refuse: [] }
      const message = isSignal(options) ? options.message : "{}"
      yield* Effect.orDie(to.store.encoded.send({ ...options, message, refuse: [] }))
    }
  })
  for (const { at, entries, seq, token } of stored.slice(0, appends)) {
    const original = from.appends.find((_) => _.execution === id && _.seq === seq)
    const row = original?.row
    yield* send(row?.received ?? 0)
    yield* Effect.orDie(to.store.encoded.append([{
      execution: id,
      seq,
      token,
      at,
      entries,
      create: original?.create,
      row: row === undefined || row.worker === null ? row : { ...row, worker: "a process that died" },
      answered: original?.answered
    }]))
  }
  for (const append of from.appends) {
    if (others.includes(append.execution)) yield* Effect.orDie(to.store.encoded.append([append]))
  }
  // What others send does not die with it.
  yield* send(from.sent.findLastIndex(isSignal) + 1)
  return to
})

/**
 * Takes the execution up after each append of its journal, with new participants each time; gives what came of it.
 */
export const everyCut = Effect.fnUntraced(function*(world: World, live: Live, parts: () => Parts) {
  const appends = (yield* world.journal).length
  const cuts: Array<{ readonly appends: number; readonly world: World; readonly exit: Exit.Exit<unknown, unknown> }> =
    []
  for (let n = 1; n < appends; n++) {
    const recovered = yield* world.crashed(n, live, parts())
    cuts.push({ appends: n, world: recovered, exit: yield* recovered.result })
  }
  return cuts
})

/** The error that an execution ended with. */
export const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return assert.fail(`it completed with ${String(exit.value)}`)
  const error = Cause.findErrorOption(exit.cause)
  return Option.isSome(error) ? error.value : assert.fail(Cause.pretty(exit.cause))
}

/** Why a parked execution waits for a person. */
export const whyParked = (exit: Exit.Exit<unknown, unknown>): SagaError.Parked => {
  const error = errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  assert.instanceOf(error.reason, SagaError.Parked, String(error))
  return error.reason
}

// ---------------------------------------------------------------------------------------------------------------------
// time
// ---------------------------------------------------------------------------------------------------------------------

/** Lets everything run that needs no time. */
export const quiet: Effect.Effect<void> = Effect.gen(function*() {
  for (let i = 0; i < 40; i++) yield* Effect.yieldNow
})

/** The end of an effect, while the test clock goes on; fails when nothing more happens within two days. */
export const ended = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    for (let i = 0; i < 300; i++) {
      yield* quiet
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      yield* TestClock.adjust(i < 100 ? 10 : i < 200 ? 1_000 : 1_800_000)
    }
    yield* Fiber.interrupt(fiber)
    return assert.fail("it waits for ever")
  })
