/**
 * What must hold of every execution, however its processes died: rule by rule, judged from what was seen.
 *
 * Each rule gives sentences about what breaks it. It runs nothing.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Journal from "../../Journal.ts"
import type { Status } from "../../SagaStore.ts"
import type { Event } from "./timeline.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What was seen of one execution.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly execution: string
  readonly timeline: ReadonlyArray<Event>
  readonly journal: ReadonlyArray<Journal.Entry>
  readonly status: Status
  /** How much was ever sent to it, and the numbers of what lies in its inbox. */
  readonly mail: number
  readonly inbox: ReadonlyArray<number>
  /** Compensations run one after the other. */
  readonly sequential: boolean
  /** Where every execution stands that was seen, by its id. */
  readonly all: ReadonlyMap<string, Status>
  /** Everything that was seen, of all executions. */
  readonly whole: ReadonlyArray<Event>
}

// ---------------------------------------------------------------------------------------------------------------------
// rules
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What breaks the rules, as sentences; empty where they hold.
 *
 * @category rules
 * @since 0.1.0
 */
export const violations = (seen: Seen): ReadonlyArray<string> => [
  ...readable(seen),
  ...acting(seen),
  ...order(seen),
  ...nothingLost(seen),
  ...answering(seen),
  ...parenting(seen)
]

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** No death of a process makes code and journal disagree, or a journal that cannot be read. */
const neverParks: ReadonlyArray<string> = ["Nondeterminism", "Undecodable", "Unencodable", "RecoveryExhausted"]

const readable = ({ journal, status }: Seen): ReadonlyArray<string> => {
  const folded = Journal.fold(journal)
  return [
    ...journal.flatMap((entry) =>
      entry._tag === "SagaParked" && neverParks.includes(entry.reason._tag) ? [`it parks: ${entry.reason._tag}`] : []
    ),
    ...(Result.isFailure(folded)
      ? [`its journal cannot be read: ${folded.failure.entry} cannot follow ${folded.failure.state}`]
      : folded.success.phase === status
      ? []
      : [`its journal says ${folded.success.phase}, its row ${status}`])
  ]
}

/** The part of an idempotency key that all acts of one step share. */
const base = (key: string): string => key.slice(0, key.lastIndexOf("/"))

/** The same of what a journal names, entry after entry: what is named later may be of a later generation. */
const places = (execution: string) => {
  let generation = 0
  return {
    pass: (entry: Journal.Entry): void => {
      if (entry._tag === "ContinuedAsNew") generation = entry.generation
    },
    of: (ref: Journal.Ref): string => {
      const occurrence = ref.occurrence ?? 0
      return `${execution}/${generation}/${ref.name}/${
        ref.path === undefined ? occurrence : `${ref.path}:${occurrence}`
      }`
    },
    /** Whether an act is of a generation that is over. */
    isPast: (of: string): boolean => Number(of.slice(execution.length + 1).split("/", 1)[0]) < generation
  }
}

/** Walks the timeline: each act is judged by what was durable when it began. */
const acting = ({ execution, timeline }: Seen): ReadonlyArray<string> => {
  const found: Array<string> = []
  const started = new Set<string>()
  const ended = new Set<string>()
  const refusals = new Map<string, number>()
  const undoing = new Set<string>()
  const undone = new Set<string>()
  const place = places(execution)
  let rollback = false
  let epoch = 0
  for (const event of timeline) {
    if (event._tag === "Append") {
      for (const entry of event.entries) {
        place.pass(entry)
        if (entry._tag === "RollbackStarted" && entry.scope === "") rollback = true
        if (!("name" in entry)) continue
        const of = place.of(entry)
        if (entry._tag === "StepStarted") started.add(of)
        if (entry._tag === "StepSucceeded" || entry._tag === "StepFailed" || entry._tag === "StepWithdrawn") {
          ended.add(of)
        }
        if (entry._tag === "AttemptFailed" && (entry.outcome === "refused" || entry.outcome === "never")) {
          refusals.set(of, (refusals.get(of) ?? 0) + 1)
        }
        if (entry._tag === "CompensationStarted") undoing.add(of)
        if (entry._tag === "CompensationSucceeded") undone.add(of)
      }
      continue
    }
    // A process that was taken over while it did not run cannot know: what it does then, its participants must refuse.
    // And what only reads does so before anything is durable, even where the execution turns out to be there already.
    if (event.late || event.stepKind === "readonly") continue
    const of = base(event.key)
    const { kind, name } = event
    if (event.epoch < epoch) found.push(`${name} came from an earlier claim than what was done before it`)
    epoch = Math.max(epoch, event.epoch)
    if (kind === "compensate" || kind === "checkCompensation") {
      if (!undoing.has(of)) found.push(`${name} acted before its start was durable`)
      if (undone.has(of)) found.push(`${name} acted again after it was recorded as done`)
      continue
    }
    if (place.isPast(of)) found.push(`${name} acted in a generation that is over`)
    if (rollback) found.push(`${name} acted after the roll-back began`)
    if (ended.has(of)) found.push(`${name} acted again after its outcome was recorded`)
    if (!started.has(of)) found.push(`${name} acted before its intent was durable`)
    const ordinal = Number(event.key.slice(event.key.lastIndexOf("/") + 1))
    if (ordinal !== (refusals.get(of) ?? 0)) {
      found.push(`${name} used key ${ordinal} after ${refusals.get(of) ?? 0} recorded refusals`)
    }
  }
  return found
}

