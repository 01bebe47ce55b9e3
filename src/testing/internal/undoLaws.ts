/**
 * What a compensation has to keep, whatever its step is: laws that are checked on generated inputs.
 *
 * A roll-back can only be as good as what undoes its steps. The engine promises when a compensation runs, and under
 * which key; that it undoes is the step's promise, and this module checks it against the participant of the test. It
 * runs steps directly, under keys of its own, and needs no engine.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Execution from "../../Execution.ts"
import type { UsesOf } from "../../internal/types.ts"
import * as Step from "../../Step.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The laws.
 *
 * **Details**
 *
 * `undone`: after the step and its compensation, what is observed is as before. `undone twice`: so it is when the
 * compensation runs again under its key, as after a crash. `late`: so it is when the step's attempt arrives, under its
 * key, after its compensation. `never happened`: undoing what no participant knows changes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Law = "undone" | "undone twice" | "late" | "never happened"

/**
 * A step that breaks a law, with the smallest input that was found.
 *
 * @category errors
 * @since 0.1.0
 */
export class LawBroken extends Schema.TaggedError<LawBroken>()("LawBroken", {
  step: Schema.String,
  law: Schema.Literals(["undone", "undone twice", "late", "never happened"]),
  input: Schema.String,
  before: Schema.String,
  after: Schema.String,
  /** What the compensation failed with, where it did. */
  cause: Schema.UndefinedOr(Schema.String),
  replay: Schema.String
}) {
  override get message(): string {
    const failed = this.cause === undefined ? "" : ` Its compensation failed: ${this.cause}.`
    return `${this.step} breaks a law of undoing, "${this.law}": ${sentences[this.law]}.\n` +
      `  before: ${this.before}\n  after:  ${this.after}\n  input:  ${this.input}\n` +
      `${failed === "" ? "" : `${failed.trim()}\n`}${advice[this.law]} Run it again with \`replay: ${
        JSON.stringify(this.replay)
      }\`.`
  }
}

/**
 * What is checked, and on what.
 *
 * @category options
 * @since 0.1.0
 */
