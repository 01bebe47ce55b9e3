/**
 * What the body asks becomes an intent in the journal.
 *
 * Runs the body to quiescence, takes its requests in order, and records each; starting them is the executor's. While
 * the execution replays, requests only wait for the journal to name them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { ChildRequest, RaceRequest, Request } from "../Execution.ts"
import type * as Journal from "../Journal.ts"
import * as Attempt from "./attempt.ts"
import type * as Body from "./body.ts"
import * as Children from "./children.ts"
import * as Core from "./core.ts"
import * as Eager from "./eager.ts"
import * as Forward from "./forward.ts"
import * as Notes from "./notes.ts"
import * as Receiving from "./receiving.ts"
import * as Run from "./run.ts"
import type { TimerTask } from "./timing.ts"
import * as Undoing from "./undoing.ts"

/**
 * Runs the body until it waits, and takes what it asked.
 *
 * @category running
 * @since 0.1.0
 */
export const quiesce = (run: Run.Run): Eager.Eager => {
  const withdrawn: Array<Body.Asked> = []
  return Eager.repeat(() => turn(run, withdrawn))
}

/**
 * A new request: its intent is recorded, and it waits to be started.
 *
 * @category running
 * @since 0.1.0
 */
export const accept = (run: Run.Run, asked: Body.Asked): void => {
  const { core } = run
  const { request } = asked
  if (core.seal !== undefined || (core.draining && !goesWithAPivot(request))) return
  if (Undoing.undone(run, asked)) {
    const message = `${asked.name} was asked in a Saga.scoped that has failed, or in a part that has lost a race: ` +
      "join inside it what you fork inside it"
    Run.defect(run, undefined, message)
    return
  }
  // What cannot be undone comes after what is to be undone.
  const decides = request._tag === "PointOfNoReturn" || (request._tag === "Step" && request.kind === "pivot")
  if (decides && Undoing.losing(run)) return void run.postponed.push(asked)
  switch (request._tag) {
    case "Step":
      return acceptStep(run, asked)
    case "Child":
      return acceptChild(run, asked, request)
    case "Timer": {
      const at = Core.now(core)
      const wakeAt = "time" in request.until ? request.until.time : at + request.until.millis
      const task = timerTask(Run.keyOf(asked), asked, wakeAt)
      run.tasks.set(task.key, task)
      Core.record(core, { _tag: "TimerSet", at, ...task.ref, wakeAt: task.wakeAt })
      run.startNow.push(task)
      return
    }
    case "Receive": {
      const at = Core.now(core)
      const task = Receiving.task(Run.keyOf(asked), asked, request, at)
      run.tasks.set(task.key, task)
      Core.record(core, { _tag: "SignalAwaited", at, ...task.ref, signals: [...request.kinds.keys()] })
      run.startNow.push(task)
      return
    }
    case "PointOfNoReturn":
      passPivot(run)
      return Run.answer(run, asked, Exit.void, core.at)
    case "RollbackScope": {
      const { cause, scope } = request
      if (core.pivotPassed && Undoing.holds(run, scope)) {
        Run.defect(
          run,
          undefined,
          "after the point of no return nothing can be compensated: join before it what you fork"
        )
        return
      }
      const task: Run.ScopeTask = { _tag: "Scope", key: Run.keyOf(asked), asked, scope, cause, phase: "ready" }
      run.tasks.set(task.key, task)
      Core.record(core, {
        _tag: "RollbackStarted",
        at: Core.now(core),
        scope,
        cause: { _tag: "Failed", error: Attempt.defectMessage(cause) }
      })
      run.startNow.push(task)
      return
    }
    case "RollbackSteps":
      return acceptSteps(run, asked, request.names)
    case "Publish":
      return Notes.publish(run, asked)
    case "Version":
      return Notes.version(run, asked)
    case "Race":
      return acceptRace(run, asked, request)
    case "Continue":
      return
  }
}

