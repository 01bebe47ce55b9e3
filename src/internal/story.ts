/**
 * The entries of a journal as sentences for people who operate. Pure.
 *
 * Each entry says what is new in it; what only begins is told by how it ends, or at the end of the journal.
 *
 * @since 0.1.0
 */
import type { Entry, EntryOf, JournalState, Ref, Resolution, Unresolved } from "../Journal.ts"
import { describe } from "../SagaError.ts"
import { unresolved } from "./fold.ts"
import { refKey } from "./ref.ts"
import { judge } from "./resolution.ts"
import * as Scene from "./scene.ts"
import * as Wording from "./wording.ts"

/**
 * What a line is about, for colours and filters.
 *
 * **Details**
 *
 * `started`: it began, or was taken up as planned. `done`: a step succeeded. `refused`: an attempt did not happen, or
 * failed. `doubt`: nobody knows whether an attempt happened. `failed`: a step failed. `withdrawn`: not asked for any
 * more. `pivot`: the point of no return. `asked`: a cancel, a deadline or a roll-back is due. `rollback`: undoing
 * begins or ends. `undone`: a compensation succeeded. `stuck`: it failed for good. `waits`: a timer, or out of memory.
 * `recovered`: another process took over. `parked`: it waits for a person. `advice`: what that person can do.
 * `told`: the saga published something, or which version of a change it goes by, or a step beat. `answered`: what a
 * person said. `ended`: completed, rolled back or abandoned. `open`: the journal ends before that. `disorder`: the
 * journal says what cannot be.
 *
 * @category models
 * @since 0.1.0
 */
export type Mark =
  | "started"
  | "done"
  | "refused"
  | "doubt"
  | "failed"
  | "withdrawn"
  | "pivot"
  | "asked"
  | "rollback"
  | "undone"
  | "stuck"
  | "waits"
  | "told"
  | "recovered"
  | "parked"
  | "advice"
  | "answered"
  | "ended"
  | "open"
  | "disorder"

/**
 * One thing that happened, as a complete sentence in one line.
 *
 * @category models
 * @since 0.1.0
 */
export interface Line {
  /** Milliseconds since the execution was started. */
  readonly at: number
  readonly mark: Mark
  readonly text: string
}

/**
 * What an entry says to people: mostly one sentence, none where it says nothing new.
 *
 * @category destructors
 * @since 0.1.0
 */
