/**
 * Signals, rules 8, 30 and 37: durable for who sends, received exactly once, kept until then, journaled in any case.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schedule, Schema, SchemaGetter } from "effect"
import { Limits, Saga, SagaEngine, SagaError, SagaInspector, SagaStore, Signal, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Process from "../utils/Process.ts"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const Paid = Signal.make("Paid", { payload: Schema.Number })
const Note = Signal.make("Note", { payload: Schema.String })
const Go = Signal.make("Go")

const { definition } = World
const id = definition.executionId({ id: "1" })

const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason
}
const row = (world: World.World) => Effect.orDie(world.recorded.store.encoded.read(id))
const inbox = (world: World.World) =>
  Effect.map(Effect.orDie(world.recorded.store.encoded.inbox(id, 0)), (mail) => mail.map((_) => _.number))
const inspect = (world: World.World) =>
  Effect.flatMap(
    Effect.provideService(SagaInspector.make, SagaStore.SagaStore, world.recorded.store),
    (inspector) => Effect.orDie(inspector.get(id))
  )

/** A, a payment, B with what was paid. */
const paidBetween = (options: World.SagaOptions = {}) =>
  World.body(({ step }) =>
    Effect.gen(function*() {
      yield* step("A")
      const paid = yield* Signal.receive(Paid)
      return yield* step(`B${paid}`)
    }), options)

describe("a signal", () => {
  it.effect("resumes the receive that waits for it, with its payload, decoded", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      yield* world.start
      yield* World.quiet
      yield* world.signal(Paid, 5)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B5 done"))
      assert.deepStrictEqual(yield* world.journal, [
        "SagaStarted, StepStarted A",
        "StepSucceeded A, SignalAwaited Paid",
        "SignalReceived Paid, StepStarted B5",
        "StepSucceeded B5, SagaCompleted"
      ])
      assert.deepStrictEqual(yield* inbox(world), [])
    }).pipe(Effect.scoped))

  it.effect("that comes before the receive is kept for it, and costs no append of its own then", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      world.parts.gate("A")
      yield* world.start
      yield* world.parts.hasBegun("A")
      yield* world.signal(Paid, 7)
      world.parts.gate("A").openUnsafe()
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B7 done"))
      assert.strictEqual(
        (yield* world.journal)[1],
        "StepSucceeded A, SignalAwaited Paid, SignalReceived Paid, StepStarted B7"
      )
    }).pipe(Effect.scoped))

  it.effect("is received again on replay, wherever its journal is cut", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.gen(function*() {
          const first = yield* Signal.receive(Paid)
          yield* step("A")
          const second = yield* Signal.receive(Paid)
          const third = yield* Signal.receiveAny(Note, Paid)
          yield* parts.seen("third", third._tag)
          yield* step("B")
          return `${first} ${second} ${third.payload}`
        })
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* World.quiet
      yield* world.signal(Paid, 1)
      yield* world.signal(Paid, 2)
      yield* world.signal(Note, "three")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("1 2 three"))
      const cuts = yield* World.everyCut(world, live, World.makeParts)
      assert.isAbove(cuts.length, 2)
      for (const cut of cuts) {
        assert.deepStrictEqual(cut.exit, Exit.succeed("1 2 three"), `after ${cut.appends} appends`)
        assert.deepStrictEqual(
          (yield* cut.world.entries).flatMap((_) => _._tag === "SignalReceived" ? [[_.mail, _.value]] : []),
          [[1, 1], [2, 2], [3, "three"]]
        )
        assert.deepStrictEqual(yield* inbox(cut.world), [])
      }
    }).pipe(Effect.scoped))

  it.effect("of several kinds: the first that was sent, as a tagged union", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(() =>
        Effect.gen(function*() {
          const seen: Array<string> = []
          for (let i = 0; i < 3; i++) {
            const received = yield* Signal.receiveAny(Paid, Note, Go)
            switch (received._tag) {
              case "Paid":
                seen.push(`paid ${received.payload.toFixed(2)}`)
                break
              case "Note":
                seen.push(`note ${received.payload.toUpperCase()}`)
                break
              case "Go":
                seen.push("go")
                break
            }
          }
          return seen.join(", ")
        })
      ))
      yield* world.start
      yield* world.signal(Note, "x")
      yield* world.signal(Go, undefined)
      yield* world.signal(Paid, 3)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("note X, go, paid 3.00"))
    }).pipe(Effect.scoped))

  it.effect("of one kind is a queue, and other kinds do not hold it up", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(() =>
        Effect.map(
          Effect.all([Signal.receive(Paid), Signal.receive(Paid), Signal.receive(Note)]),
          (all) => all.join(" ")
        )
      ))
      yield* world.start
      yield* world.signal(Note, "n")
      yield* world.signal(Paid, 1)
      yield* world.signal(Paid, 2)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("1 2 n"))
    }).pipe(Effect.scoped))

  it.effect("goes to who asked first, where two wait for one kind", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.map(
          Effect.all([
            Effect.andThen(step("A", { execute: Effect.as(Effect.sleep(100), "A") }), Signal.receive(Paid)),
            Signal.receive(Paid),
            Signal.receive(Paid)
          ], { concurrency: "unbounded" }),
          (all) => all.join(" ")
        )
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust(100)
      yield* World.quiet
      for (const amount of [1, 2, 3]) yield* world.signal(Paid, amount)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("3 1 2"))
      for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
        if (cut.appends >= 2) assert.deepStrictEqual(cut.exit, Exit.succeed("3 1 2"))
      }
    }).pipe(Effect.scoped))
})

