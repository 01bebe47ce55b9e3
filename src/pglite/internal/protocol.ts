/**
 * The part of the PostgreSQL wire protocol (version 3) that virtual sessions need: frames cut into cycles, statements
 * recognised that a shared backend must know about, answers read for their outcome. Pure functions on bytes.
 *
 * A cycle is what a client sends up to and including `Sync` (or one simple `Query`). The backend answers a cycle with
 * messages that end in exactly one `ReadyForQuery`.
 *
 * @since 0.1.0
 */

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The transaction status that `ReadyForQuery` carries; `lost` when the backend sent none. */
export type Status = "idle" | "open" | "failed" | "lost"

/** What a shared backend must know about a statement before it runs. */
export type Statement =
  | { readonly _tag: "Begin" }
  | { readonly _tag: "Listen"; readonly channel: string }
  | { readonly _tag: "Unlisten"; readonly channel: string }
  | { readonly _tag: "UnlistenAll" }
  | { readonly _tag: "Other" }

/** One notification inside an answer. */
export interface Notification {
  readonly channel: string
  readonly bytes: Uint8Array
}

/** What one answer says about the backend. */
export interface Outcome {
  readonly status: Status
  /** Whether some statement of the cycle failed. */
  readonly failed: boolean
  /** Whether a `COMMIT` was acknowledged, also by `COMMIT AND CHAIN`, which leaves a transaction open. */
  readonly committed: boolean
  readonly notifications: ReadonlyArray<Notification>
}

/** Type bytes of what a client sends. */
export const Frontend = {
  bind: 0x42,
  close: 0x43,
  parse: 0x50,
  query: 0x51,
  sync: 0x53,
  terminate: 0x58
} as const

/** Type bytes of what the backend sends. */
const Backend = {
  notification: 0x41,
  commandComplete: 0x43,
  dataRow: 0x44,
  error: 0x45,
  ready: 0x5a
} as const

/** The codes of packets that open a connection, in place of a protocol version. */
export const Startup = { version3: 196608, cancel: 80877102 } as const

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** One message: type, length, body. */
export const message = (type: string, body: Uint8Array): Buffer => {
  const out = Buffer.allocUnsafe(5 + body.length)
  out.write(type, 0, "latin1")
  out.writeInt32BE(4 + body.length, 1)
  out.set(body, 5)
  return out
}

/** A simple query. */
export const query = (sql: string): Buffer => message("Q", Buffer.from(`${sql}\0`))

/** What a session hears when it connects: accepted, its key, ready. */
export const welcome = (pid: number): Buffer => {
  const key = Buffer.alloc(8)
  key.writeInt32BE(pid, 0)
  return Buffer.concat([message("R", Buffer.alloc(4)), message("K", key), readyIdle])
}

/** A whole answer that says that the cycle did not run: an error, then ready, outside of any transaction. */
export const refusal = (code: string, text: string): Buffer =>
  Buffer.concat([message("E", Buffer.from(`SERROR\0VERROR\0C${code}\0M${text}\0\0`)), readyIdle])

/** Drops prepared statements by name. */
export const closeStatements = (names: Iterable<string>): Buffer =>
  Buffer.concat([
    ...Array.from(names, (name) => message("C", Buffer.from(`S${name}\0`))),
    message("S", Buffer.alloc(0))
  ])

/** The length of the message at `at`, type byte included; 0 while its header is incomplete. */
export const frameLength = (bytes: Buffer, at: number): number =>
  bytes.length - at < 5 ? 0 : 1 + bytes.readInt32BE(at + 1)

// ---------------------------------------------------------------------------------------------------------------------
// statements
// ---------------------------------------------------------------------------------------------------------------------

/** Reads the name and the text of a `Parse`. */
export const readParse = (frame: Buffer): { readonly name: string; readonly sql: string } => {
  const endOfName = frame.indexOf(0, 5)
  const endOfSql = frame.indexOf(0, endOfName + 1)
  // Only the head matters, and a batch statement can be long.
  const head = Math.min(endOfSql, endOfName + 1 + 256)
  return { name: frame.toString("utf8", 5, endOfName), sql: frame.toString("utf8", endOfName + 1, head) }
}

/** Reads the statement's name in a `Bind`, which follows the portal's. */
export const readBind = (frame: Buffer): string => {
  const endOfPortal = frame.indexOf(0, 5)
  return frame.toString("utf8", endOfPortal + 1, frame.indexOf(0, endOfPortal + 1))
}

