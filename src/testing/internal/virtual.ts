/**
 * Virtual time, and a scheduler that knows when nothing more happens by itself.
 *
 * What runs here does so in an order that depends on nothing outside: timers in the order of their time, tasks in the
 * order in which they came. Fibers belong to a gate: behind one that is held they wait, behind one that is shut they
 * never run again, without a finalizer, as in a process that died. It knows nothing of sagas.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"
import * as Heap from "../../internal/heap.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What lets fibers run, or not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Gate {
  state: "open" | "held" | "shut"
  /** It was held and goes on: what was about to happen behind it then may come late. */
  resumed: boolean
  /** How far the clock behind it is ahead, in milliseconds. */
  skew: number
  readonly held: Array<() => void>
}

/**
 * A world with its own time, in milliseconds from 0.
 *
 * @category models
 * @since 0.1.0
 */
export interface Virtual {
  readonly now: () => number
  /** The clock and the scheduler of what runs behind a gate. */
  readonly services: (gate: Gate) => Context.Context<never>
  /** Lets what a gate held go on. */
  readonly open: (gate: Gate) => void
  /** Waits as long as the gate is held, and for ever where it is shut. */
  readonly pass: (gate: Gate) => Effect.Effect<void>
  /** Something outside, like a database: until it has ended, nothing is at rest. */
  readonly outside: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Something that may be outside, and may as well wait for virtual time: it gets turns of the event loop. */
  readonly perhapsOutside: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Lets everything happen that needs no time. To be run outside. */
  readonly settle: Effect.Effect<void>
  /** Goes on to the next timer, unless it is later than `limit`; whether there was one. To be run outside. */
  readonly advance: (limit: number) => Effect.Effect<boolean>
  /** Does something at a time, which is not before now. */
  readonly at: (time: number, run: () => void) => void
  /** Starts an effect behind a gate. */
  readonly fork: <A, E>(effect: Effect.Effect<A, E>, gate: Gate) => void
  /** Runs an effect behind a gate, without time, and gives what came of it; undefined where it waits for something. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>, gate: Gate) => Effect.Effect<Exit.Exit<A, E> | undefined>
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A gate that is open.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeGate = (skew = 0): Gate => ({ state: "open", resumed: false, skew, held: [] })

/**
 * A new world, at time 0.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Virtual => {
  let now = 0
  let order = 0
  /** What is outside, or may be. */
  let busy = 0
  /** What is outside, and comes back without virtual time. */
  let waiting = 0
  const tasks: Array<() => void> = []
  const timers: Array<Timer> = []

  const through = (gate: Gate, task: () => void) => () => {
    if (gate.state === "open") task()
    else if (gate.state === "held") gate.held.push(task)
  }

  const drain = (): boolean => {
    let done = 0
    while (done < tasks.length) {
      tasks[done++]!()
      if (done > endless) throw new Error("something goes on for ever without waiting for anything")
    }
    tasks.length = 0
    return done > 0
  }

  let turns = 0
  // Promises settle between tasks of the platform; only what is outside, or may be, needs turns of its event loop.
  const turn = Effect.suspend(() => busy > 0 || ++turns % 256 === 0 ? Effect.yieldNow : betweenTasks)
  const settle = Effect.gen(function*() {
    for (let quiet = 0; quiet < quietTurns || waiting > 0;) {
      quiet = drain() ? 0 : quiet + 1
      yield* turn
    }
  })

  const clock = (gate: Gate): Clock.Clock => {
    const millis = () => now + gate.skew
    const nanos = () => BigInt(Math.round(millis())) * nanosPerMilli
    const monotonic = () => BigInt(Math.round(now)) * nanosPerMilli
    return {
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: monotonic,
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) =>
        Effect.callback((resume) => {
          const timer: Timer = {
            // Clocks count whole milliseconds, and timers do not ring early.
            at: now + Math.max(0, Math.ceil(Duration.toMillis(duration))),
            order: order++,
            fire: through(gate, () => resume(Effect.void))
          }
          Heap.push(timers, timer, isBefore)
          return Effect.sync(() => {
            timer.fire = undefined
          })
        })
    }
  }

  const services = (gate: Gate) =>
    Context.make(Clock.Clock, clock(gate)).pipe(
      Context.add(
        Scheduler.Scheduler,
        new Scheduler.MixedScheduler("async", (task) => {
          let cancelled = false
          tasks.push(through(gate, () => {
            if (!cancelled) task()
          }))
          return () => {
            cancelled = true
          }
        })
      )
    )

  return {
    now: () => now,
    services,
    open: (gate) => {
      gate.state = "open"
      gate.resumed = true
      tasks.push(...gate.held.splice(0))
    },
    pass: (gate) =>
      Effect.suspend(() => {
        if (gate.state === "open") return Effect.void
        if (gate.state === "shut") return Effect.never
        return Effect.callback((resume) => {
          gate.held.push(() => resume(Effect.void))
        })
      }),
    outside: (effect) =>
      Effect.suspend(() => {
        busy++
        waiting++
        return Effect.onExit(effect, () =>
          Effect.sync(() => {
            busy--
            waiting--
          }))
      }),
    perhapsOutside: (effect) =>
      Effect.suspend(() => {
        busy++
        return Effect.onExit(effect, () =>
          Effect.sync(() => {
            busy--
          }))
      }),
    settle,
    advance: (limit) =>
      Effect.suspend(() => {
        while (timers.length > 0) {
          const next = timers[0]!
          if (next.fire === undefined) {
            Heap.pop(timers, isBefore)
            continue
          }
          if (next.at > limit) break
          Heap.pop(timers, isBefore)
          now = Math.max(now, next.at)
          next.fire()
          return Effect.as(settle, true)
        }
        return Effect.succeed(false)
      }),
    at: (time, run) => Heap.push(timers, { at: Math.max(now, time), order: order++, fire: run }, isBefore),
    fork: (effect, gate) => {
      Effect.runForkWith(services(gate))(effect)
    },
    run: (effect, gate) =>
      Effect.suspend(() => {
        const fiber = Effect.runForkWith(services(gate))(effect)
        return Effect.map(settle, () => fiber.pollUnsafe())
      })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** The turns without a task until everything is taken to be at rest. */
const quietTurns = 2

const betweenTasks = Effect.promise(() => Promise.resolve())

/** More tasks than anything needs that ends. */
const endless = 20_000_000

const nanosPerMilli = 1_000_000n

interface Timer {
  readonly at: number
  readonly order: number
  /** Undefined once nobody waits for it. */
  fire: (() => void) | undefined
}

const isBefore = (left: Timer, right: Timer): boolean =>
  left.at < right.at || (left.at === right.at && left.order < right.order)