describe("who sends", () => {
  it.effect("is refused once the execution has ended, and where there never was one", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(() => Effect.succeed("done")))
      assert.strictEqual(reasonOf(yield* Effect.exit(world.signal(Paid, 1)))._tag, "UnknownExecution")
      yield* world.execute
      const reason = reasonOf(yield* Effect.exit(world.signal(Paid, 1)))
      assert.instanceOf(reason, SagaError.NotAccepting)
      assert.deepStrictEqual([reason.status, reason.request], ["completed", "signal Paid"])
      const other = Saga.make("Other", { payload: Schema.String, idempotencyKey: (id) => id })
      const foreign = yield* Effect.exit(world.use(other.signal(id, Paid, 1)))
      assert.strictEqual(reasonOf(foreign)._tag, "UnknownExecution")
    }).pipe(Effect.scoped))

  it.effect("is refused with a payload or a key that cannot be stored, and then nothing is sent", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      yield* world.start
      const Positive = Signal.make("Paid", { payload: Schema.Number.check(Schema.isGreaterThan(0)) })
      for (
        const send of [
          world.signal(Positive, -1),
          world.signal(Note, "\u0000"),
          world.signal(Paid, 1, "k".repeat(513)),
          world.signal(Paid, 1, "\ud800")
        ]
      ) {
        assert.strictEqual(reasonOf(yield* Effect.exit(send))._tag, "SignalInvalid")
      }
      assert.strictEqual((yield* row(world))?.mail, 0)
    }).pipe(Effect.scoped))

  it.effect("sends one signal with one key: before it is received, after that, and after the end", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) =>
        Effect.gen(function*() {
          const first = yield* Signal.receive(Paid)
          yield* step("A")
          const second = yield* Signal.receive(Paid)
          return `${first} ${second}`
        })
      ))
      world.parts.gate("A")
      yield* world.start
      yield* world.signal(Paid, 1, "once")
      yield* world.signal(Paid, 1, "once")
      yield* world.parts.hasBegun("A")
      yield* world.signal(Paid, 1, "once")
      assert.deepStrictEqual(yield* inbox(world), [])
      world.parts.gate("A").openUnsafe()
      yield* World.quiet
      yield* world.signal(Paid, 1, "once")
      yield* world.signal(Paid, 2, "twice")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("1 2"))
      yield* world.signal(Paid, 1, "once")
      assert.strictEqual((yield* row(world))?.mail, 2)
      assert.strictEqual(reasonOf(yield* Effect.exit(world.signal(Paid, 1, "new")))._tag, "NotAccepting")
    }).pipe(Effect.scoped))

  it.effect("whose answer is lost, and who is asked again by the engine, has sent it once", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      const { encoded } = world.recorded.store
      let lost = 2
      const unreliable = SagaStore.make({
        ...encoded,
        send: (options) =>
          Effect.flatMap(encoded.send(options), (answer) =>
            lost-- > 0
              ? Effect.fail(new SagaStore.StoreError({ operation: "send", retryable: true, cause: "lost" }))
              : Effect.succeed(answer))
      })
      const client = yield* Effect.orDie(Layer.build(
        Layer.provide(Layer.fresh(SagaEngine.layer), Layer.succeed(SagaStore.SagaStore, unreliable))
      ))
      yield* world.start
      const sending = yield* Effect.forkChild(Effect.provideContext(definition.signal(id, Paid, 4), client))
      yield* World.ended(Fiber.join(sending))
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B4 done"))
      assert.strictEqual((yield* row(world))?.mail, 1)
    }).pipe(Effect.scoped))
})

