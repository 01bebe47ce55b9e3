/**
 * When an execution leaves memory: everything in it waits for nothing but time or messages, and for long. Pure.
 *
 * @since 0.1.0
 */
import * as Core from "./core.ts"
import * as Run from "./run.ts"

/**
 * Until when an execution may leave memory, infinite where it waits for a message alone; undefined while it must stay.
 *
 * @category accessors
 * @since 0.1.0
 */
export const until = (run: Run.Run): number | undefined => {
  const { core } = run
  if (core.draining || core.left || run.ending !== undefined || run.mode === "replay") return undefined
  if (core.seal?._tag === "Park" || core.onDurable.length > 0) return undefined
  if (run.startNow.length > 0 || run.startDurable.length > 0) return undefined
  let tasks = 0
  for (const task of run.tasks.values()) {
    if (Run.undoes(task)) {
      // One that has not begun waits for steps, or for another roll-back.
      if (task.phase === "ready") return undefined
    } else if (task.phase !== "done") {
      tasks++
    }
  }
  const time = Core.idleUntil(core, tasks)
  if (time === undefined) return undefined
  const now = core.clock.currentTimeMillisUnsafe()
  for (const { stays } of core.sleepers ?? []) if (stays === true) return undefined
  const wakeAt = core.pivotPassed || run.rollback !== undefined ? time : Math.min(time, run.deadline ?? time)
  return wakeAt - now > core.limits.suspendAfter ? wakeAt : undefined
}
