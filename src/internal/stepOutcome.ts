/**
 * How an attempt at a step ended, in the form in which the journal keeps it.
 *
 * It encodes what the step gave with the step's schemas and asks whether a store can keep that. It records nothing, and
 * decides nothing.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { StepRequest } from "../Execution.ts"
import * as Journal from "../Journal.ts"
import type * as Attempt from "./attempt.ts"
import * as Core from "./core.ts"
import { isDone } from "./eager.ts"

/**
 * What a step said of itself, as it is stored; or why no store can keep it.
 *
 * @category models
 * @since 0.1.0
 */
export type StepOutcome =
  | { readonly _tag: "Stored"; readonly json: Schema.Json; readonly text: string }
  | { readonly _tag: "Refused"; readonly error: unknown; readonly json: Schema.Json }
  | { readonly _tag: "Unstorable"; readonly what: string; readonly message: string }

/**
 * The step, as far as this matters.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stepped {
  readonly request: StepRequest
  readonly ref: Journal.Ref
}

/**
 * What an attempt gave or refused; done already where the step's schemas wait for nothing.
 *
 * @category encoding
 * @since 0.1.0
 */
export const ofAttempt = (
  core: Core.Core,
  step: Stepped,
  outcome: Extract<Attempt.Outcome<unknown, unknown>, { readonly _tag: "Succeeded" | "Failed" }>
): Effect.Effect<StepOutcome, never, unknown> => {
  const { error, success } = step.request
  return outcome._tag === "Succeeded"
    ? ofResult(core, step, "the result of", success.encode(outcome.value))
    : map(error.encode(outcome.error), (exit) => refused(core, step, outcome.error, exit))
}

/**
 * What a step gave.
 *
 * @category encoding
 * @since 0.1.0
 */
export const ofResult = (
  core: Core.Core,
  step: Stepped,
  what: string,
  encode: Effect.Effect<Schema.Json, Schema.SchemaError, unknown>
): Effect.Effect<StepOutcome, never, unknown> => map(encode, (exit) => stored(core, step, what, exit))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

type Encoded = Exit.Exit<Schema.Json, Schema.SchemaError>

const map = (
  encode: Effect.Effect<Schema.Json, Schema.SchemaError, unknown>,
  f: (exit: Encoded) => Exit.Exit<StepOutcome>
): Effect.Effect<StepOutcome, never, unknown> => isDone(encode) ? f(encode) : Effect.flatMap(Effect.exit(encode), f)

/** A schema that dies is a defect of the attempt. */
const stored = (core: Core.Core, { ref }: Stepped, what: string, exit: Encoded): Exit.Exit<StepOutcome> => {
  const refuse = (message: string): Exit.Exit<StepOutcome> =>
    Exit.succeed({ _tag: "Unstorable", what: `${what} ${Journal.refName(ref)}`, message })
  if (Exit.isFailure(exit)) {
    const error = Cause.findErrorOption(exit.cause)
    return Option.isSome(error) ? refuse(error.value.message) : Exit.die(Cause.squash(exit.cause))
  }
  const text = Core.textOf(core, exit.value)
  return Result.isSuccess(text)
    ? Exit.succeed({ _tag: "Stored", json: exit.value, text: text.success })
    : refuse(text.failure.message)
}

const refused = (core: Core.Core, step: Stepped, error: unknown, exit: Encoded): Exit.Exit<StepOutcome> =>
  Exit.map(
    stored(core, step, "the error of", exit),
    // A schedule may have the error before it is recorded.
    (outcome): StepOutcome =>
      outcome._tag === "Stored" ? { _tag: "Refused", error, json: JSON.parse(outcome.text) as Schema.Json } : outcome
  )
