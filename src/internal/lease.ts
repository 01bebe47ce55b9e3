/**
 * A worker's lease: registered in the store, renewed at a third of its length, counted here on the monotonic clock from
 * when the renewal was sent.
 *
 * What it promises: while `holds` is true, no other worker acts on what this one owns. It knows no executions; who must
 * stop when it ends is told by `onLost`.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Scope from "effect/Scope"
import type { Encoded, StoreError } from "../SagaStore.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  /** The worker's id; a new one after a lease was lost. */
  readonly worker: () => string
  /** Whether the lease holds now. */
  readonly holds: () => boolean
}

/**
 * Registers a worker and keeps its lease until the scope closes; then the worker is retired.
 *
 * **Details**
 *
 * `onLost` runs when the lease ended, or could not be renewed in time: what this worker runs must stop. Afterwards it
 * registers anew, under another id, as soon as the store answers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  store: Pick<Encoded, "register" | "renew" | "retire">,
  length: Duration.Duration,
  onLost: Effect.Effect<void>
): Effect.fn.Return<Lease, StoreError, Scope.Scope> {
  const clock = yield* Clock.Clock
  const millis = Duration.toMillis(length)
  const nanos = BigInt(Math.round(millis)) * 1_000_000n
  let worker = newId()
  let until = 0n

  const register = Effect.suspend(() => {
    const sent = clock.monotonicTimeNanosUnsafe()
    return Effect.map(store.register(worker, millis), () => {
      until = sent + nanos
    })
  })
  const lose = Effect.suspend(() => {
    until = 0n
    worker = newId()
    return onLost
  })
  const remaining = () => Number((until - clock.monotonicTimeNanosUnsafe()) / 1_000_000n)

  /** One renewal; a store that does not answer is asked again until the lease has ended. */
  const renew = Effect.suspend(() => {
    const sent = clock.monotonicTimeNanosUnsafe()
    return store.renew(worker, millis).pipe(
      Effect.timeoutOrElse({ duration: Math.max(0, remaining()), orElse: () => Effect.succeed(false) }),
      Effect.flatMap((renewed) => {
        if (!renewed) return lose
        until = sent + nanos
        return Effect.void
      }),
      Effect.catchCause(() => remaining() > 0 ? Effect.void : lose)
    )
  })

  yield* register
  // A store that does not answer does not hold up a shutdown: then the lease ends by itself.
  yield* Effect.addFinalizer(() =>
    store.retire(worker).pipe(Effect.interruptible, Effect.timeoutOption(millis / 3), Effect.ignore)
  )
  yield* Effect.gen(function*() {
    while (true) {
      if (until === 0n) {
        yield* Effect.ignoreCause(Effect.timeoutOption(register, millis))
        if (until === 0n) yield* Effect.sleep(Math.min(1_000, millis / 10))
      } else {
        // A third of the lease; sooner where an earlier renewal failed and less is left.
        yield* Effect.sleep(Math.max(0, Math.min(millis / 3, remaining() / 3)))
        yield* renew
      }
    }
  }).pipe(Effect.forkScoped)

  return { worker: () => worker, holds: () => clock.monotonicTimeNanosUnsafe() < until }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Stored with every execution and in its index: short. */
const newId = (): string => Base64Url.encode(SecureRandom.randomBytesUnsafe(9))
