/**
 * The engine's layers: what starts sagas, waits for them, and runs those whose handlers are here.
 *
 * An engine needs a `SagaStore` and nothing else. The process that starts an execution owns it at once when it has the
 * handler; otherwise a worker of another process claims it. This module decodes what the store holds for the caller; it
 * never runs a step itself.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as ExecutionId from "./ExecutionId.ts"
import * as Core from "./internal/core.ts"
import { decodeEnd, outcomeOf, toPolled } from "./internal/ending.ts"
import { type Definition, SagaEngine, type SignalMessage } from "./internal/engine.ts"
import type { Live } from "./internal/executor.ts"
import * as limits from "./internal/limits.ts"
import * as Notation from "./internal/notation.ts"
import { failure, reading } from "./internal/reading.ts"
import { rehearse, resultIssue } from "./internal/recovery.ts"
import type { Ending } from "./internal/run.ts"
import * as SagaStarted from "./internal/started.ts"
import { sameJson } from "./internal/starting.ts"
import { storable } from "./internal/storable.ts"
import * as Journal from "./Journal.ts"
import * as SagaError from "./SagaError.ts"
import * as SagaStore from "./SagaStore.ts"
import * as SagaWorker from "./SagaWorker.ts"

export {
  /**
   * The engine that a program runs its sagas with.
   *
   * @category services
   * @since 0.1.0
   */
  SagaEngine
} from "./internal/engine.ts"

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An engine on the store, with a worker of its own, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: SagaWorker.Options) {
  const store = yield* SagaStore.SagaStore
  const worker = yield* SagaWorker.make(options)
  const clock = yield* Clock.Clock
  const maxKey = yield* limits.MaxKeyLength

  const read = Effect.fnUntraced(function*(id: string) {
    const row = yield* reading(id, store.encoded.read(id))
    return row ?? (yield* failure(new SagaError.UnknownExecution({ execution: id })))
  })

  /** The key is taken: the same payload joins, another one is refused. */
  const join = Effect.fnUntraced(function*({ create, id }: Prepared) {
    const running = worker.live.get(id)?.payload
    const stored = running ?? (yield* read(id)).payload
    if (!sameJson(stored, create.payload)) return yield* failure(new SagaError.PayloadMismatch({ execution: id }))
    return id
  })

  /** Starts without owning: a worker with the handler claims it. */
  const hand = Effect.fnUntraced(function*({ create, definition, id }: Prepared, mail?: Creation["mail"]) {
    const at = clock.currentTimeMillisUnsafe()
    const written = yield* worker.writer.append({
      execution: id,
      seq: 0,
      token: worker.token(),
      at,
      entries: Notation.encode([SagaStarted.entry(definition, at)], at),
      create: { ...create, mail },
      row: { status: "running", result: null, worker: null, wakeAt: at, received: 0 }
    }).pipe(Effect.mapError((cause) => failure(new SagaError.StoreUnavailable({ execution: id, cause }))))
    if (written === "Lost") return undefined
    yield* worker.poke
    yield* Effect.ignore(store.encoded.wake)
    return id
  })

  const handOrJoin = Effect.fnUntraced(function*(prepared: Prepared) {
    return (yield* hand(prepared)) ?? (yield* join(prepared))
  })

  const prepare = (definition: Definition, payload: unknown) =>
    Effect.suspend(() => {
      const id = ExecutionId.make(definition.tag, definition.idempotencyKey(payload))
      return Effect.mapEager(
        creation(definition, payload, id, maxKey, worker.limits.storable),
        (create): Prepared => ({ definition, id, create })
      )
    })

  const start = (definition: Definition, payload: unknown) => Effect.flatMap(prepare(definition, payload), startAs)

  const startAs = (prepared: Prepared): Effect.Effect<ExecutionId.ExecutionId, SagaError.SagaError<never>> => {
    const running = worker.live.get(prepared.id)
    if (running === undefined) return begin(prepared)
    return Effect.flatMap(Deferred.await(running.started), (ending) =>
      // One that could not be stored, or is not here any more, says nothing about this start.
      ending?._tag !== "Failed" && worker.live.has(prepared.id) ? join(prepared) : begin(prepared))
  }

  const begin = (prepared: Prepared): Effect.Effect<ExecutionId.ExecutionId, SagaError.SagaError<never>> => {
    const live = worker.start(prepared.definition.tag, prepared.id, prepared.create)
    return live === undefined ? handOrJoin(prepared) : begun(live, prepared)
  }

  /** Returns once the start is durable, wherever it runs then. */
  const begun = (
    live: Live,
    prepared: Prepared
  ): Effect.Effect<ExecutionId.ExecutionId, SagaError.SagaError<never>> =>
    Effect.flatMap(Deferred.await(live.started), (ending) => {
      switch (ending?._tag) {
        case undefined:
        case "Ended":
        case "Continued":
        case "Suspended":
          return Effect.succeed(prepared.id)
        case "Exists":
          return join(prepared)
        case "Left":
          return handOrJoin(prepared)
        case "Failed":
          return failure(new SagaError.StoreUnavailable({ execution: prepared.id, cause: ending.error }))
      }
    })

  const result = (definition: Definition, id: ExecutionId.ExecutionId) =>
    Effect.flatMap(endOf(id), (end) => outcomeOf(definition, id, end))

  /** What is started here is awaited here, also where it has ended by then. */
  const execute = (definition: Definition, payload: unknown): Effect.Effect<unknown, unknown, unknown> =>
    Effect.flatMap(prepare(definition, payload), (prepared) => {
      const { create, id } = prepared
      const live = worker.live.has(id) ? undefined : worker.start(definition.tag, id, create, true)
      if (live === undefined) return Effect.flatMap(startAs(prepared), () => result(definition, id))
      const ended = Effect.flatMap(Deferred.await(live.ended), (ending) =>
        isFinal(ending)
          ? outcomeOf(definition, id, ending.entry)
          : Effect.flatMap(begun(live, prepared), () => result(definition, id)))
      // One that waited for nothing has left nobody else a turn.
      return Deferred.isDoneUnsafe(live.ended) ? Effect.andThen(Effect.yieldNow, ended) : ended
    })

  /** The end of an execution as it was stored; waits for it here where it runs here, and asks the store otherwise. */
  const endOf = (id: ExecutionId.ExecutionId): Effect.Effect<Journal.End, SagaError.SagaError<never>> =>
    Effect.suspend(() => {
      const live = worker.live.get(id)
      if (live === undefined) return awaitEnd(id)
      return Effect.flatMap(
        Deferred.await(live.ended),
        (ending) => isFinal(ending) ? Effect.succeed(ending.entry) : awaitEnd(id)
      )
    })

  const awaitEnd = Effect.fnUntraced(function*(id: ExecutionId.ExecutionId) {
    let delay = firstDelay
    while (true) {
      const live = worker.live.get(id)
      if (live !== undefined) {
        const ending = yield* Deferred.await(live.ended)
        if (isFinal(ending)) return ending.entry
      }
      // It may begin to run here while the store is asked.
      const arrival = yield* Effect.forkChild(worker.arrival(id), { startImmediately: true })
      const row = yield* read(id)
      const settled = row.status !== "parked" || row.mail <= row.received
      if (row.result !== null && settled) {
        arrival.interruptUnsafe()
        return yield* decodeEnd(id, row.result)
      }
      yield* Effect.raceFirst(Effect.sleep(delay), Fiber.join(arrival))
      arrival.interruptUnsafe()
      // One that waits for weeks is not asked after each second where the worker is not, either.
      delay = Math.min(delay * 2, row.status === "suspended" ? Math.max(lastDelay, worker.poll) : lastDelay)
    }
  })

  const send = Effect.fnUntraced(function*(
    id: ExecutionId.ExecutionId,
    mail: Journal.Mail,
    refuse: ReadonlyArray<SagaStore.Status>,
    key?: string
  ) {
    const now = clock.currentTimeMillisUnsafe()
    const message = JSON.stringify(mail)
    const sent = yield* reading(id, store.encoded.send({ execution: id, message, now, refuse, key }))
    if (sent._tag === "Unknown") return yield* failure(new SagaError.UnknownExecution({ execution: id }))
    if (sent._tag === "Refused") {
      return yield* sent.status === "settling"
        ? failure(new SagaError.TooLate({ execution: id }))
        : failure(new SagaError.NotAccepting({ execution: id, status: sent.status, request: request(mail) }))
    }
    // It may be about to leave memory: then a claim finds the message.
    worker.live.get(id)?.notify()
    yield* worker.poke
    yield* Effect.ignore(store.encoded.wake)
  })

  /** Both in one append; or, where the execution is there, its message alone. */
  const startWithSignal = Effect.fnUntraced(function*(
    definition: Definition,
    payload: unknown,
    message: SignalMessage,
    key: string | undefined
  ) {
    const prepared = yield* prepare(definition, payload)
    const { id } = prepared
    const mail = yield* encodeSignal(id, message, key, maxKey, worker.limits.storable)
    const unique = keyOf(key) ?? `~${worker.token()}`
    const first = [{ message: JSON.stringify(mail), key: unique }]
    if ((yield* hand(prepared, first)) !== undefined) return id
    yield* join(prepared)
    yield* send(id, mail, ended, unique)
    return id
  })

  /**
   * A parked execution is not cancelled past its point of no return, nor when it rolls back already; nor is one that is
   * suspended.
   */
  const mayCancel = Effect.fnUntraced(function*(id: ExecutionId.ExecutionId) {
    const { base, status } = yield* read(id)
    if (status !== "parked" && status !== "suspended") return
    const journal = yield* Effect.mapError(
      store.journal(id, base - 1),
      (cause) => failure(new SagaError.StoreUnavailable({ execution: id, cause }))
    )
    const state = Journal.fold(Journal.current(journal.appends.flatMap((_) => _.entries)))
    if (Result.isFailure(state)) return
    if (state.success.pivotPassed) return yield* failure(new SagaError.TooLate({ execution: id }))
    if (state.success.rollback !== undefined) {
      return yield* failure(new SagaError.NotAccepting({ execution: id, status, request: "a cancel" }))
    }
  })

  return SagaEngine.of({
    register: worker.register,
    start,
    startWithSignal,
    execute,
    result,
    poll: Effect.fnUntraced(function*(definition, id) {
      const row = yield* read(id)
      return yield* toPolled(definition, id, row, yield* reading(id, store.encoded.journal(id, row.base - 1)))
    }),
    cancel: Effect.fnUntraced(function*(id, reason) {
      yield* mayCancel(id)
      yield* send(id, { _tag: "Cancel", ...(reason === undefined ? undefined : { reason }) }, [
        "completed",
        "rolledback",
        "abandoned",
        "settling",
        "compensating"
      ])
    }),
    resume: (id) =>
      send(id, { _tag: "Resolve", resolution: { _tag: "Retry" } }, [
        "running",
        "settling",
        "suspended",
        "compensating",
        "completed",
        "rolledback",
        "abandoned"
      ]),
    replay: Effect.fnUntraced(function*(recorded) {
      const registered = worker.handlers.of(ExecutionId.tag(recorded.id), recorded.version)
      if (registered === undefined) return { _tag: "NoHandler" }
      return yield* Core.provide(
        rehearse({ ...registered, id: recorded.id, store, limits: worker.limits }, recorded),
        registered.context
      )
    }),
    retired: Effect.fnUntraced(function*(tag, version) {
      const query: SagaStore.Query = {
        names: [tag],
        statuses: open,
        versions: [version],
        tags: {},
        createdFrom: undefined,
        createdBefore: undefined,
        search: undefined,
        order: "oldest",
        after: undefined,
        limit: namedExecutions
      }
      const executions = (yield* reading("", store.encoded.list(query))).map((_) => _.id)
      if (executions.length > 0) yield* failure(new SagaError.VersionInUse({ saga: tag, version, executions }))
    }),
    signal: Effect.fnUntraced(function*(id, message, key) {
      const mail = yield* encodeSignal(id, message, key, maxKey, worker.limits.storable)
      // A key of its own: what is sent again because no answer came is not received twice.
      yield* send(id, mail, ended, keyOf(key) ?? `~${worker.token()}`)
    }),
    issueOf: Effect.fnUntraced(function*(id, step, value) {
      const registered = yield* worker.handler(id)
      if (registered === undefined) return undefined
      return yield* Core.provide(
        resultIssue({ ...registered, id, store, limits: worker.limits }, step, value),
        registered.context
      )
    })
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The engine, with its worker's settings.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOptions = (
  options: SagaWorker.Options
): Layer.Layer<SagaEngine, SagaStore.StoreError, SagaStore.SagaStore> => Layer.effect(SagaEngine, make(options))

/**
 * The engine on any store.
 *
 * **Details**
 *
 * With no handlers beside it, it is a client: it starts, polls, waits and cancels, and other processes do the work.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SagaEngine, SagaStore.StoreError, SagaStore.SagaStore> = layerOptions({})

/**
 * The engine with its journals in memory: for tests, and for sagas that need not survive the process.
 *
 * **Details**
 *
 * The store is given too, for a `SagaInspector`. Closing it waits for nothing: what it would be recovered from goes
 * with it.
 *
 * **Gotchas**
 *
 * `TestClock.adjust` does not wait for what an execution can do without time: one that was only just started may see an
 * hour pass between two steps that take none, and even its deadline. Let it come to rest before the clock moves, with
 * `SagaTest.settle` of `effect-saga/testing`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<SagaEngine | SagaStore.SagaStore> = Layer.provideMerge(
  Layer.orDie(layerOptions({ lease: "1 hour", poll: "1 minute", grace: 0 })),
  SagaStore.layerMemory
)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** What has not ended. */
const open: ReadonlyArray<SagaStore.Status> = ["running", "settling", "suspended", "compensating", "parked"]

/** How many executions an error names. */
const namedExecutions = 100

/** A waiting client asks the store with growing pauses, in milliseconds. */
const firstDelay = 20
const lastDelay = 1_000

const ended: ReadonlyArray<SagaStore.Status> = ["completed", "rolledback", "abandoned"]

const request = (mail: Journal.Mail): string => {
  switch (mail._tag) {
    case "Cancel":
      return "a cancel"
    case "Resolve":
      return "a resume"
    case "Signal":
      return `signal ${mail.signal}`
    case "Child":
      return "news of a child"
  }
}

/** What senders chose never meets what the engine chose. */
// Persistent: stored with the message, and for as long as its execution.
const keyOf = (key: string | undefined): string | undefined => key === undefined ? undefined : `=${key}`

const encodeSignal = Effect.fnUntraced(function*(
  execution: string,
  { codec, payload, signal }: SignalMessage,
  key: string | undefined,
  maxKey: number,
  storableLimits: { readonly depth: number; readonly size: number }
) {
  const invalid = (issue: string) => failure(new SagaError.SignalInvalid({ execution, signal, issue }))
  if (key !== undefined && key.length > maxKey) {
    return yield* invalid(`its key has ${key.length} characters of ${maxKey}`)
  }
  const json = yield* Effect.mapError(codec.encode(payload), (error) => invalid(error.message))
  const mail: Journal.Mail = { _tag: "Signal", signal, payload: json }
  const text = storable([mail, key ?? ""], storableLimits)
  return Result.isSuccess(text) ? mail : yield* invalid(text.failure.message)
})

type Creation = NonNullable<SagaStore.Append["create"]>

/** What is to be started, as it is stored. */
interface Prepared {
  readonly definition: Definition
  readonly id: ExecutionId.ExecutionId
  readonly create: Creation
}

/** The user's functions are asked once: what is stored is what was checked. */
const creation = (
  definition: Definition,
  payload: unknown,
  id: ExecutionId.ExecutionId,
  maxKey: number,
  storableLimits: { readonly depth: number; readonly size: number }
): Effect.Effect<Creation, SagaError.SagaError<never>, unknown> => {
  const invalid = (issue: string) => failure(new SagaError.PayloadInvalid({ execution: id, issue }))
  const key = id.slice(ExecutionId.escape(definition.tag).length + 1)
  if (key.length > maxKey) return Effect.fail(invalid(`its idempotency key has ${key.length} characters of ${maxKey}`))
  const keyText = storable(id, storableLimits)
  if (Result.isFailure(keyText)) return Effect.fail(invalid(`its idempotency key: ${keyText.failure.message}`))
  const encoded = Effect.mapErrorEager(definition.payload.encode(payload), (error) => invalid(error.message))
  return Effect.flatMapEager(encoded, (json) => {
    const tags = definition.tags(payload)
    const tagsText = storable(tags, storableLimits)
    if (Result.isFailure(tagsText)) return Effect.fail(invalid(`its tags: ${tagsText.failure.message}`))
    const text = storable(json, storableLimits)
    return Result.isSuccess(text)
      ? Effect.succeed({ name: definition.tag, payload: text.success, version: definition.version, tags })
      : Effect.fail(invalid(text.failure.message))
  })
}

/** A message that came while it parked may change that. */
const isFinal = (ending: Ending): ending is Extract<Ending, { readonly _tag: "Ended" }> =>
  ending._tag === "Ended" && ending.entry._tag !== "SagaParked"
