/**
 * Timers of a body in flight: they fire at their time, or are withdrawn.
 *
 * When one fires was decided when it was recorded. This module knows neither the body nor the store.
 *
 * @since 0.1.0
 */
import * as Exit from "effect/Exit"
import type * as Journal from "../Journal.ts"
import type { Asked } from "./body.ts"
import * as Core from "./core.ts"
import type { Settler } from "./forward.ts"

/**
 * A timer in flight.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimerTask {
  readonly _tag: "Timer"
  readonly key: string
  readonly asked: Asked
  readonly ref: Journal.Ref
  readonly wakeAt: number
  phase: "ready" | "waiting" | "done"
  cancelWait: (() => void) | undefined
}

/**
 * Begins to wait, or goes on waiting.
 *
 * @category running
 * @since 0.1.0
 */
export const start = (to: Settler, task: TimerTask): void => {
  task.phase = "waiting"
  task.cancelWait = Core.wakeAt(to.core, task.wakeAt, () => {
    if (task.phase !== "waiting" || to.core.draining) return
    Core.record(to.core, { _tag: "TimerFired", at: Core.now(to.core), ...task.ref })
    settle(to, task, Exit.void)
  }, "task")
}

/**
 * Nobody waits for it any more.
 *
 * @category running
 * @since 0.1.0
 */
export const withdraw = (to: Settler, task: TimerTask): void => {
  task.cancelWait?.()
  Core.record(to.core, { _tag: "TimerWithdrawn", at: Core.now(to.core), ...task.ref })
  settle(to, task, Exit.interrupt())
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const settle = (to: Settler, task: TimerTask, exit: Exit.Exit<unknown, unknown>): void => {
  task.phase = "done"
  task.cancelWait = undefined
  to.settled(task, exit)
}
