/**
 * Messages to an execution become entries: only its owner does that.
 *
 * Before a message is taken the journal is asked whether it applies: what happened since it was sent decides.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Journal from "../Journal.ts"
import type { Row, StoreError } from "../SagaStore.ts"
import * as Children from "./children.ts"
import * as Core from "./core.ts"
import * as Replay from "./replay.ts"
import { judge } from "./resolution.ts"
import * as Run from "./run.ts"

/**
 * What a person answered, as it was taken.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = Journal.EntryOf<"Resolved">

/**
 * Takes what the inbox has beyond what was received, of an execution that runs. A store that does not answer is asked
 * again at the next notice.
 *
 * @category running
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function*(run: Run.Run) {
  const { core } = run
  // A park that is decided comes first: what was sent meanwhile makes the parked execution due again.
  if (core.seal?._tag === "Park") return
  for (const { mail, message } of yield* Effect.orElseSucceed(inbox(run, run.received), () => [])) {
    if (message === undefined) continue
    if (message._tag === "Signal") {
      put(run, mail, message)
      continue
    }
    if (message._tag === "Child") {
      // One at a time: what follows from it happens before the next one is heard.
      Core.emit(core, () => Children.hear(run.settler, childOf(run, message.child), mail, message))
      continue
    }
    if (message._tag === "Resolve") {
      if (!leaveOut(run, mail, message)) refuse(run, mail, message, "it is not parked")
      continue
    }
    Core.record(core, cancelRequested(run, mail, message))
    if (Run.mayUndo(run)) {
      Run.undo(run, {
        _tag: "Cancelled",
        ...(message.reason === undefined ? undefined : { reason: message.reason })
      })
    }
  }
})

/**
 * Takes what was sent to an execution that was claimed, up to the first answer that was taken, and says which that is.
 * What comes after it waits: it may speak of what the answer changes.
 *
 * @category running
 * @since 0.1.0
 */
export const take = Effect.fnUntraced(function*(run: Run.Run, entries: ReadonlyArray<Journal.Entry>) {
  const { core } = run
  // Signals that nobody has received stay in the inbox. Nothing tells of them again: without them it does not go on.
  for (const { mail, message } of yield* inbox(run, 0)) {
    if (message === undefined) continue
    if (message._tag === "Signal") {
      put(run, mail, message)
      continue
    }
    if (message._tag === "Cancel") {
      Core.record(core, cancelRequested(run, mail, message))
      continue
    }
    const state = Result.getOrThrow(Journal.fold([...entries, ...core.pending.map(({ entry }) => entry)]))
    if (message._tag === "Child") {
      Core.record(core, Children.news(Core.now(core), mail, message, openChild(state, message.child)))
      continue
    }
    const verdict = judge(state, message.resolution, message.park)
    if (verdict._tag === "Applies" || (message.resolution._tag === "Retry" && state.parking !== undefined)) {
      const answer = resolved(run, mail, message)
      // What leaves a compensation out changes nothing about the next that does.
      const { resolution } = message
      if (resolution._tag === "Skip" && state.steps.get(Journal.refKey(resolution.step))?.status !== "started") continue
      return answer
    }
    switch (verdict._tag) {
      case "Done":
        refuse(run, mail, message, "it was done before")
        break
      case "NotParked":
        refuse(run, mail, message, "it is not parked, or not for this any more")
        break
      case "TooLate":
        refuse(run, mail, message, "the point of no return is passed")
        break
      case "Refused":
        refuse(run, mail, message, verdict.issue)
        break
    }
  }
  return undefined
})

/**
 * Keeps what was sent to an execution whose journal cannot be read here, for a version that can. Answers who abandoned
 * it, if somebody did.
 *
 * @category running
 * @since 0.1.0
 */
export const keep = Effect.fnUntraced(function*(run: Run.Run) {
  for (const { mail, message } of yield* inbox(run, run.received)) {
    if (message?._tag === "Cancel") {
      Core.record(run.core, cancelRequested(run, mail, message))
    } else if (message?._tag === "Resolve") {
      const { _tag } = message.resolution
      if (_tag === "Abandon") return resolved(run, mail, message)
      if (_tag === "Retry") resolved(run, mail, message)
      else refuse(run, mail, message, "its journal cannot be read by this version")
    }
  }
  return undefined
})

