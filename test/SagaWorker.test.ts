import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import type { SagaEngine } from "effect-saga"
import { SagaError, SagaStore } from "effect-saga"
import { FaultInjection } from "effect-saga/testing"
import * as TestClock from "effect/testing/TestClock"
import * as Process from "./utils/Process.ts"
import * as World from "./utils/World.ts"

const { definition } = World
const payload = { id: "1" }
const id = definition.executionId(payload)
const two = World.body(({ step }) => Effect.andThen(step("A"), step("B")))

/** Its claims bring nothing of what they claim. */
const readLater: Effect.Effect<SagaStore.Encoded> = Effect.map(SagaStore.makeMemory, (store) => ({
  ...store,
  claim: (options) => store.claim({ ...options, reads: false })
}))

const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason._tag
}

describe("a shutdown", () => {
  it.effect("lets the step in flight finish, starts nothing new, undoes nothing, and hands over without waiting", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const [first, second] = [World.makeParts(), World.makeParts()]
      const worker = yield* Process.open(store, Process.saga(two, first))
      const gate = first.gate("A")
      yield* worker.use(definition.start(payload))
      yield* first.hasBegun("A")
      const other = yield* Process.open(store, Process.saga(two, second))
      const stopping = yield* Effect.forkChild(worker.stop)
      yield* TestClock.adjust("5 seconds")
      assert.isUndefined(stopping.pollUnsafe())
      yield* gate.open
      yield* Fiber.join(stopping)
      yield* World.quiet
      assert.deepStrictEqual(first.log, ["A"])
      assert.deepStrictEqual(yield* World.ended(other.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(second.log, ["B"])
      const journal = yield* Effect.orDie(SagaStore.make(store).journal(id))
      // No lease was waited for.
      assert.isBelow(journal.appends.at(-1)!.at, 7_000)
    }))

  it.effect("interrupts what does not finish within the grace, and another worker runs it again with its key", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const [first, second] = [World.makeParts(), World.makeParts()]
      const worker = yield* Process.open(store, Process.saga(two, first), { grace: "3 seconds" })
      first.faults.set("A", ["hang"])
      yield* worker.use(definition.start(payload))
      yield* first.hasBegun("A")
      const stopping = yield* Effect.forkChild(worker.stop)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(stopping)
      const other = yield* Process.open(store, Process.saga(two, second))
      assert.deepStrictEqual(yield* World.ended(other.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(second.log, ["A", "B"])
      assert.strictEqual(first.keys[0], second.keys[0])
    }))

  it.effect("finishes a saga that has nothing left to do", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const worker = yield* Process.open(store, Process.saga(two, parts))
      const gate = parts.gate("B")
      yield* worker.use(definition.start(payload))
      yield* parts.hasBegun("B")
      const stopping = yield* Effect.forkChild(worker.stop)
      yield* World.quiet
      yield* gate.open
      yield* Fiber.join(stopping)
      assert.strictEqual((yield* Effect.orDie(store.read(id)))?.status, "completed")
    }))

  it.effect("in the middle of a roll-back leaves the rest of it to the next worker", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const [first, second] = [World.makeParts(), World.makeParts()]
      const live = World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))))
      first.faults.set("C", ["refuse"])
      const gate = first.gate("undo B")
      const worker = yield* Process.open(store, Process.saga(live, first))
      yield* worker.use(definition.start(payload))
      yield* first.hasBegun("undo B")
      const stopping = yield* Effect.forkChild(worker.stop)
      yield* World.quiet
      yield* gate.open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(first.log, ["A", "B", "C", "undo B"])
      const other = yield* Process.open(store, Process.saga(live, second))
      assert.isTrue(Exit.isFailure(yield* World.ended(other.use(definition.result(id)))))
      assert.deepStrictEqual(second.log, ["undo A"])
    }))

  it.effect("is not held up by a store that does not answer", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const worker = yield* Process.open(store, Process.saga(two, parts))
      const gate = parts.gate("A")
      yield* worker.use(definition.start(payload))
      yield* parts.hasBegun("A")
      worker.before = () => Effect.never
      yield* gate.open
      const stopping = yield* Effect.forkChild(worker.stop)
      yield* TestClock.adjust("2 minutes")
      assert.isDefined(stopping.pollUnsafe())
      assert.deepStrictEqual(parts.log, ["A"])
    }))

  it.effect("of one handler drains its executions only", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const gate = parts.gate("A")
      const worker = yield* Process.open(store)
      const scope = yield* Scope.make()
      const engine = yield* worker.use(Effect.context<SagaEngine.SagaEngine>())
      yield* Layer.buildWithScope(Layer.provide(Process.saga(two, parts), Layer.succeedContext(engine)), scope)
      yield* worker.use(definition.start(payload))
      yield* parts.hasBegun("A")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* World.quiet
      yield* gate.open
      yield* Fiber.join(closing)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(parts.log, ["A"])
      // The engine goes on: with the handler back, it takes the execution up.
      yield* Layer.buildWithScope(
        Layer.provide(Process.saga(two, parts), Layer.succeedContext(engine)),
        yield* Effect.scope
      )
      assert.deepStrictEqual(yield* World.ended(worker.use(definition.result(id))), Exit.succeed("B done"))
    }))

  it.effect("loses no execution whose start races with it", () =>
    Effect.gen(function*() {
      for (let delay = 0; delay < 12; delay++) {
        const store = yield* SagaStore.makeMemory
        const parts = World.makeParts()
        const worker = yield* Process.open(store, Process.saga(two, parts))
        const starting = yield* Effect.forkChild(Effect.exit(worker.use(definition.start(payload))))
        for (let i = 0; i < delay; i++) yield* Effect.yieldNow
        const stopping = yield* Effect.forkChild(worker.stop)
        for (let i = 0; i < 20; i++) {
          yield* World.quiet
          yield* TestClock.adjust("1 second")
        }
        assert.isDefined(stopping.pollUnsafe())
        const started = starting.pollUnsafe()
        assert.isDefined(started, `the start waits for ever after ${delay} ticks`)
        if ((yield* Effect.orDie(store.read(id))) === null) continue
        const other = yield* Process.open(store, Process.saga(two, parts))
        assert.deepStrictEqual(yield* World.ended(other.use(definition.result(id))), Exit.succeed("B done"))
        assert.deepStrictEqual(parts.log, ["A", "B"])
      }
    }))
})