export const sentences = (scene: Scene.Scene, entry: Entry): ReadonlyArray<Said> => {
  switch (entry._tag) {
    // Told by how it ends, or at the end of the journal.
    case "StepStarted":
    case "CompensationStarted":
      return []
    case "StepHeartbeat":
    case "CompensationHeartbeat":
      return beaten(scene, entry)
    case "SagaStarted":
      return [started(entry)]
    case "ContinuedAsNew":
      return [["started", `The saga continued as new, as generation ${entry.generation}: its journal begins here.`]]
    case "Claimed":
      return [claimed(scene, entry)]
    case "AttemptFailed":
      return [attemptFailed(scene, entry)]
    case "StepSucceeded":
      return [stepSucceeded(scene, entry)]
    case "StepFailed":
      return [stepFailed(scene, entry)]
    case "StepWithdrawn":
      return [stepWithdrawn(scene, entry)]
    case "PivotPassed":
      return [["pivot", "The point of no return is passed: from here on nothing is undone."]]
    case "TimerSet":
      return [["waits", `The saga waits ${Wording.duration(entry.wakeAt - entry.at)}${waitOf(entry)}.`]]
    case "TimerFired":
      return [["waits", `The wait${waitOf(entry)} is over.`]]
    case "TimerWithdrawn":
      return [["withdrawn", `The wait${waitOf(entry)} was given up.`]]
    case "Suspended":
      return [["waits", suspended(entry)]]
    case "Published":
      return [[
        "told",
        `The saga published ${Wording.name(entry.name)}: ${Wording.oneLine(JSON.stringify(entry.value))}.`
      ]]
    case "VersionMarked":
      return [["told", `The saga goes by version ${entry.version} of ${Wording.name(entry.change)}.`]]
    case "SignalAwaited":
      return [["waits", `The saga waits for ${Wording.list(entry.signals.map(Wording.name))}.`]]
    case "SignalReceived":
      return [["waits", `Signal ${Wording.name(entry.signal)} was received.`]]
    case "ReceiveWithdrawn":
      return [["withdrawn", `The wait for ${waitedFor(scene, entry)} was given up.`]]
    case "CompensationSignalReceived":
      return [["waits", `${undoing(scene, entry, "Undoing")} received signal ${Wording.name(entry.signal)}.`]]
    case "ChildStarted":
      return [["started", `${scene.nameOf(entry)} is left to ${Wording.name(entry.child)}, which it starts.`]]
    case "ChildCancelRequested":
      return [["withdrawn", `${scene.nameOf(entry)} is not waited for any more, and is asked to roll back.`]]
    case "ChildParked":
      return [["waits", Wording.stop(`${scene.nameOf(entry)} is parked, because ${why(entry.reason)}`)]]
    case "ChildResumed":
      return [["waits", `${scene.nameOf(entry)} goes on.`]]
    case "ChildEnded":
      return [childEnded(scene, entry)]
    case "RaceWon":
      return [["waits", raceWon(scene, entry)]]
    case "MailUndelivered":
      return [["asked", undelivered(entry)]]
    case "ParkRequested":
      return scene.next?._tag === "SagaParked"
        ? []
        : [["parked", `It is to be parked, because ${why(entry.reason)}, once nothing is under way any more.`]]
    case "CancelRequested":
      return [["asked", `Somebody asked to cancel it${Wording.given(entry.reason)}${tooLate(scene.state)}.`]]
    case "DeadlinePassed":
      return [["asked", `Its deadline passed${tooLate(scene.state)}.`]]
    case "RollbackRequested":
      return [["asked", `It is to roll back, because ${Wording.because(entry.cause)}${tooLate(scene.state)}.`]]
    case "Resolved":
      return [answered(scene, entry)]
    case "ResolutionRefused":
      return [["answered", refusedAnswer(entry)]]
    case "RollbackStarted":
      return rollbackStarted(scene, entry)
    case "CompensationAttemptFailed":
      return [undoingFailed(scene, entry)]
    case "CompensationTimerSet": {
      const length = Wording.duration(entry.wakeAt - entry.at)
      return [["waits", `${undoing(scene, entry, "Undoing")} waits ${length} (${Wording.name(entry.timer)}).`]]
    }
    case "CompensationSucceeded":
      return [undone(scene, entry)]
    case "CompensationFailed":
      return [stuck(scene, entry)]
    case "ScopeRolledBack":
      return [["rollback", "That part of the saga is rolled back, and the saga goes on."]]
    case "StepsRollbackStarted": {
      const steps = Wording.list(entry.steps.map(scene.nameOf))
      return [["rollback", `The saga undoes ${steps === "" ? "no step" : steps}, and goes on afterwards.`]]
    }
    case "StepsRolledBack":
      return [["rollback", "What the saga wanted undone is settled, and the saga goes on."]]
    case "SagaCompleted":
      return [["ended", `The saga completed after ${since(scene, entry)}.`]]
    case "SagaRolledBack":
      return [["ended", rolledBack(scene, entry)]]
    case "SagaParked":
      return parked(scene, entry)
    case "SagaAbandoned":
      return [["ended", abandoned(scene, entry)]]
  }
}

/**
 * What is under way or waited for where a journal ends before its execution does.
 *
 * @category destructors
 * @since 0.1.0
 */
