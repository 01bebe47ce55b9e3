/**
 * The race: several parts of a body at once, of which the first that ends counts.
 *
 * Each runs in a roll-back scope of its own. Who wins is journaled, and what the others did is undone by the
 * interpreter once it has settled, while the body goes on: this module only says who won, and stops the others.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { CurrentScope, Execution } from "../Execution.ts"

/**
 * Runs several parts of a body at once, and ends as the first that ends: with its result, or with its error.
 *
 * **When to use**
 *
 * For the first of timers, signals, steps, and of whatever is made of them.
 *
 * **Details**
 *
 * Who won is journaled, and wins again on replay. The body goes on at once. What the others wait for is withdrawn: a
 * timer does not fire, and a signal stays for who waits for it next. A step of theirs that is in flight is not cut off:
 * it goes on under the executor, no new attempt is made, and everything that they did is undone as soon as it has
 * settled, before the saga passes its point of no return and before it ends. A compensation of theirs that fails for
 * good parks the execution.
 *
 * In `Saga.transact` it returns when that is done.
 *
 * **Gotchas**
 *
 * A part that has lost asks for nothing more: a step in its finalizers is a bug, and parks. `Effect.race` and
 * `Effect.timeout` over steps wait for the step, and undo nothing.
 *
 * @category combinators
 * @since 0.1.0
 */
export const race = <const Effects extends ReadonlyArray<Effect.Effect<unknown, unknown, unknown>>>(
  effects: Effects
): Effect.Effect<
  Effect.Success<Effects[number]>,
  Effect.Error<Effects[number]>,
  Effect.Services<Effects[number]> | Execution
> =>
  named<Effect.Success<Effects[number]>, Effect.Error<Effects[number]>, Effect.Services<Effects[number]>>(
    "race",
    effects as never
  )

/**
 * Runs all of them, and ends as the first that ends; the journal calls it by the name.
 *
 * @category combinators
 * @since 0.1.0
 */
export const named = <A, E, R>(
  name: string,
  effects: ReadonlyArray<Effect.Effect<A, E, R>>
): Effect.Effect<A, E, R | Execution> =>
  Effect.withFiber((fiber) =>
    Effect.flatMap(Execution, (execution) => {
      const outer = fiber.getRef(CurrentScope)
      const running: Running = { won: false, fibers: [] }
      const contenders = effects.map((effect, index) => {
        const scope = execution.openScope(outer, fiber)
        return { scope, run: contender(running, index, Effect.provideService(effect, CurrentScope, scope)) }
      })
      return Effect.flatMap(Effect.raceAllFirst(contenders.map(({ run }) => run)), ({ exit, index }) => {
        const losers = contenders.flatMap(({ scope }, other) => other === index ? [] : [scope])
        const settled = Effect.suspend(() => Effect.asVoid(Fiber.awaitAll(running.fibers)))
        const won = Effect.withFiber((fiber) =>
          execution.ask({ _tag: "Race", name, winner: index, losers, settled }, fiber)
        )
        return Effect.andThen(Effect.orDie(won), exit)
      })
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Running {
  won: boolean
  readonly fibers: Array<Fiber.Fiber<unknown, unknown>>
}

/** Nobody waits for who has lost: what it left in flight is its interpreter's. Without a winner it is awaited. */
const contender = <A, E, R>(
  running: Running,
  index: number,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<{ readonly index: number; readonly exit: Exit.Exit<A, E> }, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) => {
      running.fibers.push(fiber)
      return restore(Fiber.await(fiber)).pipe(
        Effect.onInterrupt(() => {
          fiber.interruptUnsafe()
          return running.won ? Effect.void : Fiber.await(fiber)
        }),
        Effect.map((exit) => {
          running.won = true
          return { index, exit }
        })
      )
    })
  )
