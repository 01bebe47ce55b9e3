/**
 * What a body carries in its requirements, and the sentences with which the compiler refuses one.
 *
 * Everything here is a type: evidence is phantom and never provided at run time. One refusal, one sentence.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import type { Execution, Inbox, Waiting } from "../Execution.ts"

declare const Evidence: unique symbol
declare const Refused: unique symbol

/**
 * A compensation was acquired; `Residue` is what stays if it fails: `{ step, error }`, or never.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Undo<out Residue> {
  readonly [Evidence]: { readonly undo: () => Residue }
}

/**
 * Services used inside a step, so what they do is journaled.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Uses<out R> {
  readonly [Evidence]: { readonly uses: () => R }
}

/**
 * Services that the payload of a signal is decoded with, where it is received: in a body, or in a compensation.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Receives<out R> {
  readonly [Evidence]: { readonly receives: () => R }
}

/**
 * What a receive asks for: the inbox, and the services of its codecs where there are any.
 *
 * @category evidence
 * @since 0.1.0
 */
export type Listens<R> = [R] extends [never] ? Inbox : Inbox | Receives<R>

/**
 * A child is started, which can fail with `E`.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Starts<out E> {
  readonly [Evidence]: { readonly starts: () => E }
}

/**
 * A step that acts and is never undone: it belongs after the point of no return.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Forward {
  readonly [Evidence]: { readonly forward: true }
}

/**
 * The step that decides: acts, cannot be undone, may fail.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Decides {
  readonly [Evidence]: { readonly decides: true }
}

/**
 * The body publishes this: `{ key, value }`.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Publishes<out Said> {
  readonly [Evidence]: { readonly publishes: () => Said }
}

/**
 * The body continues as new with this payload.
 *
 * @category evidence
 * @since 0.1.0
 */
export interface Continues<out P> {
  readonly [Evidence]: { readonly continues: () => P }
}

/**
 * The services that a schema is stored with.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Codecs<S extends Schema.Top> = S["EncodingServices"] | S["DecodingServices"]

/**
 * A program that the compiler refuses, with the reason as a sentence.
 *
 * @category refusals
 * @since 0.1.0
 */
export interface SagaTypeError<in out Sentence extends string> {
  readonly [Refused]: readonly [Sentence]
}

/**
 * The same, with what the sentence is about: a service, or a step and its error.
 *
 * @category refusals
 * @since 0.1.0
 */
export interface SagaTypeErrorOf<in out Sentence extends string, in out Culprit> {
  readonly [Refused]: readonly [Sentence, Culprit]
}

/**
 * The services that a body uses inside its steps.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type UsesOf<R> = R extends Uses<infer U> ? U : R extends Receives<infer U> ? U : never

/**
 * What a body's compensations can leave undone.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type ResidueOf<R> = R extends Undo<infer X> ? X : never

/**
 * The errors among what can be left undone.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type ErrorOf<Residue> = Residue extends { readonly error: infer E } ? E : never

/**
 * The services that a body asks for itself, outside of any step.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Stray<R> = Exclude<R, Inner>

type Wait = Waiting | Inbox | Receives<any>
type Inner =
  | Execution
  | Wait
  | Uses<any>
  | Undo<any>
  | Starts<any>
  | Forward
  | Decides
  | Publishes<any>
  | Continues<any>
type Undeclared<R, CE> = Exclude<ResidueOf<R>, { readonly error: CE }>

/**
 * T6: `execute`, `check` and `compensate` are plain effects.
 *
 * @category refusals
 * @since 0.1.0
 */
export type NoSteps<R> = unknown extends R
  ? SagaTypeError<"the requirements of a step are any or unknown: say which services it uses">
  : [Extract<R, Inner>] extends [never] ? unknown
  : [Exclude<Extract<R, Inner>, Wait>] extends [never]
    ? SagaTypeError<"a durable wait cannot be part of a step: yield it in the saga's body, or in a compensation">
  : SagaTypeError<"a step cannot run inside another step: yield it in the saga's body">

