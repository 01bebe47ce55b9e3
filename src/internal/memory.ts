/**
 * The store in memory: what every driver promises, in the fewest words.
 *
 * Every method runs in one go, so no two of them interleave. It relies on Effect's `Clock` for leases, and on nothing
 * else.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Struct from "effect/Struct"
import type { Append, Count, Encoded, Query, Row, RowUpdate, SendResult, Stored, Summary } from "../SagaStore.ts"
import * as Registry from "./registry.ts"

/**
 * A new, empty store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory: Effect.Effect<Encoded> = Effect.sync(() => {
  const state: Memory = { executions: new Map(), open: Registry.make(), workers: new Map() }
  const wake = memoryWake()
  return {
    ...memoryJournal(state),
    ...memoryLists(state),
    ...memoryClaims(state),
    ...memoryMail(state),
    ...memoryWorkers(state),
    ...wake
  }
})

/**
 * One append, at once: whether it was kept.
 *
 * @category models
 * @since 0.1.0
 */
export type AtOnce = (append: Append) => boolean

/**
 * What an `append` does for one, where it is that of a store in memory: it takes no time, so there is nothing to group.
 * Undefined for every other, also for one that does something about this one.
 *
 * @category accessors
 * @since 0.1.0
 */
export const atOnce = (append: Encoded["append"]): AtOnce | undefined => immediate.get(append)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Memory {
  readonly executions: Map<string, Kept>
  /** Those that somebody owns, or has to take at some time: workers look for them all the time, and most have ended. */
  readonly open: Registry.Registry<Row>
  /** When each worker's lease ends. */
  readonly workers: Map<string, number>
}

/** All that there is of an execution. */
interface Kept {
  row: Row | undefined
  readonly journal: Array<Stored>
  inbox: ReadonlyArray<Message>
  /** The keys of what was ever sent to it. */
  keys: Set<string> | undefined
}

interface Message {
  readonly number: number
  readonly message: string
}

const emptyInbox: ReadonlyArray<Message> = []

const lastOf = ({ journal }: Kept): number => journal.length === 0 ? -1 : journal[journal.length - 1]!.seq

const rowsOf = (state: Memory): Array<Row> => {
  const rows: Array<Row> = []
  for (const { row } of state.executions.values()) if (row !== undefined) rows.push(row)
  return rows
}

/** Every change of a row, so that it is found while there is something to do. */
const putRow = (state: Memory, kept: Kept, row: Row): void => {
  kept.row = row
  if (row.worker === null && row.wakeAt === null) state.open.delete(row.id)
  else state.open.set(row.id, row)
}

/** Due at the latest at `now`. */
const dueBy = (wakeAt: number | null, now: number): number => wakeAt === null ? now : Math.min(wakeAt, now)

const updated = (row: Row, { continued, ...update }: RowUpdate, seq: number, at: number): Row => ({
  ...row,
  ...update,
  ...(continued === undefined ? undefined : { base: seq, version: continued.version }),
  wakeAt: update.worker === null && row.mail > update.received
    ? dueBy(update.wakeAt, at)
    : update.wakeAt,
  updatedAt: at
})

const memoryAppend = (state: Memory, append: Append): boolean => {
  const { answered, at, create, entries, execution, row, seq, tell, token } = append
  let kept = state.executions.get(execution)
  if (kept === undefined) {
    kept = { row: undefined, journal: [], inbox: emptyInbox, keys: undefined }
    state.executions.set(execution, kept)
  }
  const { journal } = kept
  const last = lastOf(kept)
  if (seq <= last && journal.some((stored) => stored.seq === seq)) return false
  journal.push({ seq, token, at, entries })
  if (seq < last) journal.sort((a, b) => a.seq - b.seq)
  if (answered !== undefined && answered.length > 0) {
    kept.inbox = kept.inbox.filter(({ number }) => !answered.includes(number))
  }
  for (const [index, { key, message }] of create?.mail?.entries() ?? []) {
    putMessage(kept, { number: index + 1, message }, key)
  }
  if (row !== undefined) {
    const before = create === undefined ? kept.row : created(execution, create, at)
    if (before !== undefined) putRow(state, kept, updated(before, row, seq, at))
  }
  if (tell !== undefined) tellMessage(state, tell, at)
  return true
}

const created = (id: string, create: NonNullable<Append["create"]>, at: number): Row => ({
  id,
  name: create.name,
  version: create.version ?? 1,
  tags: create.tags ?? {},
  status: "running",
  payload: create.payload,
  result: null,
  worker: null,
  wakeAt: null,
  mail: create.mail?.length ?? 0,
  received: 0,
  base: 0,
  createdAt: at,
  updatedAt: at
})