/** Reads the statement's name in a `Close`; `undefined` when it closes a portal. */
export const readClose = (frame: Buffer): string | undefined =>
  frame[5] === 0x53 ? frame.toString("utf8", 6, frame.indexOf(0, 6)) : undefined

/** Recognises the statements that touch what sessions share. */
export const classify = (sql: string): Statement => {
  const match = statementPattern.exec(sql)
  if (match === null) return { _tag: "Other" }
  const [, verb, quoted, plain] = match
  switch (verb?.toUpperCase()) {
    case "BEGIN":
    case "START":
      return { _tag: "Begin" }
    case "LISTEN":
    case "UNLISTEN": {
      const channel = quoted === undefined ? plain?.toLowerCase() : quoted.slice(1, -1).replaceAll("\"\"", "\"")
      if (channel === undefined) return { _tag: "Other" }
      const isListen = verb.length === "LISTEN".length
      if (channel === "*") return isListen ? { _tag: "Other" } : { _tag: "UnlistenAll" }
      return { _tag: isListen ? "Listen" : "Unlisten", channel }
    }
    case undefined:
      return { _tag: "Other" }
  }
  return { _tag: "Other" }
}

/** The same `Parse` with another text. */
export const rewriteParse = (frame: Buffer, sql: string): Buffer => {
  const endOfName = frame.indexOf(0, 5)
  const endOfSql = frame.indexOf(0, endOfName + 1)
  return message("P", Buffer.concat([frame.subarray(5, endOfName + 1), Buffer.from(sql), frame.subarray(endOfSql)]))
}

/**
 * What is sent in place of a session's `UNLISTEN`: it has the right command tag and touches no channel in use. Whether
 * the shared backend stops listening is decided over all sessions.
 */
export const harmlessUnlisten = "UNLISTEN \"effect-saga/nobody\""

/** Stops listening on a channel. */
export const unlisten = (channel: string): string => `UNLISTEN "${channel.replaceAll("\"", "\"\"")}"`

// ---------------------------------------------------------------------------------------------------------------------
// answers
// ---------------------------------------------------------------------------------------------------------------------

/** Reads what an answer says about the backend. */
export const readOutcome = (answer: Buffer): Outcome => {
  let status: Status = "lost"
  let failed = false
  let committed = false
  let notifications: Array<Notification> | undefined
  for (let at = 0, end = 0; at < answer.length; at = end) {
    end = at + answerLength(answer, at)
    switch (answer[at]) {
      case Backend.ready:
        status = statusOf(answer[at + 5])
        break
      case Backend.error:
        failed = true
        break
      case Backend.commandComplete:
        if (answer.toString("latin1", at + 5, end - 1) === "COMMIT") committed = true
        break
      case Backend.notification:
        ;(notifications ??= []).push({
          channel: answer.toString("utf8", at + 9, answer.indexOf(0, at + 9)),
          bytes: answer.subarray(at, end)
        })
        break
    }
  }
  return { status, failed, committed, notifications: notifications ?? noNotifications }
}

/** The first column of every row, as text. */
export const readFirstColumn = (answer: Buffer): ReadonlyArray<string> => {
  const values: Array<string> = []
  for (let at = 0; at < answer.length; at += answerLength(answer, at)) {
    if (answer[at] !== Backend.dataRow) continue
    const length = answer.readInt32BE(at + 7)
    if (length >= 0) values.push(answer.toString("utf8", at + 11, at + 11 + length))
  }
  return values
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** An answer is whole, so a header that is cut off or malformed ends the reading rather than repeating it. */
const answerLength = (answer: Buffer, at: number): number => {
  const length = frameLength(answer, at)
  return length < 5 ? answer.length - at : length
}

const noNotifications: ReadonlyArray<Notification> = []

const readyIdle = message("Z", Buffer.from("I"))

const statementPattern = /^\s*(begin|start|(?:un)?listen)\b\s*(?:("(?:[^"]|"")*")|([\p{L}_][\p{L}\p{N}_$]*|\*))?/iu

const statusOf = (byte: number | undefined): Status =>
  byte === 0x49 ? "idle" : byte === 0x54 ? "open" : byte === 0x45 ? "failed" : "lost"
