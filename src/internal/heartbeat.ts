/**
 * Heartbeats of an attempt: what it says of itself while it runs, and what it is told then.
 *
 * That it is alive is known at once, in this process. What it says is recorded now and then: the newest with what goes
 * out anyway, and at the latest when its pause is over. An attempt that never beats costs nothing here. This module
 * decides no outcome.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as Execution from "../Execution.ts"
import * as Attempt from "./attempt.ts"
import type { Blank } from "./blank.ts"
import type { Held } from "./compensate.ts"
import * as Core from "./core.ts"
import type { StepTask } from "./forward.ts"

/**
 * The heartbeats of one attempt.
 *
 * @category models
 * @since 0.1.0
 */
export interface Heart extends Execution.Heart {
  /** Forgotten when the attempt ends, see `blank.ts`. */
  core: Core.Core | undefined
  /** A step, or its compensation. */
  of: StepTask | Held | undefined
  /** When the attempt began. */
  readonly began: number
  /** Undefined where it has never beaten, and need not. */
  beats: Beats | undefined
}

interface Beats {
  /** The monotonic time of the last one, in milliseconds; the clock's. */
  at: number
  saidAt: number
  details: Schema.Json | undefined
  /** There was one that is not recorded. */
  pending: boolean
  /** When the next one may be recorded by itself. */
  due: number
  cancelTimer: (() => void) | undefined
  /** It was told that nobody wants the step any more. */
  told: boolean
  silent: boolean
  over: boolean
}

/**
 * The heartbeats of an attempt that begins.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (core: Core.Core, of: StepTask | Held): Heart => ({
  ...blank,
  beat,
  before: of.heartbeat?.details,
  core,
  of,
  began: core.clock.currentTimeMillisUnsafe(),
  beats: undefined
})

/**
 * What a check has instead: it is told, and reads what the attempt said last; what it says itself is not kept.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mute = (core: Core.Core, of: StepTask | Held): Heart => {
  const heart = make(core, of)
  heart.beats = { ...first(core, heart), over: true }
  return heart
}

/**
 * Ends once the attempt has not beaten for this long; undefined where it need not beat.
 *
 * @category running
 * @since 0.1.0
 */
export const silence = (
  core: Core.Core,
  heart: Heart,
  timeout: Duration.Duration | undefined
): Effect.Effect<void> | undefined => {
  if (timeout === undefined) return undefined
  const beats = heart.beats = first(core, heart)
  return Effect.map(Attempt.silence(core.clock, beats, timeout), () => {
    beats.silent = true
  })
}

/**
 * The attempt has ended; whether what it said last is recorded before how it ended. What it says from now on does not
 * count, also where it goes on: whoever says it is interrupted.
 *
 * @category running
 * @since 0.1.0
 */
export const end = (heart: Heart, keep: boolean): void => {
  const { beats } = heart
  if (beats !== undefined) {
    if (keep) write(heart)
    beats.over = true
    beats.cancelTimer?.()
    heart.core?.beating?.delete(heart)
  }
  heart.core = undefined
  heart.of = undefined
}

/**
 * Records what every attempt said last, with whatever goes out now.
 *
 * @category running
 * @since 0.1.0
 */
export const flush = (core: Core.Core): void => core.beating?.forEach(write)

/**
 * Whether the attempt was told that nobody wants the step any more.
 *
 * @category guards
 * @since 0.1.0
 */
export const wasTold = ({ beats }: Heart): boolean => beats?.told === true

/**
 * Why an attempt timed out, where it was for its silence.
 *
 * @category accessors
 * @since 0.1.0
 */
export const silent = ({ beats }: Heart): string | undefined => beats?.silent === true ? "it did not beat" : undefined

/**
 * Whether nobody wants a step in flight any more: it is not tried again, and undone if it happens.
 *
 * @category guards
 * @since 0.1.0
 */
