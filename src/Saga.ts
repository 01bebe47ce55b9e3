/**
 * Sagas: a definition that everybody may know, and a handler that a worker runs.
 *
 * A definition names the saga and the schemas of its payload, result and errors; with it a process starts executions
 * and waits for them. A handler is its body: steps in the order in which they shall happen, all of them undone in
 * reverse when the body fails. This module describes both; it owns no fiber, no store and no clock.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import * as Execution from "./Execution.ts"
import type * as ExecutionId from "./ExecutionId.ts"
import { define, type TypeId } from "./internal/definition.ts"
import { SagaEngine } from "./internal/engine.ts"
import type { Messages } from "./internal/messages.ts"
import { hook } from "./internal/step.ts"
import { transact as transactInternal } from "./internal/transact.ts"
import type {
  Again,
  AnError,
  Backward,
  Deciding,
  DefaultTimeout,
  ErrorOf,
  Fails,
  First,
  Known,
  Literal,
  MayWait,
  NoSteps,
  Onward,
  Publishes,
  ResidueOf,
  Storable,
  Stray,
  Undo,
  Undoable,
  Unsent,
  Uses,
  UsesOf
} from "./internal/types.ts"
import type * as Journal from "./Journal.ts"
import type { SagaError } from "./SagaError.ts"
import type * as Step from "./Step.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Where an execution stands.
 *
 * **Details**
 *
 * `Running`: forward; `pivotPassed` says whether it can still be cancelled. `Suspended`: it waits and is in no
 * process's memory. `Compensating`: it rolls back. `Completed`, `RolledBack`: the ends. `Parked`: it waits for a
 * person. `Abandoned`: a person closed it as it was. `RolledBack.error` is the saga's own error, or `SagaError` with
 * `Cancelled`, `DeadlineExceeded`, `RolledBackByOperator` or `RolledBackByDefect`.
 *
 * With each come the records of its steps, in the order in which they began, and of its compensations, in the order in
 * which their steps happened; and what the body published last under each key, where that fits its schema.
 *
 * @category models
 * @since 0.1.0
 */
export type Status<A, E, CE, Pub extends Published = {}> =
  & {
    readonly steps: ReadonlyArray<Journal.StepRecord>
    readonly compensations: ReadonlyArray<Journal.CompensationRecord>
    readonly published: { readonly [Key in keyof Pub]?: Pub[Key]["Type"] }
  }
  & (
    | { readonly _tag: "Running"; readonly pivotPassed: boolean }
    | { readonly _tag: "Suspended"; readonly wakeAt: number | undefined }
    | { readonly _tag: "Compensating" }
    | { readonly _tag: "Completed"; readonly value: A }
    | { readonly _tag: "RolledBack"; readonly error: E | SagaError<never> }
    | { readonly _tag: "Parked"; readonly error: SagaError<CE> }
    | { readonly _tag: "Abandoned"; readonly error: SagaError<CE> }
  )

/**
 * What a body may publish: schemas by their keys.
 *
 * @category models
 * @since 0.1.0
 */
export interface Published {
  readonly [key: string]: Schema.Top
}

/**
 * A saga's definition.
 *
 * @category models
 * @since 0.1.0
 */
export interface Saga<
  Tag extends string,
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  CE extends Schema.Top,
  Pub extends Published = {}