/**
 * The same for a compensation, which may wait durably, for a time and for a signal.
 *
 * @category refusals
 * @since 0.1.0
 */
export type MayWait<R> = unknown extends R ? NoSteps<R> : NoSteps<Exclude<R, Wait>>

/**
 * What runs without a journal has no inbox, no children, and nothing to continue as new.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Unsent<R> = [Extract<R, Inbox>] extends [never]
  ? [Extract<R, Starts<any>>] extends [never] ? [Extract<R, Continues<any>>] extends [never] ? unknown
    : SagaTypeError<"Saga.transact has no journal, so there is nothing to continue as new">
  : SagaTypeError<"Saga.transact has no journal, and so no children: call the body of the child instead">
  : SagaTypeError<"Saga.transact has no journal, and so no inbox: nobody could send it a signal">

/**
 * What a saga says for compensations that say nothing can add to what they fail with: it must be declared too.
 *
 * @category refusals
 * @since 0.1.0
 */
export type DefaultTimeout<CE, TimedOut, Input> = [TimedOut] extends [CE] ? Input
  : SagaTypeError<
    "a timeout for every compensation can leave any of them undone: declare Step.TimedOut in compensationError"
  >

/**
 * A name is stored and part of the types: a literal, or a template literal.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Literal<Name extends string> = string extends Name
  ? string & SagaTypeError<"a name must be a literal: it is stored, and the types speak of it">
  : Name

/**
 * T5: `Schema.Any` and `Schema.Unknown` accept what no journal can hold.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Storable<S extends Schema.Top> = unknown extends S["Type"] ?
  unknown extends S["Encoded"]
    ? SagaTypeError<"a stored schema must say what it stores: Schema.Any and Schema.Unknown lose what JSON cannot hold">
  : unknown
  : unknown

/**
 * What a body's steps are made of: known services, no other steps, and compensations that fail with known errors.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Known<R> = unknown extends R
  ? SagaTypeError<"the requirements of this body are any or unknown, so nothing is known about its steps">
  : unknown extends ErrorOf<ResidueOf<R>>
    ? SagaTypeError<"the error of a compensation is any or unknown: say what it can fail with">
  : NoSteps<UsesOf<R>>

/**
 * The first refusal: one at a time is read.
 *
 * @category refusals
 * @since 0.1.0
 */
export type First<A, B> = unknown extends A ? B : A

