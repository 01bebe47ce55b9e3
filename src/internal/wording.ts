/**
 * The words that people read: durations, names, stored errors, and why a saga rolls back. Pure; always one line.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import type { Mail, Ref, Resolution, RollbackCause } from "../Journal.ts"
import { refName } from "./ref.ts"

/** The longest error or message in a sentence: enough for its tag and fields, while a stack trace stays out. */
const MaxDetail = 300

/** The longest name: beyond it, two names are told apart by hand. */
const MaxName = 80

/**
 * Milliseconds as people read them: `123 ms`, `2.5 s`, `3 m 10 s`, `3 h 10 m`, `2 d 4 h`. Rounded down.
 *
 * @category destructors
 * @since 0.1.0
 */
export const duration = (millis: number): string => {
  if (!Number.isFinite(millis)) return "an unknown time"
  const ms = Math.max(0, Math.floor(millis))
  if (ms < 1_000) return `${ms} ms`
  if (ms < 60_000) return `${Math.floor(ms / 100) / 10} s`
  if (ms < 3_600_000) return units(Math.floor(ms / 60_000), "m", Math.floor(ms / 1_000) % 60, "s")
  if (ms < 86_400_000) return units(Math.floor(ms / 3_600_000), "h", Math.floor(ms / 60_000) % 60, "m")
  return units(Math.floor(ms / 86_400_000), "d", Math.floor(ms / 3_600_000) % 24, "h")
}

/**
 * Any text in one line and not longer than `limit` characters: no line breaks, controls or lone surrogates, nothing
 * that turns the direction of what follows.
 *
 * @category destructors
 * @since 0.1.0
 */
export const oneLine = (text: string, limit = MaxDetail): string => {
  const clean = text.toWellFormed().replace(/[\s\p{Cc}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]+/gu, " ").trim()
  const characters = Array.from(clean.slice(0, 2 * limit + 2))
  return characters.length > limit ? `${characters.slice(0, limit - 1).join("").trimEnd()}…` : clean
}

/**
 * A name in a sentence: as it is, or in quotes if it would read like a part of the sentence.
 *
 * @category destructors
 * @since 0.1.0
 */
export const name = (text: string): string => {
  const clean = oneLine(text, MaxName)
  return /^[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}_#:/@.-]*[\p{L}\p{N}\p{M}_])?$/u.test(clean) ? clean : `"${clean}"`
}

/**
 * The name of a step in a sentence, `Ship` or `Ship#2`.
 *
 * @category destructors
 * @since 0.1.0
 */
export const step = (ref: Ref): string => name(refName(ref))

/**
 * `A`, `A and B`, `A, B and C`; a long list ends in how many are left out.
 *
 * @category destructors
 * @since 0.1.0
 */
export const list = (items: ReadonlyArray<string>): string => {
  const shown = items.length > 10 ? [...items.slice(0, 9), `${items.length - 9} more`] : items
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)!}`
}

/**
 * A sentence's full stop, unless its last words bring their own.
 *
 * @category destructors
 * @since 0.1.0
 */
export const stop = (sentence: string): string => /[.!?…]$/.test(sentence) ? sentence : `${sentence}.`

/**
 * A stored error: its tag, and its fields in brackets.
 *
 * @category destructors
 * @since 0.1.0
 */
export const error = (stored: Schema.Json | undefined): string => {
  if (stored === undefined) return "no error is recorded"
  if (typeof stored !== "object" || stored === null || Array.isArray(stored)) return oneLine(JSON.stringify(stored))
  const { _tag, ...fields } = stored as { readonly [key: string]: Schema.Json }
  const details = Object.entries(fields).map(([key, value]) => `${key} ${JSON.stringify(value)}`).join(", ")
  const tag = typeof _tag === "string" && _tag.trim() !== "" ? _tag : "error"
  return oneLine(details === "" ? tag : `${tag} (${details})`)
}

/**
 * Why a saga rolls back, after "because".
 *
 * @category destructors
 * @since 0.1.0
 */
export const because = (cause: RollbackCause): string => {
  switch (cause._tag) {
    case "Failed":
      return `it failed with ${error(cause.error)}`
    case "Cancelled":
      return `it was cancelled${given(cause.reason)}`
    case "DeadlineExceeded":
      return "its deadline passed"
    case "Operator":
      return `${person(cause.actor)} ordered it${given(cause.reason)}`
    case "Defect":
      return `${cause.step === undefined ? "its body" : name(cause.step)} died: ${message(cause.message)}`
  }
}

/**
 * A reason in brackets, where there is one.
 *
 * @category destructors
 * @since 0.1.0
 */
export const given = (reason: string | undefined): string => {
  const clean = oneLine(reason ?? "")
  return clean === "" ? "" : ` (${clean})`
}

/**
 * A message in one line; an empty one says so.
 *
 * @category destructors
 * @since 0.1.0
 */
export const message = (text: string | undefined): string => {
  const clean = oneLine(text ?? "")
  return clean === "" ? "no message is recorded" : clean
}

/**
 * Who did something.
 *
 * @category destructors
 * @since 0.1.0
 */
export const person = (actor: string | undefined): string => {
  const clean = oneLine(actor ?? "", MaxName)
  return clean === "" ? "a person" : clean
}

/**
 * What a person answered, after "to".
 *
 * @category destructors
 * @since 0.1.0
 */
export const answer = (resolution: Resolution): string => {
  switch (resolution._tag) {
    case "Retry":
      return "retry it"
    case "Resolve":
      return `resolve ${step(resolution.step)} with a value`
    case "Skip":
      return `skip ${step(resolution.step)}`
    case "Rollback":
      return "roll it back"
    case "Abandon":
      return "abandon it"
  }
}

/**
 * A message to an execution.
 *
 * @category destructors
 * @since 0.1.0
 */
export const mail = (message: Mail | undefined): string => {
  switch (message?._tag) {
    case undefined:
      return "a message that nobody can read"
    case "Cancel":
      return "a cancel"
    case "Resolve":
      return `the wish of ${person(message.actor)} to ${answer(message.resolution)}`
    case "Signal":
      return `signal ${name(message.signal)}`
    case "Child":
      return `what became of child ${name(message.child)}`
  }
}

/**
 * The beginning of a sentence: our own words with a capital letter, a name as it is.
 *
 * @category destructors
 * @since 0.1.0
 */
export const capital = (sentence: string): string =>
  sentence.replace(/^(?:a person|undoing )/, (words) => words.charAt(0).toUpperCase() + words.slice(1))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const units = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
