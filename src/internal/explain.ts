/**
 * What happened to an execution, told from its journal: as sentences, as one text, and as a diagram. Pure and total.
 *
 * It relies on the journal alone: no definition, no store, no clock. It never throws and never leaves out the end: of a
 * journal that is cut off, or in disorder, it says what it can.
 *
 * @since 0.1.0
 */
import type { Entry, JournalState, StepState } from "../Journal.ts"
import * as Diagram from "./diagram.ts"
import { walk } from "./scene.ts"
import * as Story from "./story.ts"
import * as Wording from "./wording.ts"

export {
  /**
   * One thing that happened, as a complete sentence in one line.
   *
   * @category models
   * @since 0.1.0
   */
  type Line
} from "./story.ts"

/**
 * How an execution ended, or where it stands.
 *
 * @category models
 * @since 0.1.0
 */
export type Ending = JournalState["phase"] | "suspended"

/**
 * What happened to an execution, for people.
 *
 * @category models
 * @since 0.1.0
 */
export interface Explanation {
  /**
   * How it ended, or where it stands: `running` before its point of no return and `settling` past it, `suspended` while
   * it waits in no process's memory.
   */
  readonly ending: Ending
  /** Whether anything was done: at least one step succeeded that is no mere read. */
  readonly happened: boolean
  /** Milliseconds from its start to the last entry. */
  readonly took: number
  /** Whether it completed with nothing refused, nothing undone, no recovery and no person. */
  readonly smooth: boolean
  /** Its story, in order. */
  readonly lines: ReadonlyArray<Story.Line>
  /** The lines as one text, their times aligned; without colours. */
  readonly text: string
  /** A Mermaid `sequenceDiagram` of the same, the roll-back included. */
  readonly diagram: string
}

/**
 * A journal: its entries, or its appends as a store reads them.
 *
 * @category models
 * @since 0.1.0
 */
export type Explainable = Iterable<Entry> | {
  readonly appends: ReadonlyArray<{ readonly entries: ReadonlyArray<Entry> }>
}

/**
 * Tells what happened to an execution.
 *
 * **Details**
 *
 * `saga` is how the saga is called in the diagram, by default "Saga". `events` is how many arrows and notes the diagram
 * has at most, by default (and never more than) 200; the middle of a longer one is left out. The lines are all there.
 *
 * **Gotchas**
 *
 * Errors and reasons are shown as they were stored, shortened, with whatever they hold. Before version 1.0 the wording
 * may change in any release: test the marks, not the sentences.
 *
 * @category destructors
 * @since 0.1.0
 */
export const explain = (
  journal: Explainable,
  options: { readonly saga?: string | undefined; readonly events?: number | undefined } = {}
): Explanation => {
  const entries = "appends" in journal ? journal.appends.flatMap((append) => append.entries) : [...journal]
  const { events = Diagram.MaxEvents, saga = "Saga" } = options
  const lines: Array<Story.Line> = []
  const drawn: Array<Diagram.Event> = []
  const start = entries[0]?.at ?? 0
  let at = 0
  const say = ([mark, text]: Story.Said) => lines.push({ at, mark, text })
  const scene = walk(entries, (scene, entry) => {
    if (entry.at - start > at) at = entry.at - start
    // A tag that this version does not know has no sentence.
    const said: ReadonlyArray<Story.Said> | undefined = Story.sentences(scene, entry)
    for (const one of said ?? [Story.disorder(entry, "a version that does not know it")]) say(one)
    drawn.push(...(Diagram.events(scene, entry) as ReadonlyArray<Diagram.Event> | undefined) ?? [])
  }, (entry, after) => say(Story.disorder(entry, after)))
  const { phase, steps, suspended } = scene.state
  const ending = suspended === undefined ? phase : "suspended"
  if (entries.length === 0) say(["open", "The journal is empty."])
  else if (open.includes(ending)) say(Story.unfinished(scene))
  return {
    ending,
    happened: [...steps.values()].some(hasHappened),
    took: at,
    smooth: phase === "completed" && lines.every(({ mark }) => smooth.includes(mark)),
    lines,
    text: textOf(lines),
    diagram: Diagram.render(drawn, saga, events)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const open: ReadonlyArray<Ending> = ["running", "settling", "compensating"]

/** What the lines of an execution are about where everything went well. */
const smooth: ReadonlyArray<Story.Mark> = ["started", "done", "withdrawn", "pivot", "waits", "told", "ended"]

const hasHappened = ({ kind, status }: StepState): boolean =>
  status === "succeeded" && ["compensable", "retryable", "pivot", "child"].includes(kind)

const textOf = (lines: ReadonlyArray<Story.Line>): string => {
  const times = lines.map(({ at }) => `+${Wording.duration(at)}`)
  const width = times.reduce((width, time) => Math.max(width, time.length), 0)
  return lines.map(({ text }, index) => `${times[index]!.padStart(width)}  ${text}`).join("\n")
}