export const unfinished = (scene: Scene.Scene): Said => {
  const { at } = scene.state
  const due = (wakeAt: number) => `in ${Wording.duration(wakeAt - at)}`
  const waiting: Array<string> = []
  for (const { attempts, child, compensation, ref, status } of scene.state.steps.values()) {
    if (child !== undefined && status === "started") {
      const where = child.parked === undefined ? "" : `, which is parked: ${why(child.parked)}`
      waiting.push(`the saga waits for child ${scene.nameOf(ref)}${where}`)
    }
    const isUndoing = compensation.status === "running"
    const wakeAt = (isUndoing ? compensation.attempts : status === "started" ? attempts : []).at(-1)?.wakeAt
    const what = isUndoing ? undoing(scene, ref, "undoing") : scene.nameOf(ref)
    if (wakeAt !== undefined && wakeAt > at) waiting.push(`${what} is due again ${due(wakeAt)}`)
    if (!isUndoing) continue
    for (const [timer, end] of compensation.timers) {
      if (end > at) waiting.push(`the wait of ${what} (${Wording.name(timer)}) ends ${due(end)}`)
    }
  }
  for (const timer of scene.timers.values()) {
    if (timer.wakeAt > at) waiting.push(`the wait${waitOf(timer)} ends ${due(timer.wakeAt)}`)
  }
  for (const { signals } of scene.state.awaiting.values()) {
    waiting.push(`the saga waits for ${Wording.list(signals.map(Wording.name))}`)
  }
  const underWay = inDoubt(scene, at)
  const facts = [
    ...underWay.length === 0 ? [] : [`${Wording.list(underWay)} ${are(underWay)} under way`],
    ...lastBeats(scene),
    ...waiting
  ]
  return ["open", `The journal ends here: ${facts.length === 0 ? "nothing is under way" : Wording.list(facts)}.`]
}

/**
 * The sentence about an entry that cannot be where it is.
 *
 * @category destructors
 * @since 0.1.0
 */
export const disorder = (entry: Entry, met: string): Said => [
  "disorder",
  Wording.stop(`The journal is not in order here: ${Wording.oneLine(entry._tag)} met ${Wording.oneLine(met)}`)
]

/**
 * Whether a claim took over what another process left, rather than taking up what waited for its time or a person.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRecovery = ({ before, claimedAt, state }: Scene.Scene): boolean =>
  state.end === undefined && before?._tag !== "Suspended" &&
  (before?._tag !== "SagaStarted" || claimedAt !== undefined)

/**
 * A line before it has its time.
 *
 * @category models
 * @since 0.1.0
 */
export type Said = readonly [mark: Mark, text: string]

// ---------------------------------------------------------------------------------------------------------------------
// internal: the saga
// ---------------------------------------------------------------------------------------------------------------------

const started = ({ at, deadline, version }: EntryOf<"SagaStarted">): Said => {
  const more = [
    ...version === undefined || version === 1 ? [] : [`version ${version} of its definition`],
    ...deadline === undefined ? [] : [`a deadline in ${Wording.duration(deadline - at)}`]
  ]
  return ["started", `The saga started${more.length === 0 ? "" : `, with ${Wording.list(more)}`}.`]
}

const claimed = (scene: Scene.Scene, entry: EntryOf<"Claimed">): Said => {
  const worker = `Worker ${Wording.name(entry.worker)}`
  if (scene.state.end !== undefined && scene.state.phase !== "parked") {
    return ["started", `${worker} looked after it: mail had come before its end.`]
  }
  if (scene.state.phase === "parked") {
    return ["started", `${worker} took up the parked execution: there was mail for it.`]
  }
  if (!isRecovery(scene)) {
    const { suspended } = scene.state
    if (suspended === undefined) return ["started", `${worker} took it up, before any step had begun.`]
    if (suspended === Infinity) return ["started", `${worker} took it up again, as there was mail for it.`]
    return ["started", `${worker} took it up again${entry.at < suspended ? " before its time" : ", as it was due"}.`]
  }
  const doubt = inDoubt(scene, entry.at)
  const found = doubt.length === 0 ? "Nothing was in doubt" : `${Wording.list(doubt)} ${were(doubt)} in doubt`
  return ["recovered", `${worker} recovered it, as the process that had it was gone. ${Wording.capital(found)}.`]
}

const inDoubt = (scene: Scene.Scene, at: number): ReadonlyArray<string> => [
  ...Scene.stepsInDoubt(scene, at).map(({ ref }) => scene.nameOf(ref)),
  ...Scene.undoingInDoubt(scene, at).map(({ ref }) => undoing(scene, ref, "undoing"))
]

const are = (items: ReadonlyArray<string>): string => items.length === 1 ? "is" : "are"
const were = (items: ReadonlyArray<string>): string => items.length === 1 ? "was" : "were"

