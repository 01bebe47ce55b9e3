/**
 * The state of one live execution, and the small moves on it that its parts share: record, seal, hold, park, finish.
 *
 * `intake` takes what the body asks, `recovery` replays, `undoing` rolls back and `executor` drives; each touches this
 * state only in the driving fiber. Nothing here awaits anything.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Journal from "../Journal.ts"
import type { ParkReason } from "../SagaError.ts"
import type { SagaStore, Status, StoreError } from "../SagaStore.ts"
import * as Attempt from "./attempt.ts"
import type { Blank } from "./blank.ts"
import * as Body from "./body.ts"
import type { Held } from "./compensate.ts"
import * as Core from "./core.ts"
import type { Handler } from "./engine.ts"
import type * as Forward from "./forward.ts"
import * as Replay from "./replay.ts"
import * as Rollback from "./rollback.ts"

/**
 * How an execution left this process.
 *
 * **Details**
 *
 * `Ended`: its last entry is durable. `Continued`: it is this process's, and goes on with what it continued as new with
 * at this place of its journal. `Suspended`: it waits, in nobody's memory, until a time or for a message. `Left`:
 * it goes on elsewhere, or later. `Exists`: it was started before, by somebody else. `Failed`: the store took nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Ending =
  | { readonly _tag: "Ended"; readonly entry: Journal.End }
  | { readonly _tag: "Suspended"; readonly wakeAt: number | undefined }
  | { readonly _tag: "Continued"; readonly seq: number }
  | { readonly _tag: "Left" }
  | { readonly _tag: "Exists" }
  | { readonly _tag: "Failed"; readonly error: StoreError }

/**
 * An inner roll-back in flight.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScopeTask {
  readonly _tag: "Scope"
  readonly key: string
  readonly asked: Body.Asked
  readonly scope: string
  readonly cause: Cause.Cause<unknown>
  /** It lost a race: nobody waits for it, but what cannot be taken back does. */
  readonly lost?: true
  phase: "ready" | "running" | "done"
}

/**
 * A roll-back of named steps in flight: which ones, by their keys.
 *
 * @category models
 * @since 0.1.0
 */
export interface StepsTask {
  readonly _tag: "Steps"
  readonly key: string
  readonly asked: Body.Asked
  readonly ref: Journal.Ref
  readonly steps: ReadonlyArray<string>
  phase: "ready" | "running" | "done"
}

/**
 * What the journal has an intent for.
 *
 * @category models
 * @since 0.1.0
 */
export type Task = Forward.Task | ScopeTask | StepsTask

/**
 * Whether a task undoes what others did.
 *
 * @category guards
 * @since 0.1.0
 */
export const undoes = (task: Task): task is ScopeTask | StepsTask => task._tag === "Scope" || task._tag === "Steps"

/**
 * What a body says of itself, and nothing waits for: which of it the journal has, and what it does not have yet.
 *
 * @category models
 * @since 0.1.0
 */
export interface Notes {
  readonly written: Set<string>
  readonly unwritten: Array<Body.Asked>
  /** The version of each change that the body was told. */
  readonly versions: Map<string, number>
  /** Those among them that the journal does not have. */
  readonly unmarked: Map<string, number>
}

