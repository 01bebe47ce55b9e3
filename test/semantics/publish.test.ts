/**
 * What a saga publishes: who sees it, when it is durable, and that a replay writes only what the journal does not have.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, SchemaGetter, Stream } from "effect"
import { Saga, SagaInspector, SagaStore, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as World from "../utils/World.ts"

const published = { stage: Schema.String, count: Schema.NumberFromString }

/** Says where it is before and after each step. */
const live = World.body(({ step }) =>
  Effect.gen(function*() {
    for (const [index, name] of ["A", "B"].entries()) {
      yield* Saga.publish("stage", name)
      yield* step(name)
      yield* Saga.publish("count", index + 1)
    }
    return "done"
  }), { published })

const said = (world: World.World) =>
  Effect.map(
    world.entries,
    (entries) => entries.flatMap((_) => _._tag === "Published" ? [`${_.name}=${JSON.stringify(_.value)}`] : [])
  )
const everything = [`stage="A"`, `count="1"`, `stage="B"`, `count="2"`]
const poll = (world: World.World, options: World.SagaOptions) =>
  world.use(World.definitionWith(options).poll(world.id as never))
const inspect = <A, E>(world: World.World, effect: Effect.Effect<A, E, SagaInspector.SagaInspector>) =>
  Effect.provide(effect, Layer.provide(SagaInspector.layer, Layer.succeed(SagaStore.SagaStore, world.recorded.store)))

describe("what a saga publishes", () => {
  it.effect("is in poll with the last value of each key, decoded, while it runs and when it has ended", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      parts.gate("B")
      const world = yield* World.make(live, parts)
      yield* world.start
      yield* parts.hasBegun("B")
      assert.deepStrictEqual((yield* poll(world, { published })).published, { stage: "B", count: 1 })
      parts.gate("B").openUnsafe()
      assert.deepStrictEqual(yield* world.result, Exit.succeed("done"))
      assert.deepStrictEqual((yield* poll(world, { published })).published, { stage: "B", count: 2 })
    }).pipe(Effect.scoped))

  it.effect("is in every change that SagaInspector.watch gives", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live)
      yield* world.execute
      const changes = yield* inspect(
        world,
        SagaInspector.SagaInspector.use((_) => Stream.runCollect(_.watch(world.id)))
      )
      const last = Array.from(changes).at(-1)
      assert.deepStrictEqual(last?.state.published, new Map([["stage", "B"], ["count", "2"]]))
    }).pipe(Effect.scoped))

  it.effect("costs no append of its own: it goes out with the next intent", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live)
      yield* world.execute
      assert.deepStrictEqual(yield* world.journal, [
        "SagaStarted, Published stage, StepStarted A",
        "StepSucceeded A, Published count, Published stage#2, StepStarted B",
        "StepSucceeded B, Published count#2, SagaCompleted"
      ])
    }).pipe(Effect.scoped))

  it.effect("is durable before a saga that waits leaves memory, and is there while it is away", () =>
    Effect.gen(function*() {
      const waiting = World.body(
        () => Effect.andThen(Saga.publish("stage", "waits"), Timer.sleep("wait", "1 hour")),
        { published }
      )
      const world = yield* World.make(waiting)
      yield* world.start
      yield* World.quiet
      const polled = yield* poll(world, { published })
      assert.deepStrictEqual([polled._tag, polled.published], ["Suspended", { stage: "waits" }])
      yield* TestClock.adjust("1 hour")
      yield* world.result
      assert.deepStrictEqual(yield* said(world), [`stage="waits"`])
    }).pipe(Effect.scoped))

  it.effect("is written once, wherever the process died", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live)
      yield* world.execute
      for (const { exit, world: other } of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual(exit, Exit.succeed("done"))
        assert.deepStrictEqual(yield* said(other), everything)
      }
    }).pipe(Effect.scoped))

  it.effect("stays what it was when the saga rolls back, and nothing more is said then", () =>
    Effect.gen(function*() {
      const parts = World.makeParts()
      parts.faults.set("B", ["refuse"])
      const world = yield* World.make(live, parts)
      yield* world.execute
      assert.deepStrictEqual(yield* said(world), everything.slice(0, 3))
      for (const { world: other } of yield* World.everyCut(world, live, World.makeParts)) {
        assert.deepStrictEqual((yield* said(other)).slice(0, 1), everything.slice(0, 1))
      }
    }).pipe(Effect.scoped))
})