> extends Messages<P> {
  readonly [TypeId]: typeof TypeId
  readonly tag: Tag
  readonly payloadSchema: P
  readonly successSchema: S
  readonly errorSchema: E
  readonly compensationErrorSchema: CE

  /**
   * The id of the execution that this payload starts.
   */
  executionId(payload: P["Type"]): ExecutionId.ExecutionId

  /**
   * Starts an execution, or joins the one with the same key, and waits for its end.
   *
   * **Details**
   *
   * Fails with the saga's own error once everything is undone. Interrupting the waiting fiber stops the waiting, not
   * the execution: `cancel` rolls it back.
   */
  execute(
    payload: P["Type"]
  ): Effect.Effect<S["Type"], E["Type"] | SagaError<CE["Type"]>, SagaEngine | Client<P, S, E, CE>>

  /**
   * Starts an execution, or joins the one with the same key; returns once the start is durable.
   */
  start(
    payload: P["Type"]
  ): Effect.Effect<ExecutionId.ExecutionId, SagaError<never>, SagaEngine | P["EncodingServices"]>

  /**
   * Where an execution stands.
   */
  poll(
    id: ExecutionId.ExecutionId
  ): Effect.Effect<
    Status<S["Type"], E["Type"], CE["Type"], Pub>,
    SagaError<never>,
    SagaEngine | Client<P, S, E, CE> | Pub[keyof Pub]["DecodingServices"]
  >

  /**
   * Waits for the end of an execution that was started by anybody, in any process.
   */
  result(
    id: ExecutionId.ExecutionId
  ): Effect.Effect<S["Type"], E["Type"] | SagaError<CE["Type"]>, SagaEngine | Client<P, S, E, CE>>

  /**
   * Asks an execution to roll back at its next boundary; returns once the request is durable.
   *
   * **Gotchas**
   *
   * The last append decides: an execution that ends or passes its point of no return first is not cancelled. Refused
   * with `TooLate` past that point, and with `NotAccepting` after the end.
   */
  cancel(
    id: ExecutionId.ExecutionId,
    options?: { readonly reason?: string | undefined }
  ): Effect.Effect<void, SagaError<never>, SagaEngine>

  /**
   * Lets a parked execution go on from its journal, once its cause is mended. A step that died runs again with its key;
   * compensations that failed for good are tried again.
   */
  resume(id: ExecutionId.ExecutionId): Effect.Effect<void, SagaError<never>, SagaEngine>

  /**
   * The layer that lets this process run the saga, for a saga without a point of no return.
   */
  toLayer<R, X extends AnError<E["Type"]>>(
    handler: (
      payload: P["Type"]
    ) => Backward<R, X, E["Type"], CE["Type"], Pub, P["Type"]> & Effect.Effect<S["Type"], X, R>
  ): Layer.Layer<never, never, SagaEngine | UsesOf<R> | Worker<P, S, E, CE, Pub> | Again<R, P>>

  /**
   * The body before the point of no return: it may fail, and then everything in it is undone. Continued with
   * `.settle(...)`, or with `.pivot(...).settle(...)`.
   */
  attempt<A, R, X extends AnError<E["Type"]>>(
    attempt: (payload: P["Type"]) => Backward<R, X, E["Type"], CE["Type"], Pub, P["Type"]> & Effect.Effect<A, X, R>
  ): Attempted<P, S, E, CE, A, R, Pub> & Decidable<P, S, E, CE, A, R, Pub>
}

/**
 * A body up to the point of no return.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attempted<
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  CE extends Schema.Top,
  A,
  R,
  Pub extends Published = {}
> {
  /**
   * The body after the point of no return: it cannot fail with a declared error, and nothing in it is undone.
   *
   * **Details**
   *
   * Its acting steps are `Step.retryable`. A defect in it parks the execution, `Effect.orDie` included.
   */
  settle<R2, E2>(
    settle: (value: A, payload: P["Type"]) => Onward<R2, E2, Pub, P["Type"]> & Effect.Effect<S["Type"], E2, R2>
  ): Layer.Layer<never, never, SagaEngine | UsesOf<R> | UsesOf<R2> | Worker<P, S, E, CE, Pub> | Again<R | R2, P>>
}

/**
 * A body that may still be decided by a pivot.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decidable<
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  CE extends Schema.Top,
  A,
  R,
  Pub extends Published = {}
> {
  /**
   * The step that decides: if it fails, the attempt is undone; once it happened, the saga goes on to its end.
   */
  pivot<B, R2, X>(
    pivot: (
      value: A,
      payload: P["Type"]
    ) => First<First<Known<R2>, Deciding<R2>>, Fails<X, E["Type"]>> & Step.Step<string, B, X, R2>
  ): Attempted<P, S, E, CE, readonly [A, B], R | R2, Pub>
}