/**
 * One live execution.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run {
  readonly core: Core.Core
  readonly handler: Handler
  readonly store: SagaStore["Service"]
  readonly body: Body.Body
  readonly settler: Forward.Settler
  /** What the body asked and the journal has not matched yet; only while it replays. */
  readonly open: Map<string, Body.Asked>
  /** The keys of what the journal says that the body asked. */
  intents: ReadonlySet<string>
  readonly tasks: Map<string, Task>
  /** Compensations of steps that happened, in that order. */
  readonly held: Map<string, Held>
  /** The names of the steps that the body knows to have happened and not to be undone, by their keys. */
  readonly executed: Map<string, string>
  /** What waits for the commit, and how much of it was asked for. */
  readonly commits: Array<Body.Asked>
  committed: number
  /** What the body noted; undefined while it says nothing of itself. */
  notes: Notes | undefined
  /** What decides, asked for while something that lost a race is not undone yet. */
  postponed: Array<Body.Asked>
  /** Recorded, to be started at once. */
  startNow: Array<Task>
  /** Recorded, to be started when that is durable. */
  startDurable: Array<Task>
  mode: "replay" | "live"
  /** It rolls back anyway, so what its body does wrong on replay does not matter. */
  lenient: boolean
  /** The next free place in the journal. */
  seq: number
  status: Status
  /** The last inbox row that the journal answers. */
  received: number
  /** Who started it and hears of its end. */
  parent: string | undefined
  /** Why it is parked, as far as its parent was told. */
  told: string | undefined
  end: Journal.End | undefined
  ending: Ending | undefined
  rollback: Journal.RollbackCause | undefined
  /** A roll-back that was asked for and has not begun. */
  requested: Journal.RollbackCause | undefined
  /** How often it was parked before it was taken up. */
  parks: number
  /** What ends the body, which is to begin anew. */
  continuing: Body.Asked | undefined
  /** The root roll-back runs now. */
  rollingBack: boolean
  /** When it rolls back unless it has passed its point of no return. */
  deadline: number | undefined
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly core: Core.Core
  readonly handler: Handler
  readonly store: SagaStore["Service"]
  readonly mode: Run["mode"]
  readonly seq: number
}): Run => {
  const { core } = options
  const executed = new Map<string, string>()
  const run: Run = {
    ...blank,
    core,
    handler: options.handler,
    store: options.store,
    mode: options.mode,
    seq: options.seq,
    body: Body.make({
      ...blankBody,
      id: core.id,
      onActivity: () => Core.emit(core, () => {}),
      executed: () => [...executed.values()]
    }),
    settler: {
      ...blankSettler,
      core,
      settled: (task, exit) => settled(run, task, exit),
      park: (reason) => park(run, reason),
      died: (step, message) => defect(run, step, message)
    },
    executed,
    open: new Map(),
    intents: noKeys,
    tasks: new Map(),
    held: new Map(),
    commits: [],
    committed: 0,
    notes: undefined,
    postponed: [],
    startNow: [],
    startDurable: [],
    lenient: false,
    status: "running",
    received: 0,
    parent: undefined,
    told: undefined,
    end: undefined,
    ending: undefined,
    rollback: undefined,
    requested: undefined,
    parks: 0,
    continuing: undefined,
    rollingBack: false,
    deadline: undefined
  }
  const onDefect: Core.Core["onDefect"] = (cause) =>
    park(run, { _tag: "Defect", message: Attempt.defectMessage(cause) })
  core.onDefect = onDefect
  return run
}

/**
 * The key of a request among the tasks.
 *
 * @category accessors
 * @since 0.1.0
 */
export const keyOf = (asked: Body.Asked): string => {
  switch (asked.request._tag) {
    case "Step":
    case "Child":
      return Replay.keys.step(Core.refOf(asked))
    case "Timer":
      return Replay.keys.timer(Core.refOf(asked))
    case "Receive":
      return Replay.keys.receive(Core.refOf(asked))
    case "Race":
      return Replay.keys.race(Core.refOf(asked))
    case "RollbackScope":
      return Replay.keys.scope(asked.request.scope)
    case "RollbackSteps":
      return Replay.keys.steps(Core.refOf(asked))
    case "PointOfNoReturn":
      return Replay.keys.pivot
    case "Publish":
      return Replay.keys.published(Core.refOf(asked))
    case "Version":
      return Replay.keys.version(Core.refOf(asked))
    case "Continue":
      return Replay.keys.continued
  }
}

/**
 * How the body ended; one that continues as new has succeeded.
 *
 * @category accessors
 * @since 0.1.0
 */
export const exit = ({ body, continuing }: Run): Exit.Exit<unknown, unknown> | undefined =>
  continuing === undefined ? body.exit() : Exit.void

