import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Schema } from "effect"
import { Saga, SagaEngine, SagaError, SagaStore, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as limits from "../src/internal/limits.ts"
import * as Process from "./utils/Process.ts"
import { Refused, Shop, step, Stuck } from "./utils/Shop.ts"
import * as World from "./utils/World.ts"

const Order = Schema.Struct({ id: Schema.String, note: Schema.optionalKey(Schema.String) })
const definition = Saga.make("Order", {
  payload: Order,
  success: Schema.String,
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: (order) => order.id
})

const Live = definition.toLayer(Effect.fn(function*(order) {
  yield* step("A")
  yield* step("B")
  yield* step("C")
  return `${order.id} shipped`
}))

const engine = Live.pipe(
  Layer.provideMerge(SagaEngine.layer),
  Layer.provideMerge(SagaStore.layerMemory),
  Layer.provideMerge(Shop.layer)
)

const Key = Schema.Struct({ id: Schema.String })
const Depth = Schema.Struct({ depth: Schema.Int })

const reasonOf = (error: unknown): SagaError.Reason<unknown>["_tag"] => {
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason._tag
}

const one = World.body(({ step }) => step("A"))
const payload = { id: "1" }
const id = World.definition.executionId(payload)

describe("execute", () => {
  it.effect("runs the steps of a saga in order and answers its result", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      assert.strictEqual(yield* definition.execute({ id: "1" }), "1 shipped")
      assert.deepStrictEqual(shop.names(), ["A", "B", "C"])
    }).pipe(Effect.provide(engine)))

  it.effect("undoes what happened, in reverse, when a step refuses, and fails with the saga's own error", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      shop.faults.set("C", ["refuse"])
      const error = yield* Effect.flip(definition.execute({ id: "1" }))
      assert.instanceOf(error, Refused)
      assert.deepInclude(error, { step: "C" })
      assert.deepStrictEqual(shop.names(), ["A", "B", "C", "undo B", "undo A"])
    }).pipe(Effect.provide(engine)))

  it.effect("answers the same result again, without acting again", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      yield* definition.execute({ id: "1" })
      assert.strictEqual(yield* definition.execute({ id: "1" }), "1 shipped")
      assert.strictEqual(shop.log.length, 3)
    }).pipe(Effect.provide(engine)))

  it.effect("of a long saga whose steps wait for nothing leaves others their turns, in memory too", () =>
    Effect.gen(function*() {
      const acted: Array<number> = []
      const act = Step.make("act", {
        execute: Effect.sync(() => void acted.push(acted.length)),
        compensate: () => Effect.void
      })
      const Long = Saga.make("Long", { payload: Key, idempotencyKey: ({ id }) => id })
      const LongLive = Long.toLayer(() => Effect.forEach(Array.from({ length: 2_000 }), () => act, { discard: true }))
      const seen: Array<number> = []
      const look = Effect.andThen(Effect.sync(() => seen.push(acted.length)), Effect.yieldNow)
      yield* Effect.gen(function*() {
        yield* Effect.forkChild(Effect.andThen(look, look))
        yield* Long.execute({ id: "1" })
      }).pipe(Effect.provide(LongLive.pipe(Layer.provideMerge(SagaEngine.layerMemory))))
      assert.lengthOf(seen, 2)
      assert.isAbove(seen[1]!, 0)
      assert.isBelow(seen[1]!, 2_000)
    }))

  it.effect("of many sagas at once leaves others their turns, in memory too", () =>
    Effect.gen(function*() {
      let ended = 0
      const Short = Saga.make("Short", { payload: Key, idempotencyKey: ({ id }) => id })
      const act = Step.make("act", { execute: Effect.sync(() => void ended++), compensate: () => Effect.void })
      const ids = Array.from({ length: 200 }, (_, id) => `${id}`)
      yield* Effect.gen(function*() {
        const other = yield* Effect.forkChild(Effect.andThen(Effect.yieldNow, Effect.sync(() => ended)))
        yield* Effect.forEach(ids, (id) => Short.execute({ id }), { concurrency: 4, discard: true })
        assert.strictEqual(ended, 200)
        assert.isBelow(yield* Fiber.join(other), 200)
      }).pipe(Effect.provide(Short.toLayer(() => act).pipe(Layer.provideMerge(SagaEngine.layerMemory))))
    }))

  it.live("within a step of another one, and so on, ends however deep that goes", () =>
    Effect.gen(function*() {
      const Deep = Saga.make("Deep", {
        payload: Depth,
        success: Schema.Int,
        idempotencyKey: ({ depth }) => `${depth}`
      })
      const DeepLive = Deep.toLayer(({ depth }) =>
        Step.make("next", {
          success: Schema.Int,
          execute: Effect.suspend(() =>
            depth === 0 ? Effect.succeed(0) : Effect.map(Effect.orDie(Deep.execute({ depth: depth - 1 })), (_) => _ + 1)
          ),
          compensate: () => Effect.void
        })
      )
      const layer = DeepLive.pipe(Layer.provideMerge(SagaEngine.layerMemory))
      assert.strictEqual(yield* Effect.provide(Deep.execute({ depth: 1_000 }), layer), 1_000)
    }))

  it.effect("asks for the key and the tags once, also where another process runs the saga", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      let asked = 0
      let tagged = 0
      const Counted = Saga.make("Counted", {
        payload: Key,
        success: Schema.String,
        idempotencyKey: () => `${asked++}`,
        tags: () => ({ asked: `${tagged++}` })
      })
      const act = Step.make("act", {
        success: Schema.String,
        execute: Effect.succeed("done"),
        compensate: () => Effect.void
      })
      yield* Process.open(store, Counted.toLayer(() => act))
      const client = yield* Process.open(store)
      assert.deepStrictEqual(
        yield* World.ended(client.use(Counted.execute({ id: "1" }))),
        Exit.succeed("done")
      )
      assert.deepStrictEqual([asked, tagged], [1, 1])
      assert.deepStrictEqual((yield* store.read("Counted/0"))?.tags, { asked: "0" })
    }))

  it.effect("interrupted while it waits stops the waiting, not the execution", () =>
    Effect.gen(function*() {
      const world = yield* World.make(one)
      const gate = world.parts.gate("A")
      const waiting = yield* Effect.forkChild(world.use(World.definition.execute(payload)))
      yield* world.parts.hasBegun("A")
      yield* Fiber.interrupt(waiting)
      const exit = yield* Fiber.await(waiting)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.strictEqual((yield* world.poll)._tag, "Running")
      yield* gate.open
      assert.deepStrictEqual(yield* world.result, Exit.succeed("A done"))
      assert.deepStrictEqual(world.parts.log, ["A"])
    }))
})