describe("who waits", () => {
  it.effect("leaves memory after a while, with no time to wake at; a signal wakes it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* row(world))?.status, "running")
      yield* TestClock.adjust("1 second")
      yield* World.quiet
      const asleep = yield* row(world)
      assert.deepStrictEqual([asleep?.status, asleep?.worker, asleep?.wakeAt], ["suspended", null, null])
      assert.deepStrictEqual(yield* world.status, { _tag: "Suspended", wakeAt: undefined })
      yield* TestClock.adjust("12 hours")
      assert.strictEqual((yield* world.journal).length, 3)
      yield* world.signal(Paid, 9)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B9 done"))
      assert.deepStrictEqual(world.parts.log, ["A", "B9"])
    }).pipe(Effect.scoped))

  it.effect("stays in memory for ever where that is the limit", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween()).pipe(Effect.provideService(Limits.SuspendAfter, Infinity))
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* row(world))?.status, "running")
      yield* world.signal(Paid, 2)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B2 done"))
    }).pipe(Effect.scoped))

  it.effect("is woken for what it waits for; for another kind it looks, and sleeps again at once", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("11 seconds")
      yield* World.quiet
      yield* world.signal(Note, "not this")
      yield* World.quiet
      const asleep = yield* row(world)
      assert.deepStrictEqual([asleep?.status, asleep?.wakeAt, asleep?.received], ["suspended", null, 1])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* world.journal).slice(-3), ["Suspended", "Claimed", "Suspended"])
      assert.deepStrictEqual((yield* inspect(world)).unread, [{ _tag: "Signal", signal: "Note", payload: "not this" }])
      yield* world.signal(Paid, 2)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B2 done"))
      assert.deepStrictEqual(yield* inbox(world), [])
      const { signals, unread } = yield* inspect(world)
      assert.deepStrictEqual(unread, [])
      assert.deepStrictEqual(
        signals.map(({ mail, signal, status }) => [mail, signal, status]),
        [[2, "Paid", "received"], [1, "Note", "undelivered"]]
      )
    }).pipe(Effect.scoped))

  it.effect("is not slept on: what comes while it leaves memory makes it due", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      yield* world.start
      yield* World.quiet
      let sent = false
      world.recorded.onAppend.current = (append) => {
        if (sent || !append.entries.includes("Suspended")) return
        sent = true
        Effect.runSync(Effect.orDie(world.recorded.store.encoded.send({
          execution: id,
          message: JSON.stringify({ _tag: "Signal", signal: "Paid", payload: 3 }),
          now: 0,
          refuse: []
        })))
      }
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B3 done"))
      assert.isTrue(sent)
    }).pipe(Effect.scoped))

  it.effect("and sends just before it leaves: the append that suspends it says so", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      const { encoded } = world.recorded.store
      let sent = false
      const late = SagaStore.make({
        ...encoded,
        append: (batch) =>
          Effect.andThen(
            sent || !batch.some((_) => _.entries.includes("Suspended"))
              ? Effect.void
              : Effect.suspend(() => {
                sent = true
                const message = JSON.stringify({ _tag: "Signal", signal: "Paid", payload: 3 })
                return encoded.send({ execution: id, message, now: 0, refuse: [] })
              }),
            encoded.append(batch)
          )
      })
      const parts = World.makeParts()
      const context = yield* Effect.orDie(Layer.build(
        Layer.provideMerge(
          paidBetween()({ ...World.steps(parts), parts }),
          Layer.provide(Layer.fresh(SagaEngine.layer), Layer.succeed(SagaStore.SagaStore, late))
        )
      ))
      yield* Effect.provideContext(definition.start({ id: "1" }), context)
      yield* World.quiet
      yield* TestClock.adjust("11 seconds")
      const exit = yield* World.ended(Effect.provideContext(definition.result(id), context))
      assert.deepStrictEqual(exit, Exit.succeed("B3 done"))
      assert.isTrue(sent)
    }).pipe(Effect.scoped))

  it.effect("beside a timer wakes for whichever comes first", () =>
    Effect.gen(function*() {
      const live = World.body(() =>
        Effect.raceFirst(
          Effect.map(Signal.receive(Paid), (amount) => `paid ${amount}`),
          Effect.as(Timer.sleep("a day", "1 day"), "too late")
        )
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("20 seconds")
      yield* World.quiet
      assert.deepStrictEqual(yield* world.status, { _tag: "Suspended", wakeAt: 86_400_000 })
      const other = yield* World.make(live)
      yield* other.start
      yield* World.quiet
      yield* world.signal(Paid, 1)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("paid 1"))
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(yield* other.result, Exit.succeed("too late"))
      assert.include((yield* other.journal).join(), "ReceiveWithdrawn")
      assert.include((yield* world.journal).join(), "TimerWithdrawn")
    }).pipe(Effect.scoped))
})

