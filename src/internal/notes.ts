/**
 * What a body says of itself while it runs: facts that are journaled, answered at once, and waited for by nobody.
 *
 * A note carries no time and decides nothing, so a body may say more or fewer of them than its journal has. On replay
 * it is answered as before; what the journal does not have yet is written once the execution is live again.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as Journal from "../Journal.ts"
import * as Attempt from "./attempt.ts"
import type * as Body from "./body.ts"
import type { Codec } from "./codec.ts"
import * as Core from "./core.ts"
import * as Replay from "./replay.ts"
import * as Run from "./run.ts"

/**
 * The keys of the notes that a journal has.
 *
 * @category accessors
 * @since 0.1.0
 */
export const written = (entries: ReadonlyArray<Journal.Entry>): ReadonlySet<string> => {
  const keys = new Set<string>()
  for (const entry of entries) if (entry._tag === "Published") keys.add(Replay.keys.published(entry))
  return keys
}

/**
 * Takes a note of a body that replays; false where it is none.
 *
 * @category running
 * @since 0.1.0
 */
export const again = (run: Run.Run, asked: Body.Asked): boolean => {
  if (asked.request._tag !== "Publish") return false
  if (!run.notes.written.has(Run.keyOf(asked))) run.notes.unwritten.push(asked)
  run.body.deliver(asked, Exit.void)
  return true
}

/**
 * Writes what the body has said while it replayed and the journal does not have.
 *
 * @category running
 * @since 0.1.0
 */
export const catchUp = (run: Run.Run): void => {
  for (const asked of run.notes.unwritten.splice(0)) if (run.core.seal === undefined) record(run, asked)
}

/**
 * Takes what a live body publishes.
 *
 * @category running
 * @since 0.1.0
 */
export const publish = (run: Run.Run, asked: Body.Asked): void => {
  if (record(run, asked)) run.body.deliver(asked, Exit.void)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const record = (run: Run.Run, asked: Body.Asked): boolean => {
  const { core, handler } = run
  if (asked.request._tag !== "Publish") return false
  const { key, value } = asked.request
  const codec = handler.definition.published.get(key)
  const json = codec === undefined
    ? Result.fail("the saga does not declare it in published")
    : encoded(core, codec, value)
  if (Result.isFailure(json)) {
    Run.defect(run, undefined, `${key} cannot be published: ${json.failure}`)
    return false
  }
  Core.record(core, { _tag: "Published", at: Core.now(core), ...Core.refOf(asked), value: json.success })
  return true
}

/** Between two answers of the body nothing is waited for. */
const encoded = (core: Core.Core, codec: Codec, value: unknown): Result.Result<Schema.Json, string> => {
  const exit = Effect.runSyncExit(Core.provide(Effect.suspend(() => codec.encode(value)), core.context))
  if (Exit.isFailure(exit)) return Result.fail(Attempt.defectMessage(exit.cause))
  return Result.mapError(Core.check(core, exit.value), (error) => error.message)
}
