/**
 * Changes of a body while executions of it are open.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Execution } from "../Execution.ts"
import type { Between, Literal, Versions } from "./types.ts"

/**
 * Which version of a change this execution goes by: what lets a body change while executions of it are open.
 *
 * **Details**
 *
 * The first time that an execution comes to `change` it takes `max`, and journals that. From then on the answer is the
 * same, everywhere in the body and after every crash. An execution that was past this place before the change was made
 * takes `min`: its journal says what the body did without it. So the body keeps both ways until no open execution goes
 * by the old one; then `min` is raised, and when it has reached `max` the call may be taken out. A version below `min`
 * or above `max` in a journal parks the execution (`Nondeterminism`), and nothing is executed.
 *
 * `min` and `max` are whole numbers from 0 to 999. Without a journal (`Saga.transact`) the answer is `max`.
 *
 * **Gotchas**
 *
 * Give each change a name of its own: a name that was used before is answered as before. An execution that has not come
 * to this place when the change is deployed takes `max`, also where it is in the middle of what surrounds it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const version = <const Change extends string, const Min extends number, const Max extends number>(
  change: Literal<Change>,
  range: { readonly min: Min; readonly max: Max } & Versions<Min, Max>
): Effect.Effect<Between<Min, Max>, never, Execution> =>
  Effect.withFiber((fiber) =>
    Execution.use((execution) => {
      const { max, min } = range
      return Effect.map(
        Effect.orDie(execution.ask({ _tag: "Version", change, min, max }, fiber)),
        (version) => version as Between<Min, Max>
      )
    })
  )
