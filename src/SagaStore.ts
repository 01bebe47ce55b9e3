/**
 * Where journals live: the port between the engine and a database.
 *
 * A driver implements `Encoded`: plain strings and numbers, no schema. The typed service above it encodes and decodes
 * at that one line. The journal is the lock: an append names the `seq` that it expects to be free, and the driver's
 * only duty is that of two appends with one `seq` exactly one is kept. This module never runs a step and owns no fiber.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { makeMemory } from "./internal/memory.ts"
import * as Notation from "./internal/notation.ts"
import * as Journal from "./Journal.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Where an execution stands, as its row says.
 *
 * `settling` is `running` past the point of no return; `suspended` waits, in nobody's memory. `completed`, `rolledback`
 * and `abandoned` are the ends; `parked` waits for a person.
 *
 * @category models
 * @since 0.1.0
 */
// Persistent: stored in `saga_execution.status`.
export const Status = Schema.Literals([
  "running",
  "settling",
  "suspended",
  "compensating",
  "completed",
  "rolledback",
  "parked",
  "abandoned"
])

/**
 * @category models
 * @since 0.1.0
 */
export type Status = typeof Status.Type

/**
 * An execution's row, as a driver returns it. Times are milliseconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Row {
  readonly id: string
  readonly name: string
  /** The version of the definition that started it. */
  readonly version: number
  /** What it is found by, as it was when it started. */
  readonly tags: Readonly<Record<string, string>>
  readonly status: Status
  /** JSON text of the encoded payload. */
  readonly payload: string
  /** JSON text of the last `SagaCompleted`, `SagaRolledBack` or `SagaParked` entry; null while it runs. */
  readonly result: string | null
  /** The worker that owns it; null while nobody does. */
  readonly worker: string | null
  /** When somebody has to look at it again; null for never. Only meaningful without an owner. */
  readonly wakeAt: number | null
  /** How many messages were ever sent to it, and how many of them its journal has answered. */
  readonly mail: number
  readonly received: number
  /** The place in its journal of the append in which it last continued as new; 0 where it never did. */
  readonly base: number
  /** `at` of the append that created it. */
  readonly createdAt: number
  /** `at` of the last append that changed the row, or `now` of the last claim. */
  readonly updatedAt: number
}

/**
 * An execution in a list: its row without the payload and the result.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary extends Omit<Row, "payload" | "result"> {}

/**
 * Which executions a list has: those that satisfy all that is given.
 *
 * **Details**
 *
 * `names`, `statuses`, `versions`: one of them; undefined for any. `tags`: each with this value. `createdFrom` is
 * inclusive, `createdBefore` is not; both in milliseconds. `search`: a part of the id, in upper or lower case as far as
 * letters are ASCII; every character stands for itself.
 *
 * `order` is by the time of the start, then by the id in its UTF-8 bytes, both up for `"oldest"` and both down for
 * `"newest"`. `after`: only what comes after this place in that order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Query {
  readonly names: ReadonlyArray<string> | undefined
  readonly statuses: ReadonlyArray<Status> | undefined
  readonly versions: ReadonlyArray<number> | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly createdFrom: number | undefined
  readonly createdBefore: number | undefined
  readonly search: string | undefined
  readonly order: "newest" | "oldest"
  readonly after: { readonly createdAt: number; readonly id: string } | undefined
  readonly limit: number
}

/**
 * How many executions of a saga have a status, and when the oldest of them started.
 *
 * @category models
 * @since 0.1.0
 */
export interface Count {
  readonly name: string
  readonly status: Status
  readonly count: number
  readonly oldest: number
}

/**
 * What an append changes in the execution's row.
 *
 * @category models
 * @since 0.1.0
 */
export interface RowUpdate {
  readonly status: Status
  readonly result: string | null
  readonly worker: string | null
  readonly wakeAt: number | null
  readonly received: number
  /**
   * The execution continues as new with this append: its `seq` becomes the row's `base`, and this the row's `version`.
   * Not with `create`.
   *
   * @default the row keeps both
   */
  readonly continued?: { readonly version: number } | undefined
}

