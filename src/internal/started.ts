/**
 * The first entry of every journal, whoever writes it: the worker that runs the execution, or a client.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Schema from "effect/Schema"
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
  ...limits({ deadline, version }, at)
})

/**
 * It begins anew at this time, with this payload in its stored form, as the next generation.
 *
 * @category constructors
 * @since 0.1.0
 */
export const again = (
  definition: Definition,
  at: number,
  payload: Schema.Json,
  before: { readonly core: { readonly generation: number }; readonly parks: number }
): Journal.EntryOf<"ContinuedAsNew"> => ({
  _tag: "ContinuedAsNew",
  at,
  payload,
  generation: before.core.generation + 1,
  ...limits(definition, at),
  ...(before.parks === 0 ? undefined : { parks: before.parks })
})

const limits = ({ deadline, version }: Pick<Definition, "deadline" | "version">, at: number) => ({
  ...(deadline === undefined ? undefined : { deadline: at + Math.ceil(Duration.toMillis(deadline)) }),
  ...(version === 1 ? undefined : { version })
})
