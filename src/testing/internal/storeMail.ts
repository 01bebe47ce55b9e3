/**
 * What the store promises of messages and wake-ups.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { type SendResult, Status, StoreError } from "../../SagaStore.ts"
import { type Case, claim, create, equal, longLease, next, promise, rowUpdate, type World } from "./storeCase.ts"

/**
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  promise("numbers the messages of an execution from 1 and gives them back in order", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("a")), create(world, id("b"))])
    for (const message of ["\"x\"", "\"y\"", "\"z\""]) yield* send(world, id("a"), { message })
    yield* send(world, id("b"), { message: "\"other\"" })
    yield* equal("from the start", yield* store.inbox(id("a"), 0), [
      { number: 1, message: "\"x\"" },
      { number: 2, message: "\"y\"" },
      { number: 3, message: "\"z\"" }
    ])
    yield* equal("from the second on", (yield* store.inbox(id("a"), 2)).map((_) => _.number), [3])
    yield* equal("past the last", yield* store.inbox(id("a"), 3), [])
    yield* equal("they are counted", (yield* store.read(id("a")))?.mail, 3)
    yield* equal("another's", yield* store.inbox(id("b"), 0), [{ number: 1, message: "\"other\"" }])
  }),

  promise("keeps each of many messages that are sent at once, under a number of its own", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("a"))])
    const messages = Array.from({ length: 24 }, (_, index) => `${index}`)
    yield* Effect.forEach(messages, (message) => send(world, id("a"), { message }), { concurrency: "unbounded" })
    const inbox = yield* store.inbox(id("a"), 0)
    yield* equal("the numbers", inbox.map((_) => _.number), messages.map((_, index) => index + 1))
    yield* equal("the messages", inbox.map((_) => _.message).sort(), messages.toSorted())
    yield* equal("the count", (yield* store.read(id("a")))?.mail, 24)
  }),

  promise("refuses by status, and then keeps and counts nothing", function*(world) {
    const { id, store } = world
    for (const status of Status.literals) {
      yield* store.append([create(world, id(status), { status, worker: "owner" })])
      const before = yield* store.read(id(status))
      const refuse: ReadonlyArray<Status> = ["rolledback", status]
      const refused = yield* send(world, id(status), { refuse })
      yield* equal<SendResult>(`to ${status}`, refused, { _tag: "Refused", status })
      yield* equal("the row", yield* store.read(id(status)), before)
      yield* equal("the inbox", yield* store.inbox(id(status), 0), [])
      const others = Status.literals.filter((_) => _ !== status)
      const sent = yield* send(world, id(status), { refuse: others })
      yield* equal<SendResult>(`to ${status}, which is not refused`, sent, { _tag: "Sent", worker: "owner" })
    }
  }),

  promise("keeps nothing for an execution that was never started", function*(world) {
    const { id, store } = world
    yield* equal<SendResult>("the answer", yield* send(world, id("never")), { _tag: "Unknown" })
    yield* equal("the inbox", yield* store.inbox(id("never"), 0), [])
  }),

  promise("makes an execution without an owner due, and leaves an owned one to its owner", function*(world) {
    const { id, store, worker } = world
    yield* store.append([
      create(world, id("never")),
      create(world, id("later"), { wakeAt: 90_000 }),
      create(world, id("sooner"), { wakeAt: 100 }),
      create(world, id("owned"), { worker: worker(1) })
    ])
    for (const name of ["never", "later", "sooner"]) {
      yield* equal<SendResult>("no owner", yield* send(world, id(name), { now: 700 }), { _tag: "Sent", worker: null })
    }
    yield* equal<SendResult>("an owner", yield* send(world, id("owned")), { _tag: "Sent", worker: worker(1) })
    const rows = yield* Effect.forEach(["never", "later", "sooner", "owned"], (name) => store.read(id(name)))
    yield* equal("when they are due", rows.map((row) => row?.wakeAt), [700, 700, 100, null])
    yield* store.register(worker(1), longLease)
    const claimed = yield* claim(world, worker(2), { now: 700 })
    yield* equal("who is claimed", claimed.map((_) => _.id), [id("sooner"), id("later"), id("never")])
  }),

  promise("tells a worker which of its executions have mail that they have not received", function*(world) {
    const { id, store, worker } = world
    yield* store.append([
      create(world, id("some"), { worker: worker(1) }),
      create(world, id("none"), { worker: worker(1) }),
      create(world, id("another's"), { worker: worker(2) }),
      create(world, id("nobody's"))
    ])
    for (const name of ["some", "some", "another's", "nobody's"]) yield* send(world, id(name))
    yield* equal("at first", yield* store.unread(worker(1)), [id("some")])
    yield* store.append([next(id("some"), 1, { row: rowUpdate({ worker: worker(1), received: 1 }) })])
    yield* equal("when it received one of two", yield* store.unread(worker(1)), [id("some")])
    yield* store.append([next(id("some"), 2, { row: rowUpdate({ worker: worker(1), received: 2 }) })])
    yield* equal("when it received both", yield* store.unread(worker(1)), [])
    yield* equal("a worker without executions", yield* store.unread(worker(3)), [])
  }),

  promise("accepts no message for an execution that has ended", function*(world) {
    for (let round = 0; round < 20; round++) yield* contend(world, round)
  }),

  promise("wakes every listener: when it has begun, and after each wake-up", function*({ store }) {
    const first = yield* Queue.unbounded<void>()
    const second = yield* Queue.unbounded<void>()
    const listening = (queue: Queue.Queue<void>) => store.listen(Effect.asVoid(Queue.offer(queue, undefined)))
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Effect.forkScoped(listening(first), { startImmediately: true })
      yield* Effect.forkScoped(listening(second), { startImmediately: true })
      yield* inTime("the first wake-up", Queue.take(first))
      yield* inTime("the first wake-up", Queue.take(second))
      for (let round = 0; round < 3; round++) {
        yield* store.wake
        yield* inTime("a wake-up", Queue.take(first))
        yield* inTime("a wake-up", Queue.take(second))
      }
    }))
    // Nobody listens now: that is no failure.
    yield* store.wake
  })
]

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const send = (
  { store }: World,
  execution: string,
  change?: Partial<Parameters<World["store"]["send"]>[0]>
): ReturnType<World["store"]["send"]> => store.send({ execution, message: "{}", now: 1_000, refuse: [], ...change })

/** A wake-up that does not come must not hang the run; ten seconds are for a slow machine. */
const inTime = <A>(what: string, effect: Effect.Effect<A>): Effect.Effect<A, StoreError> =>
  Effect.timeoutOrElse(effect, {
    duration: "10 seconds",
    orElse: () =>
      Effect.fail(new StoreError({ operation: "listen", retryable: false, cause: new Error(`${what} did not come`) }))
  })

/** A message and the end of its execution, at once: it was sent before the end and counted, or refused. */
const contend = Effect.fnUntraced(function*(world: World, round: number) {
  const { id, store } = world
  const execution = id(`contended ${round}`)
  yield* store.append([create(world, execution, { worker: "owner" })])
  const end = next(execution, 1, { row: rowUpdate({ status: "completed", result: "1" }) })
  const refuse: ReadonlyArray<Status> = ["completed", "rolledback"]
  const [sent] = yield* Effect.all([send(world, execution, { refuse }), store.append([end])], { concurrency: 2 })
  yield* equal("it was not unknown", sent._tag === "Unknown", false)
  const row = yield* store.read(execution)
  yield* equal("the count", row?.mail, sent._tag === "Sent" ? 1 : 0)
  yield* equal("the inbox", (yield* store.inbox(execution, 0)).length, sent._tag === "Sent" ? 1 : 0)
  yield* equal("it ended", row?.status, "completed")
  yield* equal("it is not due", row?.wakeAt, null)
  yield* equal<SendResult>("a later one", yield* send(world, execution, { refuse }), {
    _tag: "Refused",
    status: "completed"
  })
})
