/**
 * What is done at once where nothing in it waits.
 *
 * Between two answers of the store most of what an execution does waits for nothing: codecs without effects give an
 * `Exit`, which is an effect that is done. What follows is then done here and now; only from the first thing that waits
 * does the rest become an effect, for the driving fiber to run. It knows no execution.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/**
 * What is left to do; undefined: nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Eager = Effect.Effect<void, never, unknown> | void

/**
 * Whether an effect has ended before it was run.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDone = <A, E>(effect: Effect.Effect<A, E, unknown>): effect is Exit.Exit<A, E> => Exit.isExit(effect)

/**
 * Does something once the first is done.
 *
 * @category combinators
 * @since 0.1.0
 */
export const andThen = (first: Eager, second: () => Eager): Eager =>
  first === undefined ? second() : Effect.flatMap(first, () => second() ?? Effect.void)

/**
 * Does something with what an effect gives.
 *
 * @category combinators
 * @since 0.1.0
 */
export const use = <A>(effect: Effect.Effect<A, never, unknown>, f: (value: A) => Eager): Eager =>
  isDone(effect) && Exit.isSuccess(effect)
    ? f(effect.value)
    : Effect.flatMap(effect, (value) => f(value) ?? Effect.void)

/**
 * Does something with how an effect ends.
 *
 * @category combinators
 * @since 0.1.0
 */
export const after = <A, E>(effect: Effect.Effect<A, E, unknown>, f: (exit: Exit.Exit<A, E>) => Eager): Eager =>
  isDone(effect) ? f(effect) : Effect.flatMap(Effect.exit(effect), (exit) => f(exit) ?? Effect.void)

/**
 * Repeats for as long as it says so.
 *
 * @category combinators
 * @since 0.1.0
 */
export const repeat = (turn: () => Again): Eager => {
  while (true) {
    const again = turn()
    if (again === false) return
    if (again !== true) return Effect.flatMap(again, (again) => (again ? repeat(turn) : undefined) ?? Effect.void)
  }
}

/**
 * Whether there is another turn.
 *
 * @category models
 * @since 0.1.0
 */
export type Again = boolean | Effect.Effect<boolean, never, unknown>

/**
 * There is another turn once this is done.
 *
 * @category combinators
 * @since 0.1.0
 */
export const again = (first: Eager): Again => first === undefined ? true : Effect.as(first, true)
