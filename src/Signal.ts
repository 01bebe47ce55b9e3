/**
 * Signals: typed messages from outside to one execution.
 *
 * A signal is defined once, by its name and the schema of its payload; a body waits for it, and anybody who knows the
 * execution's id sends it (`definition.signal`). What is sent is durable once the sender is answered, is kept while
 * nobody waits for it, and is received exactly once. This module asks the current interpreter; it knows no store.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Inbox, type Received as ReceivedSignal, type ReceiveRequest } from "./Execution.ts"
import { codec } from "./internal/codec.ts"
import type { Listens, Literal, Storable } from "./internal/types.ts"

const TypeId = "~effect-saga/Signal"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A kind of signal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Signal<Name extends string, P extends Schema.Top> {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly payloadSchema: P
}

/**
 * Any kind of signal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Signal<string, Schema.Top> {}

/**
 * What is received where several kinds are waited for: which kind it is, and its payload.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Received<S extends Any> = S extends Signal<infer Name, infer P>
  ? { readonly _tag: Name; readonly payload: P["Type"] }
  : never

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Defines a kind of signal. The name is stored with each signal, and says which receive it is for.
 *
 * **Details**
 *
 * `payload` defaults to `Schema.Void`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Name extends string, P extends Schema.Top = Schema.Void>(
  name: Literal<Name>,
  options?: { readonly payload?: (P & Storable<P>) | undefined }
): Signal<Name, P> => ({
  [TypeId]: TypeId,
  name,
  payloadSchema: (options?.payload ?? Schema.Void) as Schema.Top as P
})

// ---------------------------------------------------------------------------------------------------------------------
// receiving
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Waits for the next signal of a kind, and gives its payload.
 *
 * **Details**
 *
 * Signals of one kind are a queue: each receive takes the oldest that nobody has received, in the order in which they
 * were sent, also what was sent before anybody waited. Where several fibers wait for one kind, who asked first is given
 * the first. What it gives is journaled, and given again on replay.
 *
 * Belongs into a body, or into a compensation. One that waits longer than `Limits.SuspendAfter` leaves memory, and is
 * taken up again when something is sent to the execution. One that is interrupted, or loses a race, takes nothing: what
 * was sent stays for the next receive. A payload that this version cannot decode parks the execution, and stays too. A
 * signal that nobody receives before the execution ends is journaled as undelivered.
 *
 * **Gotchas**
 *
 * A compensation keeps what it has received: an attempt that is tried again gets the same signals again.
 *
 * @category receiving
 * @since 0.1.0
 */
export const receive = <Name extends string, P extends Schema.Top>(
  signal: Signal<Name, P>
): Effect.Effect<P["Type"], never, Listens<P["DecodingServices"]>> =>
  Effect.map(next<P["DecodingServices"]>([signal]), ({ payload }) => payload)

/**
 * Waits for the next signal of any of these kinds, whichever was sent first. Otherwise as `receive`.
 *
 * @category receiving
 * @since 0.1.0
 */
export const receiveAny = <const Kinds extends readonly [Any, ...ReadonlyArray<Any>]>(
  ...kinds: Kinds
): Effect.Effect<Received<Kinds[number]>, never, Listens<Kinds[number]["payloadSchema"]["DecodingServices"]>> =>
  Effect.map(
    next<Kinds[number]["payloadSchema"]["DecodingServices"]>(kinds),
    ({ payload, signal }) => ({ _tag: signal, payload }) as Received<Kinds[number]>
  )

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Its interpreter decodes, with what the asking code provides. */
const next = <R>(kinds: ReadonlyArray<Any>): Effect.Effect<ReceivedSignal, never, Listens<R>> =>
  Effect.withFiber((fiber) => Inbox.use((inbox) => inbox.receive(requestOf(kinds), fiber)))

const requestOf = (kinds: ReadonlyArray<Any>): ReceiveRequest => ({
  _tag: "Receive",
  name: kinds.map(({ name }) => name).join(", "),
  kinds: new Map(kinds.map(({ name, payloadSchema }) => [name, codec(payloadSchema)]))
})
