/**
 * Group commit: one per process, it gathers what all executions append while the previous write is in flight, and sends
 * it as one batch.
 *
 * Nothing waits for a timer: a batch is sent at the end of the current tick, or before it when all who were answered
 * have appended again. Where many executions write, two batches are on their way, each with half of them: while the
 * database works on one, those of the other go on here. An execution waits for its append, so it is in one of them at
 * most. A store in memory takes an append at once from who asks for that, but so many only before others have their
 * turn. A batch that was not acknowledged is frozen and sent again byte for byte; whether a refused append was one's
 * own is read from its token in a later statement. The writer knows neither entries nor executions; it never drops an
 * append without an answer.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Append, Encoded, StoreError } from "../SagaStore.ts"
import type { Blank } from "./blank.ts"
import * as limits from "./limits.ts"
import { atOnce } from "./memory.ts"

/**
 * What became of an append. `Lost`: somebody else has written at this place of the journal, or after it.
 *
 * @category models
 * @since 0.1.0
 */
export type Written = "Kept" | "Lost"

/**
 * The writer.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalWriter {
  /**
   * Appends, and returns once that is durable. Fails only when the store refuses this very append for good, or when
   * `giveUp` says that there is no point in sending it again; is interrupted when the writer's scope closes first.
   */
  readonly append: (append: Append) => Effect.Effect<Written, StoreError>
  /** Appends without waiting, where the store is in memory; whether it was kept. If not, it is appended as usual. */
  readonly now: (append: Append) => boolean
  /** The same as `append` for who has no need of an effect. */
  readonly send: (append: Append, answer: (written: Exit.Exit<Written, StoreError>) => void) => void
}

/**
 * A writer over a driver, for as long as the scope is open.
 *
 * **Details**
 *
 * `giveUp` is asked before a batch is sent again: true once the process may no longer write, since its lease ended.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  store: Pick<Encoded, "append" | "witness">,
  giveUp: () => boolean
): Effect.fn.Return<JournalWriter, never, Scope.Scope> {
  const maxBatch = yield* limits.MaxBatch
  const maxDelay = Duration.toMillis(Duration.fromInputUnsafe(yield* limits.MaxResendDelay))
  let queue: Array<Pending> = []
  /** Wakes each lane that has nothing to send. */
  const idle: Array<() => void> = []
  /** A lane waits for the end of this tick. */
  let collecting = false

  /** How many are in the queue once all who were answered last are back. */
  let expected = 0

  const settle = (batch: ReadonlyArray<Pending>, kept: ReadonlyArray<boolean>): Effect.Effect<void> => {
    expected = queue.length + batch.length
    const refused = batch.filter((_, index) => kept[index] !== true)
    batch.forEach((pending, index) => {
      if (kept[index] === true) pending.answer(wasKept)
    })
    return Effect.forEach(refused, resolve, { discard: true })
  }

  /** A refused append is one's own only if its token is there and nothing came after it. */
  const resolve = (pending: Pending): Effect.Effect<void> =>
    retrying(store.witness(pending.append.execution, pending.append.seq)).pipe(
      Effect.matchCause({
        onFailure: (cause) => pending.answer(Exit.failCause(cause)),
        onSuccess: ({ last, token }) =>
          pending.answer(
            Exit.succeed(token === pending.append.token && last === pending.append.seq ? "Kept" : "Lost")
          )
      })
    )

  const retrying = <A>(effect: Effect.Effect<A, StoreError>, delay = 25): Effect.Effect<A, StoreError> =>
    Effect.catch(effect, (error) =>
      error.retryable && !giveUp()
        ? Effect.andThen(Effect.sleep(delay), retrying(effect, Math.min(delay * 2, maxDelay)))
        : Effect.fail(error))

  /** A batch that is refused for good is split until the culprit is alone. */
  const send = (batch: ReadonlyArray<Pending>): Effect.Effect<void> =>
    Effect.suspend(() => retrying(store.append(batch.map((_) => _.append)))).pipe(
      Effect.matchCauseEffect({
        onSuccess: (kept) => settle(batch, kept),
        onFailure: (cause) => {
          const error = Cause.findErrorOption(cause)
          if (batch.length === 1 || Option.isNone(error) || error.value.retryable) {
            return Effect.sync(() => batch.forEach((_) => _.answer(Exit.failCause(cause))))
          }
          const half = batch.length >> 1
          return Effect.andThen(send(batch.slice(0, half)), send(batch.slice(half)))
        }
      })
    )

  let closed = false
  /** What each lane has on its way. A `Set` would keep what was in it, see `registry`. */
  const sending: Array<ReadonlyArray<Pending>> = Array.from({ length: lanes }, () => [])
  /** How many appends are on their way. */
  let flying = 0
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      // Those of the batch that were answered before hear nothing of it.
      for (const batch of [...sending, queue]) for (const pending of batch) pending.answer(Exit.interrupt())
    })
  )
  /** Few are merged into the next batch while one is on its way. */
  const ready = (): boolean => queue.length > 0 && (flying === 0 || queue.length >= minShare)
  const take = (): ReadonlyArray<Pending> => {
    if (!ready()) return []
    const size = Math.min(maxBatch, Math.max(minShare, Math.ceil((queue.length + flying) / lanes)))
    const batch = queue.length <= size ? queue : queue.slice(0, size)
    queue = queue.length <= size ? [] : queue.slice(size)
    return batch
  }
  const wake = (): void => {
    if (collecting || !ready()) return
    const lane = idle.pop()
    if (lane === undefined) return
    collecting = true
    lane()
  }
  const one = atOnce(store.append)
  /** How many may be appended at once until everybody else has had a turn. */
  let left = turn
  /** The rest of this tick belongs to the batch. */
  const collect = Effect.andThen(
    Effect.yieldNow,
    Effect.sync(() => {
      collecting = false
      left = turn
    })
  )
  const woken = Effect.callback<void>((resume) => {
    idle.push(() => resume(Effect.void))
  })
  const lane = Effect.fnUntraced(function*(number: number) {
    while (true) {
      if (collecting || !ready()) yield* woken
      collecting = true
      yield* collect
      let batch = take()
      while (batch.length > 0) {
        flying += batch.length
        wake()
        sending[number] = batch
        yield* send(batch)
        sending[number] = []
        flying -= batch.length
        if (collecting) break
        // Once all are back, there is nobody to wait for; but who is to append at once again leaves others a turn.
        if ((left === 0 || queue.length < expected) && ready()) {
          collecting = true
          yield* collect
        }
        batch = take()
      }
    }
  })
  for (let number = 0; number < lanes; number++) yield* Effect.forkScoped(lane(number))
  const enqueue: JournalWriter["send"] = (append, answer) => {
    if (closed) return answer(Exit.interrupt())
    queue.push({ ...blank, append, answer })
    wake()
  }

  const now: JournalWriter["now"] = (append) => {
    if (one === undefined || closed || left === 0) return false
    left--
    return one(append)
  }

  return {
    now,
    append: (append) => Effect.callback((resume) => enqueue(append, resume)),
    send: enqueue
  }
})

const wasKept = Exit.succeed<Written>("Kept")

const lanes = 2

/** Appends that take some milliseconds, with what is done between them. */
const turn = 512

/** Fewer than this are not worth a statement of their own while another one is on its way. */
const minShare = 8

const blank: Blank<Pending> = { append: undefined, answer: undefined }

interface Pending {
  readonly append: Append
  readonly answer: (exit: Exit.Exit<Written, StoreError>) => void
}