describe("a signal and a roll-back", () => {
  it.effect("a receive that is withdrawn takes nothing: the next one gets it", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          const way = yield* Saga.scoped(
            Effect.all([Signal.receive(Paid), step("A")], { concurrency: "unbounded" })
          ).pipe(Effect.as("one"), Effect.catchTag("Refused", () => Effect.succeed("two")))
          return `${way} ${yield* Signal.receive(Paid)}`
        })
      )
      const parts = World.makeParts()
      parts.faults.set("A", ["refuse"])
      const world = yield* World.make(live, parts)
      yield* world.start
      yield* World.quiet
      yield* world.signal(Paid, 8)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("two 8"))
    }).pipe(Effect.scoped))

  it.effect("a cancel ends the wait, and what came too late is undelivered", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      world.parts.gate("undo A")
      yield* world.start
      yield* World.quiet
      yield* world.cancel()
      yield* world.parts.hasBegun("undo A")
      yield* world.signal(Paid, 1)
      world.parts.gate("undo A").openUnsafe()
      assert.strictEqual(reasonOf(yield* world.result)._tag, "Cancelled")
      yield* World.quiet
      const tags = (yield* world.entries).map(({ _tag }) => _tag)
      assert.includeMembers(tags, ["ReceiveWithdrawn", "MailUndelivered"])
      assert.notInclude(tags, "SignalReceived")
      assert.deepStrictEqual(yield* inbox(world), [])
    }).pipe(Effect.scoped))

  it.effect("a cancel before a signal: the signal is not received any more, though both were read together", () =>
    Effect.gen(function*() {
      for (const cancelFirst of [true, false]) {
        const world = yield* World.make(paidBetween())
        yield* world.start
        yield* World.quiet
        yield* TestClock.adjust("11 seconds")
        yield* World.quiet
        const both = [world.cancel(), world.signal(Paid, 1)]
        yield* Effect.all(cancelFirst ? both : both.toReversed())
        assert.strictEqual(reasonOf(yield* world.result)._tag, "Cancelled")
        yield* World.quiet
        const answered = (yield* world.entries).flatMap((_) => "mail" in _ ? [_.mail] : [])
        assert.deepStrictEqual(answered.toSorted((a, b) => a - b), [1, 2])
        assert.deepStrictEqual(yield* inbox(world), [])
      }
    }).pipe(Effect.scoped))

  it.effect("a cancel beside a signal, read together in memory: nothing more is received", () =>
    Effect.gen(function*() {
      const cancel = { _tag: "Cancel" }
      const paid = { _tag: "Signal", signal: "Paid", payload: 1 }
      for (const both of [[cancel, paid], [paid, cancel]]) {
        const world = yield* World.make(paidBetween())
        yield* world.start
        yield* World.quiet
        for (const message of both) {
          const send = { execution: id, message: JSON.stringify(message), now: 0, refuse: [] }
          yield* Effect.orDie(world.recorded.store.encoded.send(send))
        }
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(reasonOf(yield* world.result)._tag, "Cancelled")
        const tags = (yield* world.entries).map(({ _tag }) => _tag)
        assert.notInclude(tags, "SignalReceived")
        assert.include(tags, "MailUndelivered")
      }
    }).pipe(Effect.scoped))

  it.effect("a deadline that passes while it waits rolls it back, in memory and out of it", () =>
    Effect.gen(function*() {
      for (const deadline of ["5 seconds", "1 hour"] as const) {
        const world = yield* World.make(paidBetween({ deadline }))
        yield* world.start
        yield* World.quiet
        yield* TestClock.adjust("2 hours")
        yield* World.quiet
        assert.strictEqual(reasonOf(yield* world.result)._tag, "DeadlineExceeded")
        assert.deepStrictEqual(world.parts.log, ["A", "undo A"])
      }
    }).pipe(Effect.scoped))

  it.effect("a compensation waits for one, out of memory too, and every attempt gets it again", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(
          step("A", {
            compensate: () =>
              Effect.gen(function*() {
                const note = yield* Signal.receive(Note)
                yield* Effect.mapError(parts.act(`undo A ${note}`, undefined), () => new Step.TimedOut({ step: "A" }))
              }),
            compensation: { retry: Schedule.recurs(1) }
          }),
          step("B")
        )
      )
      const parts = World.makeParts()
      parts.faults.set("B", ["refuse"])
      parts.faults.set("undo A yes", ["refuse"])
      const world = yield* World.make(live, parts)
      yield* world.start
      yield* World.quiet
      yield* TestClock.adjust("1 day")
      yield* World.quiet
      assert.deepStrictEqual([(yield* row(world))?.status, (yield* row(world))?.wakeAt], ["suspended", null])
      yield* world.signal(Note, "yes")
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "B" }))
      assert.deepStrictEqual(parts.log, ["A", "B", "undo A yes", "undo A yes"])
      const { signals } = yield* inspect(world)
      assert.deepStrictEqual(signals.map(({ by, status }) => [by?.name, status]), [["A", "received"]])
      for (
        const cut of yield* World.everyCut(world, live, () => {
          const again = World.makeParts()
          again.faults.set("B", ["refuse"])
          return again
        })
      ) {
        assert.deepStrictEqual(World.errorOf(cut.exit), new Refused({ step: "B" }), `after ${cut.appends}`)
      }
    }).pipe(Effect.scoped))
})

