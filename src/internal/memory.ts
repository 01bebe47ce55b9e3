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

/**
 * A new, empty store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory: Effect.Effect<Encoded> = Effect.sync(() => {
  const state: Memory = {
    executions: new Map(),
    journals: new Map(),
    inboxes: new Map(),
    keys: new Map(),
    workers: new Map()
  }
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

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Memory {
  readonly executions: Map<string, Row>
  readonly journals: Map<string, Array<Stored>>
  readonly inboxes: Map<string, ReadonlyArray<{ readonly number: number; readonly message: string }>>
  /** The keys of what was ever sent to an execution. */
  readonly keys: Map<string, Set<string>>
  /** When each worker's lease ends. */
  readonly workers: Map<string, number>
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
  const journal = state.journals.get(execution) ?? []
  const last = journal.at(-1)?.seq ?? -1
  if (seq <= last && journal.some((stored) => stored.seq === seq)) return false
  if (journal.length === 0) state.journals.set(execution, journal)
  journal.push({ seq, token, at, entries })
  if (seq < last) journal.sort((a, b) => a.seq - b.seq)
  if (answered !== undefined && answered.length > 0) {
    const left = (state.inboxes.get(execution) ?? []).filter(({ number }) => !answered.includes(number))
    state.inboxes.set(execution, left)
  }
  create?.mail?.forEach(({ key, message }, index) => putMessage(state, execution, { number: index + 1, message }, key))
  if (row !== undefined) {
    const before = create === undefined ? state.executions.get(execution) : created(execution, create, at)
    if (before !== undefined) state.executions.set(execution, updated(before, row, seq, at))
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
  const row = state.executions.get(execution)
  if (row === undefined || ended.includes(row.status)) return
  putMessage(state, execution, { number: row.mail + 1, message }, undefined)
  const wakeAt = row.worker === null ? dueBy(row.wakeAt, at) : row.wakeAt
  state.executions.set(execution, { ...row, mail: row.mail + 1, wakeAt })
}

const ended: ReadonlyArray<Row["status"]> = ["completed", "rolledback", "abandoned"]

const putMessage = (
  state: Memory,
  execution: string,
  message: { readonly number: number; readonly message: string },
  key: string | undefined
): void => {
  state.inboxes.set(execution, [...state.inboxes.get(execution) ?? [], message])
  if (key !== undefined) state.keys.set(execution, (state.keys.get(execution) ?? new Set()).add(key))
}

const memoryJournal = (state: Memory): Pick<Encoded, "append" | "witness" | "read" | "journal"> => ({
  append: (batch) => Effect.sync(() => batch.map((append) => memoryAppend(state, append))),
  witness: (execution, seq) =>
    Effect.sync(() => {
      const journal = state.journals.get(execution) ?? []
      return {
        token: journal.find((stored) => stored.seq === seq)?.token ?? null,
        last: journal.at(-1)?.seq ?? null
      }
    }),
  read: (execution) => Effect.sync(() => state.executions.get(execution) ?? null),
  journal: (execution, after = -1) =>
    Effect.sync(() => (state.journals.get(execution) ?? []).filter(({ seq }) => seq > after))
})

const memoryLists = (state: Memory): Pick<Encoded, "list" | "stats"> => ({
  list: (query) =>
    Effect.sync(() => {
      const { after, limit, order } = query
      const compare = order === "oldest" ? byStart : (a: Place, b: Place) => byStart(b, a)
      return Array.from(state.executions.values())
        .filter((row) => satisfies(row, query) && (after === undefined || compare(row, after) > 0))
        .sort(compare)
        .slice(0, limit)
        .map((row): Summary => Struct.omit(row, ["payload", "result"]))
    }),
  stats: Effect.sync(() => {
    const counts = new Map<string, Count>()
    for (const { createdAt, name, status } of state.executions.values()) {
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
        for (const row of state.executions.values()) {
          const named = versions.filter(({ name }) => name === row.name)
          const ours = named.length === 0 || named.some(({ version }) => version === row.version)
          const since = ours && names.includes(row.name) ? claimableSince(state, row, now, expiry) : undefined
          if (since !== undefined) found.push({ row, since })
        }
        found.sort((a, b) => a.since < b.since ? -1 : a.since > b.since ? 1 : a.row.id < b.row.id ? -1 : 1)
        return found.slice(0, limit).map(({ row }) => {
          const seq = (state.journals.get(row.id)?.at(-1)?.seq ?? -1) + 1
          memoryAppend(state, { execution: row.id, seq, token, at: now, entries, create: undefined, row: undefined })
          const claimed = { ...row, worker, wakeAt: null, updatedAt: now }
          state.executions.set(row.id, claimed)
          if (!reads) return { id: row.id, seq }
          const journal = (state.journals.get(row.id) ?? []).filter((append) => append.seq >= row.base)
          return { id: row.id, seq, stored: { row: claimed, journal } }
        })
      })
    ),
  release: ({ executions, wakeAt, worker }) =>
    Effect.sync(() => {
      for (const id of executions) {
        const row = state.executions.get(id)
        if (row?.worker === worker) state.executions.set(id, { ...row, worker: null, wakeAt })
      }
    })
})

const memoryMail = (state: Memory): Pick<Encoded, "send" | "inbox" | "unread" | "owned"> => ({
  owned: (worker) =>
    Effect.sync(() => {
      const rows = Array.from(state.executions.values()).filter((row) => row.worker === worker)
      return rows.map(({ id }) => ({ id, seq: state.journals.get(id)?.at(-1)?.seq ?? 0 }))
    }),
  send: ({ execution, key, message, now, refuse }) =>
    Effect.sync((): SendResult => {
      const row = state.executions.get(execution)
      if (row === undefined) return { _tag: "Unknown" }
      if (key !== undefined && state.keys.get(execution)?.has(key) === true) {
        return { _tag: "Sent", worker: row.worker }
      }
      if (refuse.includes(row.status)) return { _tag: "Refused", status: row.status }
      putMessage(state, execution, { number: row.mail + 1, message }, key)
      const wakeAt = row.worker === null ? dueBy(row.wakeAt, now) : row.wakeAt
      state.executions.set(execution, { ...row, mail: row.mail + 1, wakeAt })
      return { _tag: "Sent", worker: row.worker }
    }),
  inbox: (execution, after) =>
    Effect.sync(() => (state.inboxes.get(execution) ?? []).filter(({ number }) => number > after)),
  unread: (worker) =>
    Effect.sync(() => {
      const rows = Array.from(state.executions.values())
      return rows.filter((row) => row.worker === worker && row.mail > row.received).map((row) => row.id)
    })
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
