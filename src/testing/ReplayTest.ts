/**
 * Replays stored journals against the handlers of this process: which open executions a deployment would park.
 *
 * Nothing is executed: no step runs, nothing is written, no execution is claimed. Only the bodies run, as they do in a
 * recovery. It needs no test framework.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Journal from "../Journal.ts"
import { layer as SagaEngineLayer, SagaEngine } from "../SagaEngine.ts"
import { describe, type ParkReason } from "../SagaError.ts"
import * as SagaStore from "../SagaStore.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A journal with what it began with: what a golden file holds.
 *
 * @category models
 * @since 0.1.0
 */
// Persistent: golden files are kept for as long as a version replays them.
export const Recorded = Schema.Struct({
  id: Schema.String,
  version: Schema.Int,
  payload: Schema.Json,
  appends: Schema.Array(Schema.Array(Journal.Entry))
})

/**
 * @category models
 * @since 0.1.0
 */
export type Recorded = typeof Recorded.Type

/**
 * An execution that this version would not take up.
 *
 * **Details**
 *
 * `seq`, `index`: the append of its journal and the entry in it where the two part; undefined where that is at no entry
 * in particular. `reason` is undefined where there is no handler of its version.
 *
 * @category models
 * @since 0.1.0
 */
export interface Divergence {
  readonly id: string
  readonly version: number
  readonly seq: number | undefined
  readonly index: number | undefined
  readonly reason: ParkReason | undefined
  /** All of it as one sentence. */
  readonly message: string
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** How many journals were replayed. */
  readonly replayed: number
  readonly divergences: ReadonlyArray<Divergence>
}

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Replays one journal; undefined where the handler of its version takes it as it is.
 *
 * **Details**
 *
 * A journal that has ended must end in the body as it did; one that has not may go on.
 *
 * @category running
 * @since 0.1.0
 */
export const replay: (recorded: Recorded) => Effect.Effect<Divergence | undefined, never, SagaEngine> = Effect
  .fnUntraced(function*({ appends, id, payload, version }: Recorded) {
    const engine = yield* SagaEngine
    const entries = appends.flat()
    const found = yield* engine.replay({ id, version, payload: JSON.stringify(payload), entries })
    switch (found._tag) {
      case "Same":
        return undefined
      case "NoHandler": {
        const message = `${id} has no handler here: it started with version ${version}.`
        return { id, version, seq: undefined, index: undefined, reason: undefined, message }
      }
      case "Diverges": {
        const { entry, reason } = found
        const seq = entry === undefined ? -1 : appends.findIndex((append) => append.includes(entry))
        const index = entry === undefined ? -1 : appends[seq]?.indexOf(entry) ?? -1
        const where = index < 0 ? "" : ` at entry ${index} of append ${seq} (${entry!._tag})`
        return {
          id,
          version,
          seq: seq < 0 ? undefined : seq,
          index: index < 0 ? undefined : index,
          reason,
          message: `${id} diverges${where}: ${describe(reason)}.`
        }
      }
    }
  })

/**
 * Replays the journals of the store, oldest first: all of them, or those of some sagas or in some status.
 *
 * **When to use**
 *
 * Before a deployment, against the database that it goes to, with the handlers that it brings.
 *
 * **Example** (A check before a deployment)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { Saga, SagaStore } from "effect-saga"
 * import { ReplayTest } from "effect-saga/testing"
 *
 * const Order = Saga.make("Order", { payload: Schema.String, idempotencyKey: (id) => id })
 * const handlers = Order.toLayer(() => Effect.void)
 *
 * const check = ReplayTest.check({ statuses: ["running", "suspended", "settling", "compensating"] }).pipe(
 *   Effect.provide(Layer.provideMerge(handlers, ReplayTest.layer)),
 *   Effect.provide(SagaStore.layerMemory)
 * )
 * ```
 *
 * **Gotchas**
 *
 * On an engine that is no `ReplayTest.layer` its handlers also claim what is due, and run it.
 *
 * @category running
 * @since 0.1.0
 */