describe("an open execution under another body", () => {
  const silent = World.body(({ step }) => Effect.as(Effect.andThen(step("A"), step("B")), "done"), { published })

  it.effect("that publishes more says what it has not said when it is taken up, once", () =>
    Effect.gen(function*() {
      const world = yield* World.make(silent)
      yield* world.execute
      const other = yield* world.crashed(2, live)
      assert.deepStrictEqual(yield* other.result, Exit.succeed("done"))
      assert.deepStrictEqual(yield* said(other), everything)
      const journal = yield* other.journal
      assert.isTrue(journal.slice(0, 2).every((append) => !append.includes("Published")))
      const again = yield* other.crashed(journal.length - 1, live)
      assert.deepStrictEqual(yield* again.result, Exit.succeed("done"))
      assert.deepStrictEqual(yield* said(again), everything)
    }).pipe(Effect.scoped))

  it.effect("that publishes less goes on all the same", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live)
      yield* world.execute
      const other = yield* world.crashed(2, silent)
      assert.deepStrictEqual(yield* other.result, Exit.succeed("done"))
      assert.deepStrictEqual(yield* said(other), everything.slice(0, 3))
    }).pipe(Effect.scoped))

  it.effect("whose schemas do not fit what was published: poll leaves that out", () =>
    Effect.gen(function*() {
      const world = yield* World.make(live)
      yield* world.execute
      const polled = yield* poll(world, { published: { stage: Schema.Number, count: Schema.String } })
      assert.deepStrictEqual(polled.published, { count: "2" })
      assert.deepStrictEqual((yield* poll(world, {})).published, {})
    }).pipe(Effect.scoped))

  it.effect("the body's time is the same whether or not it was written before", () =>
    Effect.gen(function*() {
      const timed = (talks: boolean) =>
        World.body(({ parts, step }) =>
          Effect.gen(function*() {
            yield* step("A")
            if (talks) yield* Saga.publish("stage", "A")
            const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
            yield* parts.seen("now", now)
            yield* step("B")
            return String(now)
          }), { published })
      const world = yield* World.make(timed(false))
      yield* world.execute
      const later = yield* world.crashed(2, timed(true))
      yield* TestClock.adjust("1 hour")
      const exit = yield* later.result
      assert.deepStrictEqual(exit, Exit.succeed("0"))
    }).pipe(Effect.scoped))
})

describe("what cannot be published is a bug, and parks", () => {
  const why = (published: Saga.Published, value: unknown) =>
    Effect.gen(function*() {
      const body = World.body(
        ({ step }) => Effect.andThen(step("A"), Saga.publish("stage", value)),
        { published }
      )
      const world = yield* World.make(body)
      const parked = World.whyParked(yield* world.execute).why
      assert.deepStrictEqual(yield* said(world), [])
      return parked._tag === "Defect" ? parked.message : assert.fail(parked._tag)
    }).pipe(Effect.scoped)

  it.effect("a key that the saga does not declare", () =>
    Effect.gen(function*() {
      assert.include(yield* why({}, "A"), "stage cannot be published: the saga does not declare it in published")
    }))

  it.effect("a value that its schema refuses, or no journal can hold", () =>
    Effect.gen(function*() {
      assert.include(yield* why({ stage: Schema.Number }, "A"), "stage cannot be published: ")
      assert.include(yield* why({ stage: Schema.String }, "\u0000"), "stage cannot be published: ")
    }))

  it.effect("one whose encoding waits", () =>
    Effect.gen(function*() {
      const slow = Schema.String.pipe(
        Schema.decodeTo(Schema.String, {
          decode: SchemaGetter.passthrough(),
          encode: SchemaGetter.transformEffect((text: string) => Effect.as(Effect.sleep(1), text))
        })
      )
      assert.include(yield* why({ stage: slow }, "A"), "stage cannot be published: ")
    }))
})

it.effect("in Saga.transact nobody sees it", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* Saga.transact(Effect.as(Saga.publish("stage", "A"), 1)), 1)
  }))
