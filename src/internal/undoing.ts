/**
 * When and what an execution rolls back: the whole saga, or one scope of it.
 *
 * It chooses the range and says what follows; running the compensations is `rollback`'s.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { RaceRequest } from "../Execution.ts"
import * as Journal from "../Journal.ts"
import { Cancelled, DeadlineExceeded, RolledBackByDefect, RolledBackByOperator, SagaError } from "../SagaError.ts"
import type { Asked } from "./body.ts"
import type { Held } from "./compensate.ts"
import * as Core from "./core.ts"
import * as Replay from "./replay.ts"
import * as Rollback from "./rollback.ts"
import * as Run from "./run.ts"

/**
 * Records that the saga rolls back, and begins. Nothing may be in flight.
 *
 * @category running
 * @since 0.1.0
 */
export const begin = (run: Run.Run, why: Journal.RollbackCause, cause: Cause.Cause<unknown>): void => {
  Core.record(run.core, { _tag: "RollbackStarted", at: Core.now(run.core), scope: "", cause: why })
  Run.setStatus(run, "compensating")
  goOn(run, why, cause)
}

/**
 * Undoes what is left of everything that is held.
 *
 * @category running
 * @since 0.1.0
 */
export const goOn = (run: Run.Run, why: Journal.RollbackCause, cause: Cause.Cause<unknown>): void => {
  const { core } = run
  run.rollback = why
  core.seal = { _tag: "Rollback" }
  run.body.close()
  run.rollingBack = true
  undo(run, [...run.held.values()], cause, () => {
    run.rollingBack = false
    if (Rollback.unresolved(run.held.values()).length > 0) {
      return Run.finishPark(run, { _tag: "CompensationFailed" })
    }
    Run.finish(run, { _tag: "SagaRolledBack", at: Core.now(core), cause: why }, "rolledback")
  })
}

/**
 * Undoes what one `Saga.scoped` did, then answers the code that asked for it.
 *
 * @category running
 * @since 0.1.0
 */
export const scope = (run: Run.Run, task: Run.ScopeTask): void => {
  const { core } = run
  task.phase = "running"
  const range = [...run.held.values()].filter((_) => inScope(_.asked, task.scope))
  undo(run, range, task.cause, () => {
    if (!range.every(Rollback.isSettled)) {
      task.phase = "ready"
      return Run.park(run, { _tag: "CompensationFailed" })
    }
    Core.record(core, { _tag: "ScopeRolledBack", at: Core.now(core), scope: task.scope })
    scopeDone(run, task)
    if (core.seal === undefined) Run.answer(run, task.asked, Exit.void, core.at)
  })
}

/**
 * A race is won: what the others have in flight settles, then what they did is undone. `losers` are those that have
 * something to undo, as the journal says, or as it is now.
 *
 * @category running
 * @since 0.1.0
 */
export const lose = (
  run: Run.Run,
  asked: Asked,
  request: RaceRequest,
  losers: ReadonlyArray<string> = request.losers.filter((scope) => hasActed(run, scope))
): ReadonlyArray<string> => {
  for (const scope of request.losers) {
    const task: Run.ScopeTask = {
      _tag: "Scope",
      key: Replay.keys.scope(scope),
      // Nobody hears the answer.
      asked: { ...asked, name: scope, withdrawn: true, answered: true, answer: () => {} },
      scope,
      cause: Cause.empty,
      lost: true,
      phase: losers.includes(scope) ? "ready" : "done"
    }
    run.tasks.set(task.key, task)
    if (task.phase === "ready" && run.mode === "live") run.startNow.push(task)
  }
  return losers
}

/**
 * Whether something that lost a race is not undone yet.
 *
 * @category guards
 * @since 0.1.0
 */
export const losing = (run: Run.Run): boolean => {
  for (const task of run.tasks.values()) {
    if (task._tag === "Scope" && task.lost === true && task.phase !== "done") return true
  }
  return false
}

/**
 * Undoes the steps that were named, then answers the code that named them.
 *
 * @category running
 * @since 0.1.0
 */
export const steps = (run: Run.Run, task: Run.StepsTask): void => {
  const { core } = run
  task.phase = "running"
  const range = [...run.held.values()].filter((_) => task.steps.includes(_.key))
  undo(run, range, Cause.empty, () => {
    if (!range.every(Rollback.isSettled)) {
      task.phase = "ready"
      return Run.park(run, { _tag: "CompensationFailed" })
    }
    Core.record(core, { _tag: "StepsRolledBack", at: Core.now(core), ...task.ref })
    stepsDone(run, task)
    if (core.seal === undefined) Run.answer(run, task.asked, undoneBy(run, task), core.at)
  })
}

/**
 * What a body may undo by name now: what is held under these names, and not being undone already.
 *
 * @category accessors
 * @since 0.1.0
 */
export const namedSteps = (run: Run.Run, names: ReadonlyArray<string>): ReadonlyArray<Held> =>
  [...run.held.values()].filter((_) =>
    _.status === "held" && (names.includes(_.ref.name) || names.includes(Journal.refName(_.ref))) && !isTaken(run, _)
  )