describe("a signal and a park", () => {
  it.effect("is kept by a parked execution, which goes on waiting for a person", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      parts.faults.set("A", ["die"])
      const world = yield* World.make(paidBetween(), parts)
      World.whyParked(yield* world.execute)
      yield* world.signal(Paid, 6)
      yield* World.quiet
      assert.strictEqual((yield* row(world))?.status, "parked")
      assert.deepStrictEqual(yield* inbox(world), [1])
      yield* world.resume
      assert.deepStrictEqual(yield* world.result, Exit.succeed("B6 done"))
    }).pipe(Effect.scoped))

  it.effect("with a payload that the receiver cannot decode parks, and nothing is lost", () =>
    Effect.gen(function*() {
      const Strict = Signal.make("Paid", { payload: Schema.Number.check(Schema.isGreaterThan(10)) })
      const strict = World.body(() => Effect.map(Signal.receive(Strict), String))
      const world = yield* World.make(strict)
      yield* world.start
      yield* world.signal(Paid, 5)
      const reason = World.whyParked(yield* world.result)
      assert.strictEqual(reason.why._tag, "Undecodable")
      assert.deepStrictEqual(yield* inbox(world), [1])
      yield* world.resume
      World.whyParked(yield* world.result)
      const loose = yield* world.crashed((yield* world.journal).length, World.body(() => Signal.receive(Paid)))
      yield* loose.resume
      assert.deepStrictEqual(yield* loose.result, Exit.succeed("5"))
      assert.deepStrictEqual(yield* inbox(loose), [])
    }).pipe(Effect.scoped))

  it.effect("that nobody received is journaled when a person abandons it", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      parts.faults.set("A", ["die"])
      const world = yield* World.make(paidBetween(), parts)
      World.whyParked(yield* world.execute)
      yield* world.signal(Paid, 6)
      yield* World.quiet
      const inspector = yield* Effect.provideService(SagaInspector.make, SagaStore.SagaStore, world.recorded.store)
      yield* Effect.orDie(inspector.abandon(id, "no customer"))
      const { signals, unread } = yield* inspect(world)
      assert.deepStrictEqual(unread, [])
      assert.deepStrictEqual(signals.map(({ payload, status }) => [payload, status]), [[6, "undelivered"]])
      assert.deepStrictEqual(yield* inbox(world), [])
    }).pipe(Effect.scoped))
})

