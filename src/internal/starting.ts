/**
 * Executions that another one starts: creating them, cancelling them, and telling a parent that one has ended.
 *
 * What a parent asks of the store and of its process for its children. Each call may be made again, by this process or
 * by another one: an execution is created once, and cancelled once. It knows neither bodies nor tasks.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ChildSaga } from "../Execution.ts"
import type * as Journal from "../Journal.ts"
import { type Append, decodePrefix, type SagaStore, type Stored, type StoreError } from "../SagaStore.ts"
import type { JournalWriter } from "./journalWriter.ts"
import * as Notation from "./notation.ts"
import * as SagaStarted from "./started.ts"

/**
 * An execution that is to be created, or joined.
 *
 * @category models
 * @since 0.1.0
 */
export interface Birth {
  readonly id: string
  /** The execution that starts it. */
  readonly parent: string
  readonly saga: ChildSaga
  readonly tags: Readonly<Record<string, string>>
  /** JSON text of its payload. */
  readonly payload: string
}

/**
 * What became of it. `Taken`: somebody else started an execution with this id. `Changed`: it is there, with another
 * payload.
 *
 * @category models
 * @since 0.1.0
 */
export type Born = "There" | "Taken" | "Changed"

/**
 * What an execution does about those that it starts, and about the one that started it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Starting {
  /** Creates it, or finds it; returns once that is durable. `known`: it may have been created before. */
  readonly create: (birth: Birth, known: boolean) => Effect.Effect<Born, StoreError>
  /**
   * Asks it to roll back; returns once that is durable. One that was never created is created as rolled back, so that
   * nobody does who began to before. `Taken`: it is somebody else's, and was left alone.
   */
  readonly cancel: (birth: Birth, reason: string) => Effect.Effect<"There" | "Taken", StoreError>
  /** It has mail: looks for who runs it. */
  readonly told: (execution: string) => Effect.Effect<void>
}

/**
 * What a process offers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Process {
  readonly store: SagaStore["Service"]
  readonly writer: JournalWriter
  readonly token: () => string
  readonly now: () => number
  /** Runs a new execution here, up to its first append: whether that was kept; undefined where it cannot. */
  readonly run: (birth: Birth, create: NonNullable<Append["create"]>) => Effect.Effect<boolean | undefined, StoreError>
  /** Tells an execution that runs here of its mail; whether there is one. */
  readonly notify: (execution: string) => boolean
  /** Looks for work now. */
  readonly poke: Effect.Effect<void>
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (process: Process): Starting => {
  const { notify, now, poke, run, store, token, writer } = process
  const wake = Effect.andThen(poke, Effect.ignore(store.encoded.wake))
  const told = (execution: string): Effect.Effect<void> => Effect.suspend(() => notify(execution) ? Effect.void : wake)

  const find = Effect.fnUntraced(function*({ id, parent, payload }: Birth): Effect.fn.Return<
    Born | undefined,
    StoreError
  > {
    const row = yield* store.encoded.read(id)
    if (row === null) return undefined
    if ((yield* parentOf(store, id)) !== parent) return "Taken"
    return sameJson(row.payload, payload) ? "There" : "Changed"
  })

  /** Nobody owns it: a worker with the handler claims it. */
  const hand = Effect.fnUntraced(function*(birth: Birth) {
    const at = now()
    const started = SagaStarted.entry(birth.saga, at, birth.parent)
    const written = yield* writer.append({
      execution: birth.id,
      seq: 0,
      token: token(),
      at,
      entries: Notation.encode([started], at),
      create: creation(birth),
      row: { status: "running", result: null, worker: null, wakeAt: at, received: 0 }
    })
    if (written === "Lost") return false
    yield* wake
    return true
  })

  /** An execution that rolled back before it did anything, and its parent knows. */
  const bury = Effect.fnUntraced(function*(birth: Birth, reason: string) {
    const at = now()
    const cause = { _tag: "Cancelled", reason } as const
    const end: Journal.End = { _tag: "SagaRolledBack", at, cause }
    const written = yield* writer.append({
      execution: birth.id,
      seq: 0,
      token: token(),
      at,
      entries: Notation.encode([
        SagaStarted.entry(birth.saga, at, birth.parent),
        { _tag: "RollbackRequested", at, cause },
        { _tag: "RollbackStarted", at, scope: "", cause },
        end
      ], at),
      create: creation(birth),
      row: { status: "rolledback", result: Notation.encodeOne(end), worker: null, wakeAt: null, received: 0 },
      tell: tell(birth.id, birth.parent, end)
    })
    if (written === "Kept") yield* told(birth.parent)
    return written === "Kept"
  })

  return {
    create: Effect.fnUntraced(function*(birth, known) {
      if (known) {
        const found = yield* find(birth)
        if (found !== undefined) return found
      }
      const kept = (yield* run(birth, creation(birth))) ?? (yield* hand(birth))
      if (kept) return "There"
      return (yield* find(birth)) ?? "Taken"
    }),
    cancel: Effect.fnUntraced(function*(birth, reason) {
      const found = yield* find(birth)
      if (found === "Taken") return found
      if (found === undefined && (yield* bury(birth, reason))) return "There"
      if (found === undefined && (yield* parentOf(store, birth.id)) !== birth.parent) return "Taken"
      const message = JSON.stringify({ _tag: "Cancel", reason } satisfies Journal.Mail)
      // One that has ended says so by itself.
      yield* store.encoded.send({
        execution: birth.id,
        message,
        now: now(),
        refuse: ["completed", "rolledback", "abandoned"],
        key: cancelKey
      })
      yield* told(birth.id)
      return "There"
    }),
    told
  }
}

