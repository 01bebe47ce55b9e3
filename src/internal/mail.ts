/**
 * Messages to an execution become entries: only its owner does that.
 *
 * Before a message is taken the journal is asked whether it applies: what happened since it was sent decides.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Journal from "../Journal.ts"
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
  for (const { mail, message } of yield* inbox(run)) {
    if (message === undefined) continue
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
  for (const { mail, message } of yield* inbox(run)) {
    if (message === undefined) continue
    if (message._tag === "Cancel") {
      Core.record(core, cancelRequested(run, mail, message))
      continue
    }
    const state = Result.getOrThrow(Journal.fold([...entries, ...core.pending]))
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
  for (const { mail, message } of yield* inbox(run)) {
    if (message?._tag === "Cancel") {
      Core.record(run.core, cancelRequested(run, mail, message))
    } else if (message !== undefined) {
      const { _tag } = message.resolution
      if (_tag === "Abandon") return resolved(run, mail, message)
      if (_tag === "Retry") resolved(run, mail, message)
      else refuse(run, mail, message, "its journal cannot be read by this version")
    }
  }
  return undefined
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Journal.Mail))

interface Letter {
  readonly mail: number
  /** Undefined where nobody can read it. */
  readonly message: Journal.Mail | undefined
}

/** What came in; each is received once somebody looks at it. */
const inbox = Effect.fnUntraced(function*(run: Run.Run): Effect.fn.Return<Iterable<Letter>> {
  const mail = yield* Effect.result(run.store.encoded.inbox(run.core.id, run.received))
  if (Result.isFailure(mail)) return []
  const letters: Array<Letter> = []
  for (const { message, number } of mail.success) {
    const decoded = decode(message)
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
    run.received = letter.mail
    run.core.rowChanged = true
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
