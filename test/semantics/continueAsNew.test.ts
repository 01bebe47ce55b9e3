/**
 * Rule 31: a saga continues as new in the same execution, with an empty journal, other keys, and nothing left to undo.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema } from "effect"
import { Journal, Saga, SagaError, SagaInspector, SagaStore, Signal, Timer } from "effect-saga"
import { ReplayTest, SagaTest } from "effect-saga/testing"
import * as TestClock from "effect/testing/TestClock"
import * as World from "../utils/World.ts"

type Payload = typeof World.definition.payloadSchema.Type
type Loose = Effect.Effect<any, any, any>

/** A body that knows its payload. */
const body =
  (make: (payload: Payload, parts: World.Steps) => Loose, options: World.SagaOptions = {}): World.Live => (parts) =>
    World.definitionWith(options).toLayer(
      ((payload: Payload) => Effect.map(make(payload, parts), String)) as never
    )
/** The same after its point of no return. */
const settling =
  (make: (payload: Payload, parts: World.Steps) => Loose, options: World.SagaOptions = {}): World.Live => (parts) =>
    (World.definitionWith(options).attempt(() => parts.step("Try") as never) as any).settle(
      (_: unknown, payload: Payload) => Effect.map(make(payload, parts), String)
    )

const round = (payload: Payload): number => Number(payload.note ?? 0)
const next = (payload: Payload) => Saga.continueAsNew({ id: payload.id, note: String(round(payload) + 1) })

/** Three rounds of one step each. */
const rounds = body((payload, { readonly, step }) =>
  Effect.gen(function*() {
    yield* readonly("A")
    if (round(payload) < 2) return yield* next(payload)
    return yield* step("End")
  })
)
/** The same with steps that act. */
const settled = settling((payload, { parts, retryable }) =>
  Effect.gen(function*() {
    yield* parts.seen("round", round(payload))
    yield* retryable("A")
    if (round(payload) < 2) return yield* next(payload)
    return "done"
  })
)
const Paid = Signal.make("Paid", { payload: Schema.Number })
const appends = (world: World.World) => Effect.map(world.journal, (journal) => journal.length)
const row = (world: World.World) => Effect.orDie(world.recorded.store.encoded.read(world.id))
const reasonOf = (exit: Exit.Exit<unknown, unknown>) => {
  const error = World.errorOf(exit)
  assert.instanceOf(error, SagaError.SagaError)
  return error.reason
}

