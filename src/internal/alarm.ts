/**
 * Wakes a worker when something that it suspended is due: between two polls nobody else would look.
 *
 * Times only, in a heap: a hundred thousand suspended executions are one fiber and an array of numbers. What is lost
 * with the process is found by polling.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Heap from "./heap.ts"

/**
 * Rings at every time that it was set to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Alarm {
  /** Sets it to a time of the clock, in milliseconds. */
  readonly at: (time: number) => void
}

/**
 * An alarm, for as long as the scope is open.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(ring: Effect.Effect<void>): Effect.fn.Return<Alarm, never, Scope.Scope> {
    const clock = yield* Clock.Clock
    const times: Array<number> = []
    const changed = Latch.makeUnsafe(false)
    yield* Effect.gen(function*() {
      while (true) {
        changed.closeUnsafe()
        const next = times[0]
        if (next === undefined) {
          yield* changed.await
          continue
        }
        const delay = next - clock.currentTimeMillisUnsafe()
        if (delay > 0) {
          yield* Effect.raceFirst(Effect.sleep(Math.min(delay, maxSleep)), changed.await)
          continue
        }
        while (times[0] !== undefined && times[0] <= clock.currentTimeMillisUnsafe()) Heap.pop(times, isBefore)
        yield* ring
      }
    }).pipe(Effect.forkScoped)
    return {
      at: (time) => {
        Heap.push(times, time, isBefore)
        if (times[0] === time) changed.openUnsafe()
      }
    }
  }
)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Timers of the platform end at 2^31 milliseconds. */
const maxSleep = 24 * 3_600_000

const isBefore = (left: number, right: number): boolean => left < right
