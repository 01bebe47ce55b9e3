/**
 * A journal as a Mermaid sequence diagram: the saga, its steps, what was asked of them, and the unwind. Pure.
 *
 * A label may hold anything: what is no letter, digit or harmless punctuation is written as its code, so the text is
 * always one that Mermaid parses.
 *
 * @since 0.1.0
 */
import type { Entry, EntryOf, Ref } from "../Journal.ts"
import { describe } from "../SagaError.ts"
import { refKey } from "./ref.ts"
import * as Scene from "./scene.ts"
import { isRecovery } from "./story.ts"
import * as Wording from "./wording.ts"

/**
 * How many arrows and notes a diagram has at most; the middle of a longer one is left out.
 *
 * Mermaid refuses a text of more than 50,000 characters, and nobody reads a diagram of several metres.
 *
 * @category constants
 * @since 0.1.0
 */
export const MaxEvents = 200

/**
 * The longest label, and the longest name of a participant, in characters of the diagram's text: with both, `MaxEvents`
 * of them stay below what Mermaid accepts.
 *
 * @category constants
 * @since 0.1.0
 */
export const MaxLabel = 140
const MaxParticipant = 70

/** Where a label breaks: Mermaid does not wrap, and a wide arrow pushes everything apart. A note has more room. */
const ArrowWidth = 40
const NoteWidth = 64

/**
 * An arrow to a step, one back (`lost`: without an answer that helps), or a note.
 *
 * @category models
 * @since 0.1.0
 */
export interface Event {
  readonly _tag: "Ask" | "Answer" | "Lost" | "Note"
  /** The step's name; undefined: the saga alone. */
  readonly step: string | undefined
  readonly label: string
  /** Whether it belongs to a roll-back. */
  readonly undoing: boolean
}

/**
 * What an entry adds to the diagram.
 *
 * @category destructors
 * @since 0.1.0
 */
export const events = (scene: Scene.Scene, entry: Entry): ReadonlyArray<Event> => {
  const { rollback, undoing: scopes, undoingSteps } = scene.state
  const inRollback = rollback !== undefined || scopes.size > 0 || undoingSteps.size > 0
  const note = (label: string, undoing = inRollback): ReadonlyArray<Event> => [
    { _tag: "Note", step: undefined, label, undoing }
  ]
  switch (entry._tag) {
    // Said by what comes with them.
    case "SagaStarted":
    case "StepHeartbeat":
    case "CompensationStarted":
    case "CompensationHeartbeat":
    case "ParkRequested":
    case "TimerFired":
    case "TimerWithdrawn":
    case "ReceiveWithdrawn":
      return []
    case "StepStarted":
      return isHook(entry.kind) ? [] : [event(scene, "Ask", entry, "attempt 1", false)]
    case "AttemptFailed":
    case "StepSucceeded":
    case "StepFailed":
      return isHook(scene.state.steps.get(refKey(entry))?.kind) ? [] : stepEvents(scene, entry)
    case "StepWithdrawn":
      return [event(scene, "Lost", entry, "withdrawn", false)]
    case "ChildStarted":
      return [event(scene, "Ask", entry, "starts it", false)]
    case "ChildCancelRequested":
      return [event(scene, "Ask", entry, "cancel", false)]
    case "ChildParked":
      return [event(scene, "Lost", entry, `parked, because ${describe(entry.reason)}`, false)]
    case "ChildResumed":
      return [event(scene, "Answer", entry, "goes on", false)]
    case "ChildEnded":
      return [childEvent(scene, entry)]
    case "CompensationAttemptFailed":
    case "CompensationSucceeded":
    case "CompensationFailed":
      return undoingEvents(scene, entry)
    case "CompensationTimerSet":
      return note(`undoing ${scene.nameOf(entry)} waits ${Wording.duration(entry.wakeAt - entry.at)}`, true)
    case "Claimed":
      return isRecovery(scene)
        ? note(`crash, recovered by ${Wording.name(entry.worker)}${doubt(scene, entry.at)}`)
        : note(`taken up by ${Wording.name(entry.worker)}`)
    case "ContinuedAsNew":
      return note(`continued as new, generation ${entry.generation}`)
    case "PivotPassed":
      return note("point of no return")
    case "TimerSet":
      return note(`waits ${Wording.duration(entry.wakeAt - entry.at)}`)
    case "VersionMarked":
      return note(`version ${entry.version} of ${Wording.name(entry.change)}`)
    case "Published":
      return note(`published ${Wording.name(entry.name)}`)
    case "Suspended":
      return note(
        entry.wakeAt === undefined
          ? "out of memory until a message comes"
          : `out of memory for ${Wording.duration(entry.wakeAt - entry.at)}`
      )
    case "SignalAwaited":
      return note(`waits for ${Wording.list(entry.signals.map(Wording.name))}`)
    case "SignalReceived":
      return note(`${Wording.name(entry.signal)} received`)
    case "CompensationSignalReceived":
      return note(`undoing ${scene.nameOf(entry)} received ${Wording.name(entry.signal)}`, true)
    case "RaceWon":
      return note(`a race is won by number ${entry.winner + 1}`)
    case "MailUndelivered":
      return note(`undelivered: ${Wording.mail(entry.message)}`)
    case "CancelRequested":
      return note(`cancel asked for${Wording.given(entry.reason)}`)
    case "DeadlinePassed":
      return note("deadline passed")
    case "RollbackRequested":
      return note(`roll-back due, because ${Wording.because(entry.cause)}`)
    case "Resolved":
      return note(`${Wording.person(entry.actor)} answers to ${Wording.answer(entry.resolution)}`)
    case "ResolutionRefused":
      return note(`${Wording.person(entry.actor)} may not ${Wording.answer(entry.resolution)}`)
    case "RollbackStarted":
      return note(
        `${entry.scope === "" ? "roll-back" : "roll-back of a part"}, because ${Wording.because(entry.cause)}`,
        true
      )
    case "ScopeRolledBack":
      return note("that part is rolled back", true)
    case "StepsRollbackStarted":
      return note(`undoes ${Wording.list(entry.steps.map(scene.nameOf))}`, true)
    case "StepsRolledBack":
      return note("these are undone", true)
    case "SagaCompleted":
      return note("completed")
    case "SagaRolledBack":
      return note("rolled back", false)
    case "SagaParked":
      return note(`parked, because ${describe(entry.reason)}`)
    case "SagaAbandoned":
      return note(`abandoned by ${Wording.person(entry.actor)}${Wording.given(entry.because)}`, false)
  }
}