/**
 * Any saga.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Saga<string, Schema.Top, Schema.Top, Schema.Top, Schema.Top> {}

type Client<P extends Schema.Top, S extends Schema.Top, E extends Schema.Top, CE extends Schema.Top> =
  | P["EncodingServices"]
  | S["DecodingServices"]
  | E["DecodingServices"]
  | CE["DecodingServices"]

type Worker<
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  CE extends Schema.Top,
  Pub extends Published
> =
  | P["DecodingServices"]
  | S["EncodingServices"]
  | E["EncodingServices"]
  | E["DecodingServices"]
  | CE["EncodingServices"]
  | Pub[keyof Pub]["EncodingServices"]

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a saga is, beside its name.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  CE extends Schema.Top,
  Pub extends Published = {}
> {
  readonly payload: P & Storable<P>
  /**
   * @default Schema.Void
   */
  readonly success?: (S & Storable<S>) | undefined
  /**
   * Every error that the body may fail with.
   *
   * @default Schema.Never
   */
  readonly error?: (E & Storable<E>) | undefined
  /**
   * Every error that a compensation may fail with for good.
   *
   * @default Schema.Never
   */
  readonly compensationError?: (CE & Storable<CE>) | undefined
  /**
   * What the body may publish (`Saga.publish`) and `poll` shows: schemas by their keys.
   *
   * @default nothing
   */
  readonly published?: (Pub & { readonly [Key in keyof Pub]: Storable<Pub[Key]> }) | undefined
  /**
   * Makes two starts with one key one execution: a pure function of the payload, at most 512 UTF-16 code units long.
   */
  readonly idempotencyKey: (payload: P["Type"]) => string
  /**
   * What executions are found by (`SagaInspector.list`): a pure function of the payload, stored when it starts.
   *
   * @default no tags
   */
  readonly tags?: ((payload: P["Type"]) => Readonly<Record<string, string>>) | undefined
  /**
   * The version of the definition, stored when an execution starts. An execution is run by the handler of this version
   * and by no other: definitions of one name that differ in their version have their layers side by side.
   *
   * @default 1
   */
  readonly version?: number | undefined
  /**
   * Earlier versions whose open executions this handler runs too: its body replays their journals.
   *
   * @default none
   */
  readonly replaces?: ReadonlyArray<number> | undefined
  /**
   * How long an execution may take from its start. When that has passed and it has not passed its point of no return,
   * it rolls back (`DeadlineExceeded`); steps in flight are awaited first. One that is parked then rolls back when a
   * person lets it go on.
   *
   * @default for ever
   */
  readonly deadline?: Duration.Input | undefined
  /**
   * What a bug in the body or in a step does before the point of no return: the execution waits for a person
   * (`Defect`), or rolls back (`RolledBackByDefect`).
   *
   * **Gotchas**
   *
   * `"rollback"` states that a step that died has not happened, where it has no `check` to tell. A step that says
   * `unknown: "park"`, and a pivot, park all the same.
   *
   * @default "park"
   */
  readonly onDefect?: "park" | "rollback" | undefined
  /**
   * How compensations run: their order, and what holds for those that say nothing of their own.
   *
   * @default "sequential"
   */
  readonly compensation?: "sequential" | "parallel" | Compensation<CE["Type"]> | undefined
}

/**
 * How a saga undoes, where its steps say nothing.
 *
 * **Details**
 *
 * `retry` sees every error of `compensationError`. A `timeout` asks for `Step.TimedOut` in `compensationError`.
 *
 * @category options
 * @since 0.1.0
 */
export interface Compensation<CE> {
  /**
   * One after the other, the last step's first, or all at once.
   *
   * @default "sequential"
   */
  readonly order?: "sequential" | "parallel" | undefined
  /**
   * @default not at all
   */
  readonly retry?: Step.Retry<CE> | undefined
  /**
   * @default no limit
   */
  readonly timeout?: DefaultTimeout<CE, Step.TimedOut, Duration.Input> | undefined
  /**
   * @default "continue"
   */
  readonly onFailure?: "continue" | "halt" | undefined
}

/**
 * Defines a saga.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Tag extends string,
  P extends Schema.Top,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never,
  CE extends Schema.Top = Schema.Never,
  Pub extends Published = {}
>(
  tag: Literal<Tag>,
  options: Options<P, S, E, CE, Pub>
): Saga<Tag, P, S, E, CE, Pub> => define(tag, options)

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

export {
  /**
   * A roll-back scope of its own inside a body: if `effect` fails, what its steps did is undone at once, and then the
   * error goes on, so that the body can catch it and try another way.
   *
   * @category combinators
   * @since 0.1.0
   */
  scoped
} from "./internal/scoped.ts"