/**
 * Whether something that was started has no outcome yet.
 *
 * @category accessors
 * @since 0.1.0
 */
export const unsettled = (run: Run): boolean => {
  for (const task of run.tasks.values()) if (task.phase !== "done") return true
  return false
}

/**
 * Whether a roll-back that has begun and not ended undoes this.
 *
 * @category guards
 * @since 0.1.0
 */
export const isUndoing = (run: Run, { asked, key }: Held): boolean => {
  if (run.rollback !== undefined) return true
  for (const task of run.tasks.values()) {
    if (task.phase === "done") continue
    if (task._tag === "Scope" && Journal.isWithin(asked.scope, task.scope)) return true
    if (task._tag === "Steps" && task.steps.includes(key)) return true
  }
  return false
}

/**
 * What a fiber still waits for that outlived the body: nobody would ever learn how it ended.
 *
 * @category accessors
 * @since 0.1.0
 */
export const orphan = (run: Run): string | undefined => {
  for (const task of run.tasks.values()) {
    if (task.phase !== "done" && !task.asked.withdrawn && !run.commits.includes(task.asked)) return task.asked.name
  }
  return undefined
}

/**
 * How much runs in this process now.
 *
 * @category accessors
 * @since 0.1.0
 */
export const inFlight = (run: Run): number => {
  let running = run.core.attempts.size
  for (const task of run.tasks.values()) if (undoes(task) && task.phase === "running") running++
  return running
}

/**
 * The payload as every run of the body gets it, the first one too; or why it does not fit its schema.
 *
 * @category accessors
 * @since 0.1.0
 */
export const decodePayload = (run: Run, text: string): Effect.Effect<{ readonly value: unknown } | string> => {
  const json = Result.try(() => JSON.parse(text) as Schema.Json)
  if (Result.isFailure(json)) return Effect.succeed(Attempt.defectMessage(Cause.die(json.failure)))
  return Core.provide(
    Effect.matchCauseEager(run.handler.definition.payload.decode(json.success), {
      onFailure: Attempt.defectMessage,
      onSuccess: (value) => ({ value })
    }),
    run.core.context
  )
}

/**
 * Starts the body.
 *
 * @category moves
 * @since 0.1.0
 */
export const start = (run: Run, payload: unknown): void => {
  run.core.bodyContext = run.body.start(Effect.suspend(() => run.handler.body(payload)), run.core.context)
}

/**
 * The status with the next append.
 *
 * @category moves
 * @since 0.1.0
 */
export const setStatus = (run: Run, next: Status): void => {
  run.status = next
  run.core.rowChanged = true
}

/**
 * Answers a request; what the body reads as the time is the entry's.
 *
 * @category moves
 * @since 0.1.0
 */
export const answer = (
  run: Run,
  asked: Body.Asked,
  exit: Exit.Exit<unknown, unknown>,
  at: number,
  key?: string
): void => {
  const { request } = asked
  const isHook = request._tag === "Step" && (request.kind === "onRollback" || request.kind === "onCommit")
  if ((request._tag === "Step" || request._tag === "Child") && Exit.isSuccess(exit) && !isHook) {
    run.executed.set(key ?? keyOf(asked), asked.name)
  }
  run.body.setTime(at)
  run.body.deliver(asked, exit)
}

/**
 * A step that happened holds its compensation, whether or not anybody still listens.
 *
 * @category moves
 * @since 0.1.0
 */
export const hold = (
  run: Run,
  task: Forward.Task,
  exit: Exit.Exit<unknown, unknown>
): void => {
  if ((task._tag !== "Step" && task._tag !== "Child") || Exit.isFailure(exit)) return
  if (task._tag === "Step" && task.request.kind === "onCommit") run.commits.push(task.asked)
  const { compensation } = task.request
  if (compensation === undefined) return
  run.held.set(task.key, {
    ...blankHeld,
    key: task.key,
    ref: task.ref,
    asked: task.asked,
    compensation,
    value: exit.value,
    refusals: task._tag === "Step" ? task.refusals : 0,
    status: "held",
    history: [],
    heartbeat: undefined,
    attempted: 0,
    timers: undefined,
    signals: undefined,
    recovered: false,
    failure: undefined
  })
}