/**
 * One append: entries that become durable together, at one place of one journal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Append {
  readonly execution: string
  /** The place in the journal, from 0, without gaps. */
  readonly seq: number
  /** Unique to this append: after a lost acknowledgement it tells one's own row from another's. */
  readonly token: string
  readonly at: number
  /** JSON text of a non-empty array of entries. */
  readonly entries: string
  /** Present exactly when `seq` is 0: the append creates the execution, with the row that `row` says. */
  readonly create: {
    readonly name: string
    readonly payload: string
    /**
     * @default 1
     */
    readonly version?: number | undefined
    /**
     * @default none
     */
    readonly tags?: Readonly<Record<string, string>> | undefined
    /**
     * The first messages to it, as `send` would put them: they are there when it is.
     *
     * @default none
     */
    readonly mail?: ReadonlyArray<{ readonly message: string; readonly key?: string | undefined }> | undefined
  } | undefined
  /**
   * The new row; absent: the row stays as it is. Required with `create`. Without `create`, an execution that has no row
   * gets none.
   */
  readonly row: RowUpdate | undefined
  /**
   * The numbers of the messages that the entries answer: they leave the inbox with this append.
   *
   * @default none
   */
  readonly answered?: ReadonlyArray<number> | undefined
  /**
   * A message to another execution that goes with this append, as `send` would put it.
   *
   * @default none
   */
  readonly tell?: { readonly execution: string; readonly message: string } | undefined
}

/**
 * A stored append.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored {
  readonly seq: number
  readonly token: string
  readonly at: number
  readonly entries: string
}

/**
 * An execution that was claimed, and the place of the claim in its journal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claimed {
  readonly id: string
  readonly seq: number
  /**
   * What is needed to take it up: its row as `read` would give it from the claim on, and its journal from the row's
   * `base` on, the claim included. Only where the claim asked for it, and then still left to the driver: what is long
   * is better read alone.
   *
   * @default whoever takes it up reads both
   */
  readonly stored?: { readonly row: Row; readonly journal: ReadonlyArray<Stored> } | undefined
}

/**
 * What became of a message.
 *
 * @category models
 * @since 0.1.0
 */
export type SendResult =
  | { readonly _tag: "Sent"; readonly worker: string | null }
  | { readonly _tag: "Refused"; readonly status: Status }
  | { readonly _tag: "Unknown" }