describe("start", () => {
  it.effect("returns once the start is durable, before the first step has ended", () =>
    Effect.gen(function*() {
      const world = yield* World.make(one)
      const gate = world.parts.gate("A")
      assert.strictEqual(yield* world.use(World.definition.start(payload)), id)
      assert.deepStrictEqual(yield* world.journal, ["SagaStarted, StepStarted A"])
      yield* gate.open
      yield* world.result
    }))

  it.effect("leaves its caller a turn before a saga ends whose steps wait for nothing", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      const id = yield* definition.start({ id: "1" })
      yield* definition.cancel(id)
      assert.strictEqual(reasonOf(yield* Effect.flip(definition.result(id))), "Cancelled")
      assert.deepStrictEqual(shop.names(), ["A", "undo A"])
    }).pipe(Effect.provide(engine)))

  it.effect("is what `executionId` says: the tag and the key, told apart from every other pair", () =>
    Effect.sync(() => {
      assert.strictEqual(definition.executionId({ id: "a/b" }), "Order/a/b" as never)
      const slashed = Saga.make("Order/a", { payload: Order, idempotencyKey: (order) => order.id })
      assert.notStrictEqual<string>(definition.executionId({ id: "a/b" }), slashed.executionId({ id: "b" }))
    }))

  it.effect("twice at once, in one process, is one execution", () =>
    Effect.gen(function*() {
      const shop = yield* Shop
      const results = yield* Effect.all(Array.from({ length: 5 }, () => definition.execute({ id: "1" })), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(new Set(results), new Set(["1 shipped"]))
      assert.deepStrictEqual(shop.names(), ["A", "B", "C"])
    }).pipe(Effect.provide(engine)))

  it.effect("twice at once, in two processes, is one execution", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const layer = Process.saga(one, parts)
      const processes = [
        yield* Process.open(store, layer),
        yield* Process.open(store, layer),
        yield* Process.open(store)
      ]
      const exits = yield* Effect.forEach(
        processes,
        (process) => World.ended(process.use(World.definition.execute(payload))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(exits, processes.map(() => Exit.succeed("A done")))
      assert.deepStrictEqual(parts.log, ["A"])
    }))

  it.effect("with the key of another payload is refused, while it runs and when it has ended", () =>
    Effect.gen(function*() {
      const world = yield* World.make(one)
      const gate = world.parts.gate("A")
      const other = Effect.flip(world.use(World.definition.start({ id: "1", note: "another" })))
      yield* world.start
      assert.strictEqual(reasonOf(yield* other), "PayloadMismatch")
      yield* gate.open
      yield* world.result
      assert.strictEqual(reasonOf(yield* other), "PayloadMismatch")
    }))

  it.effect("with another payload at once: one of the two wins, the other is refused", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const layer = Process.saga(one, World.makeParts())
      const processes = [yield* Process.open(store, layer), yield* Process.open(store, layer)]
      const exits = yield* Effect.forEach(
        processes,
        (process, index) =>
          World.ended(process.use(World.definition.start(index === 0 ? payload : { id: "1", note: "another" }))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(exits.filter(Exit.isSuccess).length, 1)
      assert.strictEqual(reasonOf(World.errorOf(exits.find(Exit.isFailure)!)), "PayloadMismatch")
    }))

  it.effect("refuses a key that is too long", () =>
    Effect.gen(function*() {
      const world = yield* Effect.provideService(World.make(one), limits.MaxKeyLength, 8)
      const error = yield* Effect.flip(world.use(World.definition.start({ id: "123456789" })))
      assert.strictEqual(reasonOf(error), "PayloadInvalid")
      yield* world.use(World.definition.start({ id: "12345678" }))
    }))

  it.effect("fails when the store refuses it for good, and waits while it is out of reach", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const client = yield* Process.open(store)
      client.before = (call) =>
        call === "append"
          ? Effect.fail(new SagaStore.StoreError({ operation: call, retryable: false, cause: "no such table" }))
          : Effect.void
      assert.strictEqual(
        reasonOf(World.errorOf(yield* World.ended(client.use(World.definition.start(payload))))),
        "StoreUnavailable"
      )
      let calls = 0
      client.before = (call) => call === "append" && calls++ < 3 ? Effect.fail(Process.offline) : Effect.void
      assert.deepStrictEqual(yield* World.ended(client.use(World.definition.start(payload))), Exit.succeed(id))
    }))
})

