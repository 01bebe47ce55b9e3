/**
 * A step that is made of two: one reads a state, the next one overwrites it and can put it back.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Execution from "../Execution.ts"
import type { Compensable, CompensationOptions, Doubt, Failing, Plain, Readonly, Residue, Settings } from "../Step.ts"
import { describe } from "./step.ts"
import type { Codecs, Literal, MayWait, NoSteps, Storable, Uses } from "./types.ts"

/**
 * A step that overwrites a state, and puts back what was there before if the saga fails later.
 *
 * **Details**
 *
 * Two steps: `Name.read` reads the state and journals it in the form of `state`, then `Name` writes. What was read is
 * durable before `write` begins, so after a crash it is the state before the write that is restored.
 *
 * **Gotchas**
 *
 * What somebody else writes after the read is lost when the state is restored: lock the state, or compare in `restore`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const snapshot = <
  const Name extends string,
  P extends Schema.Top,
  RR,
  R,
  CE,
  CR,
  KR = never,
  T extends Duration.Input = never,
  CT extends Duration.Input = never,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never,
  CKR = never,
  H extends Duration.Input = never,
  CH extends Duration.Input = never
>(
  name: Literal<Name>,
  options: Settings<S, E, T | H> & Doubt<T, H, S["Type"], KR> & {
    readonly state: P & Storable<P>
    readonly read: NoSteps<RR> & Effect.Effect<P["Type"], E["Type"], RR>
    readonly write: (prior: P["Type"]) => NoSteps<R> & Effect.Effect<S["Type"], E["Type"], R>
    readonly restore: (
      prior: P["Type"],
      cause: Cause.Cause<unknown>
    ) => MayWait<CR> & Effect.Effect<unknown, CE, CR>
    readonly compensation?: CompensationOptions<CE, CT, CKR, CH> | undefined
  }
): Effect.Effect<
  S["Type"],
  E["Type"] | Failing<T | H>,
  | Execution.Execution
  | Uses<Plain<RR | R | CR | KR | CKR> | Codecs<P> | Codecs<S> | Codecs<E>>
  | Residue<Name, CE | Failing<CT | CH>>
> =>
  Effect.flatMap(
    describe<Readonly<string, P["Type"], E["Type"], never>>(`${name}.read`, "readonly", {
      success: options.state,
      error: options.error,
      execute: options.read,
      retry: options.retry
    }),
    (prior) =>
      describe<Compensable<Name, S["Type"], E["Type"], never>>(name, "compensable", {
        ...options,
        execute: options.write(prior),
        compensate: (_: never, cause) => options.restore(prior, cause)
      })
  )
