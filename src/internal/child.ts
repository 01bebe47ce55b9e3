/**
 * Children: executions of their own that a body starts, and whose end it waits for.
 *
 * This module describes what is asked; starting, waiting and cancelling are the interpreter's.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type ChildRequest, Execution } from "../Execution.ts"
import type * as Step from "../Step.ts"
import { ChildRolledBack } from "./childRolledBack.ts"
import { codec } from "./codec.ts"
import { definitionOf, type TypeId } from "./definition.ts"
import { type Retry, schedule } from "./step.ts"
import type { Literal, MayWait, Starts, Uses } from "./types.ts"

/**
 * What a child is a child of: a saga's definition.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildDefinition<
  Tag extends string,
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top
> {
  readonly [TypeId]: typeof TypeId
  readonly tag: Tag
  readonly payloadSchema: P
  readonly successSchema: S
  readonly errorSchema: E
}

/**
 * How a child is started, and what becomes of it.
 *
 * **Details**
 *
 * A type parameter each: what the child completes with, its name, the error and the services of what undoes it, what
 * its parent does where it rolled back by itself, the timeout of the compensation, and the services of its `check`.
 *
 * @category options
 * @since 0.1.0
 */
export interface ChildOptions<
  A,
  Name extends string,
  CE,
  CR,
  Else extends "park" | "fail" = "park",
  CT extends Duration.Input = never,
  CKR = never
> {
  /**
   * What the journal calls it; a part of its id. Two children of one name in one concurrent region are refused, as with
   * steps.
   *
   * @default the name of the saga
   */
  readonly name?: Literal<Name> | undefined
  /**
   * What a roll-back of the parent does about a child that has completed: a compensation, which gets its result; or
   * `"leave"`, which says that what it did stays.
   *
   * **Details**
   *
   * The compensation is held at the place where the child completed, journaled and retried like that of a step. A child
   * that has not ended is cancelled either way, and its end is awaited: one that completes all the same counts as
   * completed.
   */
  readonly onParentRollback:
    | "leave"
    | ((value: A, cause: Cause.Cause<unknown>) => MayWait<CR> & Effect.Effect<unknown, CE, CR>)
  /**
   * How the compensation is tried again, and how long it may take.
   *
   * @default what the saga says
   */
  readonly compensation?: Step.CompensationOptions<CE, CT, CKR> | undefined
  /**
   * What the parent does when the child rolled back although it did not fail: somebody cancelled it, its deadline
   * passed, a person or a bug rolled it back. `"park"`: it waits for a person. `"fail"`: the child fails with
   * `Saga.ChildRolledBack`, which the parent catches or declares.
   *
   * @default "park"
   */
  readonly onRolledBack?: Else | undefined
}

