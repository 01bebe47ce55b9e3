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

  promise("accepts a message with a key once: while it lies there, when it is answered, and after the end", function*(
    world
  ) {
    const { id, store } = world
    yield* store.append([create(world, id("a"), { worker: "owner" }), create(world, id("b"))])
    const sent: SendResult = { _tag: "Sent", worker: "owner" }
    yield* equal("at first", yield* send(world, id("a"), { key: "k", message: "\"1\"" }), sent)
    yield* equal("again", yield* send(world, id("a"), { key: "k", message: "\"2\"" }), sent)
    yield* equal("another key", yield* send(world, id("a"), { key: "K", message: "\"3\"" }), sent)
    yield* equal("no key", yield* send(world, id("a"), { message: "\"4\"" }), sent)
    yield* equal("another's", yield* send(world, id("b"), { key: "k" }), { ...sent, worker: null })
    yield* equal("the inbox", (yield* store.inbox(id("a"), 0)).map((_) => _.message), ["\"1\"", "\"3\"", "\"4\""])
    const row = rowUpdate({ status: "completed", result: "1", received: 3 })
    yield* store.append([next(id("a"), 1, { answered: [1, 2, 3], row })])
    const refuse: ReadonlyArray<Status> = ["completed"]
    yield* equal("after the end", yield* send(world, id("a"), { key: "k", refuse }), { ...sent, worker: null })
    const refused: SendResult = { _tag: "Refused", status: "completed" }
    yield* equal("a new one after the end", yield* send(world, id("a"), { key: "new", refuse }), refused)
    yield* equal("it was not kept", yield* send(world, id("a"), { key: "new", refuse }), refused)
    yield* equal("the inbox after the end", yield* store.inbox(id("a"), 0), [])
    yield* equal("the count", (yield* store.read(id("a")))?.mail, 3)
  }),

  promise("accepts one of many messages with one key that are sent at once", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("a"))])
    const all = Array.from({ length: 24 }, (_, index) => send(world, id("a"), { key: "k", message: `${index}` }))
    const answers = yield* Effect.all(all, { concurrency: "unbounded" })
    yield* equal("the answers", new Set(answers.map((_) => _._tag)), new Set(["Sent" as const]))
    yield* equal("the inbox", (yield* store.inbox(id("a"), 0)).length, 1)
    yield* equal("the count", (yield* store.read(id("a")))?.mail, 1)
  }),

  promise("takes what is answered out of the inbox with the append that answers it, and with no other", function*(
    world
  ) {
    const { id, store } = world
    yield* store.append([create(world, id("a")), create(world, id("b"))])
    for (const name of ["a", "a", "a", "b"]) yield* send(world, id(name))
    const numbers = (name: string) => Effect.map(store.inbox(id(name), 0), (mail) => mail.map((_) => _.number))
    const [refused] = yield* store.append([next(id("a"), 0, { token: "zombie", answered: [1, 2, 3] })])
    yield* equal("one that is refused", refused, false)
    yield* equal("its inbox", yield* numbers("a"), [1, 2, 3])
    const kept = yield* store.append([
      next(id("a"), 1, { answered: [2] }),
      next(id("b"), 0, { token: "zombie", answered: [1] })
    ])
    yield* equal("one of two", kept, [true, false])
    yield* equal("an answered one in the middle", yield* numbers("a"), [1, 3])
    yield* equal("another's", yield* numbers("b"), [1])
    yield* equal("the next number", yield* Effect.andThen(send(world, id("a")), numbers("a")), [1, 3, 4])
  }),

  promise("creates an execution with its first messages, or with neither", function*(world) {
    const { id, saga, store, worker } = world
    const mail = [{ message: "\"1\"", key: "k" }, { message: "\"2\"" }]
    const first = create(world, id("a"), { wakeAt: 7 }, { create: { name: saga, payload: "{}", mail } })
    yield* equal("it is kept", yield* store.append([first, create(world, id("b"))]), [true, true])
    yield* equal("the inbox", yield* store.inbox(id("a"), 0), [
      { number: 1, message: "\"1\"" },
      { number: 2, message: "\"2\"" }
    ])
    yield* equal("another's", yield* store.inbox(id("b"), 0), [])
    const row = yield* store.read(id("a"))
    yield* equal("the row", [row?.mail, row?.received, row?.wakeAt], [2, 0, 7])
    const again = { ...first, token: "another" }
    yield* equal("again", yield* store.append([again]), [false])
    yield* equal("what is there stays", yield* store.read(id("a")), row)
    yield* equal("its key is known", yield* send(world, id("a"), { key: "k" }), { _tag: "Sent", worker: null })
    yield* equal("the count", (yield* store.read(id("a")))?.mail, 2)
    const claimed = yield* claim(world, worker(1), { now: 7 })
    yield* equal("it is claimed", claimed.map((_) => _.id), [id("a")])
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
  // What nobody read before the end is looked at after it.
  yield* equal("when it is due", row?.wakeAt, sent._tag === "Sent" ? 1_000 + end.seq : null)
  yield* equal<SendResult>("a later one", yield* send(world, execution, { refuse }), {
    _tag: "Refused",
    status: "completed"
  })
})
