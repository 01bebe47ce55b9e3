/**
 * What one attempt of a compensation waits with: time, and messages.
 *
 * Each wait is journaled by its place in the attempt, so that another process waits no longer, and another attempt is
 * given what was received again. An attempt that waits for nothing costs one object here. It decides no outcome.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { Inbox, type Received, type ReceiveRequest, Waiting } from "../Execution.ts"
import type { Blank, Put } from "./blank.ts"
import type { Held } from "./compensate.ts"
import * as Core from "./core.ts"
import * as Receiving from "./receiving.ts"

/**
 * The waits of one attempt.
 *
 * @category models
 * @since 0.1.0
 */
export interface Waits {
  readonly sleep: Waiting["Service"]["sleep"]
  readonly receive: Inbox["Service"]["receive"]
  /** Forgotten when the attempt ends, see `blank.ts`. */
  core: Core.Core | undefined
  held: Held | undefined
  /** The fiber whose waiting is the attempt's; undefined where that keeps the execution in memory all the same. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** What waits for a signal, and hears of the end. */
  onEnd: Array<() => void> | undefined
  /** How many waits there were under each name. */
  slept: Map<string, number> | undefined
  received: Map<string, number> | undefined
}

/**
 * The waits of an attempt that begins.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (core: Core.Core, held: Held): Waits => ({
  ...blank,
  sleep,
  receive,
  core,
  held,
  fiber: undefined,
  onEnd: undefined,
  slept: undefined,
  received: undefined
})

/**
 * The attempt has ended. What waits from now on does not count, also where it goes on: it is interrupted.
 *
 * @category running
 * @since 0.1.0
 */
export const end = (waits: Waits): void => {
  waits.core = undefined
  waits.held = undefined
  waits.fiber = undefined
  const ends = waits.onEnd
  waits.onEnd = undefined
  for (const ended of ends ?? []) ended()
}

/**
 * Lets an attempt wait.
 *
 * @category combinators
 * @since 0.1.0
 */
export const services = (waits: Waits) => (put: Put): void => {
  put(Waiting, waits)
  put(Inbox, waits)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const blank: Blank<Waits> = {
  sleep: undefined,
  receive: undefined,
  core: undefined,
  held: undefined,
  fiber: undefined,
  onEnd: undefined,
  slept: undefined,
  received: undefined
}

function sleep(
  this: Waits,
  name: string,
  until: { readonly time: number } | { readonly millis: number },
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<void> {
  return Effect.suspend(() => {
    const { core, held } = this
    if (core === undefined || held === undefined) return Effect.interrupt
    const timer = place(this.slept ??= new Map(), name)
    const timers = held.timers ??= new Map<string, number>()
    const known = timers.get(timer)
    const wakeAt = known ?? ("time" in until ? until.time : Core.now(core) + until.millis)
    timers.set(timer, wakeAt)
    const asleep = Core.sleepUntil(core, wakeAt, who(this, fiber))
    if (known !== undefined) return asleep
    const recorded = Effect.callback<void>((resume) => {
      Core.emit(core, () => {
        // Its attempt may have ended since.
        if (isOver(this)) return resume(Effect.interrupt)
        Core.record(core, { _tag: "CompensationTimerSet", at: Core.now(core), ...held.ref, timer, wakeAt })
        core.mustFlush = true
        core.onDurable.push(() => resume(Effect.void))
      })
    })
    return Effect.andThen(recorded, asleep)
  })
}

function receive(
  this: Waits,
  request: ReceiveRequest,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<Received> {
  return Effect.suspend(() => {
    const { core, held } = this
    if (core === undefined || held === undefined) return Effect.interrupt
    const wait = place(this.received ??= new Map(), request.name)
    return Receiving.receive(core, held, request, {
      wait,
      who: who(this, fiber),
      isOver: () => isOver(this),
      onEnd: (f) => {
        this.onEnd ??= []
        this.onEnd.push(f)
      }
    })
  })
}

/** Nothing that the attempt waits for counts any more. */
const isOver = ({ core }: Waits): boolean => core === undefined

const place = (counts: Map<string, number>, name: string): string => {
  const count = (counts.get(name) ?? 0) + 1
  counts.set(name, count)
  return count === 1 ? name : `${name}#${count}`
}

/** What else the attempt does meanwhile keeps it in memory. */
const who = (waits: Waits, fiber: Fiber.Fiber<unknown, unknown>): "attempt" | undefined =>
  fiber === waits.fiber ? "attempt" : undefined
