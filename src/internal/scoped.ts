/**
 * A part of a body that is undone by itself.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Execution from "../Execution.ts"

/**
 * A roll-back scope of its own inside a body: if `effect` fails, what its steps did is undone at once, and then the
 * error goes on, so that the body can catch it and try another way.
 *
 * **Details**
 *
 * If it succeeds, its compensations stay held like all others. A compensation in it that fails for good parks the
 * execution before the error reaches the body. Without it, catching a failure undoes nothing: earlier steps are undone
 * when the whole saga rolls back.
 *
 * @category combinators
 * @since 0.1.0
 */
export const scoped = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Execution.Execution> =>
  Effect.withFiber((fiber) =>
    Effect.flatMap(Execution.Execution, (execution) => {
      const scope = execution.openScope(fiber.getRef(Execution.CurrentScope), fiber)
      return effect.pipe(
        Effect.provideService(Execution.CurrentScope, scope),
        Effect.onError((cause) =>
          Cause.hasFails(cause) && !Cause.hasDies(cause)
            ? Effect.withFiber((fiber) => Effect.orDie(execution.ask({ _tag: "RollbackScope", scope, cause }, fiber)))
            : Effect.void
        )
      )
    })
  )
