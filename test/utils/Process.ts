/**
 * Engines that share one store, each as a process of its own: it can be cut off from the store, slowed down, stopped.
 */
import { Effect, Exit, Layer, Scope } from "effect"
import { SagaEngine, SagaStore, type SagaWorker } from "effect-saga"
import * as Notation from "../../src/internal/notation.ts"
import type * as Journal from "../../src/Journal.ts"
import * as World from "./World.ts"

export interface Process {
  /** The names of its store calls, in order. */
  readonly calls: Array<string>
  /** Its appends: the tags of their entries. */
  readonly appends: Array<string>
  /** Runs before each store call. */
  before: (call: string, argument: unknown) => Effect.Effect<void, SagaStore.StoreError>
  /** Runs after each store call, before its caller knows the answer. */
  after: (call: string, argument: unknown) => Effect.Effect<void, SagaStore.StoreError>
  readonly use: <A, E>(effect: Effect.Effect<A, E, SagaEngine.SagaEngine>) => Effect.Effect<A, E>
  readonly stop: Effect.Effect<void>
}

/** No connection, for now. */
export const offline = new SagaStore.StoreError({ operation: "any", retryable: true, cause: "no connection" })

/** A process on the store; without a saga it is a client. */
export const open = Effect.fnUntraced(function*(
  encoded: SagaStore.Encoded,
  live?: Layer.Layer<never, never, SagaEngine.SagaEngine>,
  options: SagaWorker.Options = {}
): Effect.fn.Return<Process, never, Scope.Scope> {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const seen = <Arguments extends ReadonlyArray<any>, A, E>(
    name: string,
    call: (...args: Arguments) => Effect.Effect<A, E>
  ) =>
  (...args: Arguments): Effect.Effect<A, E | SagaStore.StoreError> =>
    Effect.gen(function*() {
      self.calls.push(name)
      yield* self.before(name, args[0])
      const answer = yield* call(...args)
      yield* self.after(name, args[0])
      return answer
    })
  const driver: SagaStore.Encoded = {
    append: seen(
      "append",
      (batch: ReadonlyArray<SagaStore.Append>) =>
        Effect.tap(encoded.append(batch), (kept) =>
          Effect.sync(() => {
            batch.forEach((one, index) => {
              if (kept[index] === true) self.appends.push(tags(one))
            })
          }))
    ),
    witness: seen("witness", encoded.witness),
    read: seen("read", encoded.read),
    journal: seen("journal", encoded.journal),
    claim: seen("claim", encoded.claim),
    owned: seen("owned", encoded.owned),
    release: seen("release", encoded.release),
    send: seen("send", encoded.send),
    inbox: seen("inbox", encoded.inbox),
    unread: seen("unread", encoded.unread),
    register: seen("register", encoded.register),
    renew: seen("renew", encoded.renew),
    retire: seen("retire", encoded.retire),
    list: seen("list", encoded.list),
    stats: encoded.stats,
    listen: encoded.listen,
    wake: encoded.wake
  }
  const self: Process = {
    calls: [],
    appends: [],
    before: () => Effect.void,
    after: () => Effect.void,
    use: (effect) => Effect.provideContext(effect, context),
    stop: Scope.close(scope, Exit.void)
  }
  const engine = Layer.provide(
    SagaEngine.layerOptions(options),
    Layer.succeed(SagaStore.SagaStore, SagaStore.make(driver))
  )
  const context = yield* Effect.orDie(
    Layer.buildWithScope(live === undefined ? engine : Layer.provideMerge(live, engine), scope)
  )
  return self
})

/** The tags of the entries of an append. */
export const tags = (append: SagaStore.Append): string =>
  (Notation.expand(JSON.parse(append.entries), append.at) as ReadonlyArray<Journal.Entry>).map((_) => _._tag).join(", ")

/** The whole journal of an execution, one line an append. */
export const journal = (encoded: SagaStore.Encoded, id: string) =>
  Effect.map(
    Effect.orDie(SagaStore.make(encoded).journal(id)),
    (found) => found.appends.map((append) => append.entries.map(World.sentence).join(", "))
  )

/** A saga's layer with participants. */
export const saga = (live: World.Live, parts: World.Parts) => live({ ...World.steps(parts), parts })