/**
 * A driver failed.
 *
 * **Details**
 *
 * `retryable` is true when the same call may succeed later (no connection, serialization failure, deadlock, a database
 * that restarts), and false when it never will (a malformed element, a missing table, no permission).
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  operation: Schema.String,
  retryable: Schema.Boolean,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const reason = innermost(this.cause)
    return this.retryable
      ? `The saga store did not answer (${this.operation}): ${reason}. ` +
        "Check the database and its address; the call may be sent again."
      : `The saga store refused ${this.operation}: ${reason}. Sending it again will not help.`
  }
}

/**
 * The contract of a driver. `testing/StoreContract` holds its promises as cases.
 *
 * **Details**
 *
 * Every method is one or a few statements, holds no transaction open between calls, and may be called concurrently from
 * several fibers and processes. Times that compare with a worker's clock (`now`) come as parameters; leases are
 * counted on the store's own clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded {
  /**
   * Adds appends to journals: for each element, in the order given, whether it was kept.
   *
   * **Details**
   *
   * An element is refused when its `(execution, seq)` is taken: then nothing of it is stored, neither entries nor row,
   * and the other elements are not affected. A batch holds at most one append an execution. Once it returned, all that
   * was kept is durable. If the process dies before, each element is stored wholly or not at all.
   *
   * A row without an owner whose `mail` is beyond the new `received` becomes due at `at`: mail that came in after its
   * owner last looked is not slept on, and not lost where the execution ends. `row.wakeAt` applies where it is earlier.
   * Messages in `answered` are in no inbox from then on; of an element that is refused, they stay.
   *
   * `tell` reaches its receiver exactly if the element is kept: it is counted and lies in the inbox, under the next
   * number, as soon as the entries can be read; a receiver without an owner becomes due at `at`. A receiver that has
   * ended (`completed`, `rolledback`, `abandoned`) or was never started gets nothing, and the element is kept all the
   * same. Several elements may tell one receiver, and it may be in the batch itself.
   *
   * **Gotchas**
   *
   * A call that failed may have been stored: send the same batch again, then ask `witness` about what was refused.
   */
  readonly append: (batch: ReadonlyArray<Append>) => Effect.Effect<ReadonlyArray<boolean>, StoreError>

  /**
   * Who wrote `seq`, and the highest `seq` there is; both null where there is none. Read after a refused append.
   */
  readonly witness: (
    execution: string,
    seq: number
  ) => Effect.Effect<{ readonly token: string | null; readonly last: number | null }, StoreError>

  /** The row of an execution; null for one that was never started. */
  readonly read: (execution: string) => Effect.Effect<Row | null, StoreError>

  /**
   * The journal of an execution, by `seq`: all of it, or only what comes after the place `after`. Empty for an
   * execution that was never started.
   */
  readonly journal: (execution: string, after?: number) => Effect.Effect<ReadonlyArray<Stored>, StoreError>

  /**
   * The first `limit` executions that satisfy the query, in its order. A page is one look at the store: what is kept
   * while pages are read appears where its time belongs.
   */
  readonly list: (query: Query) => Effect.Effect<ReadonlyArray<Summary>, StoreError>

  /** How many executions there are, for each saga and status that has any; in no order. */
  readonly stats: Effect.Effect<ReadonlyArray<Count>, StoreError>

  /**
   * Takes executions that nobody owns and that are due, or whose owner is gone, for `worker`.
   *
   * **Details**
   *
   * Only sagas named in `names`, and of those that `versions` names too only these versions; at most `limit`; the
   * longest due first. Due: no owner and `wakeAt <= now`. Gone: the
   * owner's lease ended `margin` milliseconds ago or more (due since that end), or it retired (due before all others).
   * An owner that never registered is gone too; a driver may notice that only when a worker registers.
   *
   * Taking is an append: `entries` at the journal's next `seq`, with `token` and `now`. Only executions whose append
   * was kept are returned, and only those get `worker` as their owner (their `wakeAt` becomes null, status and mail
   * stay). Two claimers never both return one. What another claimer looks at in this moment is passed over.
   * If the process dies before it returned, the claimed executions are its worker's until its lease ends.
   */
  readonly claim: (options: {
    readonly worker: string
    readonly names: ReadonlyArray<string>
    readonly versions?: ReadonlyArray<{ readonly name: string; readonly version: number }>
    readonly limit: number
    readonly now: number
    readonly margin: number
    readonly token: string
    readonly entries: string
    /**
     * Whether what is claimed is to be answered with what is stored of it.
     *
     * @default false
     */
    readonly reads?: boolean
  }) => Effect.Effect<ReadonlyArray<Claimed>, StoreError>

  /**
   * The executions that `worker` owns, with the highest `seq` of each.
   *
   * **Details**
   *
   * For a claim whose answer was lost: what it took is owned, and nobody runs it.
   */
  readonly owned: (
    worker: string
  ) => Effect.Effect<ReadonlyArray<{ readonly id: string; readonly seq: number }>, StoreError>

  /**
   * Gives executions back that `worker` still owns: no owner, due at `wakeAt`. Others are left alone. Their journals do
   * not change, so the next claim is what refuses a late append.
   */
  readonly release: (options: {
    readonly worker: string
    readonly executions: ReadonlyArray<string>
    readonly wakeAt: number
  }) => Effect.Effect<void, StoreError>

  /**
   * Puts a message into an execution's inbox and counts it, unless its status is in `refuse`.
   *
   * **Details**
   *
   * Refused or counted in one transaction with the row locked, so no message is accepted by an execution that ended. An
   * execution without an owner becomes due at `now`, or stays due if it was before. Once it returned `Sent`, the
   * message is durable, under a number of its own: the messages of an execution are numbered from 1 without gaps.
   * A `key` that was accepted before is answered `Sent` and changes nothing, whatever the status is by now: also once
   * the message has left the inbox. Sending again after a failure without a key may store it twice.
   */
  readonly send: (options: {
    readonly execution: string
    readonly message: string
    readonly now: number
    readonly refuse: ReadonlyArray<Status>
    readonly key?: string | undefined
  }) => Effect.Effect<SendResult, StoreError>

  /** The messages of an execution numbered above `after` (from 1), in order. */
  readonly inbox: (
    execution: string,
    after: number
  ) => Effect.Effect<ReadonlyArray<{ readonly number: number; readonly message: string }>, StoreError>

  /** The executions that `worker` owns and that have more mail than they received. */
  readonly unread: (worker: string) => Effect.Effect<ReadonlyArray<string>, StoreError>

  /** Registers a worker, with a lease of `lease` milliseconds on the store's clock; anew, if it is registered. */
  readonly register: (worker: string, lease: number) => Effect.Effect<void, StoreError>

  /** Renews a lease that has not ended. False: it ended, or the worker is unknown; nothing was changed. */
  readonly renew: (worker: string, lease: number) => Effect.Effect<boolean, StoreError>

  /** Ends a worker: what it still owns may be claimed at once, without the margin. */
  readonly retire: (worker: string) => Effect.Effect<void, StoreError>

  /**
   * Runs `onWake` whenever a process may have made work (`wake`), and whenever it cannot know: first when it has begun
   * to listen, and again after each lost connection. Several wake-ups may become one. Stays until interrupted. Missing
   * a wake-up loses time, never work: workers poll.
   */
  readonly listen: (onWake: Effect.Effect<void>) => Effect.Effect<void, StoreError, Scope.Scope>

  /** Tells the workers of every process that there may be work. Best effort. */
  readonly wake: Effect.Effect<void, StoreError>
}

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A journal as it was stored, decoded: its entries in order, and the next free `seq`.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredJournal {
  readonly appends: ReadonlyArray<{
    readonly seq: number
    readonly at: number
    readonly entries: ReadonlyArray<Journal.Entry>
  }>
  readonly next: number
}