/**
 * T4: every service that a body asks for is asked inside a step.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Journaled<R> = [Stray<R>] extends [never] ? unknown
  : SagaTypeErrorOf<"this service is used outside of a step, so its effect would not be journaled", Stray<R>>

/**
 * T2: what a compensation can fail with is declared by the saga.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Declared<R, CE> = [Undeclared<R, CE>] extends [never] ? unknown
  : SagaTypeErrorOf<
    "a compensation can fail with an error that the saga does not declare in compensationError",
    Undeclared<R, CE>
  >

/**
 * T7: what a body can fail with is declared by the saga.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Fails<X, E> = 0 extends 1 & X ? SagaTypeError<"the error of this body is any: say what it can fail with">
  : [Exclude<X, E>] extends [never] ? unknown
  : SagaTypeErrorOf<"the body can fail with an error that the saga does not declare in error", Exclude<X, E>>

/**
 * What a body publishes is declared by the saga, with a schema that can hold it.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Published<R, Pub> = [Exclude<SaidOf<R>, Declares<Pub>>] extends [never] ? unknown
  : SagaTypeErrorOf<
    "the body publishes what the saga does not declare in published",
    Exclude<SaidOf<R>, Declares<Pub>>
  >

type SaidOf<R> = R extends Publishes<infer Said> ? Said : never
type Declares<Pub> = {
  readonly [Key in keyof Pub]: {
    readonly key: Key
    readonly value: Pub[Key] extends Schema.Top ? Pub[Key]["Type"] : never
  }
}[keyof Pub]

/**
 * What a body continues as new with is its payload.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Continued<R, P> = [Exclude<ContinuationOf<R>, P>] extends [never] ? unknown
  : SagaTypeErrorOf<"the body continues as new with what is not the payload of its saga", ContinuationOf<R>>

/**
 * Nothing is held when a body continues as new: what comes then knows nothing of what was before.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Unheld<R> = [Extract<R, Continues<any>>] extends [never] ? unknown
  : [Extract<R, Undo<any>>] extends [never] ? unknown
  : SagaTypeError<"compensations would be lost when this body continues as new: let .settle(...) continue it">

/**
 * What writes the payload that a body continues as new with.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Again<R, P extends Schema.Top> = [Extract<R, Continues<any>>] extends [never] ? never
  : P["EncodingServices"]

type ContinuationOf<R> = R extends Continues<infer P> ? P : never

/**
 * The numbers from `Min` to `Max`, as literals.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Between<Min extends number, Max extends number> = number extends Min | Max ? number
  : [Odd<`${Min}` | `${Max}`>] extends [never] ? Exclude<Below<Max> | Max, Below<Min>>
  : never

type Odd<Text extends string> = Extract<Text, `-${string}` | `${string}.${string}` | `${string}e${string}`>

type Below<N extends number, Counted extends ReadonlyArray<number> = []> = Counted["length"] extends N ? Counted[number]
  : Below<N, readonly [...Counted, Counted["length"]]>

/**
 * The versions of a change are whole numbers, in their order.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Versions<Min extends number, Max extends number> = number extends Min | Max
  ? SagaTypeError<"the versions of a change must be literals: the types speak of them">
  : [Odd<`${Min}` | `${Max}`>] extends [never] ?
    [Between<Min, Max>] extends [never]
      ? SagaTypeError<"the versions of a change go from min to max: min is the larger one">
    : unknown
  : SagaTypeError<"the versions of a change are whole numbers from 0 on">

/**
 * The bound of a body's error: anything, and the literals of the declared ones stay literals.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type AnError<E> = E | {} | null | undefined

/**
 * T3, before the point of no return: everything can be undone.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Undoable<R> = [Extract<R, Forward>] extends [never] ? [Extract<R, Decides>] extends [never] ? unknown
  : SagaTypeError<"a pivot decides the saga: give it to .pivot(...) after .attempt(...)">
  : SagaTypeError<"a retryable step is never undone: it belongs after the point of no return, in .settle(...)">

/**
 * T3, between the two: the step that decides.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Deciding<R> = [Extract<R, Decides>] extends [never]
  ? SagaTypeError<"this step does not decide: .pivot(...) takes a Step.pivot">
  : unknown

/**
 * T3, after the point of no return: nothing fails with a declared error.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Total<E> = [E] extends [never] ? unknown
  : SagaTypeErrorOf<"after the point of no return nothing may fail: handle this error, or use Step.retryable", E>

/**
 * T3, after the point of no return: nothing is compensable and nothing decides.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Settled<R> = [Extract<R, Undo<any>>] extends [never] ?
  [Extract<R, Decides>] extends [never] ? [RefusesOf<R>] extends [never] ? unknown
    : SagaTypeErrorOf<"after the point of no return no child may be started that can fail", RefusesOf<R>>
  : SagaTypeError<"the point of no return is passed: there is nothing left for a pivot to decide">
  : SagaTypeError<"after the point of no return nothing can be compensated: use Step.retryable">

type RefusesOf<R> = R extends Starts<infer E> ? E : never

/**
 * Everything that a body before the point of no return must satisfy.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Backward<R, X, E, CE, Pub = {}, P = never> = First<
  Known<R>,
  First<
    Journaled<R>,
    First<
      Undoable<R>,
      First<Declared<R, CE>, First<Fails<X, E>, First<Published<R, Pub>, First<Unheld<R>, Continued<R, P>>>>>
    >
  >
>

/**
 * Everything that a body after the point of no return must satisfy.
 *
 * @category refusals
 * @since 0.1.0
 */
export type Onward<R, E, Pub = {}, P = never> = First<
  Known<R>,
  First<Journaled<R>, First<Settled<R>, First<Total<E>, First<Published<R, Pub>, Continued<R, P>>>>>
>