describe("a saga that continues as new", () => {
  it.effect("begins its body anew with the next payload, in the same execution, until it ends", () =>
    Effect.gen(function*() {
      const world = yield* World.make(settled)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("done"))
      assert.deepStrictEqual(world.parts.log, ["Try", "round=0", "A", "Try", "round=1", "A", "Try", "round=2", "A"])
      assert.deepStrictEqual((yield* world.entries).flatMap((_) => _._tag === "ContinuedAsNew" ? [_.payload] : []), [
        { id: "1", note: "1" },
        { id: "1", note: "2" }
      ])
    }).pipe(Effect.scoped))

  it.effect("gives every generation idempotency keys of its own", () =>
    Effect.gen(function*() {
      const world = yield* World.make(settled)
      yield* world.execute
      assert.deepStrictEqual(world.parts.keys.filter((key) => key.startsWith("A")), [
        "A S/1/0/A/0/0",
        "A S/1/1/A/0/0",
        "A S/1/2/A/0/0"
      ])
    }).pipe(Effect.scoped))

  it.effect("does each step of each generation once, wherever its process died", () =>
    Effect.gen(function*() {
      const world = yield* World.make(settled)
      yield* world.execute
      const keys = world.parts.keys.filter((key) => !key.startsWith("Try"))
      for (const { exit, world: other } of yield* World.everyCut(world, settled, World.makeParts)) {
        assert.deepStrictEqual(exit, Exit.succeed("done"))
        const done = other.parts.keys.filter((key) => !key.startsWith("Try"))
        assert.deepStrictEqual(done, keys.slice(keys.length - done.length))
      }
    }).pipe(Effect.scoped))

  it.effect("is recovered from its last generation alone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(settled)
      yield* world.execute
      const base = (yield* row(world))?.base ?? 0
      assert.isAbove(base, 0)
      const count = yield* appends(world)
      // Nobody could read what is before it.
      for (const one of yield* Effect.orDie(world.recorded.store.encoded.journal(world.id))) {
        if (one.seq < base) Object.assign(one, { entries: "torn" })
      }
      const other = yield* world.crashed(count - 1, settled)
      assert.deepStrictEqual(yield* other.result, Exit.succeed("done"))
    }).pipe(Effect.scoped))

  it.effect("is joined by who starts it with the payload that it began with, and by no other", () =>
    Effect.gen(function*() {
      const waiting = body((payload) =>
        round(payload) < 1 ? next(payload) : Effect.as(Timer.sleep("wait", "1 hour"), "over")
      )
      const world = yield* World.make(waiting)
      yield* world.start
      yield* World.quiet
      yield* world.start
      const other = yield* Effect.flip(world.use(World.definition.start({ id: "1", note: "1" })))
      assert.strictEqual(other.reason._tag, "PayloadMismatch")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("over"))
    }).pipe(Effect.scoped))

  it.effect("keeps what was sent to it and nobody has received", () =>
    Effect.gen(function*() {
      const receiving = body((payload) =>
        Effect.gen(function*() {
          if (round(payload) === 0) yield* Timer.sleep("wait", "1 minute")
          const { payload: paid } = { payload: yield* Signal.receive(Paid) }
          if (round(payload) < 2) return yield* next(payload)
          return paid
        })
      )
      const world = yield* World.make(receiving)
      yield* world.start
      yield* World.quiet
      for (const amount of [1, 2, 3]) yield* world.signal(Paid, amount)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* world.result, Exit.succeed("3"))
      const received = (yield* world.entries).flatMap((_) => _._tag === "SignalReceived" ? [_.value] : [])
      assert.deepStrictEqual(received, [1, 2, 3])
    }).pipe(Effect.scoped))

  it.effect("may be cancelled in a later generation, which has its own deadline", () =>
    Effect.gen(function*() {
      const waiting = body(
        (payload) => Effect.andThen(Timer.sleep("wait", "1 hour"), next(payload)),
        { deadline: "90 minutes" }
      )
      const world = yield* World.make(waiting)
      yield* world.start
      yield* World.quiet
      for (let hour = 0; hour < 5; hour++) {
        yield* TestClock.adjust("1 hour")
        yield* World.quiet
      }
      assert.strictEqual((yield* world.status)._tag, "Suspended")
      yield* world.cancel("enough")
      yield* World.quiet
      assert.strictEqual(reasonOf(yield* world.result)._tag, "Cancelled")
      assert.strictEqual((yield* world.entries).filter((_) => _._tag === "ContinuedAsNew").length, 5)
    }).pipe(Effect.scoped))

  it.effect("runs what waits for the commit before, once", () =>
    Effect.gen(function*() {
      const committing = body((payload, { parts }) =>
        Effect.gen(function*() {
          yield* Saga.onCommit("commit", Effect.orDie(parts.act(`commit ${round(payload)}`, undefined)))
          if (round(payload) < 1) return yield* next(payload)
          return "done"
        })
      )
      const world = yield* World.make(committing)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("done"))
      assert.deepStrictEqual(world.parts.log, ["commit 0", "commit 1"])
      for (const { exit } of yield* World.everyCut(world, committing, World.makeParts)) {
        assert.deepStrictEqual(exit, Exit.succeed("done"))
      }
    }).pipe(Effect.scoped))

  it.effect("shows the records and what was published of its last generation", () =>
    Effect.gen(function*() {
      const published = { round: Schema.Number, first: Schema.Boolean }
      const telling = body((payload, { readonly }) =>
        Effect.gen(function*() {
          if (round(payload) === 0) yield* Saga.publish("first", true)
          yield* Saga.publish("round", round(payload))
          yield* readonly(`R${round(payload)}`)
          if (round(payload) < 2) return yield* next(payload)
          return "done"
        }), { published })
      const world = yield* World.make(telling)
      yield* world.execute
      const polled = yield* world.use(World.definitionWith({ published }).poll(world.id as never))
      assert.deepStrictEqual(polled.published, { round: 2 })
      assert.deepStrictEqual(polled.steps.map((_) => _.step), ["R2"])
    }).pipe(Effect.scoped))

  it.effect("as a child tells its parent how it ended, in whichever generation; also one that is cancelled", () =>
    Effect.gen(function*() {
      const Child = Saga.make("Child", {
        payload: Schema.Struct({ round: Schema.Number, for: Schema.Literals(["ever", "a while"]) }),
        success: Schema.Number,
        idempotencyKey: ({ round }) => String(round)
      })
      const Parent = Saga.make("Parent", {
        payload: Schema.Literals(["ever", "a while"]),
        success: Schema.Number,
        idempotencyKey: (how) => how
      })
      const layer = Layer.merge(
        Child.toLayer(Effect.fn(function*(payload) {
          yield* Timer.sleep("round", "1 hour")
          if (payload.for === "a while" && payload.round === 2) return payload.round
          return yield* Saga.continueAsNew({ ...payload, round: payload.round + 1 })
        })),
        Parent.toLayer((how) => Saga.child(Child, { round: 0, for: how }, { onParentRollback: "leave" }))
      ).pipe(Layer.provideMerge(SagaTest.layer))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* SagaTest.run(Parent.execute("a while")), Exit.succeed(2))
        const id = yield* Parent.start("ever")
        yield* SagaTest.run(Effect.sleep("5 hours"))
        yield* Parent.cancel(id)
        const exit = yield* SagaTest.run(Parent.result(id))
        assert.strictEqual(reasonOf(exit)._tag, "Cancelled")
        const child = yield* Child.poll("Child/Parent/ever/0/Child/0" as never)
        assert.strictEqual(child._tag, "RolledBack")
      }).pipe(Effect.provide(layer))
    }))

  it.effect("is told as one story", () =>
    Effect.gen(function*() {
      const world = yield* World.make(settled)
      yield* world.execute
      const { ending, lines } = Saga.explain(yield* world.entries)
      assert.strictEqual(ending, "completed")
      assert.deepStrictEqual(lines.filter((_) => _.mark === "started").map((_) => _.text), [
        "The saga started.",
        "The saga continued as new, as generation 1: its journal begins here.",
        "The saga continued as new, as generation 2: its journal begins here."
      ])
    }).pipe(Effect.scoped))

  it.effect("replays its last generation against the handlers of today", () =>
    Effect.gen(function*() {
      const world = yield* World.make(settled)
      yield* world.execute
      const store = Layer.succeed(SagaStore.SagaStore, world.recorded.store)
      const recorded = (yield* Effect.provide(ReplayTest.record(world.id), store)) ?? assert.fail("unknown")
      const found = (live: World.Live) => {
        const parts = World.makeParts()
        return Effect.scoped(Effect.gen(function*() {
          const context = yield* Layer.build(Layer.provideMerge(
            live({ ...World.steps(parts), parts }),
            Layer.provide(ReplayTest.layer, SagaStore.layerMemory)
          ))
          return yield* Effect.provideContext(ReplayTest.replay(recorded), context)
        }))
      }
      assert.isUndefined(yield* found(settled))
      const forEver = settling((payload, { retryable }) => Effect.andThen(retryable("A"), next(payload)))
      assert.include((yield* found(forEver))?.message ?? "", "to continue as new")
    }).pipe(Effect.scoped))
})