/**
 * What the code that named them learns: the names of the steps that were undone, the last one first.
 *
 * @category accessors
 * @since 0.1.0
 */
export const undoneBy = (run: Run.Run, task: Run.StepsTask): Exit.Exit<ReadonlyArray<string>> =>
  Exit.succeed(
    task.steps.flatMap((key) => {
      const step = run.tasks.get(key)
      return step === undefined ? [] : [step.asked.name]
    }).reverse()
  )

/**
 * Whether nothing that a scope asked for is in flight, and nothing of it is being undone. A fiber that was forked in it
 * may go on after it has failed.
 *
 * @category guards
 * @since 0.1.0
 */
export const settledIn = (run: Run.Run, scope: string): boolean => {
  for (const task of run.tasks.values()) {
    if (task.phase === "done" || (task._tag === "Scope" && task.scope === scope)) continue
    if (Journal.isWithin(task._tag === "Scope" ? task.scope : task.asked.scope, scope)) return false
    // What is undone by its name is not undone a second time beside that.
    if (task._tag === "Steps") {
      if (task.steps.some((key) => inScope(run.held.get(key)!.asked, scope))) return false
    }
  }
  return true
}

/**
 * Whether a scope has something to undo.
 *
 * @category guards
 * @since 0.1.0
 */
export const holds = (run: Run.Run, scope: string): boolean =>
  [...run.held.values()].some((_) => !Rollback.isSettled(_) && inScope(_.asked, scope))

/**
 * Whether a request comes from a scope that is undone, or about to be.
 *
 * @category guards
 * @since 0.1.0
 */
export const undone = (run: Run.Run, asked: Asked): boolean => {
  for (let end = asked.scope.length; end > 0; end = asked.scope.lastIndexOf("/", end - 1)) {
    if (run.tasks.has(Replay.keys.scope(asked.scope.slice(0, end)))) return true
  }
  return false
}

/**
 * What a scope undid is not held any more, and what it wanted to do after the commit is forgotten.
 *
 * @category running
 * @since 0.1.0
 */
export const scopeDone = (run: Run.Run, task: Run.ScopeTask): void => {
  task.phase = "done"
  for (const [key, one] of run.held) {
    if (Rollback.isSettled(one) && inScope(one.asked, task.scope)) forget(run, key)
  }
  const kept = run.commits.filter((asked) => !inScope(asked, task.scope))
  run.commits.splice(0, run.commits.length, ...kept)
}

/**
 * What was undone by its name is not held any more.
 *
 * @category running
 * @since 0.1.0
 */
export const stepsDone = (run: Run.Run, task: Run.StepsTask): void => {
  task.phase = "done"
  for (const key of task.steps) forget(run, key)
}

/**
 * What compensations are told of a roll-back that the body did not ask for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const causeOf = (
  run: Run.Run,
  why: Exclude<Journal.RollbackCause, { readonly _tag: "Failed" }>
): Cause.Cause<unknown> => {
  const execution = run.core.id
  switch (why._tag) {
    case "Cancelled":
      return Cause.fail(new SagaError({ reason: new Cancelled({ execution, reason: why.reason }) }))
    case "DeadlineExceeded":
      return Cause.fail(new SagaError({ reason: new DeadlineExceeded({ execution, deadline: why.deadline }) }))
    case "Operator":
      return Cause.fail(
        new SagaError({ reason: new RolledBackByOperator({ execution, actor: why.actor, reason: why.reason }) })
      )
    case "Defect":
      return Cause.fail(
        new SagaError({ reason: new RolledBackByDefect({ execution, step: why.step, defect: why.message }) })
      )
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const forget = (run: Run.Run, key: string): void => {
  run.held.delete(key)
  run.executed.delete(key)
}

/** Another roll-back undoes it, though it may not have come to it yet. */
const isTaken = (run: Run.Run, one: Held): boolean => {
  for (const task of run.tasks.values()) {
    if (!Run.undoes(task) || task.phase === "done") continue
    if (task._tag === "Steps" ? task.steps.includes(one.key) : inScope(one.asked, task.scope)) return true
  }
  return false
}

/** Timers and receives leave nothing behind. */
const hasActed = (run: Run.Run, scope: string): boolean => {
  for (const one of run.held.values()) if (inScope(one.asked, scope)) return true
  for (const task of run.tasks.values()) {
    if (task.phase === "done" || task._tag === "Timer" || task._tag === "Receive") continue
    if (Journal.isWithin(task._tag === "Scope" ? task.scope : task.asked.scope, scope)) return true
  }
  return run.commits.some((asked) => inScope(asked, scope))
}

const inScope = (asked: Asked, scope: string): boolean => Journal.isWithin(asked.scope, scope)

const undo = (
  run: Run.Run,
  range: ReadonlyArray<Held>,
  cause: Cause.Cause<unknown>,
  then: () => void
): void => {
  // Also nothing at all: what follows is an event of its own, after which the body runs.
  if (range.every(Rollback.isSettled)) return Core.emit(run.core, then)
  Core.fork(run.core, run.core.waits, Rollback.run(run.core, range, cause), run.core.context, then)
}