describe("a worker", () => {
  it.effect("without the handler leaves a saga alone", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const client = yield* Process.open(store)
      yield* client.use(definition.start(payload))
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual((yield* Effect.orDie(store.read(id)))?.worker, null)
      assert.strictEqual((yield* Process.journal(store, id)).length, 1)
      const parts = World.makeParts()
      const worker = yield* Process.open(store, Process.saga(two, parts))
      assert.deepStrictEqual(yield* World.ended(worker.use(definition.result(id))), Exit.succeed("B done"))
    }))

  it.effect("runs what clients start, poll, wait for and cancel", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      yield* Process.open(store, Process.saga(two, parts))
      const client = yield* Process.open(store)
      const gate = parts.gate("B")
      yield* client.use(definition.start(payload))
      const waiting = yield* Effect.forkChild(World.ended(client.use(definition.result(id))))
      yield* parts.hasBegun("B")
      assert.strictEqual((yield* client.use(definition.poll(id)))._tag, "Running")
      yield* client.use(definition.cancel(id, { reason: "enough" }))
      yield* World.quiet
      yield* gate.open
      assert.strictEqual(reasonOf(yield* Fiber.join(waiting)), "Cancelled")
      assert.strictEqual((yield* client.use(definition.poll(id)))._tag, "RolledBack")
      assert.deepStrictEqual(parts.log, ["A", "B", "undo B", "undo A"])
    }))

  it.effect("is woken by a start of another process before its next poll", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      yield* Process.open(store, Process.saga(two, parts), { poll: "1 hour" })
      const client = yield* Process.open(store)
      yield* World.quiet
      yield* client.use(definition.start(payload))
      yield* World.quiet
      assert.deepStrictEqual(parts.log, ["A", "B"])
    }))

  it.effect("does not spin: two on an idle store ask once for each poll", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const layer = Process.saga(two, World.makeParts())
      const workers = [yield* Process.open(store, layer), yield* Process.open(store, layer)]
      yield* World.ended(workers[0]!.use(definition.execute(payload)))
      for (const worker of workers) worker.calls.length = 0
      yield* TestClock.adjust("10 minutes")
      for (const { calls } of workers) {
        assert.isBelow(calls.filter((_) => _ === "claim").length, 610)
        assert.deepStrictEqual([...new Set(calls)].sort(), ["claim", "renew"])
      }
    }))

  it.effect("does not spin on a parked execution, nor on one that waits for a year", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const live = World.body(({ step }) => Effect.andThen(step("A"), Effect.sleep("365 days")))
      parts.faults.set("A", ["die"])
      const worker = yield* Process.open(store, Process.saga(live, parts), { lease: "1 hour", poll: "1 minute" })
      World.whyParked(yield* World.ended(worker.use(definition.execute(payload))))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* Process.journal(store, id)).length, 2)
      yield* worker.use(definition.resume(id))
      yield* TestClock.adjust("1 hour")
      const journal = yield* Process.journal(store, id)
      yield* TestClock.adjust("30 days")
      assert.deepStrictEqual(yield* Process.journal(store, id), journal)
    }))

  it.effect("takes up what a claim took whose answer was lost", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const client = yield* Process.open(store)
      const worker = yield* Process.open(store, Process.saga(two, parts))
      let lost = 0
      worker.after = (call) => call === "claim" && lost++ < 3 ? Effect.fail(Process.offline) : Effect.void
      yield* client.use(definition.start(payload))
      assert.deepStrictEqual(yield* World.ended(client.use(definition.result(id))), Exit.succeed("B done"))
    }))

  it.effect("takes up what a claim takes long after its answer was lost", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const client = yield* Process.open(store)
      let lost = 0
      const late: SagaStore.Encoded = {
        ...store,
        claim: (options) =>
          lost++ > 0 ? Effect.succeed([]) : Effect.andThen(
            Effect.forkDetach(Effect.delay(store.claim(options), "50 seconds")),
            Effect.fail(Process.offline)
          )
      }
      yield* client.use(definition.start(payload))
      yield* Process.open(late, Process.saga(two, parts))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(parts.log, [])
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(parts.log, ["A", "B"])
    }))

  it.effect("leaves alone what it was said to own, and what is somebody else's by now", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const client = yield* Process.open(store)
      const owner = yield* Process.open(store, Process.saga(two, parts))
      const gate = parts.gate("A")
      yield* client.use(definition.start(payload))
      yield* parts.hasBegun("A")
      let asked = 0
      const stale: SagaStore.Encoded = {
        ...store,
        claim: () => Effect.fail(Process.offline),
        owned: () => Effect.sync(() => asked++ === 0 ? [{ id, seq: 1 }] : [])
      }
      yield* Process.open(stale, Process.saga(two, parts))
      yield* TestClock.adjust("10 seconds")
      assert.isAtLeast(asked, 1)
      assert.deepStrictEqual(parts.log, ["A"])
      yield* gate.open
      assert.deepStrictEqual(yield* World.ended(owner.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "B"])
    }))

  it.effect("looks into the inbox of what it takes over only where something was sent", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const client = yield* Process.open(store)
      const asked: Array<string> = []
      const watched: SagaStore.Encoded = {
        ...store,
        inbox: (execution, after) =>
          Effect.andThen(Effect.sync(() => asked.push(execution)), store.inbox(execution, after))
      }
      const other = definition.executionId({ id: "2" })
      yield* client.use(Effect.all([definition.start(payload), definition.start({ id: "2" })]))
      yield* client.use(definition.cancel(other))
      const worker = yield* Process.open(watched, Process.saga(two, World.makeParts()))
      assert.deepStrictEqual(yield* World.ended(worker.use(definition.result(id))), Exit.succeed("B done"))
      assert.strictEqual(reasonOf(yield* World.ended(worker.use(definition.result(other)))), "Cancelled")
      assert.deepStrictEqual(new Set(asked), new Set([other]))
    }))

  it.effect("gives back what it could not take up, also when that fails at first", () =>
    Effect.gen(function*() {
      const store = yield* readLater
      const parts = World.makeParts()
      const client = yield* Process.open(store)
      const worker = yield* Process.open(store, Process.saga(two, parts))
      let failures = 0
      worker.before = (call) =>
        call === "journal" && failures === 0 || call === "release" && failures < 4
          ? Effect.andThen(Effect.sync(() => failures++), Effect.fail(Process.offline))
          : Effect.void
      yield* client.use(definition.start(payload))
      assert.deepStrictEqual(yield* World.ended(client.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "B"])
      assert.strictEqual(failures, 4)
    }))

  it.effect("keeps what it claimed again while it was on its way back", () =>
    Effect.gen(function*() {
      const store = yield* readLater
      const parts = World.makeParts()
      const client = yield* Process.open(store)
      yield* client.use(definition.start(payload))
      // It cannot be read at first; that it was given back is not heard, and the second try to give it back is late.
      const faulty = FaultInjection.make(
        store,
        FaultInjection.either(
          FaultInjection.nth("journal", 1, FaultInjection.unavailable),
          FaultInjection.nth("release", 1, FaultInjection.lost),
          FaultInjection.nth("release", 2, FaultInjection.slow("4 seconds"))
        )
      )
      parts.gate("A")
      const worker = yield* Process.open(faulty, Process.saga(two, parts))
      yield* TestClock.adjust("1 minute")
      const { appends } = yield* Effect.orDie(SagaStore.make(store).journal(id))
      assert.isAtMost(appends.flatMap((_) => _.entries).filter((_) => _._tag === "Claimed").length, 3)
      yield* parts.gate("A").open
      assert.deepStrictEqual(yield* World.ended(worker.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "B"])
    }))

  it.effect("goes on after a bug of the driver", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const client = yield* Process.open(store)
      const worker = yield* Process.open(store, Process.saga(two, parts))
      let bugs = 0
      worker.before = (call) => (call === "claim" || call === "renew") && bugs++ < 3 ? Effect.die("a bug") : Effect.void
      yield* client.use(definition.start(payload))
      assert.deepStrictEqual(yield* World.ended(client.use(definition.result(id))), Exit.succeed("B done"))
    }))

  it.effect("survives an outage in the middle of an execution, without acting twice", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const worker = yield* Process.open(store, Process.saga(two, parts))
      const gate = parts.gate("A")
      yield* worker.use(definition.start(payload))
      yield* parts.hasBegun("A")
      worker.before = () => Effect.fail(Process.offline)
      yield* gate.open
      yield* TestClock.adjust("20 seconds")
      worker.before = () => Effect.void
      assert.deepStrictEqual(yield* World.ended(worker.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "B"])
    }))

  it.effect("recovers by itself from an outage longer than its lease", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const worker = yield* Process.open(store, Process.saga(two, parts))
      const gate = parts.gate("A")
      yield* worker.use(definition.start(payload))
      yield* parts.hasBegun("A")
      worker.before = () => Effect.fail(Process.offline)
      yield* gate.open
      yield* TestClock.adjust("5 minutes")
      worker.before = () => Effect.void
      assert.deepStrictEqual(yield* World.ended(worker.use(definition.result(id))), Exit.succeed("B done"))
      assert.deepStrictEqual(parts.log, ["A", "A", "B"])
      assert.strictEqual(parts.keys[0], parts.keys[1])
    }))
})
