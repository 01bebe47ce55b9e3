/**
 * Messages to an execution become entries: only its owner does that.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Journal from "../Journal.ts"
import * as Core from "./core.ts"
import * as Run from "./run.ts"

/**
 * Answers what the inbox has beyond what was received. A store that does not answer is asked again at the next notice.
 *
 * @category running
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function*(run: Run.Run) {
  // A park that is decided comes first: what was sent meanwhile makes the parked execution due again.
  if (run.core.seal?._tag === "Park") return
  const mail = yield* Effect.result(run.store.encoded.inbox(run.core.id, run.received))
  if (Result.isFailure(mail)) return
  for (const { message, number } of mail.success) {
    const decoded = decode(message)
    // What nobody can read must not hold up what comes after it, nor make a parked execution due for ever.
    if (Result.isFailure(decoded)) {
      yield* Effect.logError(`message ${number} to ${run.core.id} cannot be read and is skipped: ${message}`)
    } else {
      receive(run, number, decoded.success)
    }
    run.received = number
    run.core.rowChanged = true
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Journal.Mail))

const receive = (run: Run.Run, mail: number, message: Journal.Mail): void => {
  const { core } = run
  const at = Core.now(core)
  if (message._tag === "Resolve") {
    return Core.record(core, { _tag: "Resolved", at, mail, resolution: message.resolution })
  }
  const reason = message.reason === undefined ? undefined : { reason: message.reason }
  Core.record(core, { _tag: "CancelRequested", at, mail, ...reason })
  // While it replays, the fold says what the cancel means.
  if (run.mode === "replay" || core.pivotPassed || run.rollback !== undefined) return
  Run.cancel(run, message.reason)
}
