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
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import * as ExecutionId from "./ExecutionId.ts"
import type { Codec } from "./internal/codec.ts"
import { type Definition, type Polled, SagaEngine } from "./internal/engine.ts"
import * as limits from "./internal/limits.ts"
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

  const reading = <A>(id: string, effect: Effect.Effect<A, SagaStore.StoreError>) =>
    Effect.mapError(
      Effect.retry(effect, { while: (error) => error.retryable, schedule: patience }),
      (error) => failure(new SagaError.StoreUnavailable({ execution: id, cause: error }))
    )

  const read = Effect.fnUntraced(function*(id: string) {
    const row = yield* reading(id, store.encoded.read(id))
    return row ?? (yield* failure(new SagaError.UnknownExecution({ execution: id })))
  })

  /** The key is taken: the same payload joins, another one is refused. */
  const join = Effect.fnUntraced(function*(id: ExecutionId.ExecutionId, payloadText: string) {
    const running = worker.live.get(id)?.payload
    const stored = running ?? (yield* read(id)).payload
    if (!sameJson(stored, payloadText)) return yield* failure(new SagaError.PayloadMismatch({ execution: id }))
    return id
  })

  /** Starts without owning: a worker with the handler claims it. */
  const hand = Effect.fnUntraced(function*(definition: Definition, id: ExecutionId.ExecutionId, payloadText: string) {
    const at = clock.currentTimeMillisUnsafe()
    const written = yield* worker.writer.append({
      execution: id,
      seq: 0,
      token: worker.token(),
      at,
      entries: JSON.stringify([{ _tag: "SagaStarted", at }]),
      create: { name: definition.tag, payload: payloadText },
      row: { status: "running", result: null, worker: null, wakeAt: at, received: 0 }
    }).pipe(Effect.mapError((cause) => failure(new SagaError.StoreUnavailable({ execution: id, cause }))))
    if (written === "Lost") return yield* join(id, payloadText)
    yield* worker.poke
    yield* Effect.ignore(store.encoded.wake)
    return id
  })

  const start = Effect.fnUntraced(function*(definition: Definition, payload: unknown) {
    const id = ExecutionId.make(definition.tag, definition.idempotencyKey(payload))
    const payloadText = yield* encodePayload(definition, payload, id, maxKey, worker.limits.storable)
    const running = worker.live.get(id)
    if (running !== undefined) {
      const ending = yield* Deferred.await(running.started)
      // One that could not be stored, or is not here any more, says nothing about this start.
      if (ending?._tag !== "Failed" && worker.live.has(id)) return yield* join(id, payloadText)
    }
    const live = worker.start(definition.tag, id, payloadText)
    if (live === undefined) return yield* hand(definition, id, payloadText)
    const ending = yield* Deferred.await(live.started)
    switch (ending?._tag) {
      case undefined:
      case "Ended":
        return id
      case "Exists":
        return yield* join(id, payloadText)
      case "Left":
        return yield* hand(definition, id, payloadText)
      case "Failed":
        return yield* failure(new SagaError.StoreUnavailable({ execution: id, cause: ending.error }))
    }
  })

  /** The end of an execution as it was stored; waits for it here where it runs here, and asks the store otherwise. */
  const awaitEnd = Effect.fnUntraced(function*(id: ExecutionId.ExecutionId) {
    let delay = firstDelay
    while (true) {
      const live = worker.live.get(id)
      if (live !== undefined) {
        const ending = yield* Deferred.await(live.ended)
        // A message that came while it parked may change that.
        if (ending._tag === "Ended" && ending.entry._tag !== "SagaParked") return ending.entry
      }
      const row = yield* read(id)
      const settled = row.status !== "parked" || row.mail <= row.received
      if (row.result !== null && settled) return yield* decodeEnd(id, row.result)
      yield* Effect.raceFirst(Effect.sleep(delay), worker.arrival(id))
      delay = Math.min(delay * 2, lastDelay)
    }
  })

  const send = Effect.fnUntraced(function*(
    id: ExecutionId.ExecutionId,
    mail: Journal.Mail,
    refuse: ReadonlyArray<SagaStore.Status>
  ) {
    const now = clock.currentTimeMillisUnsafe()
    const sent = yield* reading(id, store.encoded.send({ execution: id, message: JSON.stringify(mail), now, refuse }))
    if (sent._tag === "Unknown") return yield* failure(new SagaError.UnknownExecution({ execution: id }))
    if (sent._tag === "Refused") {
      return yield* sent.status === "settling"
        ? failure(new SagaError.TooLate({ execution: id }))
        : failure(new SagaError.NotAccepting({ execution: id, status: sent.status, request: request(mail) }))
    }
    const live = worker.live.get(id)
    if (live !== undefined) return live.notify()
    yield* worker.poke
    yield* Effect.ignore(store.encoded.wake)
  })

  /** A parked execution is not cancelled past its point of no return, nor when it rolls back already. */
  const mayCancel = Effect.fnUntraced(function*(id: ExecutionId.ExecutionId) {
    if ((yield* read(id)).status !== "parked") return
    const journal = yield* Effect.mapError(
      store.journal(id),
      (cause) => failure(new SagaError.StoreUnavailable({ execution: id, cause }))
    )
    const state = Journal.fold(journal.appends.flatMap((_) => _.entries))
    if (Result.isFailure(state)) return
    if (state.success.pivotPassed) return yield* failure(new SagaError.TooLate({ execution: id }))
    if (state.success.rollback !== undefined) {
      return yield* failure(new SagaError.NotAccepting({ execution: id, status: "parked", request: "a cancel" }))
    }
  })

  return SagaEngine.of({
    register: worker.register,
    start,
    result: Effect.fnUntraced(function*(definition, id) {
      return yield* Effect.flatten(toExit(definition, id, yield* awaitEnd(id)))
    }),
    poll: Effect.fnUntraced(function*(definition, id) {
      return yield* toPolled(definition, id, yield* read(id))
    }),
    cancel: Effect.fnUntraced(function*(id, reason) {
      yield* mayCancel(id)
      yield* send(id, { _tag: "Cancel", ...(reason === undefined ? undefined : { reason }) }, [
        "completed",
        "rolledback",
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
        "rolledback"
      ])
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
 * Closing it waits for nothing: what it would be recovered from goes with it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<SagaEngine> = Layer.provide(
  Layer.orDie(layerOptions({ lease: "1 hour", poll: "1 minute", grace: 0 })),
  SagaStore.layerMemory
)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** A waiting client asks the store with growing pauses, in milliseconds. */
const firstDelay = 20
const lastDelay = 1_000

/** How long a read waits for a store that does not answer: as long as a lease by default. */
const patience = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.upTo({ duration: "30 seconds" })
)

const failure = (reason: SagaError.Reason<never>): SagaError.SagaError<never> => new SagaError.SagaError({ reason })

const request = (mail: Journal.Mail): string => mail._tag === "Cancel" ? "a cancel" : "a resume"

const encodePayload = Effect.fnUntraced(function*(
  definition: Definition,
  payload: unknown,
  id: ExecutionId.ExecutionId,
  maxKey: number,
  storableLimits: { readonly depth: number; readonly size: number }
) {
  const invalid = (issue: string) => failure(new SagaError.PayloadInvalid({ execution: id, issue }))
  const key = id.slice(ExecutionId.escape(definition.tag).length + 1)
  if (key.length > maxKey) return yield* invalid(`its idempotency key has ${key.length} characters of ${maxKey}`)
  const keyText = storable(id, storableLimits)
  if (Result.isFailure(keyText)) return yield* invalid(`its idempotency key: ${keyText.failure.message}`)
  const json = yield* Effect.mapError(definition.payload.encode(payload), (error) => invalid(error.message))
  const text = storable(json, storableLimits)
  return Result.isSuccess(text) ? text.success : yield* invalid(text.failure.message)
})

/** Whether two JSON texts say the same, whatever the order of their keys. */
const sameJson = (left: string, right: string): boolean => left === right || canonical(left) === canonical(right)

const canonical = (text: string): string =>
  JSON.stringify(
    JSON.parse(text),
    (_key, value: unknown) =>
      value !== null && typeof value === "object" && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1))
        : value
  )

const decodeEnd = (id: string, text: string): Effect.Effect<Journal.End, SagaError.SagaError<never>> =>
  Effect.mapError(
    Journal.decodeEnd(text),
    (error) => failure(new SagaError.ResultUndecodable({ execution: id, issue: error.message }))
  )

const decoded = (id: string, codec: Codec, json: Schema.Json) =>
  Effect.mapError(
    codec.decode(json),
    (error) => failure(new SagaError.ResultUndecodable({ execution: id, issue: error.message }))
  )

/** What a caller gets for an end: the result, the saga's own error, or `SagaError`. */
const toExit = Effect.fnUntraced(function*(definition: Definition, id: string, end: Journal.End) {
  switch (end._tag) {
    case "SagaCompleted":
      return Exit.succeed(yield* decoded(id, definition.success, end.value))
    case "SagaRolledBack":
      return Exit.fail(yield* rolledBackError(definition, id, end.cause))
    case "SagaParked":
      return Exit.fail(yield* parkedError(definition, id, end))
  }
})

const rolledBackError = (definition: Definition, id: string, cause: Journal.RollbackCause) =>
  cause._tag === "Failed"
    ? decoded(id, definition.error, cause.error)
    : Effect.succeed(failure(new SagaError.Cancelled({ execution: id, reason: cause.reason })))

const parkedError = Effect.fnUntraced(function*(
  definition: Definition,
  id: string,
  end: Journal.EntryOf<"SagaParked">
) {
  const unresolved: Array<SagaError.Unresolved<unknown>> = []
  for (const one of end.unresolved) {
    unresolved.push({
      step: Journal.refName(one),
      attempts: one.attempts,
      error: one.error === undefined ? undefined : yield* decoded(id, definition.compensationError, one.error),
      defect: one.defect
    })
  }
  const { cause } = end
  const original: SagaError.Original | undefined = cause === undefined
    ? undefined
    : cause._tag === "Cancelled"
    ? { _tag: "Cancelled", reason: cause.reason }
    : { _tag: "Failed", error: yield* decoded(id, definition.error, cause.error) }
  return new SagaError.SagaError({
    reason: new SagaError.Parked({ execution: id, why: end.reason, unresolved, original })
  })
})

const toPolled = Effect.fnUntraced(function*(definition: Definition, id: string, row: SagaStore.Row) {
  if (row.result !== null) {
    const end = yield* decodeEnd(id, row.result)
    switch (end._tag) {
      case "SagaCompleted":
        return { _tag: "Completed", value: yield* decoded(id, definition.success, end.value) } satisfies Polled
      case "SagaRolledBack":
        return { _tag: "RolledBack", error: yield* rolledBackError(definition, id, end.cause) } satisfies Polled
      case "SagaParked":
        return { _tag: "Parked", error: yield* parkedError(definition, id, end) } satisfies Polled
    }
  }
  switch (row.status) {
    case "compensating":
      return { _tag: "Compensating" } satisfies Polled
    case "suspended":
      return { _tag: "Suspended", wakeAt: row.wakeAt ?? undefined } satisfies Polled
    case "running":
    case "settling":
    case "completed":
    case "rolledback":
    case "parked":
      return { _tag: "Running", pivotPassed: row.status === "settling" } satisfies Polled
  }
})