describe("poll", () => {
  it.effect("says where an execution stands", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      const [doing, undoing] = [world.parts.gate("A"), world.parts.gate("undo A")]
      world.parts.faults.set("B", ["refuse"])
      yield* world.start
      assert.deepStrictEqual(yield* world.status, { _tag: "Running", pivotPassed: false })
      yield* doing.open
      yield* world.parts.hasBegun("undo A")
      assert.deepStrictEqual(yield* world.status, { _tag: "Compensating" })
      yield* undoing.open
      yield* world.result
      const polled = yield* world.poll
      assert.strictEqual(polled._tag, "RolledBack")
      assert.instanceOf(polled.error, Refused)
    }))

  it.effect("has the result of what completed, and why another is parked", () =>
    Effect.gen(function*() {
      const world = yield* World.make(one)
      yield* world.execute
      assert.deepStrictEqual(yield* world.status, { _tag: "Completed", value: "A done" })
      const parked = yield* World.make(one)
      parked.parts.faults.set("A", ["die"])
      yield* parked.execute
      const polled = yield* parked.poll
      assert.strictEqual(polled._tag, "Parked")
      assert.strictEqual(polled.error.reason.why._tag, "Defect")
    }))

  it.effect("does not know an execution that was never started; neither do the others", () =>
    Effect.gen(function*() {
      const world = yield* World.make(one)
      assert.strictEqual(reasonOf(yield* Effect.flip(world.poll)), "UnknownExecution")
      assert.strictEqual(reasonOf(World.errorOf(yield* world.result)), "UnknownExecution")
      assert.strictEqual(reasonOf(yield* Effect.flip(world.cancel())), "UnknownExecution")
      assert.strictEqual(reasonOf(yield* Effect.flip(world.resume)), "UnknownExecution")
    }))
})

