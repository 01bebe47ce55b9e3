/**
 * One virtual session: the byte stream that a client takes for its connection to a server.
 *
 * It cuts what the client writes into cycles and remembers what the client prepared. It runs nothing: whole cycles go
 * to its host, and the host pushes the answers. A session has no settings of its own, and no backend.
 *
 * @since 0.1.0
 */
import { Duplex } from "node:stream"
import * as Protocol from "./protocol.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What a client sent up to a `Sync`, and what of it touches the other sessions. */
export interface Cycle {
  readonly bytes: Buffer
  /** When it was sent, in nanoseconds of a monotonic clock. */
  readonly at: bigint
  /** Whether it may open a transaction. */
  readonly opens: boolean
  /** Its `LISTEN` and `UNLISTEN`, in order. */
  readonly listening: ReadonlyArray<Protocol.Statement>
}

/** A virtual session. */
export interface Session {
  readonly pid: number
  readonly stream: Duplex
  /** What the client holds prepared, by name. */
  readonly statements: Map<string, Protocol.Statement>
  /** What waits to run, oldest first. */
  readonly cycles: Array<Cycle>
}

/** Who runs a session's cycles. */
export interface Host {
  readonly now: () => bigint
  /** A cycle was added to the session's own. */
  readonly onCycle: (session: Session) => void
  /** Somebody asks to cancel what the session of this id waits for. */
  readonly onCancel: (pid: number) => void
  /** The session is over; its stream is destroyed. */
  readonly onLeave: (session: Session) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a session that has yet to send its startup packet. */
export const make = (pid: number, host: Host): Session => {
  let started = false
  let buffer: Buffer = Buffer.alloc(0)
  const stream = new Duplex({
    allowHalfOpen: false,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk])
      if (!started) {
        const rest = startup(session, host, buffer)
        if (rest === undefined) return done()
        started = true
        buffer = rest
      }
      buffer = readCycles(session, host, buffer)
      done()
    },
    destroy(error, done) {
      host.onLeave(session)
      done(error)
    }
  })
  const session: Session = { pid, stream, statements: new Map(), cycles: [] }
  return session
}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** Hands an answer to the client, if it is still there. */
export const answer = (session: Session, bytes: Uint8Array): void => {
  if (!session.stream.destroyed) session.stream.push(bytes)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Reads the first packet and answers what follows it; `undefined` while it is incomplete, or when nothing follows. */
const startup = (session: Session, host: Host, bytes: Buffer): Buffer | undefined => {
  if (bytes.length < 8) return undefined
  const length = bytes.readInt32BE(0)
  if (bytes.length < length) return undefined
  switch (bytes.readInt32BE(4)) {
    case Protocol.Startup.version3:
      answer(session, Protocol.welcome(session.pid))
      return bytes.subarray(length)
    case Protocol.Startup.cancel:
      host.onCancel(bytes.readInt32BE(8))
      session.stream.destroy()
      return undefined
  }
  session.stream.destroy(new Error("The embedded database speaks version 3 of the PostgreSQL protocol, without TLS"))
  return undefined
}

/** Moves every whole cycle to the session and answers the rest. */
const readCycles = (session: Session, host: Host, bytes: Buffer): Buffer => {
  let draft = makeDraft()
  let start = 0
  for (let at = 0;;) {
    const length = Protocol.frameLength(bytes, at)
    if (length === 0 || at + length > bytes.length) return start === 0 ? bytes : bytes.subarray(start)
    const frame = bytes.subarray(at, at + length)
    at += length
    if (frame[0] === Protocol.Frontend.terminate) {
      session.stream.destroy()
      return noBytes
    }
    readFrame(session, draft, frame)
    if (frame[0] === Protocol.Frontend.sync || frame[0] === Protocol.Frontend.query) {
      session.cycles.push({
        bytes: draft.rewritten === undefined ? bytes.subarray(start, at) : Buffer.concat(draft.rewritten),
        at: host.now(),
        opens: draft.opens,
        listening: draft.listening
      })
      draft = makeDraft()
      start = at
      host.onCycle(session)
    }
  }
}

/** A cycle while its frames are read. */
interface Draft {
  readonly frames: Array<Buffer>
  readonly listening: Array<Protocol.Statement>
  opens: boolean
  /** The frames to send, once one of them differs from what the client wrote. */
  rewritten: Array<Buffer> | undefined
}

const makeDraft = (): Draft => ({ frames: [], listening: [], opens: false, rewritten: undefined })

const readFrame = (session: Session, draft: Draft, frame: Buffer): void => {
  let sent = frame
  switch (frame[0]) {
    case Protocol.Frontend.parse: {
      const { name, sql } = Protocol.readParse(frame)
      const statement = Protocol.classify(sql)
      session.statements.set(name, statement)
      if (statement._tag === "Unlisten" || statement._tag === "UnlistenAll") {
        sent = Protocol.rewriteParse(frame, Protocol.harmlessUnlisten)
        draft.rewritten ??= [...draft.frames]
      }
      break
    }
    case Protocol.Frontend.bind: {
      const statement = session.statements.get(Protocol.readBind(frame))
      if (statement?._tag === "Begin") draft.opens = true
      else if (statement !== undefined && statement._tag !== "Other") draft.listening.push(statement)
      break
    }
    case Protocol.Frontend.close: {
      const name = Protocol.readClose(frame)
      if (name !== undefined) session.statements.delete(name)
      break
    }
    case Protocol.Frontend.query:
      // It may hold any number of statements.
      draft.opens = true
      break
  }
  draft.frames.push(sent)
  draft.rewritten?.push(sent)
}

const noBytes = Buffer.alloc(0)