/**
 * Starts nothing: for what only looks at a journal.
 *
 * @category constants
 * @since 0.1.0
 */
export const nothing: Starting = { create: () => Effect.never, cancel: () => Effect.never, told: () => Effect.void }

/**
 * What an execution tells the one that started it, with the append that it is about.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tell = (child: string, parent: string, end: Journal.End | undefined): NonNullable<Append["tell"]> => ({
  execution: parent,
  message: JSON.stringify(
    { _tag: "Child", child, ...(end === undefined ? undefined : { end }) } satisfies Journal.Mail
  )
})

/**
 * Whether two JSON texts say the same, whatever the order of their keys.
 *
 * @category guards
 * @since 0.1.0
 */
export const sameJson = (left: string, right: string): boolean => left === right || canonical(left) === canonical(right)

/**
 * Who started an execution; undefined where nobody can tell.
 *
 * @category accessors
 * @since 0.1.0
 */
export const parentOf = Effect.fnUntraced(function*(
  store: SagaStore["Service"],
  id: string
): Effect.fn.Return<string | undefined, StoreError> {
  return parentIn(yield* store.encoded.journal(id))
})

/**
 * The end of an execution that somebody writes who does not run it, for who started it, if anybody did.
 *
 * @category constructors
 * @since 0.1.0
 */
export const endTold = (
  journal: ReadonlyArray<Stored>,
  execution: string,
  end: Journal.End
): Pick<Append, "tell"> => {
  const parent = parentIn(journal)
  return parent === undefined ? {} : { tell: tell(execution, parent, end) }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Its parent asks once, whichever process does it. */
// Persistent: stored for as long as the child.
const cancelKey = "~parent"

const creation = ({ payload, saga, tags }: Birth): NonNullable<Append["create"]> => ({
  name: saga.tag,
  payload,
  version: saga.version,
  tags
})

const parentIn = (journal: ReadonlyArray<Stored>): string | undefined => {
  const [started] = decodePrefix(journal.slice(0, 1))
  return started?._tag === "SagaStarted" ? started.parent : undefined
}

const canonical = (text: string): string =>
  JSON.stringify(
    JSON.parse(text),
    (_key, value: unknown) =>
      value !== null && typeof value === "object" && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1))
        : value
  )
