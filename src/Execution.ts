/**
 * The seam: the one service that a saga's body asks.
 *
 * A step, a timer or a scope is a request; the current interpreter runs it, answers it from the journal, or refuses it.
 * The durable executor and `Saga.transact` are two implementations. This module knows neither.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { Codec } from "./internal/codec.ts"
import type * as Journal from "./Journal.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What `check` answers about an attempt of which nobody knows whether it happened.
 *
 * @category models
 * @since 0.1.0
 */
export type Check<A> =
  | { readonly _tag: "Happened"; readonly value: A }
  | { readonly _tag: "Never" }
  | { readonly _tag: "StillGoing" }

/**
 * How compensations are run: a step's own options, or what the saga says for those that say nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface CompensationOptions {
  readonly retry: Schedule.Schedule<unknown, unknown, unknown, unknown> | undefined
  readonly timeout: Duration.Duration | undefined
  readonly onFailure: "continue" | "halt" | undefined
}

/**
 * How a step is undone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compensation extends CompensationOptions {
  readonly run: (value: unknown, cause: Cause.Cause<unknown>) => Effect.Effect<unknown, unknown, unknown>
  readonly heartbeatTimeout: Duration.Duration | undefined
  readonly check: CheckRequest | undefined
}

/**
 * Asks the participant about the attempt with this key.
 *
 * @category models
 * @since 0.1.0
 */
export type CheckRequest = (
  key: string
) => Effect.Effect<Option.Option<unknown> | Check<unknown>, unknown, unknown>

/**
 * A step as its interpreter sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface StepRequest {
  readonly _tag: "Step"
  readonly name: string
  readonly kind: Journal.Kind
  readonly success: Codec
  readonly error: Codec
  readonly execute: Effect.Effect<unknown, unknown, unknown>
  readonly retry: Schedule.Schedule<unknown, unknown, unknown, unknown> | undefined
  readonly timeout: Duration.Duration | undefined
  readonly heartbeatTimeout: Duration.Duration | undefined
  readonly check: CheckRequest | undefined
  readonly unknown: "park" | "refused" | undefined
  readonly compensation: Compensation | undefined
  /** What runs after the point of no return when the saga ends well. */
  readonly commit: StepRequest | undefined
}

/**
 * The next signal of one of these kinds. `kinds`: the codecs of their payloads, by their names.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReceiveRequest {
  readonly _tag: "Receive"
  readonly name: string
  readonly kinds: ReadonlyMap<string, Codec>
}

/**
 * A race is over. `winner`: who ended first, from 0. `losers`: the scopes of the others, to be undone once they have
 * settled. `settled`: returns once their fibers have ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface RaceRequest {
  readonly _tag: "Race"
  readonly name: string
  readonly winner: number
  readonly losers: ReadonlyArray<string>
  readonly settled: Effect.Effect<void>
}

/**
 * An execution of its own that the body starts, and whose end it waits for.
 *
 * **Details**
 *
 * `error`: how what it fails with is stored. `undone`: what its parent does where it rolled back although it did not
 * fail. `fallible`: whether it may fail with a declared error. `compensation`: what undoes it once it has completed.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildRequest {
  readonly _tag: "Child"
  readonly name: string
  readonly saga: ChildSaga
  readonly payload: unknown
  readonly success: Codec
  readonly error: Codec
  readonly undone: "park" | "fail"
  readonly fallible: boolean
  readonly compensation: Compensation | undefined
}

/**
 * What starts an execution of a saga.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildSaga {
  readonly tag: string
  readonly version: number
  readonly deadline: Duration.Duration | undefined
  readonly payload: Codec
  readonly tags: (payload: unknown) => Readonly<Record<string, string>>
}

/**
 * A signal as its receiver gets it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received {
  readonly signal: string
  readonly payload: unknown
}

/**
 * Everything a body can ask.
 *
 * `Timer` is a durable sleep, `PointOfNoReturn` closes `attempt`, `RollbackScope` undoes what a `Saga.scoped` did,
 * `RollbackSteps` what is held of the steps with these names. `Publish` makes a value visible to readers,
 * `Version` asks which version of a change of the body holds here. `Continue` ends the body, which begins anew with
 * this payload; it is never answered.
 *
 * @category models
 * @since 0.1.0
 */