export const check: (
  filter?: {
    readonly names?: ReadonlyArray<string> | undefined
    readonly statuses?: ReadonlyArray<SagaStore.Status> | undefined
  }
) => Effect.Effect<Report, SagaStore.StoreError, SagaEngine | SagaStore.SagaStore> = Effect
  .fnUntraced(function*(filter = {}) {
    const store = yield* SagaStore.SagaStore
    const divergences: Array<Divergence> = []
    let replayed = 0
    let after: SagaStore.Query["after"]
    while (true) {
      const page: ReadonlyArray<SagaStore.Summary> = yield* store.encoded.list({
        names: filter.names,
        statuses: filter.statuses,
        versions: undefined,
        tags: {},
        createdFrom: undefined,
        createdBefore: undefined,
        search: undefined,
        order: "oldest",
        after,
        limit: pageSize
      })
      for (const { id, version } of page) {
        const found = yield* record(id).pipe(
          Effect.flatMap((recorded) => recorded === undefined ? Effect.succeed(undefined) : replay(recorded)),
          Effect.catchTag("Undecodable", ({ issue, seq }) => {
            const reason: ParkReason = { _tag: "Undecodable", what: "an append", message: issue }
            const message = `${id} diverges at append ${seq}: ${describe(reason)}.`
            return Effect.succeed({ id, version, seq, index: undefined, reason, message })
          })
        )
        replayed++
        if (found !== undefined) divergences.push(found)
      }
      const last = page.at(-1)
      if (last === undefined || page.length < pageSize) return { replayed, divergences }
      after = { createdAt: last.createdAt, id: last.id }
    }
  })

/**
 * The journal of an execution, to be kept as a golden one; undefined where the store has none.
 *
 * @category running
 * @since 0.1.0
 */
export const record: (
  id: string
) => Effect.Effect<Recorded | undefined, SagaStore.StoreError | SagaStore.Undecodable, SagaStore.SagaStore> = Effect
  .fnUntraced(function*(id: string) {
    const store = yield* SagaStore.SagaStore
    const row = yield* store.encoded.read(id)
    if (row === null) return undefined
    const { appends } = yield* store.journal(id)
    const payload: Schema.Json = JSON.parse(row.payload)
    return { id, version: row.version, payload, appends: appends.map((_) => _.entries) }
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An engine that reads the store and does nothing else: handlers beside it are known, and never run anything.
 *
 * **Details**
 *
 * It claims nothing and registers no worker; a start, a cancel or an answer through it fails with `StoreUnavailable`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SagaEngine, SagaStore.StoreError, SagaStore.SagaStore> = SagaEngineLayer.pipe(
  Layer.fresh,
  Layer.provide(Layer.effect(
    SagaStore.SagaStore,
    SagaStore.SagaStore.useSync(({ encoded }) => {
      const refuse = (operation: string) =>
        Effect.fail(new SagaStore.StoreError({ operation, retryable: false, cause: "ReplayTest only reads" }))
      return SagaStore.make({
        ...encoded,
        append: () => refuse("append"),
        send: () => refuse("send"),
        claim: () => Effect.succeed([]),
        owned: () => Effect.succeed([]),
        unread: () => Effect.succeed([]),
        release: () => Effect.void,
        register: () => Effect.void,
        renew: () => Effect.succeed(true),
        retire: () => Effect.void,
        listen: () => Effect.never,
        wake: Effect.void
      })
    })
  ))
)

// ---------------------------------------------------------------------------------------------------------------------
// texts
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A golden journal as a text: one line an entry, so that a change is read in a diff.
 *
 * @category texts
 * @since 0.1.0
 */
export const print = ({ appends, id, payload, version }: Recorded): string => {
  const lines = appends.map((append) =>
    `  [\n${append.map((entry) => `    ${JSON.stringify(entry)}`).join(",\n")}\n  ]`
  )
  const head = `"id": ${JSON.stringify(id)}, "version": ${version}, "payload": ${JSON.stringify(payload)}`
  return `{ ${head}, "appends": [\n${lines.join(",\n")}\n] }\n`
}

/**
 * Reads a golden journal.
 *
 * @category texts
 * @since 0.1.0
 */
export const parse: (text: string) => Effect.Effect<Recorded, Schema.SchemaError> = Schema.decodeUnknownEffect(
  Schema.fromJsonString(Recorded)
)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const pageSize = 100