export {
  /**
   * Ends this run of the body and begins the next one, in the same execution, with another payload and an empty
   * journal.
   *
   * @category combinators
   * @since 0.1.0
   */
  continueAsNew
} from "./internal/continueAsNew.ts"

export {
  /**
   * Runs several parts of a body at once, and ends as the first that ends; what the others did is undone.
   *
   * @category combinators
   * @since 0.1.0
   */
  race
} from "./internal/race.ts"

/**
 * Runs steps of one type one after the other: what each did, in their order. They are undone like all others.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fromSteps = <Name extends string, A, E, R>(
  steps: Iterable<Step.Step<Name, A, E, R>>
): Effect.Effect<ReadonlyArray<{ readonly step: Name; readonly value: A }>, E, R> =>
  Effect.forEach(steps, (step) => Effect.map(step, (value) => ({ step: step.name, value })))

/**
 * Undoes named steps now: what is held under these names, the last one first. They may be asked for again.
 *
 * **Details**
 *
 * Answers the names of what was undone, in the order in which it was undone: all occurrences of a name that have
 * happened, as far as no other roll-back has begun to undo them. A name of which nothing is held is passed over. A
 * compensation that fails for good parks the execution before the body goes on. What `Saga.onRollback` holds has a name
 * too, and is undone with it.
 *
 * **Gotchas**
 *
 * A name that is misspelt is passed over like any other: look at what was undone. `Car#2`, as records and people call
 * the second `Car`, names that one alone.
 *
 * @category combinators
 * @since 0.1.0
 */
export const rollback = (
  ...names: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, never, Execution.Execution | Undo<never>> =>
  Effect.withFiber((fiber) =>
    Execution.Execution.use((execution) =>
      Effect.map(
        Effect.orDie(execution.ask({ _tag: "RollbackSteps", names }, fiber)),
        (undone) => Array.isArray(undone) ? undone.map(String) : []
      )
    )
  )

/**
 * Makes a value visible to everybody who looks at the execution: `poll` shows the last one of each key, and
 * `SagaInspector.watch` every one. The saga declares the key and its schema in `published`.
 *
 * **Details**
 *
 * It is journaled and acts on nothing: it costs no append of its own before a step that acts, and replay does not write
 * it again. After a crash it is there if what came after it is there. It may be added to a body, moved in it and taken
 * out of it while executions are open: what the body has not said yet where it is taken up is said then.
 *
 * **Gotchas**
 *
 * It is encoded at once: a schema whose encoding waits for something cannot be published, and is a bug (`Defect`), like
 * a value that no journal can hold. Without a journal (`Saga.transact`) there is nobody to see it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const publish = <const Key extends string, const Value>(
  key: Literal<Key>,
  value: Value
): Effect.Effect<void, never, Execution.Execution | Publishes<{ readonly key: Key; readonly value: Value }>> =>
  Effect.withFiber((fiber) =>
    Execution.Execution.use((execution) =>
      Effect.asVoid(Effect.orDie(execution.ask({ _tag: "Publish", key, value }, fiber)))
    )
  )

export {
  /**
   * Which version of a change this execution goes by: what lets a body change while executions of it are open.
   *
   * @category combinators
   * @since 0.1.0
   */
  version
} from "./internal/version.ts"

export {
  /**
   * Starts an execution of another saga, or joins the one that was started here before, and waits for its end.
   *
   * @category combinators
   * @since 0.1.0
   */
  child,
  /**
   * How a child is started, and what becomes of it.
   *
   * @category options
   * @since 0.1.0
   */
  type ChildOptions
} from "./internal/child.ts"

export {
  /**
   * A child rolled back for another reason than an error of its own: everything that it did is undone.
   *
   * @category errors
   * @since 0.1.0
   */
  ChildRolledBack
} from "./internal/childRolledBack.ts"

/**
 * The names of the steps that have happened and are not undone, in the order in which they happened: from the journal,
 * so the same on replay. A step that is under way, or whose result the body has not been told yet, is not among them.
 *
 * **Details**
 *
 * A step that happened twice is there twice, under the one name. Read-only steps stay, as nothing undoes them, the
 * `Name.read` of `Step.snapshot` among them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const executedSteps: Effect.Effect<ReadonlyArray<string>, never, Execution.Execution> = Execution.Execution
  .useSync((execution) => execution.executed())

/**
 * Whether a step of this name has happened and is not undone.
 *
 * @category combinators
 * @since 0.1.0
 */
