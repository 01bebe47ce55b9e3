/**
 * Signals: who waits for one, and who gets which.
 *
 * What was sent lies in the inbox until somebody receives it; the mailbox is what this process has seen of it. The
 * oldest signal that anybody waits for goes first, to who asked first, and one at a time: what follows from it happens
 * before the next one is given. This module knows neither the body nor the store.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import type { Received, ReceiveRequest } from "../Execution.ts"
import type * as Journal from "../Journal.ts"
import * as Attempt from "./attempt.ts"
import type { Asked } from "./body.ts"
import type { Held } from "./compensate.ts"
import * as Core from "./core.ts"
import * as Eager from "./eager.ts"
import type { Settler } from "./forward.ts"

/**
 * A receive of the body in flight.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReceiveTask {
  readonly _tag: "Receive"
  readonly key: string
  readonly asked: Asked
  readonly ref: Journal.Ref
  readonly kinds: ReceiveRequest["kinds"]
  /** When it was asked for first. */
  readonly since: number
  phase: "ready" | "waiting" | "done"
  cancelWait: (() => void) | undefined
}

/**
 * A receive that was asked for at this time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const task = (key: string, asked: Asked, request: ReceiveRequest, since: number): ReceiveTask => ({
  _tag: "Receive",
  key,
  asked,
  ref: Core.refOf(asked),
  kinds: request.kinds,
  since,
  phase: "ready",
  cancelWait: undefined
})

/**
 * Begins to wait, or goes on waiting.
 *
 * @category running
 * @since 0.1.0
 */
export const start = (to: Settler, task: ReceiveTask): void => {
  const { core } = to
  task.phase = "waiting"
  task.cancelWait = listen(core, { since: task.since, who: "task" }, {
    kinds: task.kinds,
    context: Core.outerContext(core, task.asked),
    listens: () => task.phase === "waiting" && !task.asked.withdrawn && core.seal === undefined,
    take: ({ mail, payload, signal }, received) => {
      Core.record(core, { _tag: "SignalReceived", at: Core.now(core), ...task.ref, mail, signal, value: payload })
      settle(to, task, Exit.succeed(received))
    },
    undecodable: (what, message) => to.park({ _tag: "Undecodable", what, message })
  })
}

/**
 * Nobody waits for it any more. What was sent stays for the next who does.
 *
 * @category running
 * @since 0.1.0
 */
export const withdraw = (to: Settler, task: ReceiveTask): void => {
  Core.record(to.core, { _tag: "ReceiveWithdrawn", at: Core.now(to.core), ...task.ref })
  settle(to, task, Exit.interrupt())
}

/**
 * Waits for a signal, also out of memory once that takes long; returns what ends the waiting.
 *
 * **Details**
 *
 * `since`: when it was asked for first. `who`: what waits for nothing else; undefined keeps it in memory.
 *
 * @category running
 * @since 0.1.0
 */
export const listen = (
  core: Core.Core,
  { since, who }: { readonly since: number; readonly who: Core.Sleeper["who"] | undefined },
  receiver: Core.Receiver
): () => void => {
  const cancelWait = who === undefined ? undefined : Core.waitForMail(core, since, who)
  core.receivers ??= new Set()
  core.receivers.add(receiver)
  // It may have come already: then an event gives it.
  if (core.mailbox.some(({ signal }) => receiver.kinds.has(signal))) Core.emit(core, () => {})
  return () => {
    cancelWait?.()
    core.receivers?.delete(receiver)
  }
}

/**
 * A place of a compensation's attempt where it waits for a signal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly wait: string
  /** What waits for nothing else; undefined keeps it in memory. */
  readonly who: "attempt" | undefined
  /** Whether the attempt has ended: what comes then is not for it, also where it goes on. */
  readonly isOver: () => boolean
  /** Called when it ends. */
  readonly onEnd: (f: () => void) => void
}

/**
 * What a compensation receives at this place of it: journaled, and given again to its next attempt.
 *
 * @category running
 * @since 0.1.0
 */
export const receive = (
  core: Core.Core,
  held: Held,
  request: ReceiveRequest,
  at: Place
): Effect.Effect<Received> => {
  const known = held.signals?.get(at.wait)
  return known === undefined ? receiveNext(core, held, request, at) : receivedBefore(core, held, request, known)
}

/**
 * Gives the oldest signal that somebody waits for; whether there was one.
 *
 * @category running
 * @since 0.1.0
 */
export const deliver = (core: Core.Core): Eager.Again => {
  if (core.mailbox.length === 0 || core.draining || core.left || core.seal?._tag === "Park") return false
  for (const [index, letter] of core.mailbox.entries()) {
    const receiver = [...core.receivers ?? []].find((_) => _.kinds.has(letter.signal) && _.listens())
    if (receiver === undefined) continue
    const decode = Core.provide(receiver.kinds.get(letter.signal)!.decode(letter.payload), receiver.context)
    return Eager.again(Eager.after(decode, (decoded) => {
      if (Exit.isFailure(decoded)) {
        const what = `signal ${letter.signal} (message ${letter.mail})`
        return receiver.undecodable(what, Attempt.defectMessage(decoded.cause))
      }
      core.mailbox.splice(index, 1)
      receiver.take(letter, { signal: letter.signal, payload: decoded.value })
    }))
  }
  return false
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const receivedBefore = (
  core: Core.Core,
  held: Held,
  { kinds }: ReceiveRequest,
  { signal, value }: { readonly signal: string; readonly value: Schema.Json }
): Effect.Effect<Received> => {
  const codec = kinds.get(signal)
  if (codec === undefined) return Effect.die(new Error(`the compensation does not wait for ${signal} there any more`))
  const decoded = Core.provide(Effect.orDie(codec.decode(value)), Core.outerContext(core, held.asked))
  return Effect.map(decoded, (payload) => ({ signal, payload }))
}

const receiveNext = (
  core: Core.Core,
  held: Held,
  { kinds }: ReceiveRequest,
  { isOver, onEnd, wait, who }: Place
): Effect.Effect<Received> =>
  Effect.callback((resume) => {
    let stop: (() => void) | undefined
    let stopped = false
    const end = () => {
      stopped = true
      stop?.()
    }
    Core.emit(core, () => {
      if (isOver()) return resume(Effect.interrupt)
      if (stopped) return
      onEnd(() => {
        end()
        resume(Effect.interrupt)
      })
      stop = listen(core, { since: Core.now(core), who }, {
        kinds,
        context: Core.outerContext(core, held.asked),
        listens: () => !stopped,
        take: ({ mail, payload, signal }, received) => {
          end()
          held.signals ??= new Map()
          held.signals.set(wait, { signal, value: payload })
          const at = Core.now(core)
          Core.record(core, {
            _tag: "CompensationSignalReceived",
            at,
            ...held.ref,
            wait,
            mail,
            signal,
            value: payload
          })
          core.mustFlush = true
          core.onDurable.push(() => resume(Effect.succeed(received)))
        },
        undecodable: (what, message) => {
          end()
          resume(Effect.die(new Error(`${what} cannot be read: ${message}`)))
        }
      })
    })
    return Effect.sync(end)
  })

const settle = (to: Settler, task: ReceiveTask, exit: Exit.Exit<unknown, unknown>): void => {
  task.phase = "done"
  task.cancelWait?.()
  task.cancelWait = undefined
  to.settled(task, exit)
}