const tellMessage = (state: Memory, { execution, message }: NonNullable<Append["tell"]>, at: number): void => {
  const kept = state.executions.get(execution)
  if (kept?.row === undefined || ended.includes(kept.row.status)) return
  putMail(state, kept, kept.row, message, undefined, at)
}

const ended: ReadonlyArray<Row["status"]> = ["completed", "rolledback", "abandoned"]

const putMail = (
  state: Memory,
  kept: Kept,
  row: Row,
  message: string,
  key: string | undefined,
  at: number
): void => {
  putMessage(kept, { number: row.mail + 1, message }, key)
  const wakeAt = row.worker === null ? dueBy(row.wakeAt, at) : row.wakeAt
  putRow(state, kept, { ...row, mail: row.mail + 1, wakeAt })
}

const putMessage = (kept: Kept, message: Message, key: string | undefined): void => {
  kept.inbox = [...kept.inbox, message]
  if (key !== undefined) (kept.keys ??= new Set()).add(key)
}

const appending = (state: Memory): Encoded["append"] => {
  const one: AtOnce = (append) => memoryAppend(state, append)
  const append: Encoded["append"] = (batch) => Effect.sync(() => batch.map(one))
  immediate.set(append, one)
  return append
}

const immediate = new WeakMap<Encoded["append"], AtOnce>()

const memoryJournal = (state: Memory): Pick<Encoded, "append" | "witness" | "read" | "journal"> => ({
  append: appending(state),
  witness: (execution, seq) =>
    Effect.sync(() => {
      const journal = state.executions.get(execution)?.journal
      return {
        token: journal?.find((stored) => stored.seq === seq)?.token ?? null,
        last: journal?.at(-1)?.seq ?? null
      }
    }),
  read: (execution) => Effect.sync(() => state.executions.get(execution)?.row ?? null),
  journal: (execution, after = -1) =>
    Effect.sync(() => (state.executions.get(execution)?.journal ?? []).filter(({ seq }) => seq > after))
})

const memoryLists = (state: Memory): Pick<Encoded, "list" | "stats"> => ({
  list: (query) =>
    Effect.sync(() => {
      const { after, limit, order } = query
      const compare = order === "oldest" ? byStart : (a: Place, b: Place) => byStart(b, a)
      return rowsOf(state)
        .filter((row) => satisfies(row, query) && (after === undefined || compare(row, after) > 0))
        .sort(compare)
        .slice(0, limit)
        .map((row): Summary => Struct.omit(row, ["payload", "result"]))
    }),
  stats: Effect.sync(() => {
    const counts = new Map<string, Count>()
    for (const { createdAt, name, status } of rowsOf(state)) {
      const key = JSON.stringify([name, status])
      const { count, oldest } = counts.get(key) ?? { count: 0, oldest: createdAt }
      counts.set(key, { name, status, count: count + 1, oldest: Math.min(oldest, createdAt) })
    }
    return [...counts.values()]
  })
})

interface Place {
  readonly createdAt: number
  readonly id: string
}

const byStart = (a: Place, b: Place): number => a.createdAt - b.createdAt || compareBytes(a.id, b.id)

/** As the UTF-8 bytes of two texts compare: by code points, where `<` goes by UTF-16 code units. */
const compareBytes = (a: string, b: string): number => {
  if (a === b) return 0
  let index = 0
  while (index < a.length && index < b.length && a.charCodeAt(index) === b.charCodeAt(index)) index++
  const [left, right] = [a.charCodeAt(index), b.charCodeAt(index)]
  if (Number.isNaN(left) || Number.isNaN(right)) return a.length - b.length
  const surrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff
  return surrogate(left) === surrogate(right) ? left - right : surrogate(left) ? 1 : -1
}

const lowerAscii = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())

const satisfies = (row: Row, query: Query): boolean => {
  const { createdBefore, createdFrom, names, search, statuses, tags, versions } = query
  return (names === undefined || names.includes(row.name)) &&
    (statuses === undefined || statuses.includes(row.status)) &&
    (versions === undefined || versions.includes(row.version)) &&
    (createdFrom === undefined || row.createdAt >= createdFrom) &&
    (createdBefore === undefined || row.createdAt < createdBefore) &&
    (search === undefined || lowerAscii(row.id).includes(lowerAscii(search))) &&
    Object.entries(tags).every(([key, value]) => Object.hasOwn(row.tags, key) && row.tags[key] === value)
}