/**
 * Starts an execution of another saga, or joins the one that was started here before, and waits for its end.
 *
 * **When to use**
 *
 * For a part of a saga that has a life of its own: its own journal, its own handler, perhaps in another process, its
 * own versions, and its own place in lists.
 *
 * **Details**
 *
 * Its result is the child's, its error that of the child's definition, once the child has undone what it did. The id
 * comes from that of the parent, the name, and how often the body has asked for the name: a replay, or another worker,
 * finds the same child, and the definition's `idempotencyKey` has no part in it. The parent's journal has the child
 * before it is created.
 *
 * A parent that waits longer than `Limits.SuspendAfter` leaves memory, and is taken up when the child ends. A child
 * that is parked shows in the parent's records, which goes on waiting. When the parent rolls back, or a part of it that
 * lost a race or was interrupted, a child that has not ended is cancelled, and its end is awaited; one that has
 * completed is undone as `onParentRollback` says.
 *
 * The parent parks (`Child`) where the child cannot be created, since an execution has its id that somebody else
 * started; where somebody abandoned it; and where it rolled back without an error of its own, unless `onRolledBack`
 * says otherwise. A person then resolves it with a value, skips it, or rolls the parent back.
 *
 * **Gotchas**
 *
 * Where no process has a handler of the child, it waits for one, and so does its parent: a deployment brings it. A
 * parent that is abandoned leaves its children as they are. A payload that is different when the same child is asked
 * for again, after a crash, is `Nondeterminism`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const child = <
  Tag extends string,
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  const Name extends string = Tag,
  CE = never,
  CR = Left,
  const Else extends "park" | "fail" = "park",
  CT extends Duration.Input = never,
  CKR = never
>(
  saga: ChildDefinition<Tag, P, S, E>,
  payload: P["Type"],
  options: ChildOptions<S["Type"], Name, CE, CR, Else, CT, CKR>
): Effect.Effect<
  S["Type"],
  Failure<E, Else>,
  | Execution
  | Starts<Failure<E, Else>>
  | Uses<
    | Step.Plain<Exclude<CR, Left> | CKR>
    | P["EncodingServices"]
    | S["DecodingServices"]
    | E["DecodingServices"]
  >
  | Held<Name, CE, CR, CT>
> =>
  Effect.withFiber((fiber) => {
    const request = requestOf(saga, payload, options)
    const execution = Context.getOrUndefined(fiber.context, Execution)
    return execution === undefined
      ? Effect.die(new Error(`${request.name} is a child: yield it in a saga's body`))
      : execution.ask(request, fiber)
  })

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Where nothing is inferred from what undoes it, nothing does. */
declare const Leave: unique symbol
interface Left {
  readonly [Leave]: never
}
type Failure<E extends Schema.Top, Else> = E["Type"] | (Else extends "fail" ? ChildRolledBack : never)
type Held<Name extends string, CE, CR, CT> = [Left] extends [CR] ? never : Step.Residue<Name, CE | Step.Failing<CT>>

interface Untyped {
  readonly name?: string | undefined
  readonly onParentRollback: "leave" | ((...args: never) => unknown)
  readonly compensation?: {
    readonly retry?: Retry | undefined
    readonly timeout?: Duration.Input | undefined
    readonly heartbeatTimeout?: Duration.Input | undefined
    readonly onFailure?: "continue" | "halt" | undefined
    readonly check?: NonNullable<ChildRequest["compensation"]>["check"]
  } | undefined
  readonly onRolledBack?: "park" | "fail" | undefined
}

/** The one place where what the types say is forgotten. */
const requestOf = (
  saga: ChildDefinition<string, Schema.Top, Schema.Top, Schema.Top>,
  payload: unknown,
  { compensation, name = saga.tag, onParentRollback: undo, onRolledBack = "park" }: Untyped
): ChildRequest => {
  const definition = definitionOf(saga)
  const { heartbeatTimeout, timeout } = compensation ?? {}
  return {
    _tag: "Child",
    name,
    saga: {
      tag: saga.tag,
      version: definition?.version ?? 1,
      deadline: definition?.deadline,
      payload: codec(saga.payloadSchema),
      tags: definition?.tags ?? (() => ({}))
    },
    payload,
    success: codec(saga.successSchema),
    error: codec(withRolledBack(saga.errorSchema)),
    undone: onRolledBack,
    fallible: onRolledBack === "fail" || saga.errorSchema !== Schema.Never,
    compensation: undo === "leave" ? undefined : {
      run: undo as NonNullable<ChildRequest["compensation"]>["run"],
      retry: schedule(compensation?.retry),
      timeout: timeout === undefined ? undefined : Duration.fromInputUnsafe(timeout),
      heartbeatTimeout: heartbeatTimeout === undefined ? undefined : Duration.fromInputUnsafe(heartbeatTimeout),
      onFailure: compensation?.onFailure,
      check: compensation?.check
    }
  }
}

/** What a child fails with is stored by its own schema, or is the library's `ChildRolledBack`. */
const withRolledBack = (schema: Schema.Top): Schema.Top => {
  const known = errors.get(schema)
  if (known !== undefined) return known
  const made = Schema.Union([schema, ChildRolledBack])
  errors.set(schema, made)
  return made
}
const errors = new WeakMap<Schema.Top, Schema.Top>()
