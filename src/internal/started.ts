/**
 * The first entry of every journal, whoever writes it: the worker that runs the execution, or a client.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Journal from "../Journal.ts"
import type { Definition } from "./engine.ts"

/**
 * An execution of this definition begins at this time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const entry = ({ deadline, version }: Definition, at: number): Journal.EntryOf<"SagaStarted"> => ({
  _tag: "SagaStarted",
  at,
  ...(deadline === undefined ? undefined : { deadline: at + Math.ceil(Duration.toMillis(deadline)) }),
  ...(version === 1 ? undefined : { version })
})
