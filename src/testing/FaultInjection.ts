/**
 * A store that fails when a plan says so: not reached, reached and not heard, slow, or refusing.
 *
 * It wraps any driver, changes nothing about what is stored, and needs no test framework. A plan is a pure function of
 * which call it is, so the same plan makes the same faults. It never interprets what is stored.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as SagaStore from "../SagaStore.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a call of the store is for.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation = keyof SagaStore.Encoded

/**
 * A call that is about to be made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly operation: Operation
  /** Which call of this operation it is, from 1. */
  readonly number: number
  /** Which call at all it is, from 1. */
  readonly total: number
}

/**
 * What happens to a call.
 *
 * **Details**
 *
 * `Unavailable`: the store is not reached; the caller may try again. `Lost`: the store does it, and the caller does not
 * hear of it: it gets the error of `Unavailable`. `Refused`: the store does nothing, and never will. `Slow`: it is done
 * after this time.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault =
  | { readonly _tag: "Unavailable" }
  | { readonly _tag: "Lost" }
  | { readonly _tag: "Refused" }
  | { readonly _tag: "Slow"; readonly duration: Duration.Input }

/**
 * Which calls fail, and how; undefined: this one does not. Called once for each call, in order.
 *
 * @category models
 * @since 0.1.0
 */
export type Plan = (call: Call) => Fault | undefined

// ---------------------------------------------------------------------------------------------------------------------
// faults
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The store is not reached.
 *
 * @category faults
 * @since 0.1.0
 */
export const unavailable: Fault = { _tag: "Unavailable" }

/**
 * The store does it, and the caller does not hear of it.
 *
 * @category faults
 * @since 0.1.0
 */
export const lost: Fault = { _tag: "Lost" }

/**
 * The store does nothing, and says that it never will.
 *
 * @category faults
 * @since 0.1.0
 */
export const refused: Fault = { _tag: "Refused" }

/**
 * The store takes its time.
 *
 * @category faults
 * @since 0.1.0
 */
export const slow = (duration: Duration.Input): Fault => ({ _tag: "Slow", duration })

// ---------------------------------------------------------------------------------------------------------------------
// plans
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Nothing fails.
 *
 * @category plans
 * @since 0.1.0
 */
export const none: Plan = () => undefined

/**
 * One call of one operation fails, counted from 1.
 *
 * @category plans
 * @since 0.1.0
 */
export const nth = (operation: Operation, number: number, fault: Fault): Plan => (call) =>
  call.operation === operation && call.number === number ? fault : undefined

/**
 * Every call from one on, counted from 1, as many as `times`: of one operation, or of all.
 *
 * @category plans
 * @since 0.1.0
 */
export const from = (options: {
  /**
   * @default every operation
   */
  readonly operation?: Operation | undefined
  /** The first call that fails. */
  readonly first: number
  /**
   * @default all that follow
   */
  readonly times?: number | undefined
  readonly fault: Fault
}): Plan =>
(call) => {
  if (options.operation !== undefined && call.operation !== options.operation) return undefined
  const count = options.operation === undefined ? call.total : call.number
  return count >= options.first && count < options.first + (options.times ?? Infinity) ? options.fault : undefined
}

/**
 * The first of several plans that has a fault for a call.
 *
 * @category plans
 * @since 0.1.0
 */
export const either = (...plans: ReadonlyArray<Plan>): Plan => (call) => {
  let fault: Fault | undefined
  // Each plan sees every call, as it would alone.
  for (const plan of plans) {
    const found = plan(call)
    fault ??= found
  }
  return fault
}

/**
 * A part of all calls fails, by a generator with a seed: the same calls get the same faults each time.
 *
 * **Details**
 *
 * `rate` is the part that fails, from 0 to 1; each gets one of `faults`.
 *
 * @category plans
 * @since 0.1.0
 */
export const randomly = (options: {
  readonly seed: string | number
  readonly rate: number
  readonly faults: ReadonlyArray<Fault>
}): Plan => {
  const random = Effect.runSync(Random.withSeed(Effect.map(Random.Random, (random) => random), options.seed))
  return () => {
    const fails = random.nextDoubleUnsafe() < options.rate
    const which = Math.floor(random.nextDoubleUnsafe() * options.faults.length)
    return fails ? options.faults[which] : undefined
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A driver that fails by a plan. Calls are counted from here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (encoded: SagaStore.Encoded, plan: Plan): SagaStore.Encoded => {
  const counts = new Map<Operation, number>()
  let total = 0
  const next = (operation: Operation): Fault | undefined => {
    const number = (counts.get(operation) ?? 0) + 1
    counts.set(operation, number)
    return plan({ operation, number, total: ++total })
  }
  const faulty = <A, R>(operation: Operation, call: Effect.Effect<A, SagaStore.StoreError, R>) =>
    Effect.suspend(() => {
      const fault = next(operation)
      switch (fault?._tag) {
        case undefined:
          return call
        case "Unavailable":
          return Effect.fail(failure(operation, true, "it cannot be reached"))
        case "Lost":
          return Effect.andThen(call, Effect.fail(failure(operation, true, "its answer was lost")))
        case "Refused":
          return Effect.fail(failure(operation, false, "it refuses this"))
        case "Slow":
          return Effect.andThen(Effect.sleep(fault.duration), call)
      }
    })
  return {
    append: (batch) => faulty("append", encoded.append(batch)),
    witness: (execution, seq) => faulty("witness", encoded.witness(execution, seq)),
    read: (execution) => faulty("read", encoded.read(execution)),
    journal: (execution, after) => faulty("journal", encoded.journal(execution, after)),
    list: (query) => faulty("list", encoded.list(query)),
    stats: faulty("stats", encoded.stats),
    claim: (options) => faulty("claim", encoded.claim(options)),
    owned: (worker) => faulty("owned", encoded.owned(worker)),
    release: (options) => faulty("release", encoded.release(options)),
    send: (options) => faulty("send", encoded.send(options)),
    inbox: (execution, after) => faulty("inbox", encoded.inbox(execution, after)),
    unread: (worker) => faulty("unread", encoded.unread(worker)),
    register: (worker, lease) => faulty("register", encoded.register(worker, lease)),
    renew: (worker, lease) => faulty("renew", encoded.renew(worker, lease)),
    retire: (worker) => faulty("retire", encoded.retire(worker)),
    listen: (onWake) => faulty("listen", encoded.listen(onWake)),
    wake: faulty("wake", encoded.wake)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The store in the context, failing by a plan.
 *
 * **Example** (An append whose answer is lost)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { SagaEngine, SagaStore } from "effect-saga"
 * import { FaultInjection } from "effect-saga/testing"
 *
 * const EngineLive = SagaEngine.layer.pipe(
 *   Layer.provide(FaultInjection.layer(FaultInjection.nth("append", 2, FaultInjection.lost))),
 *   Layer.provide(SagaStore.layerMemory)
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (plan: Plan): Layer.Layer<SagaStore.SagaStore, never, SagaStore.SagaStore> =>
  Layer.effect(
    SagaStore.SagaStore,
    Effect.map(SagaStore.SagaStore, ({ encoded }) => SagaStore.make(make(encoded, plan)))
  )

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const failure = (operation: Operation, retryable: boolean, what: string): SagaStore.StoreError =>
  new SagaStore.StoreError({ operation, retryable, cause: new Error(`a fault that was planned: ${what}`) })