const since = ({ state }: Scene.Scene, { at }: Entry): string => Wording.duration(at - state.startedAt)

/** A plain sleep of a body has no name of its own. */
const waitOf = ({ name }: Ref): string => name === "sleep" ? "" : ` (${Wording.name(name)})`

const suspended = ({ at, wakeAt }: EntryOf<"Suspended">): string =>
  wakeAt === undefined
    ? "It left memory until a message comes."
    : `Nothing is due for ${Wording.duration(wakeAt - at)}: it left memory until then.`

const undelivered = ({ message }: EntryOf<"MailUndelivered">): string =>
  message === undefined
    ? "A message that nobody can read lay in its inbox at the end."
    : `Nobody received ${Wording.mail(message)} before the end.`

/** What is in flight among the others is undone once it has succeeded. */
const raceWon = (scene: Scene.Scene, { losers, winner }: EntryOf<"RaceWon">): string => {
  const held = losers.flatMap((scope) => Scene.heldWithin(scene, scope).map(({ ref }) => scene.nameOf(ref)))
  const rest = losers.length === 0
    ? ""
    : held.length === 0
    ? " What the others have under way is undone once it has happened."
    : ` What the others did is undone: ${Wording.list(held)}.`
  return `Number ${winner + 1} won a race.${rest}`
}

const waitedFor = ({ state }: Scene.Scene, ref: Ref): string =>
  Wording.list((state.awaiting.get(refKey(ref))?.signals ?? [ref.name]).map(Wording.name))

const tooLate = (state: JournalState): string =>
  state.pivotPassed
    ? ", but it is past its point of no return and goes on"
    : state.rollback === undefined
    ? ""
    : ", but it rolls back already"

const why = (reason: EntryOf<"SagaParked">["reason"]): string => Wording.oneLine(describe(reason))

const rollbackStarted = (
  scene: Scene.Scene,
  { cause, scope }: EntryOf<"RollbackStarted">
): ReadonlyArray<Said> => {
  const held = Scene.heldWithin(scene, scope).map(({ ref }) => scene.nameOf(ref))
  const what = scope === "" ? "The saga" : "A part of the saga"
  return [
    ["rollback", Wording.stop(`${what} rolls back, because ${Wording.because(cause)}`)],
    [
      "rollback",
      held.length === 0
        ? "There is nothing to undo."
        : `It undoes ${Wording.list(held)}.`
    ]
  ]
}