export const isUnwanted = ({ seal, undoPending }: Core.Core, { asked, request }: StepTask): boolean =>
  asked.withdrawn || seal?._tag === "Undo" || (undoPending !== undefined && request.kind === "pivot")

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const blank: Blank<Heart> = {
  beat: undefined,
  before: undefined,
  core: undefined,
  of: undefined,
  began: undefined,
  beats: undefined
}

/** While its process shuts down an attempt may be cut off any time: then this often, in milliseconds. */
const pauseWhileDraining = 1_000

const first = (core: Core.Core, { began }: Heart): Beats => ({
  at: Attempt.monotonic(core.clock),
  saidAt: began,
  details: undefined,
  pending: false,
  due: began + core.limits.heartbeatPause,
  cancelTimer: undefined,
  told: false,
  silent: false,
  over: false
})

const isStep = (of: StepTask | Held): of is StepTask => "request" in of

function beat(this: Heart, details: Schema.Json | undefined): Effect.Effect<Execution.Heartbeat> {
  return Effect.suspend(() => {
    const { core, of } = this
    if (core === undefined || of === undefined) return Effect.interrupt
    const beats = this.beats ??= first(core, this)
    if (!beats.over) {
      // Without a lease it does not go on: the next owner does.
      if (core.left || !core.mayAct()) {
        core.leave()
        return Effect.interrupt
      }
      const checked = details === undefined ? undefined : Core.check(core, details)
      if (checked !== undefined && Result.isFailure(checked)) {
        return Effect.die(new Error(`the details of a heartbeat of ${of.ref.name}: ${checked.failure.message}`))
      }
      // As they are now: it is recorded later, and the step goes on with them.
      take(core, this, beats, checked?.success)
    }
    const cancelRequested = isStep(of) && isUnwanted(core, of)
    if (cancelRequested) beats.told = true
    return Effect.succeed({ cancelRequested })
  })
}

const take = (core: Core.Core, heart: Heart, beats: Beats, details: Schema.Json | undefined): void => {
  beats.at = Attempt.monotonic(core.clock)
  beats.saidAt = core.clock.currentTimeMillisUnsafe()
  if (details !== undefined) beats.details = details
  if (beats.pending) return
  beats.pending = true
  core.beating ??= new Set()
  core.beating.add(heart)
  Core.emit(core, () => arm(core, heart, beats))
}

/** Records it now, or once its pause is over: by then there may be a newer one. */
const arm = (core: Core.Core, heart: Heart, beats: Beats): void => {
  const now = core.clock.currentTimeMillisUnsafe()
  if (!beats.pending || beats.over) return
  if (core.draining) beats.due = Math.min(beats.due, now + pauseWhileDraining)
  if (beats.due <= now) return write(heart)
  beats.cancelTimer = Core.wakeAt(core, beats.due, () => write(heart))
}

const write = (heart: Heart): void => {
  const { beats, core, of } = heart
  if (core === undefined || of === undefined || beats === undefined || !beats.pending || beats.over) return
  const at = Core.now(core)
  const attempt = of.history.length + 1
  Core.record(core, {
    _tag: isStep(of) ? "StepHeartbeat" : "CompensationHeartbeat",
    at,
    ...of.ref,
    attempt,
    ...(beats.details === undefined ? undefined : { details: beats.details }),
    ...(beats.saidAt === at ? undefined : { beatAt: beats.saidAt })
  })
  of.heartbeat = { at: beats.saidAt, attempt, details: beats.details ?? of.heartbeat?.details }
  beats.pending = false
  beats.cancelTimer?.()
  beats.cancelTimer = undefined
  core.beating?.delete(heart)
  const { heartbeatPause, maxHeartbeatPause } = core.limits
  beats.due = at + Math.max(heartbeatPause, Math.min((at - heart.began) / share, maxHeartbeatPause))
}

/** The part of an attempt that a crash may lose, where that is more than the pause. */
const share = 20