describe("continuing as new", () => {
  it.effect("is a bug while compensations are held: it parks with their names, and a cancel undoes them", () =>
    Effect.gen(function*() {
      const holding = body((payload, { step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* step("B")
          yield* Saga.rollback("A")
          return yield* next(payload)
        })
      )
      const world = yield* World.make(holding)
      const reason = reasonOf(yield* world.execute)
      assert.strictEqual(reason._tag, "Parked")
      assert.include(reason.message, "it would continue as new while it holds the compensations of B: undo them before")
      yield* world.cancel("then not")
      yield* World.quiet
      assert.strictEqual(reasonOf(yield* world.result)._tag, "Cancelled")
      assert.deepStrictEqual(world.parts.log, ["A", "B", "undo A", "undo B"])
    }).pipe(Effect.scoped))

  it.effect("is allowed once everything that was held is undone", () =>
    Effect.gen(function*() {
      const undone = body((payload, { step }) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* Saga.rollback("A")
          if (round(payload) < 1) return yield* next(payload)
          return "done"
        })
      )
      const world = yield* World.make(undone)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("done"))
      assert.deepStrictEqual(world.parts.log, ["A", "undo A", "A", "undo A"])
    }).pipe(Effect.scoped))

  it.effect("is a bug while another fiber of the body waits for something", () =>
    Effect.gen(function*() {
      const racing = body((payload) => Saga.race([next(payload), Timer.sleep("wait", "1 hour")]))
      const world = yield* World.make(racing)
      const reason = reasonOf(yield* world.execute)
      assert.strictEqual(reason._tag, "Parked")
      assert.include(reason.message, "wait was asked by a fiber that outlives the saga's body")
    }).pipe(Effect.scoped))

  it.effect("with a payload that its schema cannot hold parks, and goes on from there once it can", () =>
    Effect.gen(function*() {
      const wrong = body((_, { readonly }) => Effect.andThen(readonly("A"), Saga.continueAsNew({ id: 1 })))
      const world = yield* World.make(wrong)
      const reason = reasonOf(yield* world.execute)
      assert.strictEqual(reason._tag, "Parked")
      assert.include(reason.message, "the payload to continue with")
      const other = yield* world.crashed(yield* appends(world), rounds)
      yield* other.resume
      yield* World.quiet
      assert.deepStrictEqual(yield* other.result, Exit.succeed("End done"))
    }).pipe(Effect.scoped))

  it.effect("moves an execution to the version that replaces the one it began with", () =>
    Effect.gen(function*() {
      const waiting = body((payload) => Effect.andThen(Timer.sleep("wait", "1 hour"), next(payload)))
      const world = yield* World.make(waiting)
      yield* world.start
      yield* World.quiet
      const second = Saga.make("S", {
        payload: World.definition.payloadSchema,
        success: Schema.String,
        idempotencyKey: (order) => order.id,
        version: 2,
        replaces: [1]
      })
      const other = yield* world.crashed(
        yield* appends(world),
        () =>
          second.toLayer((payload) =>
            Effect.gen(function*() {
              yield* Timer.sleep("wait", "1 hour")
              return yield* Saga.continueAsNew({ id: payload.id, note: "later" })
            })
          )
      )
      yield* World.quiet
      yield* TestClock.adjust("1 hour")
      yield* World.quiet
      assert.strictEqual((yield* row(other))?.version, 2)
      yield* Effect.scoped(Layer.build(Saga.retiredVersion(second, 1))).pipe(
        Effect.provide(Layer.empty),
        other.use
      )
    }).pipe(Effect.scoped))

  it.effect("goes on counting how often it was parked, so that no answer is taken for a later park", () =>
    Effect.gen(function*() {
      const parking = body((payload, { readonly }) =>
        Effect.gen(function*() {
          yield* readonly(`A${round(payload)}`)
          if (round(payload) < 1) return yield* next(payload)
          return "done"
        })
      )
      const parts = World.makeParts()
      parts.faults.set("A0", ["die"])
      parts.faults.set("A1", ["die"])
      const world = yield* World.make(parking, parts)
      yield* world.execute
      const inspector = Layer.provide(
        SagaInspector.layer,
        Layer.succeed(SagaStore.SagaStore, world.recorded.store)
      )
      const stale = yield* Effect.orDie(world.recorded.store.encoded.read(world.id))
      assert.strictEqual(stale?.status, "parked")
      yield* Effect.provide(SagaInspector.SagaInspector.use((_) => _.retry(world.id, "mended")), inspector)
      yield* World.quiet
      yield* TestClock.adjust("2 seconds")
      yield* World.quiet
      const state = Journal.fold(yield* world.entries)
      assert.strictEqual(state._tag === "Success" ? state.success.parks : 0, 2)
    }).pipe(Effect.scoped))
})
