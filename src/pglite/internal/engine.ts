/**
 * Many virtual sessions on one backend: decides whose cycle runs next, and when an answer may leave.
 *
 * **One transaction at a time.** A session whose transaction is open owns the backend until it ends; the others wait,
 * and what waits too long is refused with a lock timeout (SQLSTATE 55P03), as a server would refuse it. An owner that
 * goes away is rolled back.
 *
 * **Group commit.** A commit stays in memory until the log is flushed. The answers of a round are held, the log is
 * flushed once, and then they leave: nobody hears of a commit, or reads one, before it is on the disk.
 *
 * **Notifications** arrive at the one backend and are handed to the sessions that listen. An `UNLISTEN` reaches the
 * backend when the last of them is gone.
 *
 * It also does what a server's background processes would: vacuum and checkpoint, between transactions.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { Database } from "./database.ts"
import * as Protocol from "./protocol.ts"
import * as Session from "./session.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** An engine on an open database. */
export interface Engine {
  /** Opens a session. */
  readonly connect: () => Duplex
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** Runs sessions on the database until the scope closes, which ends them all. */
export const make = Effect.fnUntraced(function*(
  database: Database,
  options: { readonly lockTimeout: Duration.Duration }
): Effect.fn.Return<Engine, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const state = makeState(database, clock, options.lockTimeout)
  const host: Session.Host = {
    now: () => clock.monotonicTimeNanosUnsafe(),
    onCycle: (session) => enqueue(state, session),
    onCancel: (pid) => cancel(state, pid),
    onLeave: (session) => leave(state, session)
  }
  yield* Effect.addFinalizer(() => Effect.sync(() => stop(state, new Error("The embedded database is closed"))))
  yield* Effect.forkScoped(state.work.await.pipe(
    Effect.andThen(Effect.suspend(() => round(state))),
    Effect.forever,
    Effect.tapCause((cause) => Effect.sync(() => stop(state, new Error(Cause.pretty(cause)))))
  ))
  if (Duration.isFinite(options.lockTimeout)) {
    yield* Effect.forkScoped(state.blocked.await.pipe(
      Effect.andThen(Effect.sleep(Duration.divideUnsafe(options.lockTimeout, looksPerTimeout))),
      Effect.andThen(Effect.sync(() => refuseExpired(state))),
      Effect.forever
    ))
  }
  let pid = 0
  return {
    connect: () => {
      const session = Session.make(++pid, host)
      if (state.stopped === undefined) state.sessions.set(session.pid, session)
      else session.stream.destroy(state.stopped)
      return session.stream
    }
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** A statement blocks the process while it runs: after so many, timers, sockets and other fibers have their turn. */
const cyclesPerRound = 32

/** How often within the lock timeout waiting cycles are looked at: a refusal is late by at most a fifth of it. */
const looksPerTimeout = 5

/** Work between two looks at what needs maintenance: one for each cycle, and one for each 8 kB that it sent. */
const workPerMaintenance = 5_000
const bytesPerWork = 8_192

/** What a background process would do now: keep recovery short and dead rows few. */
const maintenance = `
SELECT 'CHECKPOINT' FROM pg_control_checkpoint()
  WHERE pg_wal_lsn_diff(pg_current_wal_insert_lsn(), redo_lsn) > 64 * 1024 * 1024
UNION ALL
SELECT format('VACUUM (ANALYZE) %I.%I', schemaname, relname) FROM pg_stat_user_tables
  WHERE n_dead_tup > 1000 + 0.2 * n_live_tup`

/** Writes and flushes the log up to here, unless that has happened. */
const flushLog = `SELECT CASE WHEN pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()
  THEN pg_logical_emit_message(false, '', '', true) END`

const lockTimeoutRefusal = Protocol.refusal(
  "55P03",
  "The embedded database runs one transaction at a time, and another one stayed open for too long: " +
    "keep transactions short, or raise `lockTimeout`"
)

const cancelRefusal = Protocol.refusal("57014", "canceling statement due to user request")

interface State {
  readonly database: Database
  readonly lockTimeout: bigint
  readonly now: () => bigint
  /** Open while a cycle can run. */
  readonly work: Latch.Latch
  /** Open while a cycle waits behind somebody else's transaction. */
  readonly blocked: Latch.Latch
  readonly sessions: Map<number, Session.Session>
  /** The sessions with something to run, by turn. */
  readonly ready: Set<Session.Session>
  readonly listeners: Map<string, Set<Session.Session>>
  /** Channels that lost their last listener. */
  readonly abandoned: Set<string>
  /** Answers that wait for the log to be flushed. */
  held: Array<readonly [session: Session.Session, answer: Buffer]>
  /** The session whose transaction is open. */
  owner: Session.Session | undefined
  workDone: number
  stopped: Error | undefined
}

const makeState = (database: Database, clock: Clock.Clock, lockTimeout: Duration.Duration): State => ({
  database,
  lockTimeout: Duration.isFinite(lockTimeout) ? Duration.toNanosUnsafe(lockTimeout) : 0n,
  now: () => clock.monotonicTimeNanosUnsafe(),
  work: Latch.makeUnsafe(false),
  blocked: Latch.makeUnsafe(false),
  sessions: new Map(),
  ready: new Set(),
  listeners: new Map(),
  abandoned: new Set(),
  held: [],
  owner: undefined,
  workDone: 0,
  stopped: undefined
})

const enqueue = (state: State, session: Session.Session): void => {
  state.ready.add(session)
  signal(state)
}

/** The session whose turn it is, if one may run. */
const nextSession = (state: State): Session.Session | undefined => {
  if (state.owner !== undefined) return state.ready.has(state.owner) ? state.owner : undefined
  for (const session of state.ready) return session
  return undefined
}

/** Sets both latches to what is the case. */
const signal = (state: State): void => {
  if (nextSession(state) === undefined) state.work.closeUnsafe()
  else state.work.openUnsafe()
  const waiting = state.ready.size - (state.owner !== undefined && state.ready.has(state.owner) ? 1 : 0)
  if (state.owner === undefined || waiting === 0) state.blocked.closeUnsafe()
  else state.blocked.openUnsafe()
}

const round = (state: State): Effect.Effect<void> => {
  for (let count = 0; count < cyclesPerRound && state.stopped === undefined; count++) {
    const session = nextSession(state)
    const cycle = session?.cycles.shift()
    if (session === undefined || cycle === undefined) break
    state.ready.delete(session)
    if (session.cycles.length > 0) state.ready.add(session)
    run(state, session, cycle)
  }
  release(state)
  maintain(state)
  signal(state)
  return state.stopped === undefined ? Effect.void : Effect.logError(state.stopped.message).pipe(
    Effect.andThen(Effect.never)
  )
}

const run = (state: State, session: Session.Session, cycle: Session.Cycle): void => {
  // Inside somebody's transaction a flush would be a statement of theirs, so what is held leaves before one opens.
  if (cycle.opens) release(state)
  const answer = state.database.exec(cycle.bytes)
  const outcome = Protocol.readOutcome(answer)
  if (outcome.status === "lost") return lose(state)
  state.workDone += 1 + Math.floor(cycle.bytes.length / bytesPerWork)
  state.owner = outcome.status === "idle" ? undefined : session
  if (!outcome.failed) { for (const statement of cycle.listening) listen(state, session, statement) }
  stopListening(state)
  broadcast(state, outcome, session)
  // An answer from within a transaction promises nothing, unless it follows one that does.
  const promises = outcome.status === "idle" || outcome.committed || state.held.length > 0
  if (!state.database.needsFlush || !promises) return Session.answer(session, answer)
  state.held.push([session, answer])
  // `COMMIT AND CHAIN` leaves a transaction open, and its owner may take its time.
  if (state.owner !== undefined) release(state)
}

/** Runs a statement of the engine's own. */
const command = (state: State, bytes: Uint8Array): { readonly answer: Buffer; readonly failed: boolean } => {
  if (state.stopped !== undefined) return { answer: Buffer.alloc(0), failed: true }
  const answer = state.database.exec(bytes)
  const outcome = Protocol.readOutcome(answer)
  if (outcome.status === "lost") lose(state)
  broadcast(state, outcome, undefined)
  return { answer, failed: outcome.failed || outcome.status === "lost" }
}

/** Flushes the log, then lets go of every answer that waited for it. */
const release = (state: State): void => {
  if (state.held.length === 0) return
  const held = state.held
  state.held = []
  const { failed } = command(state, Protocol.query(flushLog))
  for (const [session, answer] of held) {
    if (failed) session.stream.destroy(new Error("The log could not be flushed: it is unknown whether this committed"))
    else Session.answer(session, answer)
  }
}

const maintain = (state: State): void => {
  if (state.owner !== undefined || state.workDone < workPerMaintenance) return
  state.workDone = 0
  const due = Protocol.readFirstColumn(command(state, Protocol.query(maintenance)).answer)
  for (const statement of due) command(state, Protocol.query(statement))
}

/** Stops listening where nobody listens any more; not inside somebody's transaction, which might be rolled back. */
const stopListening = (state: State): void => {
  if (state.owner !== undefined) return
  for (const channel of state.abandoned) command(state, Protocol.query(Protocol.unlisten(channel)))
  state.abandoned.clear()
}

const listen = (state: State, session: Session.Session, statement: Protocol.Statement): void => {
  switch (statement._tag) {
    case "Listen": {
      const listeners = state.listeners.get(statement.channel)
      if (listeners === undefined) state.listeners.set(statement.channel, new Set([session]))
      else listeners.add(session)
      state.abandoned.delete(statement.channel)
      return
    }
    case "Unlisten":
      return unlisten(state, session, statement.channel)
    case "UnlistenAll":
      for (const channel of state.listeners.keys()) unlisten(state, session, channel)
      return
    case "Begin":
    case "Other":
      return
  }
}

const unlisten = (state: State, session: Session.Session, channel: string): void => {
  const listeners = state.listeners.get(channel)
  if (listeners === undefined || !listeners.delete(session) || listeners.size > 0) return
  state.listeners.delete(channel)
  state.abandoned.add(channel)
}

/** Hands notifications to the sessions that listen; the one that ran has them in its answer. */
const broadcast = (state: State, outcome: Protocol.Outcome, ran: Session.Session | undefined): void => {
  for (const { bytes, channel } of outcome.notifications) {
    for (const session of state.listeners.get(channel) ?? []) {
      if (session !== ran) Session.answer(session, bytes)
    }
  }
}

/** A transaction that never ends must not hang the others. */
const refuseExpired = (state: State): void => {
  if (state.owner === undefined) return
  const now = state.now()
  for (const session of Array.from(state.ready)) {
    if (session === state.owner) continue
    while (session.cycles[0] !== undefined && now - session.cycles[0].at >= state.lockTimeout) {
      refuse(state, session, lockTimeoutRefusal)
    }
  }
  signal(state)
}

/** What runs cannot be cancelled, because nothing else runs meanwhile; what waits can. */
const cancel = (state: State, pid: number): void => {
  const session = state.sessions.get(pid)
  if (session === undefined || session === state.owner || session.cycles.length === 0) return
  refuse(state, session, cancelRefusal)
  signal(state)
}

const refuse = (state: State, session: Session.Session, refusal: Buffer): void => {
  session.cycles.shift()
  if (session.cycles.length === 0) state.ready.delete(session)
  // Behind an answer that is held, the refusal waits for it: a client counts its answers.
  if (state.held.some(([holder]) => holder === session)) state.held.push([session, refusal])
  else Session.answer(session, refusal)
}

const leave = (state: State, session: Session.Session): void => {
  state.sessions.delete(session.pid)
  state.ready.delete(session)
  session.cycles.length = 0
  for (const channel of Array.from(state.listeners.keys())) unlisten(state, session, channel)
  if (state.owner === session) {
    command(state, Protocol.query("ROLLBACK"))
    state.owner = undefined
  }
  stopListening(state)
  session.statements.delete("")
  if (session.statements.size > 0) command(state, Protocol.closeStatements(session.statements.keys()))
  signal(state)
}

/** The backend is gone, so no session can go on, nor a new one begin. */
const lose = (state: State): void => {
  const output = state.database.output()
  stop(
    state,
    new Error(
      `The embedded database has stopped${output === "" ? "" : ` (${output})`}. ` +
        "Nothing that was committed is lost: close its layer and build it again"
    )
  )
}

const stop = (state: State, error: Error): void => {
  if (state.stopped !== undefined) return
  state.stopped = error
  state.owner = undefined
  for (const session of Array.from(state.sessions.values())) session.stream.destroy(error)
}