/** Since when somebody has to take the row; undefined: nobody has to. */
const claimableSince = (state: Memory, row: Row, now: number, expiry: number): number | undefined => {
  if (row.worker === null) return row.wakeAt !== null && row.wakeAt <= now ? row.wakeAt : undefined
  const end = state.workers.get(row.worker)
  if (end === undefined) return Number.NEGATIVE_INFINITY
  return end <= expiry ? end : undefined
}

const memoryClaims = (state: Memory): Pick<Encoded, "claim" | "release"> => ({
  claim: ({ entries, limit, margin, names, now, reads = false, token, versions = [], worker }) =>
    Clock.clockWith((clock) =>
      Effect.sync(() => {
        const expiry = clock.currentTimeMillisUnsafe() - margin
        const found: Array<{ readonly row: Row; readonly since: number }> = []
        for (const row of state.open.values()) {
          const named = versions.filter(({ name }) => name === row.name)
          const ours = named.length === 0 || named.some(({ version }) => version === row.version)
          const since = ours && names.includes(row.name) ? claimableSince(state, row, now, expiry) : undefined
          if (since !== undefined) found.push({ row, since })
        }
        found.sort((a, b) => a.since < b.since ? -1 : a.since > b.since ? 1 : a.row.id < b.row.id ? -1 : 1)
        return found.slice(0, limit).map(({ row }) => {
          const kept = state.executions.get(row.id)!
          const seq = lastOf(kept) + 1
          memoryAppend(state, { execution: row.id, seq, token, at: now, entries, create: undefined, row: undefined })
          const claimed = { ...row, worker, wakeAt: null, updatedAt: now }
          putRow(state, kept, claimed)
          if (!reads) return { id: row.id, seq }
          const journal = kept.journal.filter((append) => append.seq >= row.base)
          return { id: row.id, seq, stored: { row: claimed, journal } }
        })
      })
    ),
  release: ({ executions, wakeAt, worker }) =>
    Effect.sync(() => {
      for (const id of executions) {
        const kept = state.executions.get(id)
        if (kept?.row?.worker === worker) putRow(state, kept, { ...kept.row, worker: null, wakeAt })
      }
    })
})

const memoryMail = (state: Memory): Pick<Encoded, "send" | "inbox" | "unread" | "owned"> => ({
  owned: (worker) =>
    Effect.sync(() => {
      const owned = state.open.values().filter((row) => row.worker === worker)
      return owned.map(({ id }) => ({ id, seq: lastOf(state.executions.get(id)!) }))
    }),
  send: ({ execution, key, message, now, refuse }) =>
    Effect.sync((): SendResult => {
      const kept = state.executions.get(execution)
      if (kept?.row === undefined) return { _tag: "Unknown" }
      const { keys, row } = kept
      if (key !== undefined && keys?.has(key) === true) return { _tag: "Sent", worker: row.worker }
      if (refuse.includes(row.status)) return { _tag: "Refused", status: row.status }
      putMail(state, kept, row, message, key, now)
      return { _tag: "Sent", worker: row.worker }
    }),
  inbox: (execution, after) =>
    Effect.sync(() => (state.executions.get(execution)?.inbox ?? emptyInbox).filter(({ number }) => number > after)),
  unread: (worker) =>
    Effect.sync(() =>
      state.open.values().filter((row) => row.worker === worker && row.mail > row.received).map((row) => row.id)
    )
})

const memoryWorkers = (state: Memory): Pick<Encoded, "register" | "renew" | "retire"> => ({
  register: (worker, lease) =>
    Clock.clockWith((clock) =>
      Effect.sync(() => {
        state.workers.set(worker, clock.currentTimeMillisUnsafe() + lease)
      })
    ),
  renew: (worker, lease) =>
    Clock.clockWith((clock) =>
      Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        const end = state.workers.get(worker)
        if (end === undefined || end <= now) return false
        state.workers.set(worker, now + lease)
        return true
      })
    ),
  retire: (worker) =>
    Effect.sync(() => {
      state.workers.delete(worker)
    })
})

const memoryWake = (): Pick<Encoded, "listen" | "wake"> => {
  const listeners = new Set<Queue.Queue<void>>()
  return {
    // One pending wake-up says as much as many, so each listener has room for one.
    listen: Effect.fnUntraced(function*(onWake) {
      const queue = yield* Effect.acquireRelease(
        Effect.tap(Queue.sliding<void>(1), (queue) => Effect.sync(() => listeners.add(queue))),
        (queue) => Effect.sync(() => listeners.delete(queue))
      )
      yield* onWake
      return yield* Effect.forever(Effect.andThen(Queue.take(queue), onWake))
    }, Effect.scoped),
    wake: Effect.sync(() => {
      for (const queue of listeners) Queue.offerUnsafe(queue, undefined)
    })
  }
}