/**
 * What an inbox says to nobody any more, for the journal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const undelivered = (
  inbox: ReadonlyArray<{ readonly number: number; readonly message: string }>,
  at: number
): ReadonlyArray<Journal.EntryOf<"MailUndelivered">> =>
  inbox.map(({ message, number }) => {
    const decoded = decode(message)
    return {
      _tag: "MailUndelivered",
      at,
      mail: number,
      ...(Result.isFailure(decoded) ? undefined : { message: decoded.success })
    }
  })

/**
 * Journals what was sent before an execution ended and read by nobody. It stays as it is.
 *
 * @category running
 * @since 0.1.0
 */
export const returnToSender = Effect.fnUntraced(function*(run: Run.Run, row: Row) {
  const { core } = run
  run.ending = { _tag: "Left" }
  const mail = yield* run.store.encoded.inbox(core.id, 0)
  const end = yield* Effect.option(Journal.decodeEnd(row.result ?? ""))
  if (Option.isNone(end) || mail.length === 0) return
  core.at = row.updatedAt
  for (const entry of undelivered(mail, Core.now(core))) Core.record(core, entry)
  run.received = row.mail
  run.end = end.value
  Run.setStatus(run, row.status)
  run.ending = { _tag: "Ended", entry: end.value }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const put = ({ core }: Run.Run, mail: number, message: Extract<Journal.Mail, { _tag: "Signal" }>): void => {
  if (core.mailbox.some((_) => _.mail === mail)) return
  core.mailbox.push({ mail, signal: message.signal, payload: message.payload })
}

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Journal.Mail))

interface Letter {
  readonly mail: number
  /** Undefined where nobody can read it. */
  readonly message: Journal.Mail | undefined
}

/** What lies in the inbox until somebody takes it, however often it was looked at. */
const stays: ReadonlyArray<Journal.Mail["_tag"]> = ["Signal", "Child"]

const childOf = (run: Run.Run, execution: string): Children.ChildTask | undefined => {
  for (const task of run.tasks.values()) if (task._tag === "Child" && task.id === execution) return task
  return undefined
}

const openChild = (state: Journal.JournalState, execution: string) => {
  for (const { child, ref, status } of state.steps.values()) {
    if (child?.execution === execution && status === "started") return { ref, end: child.end }
  }
  return undefined
}

/** What came in beyond `after`, and what lies there already; each is received once somebody looks at it. */
const inbox = Effect.fnUntraced(function*(
  run: Run.Run,
  after: number
): Effect.fn.Return<Iterable<Letter>, StoreError> {
  const mail = yield* run.store.encoded.inbox(run.core.id, after)
  const letters: Array<Letter> = []
  for (const { message, number } of mail) {
    const decoded = decode(message)
    const seen = number <= run.received
    if (seen && (Result.isFailure(decoded) || !stays.includes(decoded.success._tag))) continue
    // What nobody can read must not hold up what comes after it, nor make a parked execution due for ever.
    if (Result.isFailure(decoded)) {
      yield* Effect.logError(`message ${number} to ${run.core.id} cannot be read and is skipped: ${message}`)
    }
    letters.push({ mail: number, message: Result.getOrUndefined(decoded) })
  }
  return received(run, letters)
})

function* received(run: Run.Run, letters: ReadonlyArray<Letter>): Generator<Letter> {
  for (const letter of letters) {
    if (letter.mail > run.received) {
      run.received = letter.mail
      run.core.rowChanged = true
    }
    yield letter
  }
}

/** A compensation may be left out while others run: one that failed for good, or has not begun. */
const leaveOut = (run: Run.Run, mail: number, message: Extract<Journal.Mail, { _tag: "Resolve" }>): boolean => {
  const { resolution } = message
  if (resolution._tag !== "Skip") return false
  const held = run.held.get(Replay.keys.step(resolution.step))
  if (held === undefined || (held.status !== "failed" && held.status !== "held") || !Run.isUndoing(run, held)) {
    return false
  }
  resolved(run, mail, message)
  held.status = "skipped"
  return true
}

const cancelRequested = (
  { core }: Run.Run,
  mail: number,
  message: Extract<Journal.Mail, { _tag: "Cancel" }>
): Journal.Entry => ({
  _tag: "CancelRequested",
  at: Core.now(core),
  mail,
  ...(message.reason === undefined ? undefined : { reason: message.reason })
})

const resolved = (
  { core }: Run.Run,
  mail: number,
  message: Extract<Journal.Mail, { _tag: "Resolve" }>
): Answer => {
  const answer: Answer = { ...message, _tag: "Resolved", at: Core.now(core), mail }
  Core.record(core, answer)
  return answer
}

const refuse = (
  { core }: Run.Run,
  mail: number,
  message: Extract<Journal.Mail, { _tag: "Resolve" }>,
  issue: string
): void => Core.record(core, { ...message, _tag: "ResolutionRefused", at: Core.now(core), mail, issue })