describe("an inbox that cannot be read", () => {
  it.effect("when an execution is taken up: it is taken up again, and what lies there is not forgotten", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* Signal.receive(Paid)
          yield* step("A")
          return yield* Signal.receive(Note)
        })
      )
      const world = yield* World.make(live)
      yield* world.start
      yield* world.signal(Note, "seen before")
      yield* World.quiet
      yield* TestClock.adjust("11 seconds")
      yield* World.quiet
      const { encoded } = world.recorded.store
      const left = yield* World.cut(world.recorded, id, (yield* world.journal).length)
      assert.strictEqual((yield* Effect.orDie(encoded.read(id)))?.received, 1)
      let failures = 2
      const store = SagaStore.make({
        ...left.store.encoded,
        inbox: (execution, after) =>
          Effect.suspend(() =>
            failures-- > 0
              ? Effect.fail(new SagaStore.StoreError({ operation: "inbox", retryable: true, cause: "no answer" }))
              : left.store.encoded.inbox(execution, after)
          )
      })
      const parts = World.makeParts()
      const context = yield* Effect.orDie(Layer.build(
        Layer.provideMerge(
          live({ ...World.steps(parts), parts }),
          Layer.provide(Layer.fresh(SagaEngine.layer), Layer.succeed(SagaStore.SagaStore, store))
        )
      ))
      yield* Effect.provideContext(definition.signal(id, Paid, 1), context)
      const exit = yield* World.ended(Effect.provideContext(definition.result(id), context))
      assert.deepStrictEqual(exit, Exit.succeed("seen before"))
      assert.isBelow(failures, 0)
    }).pipe(Effect.scoped))
})

describe("what comes too late", () => {
  it.effect("for its owner to see before the end is journaled after it, and changes nothing", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => step("A")))
      let sent = false
      world.recorded.onAppend.current = (append) => {
        if (sent || !Process.tags(append).includes("StepStarted")) return
        sent = true
        const send = (message: object) =>
          world.recorded.store.encoded.send({ execution: id, message: JSON.stringify(message), now: 0, refuse: [] })
        // Nobody tells the owner.
        Effect.runSync(Effect.orDie(Effect.andThen(
          send({ _tag: "Signal", signal: "Paid", payload: 1 }),
          Effect.andThen(send({ _tag: "Cancel" }), send({ _tag: "Nonsense" }))
        )))
      }
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("A done"))
      yield* World.quiet
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* world.journal).slice(1), [
        "StepSucceeded A, SagaCompleted",
        "Claimed",
        "MailUndelivered, MailUndelivered, MailUndelivered"
      ])
      assert.deepStrictEqual(
        (yield* world.entries).flatMap((_) => _._tag === "MailUndelivered" ? [[_.mail, _.message?._tag]] : []),
        [[1, "Signal"], [2, "Cancel"], [3, undefined]]
      )
      const ended = yield* row(world)
      assert.deepStrictEqual([ended?.status, ended?.worker, ended?.wakeAt, ended?.received], [
        "completed",
        null,
        null,
        3
      ])
      assert.deepStrictEqual(yield* world.result, Exit.succeed("A done"))
      assert.deepStrictEqual(yield* inbox(world), [])
    }).pipe(Effect.scoped))

  it.effect("for a zombie: what it deletes goes with its append, which is refused", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      yield* world.start
      yield* World.quiet
      yield* world.signal(Paid, 1)
      const { encoded } = world.recorded.store
      const seq = (yield* world.journal).length
      yield* World.quiet
      const stale = { execution: id, seq: seq - 1, token: "zombie", at: 0, entries: "[]", create: undefined }
      yield* Effect.orDie(encoded.send({ execution: id, message: "{}", now: 0, refuse: [] }))
      const before = yield* inbox(world)
      const kept = yield* Effect.orDie(encoded.append([{ ...stale, row: undefined, answered: before }]))
      assert.deepStrictEqual(kept, [false])
      assert.deepStrictEqual(yield* inbox(world), before)
      assert.isAbove(before.length, 0)
    }).pipe(Effect.scoped))
})