/**
 * Closes the seam, for good or until a person opens it: the body asks nothing any more.
 *
 * @category moves
 * @since 0.1.0
 */
export const seal = (run: Run, next: Core.Seal): void => {
  if (run.core.seal !== undefined) return
  run.core.seal = next
  run.body.close()
}

/**
 * Takes a request to roll back. A pivot in flight decides first: it may have happened, and then nothing is undone any
 * more.
 *
 * @category moves
 * @since 0.1.0
 */
export const undo = (run: Run, cause: Journal.RollbackCause): void => {
  run.requested ??= cause
  for (const task of run.tasks.values()) {
    if (task._tag === "Step" && task.request.kind === "pivot" && task.phase !== "done") {
      run.core.undoPending ??= cause
      return
    }
  }
  seal(run, { _tag: "Undo", cause })
}

/**
 * Whether a roll-back may still be asked for.
 *
 * @category guards
 * @since 0.1.0
 */
export const mayUndo = ({ core, rollback }: Run): boolean =>
  !core.pivotPassed && rollback === undefined && core.seal === undefined && core.undoPending === undefined

/**
 * Rolls the execution back when its deadline passes, unless it has passed its point of no return by then.
 *
 * @category moves
 * @since 0.1.0
 */
export const watchDeadline = (run: Run, deadline: number | undefined): void => {
  if (deadline === undefined || run.core.pivotPassed || run.rollback !== undefined) return
  run.deadline = deadline
  Core.wakeAt(run.core, deadline, () => passDeadline(run, deadline))
}

/**
 * The deadline has passed.
 *
 * @category moves
 * @since 0.1.0
 */
export const passDeadline = (run: Run, deadline: number): void => {
  if (run.ending !== undefined || run.core.draining || !mayUndo(run)) return
  Core.record(run.core, { _tag: "DeadlinePassed", at: Core.now(run.core) })
  undo(run, { _tag: "DeadlineExceeded", deadline })
}

/**
 * A bug: the saga parks, or rolls back where it says so and still can. Answers whether it rolls back.
 *
 * @category moves
 * @since 0.1.0
 */
export const defect = (run: Run, step: string | undefined, message: string): boolean => {
  const { core } = run
  const known = { ...(step === undefined ? undefined : { step }), message }
  if (run.handler.definition.onDefect === "park" || core.pivotPassed || core.seal?._tag === "Park") {
    park(run, { _tag: "Defect", ...known })
    return false
  }
  if (mayUndo(run)) {
    const cause = { _tag: "Defect", ...known } as const
    Core.record(core, { _tag: "RollbackRequested", at: Core.now(core), cause })
    undo(run, cause)
  }
  return true
}

/**
 * Decides that a person is needed. What is in flight is awaited first.
 *
 * @category moves
 * @since 0.1.0
 */
export const park = (run: Run, reason: ParkReason): void => {
  if (run.core.seal?._tag === "Park") return
  Core.record(run.core, { _tag: "ParkRequested", at: Core.now(run.core), reason })
  run.core.seal = undefined
  seal(run, { _tag: "Park", reason })
}

/**
 * Records an end. It is one once it is durable.
 *
 * @category moves
 * @since 0.1.0
 */
export const finish = (run: Run, entry: Journal.End, next: Status): void => {
  // A parked one may still receive it.
  if (next !== "parked") undelivered(run, entry.at)
  Core.record(run.core, entry)
  run.end = entry
  setStatus(run, next)
  run.ending = { _tag: "Ended", entry }
}

/**
 * The status of an execution whose last entry is this end.
 *
 * @category accessors
 * @since 0.1.0
 */