export type Request =
  | StepRequest
  | {
    readonly _tag: "Timer"
    readonly name: string
    readonly until: { readonly time: number } | { readonly millis: number }
  }
  | { readonly _tag: "PointOfNoReturn" }
  | { readonly _tag: "RollbackScope"; readonly scope: string; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "RollbackSteps"; readonly names: ReadonlyArray<string> }
  | { readonly _tag: "Continue"; readonly payload: unknown }
  | { readonly _tag: "Publish"; readonly key: string; readonly value: unknown }
  | { readonly _tag: "Version"; readonly change: string; readonly min: number; readonly max: number }
  | ReceiveRequest
  | RaceRequest
  | ChildRequest

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The current interpreter of a body.
 *
 * @category services
 * @since 0.1.0
 */
export class Execution extends Context.Service<Execution, {
  /** The id of the execution. */
  readonly id: string
  /** Asks on behalf of a fiber of the body; the answer never comes synchronously. */
  readonly ask: (request: Request, fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<unknown, unknown>
  /** A new name for a roll-back scope, inside the scope `outer`. */
  readonly openScope: (outer: string, fiber: Fiber.Fiber<unknown, unknown>) => string
  /** The names of the steps that have happened, as far as the body was told, and are not undone; in that order. */
  readonly executed: () => ReadonlyArray<string>
}>()("effect-saga/Execution") {}

/**
 * Durable waits: in a body, and in a compensation.
 *
 * @category services
 * @since 0.1.0
 */
export class Waiting extends Context.Service<Waiting, {
  /** Waits until `time`, or for so many milliseconds. */
  readonly sleep: (
    name: string,
    until: { readonly time: number } | { readonly millis: number },
    fiber: Fiber.Fiber<unknown, unknown>
  ) => Effect.Effect<void>
}>()("effect-saga/Execution/Waiting") {}

/**
 * Messages from outside: in a body, and in a compensation.
 *
 * @category services
 * @since 0.1.0
 */
export class Inbox extends Context.Service<Inbox, {
  /** Waits for the next signal of one of these kinds. */
  readonly receive: (
    request: ReceiveRequest,
    fiber: Fiber.Fiber<unknown, unknown>
  ) => Effect.Effect<Received>
}>()("effect-saga/Execution/Inbox") {}

/**
 * What the interpreter tells an attempt that beats. `cancelRequested`: nobody wants the step any more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Heartbeat {
  readonly cancelRequested: boolean
}

/**
 * An attempt's heartbeats. `beat`: it is alive, and has come this far, in stored form. `before`: the last details of
 * earlier attempts that are durable.
 *
 * @category models
 * @since 0.1.0
 */
export interface Heart {
  readonly beat: (details: Schema.Json | undefined) => Effect.Effect<Heartbeat>
  readonly before: Schema.Json | undefined
}

/**
 * The roll-back scope that the asking code is in: the path of nested `Saga.scoped`, empty for the saga itself.
 *
 * @category services
 * @since 0.1.0
 */
export const CurrentScope = Context.Reference<string>("effect-saga/Execution/CurrentScope", {
  defaultValue: () => ""
})

/**
 * What a step asks of the world: its effect, whether that happened, its compensation, whether that happened.
 *
 * @category models
 * @since 0.1.0
 */
export type ActKind = "execute" | "check" | "compensate" | "checkCompensation"

/**
 * Something that a step is about to ask of the world, with what it may fail with; `step` is the step's own kind.
 *
 * @category models
 * @since 0.1.0
 */
export type InterceptedAct =
  | { readonly kind: "execute"; readonly step: Journal.Kind; readonly error: Codec }
  | { readonly kind: "compensate"; readonly error: Codec }
  | { readonly kind: "check" | "checkCompensation" }

/**
 * Wraps everything that steps do, for tests: what it gives is run instead. It runs where the act would, with the step's
 * `StepContext`. Read when a handler is registered; undefined, as by default, it costs nothing.
 *
 * @category services
 * @since 0.1.0
 */
export const Interceptor = Context.Reference<
  | ((
    act: InterceptedAct,
    effect: Effect.Effect<unknown, unknown, unknown>
  ) => Effect.Effect<unknown, unknown, unknown>)
  | undefined
>("effect-saga/Execution/Interceptor", { defaultValue: () => undefined })
