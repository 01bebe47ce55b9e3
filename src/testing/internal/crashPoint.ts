/**
 * A moment within an act at which something can happen to its process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * Passes a point by its name; nothing outside of a test that looks for points.
 *
 * @category services
 * @since 0.1.0
 */
export const CrashPoint = Context.Reference<(name: string) => Effect.Effect<void>>(
  "effect-saga/testing/CrashPoint",
  { defaultValue: () => () => Effect.void }
)