/**
 * A stored journal that this version cannot read: a newer version wrote it, or somebody changed it by hand. A missing
 * append is refused too.
 *
 * @category errors
 * @since 0.1.0
 */
export class Undecodable extends Schema.TaggedError<Undecodable>()("Undecodable", {
  execution: Schema.String,
  seq: Schema.Int,
  issue: Schema.String
}) {
  override get message(): string {
    return `The journal of ${this.execution} cannot be read at ${this.seq}: ${this.issue}. ` +
      "Deploy the version that wrote it, or repair the row."
  }
}

/**
 * The store: a driver, and reading through the journal's schema.
 *
 * @category services
 * @since 0.1.0
 */
export class SagaStore extends Context.Service<SagaStore, {
  readonly encoded: Encoded
  /** The decoded journal, or only what comes after the place `after`; empty for an unknown execution. */
  readonly journal: (execution: string, after?: number) => Effect.Effect<StoredJournal, StoreError | Undecodable>
}>()("effect-saga/SagaStore") {}

/**
 * The typed store over a driver.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (encoded: Encoded): SagaStore["Service"] => ({
  encoded,
  journal: (execution, after = -1) =>
    Effect.flatMap(
      encoded.journal(execution, after),
      (stored) => Effect.fromResult(decode(execution, stored, after + 1))
    )
})

/**
 * What a driver stored of a journal, decoded. `first` is the place of its first append, by default 0; one that is
 * missing, or that this version cannot read, is an error.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (
  execution: string,
  stored: ReadonlyArray<Stored>,
  first = 0
): Result.Result<StoredJournal, Undecodable> => {
  const appends: Array<StoredJournal["appends"][number]> = []
  for (const append of stored) {
    const seq = first + appends.length
    if (append.seq !== seq) return Result.fail(new Undecodable({ execution, seq, issue: `append ${seq} is missing` }))
    const entries = decodeEntries(append)
    if (Result.isFailure(entries)) {
      return Result.fail(new Undecodable({ execution, seq: append.seq, issue: entries.failure.message }))
    }
    appends.push({ seq: append.seq, at: append.at, entries: entries.success })
  }
  return Result.succeed({ appends, next: first + appends.length })
}

/**
 * The entries of as many appends as this version can read, without a gap between them. `first` is the place of the
 * first one, by default 0.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodePrefix = (stored: ReadonlyArray<Stored>, first = 0): ReadonlyArray<Journal.Entry> => {
  const entries: Array<Journal.Entry> = []
  for (const [index, append] of stored.entries()) {
    const decoded = decodeEntries(append)
    if (append.seq !== first + index || Result.isFailure(decoded)) return entries
    entries.push(...decoded.success)
  }
  return entries
}

export {
  /**
   * A driver that keeps everything in memory: it is the oracle that other drivers are compared with.
   *
   * **Details**
   *
   * Each call is a new, empty store. Every method runs in one go, so no two of them interleave. Leases and `now` are
   * counted on Effect's `Clock`.
   *
   * @category constructors
   * @since 0.1.0
   */
  makeMemory
} from "./internal/memory.ts"

/**
 * Journals in memory: they live as long as the layer. Leases and `now` are counted on Effect's `Clock`, so a test
 * clock moves them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<SagaStore> = Layer.effect(SagaStore, Effect.map(makeMemory, make))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const decodeExpanded = Schema.decodeUnknownResult(Schema.Array(Journal.Entry))

const parse = (text: string): Result.Result<unknown, Error> =>
  Result.try({ try: () => JSON.parse(text) as unknown, catch: (error) => error as SyntaxError })

const decodeEntries = ({ at, entries }: Pick<Stored, "at" | "entries">) =>
  Result.flatMap(parse(entries), (json) => decodeExpanded(Notation.expand(json, at)))

/** The message of the innermost cause: drivers wrap what really happened. */
const innermost = (cause: unknown): string => {
  let inner = cause
  for (let depth = 0; depth < 8 && inner instanceof Error && inner.cause !== undefined; depth++) inner = inner.cause
  return inner instanceof Error ? inner.message : String(inner)
}