export interface LawOptions<I, A, O, RO> {
  /** The inputs of the step: a schema, or a generator. */
  readonly arbitrary: Schema.Codec<I, any, never, never> | Arbitrary.Arbitrary<I>
  /** What of the participant must be as it was before; compared by structure. */
  readonly observe: (input: I) => Effect.Effect<O, never, RO>
  /**
   * Results of steps that never happened.
   *
   * @default generated from the step's `success`
   */
  readonly never?: Arbitrary.Arbitrary<A> | undefined
  /**
   * @default 100
   */
  readonly runs?: number | undefined
  /**
   * @default a new one each time; it is in the message of a broken law
   */
  readonly seed?: string | number | undefined
  /** What the message of a broken law gave. */
  readonly replay?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Checks the laws of undoing on a step. Fails with `LawBroken` where it breaks one.
 *
 * **Details**
 *
 * The participant is whatever services the test provides; its state goes on from one input to the next, so `observe`
 * looks before and after. A step that is refused for an input has nothing to undo: then it must have changed nothing.
 * Results go through the step's schema, as in the journal. Durable waits in a compensation take no time.
 *
 * @category running
 * @since 0.1.0
 */
export const undoLaws = <I, Name extends string, A, E, R, O, RO = never>(
  step: (input: I) => Step.Step<Name, A, E, R>,
  options: LawOptions<I, A, O, RO>
): Effect.Effect<void, LawBroken, UsesOf<R> | RO> =>
  Effect.gen(function*() {
    const { arbitrary, observe, replay, runs = 100, seed } = options
    const inputs = Arbitrary.isArbitrary(arbitrary) ? arbitrary : Arbitrary.schema(arbitrary)
    const property = (input: I) => laws(step(input).request, observe(input), options.never)
    const result = yield* Arbitrary.checkEffect(inputs, property, { runs, seed, replay })
    switch (result._tag) {
      case "Passed":
        return
      case "Falsified": {
        const { failure } = result
        if (failure._tag === "ReturnedFalse") return
        const { after, before, cause, law } = failure.error
        return yield* new LawBroken({
          step: step(result.shrunkInput).name,
          law,
          before,
          after,
          cause,
          input: Formatter.format(result.shrunkInput),
          replay: result.replay
        })
      }
      case "Exhausted":
        return yield* Effect.die(new Error(`no inputs: ${Arbitrary.formatCheckFailure(result)}`))
      case "ReplayMismatch":
        return yield* Effect.die(new Error(`this replay is of another step or input: ${result.reason}`))
    }
  }) as Effect.Effect<void, LawBroken, UsesOf<R> | RO>

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const sentences: Readonly<Record<Law, string>> = {
  "undone": "after the step and its compensation something is not as it was before",
  "undone twice": "a compensation that runs again under its key changes something",
  "late": "an attempt that arrives after its compensation, under its own key, revives what was undone",
  "never happened": "undoing what never happened changes something"
}

const advice: Readonly<Record<Law, string>> = {
  "undone": "Undo everything that the step did.",
  "undone twice": "After a crash a compensation runs again: let the participant do it once for its idempotency key.",
  "late": "A request may be slow: let the participant refuse a key that was undone (Step.stepKey is that key).",
  "never happened": "Let the participant pass over what it does not know."
}

interface Broken {
  readonly law: Law
  readonly before: string
  readonly after: string
  readonly cause: string | undefined
}

/** Checks all laws on one step: fails with the first that it breaks. */
const laws = Effect.fnUntraced(function*(
  request: Execution.StepRequest,
  observe: Effect.Effect<unknown, never, unknown>,
  never: Arbitrary.Arbitrary<unknown> | undefined
): Effect.fn.Return<boolean, Broken, unknown> {
  const key = `laws/0/${request.name}/${SecureRandom.uuidV7Unsafe()}`
  const before = yield* observe
  const expect = Effect.fnUntraced(function*(law: Law, exit: Exit.Exit<unknown, unknown>) {
    const after = yield* observe
    const failed = Exit.isFailure(exit) && law !== "late" && law !== "never happened"
    if (Equal.equals(before, after) && !failed) return
    const cause = failed ? Cause.pretty(exit.cause) : undefined
    return yield* Effect.fail<Broken>({ law, before: Formatter.format(before), after: Formatter.format(after), cause })
  })
  const execute = act(request, request.execute, `${key}/0`, `${key}/0`)
  const undo = (value: unknown, stepKey: string) =>
    request.compensation === undefined ? Effect.succeed(Exit.void) : Effect.exit(
      act(request, request.compensation.run(value, Cause.empty), `${stepKey}/compensation`, `${stepKey}/0`)
    )

  const done = yield* Effect.exit(execute)
  if (Exit.isFailure(done)) {
    // What is refused has changed nothing; what dies is a bug.
    if (Exit.hasDies(done)) return yield* Effect.die(Cause.squash(done.cause))
    yield* expect("undone", Exit.void)
  } else {
    const value = yield* Effect.orDie(
      Effect.flatMap(request.success.encode(done.value), (json) => request.success.decode(json))
    )
    yield* expect("undone", yield* undo(value, key))
    yield* expect("undone twice", yield* undo(value, key))
    yield* expect("late", yield* Effect.exit(execute))
  }
  const results = never ?? Arbitrary.schema(request.success.schema)
  const unknown = yield* Effect.orDie(Arbitrary.sampleEffect(results, { count: 1 }))
  for (const value of unknown) yield* expect("never happened", yield* undo(value, `${key}-never`))
  return true
})

/** Runs an act as an engine would, once. */
const act = (
  request: Execution.StepRequest,
  effect: Effect.Effect<unknown, unknown, unknown>,
  key: string,
  stepKey: string
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.scoped(effect as Effect.Effect<unknown, unknown, Scope.Scope>).pipe(
    Effect.provideContext(
      Context.make(Step.StepContext, { execution: "laws", step: request.name, key, stepKey, attempt: 1, epoch: 0 })
        .pipe(
          Context.add(Execution.Waiting, { sleep: () => Effect.void }),
          Context.add(Execution.Inbox, { receive: ({ name }) => Effect.die(new Error(`nobody sends ${name} here`)) })
        )
    )
  )
