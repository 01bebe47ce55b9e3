/**
 * The story of one execution, as `Saga.explain` tells it, in colours.
 */
import { Journal, Saga, type SagaStore } from "effect-saga"
import { paint } from "./screen.ts"

/** How an execution ended, as the journal says. */
export type Ending = "completed" | "rolled back" | "failed at once" | "parked" | "not ended"

export interface Timeline {
  readonly ending: Ending
  /** How long it took, in milliseconds. */
  readonly took: number
  readonly lines: ReadonlyArray<string>
}

/** Reads the journal of one execution. Where everything went well at the first attempt, one line is enough. */
export const make = (journal: SagaStore.StoredJournal): Timeline => {
  const explanation = Saga.explain(journal)
  return {
    ending: endingOf(explanation),
    took: explanation.took,
    lines: explanation.smooth
      ? [`    ${durations(journal)} ms`]
      // How it began is the same for all, and how it ended is in the title.
      : explanation.lines.filter(({ mark }) => mark !== "started" && mark !== "ended").map(line)
  }
}

const endingOf = ({ ending, happened }: Saga.Explanation): Ending => {
  switch (ending) {
    case "completed":
    case "parked":
      return ending
    case "rolledback":
      // Where no step had happened there was nothing to undo.
      return happened ? "rolled back" : "failed at once"
    case "running":
    case "settling":
    case "compensating":
    case "suspended":
    case "abandoned":
      return "not ended"
  }
}

const durations = (journal: SagaStore.StoredJournal): string => {
  const state = Journal.foldPrefix(journal.appends.flatMap((append) => append.entries))
  return state === undefined ? "" : Journal.stepRecords(state).map((_) => `${_.step} ${_.duration}`).join(", ")
}

const looks: Readonly<Record<Saga.Line["mark"], readonly [style: Parameters<typeof paint>[0], sign: string]>> = {
  started: ["dim", "·"],
  done: ["green", "✓"],
  refused: ["yellow", "↻"],
  doubt: ["yellow", "?"],
  failed: ["red", "✗"],
  withdrawn: ["dim", "·"],
  pivot: ["dim", "="],
  asked: ["yellow", "!"],
  rollback: ["magenta", "«"],
  undone: ["magenta", "↩"],
  stuck: ["red", "✗"],
  waits: ["dim", "…"],
  told: ["dim", "·"],
  recovered: ["cyan", "⚡"],
  parked: ["red", "■"],
  advice: ["bold", "→"],
  answered: ["cyan", "☞"],
  ended: ["dim", "·"],
  open: ["dim", "…"],
  disorder: ["red", "!"]
}

const line = ({ at, mark, text }: Saga.Line): string => {
  const [style, sign] = looks[mark]
  return `${`+${at} ms`.padStart(12)}  ${paint(style, sign)} ${mark === "done" ? text : paint(style, text)}`
}