/** Compensations start in reverse order of completion, one after the other, unless several roll-backs go on at once. */
const order = ({ execution, journal, sequential, timeline }: Seen): ReadonlyArray<string> => {
  if (!sequential || haveOverlapped(journal)) return []
  const found: Array<string> = []
  const completed: Array<string> = []
  const place = places(execution)
  let last = Infinity
  for (const entry of journal) {
    place.pass(entry)
    if (hasHappened(entry)) completed.push(place.of(entry))
    if (beginsToUndo(entry)) last = Infinity
    if (entry._tag !== "CompensationStarted") continue
    const index = completed.indexOf(place.of(entry))
    if (index < 0) found.push(`${entry.name} is undone though it is not recorded as done`)
    if (index >= last) found.push(`${entry.name} is undone before a step that completed after it`)
    last = index
  }
  const then = places(execution)
  let running: string | undefined
  for (const event of timeline) {
    if (event._tag === "Act") {
      if (event.kind !== "compensate" || event.late) continue
      if (running !== undefined && running !== base(event.key)) found.push(`${event.name} overlaps ${running}`)
      running = base(event.key)
    } else {
      for (const entry of event.entries) {
        then.pass(entry)
        if (entry._tag !== "CompensationSucceeded" && entry._tag !== "CompensationFailed") continue
        if (running === then.of(entry)) running = undefined
      }
    }
  }
  return found
}

const hasHappened = (entry: Journal.Entry): entry is Journal.EntryOf<"StepSucceeded" | "ChildEnded"> =>
  entry._tag === "StepSucceeded" || (entry._tag === "ChildEnded" && entry.end._tag === "SagaCompleted")

/** What loses a race is undone in scopes of its own, as soon as it has settled. */
const beginsToUndo = ({ _tag }: Journal.Entry): boolean =>
  _tag === "RollbackStarted" || _tag === "StepsRollbackStarted" || _tag === "RaceWon"

const haveOverlapped = (journal: ReadonlyArray<Journal.Entry>): boolean => {
  const open = new Set<string>()
  for (const entry of journal) {
    if (entry._tag === "RollbackStarted") open.add(`scope ${entry.scope}`)
    if (entry._tag === "RaceWon") { for (const scope of entry.losers) open.add(`scope ${scope}`) }
    if (entry._tag === "ScopeRolledBack") open.delete(`scope ${entry.scope}`)
    if (entry._tag === "StepsRollbackStarted") open.add(Journal.refKey(entry))
    if (entry._tag === "StepsRolledBack") open.delete(Journal.refKey(entry))
    if (open.size > 1) return true
  }
  return false
}

