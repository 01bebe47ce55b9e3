/**
 * Questions that come at one moment, as one statement: a worker that takes up many executions at once reads all of them
 * in as many round trips as one.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import type { StoreError } from "../../SagaStore.ts"

/**
 * Asks one question, together with all others of this moment. `ask` answers several, in their order.
 *
 * **Details**
 *
 * A statement carries at most `most` questions. Who is interrupted takes no answer from the others; a failure of the
 * statement is the failure of all.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Question, Answer>(
  most: number,
  ask: (questions: ReadonlyArray<Question>) => Effect.Effect<ReadonlyArray<Answer>, StoreError>
): (question: Question) => Effect.Effect<Answer, StoreError> => {
  interface Asked extends Request.Request<Answer, StoreError> {
    readonly question: Question
  }
  const Asked = Request.of<Asked>()
  const resolver = RequestResolver.make<Asked>((entries) =>
    Effect.map(Effect.exit(ask(entries.map(({ request }) => request.question))), (answers) => {
      for (const [index, entry] of entries.entries()) {
        entry.completeUnsafe(Exit.map(answers, (all) => all[index]!))
      }
    })
  ).pipe(RequestResolver.batchN(most))
  return (question) => Effect.request(Asked({ question }), resolver)
}
