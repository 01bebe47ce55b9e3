/**
 * How the store contract's cases are written: one sentence, one program, and names that no other case uses.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SagaStore from "../../SagaStore.ts"

/**
 * A promise of the store that the driver under test does not keep.
 *
 * @category errors
 * @since 0.1.0
 */
export class Violation extends Schema.TaggedError<Violation>()("Violation", {
  promise: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `${this.promise}: expected ${this.expected}, but found ${this.actual}. ` +
      "See SagaStore.Encoded for what the driver has to do."
  }
}

/**
 * One promise, as a program that fails with `Violation` where it is not kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Case {
  readonly name: string
  readonly run: Effect.Effect<void, Violation | SagaStore.StoreError, SagaStore.SagaStore>
}

/**
 * A promise of a store that keeps its data. Closing the scope of `open` is the end of a process.
 *
 * @category models
 * @since 0.1.0
 */
export interface RestartCase {
  readonly name: string
  readonly run: <E>(
    open: Effect.Effect<SagaStore.SagaStore["Service"], E, Scope.Scope>
  ) => Effect.Effect<void, Violation | SagaStore.StoreError | E>
}

/**
 * A program of a case.
 *
 * @category models
 * @since 0.1.0
 */
export type Body = (world: World) => Generator<Effect.Effect<unknown, Violation | SagaStore.StoreError>, void, never>

/**
 * What a case works with.
 *
 * @category models
 * @since 0.1.0
 */
export interface World {
  readonly store: SagaStore.Encoded
  /** The name of a saga that only this run of this case uses, so that no other case claims its executions. */
  readonly saga: string
  /** An execution's id that only this run of this case uses. */
  readonly id: (suffix: string | number) => string
  /** A worker's id, likewise. */
  readonly worker: (suffix: string | number) => string
}

/**
 * A world over a driver.
 *
 * @category constructors
 * @since 0.1.0
 */
export const world = (store: SagaStore.Encoded): Effect.Effect<World> =>
  Effect.map(Random.nextIntBetween(0, 2 ** 48), (number) => {
    const unique = number.toString(36)
    return {
      store,
      saga: `Contract-${unique}`,
      id: (suffix) => `Contract-${unique}/${suffix}`,
      worker: (suffix) => `worker-${unique}-${suffix}`
    }
  })

/**
 * A case: the sentence, and the program that checks it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const promise = (name: string, body: Body): Case => ({
  name,
  run: Effect.flatMap(SagaStore.SagaStore, ({ encoded }) => Effect.flatMap(world(encoded), Effect.fnUntraced(body)))
})

/**
 * A restart case: the sentence, what happens before the end of the process, and what is checked afterwards.
 *
 * @category constructors
 * @since 0.1.0
 */
export const restartPromise = (name: string, before: Body, after: Body): RestartCase => ({
  name,
  run: Effect.fnUntraced(function*(open) {
    const withStore = (body: Body, known?: World) =>
      Effect.scoped(Effect.gen(function*() {
        const { encoded } = yield* open
        // The names of afterwards are those of before.
        const opened = known === undefined ? yield* world(encoded) : { ...known, store: encoded }
        yield* Effect.fnUntraced(body)(opened)
        return opened
      }))
    yield* withStore(after, yield* withStore(before))
  })
})

/**
 * Fails unless both are equal in structure.
 *
 * @category assertions
 * @since 0.1.0
 */
export const equal = <A>(promise: string, actual: A, expected: NoInfer<A>): Effect.Effect<void, Violation> =>
  Effect.suspend(() =>
    Equal.equals(actual, expected)
      ? Effect.void
      : Effect.fail(new Violation({ promise, expected: show(expected), actual: show(actual) }))
  )

/**
 * The first append of an execution, owned by nobody and never due, unless `row` says otherwise.
 *
 * @category constructors
 * @since 0.1.0
 */
export const create = (
  { saga }: World,
  execution: string,
  row?: Partial<SagaStore.RowUpdate>,
  change?: Partial<SagaStore.Append>
): SagaStore.Append => ({
  execution,
  seq: 0,
  token: `${execution}#0`,
  at: 1_000,
  entries: entries("SagaStarted", 1_000),
  create: { name: saga, payload: "{\"order\":1}" },
  row: rowUpdate(row),
  ...change
})

/**
 * A later append, which leaves the row as it is unless `change` says otherwise.
 *
 * @category constructors
 * @since 0.1.0
 */
export const next = (execution: string, seq: number, change?: Partial<SagaStore.Append>): SagaStore.Append => ({
  execution,
  seq,
  token: `${execution}#${seq}`,
  at: 1_000 + seq,
  entries: entries("PivotPassed", 1_000 + seq),
  create: undefined,
  row: undefined,
  ...change
})

/**
 * A row that runs, owned by nobody and never due, with the given changes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const rowUpdate = (change?: Partial<SagaStore.RowUpdate>): SagaStore.RowUpdate => ({
  status: "running",
  result: null,
  worker: null,
  wakeAt: null,
  received: 0,
  ...change
})

/**
 * The text of one entry.
 *
 * @category constructors
 * @since 0.1.0
 */
export const entries = (tag: string, at: number): string => JSON.stringify([{ _tag: tag, at }])

/**
 * A claim by `worker`, of anything of this case's saga that is due at 10,000 or whose owner is gone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const claim = (
  { saga, store }: World,
  worker: string,
  change?: Partial<Parameters<SagaStore.Encoded["claim"]>[0]>
): ReturnType<SagaStore.Encoded["claim"]> =>
  store.claim({
    worker,
    names: [saga],
    limit: 1_000,
    now: 10_000,
    margin: 0,
    token: `claim by ${worker}`,
    entries: entries("Claimed", 10_000),
    ...change
  })

/**
 * A lease that outlives every case, in milliseconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const longLease = 600_000

/**
 * A lease that has ended when `register` returned.
 *
 * @category constants
 * @since 0.1.0
 */
export const deadLease = 0

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const show = (value: unknown): string => {
  const text = JSON.stringify(value) as string | undefined ?? String(value)
  return text.length > 500 ? `${text.slice(0, 500)}... (${text.length} characters)` : text
}
