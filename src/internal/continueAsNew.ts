/**
 * Beginning anew: the same execution, another payload, an empty journal. For sagas that live for weeks.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Execution from "../Execution.ts"
import type { Continues } from "./types.ts"

/**
 * Ends this run of the body and begins the next one, in the same execution, with another payload and an empty journal.
 *
 * **Details**
 *
 * For a saga that goes round for weeks: its journal, and with it what a recovery reads, stays as short as one round.
 * The id stays, and with it who waits for the result, what was sent and nobody has received, tags and cancels; whoever
 * starts the execution again must give the payload that it began with. What was published, versions of changes and the
 * names of executed steps begin anew; so does the `deadline`. Steps have other idempotency keys in each generation, and
 * the handler is that of the same version, or the one that `replaces` it: from then on the execution is of its version.
 *
 * What waits for the commit (`Saga.onCommit`) runs before. It never returns. What else the body does at that moment, in
 * another fiber, must have ended.
 *
 * **Gotchas**
 *
 * While compensations are held there is something to undo that the next generation would not know: the compiler refuses
 * it before the point of no return in a body with compensations, and what it cannot see is a bug (`Defect`), with
 * nothing lost. In `.settle(...)` nothing is held any more. A payload that does not fit the saga's schema parks the
 * execution (`Unencodable`).
 *
 * @category combinators
 * @since 0.1.0
 */
export const continueAsNew = <const P>(
  payload: P
): Effect.Effect<never, never, Execution.Execution | Continues<P>> =>
  Effect.withFiber((fiber) =>
    Execution.Execution.use((execution) =>
      Effect.andThen(Effect.orDie(execution.ask({ _tag: "Continue", payload }, fiber)), Effect.never)
    )
  )