/**
 * A timer that was asked for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const timerTask = (key: string, asked: Body.Asked, wakeAt: number): TimerTask => ({
  _tag: "Timer",
  key,
  asked,
  ref: Core.refOf(asked),
  wakeAt,
  phase: "ready",
  cancelWait: undefined
})

/**
 * A roll-back of these steps that was asked for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stepsTask = (key: string, asked: Body.Asked, steps: ReadonlyArray<string>): Run.StepsTask => ({
  _tag: "Steps",
  key,
  asked,
  ref: Core.refOf(asked),
  steps,
  phase: "ready"
})

/**
 * From here nothing is undone.
 *
 * @category running
 * @since 0.1.0
 */
export const passPivot = (run: Run.Run): void => {
  Core.record(run.core, { _tag: "PivotPassed", at: Core.now(run.core) })
  run.core.pivotPassed = true
  Run.setStatus(run, "settling")
}

/**
 * Whether every effect that waits for the commit has run.
 *
 * @category running
 * @since 0.1.0
 */
export const allCommitted = (run: Run.Run): boolean =>
  run.committed === run.commits.length && (run.commits.at(-1)?.answered ?? true)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Runs the body as far as it goes, and takes what it asked; whether there may be more. */
const turn = (run: Run.Run, withdrawn: Array<Body.Asked>): Eager.Again => {
  const { body, core } = run
  // A body that never waits must not keep its process from going.
  if (!body.drive()) return core.left ? false : Eager.again(Effect.yieldNow)
  const violation = body.violation()
  // One that rolls back anyway is replayed as far as it goes.
  if (violation !== undefined && core.seal === undefined && (run.mode === "live" || !run.lenient)) {
    if (run.mode === "live") Run.defect(run, undefined, violation)
    else Run.park(run, { _tag: "Defect", message: violation })
    return false
  }
  let asked = body.takeAsked()
  withdrawn.push(...body.takeWithdrawn())
  if (run.postponed.length > 0 && !Undoing.losing(run)) {
    asked = [...asked, ...run.postponed.splice(0).filter((one) => !one.answered)]
  }
  const commit = nextCommit(run)
  if (commit !== undefined) asked = [...asked, commit]
  if (asked.length === 0 && withdrawn.length === 0) {
    return run.mode === "live" && run.ending === undefined && Receiving.deliver(core)
  }
  for (const one of asked) {
    if (one.request._tag === "Continue") run.continuing ??= one
    else if (run.mode === "live") accept(run, one)
    else if (!Notes.again(run, one)) run.open.set(Run.keyOf(one), one)
  }
  // One at a time: the answer to the first may run code before the second is answered, as on replay.
  const one = withdrawn.shift()
  return Eager.again(one === undefined ? undefined : withdraw(run, one))
}

/** Nobody asks for this any more: it is settled, unless the journal says how. */
const withdraw = (run: Run.Run, asked: Body.Asked): Eager.Eager => {
  if (run.continuing === asked) {
    run.continuing = undefined
    return run.body.deliver(asked, Forward.withdrawn)
  }
  const key = Run.keyOf(asked)
  const task = run.tasks.get(key)
  if (task === undefined) {
    // It was never recorded, since the process was shutting down, and it will not be: it never existed.
    if (run.mode === "replay" && run.intents.has(key)) return
    run.open.delete(key)
    return run.body.deliver(asked, Forward.withdrawn)
  }
  return run.mode === "live" && !Run.undoes(task) ? Forward.withdraw(run.settler, task) : undefined
}

/** The point of no return goes with the pivot that happened, also when the process shuts down; what is said between. */
const goesWithAPivot = ({ _tag }: Request): boolean =>
  _tag === "PointOfNoReturn" || _tag === "Publish" || _tag === "Version"

