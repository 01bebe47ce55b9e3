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
 * An execution of this definition begins at this time; `parent` is the execution that started it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const entry = (
  { deadline, version }: Pick<Definition, "deadline" | "version">,
  at: number,
  parent?: string
): Journal.EntryOf<"SagaStarted"> => ({
  _tag: "SagaStarted",
  at,
  ...limits({ deadline, version }, at),
  ...(parent === undefined ? undefined : { parent })
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
  before: {
    readonly core: { readonly generation: number }
    readonly parks: number
    readonly parent: string | undefined
  }
): Journal.EntryOf<"ContinuedAsNew"> => ({
  _tag: "ContinuedAsNew",
  at,
  payload,
  generation: before.core.generation + 1,
  ...limits(definition, at),
  ...(before.parks === 0 ? undefined : { parks: before.parks }),
  ...(before.parent === undefined ? undefined : { parent: before.parent })
})

const limits = ({ deadline, version }: Pick<Definition, "deadline" | "version">, at: number) => ({
  ...(deadline === undefined ? undefined : { deadline: at + Math.ceil(Duration.toMillis(deadline)) }),
  ...(version === 1 ? undefined : { version })
})