describe("result", () => {
  it.effect("waits for what another process runs, and for what is resumed", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      parts.faults.set("A", ["die"])
      yield* Process.open(store, Process.saga(one, parts))
      const client = yield* Process.open(store)
      assert.strictEqual(
        World.whyParked(yield* World.ended(client.use(World.definition.execute(payload)))).why._tag,
        "Defect"
      )
      yield* client.use(World.definition.resume(id))
      assert.deepStrictEqual(yield* World.ended(client.use(World.definition.result(id))), Exit.succeed("A done"))
    }))

  it.effect("answers a parked execution's unresolved steps and its original failure, decoded", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      world.parts.faults.set("B", ["refuse"])
      world.parts.faults.set("undo A", ["refuse"])
      const parked = World.whyParked(yield* world.execute)
      assert.strictEqual(parked.why._tag, "CompensationFailed")
      assert.deepStrictEqual(parked.unresolved.map((_) => _.step), ["A"])
      assert.instanceOf(parked.unresolved[0]?.error, Stuck)
      assert.strictEqual(parked.original?._tag, "Failed")
      assert.include(parked.message, "Left undone: A.")
    }))

  it.effect("of a waiter survives an outage of the store", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const gate = parts.gate("A")
      yield* Process.open(store, Process.saga(one, parts))
      const client = yield* Process.open(store)
      yield* client.use(World.definition.start(payload))
      const waiting = yield* Effect.forkChild(client.use(World.definition.result(id)))
      client.before = () => Effect.fail(Process.offline)
      yield* TestClock.adjust("20 seconds")
      client.before = () => Effect.void
      yield* gate.open
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), "A done")
    }))

  it.effect("says so when the store stays away", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const client = yield* Process.open(store)
      yield* client.use(World.definition.start(payload))
      client.before = () => Effect.fail(Process.offline)
      const exit = yield* World.ended(client.use(World.definition.result(id)))
      assert.strictEqual(reasonOf(World.errorOf(exit)), "StoreUnavailable")
      client.before = () => Effect.void
    }))

  it.effect("is not answered before the end is durable", () =>
    Effect.gen(function*() {
      const store = yield* SagaStore.makeMemory
      const parts = World.makeParts()
      const worker = yield* Process.open(store, Process.saga(one, parts))
      yield* worker.use(World.definition.start(payload))
      const gate = parts.gate("A")
      const waiting = yield* Effect.forkChild(Effect.exit(worker.use(World.definition.result(id))))
      yield* parts.hasBegun("A")
      // The lease ends while the last append is on its way, and that never arrives.
      worker.before = () => Effect.never
      yield* gate.open
      yield* TestClock.adjust("40 seconds")
      assert.isUndefined(waiting.pollUnsafe())
      const other = World.makeParts()
      other.faults.set("A", ["refuse"])
      yield* Process.open(store, Process.saga(one, other))
      yield* TestClock.adjust("10 seconds")
      worker.before = () => Effect.void
      yield* Fiber.interrupt(waiting)
      assert.instanceOf(
        World.errorOf(yield* World.ended(worker.use(World.definition.result(id)))),
        Refused
      )
    }))
})

describe("cancel", () => {
  it.effect("rolls back at the next boundary, and carries its reason", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      const gate = world.parts.gate("A")
      yield* world.start
      yield* world.parts.hasBegun("A")
      yield* world.cancel("too dear")
      yield* gate.open
      const error = World.errorOf(yield* world.result)
      assert.instanceOf(error, SagaError.SagaError)
      assert.deepInclude(error.reason, { _tag: "Cancelled", reason: "too dear" })
      assert.deepStrictEqual(world.parts.log, ["A", "undo A"])
    }))

  it.effect("twice cancels once", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      const gate = world.parts.gate("A")
      yield* world.start
      yield* world.parts.hasBegun("A")
      yield* Effect.all([world.cancel("one"), world.cancel("two")], { concurrency: 2 })
      yield* gate.open
      assert.strictEqual(reasonOf(World.errorOf(yield* world.result)), "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "undo A"])
    }))

  it.effect("is not accepted after the end, nor while it rolls back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      world.parts.faults.set("B", ["refuse"])
      const gate = world.parts.gate("undo A")
      yield* world.start
      yield* world.parts.hasBegun("undo A")
      assert.strictEqual(reasonOf(yield* Effect.flip(world.cancel())), "NotAccepting")
      yield* gate.open
      yield* world.result
      assert.strictEqual(reasonOf(yield* Effect.flip(world.cancel())), "NotAccepting")
    }))

  it.effect("of a parked execution rolls it back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      world.parts.faults.set("B", ["die"])
      yield* world.execute
      yield* world.cancel()
      assert.strictEqual(reasonOf(World.errorOf(yield* world.result)), "Cancelled")
      assert.deepStrictEqual(world.parts.log.slice(-1), ["undo A"])
    }))
})

describe("resume", () => {
  it.effect("is accepted by a parked execution only", () =>
    Effect.gen(function*() {
      const world = yield* World.make(one)
      const gate = world.parts.gate("A")
      yield* world.start
      assert.strictEqual(reasonOf(yield* Effect.flip(world.resume)), "NotAccepting")
      yield* gate.open
      yield* world.result
      assert.strictEqual(reasonOf(yield* Effect.flip(world.resume)), "NotAccepting")
    }))

  it.effect("tries the compensations that failed for good again", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) => Effect.andThen(step("A"), step("B"))))
      world.parts.faults.set("B", ["refuse"])
      world.parts.faults.set("undo A", ["refuse"])
      World.whyParked(yield* world.execute)
      yield* world.resume
      assert.instanceOf(World.errorOf(yield* world.result), Refused)
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A", "undo A"])
    }))
})