/** Which steps it undoes is journaled: what happens meanwhile does not change it. */
const acceptSteps = (run: Run.Run, asked: Body.Asked, names: ReadonlyArray<string>): void => {
  const { core } = run
  if (core.pivotPassed) {
    Run.defect(run, undefined, "after the point of no return nothing can be compensated: Saga.rollback belongs before")
    return
  }
  const held = Undoing.namedSteps(run, names)
  const task = stepsTask(Run.keyOf(asked), asked, held.map((_) => _.key))
  run.tasks.set(task.key, task)
  Core.record(core, {
    _tag: "StepsRollbackStarted",
    at: Core.now(core),
    ...task.ref,
    steps: held.map((_) => _.ref)
  })
  run.startNow.push(task)
}

const acceptRace = (run: Run.Run, asked: Body.Asked, request: RaceRequest): void => {
  const { core } = run
  if (core.pivotPassed && request.losers.some((scope) => Undoing.holds(run, scope))) {
    return void Run.defect(
      run,
      undefined,
      "after the point of no return nothing can be compensated: let races end before it"
    )
  }
  const { winner } = request
  const losers = Undoing.lose(run, asked, request)
  Core.record(core, { _tag: "RaceWon", at: Core.now(core), ...Core.refOf(asked), winner, losers })
  Run.answer(run, asked, Exit.void, core.at)
}

const acceptStep = (run: Run.Run, asked: Body.Asked): void => {
  const { core } = run
  const { request } = asked
  if (request._tag !== "Step") return
  const wrong = phaseError(run, request.kind)
  if (wrong !== undefined) return void Run.defect(run, asked.name, wrong)
  const task = Forward.stepTask(Run.keyOf(asked), asked, request, undefined)
  run.tasks.set(task.key, task)
  Core.record(core, {
    _tag: "StepStarted",
    at: Core.now(core),
    ...task.ref,
    kind: request.kind,
    ...(asked.scope === "" ? undefined : { scope: asked.scope })
  })
  if (Forward.acts(request)) run.startDurable.push(task)
  else run.startNow.push(task)
}

const acceptChild = (run: Run.Run, asked: Body.Asked, request: ChildRequest): void => {
  const { core } = run
  if (core.pivotPassed && (request.compensation !== undefined || request.fallible)) {
    const message = "after the point of no return no child may be started that can fail, or that would be undone"
    return void Run.defect(run, asked.name, message)
  }
  const at = Core.now(core)
  const task = Children.task(core, Run.keyOf(asked), asked, request, at, undefined)
  run.tasks.set(task.key, task)
  Core.record(core, {
    _tag: "ChildStarted",
    at,
    ...task.ref,
    child: task.id,
    ...(request.compensation === undefined ? undefined : { undo: true }),
    ...(asked.scope === "" ? undefined : { scope: asked.scope })
  })
  run.startDurable.push(task)
}

/** The types say so too; this is for what they could not see. */
const phaseError = (run: Run.Run, kind: Journal.Kind): string | undefined => {
  if (run.core.pivotPassed) {
    return kind === "compensable" || kind === "pivot" || kind === "onRollback"
      ? "after the point of no return nothing can be compensated and nothing decides: use Step.retryable"
      : undefined
  }
  return kind === "retryable"
    ? "a retryable step is never undone: it belongs after the point of no return, in .settle(...)"
    : undefined
}

/** The next effect that waits for the commit; they run one after the other once the body has succeeded. */
const nextCommit = (run: Run.Run): Body.Asked | undefined => {
  const hook = run.commits[run.committed]
  const exit = Run.exit(run)
  if (hook === undefined || !run.core.pivotPassed || exit === undefined || Exit.isFailure(exit)) return undefined
  const { request } = hook
  if (request._tag !== "Step" || request.commit === undefined) return undefined
  const last = run.commits[run.committed - 1]
  if (last !== undefined && !last.answered) return undefined
  const asked: Body.Asked = {
    ...hook,
    request: request.commit,
    path: hook.path === "" ? "commit" : `commit.${hook.path}`,
    withdrawn: false,
    answered: false,
    answer: () => {}
  }
  run.commits[run.committed++] = asked
  return asked
}