/**
 * The diagram's text. `saga` is how its participant is called.
 *
 * @category constructors
 * @since 0.1.0
 */
export const render = (all: ReadonlyArray<Event>, saga: string, most: number): string => {
  const shown = elide(all, most >= 2 ? Math.min(MaxEvents, Math.floor(most)) : 2)
  const ids = new Map<string, string>()
  for (const { step } of shown) if (step !== undefined && !ids.has(step)) ids.set(step, `P${ids.size + 1}`)
  const lines = ["sequenceDiagram", `  participant S as ${label(saga, MaxParticipant, ArrowWidth)}`]
  for (const [step, id] of ids) lines.push(`  participant ${id} as ${label(step, MaxParticipant, ArrowWidth)}`)
  const everybody = ids.size === 0 ? "S" : `S,P${ids.size}`
  let undoing = false
  for (const event of shown) {
    if (event.undoing !== undoing) lines.push(event.undoing ? "  rect rgb(255, 238, 238)" : "  end")
    undoing = event.undoing
    const text = label(event.label, MaxLabel, event._tag === "Note" ? NoteWidth : ArrowWidth)
    lines.push(`${undoing ? "    " : "  "}${arrow(event, ids, everybody)}: ${text}`)
  }
  if (undoing) lines.push("  end")
  return lines.join("\n")
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: events
// ---------------------------------------------------------------------------------------------------------------------

/** What `Saga.onRollback` and `Saga.onCommit` register asks nobody for anything yet. */
const isHook = (kind: string | undefined): boolean => kind === "onRollback" || kind === "onCommit"

const event = (scene: Scene.Scene, _tag: Event["_tag"], ref: Ref, label: string, undoing: boolean): Event => {
  const own = ref.path === undefined && ref.occurrence === undefined ? "" : `${scene.nameOf(ref)}, `
  return { _tag, step: ref.name, label: `${own}${label}`, undoing }
}

const doubt = (scene: Scene.Scene, at: number): string => {
  const names = [...Scene.stepsInDoubt(scene, at), ...Scene.undoingInDoubt(scene, at)].map(({ ref }) =>
    scene.nameOf(ref)
  )
  return names.length === 0 ? "" : ` (${Wording.list(names)} in doubt)`
}

const stepEvents = (
  scene: Scene.Scene,
  entry: EntryOf<"AttemptFailed" | "StepSucceeded" | "StepFailed">
): ReadonlyArray<Event> => {
  const known = scene.state.steps.get(refKey(entry))
  const last = known?.attempts.at(-1)
  const ask = (label: string) => event(scene, "Ask", entry, label, false)
  const answer = (_tag: Event["_tag"], label: string) => event(scene, _tag, entry, label, false)
  const isNew = last?.attempt !== entry.attempt
  const redone = scene.claimedAt !== undefined && scene.claimedAt >= (last?.at ?? known?.startedAt ?? Infinity)
  // A check that is asked again has a number of its own, but no attempt.
  const tries = !isNew || last?.outcome === "pending" || (entry.attempt === 1 && !redone)
    ? []
    : [ask(`attempt ${entry.attempt}${entry.attempt === 1 ? ", again" : ""}`)]
  const checks = ask("did it happen?")
  switch (entry._tag) {
    case "StepFailed":
      return [...tries, answer("Lost", `failed, ${Wording.error(entry.error)}`)]
    case "StepSucceeded":
      if (known?.resolvedBy?.resolution === "Resolve") {
        return [answer("Answer", `done, says ${Wording.person(known.resolvedBy.actor)}`)]
      }
      return entry.found === true
        ? [checks, answer("Answer", "yes, it happened")]
        : [...tries, answer("Answer", "done")]
    case "AttemptFailed":
      switch (entry.outcome) {
        case "refused":
          return [...tries, answer("Lost", `refused, ${entry.message ?? Wording.error(entry.error)}`)]
        case "timeout":
          return [...tries, answer("Lost", "timed out, nobody knows")]
        case "never":
          return [...redone ? [] : tries, checks, answer("Lost", "no, it did not happen")]
        case "pending":
          return [...redone ? [] : tries, checks, answer("Lost", "it still goes on")]
        case "defect":
          return [...tries, answer("Lost", `died, ${Wording.message(entry.message)}`)]
      }
  }
}

const childEvent = (scene: Scene.Scene, entry: EntryOf<"ChildEnded">): Event => {
  const { end } = entry
  switch (end._tag) {
    case "SagaCompleted":
      return event(scene, "Answer", entry, "completed", false)
    case "SagaRolledBack":
      return event(scene, "Lost", entry, `rolled back, because ${Wording.because(end.cause)}`, false)
    case "SagaParked":
      return event(scene, "Lost", entry, `parked, because ${describe(end.reason)}`, false)
    case "SagaAbandoned":
      return event(scene, "Lost", entry, `abandoned by ${Wording.person(end.actor)}`, false)
  }
}

const undoingEvents = (
  scene: Scene.Scene,
  entry: EntryOf<"CompensationAttemptFailed" | "CompensationSucceeded" | "CompensationFailed">
): ReadonlyArray<Event> => {
  const ask = (label: string) => event(scene, "Ask", entry, label, true)
  const answer = (_tag: Event["_tag"], label: string) => event(scene, _tag, entry, label, true)
  const verb = isHook(scene.state.steps.get(refKey(entry))?.kind) ? "run" : "undo"
  const tries = ask(entry.attempt === 1 ? verb : `${verb}, attempt ${entry.attempt}`)
  const checks = ask("was it undone?")
  switch (entry._tag) {
    case "CompensationSucceeded":
      return entry.found === true
        ? [checks, answer("Answer", "yes, it was undone")]
        : [tries, answer("Answer", verb === "run" ? "done" : "undone")]
    case "CompensationFailed":
      return [tries, answer("Lost", `stuck, ${entry.defect ?? Wording.error(entry.error)}`)]
    case "CompensationAttemptFailed":
      switch (entry.outcome) {
        case "failed":
          return [tries, answer("Lost", `failed, ${Wording.error(entry.error)}`)]
        case "timeout":
          return [tries, answer("Lost", "timed out, nobody knows")]
        case "pending":
          return [checks, answer("Lost", "it still goes on")]
      }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: text
// ---------------------------------------------------------------------------------------------------------------------

/** The beginning says what was done, the end how it stands: the middle goes. */
const elide = (all: ReadonlyArray<Event>, most: number): ReadonlyArray<Event> => {
  if (all.length <= most) return all
  const head = Math.ceil((most - 1) / 2)
  const tail = most - 1 - head
  const left = all.length - head - tail
  const end = all.slice(all.length - tail)
  const undoing = all[head - 1]!.undoing && (end[0]?.undoing ?? false)
  return [
    ...all.slice(0, head),
    { _tag: "Note", step: undefined, label: `${left} events are left out`, undoing },
    ...end
  ]
}

const arrow = ({ _tag, step }: Event, ids: ReadonlyMap<string, string>, everybody: string): string => {
  const id = step === undefined ? "S" : ids.get(step)!
  switch (_tag) {
    case "Ask":
      return `S->>${id}`
    case "Answer":
      return `${id}-->>S`
    case "Lost":
      return `${id}--xS`
    case "Note":
      return `Note over ${everybody}`
  }
}

/** Everything that could mean something to Mermaid is written as its code. */
const label = (text: string, most: number, lineWidth: number): string => {
  let written = ""
  let width = 0
  for (const word of Wording.oneLine(text === "" ? "..." : text).split(" ")) {
    const breaks = width > 0 && width + word.length > lineWidth
    let gap = width === 0 ? "" : breaks ? "<br/>" : " "
    width = breaks ? word.length : width + word.length + 1
    for (const character of word) {
      const one = gap +
        (/[\p{L}\p{N}\p{M}.,()'"!?=_/+…-]/u.test(character) ? character : `#${character.codePointAt(0)!};`)
      if (written.length + one.length > most - 1) return `${written}…`
      written += one
      gap = ""
    }
  }
  return written === "" ? "..." : written
}