/** Everything that happened is undone, completed, or named as unresolved; nothing is undone that did not happen. */
const nothingLost = ({ execution, journal, status, timeline }: Seen): ReadonlyArray<string> => {
  const found: Array<string> = []
  const kinds = new Map<string, Journal.Kind>()
  const undone = new Set<string>()
  /** Named as unresolved, or taken care of by a person. */
  const named = new Set<string>()
  const place = places(execution)
  let rollback = false
  let anyRollback = false
  for (const entry of journal) {
    place.pass(entry)
    if (entry._tag === "StepStarted") kinds.set(place.of(entry), entry.kind)
    if (entry._tag === "ChildStarted") kinds.set(place.of(entry), "child")
    if (entry._tag === "CompensationSucceeded") undone.add(place.of(entry))
    if (entry._tag === "Resolved" && entry.resolution._tag === "Skip") {
      named.add(place.of(entry.resolution.step))
    }
    if (beginsToUndo(entry)) anyRollback = true
    if (entry._tag === "RollbackStarted" && entry.scope === "") rollback = true
    if (entry._tag === "SagaParked") { for (const one of entry.unresolved) named.add(place.of(one)) }
  }
  const begun = new Set<string>()
  const undoings = new Map<string, string>()
  for (const event of timeline) {
    if (event._tag === "Append") continue
    const of = base(event.key)
    if (event.kind === "execute") begun.add(of)
    // What comes late is for the participant to refuse: `Step.epoch` tells it.
    if (event.late) continue
    if (event.kind === "compensate") undoings.set(of, event.name)
    if (event.kind !== "execute" || event.outcome !== "succeeded" || event.stepKind === "readonly") continue
    if (!kinds.has(of)) found.push(`${event.name} happened and the journal does not know of it`)
    // A generation ends with nothing left to undo.
    if (undone.has(of) || named.has(of) || place.isPast(of)) continue
    if (status === "rolledback") found.push(`${event.name} happened and was not undone`)
    if ((status === "parked" || status === "abandoned") && rollback) {
      found.push(`${event.name} happened, was not undone, and nobody says so`)
    }
  }
  for (const [of, name] of undoings) {
    if (!anyRollback) found.push(`${name} ran though nothing rolled back`)
    const acts = kinds.get(of) !== "onRollback" && kinds.get(of) !== "child"
    if (acts && !begun.has(of)) found.push(`${name} ran though its step never began`)
  }
  return [...new Set(found)]
}

/** Every message that was accepted is answered by one entry, or lies in the inbox of what may take it. */
const answering = ({ inbox, journal, mail, status }: Seen): ReadonlyArray<string> => {
  const found: Array<string> = []
  const times = new Map<number, number>()
  // A person who abandons answers no message.
  const answered = journal.flatMap((entry) =>
    "mail" in entry && !(entry._tag === "Resolved" && entry.resolution._tag === "Abandon") ? [entry.mail] : []
  )
  for (const number of [...answered, ...inbox]) times.set(number, (times.get(number) ?? 0) + 1)
  for (let number = 1; number <= mail; number++) {
    const count = times.get(number) ?? 0
    if (count !== 1) found.push(`message ${number} is answered ${count} times`)
  }
  if (status !== "parked" && inbox.length > 0) found.push(`messages ${inbox.join(", ")} lie in its inbox for ever`)
  return found
}

/**
 * A child begins when its parent's journal has it, there is none besides, and the journal says of its end what it was.
 */
const parenting = ({ all, execution, journal, status, whole }: Seen): ReadonlyArray<string> => {
  const found: Array<string> = []
  const [started] = journal
  const parent = started?._tag === "SagaStarted" ? started.parent : undefined
  if (parent !== undefined) {
    const first = (isIt: (event: Event) => boolean) => whole.findIndex(isIt)
    const known = first((event) =>
      event._tag === "Append" && event.execution === parent &&
      event.entries.some((entry) => entry._tag === "ChildStarted" && entry.child === execution)
    )
    const created = first((event) => event._tag === "Append" && event.execution === execution)
    if (known < 0) found.push(`it is a child of ${parent}, whose journal does not know of it`)
    else if (created < known) found.push("it began before its parent's journal had it")
  }
  const state = Journal.fold(journal)
  if (Result.isFailure(state)) return found
  for (const { child, compensation, ref, resolvedBy } of state.success.steps.values()) {
    if (child === undefined || resolvedBy !== undefined) continue
    const now = all.get(child.execution)
    const ended = child.end === undefined ? undefined : ends[child.end._tag]
    if (ended !== undefined && ended !== now) {
      found.push(`child ${Journal.refName(ref)} is ${now ?? "nowhere"}, and its parent's journal says ${ended}`)
    }
    if (status !== "completed" && status !== "rolledback") continue
    if (now !== undefined && !over.includes(now)) found.push(`it ended while its child ${child.execution} is ${now}`)
    const isUndone = compensation.status === "succeeded" || compensation.status === "skipped"
    if (status === "rolledback" && now === "completed" && child.undo && !isUndone) {
      found.push(`child ${Journal.refName(ref)} completed and was not undone`)
    }
  }
  return found
}

const over: ReadonlyArray<Status> = ["completed", "rolledback", "abandoned"]

const ends: Readonly<Record<Journal.End["_tag"], Status>> = {
  SagaCompleted: "completed",
  SagaRolledBack: "rolledback",
  SagaParked: "parked",
  SagaAbandoned: "abandoned"
}