describe("a transformed payload", () => {
  it.effect("is stored as its schema encodes it", () =>
    Effect.gen(function*() {
      const Shout = Signal.make("Shout", {
        payload: Schema.String.pipe(Schema.decodeTo(Schema.String, {
          decode: SchemaGetter.transform((text: string) => text.toUpperCase()),
          encode: SchemaGetter.transform((text: string) => text.toLowerCase())
        }))
      })
      const world = yield* World.make(World.body(() => Signal.receive(Shout)))
      yield* world.start
      yield* world.signal(Shout, "HEY")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("HEY"))
      const [received] = (yield* inspect(world)).signals
      assert.strictEqual(received?.payload, "hey")
    }).pipe(Effect.scoped))
})

describe("startWithSignal", () => {
  it.effect("starts an execution with its first signal, or sends it to the one that is there", () =>
    Effect.gen(function*() {
      const world = yield* World.make(
        World.body(() => Effect.map(Effect.all([Signal.receive(Paid), Signal.receive(Paid)]), (all) => all.join(" ")))
      )
      const both = (amount: number, key?: string) =>
        world.use(definition.startWithSignal({ id: "1" }, Paid, amount, { key }))
      assert.strictEqual(yield* both(1, "a"), id)
      assert.deepStrictEqual((yield* row(world))?.mail, 1)
      assert.strictEqual(yield* both(1, "a"), id)
      assert.strictEqual(yield* both(2), id)
      assert.deepStrictEqual(yield* world.result, Exit.succeed("1 2"))
      assert.strictEqual(yield* both(1, "a"), id)
      assert.strictEqual(reasonOf(yield* Effect.exit(both(3)))._tag, "NotAccepting")
      const mismatch = world.use(definition.startWithSignal({ id: "1", note: "other" }, Paid, 3))
      assert.strictEqual(reasonOf(yield* Effect.exit(mismatch))._tag, "PayloadMismatch")
      assert.strictEqual((yield* row(world))?.mail, 2)
    }).pipe(Effect.scoped))

  it.effect("leaves both or neither, wherever the store fails: and one of each when it is asked again", () =>
    Effect.gen(function*() {
      for (const when of ["before", "after"] as const) {
        const world = yield* World.make(World.body(() => Effect.map(Signal.receive(Paid), String)))
        const { encoded } = world.recorded.store
        let failures = 3
        const fail = Effect.suspend(() =>
          failures-- > 0
            ? Effect.fail(new SagaStore.StoreError({ operation: "append", retryable: true, cause: "no answer" }))
            : Effect.void
        )
        const unreliable = SagaStore.make({
          ...encoded,
          append: (batch) =>
            Effect.andThen(
              when === "before" ? fail : Effect.void,
              Effect.tap(encoded.append(batch), () => when === "after" ? fail : Effect.void)
            )
        })
        const client = yield* Effect.orDie(Layer.build(
          Layer.provide(Layer.fresh(SagaEngine.layer), Layer.succeed(SagaStore.SagaStore, unreliable))
        ))
        const start = definition.startWithSignal({ id: "1" }, Paid, 4, { key: "once" })
        yield* World.ended(Effect.provideContext(start, client))
        yield* World.ended(Effect.provideContext(start, client))
        assert.deepStrictEqual(yield* world.result, Exit.succeed("4"))
        assert.strictEqual((yield* row(world))?.mail, 1)
      }
    }).pipe(Effect.scoped))

  it.effect("refuses a payload that fits neither schema before anything is stored", () =>
    Effect.gen(function*() {
      const world = yield* World.make(paidBetween())
      const refused = world.use(definition.startWithSignal({ id: "1" }, Note, "\u0000"))
      assert.strictEqual(reasonOf(yield* Effect.exit(refused))._tag, "SignalInvalid")
      assert.isNull(yield* row(world))
    }).pipe(Effect.scoped))
})
