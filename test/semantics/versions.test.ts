/**
 * Several versions of one saga side by side: which handler runs an execution, and when a version can go.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Exit } from "effect"
import { Effect, Layer, Schema } from "effect"
import { Saga, SagaEngine, SagaError, SagaStore, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as World from "../utils/World.ts"

const define = (version: number, replaces: ReadonlyArray<number> = []) =>
  Saga.make("S", {
    payload: Schema.Struct({ id: Schema.String }),
    success: Schema.String,
    version,
    replaces,
    idempotencyKey: ({ id }) => id
  })
const [one, two] = [define(1), define(2)]

/** Acts, waits an hour, acts again; says which version it is. */
const handler = (log: Array<string>, definition: typeof one, version: number) =>
  definition.toLayer(Effect.fn(function*({ id }) {
    const act = (name: "A" | "B") =>
      Step.make(name, {
        success: Schema.String,
        execute: Effect.sync(() => {
          log.push(`${id}: ${name} by ${version}`)
          return `${name}${version}`
        }),
        compensate: () => Effect.void
      })
    yield* act("A")
    yield* Timer.sleep("wait", "1 hour")
    return yield* act("B")
  }))

const within = Effect.fnUntraced(function*() {
  const store = Layer.succeed(SagaStore.SagaStore, SagaStore.make(yield* SagaStore.makeMemory))
  /** A process with these handlers. */
  const process = <A, E>(
    handlers: Layer.Layer<never, E, SagaEngine.SagaEngine>,
    effect: Effect.Effect<A, unknown, SagaEngine.SagaEngine>
  ) =>
    Effect.scoped(Effect.gen(function*() {
      const engine = Layer.provide(Layer.fresh(SagaEngine.layerOptions({ grace: 0 })), store)
      const context = yield* Layer.build(Layer.provideMerge(handlers, engine))
      return yield* Effect.provideContext(effect, context)
    }))
  return process
})

const started = (definition: typeof one, id: string) => Effect.andThen(definition.start({ id }), World.quiet)
const hour = Effect.andThen(TestClock.adjust("61 minutes"), World.quiet)
const ended = (id: string) => Effect.andThen(hour, one.poll(one.executionId({ id })))

describe("an execution", () => {
  it.effect("is run to its end by the handler of the version that it started with, beside newer ones", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      const both = Layer.merge(handler(log, one, 1), handler(log, two, 2))
      yield* process(handler(log, one, 1), started(one, "old"))
      const polled = yield* process(
        both,
        Effect.gen(function*() {
          yield* started(two, "new")
          return [yield* ended("old"), yield* one.poll(one.executionId({ id: "new" }))]
        })
      )
      assert.deepStrictEqual(polled.map((_) => _._tag === "Completed" ? _.value : _._tag), ["B1", "B2"])
      assert.deepStrictEqual(log.toSorted(), ["new: A by 2", "new: B by 2", "old: A by 1", "old: B by 1"])
    }))

  it.effect("is left alone where only other versions are, and goes on where its own is", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      yield* process(handler(log, one, 1), started(one, "old"))
      const waiting = yield* process(handler(log, two, 2), ended("old"))
      assert.strictEqual(waiting._tag, "Suspended")
      // Nothing was written either: no worker took it and gave it back.
      assert.deepStrictEqual(log, ["old: A by 1"])
      const done = yield* process(handler(log, one, 1), ended("old"))
      assert.strictEqual(done._tag, "Completed")
    }))

  it.effect("that is started in a version which is not here waits for a process that has it", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      const polled = yield* process(handler(log, two, 2), Effect.andThen(started(one, "old"), ended("old")))
      assert.deepStrictEqual([polled._tag, log], ["Running", []])
      yield* process(handler(log, one, 1), Effect.andThen(hour, ended("old")))
      assert.deepStrictEqual(log, ["old: A by 1", "old: B by 1"])
    }))

  it.effect("goes over to a version that replaces its own", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      yield* process(handler(log, one, 1), started(one, "old"))
      const done = yield* process(handler(log, define(3, [1, 2]), 3), ended("old"))
      assert.deepStrictEqual(done._tag === "Completed" ? done.value : done._tag, "B3")
      assert.deepStrictEqual(log, ["old: A by 1", "old: B by 3"])
    }))

  it.effect("stays with its own version where that is here, although another one replaces it", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      yield* process(handler(log, one, 1), started(one, "old"))
      yield* process(Layer.merge(handler(log, one, 1), handler(log, define(3, [1]), 3)), ended("old"))
      assert.deepStrictEqual(log, ["old: A by 1", "old: B by 1"])
    }))

  it.effect("is not touched when the layer of another version closes", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      const test = Effect.gen(function*() {
        yield* started(one, "old")
        yield* Effect.scoped(Effect.andThen(Layer.build(handler(log, two, 2)), started(two, "new")))
        return [yield* ended("old"), yield* one.poll(one.executionId({ id: "new" }))]
      })
      const polled = yield* process(handler(log, one, 1), test)
      assert.deepStrictEqual(polled.map((_) => _._tag), ["Completed", "Suspended"])
      assert.deepStrictEqual(log, ["old: A by 1", "new: A by 2", "old: B by 1"])
    }))
})

describe("a retired version", () => {
  const inUse = (exit: Exit.Exit<unknown, unknown>) => {
    const error = World.errorOf(exit)
    return error instanceof SagaError.SagaError && error.reason instanceof SagaError.VersionInUse
      ? error.reason
      : assert.fail(String(error))
  }

  it.effect("fails the layer while executions that started with it have not ended, and names them", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      yield* process(handler(log, one, 1), Effect.andThen(started(one, "a"), started(one, "b")))
      const deploy = Layer.merge(handler(log, two, 2), Saga.retiredVersion(two, 1))
      const reason = inUse(yield* Effect.exit(process(deploy, Effect.void)))
      assert.deepStrictEqual([reason.saga, reason.version, reason.executions], ["S", 1, ["S/a", "S/b"]])
      assert.include(reason.message, "Version 1 of S is not retired: S/a, S/b started with it and have not ended.")
      yield* process(handler(log, one, 1), ended("a"))
      yield* process(deploy, Effect.void)
    }))

  it.effect("counts what is parked, and neither what has ended nor what is of another version or saga", () =>
    Effect.gen(function*() {
      const process = yield* within()
      const log: Array<string> = []
      const broken = one.toLayer(() => Effect.die(new Error("a bug")))
      yield* process(handler(log, two, 2), started(two, "other"))
      const check = process(Saga.retiredVersion(one, 1), Effect.void)
      yield* check
      yield* process(broken, started(one, "parked"))
      assert.deepStrictEqual(inUse(yield* Effect.exit(check)).executions, ["S/parked"])
    }))
})