const rolledBack = (scene: Scene.Scene, entry: EntryOf<"SagaRolledBack">): string => {
  const after = `after ${since(scene, entry)}`
  const settled = [...scene.state.steps.values()].map(({ compensation }) => compensation.status)
  if (settled.includes("skipped")) {
    return `The saga is rolled back ${after}: a person took care of what it could not undo.`
  }
  if (settled.includes("succeeded")) return `The saga is rolled back ${after}: nothing of what it did is left.`
  return `The saga failed after ${since(scene, entry)}, and left nothing behind.`
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: steps
// ---------------------------------------------------------------------------------------------------------------------

const next = (at: number, wakeAt: number | undefined, what = "It is tried again"): string =>
  wakeAt === undefined ? "" : ` ${what} ${wakeAt <= at ? "at once" : `in ${Wording.duration(wakeAt - at)}`}.`

const attemptFailed = (scene: Scene.Scene, entry: EntryOf<"AttemptFailed">): Said => {
  const step = scene.nameOf(entry)
  const { at, attempt, error, message, outcome, wakeAt } = entry
  const again = next(at, wakeAt)
  switch (outcome) {
    case "refused": {
      const what = message === undefined ? Wording.error(error) : Wording.message(message)
      return ["refused", `${step} was refused at attempt ${attempt}: ${Wording.stop(what)}${again}`]
    }
    case "timeout":
      return [
        "doubt",
        `${
          Wording.stop(
            `${step} timed out at attempt ${attempt}: nobody knows whether it happened${Wording.given(message)}`
          )
        }${again}`
      ]
    case "never": {
      // A crash took the attempt, so the schedule has no say.
      const soon = error === undefined && wakeAt === undefined ? next(at, at) : again
      return ["refused", `The check says that ${step} did not happen.${soon}`]
    }
    case "pending":
      return [
        "doubt",
        `The check says that ${step} still goes on.${next(at, wakeAt, "It is asked again")}`
      ]
    case "defect":
      return [
        "failed",
        `${Wording.stop(`${step} died at attempt ${attempt}: ${Wording.message(message)}`)}${again}`
      ]
  }
}

/** Of several in a row only the last one is told. */
const beaten = (scene: Scene.Scene, entry: EntryOf<"StepHeartbeat" | "CompensationHeartbeat">): ReadonlyArray<Said> => {
  const { next } = scene
  if (next?._tag === entry._tag && refKey(next) === refKey(entry)) return []
  const what = entry._tag === "StepHeartbeat" ? scene.nameOf(entry) : undoing(scene, entry, "Undoing")
  const details = entry.details === undefined ? "" : `: ${Wording.oneLine(JSON.stringify(entry.details))}`
  return [["told", Wording.stop(`${what} was alive at attempt ${entry.attempt}${details}`)]]
}

/** When what is under way beat last, as far as the journal knows. */
const lastBeats = (scene: Scene.Scene): ReadonlyArray<string> =>
  [...scene.state.steps.values()].flatMap(({ compensation, heartbeat, ref, status }) => {
    const isUndoing = compensation.status === "running"
    const beat = isUndoing ? compensation.heartbeat : status === "started" ? heartbeat : undefined
    if (beat === undefined) return []
    const what = isUndoing ? undoing(scene, ref, "undoing") : scene.nameOf(ref)
    return [`${what} beat last after ${Wording.duration(beat.at - scene.state.startedAt)}`]
  })

const stepSucceeded = (scene: Scene.Scene, entry: EntryOf<"StepSucceeded">): Said => {
  const step = scene.nameOf(entry)
  const known = scene.state.steps.get(refKey(entry))
  if (known?.kind === "onRollback") return ["done", `${step} is kept for the case that the saga rolls back.`]
  if (known?.kind === "onCommit") return ["done", `${step} is kept for the time after the point of no return.`]
  if (known?.resolvedBy?.resolution === "Resolve") {
    return ["done", `${step} counts as done, as ${Wording.person(known.resolvedBy.actor)} said.`]
  }
  const number = entry.attempt > 1 ? ` at attempt ${entry.attempt}` : ""
  if (entry.found === true) return ["done", `The check found that ${step} had succeeded${number}.`]
  const took = known === undefined ? "" : ` in ${Wording.duration(entry.at - Scene.attemptBegan(scene, known))}`
  return ["done", `${step} succeeded${number}${took}.`]
}

const stepFailed = (scene: Scene.Scene, entry: EntryOf<"StepFailed">): Said => {
  const step = scene.nameOf(entry)
  const known = scene.state.steps.get(refKey(entry))
  const error = Wording.stop(Wording.error(entry.error))
  // It was in back-off when nothing new was to be tried any more.
  if (known?.attempts.at(-1)?.attempt === entry.attempt) {
    return ["failed", `${step} is not tried again, and failed: ${error}`]
  }
  const took = known === undefined ? "" : ` after ${Wording.duration(entry.at - Scene.attemptBegan(scene, known))}`
  return ["failed", `${step} failed${entry.attempt > 1 ? ` at attempt ${entry.attempt}` : ""}${took}: ${error}`]
}

const childEnded = (scene: Scene.Scene, entry: EntryOf<"ChildEnded">): Said => {
  const { end } = entry
  const child = scene.nameOf(entry)
  const known = scene.state.steps.get(refKey(entry))
  const took = known === undefined ? "" : ` after ${Wording.duration(entry.at - known.startedAt)}`
  switch (end._tag) {
    case "SagaCompleted":
      return ["done", `${child} completed${took}.`]
    case "SagaRolledBack":
      return [
        known?.child?.cancelled === true ? "withdrawn" : "failed",
        Wording.stop(`${child} is rolled back${took}, because ${Wording.because(end.cause)}`)
      ]
    case "SagaParked":
      return ["waits", Wording.stop(`${child} is parked, because ${why(end.reason)}`)]
    case "SagaAbandoned":
      return [
        "failed",
        `${Wording.capital(Wording.person(end.actor))} abandoned ${child}${Wording.given(end.because)}.`
      ]
  }
}

const stepWithdrawn = (scene: Scene.Scene, entry: EntryOf<"StepWithdrawn">): Said => {
  const by = scene.state.steps.get(refKey(entry))?.resolvedBy
  return [
    "withdrawn",
    by?.resolution === "Skip"
      ? `${scene.nameOf(entry)} is left out, as ${Wording.person(by.actor)} said.`
      : `${scene.nameOf(entry)} was withdrawn: it did not happen, and is not tried again.`
  ]
}

// ---------------------------------------------------------------------------------------------------------------------
// internal: compensations
// ---------------------------------------------------------------------------------------------------------------------

/** What `Saga.onRollback` registers undoes nothing: it runs. */
const isHook = (scene: Scene.Scene, ref: Ref): boolean => scene.state.steps.get(refKey(ref))?.kind === "onRollback"

const undoing = (scene: Scene.Scene, ref: Ref, verb: "Undoing" | "undoing"): string =>
  isHook(scene, ref) ? scene.nameOf(ref) : `${verb} ${scene.nameOf(ref)}`

const undoingFailed = (scene: Scene.Scene, entry: EntryOf<"CompensationAttemptFailed">): Said => {
  const what = undoing(scene, entry, "Undoing")
  const { at, attempt, error, outcome, wakeAt } = entry
  const again = next(at, wakeAt)
  switch (outcome) {
    case "failed":
      return ["refused", `${what} failed at attempt ${attempt}: ${Wording.stop(Wording.error(error))}${again}`]
    case "timeout":
      return ["doubt", `${what} timed out at attempt ${attempt}: nobody knows whether it happened.${again}`]
    case "pending":
      return [
        "doubt",
        `The check says that ${lower(what)} still goes on.${next(at, wakeAt, "It is asked again")}`
      ]
  }
}

const lower = (what: string): string => what.replace(/^Undoing /, "undoing ")

const undone = (scene: Scene.Scene, entry: EntryOf<"CompensationSucceeded">): Said => {
  const step = scene.nameOf(entry)
  const number = entry.attempt > 1 ? ` at attempt ${entry.attempt}` : ""
  if (entry.found === true) return ["undone", `The check found that ${step} had been undone${number}.`]
  const known = scene.state.steps.get(refKey(entry))
  const { attempts = [], startedAt } = known?.compensation ?? {}
  const took = startedAt === undefined
    ? ""
    : ` in ${Wording.duration(entry.at - Scene.attemptBegan(scene, { attempts, startedAt }))}`
  return ["undone", `${step} ${isHook(scene, entry) ? "ran for the roll-back" : "was undone"}${number}${took}.`]
}

const stuck = (scene: Scene.Scene, entry: EntryOf<"CompensationFailed">): Said => {
  const what = entry.error === undefined && entry.defect !== undefined
    ? `its compensation died, ${Wording.message(entry.defect)}`
    : Wording.error(entry.error)
  const verb = isHook(scene, entry) ? "failed for good" : "cannot be undone"
  return ["stuck", `${scene.nameOf(entry)} ${verb}, after ${attempts(entry.attempt)}: ${Wording.stop(what)}`]
}

const attempts = (n: number): string => n === 1 ? "1 attempt" : `${n} attempts`

// ---------------------------------------------------------------------------------------------------------------------
// internal: persons
// ---------------------------------------------------------------------------------------------------------------------

const parked = (scene: Scene.Scene, entry: EntryOf<"SagaParked">): ReadonlyArray<Said> => {
  const lines: Array<Said> = [[
    "parked",
    Wording.stop(
      `It ${scene.state.phase === "parked" ? "stays" : "is"} parked for a person, because ${why(entry.reason)}`
    )
  ]]
  if (entry.unresolved.length > 0) {
    const steps = Wording.list(entry.unresolved.map((left) => `${scene.nameOf(left)}${lastError(left)}`))
    lines.push(["stuck", `Not undone yet: ${steps}.`])
  }
  lines.push(["advice", `A person can ${advice(scene, entry)}.`])
  return lines
}

const lastError = ({ attempts: tried, defect, error }: Unresolved): string => {
  const what = error === undefined ? defect === undefined ? "" : Wording.oneLine(defect) : Wording.error(error)
  return what === "" ? "" : ` (${attempts(tried)}, ${what})`
}

/** Only what the owner would take, as it would judge it. */
const advice = (scene: Scene.Scene, { reason }: EntryOf<"SagaParked">): string => {
  const state: JournalState = { ...scene.state, phase: "parked" }
  const open = [...state.steps.values()].filter(({ status }) => status === "started")
  const candidates: ReadonlyArray<readonly [Resolution, string]> = [
    [{ _tag: "Retry" }, mend[reason._tag]],
    ...open.flatMap(({ ref }): ReadonlyArray<readonly [Resolution, string]> => [
      [{ _tag: "Resolve", step: ref, value: null }, `resolve ${scene.nameOf(ref)} with its value, if it happened`],
      [{ _tag: "Skip", step: ref }, `skip ${scene.nameOf(ref)}, if it did not happen`]
    ]),
    ...unresolved(state).map(({ name, occurrence, path }): readonly [Resolution, string] => {
      const ref = {
        name,
        ...(path === undefined ? undefined : { path }),
        ...(occurrence === undefined ? undefined : { occurrence })
      }
      return [{ _tag: "Skip", step: ref }, `undo ${scene.nameOf(ref)} by hand and skip it`]
    }),
    [{ _tag: "Rollback" }, "roll it back"],
    [{ _tag: "Abandon" }, "abandon it as it is"]
  ]
  const usable = candidates.filter(([resolution]) => judge(state, resolution, undefined)._tag === "Applies")
  return usable.map(([, what]) => what).join("; or ")
}

/** What has to be done before a retry has a chance. */
const mend: Readonly<Record<EntryOf<"SagaParked">["reason"]["_tag"], string>> = {
  CompensationFailed: "mend the cause and retry",
  Unknown: "retry, if another attempt does no harm",
  Defect: "mend the code and retry",
  Nondeterminism: "deploy the code that wrote the journal and retry",
  Undecodable: "deploy code that can read it and retry",
  Unencodable: "mend the code or its schema and retry",
  RecoveryExhausted: "find out what ends its processes and retry",
  Exhausted: "mend the cause and retry",
  Child: "see what became of the child and retry"
}

const answered = (scene: Scene.Scene, entry: EntryOf<"Resolved">): Said => {
  const { actor, reason, resolution } = entry
  const who = Wording.capital(Wording.person(actor))
  const because = Wording.given(reason)
  if (scene.state.phase !== "parked" && scene.state.parking === undefined) {
    return ["answered", `${who} wanted to ${Wording.answer(resolution)}${because}, but it was not parked any more.`]
  }
  switch (resolution._tag) {
    case "Retry":
      return ["answered", `${who} let it go on${because}.`]
    case "Rollback":
      return ["answered", `${who} ordered its roll-back${because}.`]
    case "Abandon":
      return ["answered", `${who} wants it closed as it is${because}.`]
    case "Resolve":
      return ["answered", `${who} says that ${scene.nameOf(resolution.step)} happened${because}.`]
    case "Skip": {
      const step = scene.nameOf(resolution.step)
      return [
        "answered",
        scene.state.steps.get(refKey(resolution.step))?.status === "started"
          ? `${who} says that ${step} did not happen${because}.`
          : `${who} took care of undoing ${step}${because}.`
      ]
    }
  }
}

const refusedAnswer = ({ actor, issue, reason, resolution }: EntryOf<"ResolutionRefused">): string => {
  const who = Wording.capital(Wording.person(actor))
  return Wording.stop(
    `${who} wanted to ${Wording.answer(resolution)}${Wording.given(reason)}, which was refused: ${
      Wording.message(issue)
    }`
  )
}

const abandoned = (scene: Scene.Scene, { actor, because, unresolved }: EntryOf<"SagaAbandoned">): string => {
  const left = unresolved.map(scene.nameOf)
  return `${Wording.capital(Wording.person(actor))} abandoned it${Wording.given(because)}.` +
    (left.length === 0 ? "" : ` ${Wording.list(left)} ${were(left)} never undone.`)
}
