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
 * Reads the notes that a journal has, before its body runs again.
 *
 * @category running
 * @since 0.1.0
 */
export const restore = (run: Run.Run, entries: ReadonlyArray<Journal.Entry>): void => {
  for (const entry of entries) {
    if (entry._tag === "Published") notesOf(run).written.add(Replay.keys.published(entry))
    else if (entry._tag === "VersionMarked") notesOf(run).versions.set(entry.change, entry.version)
  }
}

/**
 * Takes a note of a body that replays; false where it is none.
 *
 * @category running
 * @since 0.1.0
 */
export const again = (run: Run.Run, asked: Body.Asked): boolean => {
  const { request } = asked
  if (request._tag === "Version") {
    const known = run.notes?.versions.get(request.change)
    if (known !== undefined) tell(run, asked, known)
    return known !== undefined
  }
  if (request._tag !== "Publish") return false
  if (run.notes?.written.has(Run.keyOf(asked)) !== true) notesOf(run).unwritten.push(asked)
  run.body.deliver(asked, Exit.void)
  return true
}

/**
 * Lets a body that replays take the minimum of a change that its journal does not know; false where it asks for none.
 *
 * **Details**
 *
 * The journal goes on with what the body does not ask for, so it was written before the change was made. The change
 * that is asked for where the journal goes on is taken first.
 *
 * @category running
 * @since 0.1.0
 */
export const presume = (run: Run.Run, instruction: Replay.Instruction | undefined): boolean => {
  const path = instruction !== undefined && "name" in instruction.entry ? instruction.entry.path ?? "" : ""
  const asking = [...run.open.values()].filter((asked) => asked.request._tag === "Version")
  const { request } = asking.find((asked) => asked.path === path) ?? asking[0] ?? {}
  if (request?._tag !== "Version") return false
  const notes = notesOf(run)
  notes.versions.set(request.change, request.min)
  notes.unmarked.set(request.change, request.min)
  for (const asked of asking) {
    if (asked.request._tag !== "Version" || asked.request.change !== request.change) continue
    run.open.delete(Run.keyOf(asked))
    tell(run, asked, request.min)
  }
  return true
}

/**
 * Writes what the body has said while it replayed and the journal does not have.
 *
 * @category running
 * @since 0.1.0
 */
export const catchUp = (run: Run.Run): void => {
  const { notes } = run
  if (notes === undefined) return
  for (const [change, version] of notes.unmarked) mark(run, change, version)
  notes.unmarked.clear()
  for (const asked of notes.unwritten.splice(0)) if (run.core.seal === undefined) record(run, asked)
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

/**
 * Tells a live body which version of a change it goes by: what it was told before, or else the newest.
 *
 * @category running
 * @since 0.1.0
 */
export const version = (run: Run.Run, asked: Body.Asked): void => {
  const { request } = asked
  if (request._tag !== "Version") return
  const { max, min } = request
  if (!Number.isInteger(min) || !Number.isInteger(max) || min < 0 || max < min) {
    const message = `the versions of ${request.change} are whole numbers from min on to max, not ${min} to ${max}`
    return void Run.defect(run, undefined, message)
  }
  const known = run.notes?.versions.get(request.change)
  if (known === undefined) {
    notesOf(run).versions.set(request.change, request.max)
    mark(run, request.change, request.max)
  }
  tell(run, asked, known ?? request.max)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const notesOf = (run: Run.Run): Run.Notes =>
  run.notes ??= { written: new Set(), unwritten: [], versions: new Map(), unmarked: new Map() }

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

const mark = ({ core }: Run.Run, change: string, version: number): void =>
  Core.record(core, { _tag: "VersionMarked", at: Core.now(core), change, version })

const tell = (run: Run.Run, asked: Body.Asked, version: number): void => {
  const { request } = asked
  if (request._tag !== "Version") return
  const { change, max, min } = request
  if (version >= min && version <= max) return run.body.deliver(asked, Exit.succeed(version))
  // One that rolls back needs no more of its body than what must be undone.
  if (run.mode === "replay" && run.lenient) return
  // Nothing was executed against the other version yet, and nothing will be.
  Run.park(run, {
    _tag: "Nondeterminism",
    journal: `version ${version} of ${change}`,
    body: min === max ? `version ${min} of ${change}` : `versions ${min} to ${max} of ${change}`
  })
}