export const isExecuted = (name: string): Effect.Effect<boolean, never, Execution.Execution> =>
  Execution.Execution.useSync((execution) => execution.executed().includes(name))

/**
 * Holds a compensation at this place of the body without doing anything now.
 *
 * **Details**
 *
 * It runs in its place of the reverse order if the saga rolls back, journaled and retried like a step's compensation.
 *
 * @category combinators
 * @since 0.1.0
 */
export const onRollback = <const Name extends string, CE, CR, CT extends Duration.Input = never, CKR = never>(
  name: Literal<Name>,
  compensate: (cause: Cause.Cause<unknown>) => MayWait<CR> & Effect.Effect<unknown, CE, CR>,
  options?: Step.CompensationOptions<CE, CT, CKR>
): Effect.Effect<
  void,
  never,
  Execution.Execution | Uses<Step.Plain<CR | CKR>> | Step.Residue<Name, CE | Step.Failing<CT>>
> => hook(name, { compensate: (_, cause) => compensate(cause), compensation: options })

/**
 * Runs `effect` once the saga can no longer roll back, before it completes: a journaled step, retried until it
 * succeeds.
 *
 * **Details**
 *
 * With it a saga made by `toLayer` gets a point of no return too: the end of its body. `retry` defaults to that of
 * `Step.retryable`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const onCommit = <const Name extends string, E, R>(
  name: Literal<Name>,
  effect: NoSteps<R> & Effect.Effect<unknown, E, R>,
  options?: { readonly retry?: Step.Retry<NoInfer<E> | Step.TimedOut> | undefined }
): Effect.Effect<void, never, Execution.Execution | Uses<Step.Plain<R>>> =>
  hook(name, { commit: { execute: Effect.asVoid(effect), retry: options?.retry } })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * States that no open execution was started with this version of the saga, so that its handler can go.
 *
 * **Details**
 *
 * Building the layer asks the store, and fails with `VersionInUse` where executions of that version have not ended, the
 * parked ones among them: it names up to a hundred. Put it beside the handlers that stay, and a deployment that would
 * leave executions without a handler does not start; or build it alone, as a check before the deployment.
 *
 * @category layers
 * @since 0.1.0
 */
export const retiredVersion = (
  saga: { readonly tag: string },
  version: number
): Layer.Layer<never, SagaError<never>, SagaEngine> =>
  Layer.effectDiscard(SagaEngine.use((engine) => engine.retired(saga.tag, version)))

// ---------------------------------------------------------------------------------------------------------------------
// running without a journal
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs a body at once, in memory: steps with their retries and timeouts, roll-back in reverse order, no journal, no
 * engine.
 *
 * **Details**
 *
 * A failure, an interruption and a defect all roll back, since there is nothing to resume from; a defect goes on as a
 * defect. Compensations that fail for good are reported as `SagaError` with `Parked`, the original failure in it.
 *
 * **Gotchas**
 *
 * Nothing survives the process. For programs that need more, the same body goes into `toLayer`.
 *
 * @category running
 * @since 0.1.0
 */
export const transact = <A, E, R>(
  effect: First<Known<R>, First<Undoable<R>, Unsent<R>>> & Effect.Effect<A, E, R>
): Effect.Effect<A, E | SagaError<ErrorOf<ResidueOf<R>>>, UsesOf<R> | Stray<R>> =>
  transactInternal(effect) as Effect.Effect<A, E | SagaError<ErrorOf<ResidueOf<R>>>, UsesOf<R> | Stray<R>>

// ---------------------------------------------------------------------------------------------------------------------
// explaining
// ---------------------------------------------------------------------------------------------------------------------

export {
  /**
   * Tells from its journal what happened to an execution: as sentences, as one text, and as a Mermaid diagram.
   *
   * @category explaining
   * @since 0.1.0
   */
  explain,
  /**
   * What happened to an execution, for people.
   *
   * @category explaining
   * @since 0.1.0
   */
  type Explanation,
  /**
   * One thing that happened, as a complete sentence in one line.
   *
   * @category explaining
   * @since 0.1.0
   */
  type Line
} from "./internal/explain.ts"
