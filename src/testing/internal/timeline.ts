/**
 * What was seen of executions: what became durable, and what steps did, in the order in which it happened.
 *
 * @since 0.1.0
 */
import * as Exit from "effect/Exit"
import type * as Execution from "../../Execution.ts"
import * as Journal from "../../Journal.ts"

/**
 * An append that was kept; a claim is one too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Kept {
  readonly _tag: "Append"
  /** Which process appended it, from 0; -1 for a person. */
  readonly process: number
  readonly execution: string
  /** Virtual time, in milliseconds. */
  readonly at: number
  readonly entries: ReadonlyArray<Journal.Entry>
}

/**
 * Something that a step did.
 *
 * @category models
 * @since 0.1.0
 */
export interface Act {
  readonly _tag: "Act"
  /** Which process did it, from 0. */
  readonly process: number
  readonly execution: string
  /** Virtual time at which it began, in milliseconds. */
  readonly at: number
  /** As the log says it: `Charge`, `undo Charge`, `check Charge`, `check undo Charge`. */
  readonly name: string
  readonly kind: Execution.ActKind
  readonly step: string
  /** The step's own kind; undefined where something else than its effect runs. */
  readonly stepKind: Journal.Kind | undefined
  /** The idempotency key under which it was done. */
  readonly key: string
  readonly attempt: number
  readonly epoch: number
  /** Its process had lost the execution before, and could not know. */
  readonly late: boolean
  /** Undefined for one whose end nobody saw. */
  outcome: "succeeded" | "failed" | "died" | "interrupted" | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export type Event = Kept | Act

/**
 * An act as the log says it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const actName = (kind: Execution.ActKind, step: string): string => `${prefixes[kind]}${step}`

/**
 * How an act ended.
 *
 * @category accessors
 * @since 0.1.0
 */
export const outcomeOf = (exit: Exit.Exit<unknown, unknown>): NonNullable<Act["outcome"]> => {
  if (Exit.isSuccess(exit)) return "succeeded"
  if (Exit.hasDies(exit)) return "died"
  return Exit.hasFails(exit) ? "failed" : "interrupted"
}

/**
 * The timeline as people read it: a line each, with virtual time and the process.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = (timeline: ReadonlyArray<Event>): string =>
  timeline.map((event) => {
    const what = event._tag === "Act"
      ? `${event.name}: ${event.outcome ?? "cut off"} (key ${event.key}, attempt ${event.attempt})`
      : `[${event.entries.map(formatEntry).join(", ")}]`
    return `${String(event.at).padStart(8)} ms  ${
      event.process < 0 ? "a person " : `process ${event.process}`
    }  ${what}`
  }).join("\n")

/**
 * An entry as people read it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const formatEntry = (entry: Journal.Entry): string => {
  const of = "name" in entry
    ? ` ${Journal.refName(entry)}`
    : "scope" in entry && entry.scope !== ""
    ? ` (${entry.scope})`
    : ""
  const outcome = "outcome" in entry ? ` ${entry.outcome}` : ""
  const reason = "reason" in entry && entry.reason !== undefined ? ` ${JSON.stringify(entry.reason)}` : ""
  return `${entry._tag}${of}${outcome}${reason}`
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const prefixes: Readonly<Record<Execution.ActKind, string>> = {
  execute: "",
  check: "check ",
  compensate: "undo ",
  checkCompensation: "check undo "
}