export const statusOf = (end: Journal.End): Status => {
  switch (end._tag) {
    case "SagaCompleted":
      return "completed"
    case "SagaRolledBack":
      return "rolledback"
    case "SagaParked":
      return "parked"
    case "SagaAbandoned":
      return "abandoned"
  }
}

/**
 * Closes a parked execution as it is.
 *
 * @category moves
 * @since 0.1.0
 */
export const finishAbandoned = (
  run: Run,
  { cause, reason, unresolved }: Pick<Journal.EntryOf<"SagaParked">, "cause" | "reason" | "unresolved">,
  by: { readonly actor?: string; readonly reason?: string }
): void =>
  finish(run, {
    _tag: "SagaAbandoned",
    at: Core.now(run.core),
    reason,
    ...(cause === undefined ? undefined : { cause }),
    unresolved,
    actor: by.actor ?? "",
    because: by.reason ?? ""
  }, "abandoned")

/**
 * Parks now, with everything that is unresolved.
 *
 * @category moves
 * @since 0.1.0
 */
export const finishPark = (run: Run, reason: ParkReason, unresolved = leftUndone(run)): void => {
  const cause = run.rollback ?? run.requested
  finish(run, {
    _tag: "SagaParked",
    at: Core.now(run.core),
    reason,
    ...(cause === undefined ? undefined : { cause }),
    unresolved
  }, "parked")
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const blank: Blank<Run> = {
  core: undefined,
  handler: undefined,
  store: undefined,
  mode: undefined,
  seq: undefined,
  body: undefined,
  settler: undefined,
  executed: undefined,
  open: undefined,
  intents: undefined,
  tasks: undefined,
  held: undefined,
  commits: undefined,
  committed: undefined,
  notes: undefined,
  postponed: undefined,
  startNow: undefined,
  startDurable: undefined,
  lenient: undefined,
  status: undefined,
  received: undefined,
  parent: undefined,
  told: undefined,
  end: undefined,
  ending: undefined,
  rollback: undefined,
  requested: undefined,
  parks: undefined,
  continuing: undefined,
  rollingBack: undefined,
  deadline: undefined
}
const noKeys: ReadonlySet<string> = new Set()
const blankHeld: Blank<Held> = {
  key: undefined,
  ref: undefined,
  asked: undefined,
  compensation: undefined,
  value: undefined,
  refusals: undefined,
  status: undefined,
  history: undefined,
  heartbeat: undefined,
  attempted: undefined,
  timers: undefined,
  signals: undefined,
  recovered: undefined,
  failure: undefined
}
const blankBody: Blank<Body.Options> = { id: undefined, onActivity: undefined, executed: undefined }
const blankSettler: Blank<Forward.Settler> = { core: undefined, settled: undefined, park: undefined, died: undefined }

/** What nobody has received, and nobody will. */
const undelivered = ({ core }: Run, at: number): void => {
  for (const { mail, payload, signal } of core.mailbox) {
    Core.record(core, { _tag: "MailUndelivered", at, mail, message: { _tag: "Signal", signal, payload } })
  }
  core.mailbox.length = 0
}

/** What a roll-back that has begun did not undo: of the saga, or of a part of it. */
const leftUndone = (run: Run): ReadonlyArray<Journal.Unresolved> =>
  Rollback.unresolved([...run.held.values()].filter((one) => isUndoing(run, one)))

/** An outcome is recorded: hold its compensation, and answer the body unless the seam is closed. */
const settled = (run: Run, task: Forward.Task, exit: Exit.Exit<unknown, unknown>): void => {
  hold(run, task, exit)
  const { undoPending } = run.core
  if (undoPending !== undefined && task._tag === "Step" && task.request.kind === "pivot") {
    run.core.undoPending = undefined
    if (Exit.isSuccess(exit)) run.requested = undefined
    else seal(run, { _tag: "Undo", cause: undoPending })
  }
  if (run.core.seal === undefined) answer(run, task.asked, exit, run.core.at, task.key)
  else task.asked.answered = true
}
