/**
 * One entry of a journal with what a telling of it needs: what was known before it, and what comes next. Pure.
 *
 * The walk is total: an entry that cannot be where it is leaves the state as it was, and the walk goes on.
 *
 * @since 0.1.0
 */
import type { Entry, EntryOf, JournalState, Ref, StepState } from "../Journal.ts"
import { initial } from "./beginning.ts"
import { apply } from "./fold.ts"
import { isWithin, refKey, refName } from "./ref.ts"
import { name } from "./wording.ts"

/**
 * Where the walk is. `state` is what was known before the entry that is told, and changes after it was told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Scene {
  readonly state: JournalState
  /** The last entry that was no claim. */
  readonly before: Entry | undefined
  /** The next entry that is no claim. */
  readonly next: Entry | undefined
  /** When a process took the execution up last. */
  readonly claimedAt: number | undefined
  /** The waits of the body that have not ended. */
  readonly timers: ReadonlyMap<string, EntryOf<"TimerSet">>
  /** A step's name as people read it, with its path where several share the name. */
  readonly nameOf: (ref: Ref) => string
}

/**
 * Tells every entry, and what is impossible where it is. Returns the scene after the last one.
 *
 * @category walking
 * @since 0.1.0
 */
export const walk = (
  entries: ReadonlyArray<Entry>,
  tell: (scene: Scene, entry: Entry) => void,
  impossible: (entry: Entry, after: string) => void
): Scene => {
  const [first] = entries
  const begins = first?._tag === "SagaStarted" || first?._tag === "ContinuedAsNew"
  const state = initial(begins ? first : { _tag: "SagaStarted", at: first?.at ?? 0 })
  const nameOf = naming(entries)
  const nexts = following(entries)
  const timers = new Map<string, EntryOf<"TimerSet">>()
  let before: Entry | undefined
  let claimedAt: number | undefined
  for (const [index, entry] of entries.entries()) {
    tell({ state, before, next: nexts[index], claimedAt, timers, nameOf }, entry)
    if (index === 0 && !begins) impossible(entry, "an empty journal")
    const illegal = index === 0 && begins ? undefined : apply(state, entry)
    if (illegal !== undefined) impossible(entry, illegal)
    if (entry._tag === "TimerSet") timers.set(refKey(entry), entry)
    else if (entry._tag === "TimerFired" || entry._tag === "TimerWithdrawn") timers.delete(refKey(entry))
    if (entry._tag === "Claimed") claimedAt = entry.at
    else before = entry
  }
  return { state, before, next: undefined, claimedAt, timers, nameOf }
}

/**
 * When the attempt that ends now began: with its step, after the last back-off, or when the execution was taken up.
 *
 * @category destructors
 * @since 0.1.0
 */
export const attemptBegan = (scene: Scene, known: Pick<StepState, "startedAt" | "attempts">): number => {
  const last = known.attempts.at(-1)
  return Math.max(
    known.startedAt,
    last === undefined ? known.startedAt : last.wakeAt ?? last.at,
    scene.claimedAt ?? known.startedAt,
    scene.state.resolutions.at(-1)?.at ?? known.startedAt
  )
}

/**
 * The steps whose attempt was under way at a time: nobody knows how it ended. A step in back-off is not in doubt.
 *
 * @category destructors
 * @since 0.1.0
 */
export const stepsInDoubt = ({ state }: Scene, at: number): ReadonlyArray<StepState> =>
  [...state.steps.values()].filter((known) =>
    known.status === "started" && known.child === undefined && isDue(known.attempts, at)
  )

/**
 * The same for compensations.
 *
 * @category destructors
 * @since 0.1.0
 */
export const undoingInDoubt = ({ state }: Scene, at: number): ReadonlyArray<StepState> =>
  [...state.steps.values()].filter(({ compensation }) =>
    compensation.status === "running" && isDue(compensation.attempts, at) &&
    [...compensation.timers.values()].every((wakeAt) => wakeAt <= at)
  )

/**
 * What an inner scope's roll-back is about to undo, the last one first.
 *
 * @category destructors
 * @since 0.1.0
 */
export const heldWithin = ({ state }: Scene, scope: string): ReadonlyArray<StepState> =>
  state.held
    .map((key) => state.steps.get(key)!)
    .filter((known) => known.compensation.status === "held" && isWithin(known.scope, scope))
    .toReversed()

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const isDue = (attempts: StepState["attempts"], at: number): boolean => (attempts.at(-1)?.wakeAt ?? at) <= at

/** For each entry the next one that is no claim. */
const following = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry | undefined> => {
  const nexts: Array<Entry | undefined> = []
  let next: Entry | undefined
  for (const [index, entry] of [...entries.entries()].toReversed()) {
    nexts[index] = next
    if (entry._tag !== "Claimed") next = entry
  }
  return nexts
}

/** Forks of a body may ask for the same name: only then does the path help to tell them apart. */
const naming = (entries: ReadonlyArray<Entry>): (ref: Ref) => string => {
  const paths = new Map<string, Set<string>>()
  for (const entry of entries) {
    if (entry._tag !== "StepStarted" && entry._tag !== "ChildStarted") continue
    const known = paths.get(refName(entry)) ?? new Set()
    paths.set(refName(entry), known.add(entry.path ?? ""))
  }
  return (ref) =>
    ref.path === undefined || (paths.get(refName(ref))?.size ?? 0) < 2
      ? name(refName(ref))
      : `${name(refName(ref))} (fork ${name(ref.path)})`
}
