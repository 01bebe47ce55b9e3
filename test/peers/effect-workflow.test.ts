/**
 * Five things that happen to a saga written with `effect/workflow` of Effect 4.1, and what happens here.
 *
 * The tests named "there" say what its engines do today. One that fails was mended there: then look again at what we
 * say about it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, type Duration, Effect, Exit, Fiber, Latch, Layer, Result, Schema, type Scope } from "effect"
import { Saga, Timer } from "effect-saga"
import {
  ClusterWorkflowEngine,
  MessageStorage,
  RunnerHealth,
  Runners,
  RunnerStorage,
  Sharding,
  ShardingConfig
} from "effect/cluster"
import * as TestClock from "effect/testing/TestClock"
import { Activity, DurableClock, Workflow, WorkflowEngine } from "effect/workflow"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

// ---------------------------------------------------------------------------------------------------------------------
// there
// ---------------------------------------------------------------------------------------------------------------------

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

const Trip = Workflow.make("Trip", {
  payload: { id: Schema.String },
  success: Schema.String,
  error: Declined,
  idempotencyKey: ({ id }) => id
})

type Body = Effect.Effect<
  string,
  Declined,
  WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance | Workflow.Execution<"Trip"> | Scope.Scope
>

/** An activity that logs itself; its result says which line of the log it wrote. */
const activity = (log: Array<string>, name: string) =>
  Activity.make({
    name,
    success: Schema.String,
    execute: Effect.sync(() => `${name}, line ${log.push(name)}`)
  })

const writes = (log: Array<string>, line: string) => Effect.sync(() => void log.push(line))

/** Books a hotel; what cancels it is a plain effect. */
const hotel = (log: Array<string>) => Trip.withCompensation(activity(log, "Hotel"), () => writes(log, "cancel Hotel"))

/** Runs a body on the memory engine. */
const inMemory = (body: Body) =>
  World.ended(
    Trip.execute({ id: "1" }).pipe(
      Effect.provide(Trip.toLayer(() => body).pipe(Layer.provideMerge(WorkflowEngine.layerMemory)))
    )
  )

/** Lets time pass until this holds: in small steps, since a cluster asks its storage all the time. */
const until = Effect.fnUntraced(function*(holds: () => boolean) {
  for (let i = 0; i < 2_000 && !holds(); i++) {
    yield* World.quiet
    yield* TestClock.adjust("20 millis")
  }
  assert.isTrue(holds())
})

/** The storage that the processes of a cluster share. */
const storage = Layer.build(Layer.provide(MessageStorage.layerMemory, ShardingConfig.layer()))

/** A process of a cluster. With runners of its own it takes every shard: whoever had them is thought to be dead. */
const inCluster = (body: Body, shared: Effect.Success<typeof storage>) =>
  Layer.build(
    Trip.toLayer(() => body).pipe(
      Layer.provideMerge(ClusterWorkflowEngine.layer),
      Layer.provideMerge(Sharding.layer),
      Layer.provide(Runners.layerNoop),
      Layer.provide(Layer.succeedContext(shared)),
      Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
      Layer.provide(ShardingConfig.layer({ entityTerminationTimeout: 0 }))
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// both
// ---------------------------------------------------------------------------------------------------------------------

describe("a compensation that sleeps durably", () => {
  /** The bank takes a refund on the next day. */
  const sleeping = (log: Array<string>): Body =>
    Effect.gen(function*() {
      yield* hotel(log)
      yield* Trip.withCompensation(
        activity(log, "Payment"),
        Effect.fnUntraced(function*() {
          yield* writes(log, "the refund waits")
          yield* DurableClock.sleep({ name: "banking day", duration: "1 day" })
          yield* writes(log, "refund Payment")
        })
      )
      return yield* new Declined()
    })

  it.effect("there, in memory: it is cut off where it sleeps, and the workflow ends as if it were done", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      assert.deepStrictEqual(World.errorOf(yield* inMemory(sleeping(log))), new Declined())
      assert.deepStrictEqual(log, ["Hotel", "Payment", "the refund waits", "cancel Hotel"])
    }))

  it.effect("there, in a cluster: all compensations begin again and again, while no time passes", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const process = yield* inCluster(sleeping(log), yield* storage)
      yield* Effect.forkChild(Effect.provideContext(Trip.execute({ id: "1" }), process))
      yield* until(() => log.includes("the refund waits"))
      const before = log.length
      for (let i = 0; i < 1_000 && log.length < before + 20; i++) yield* World.quiet
      assert.isAtLeast(log.length, before + 20)
      assert.deepStrictEqual(new Set(log.slice(before)), new Set(["the refund waits", "cancel Hotel"]))
      assert.notInclude(log, "refund Payment")
    }))
})

describe("a compensation that sleeps durably, here", () => {
  const sleeping = (wait: Duration.Input) =>
    World.body(({ parts, step }) =>
      Effect.gen(function*() {
        yield* step("Hotel")
        yield* step("Payment", {
          compensate: () =>
            Effect.gen(function*() {
              yield* parts.act("the refund waits", undefined)
              yield* Timer.sleep("banking day", wait)
              yield* parts.act("refund Payment", undefined)
            })
        })
        yield* step("Flight")
      })
    )
  const soldOut = () => {
    const parts = World.makeParts()
    parts.faults.set("Flight", ["refuse"])
    return parts
  }

  it.effect("waits a day in nobody's memory, then goes on, and the others wait for it", () =>
    Effect.gen(function*() {
      const world = yield* World.make(sleeping("1 day"), soldOut())
      yield* world.start
      yield* World.quiet
      assert.strictEqual((yield* world.poll)._tag, "Suspended")
      yield* TestClock.adjust("23 hours")
      assert.deepStrictEqual(world.parts.log, ["Hotel", "Payment", "Flight", "the refund waits"])
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "Flight" }))
      // What comes before the wait runs again with it, under the same key.
      const after = ["the refund waits", "refund Payment", "undo Hotel"]
      assert.deepStrictEqual(world.parts.log.slice(4), after)
      assert.strictEqual(new Set(world.parts.keys.filter((_) => _.includes("Payment/0/compensation"))).size, 2)
    }).pipe(Effect.scoped))

  it.effect("serves its wait once, wherever the process dies", () =>
    Effect.gen(function*() {
      const world = yield* World.make(sleeping("1 minute"), soldOut())
      yield* world.execute
      for (const cut of yield* World.everyCut(world, sleeping("1 minute"), soldOut)) {
        assert.deepStrictEqual(World.errorOf(cut.exit), new Refused({ step: "Flight" }))
        const undone = cut.world.parts.log.filter((_) => _ === "refund Payment" || _ === "undo Hotel")
        assert.include([["refund Payment", "undo Hotel"].join(), "undo Hotel"], undone.join(), `cut ${cut.appends}`)
        const timers = (yield* cut.world.entries).filter((_) => _._tag === "CompensationTimerSet")
        assert.strictEqual(timers.length, 1)
      }
    }).pipe(Effect.scoped))
})

describe("two steps of one name", () => {
  it.effect("there: the second is not executed and gets the result of the first", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const exit = yield* inMemory(Effect.gen(function*() {
        const outward = yield* activity(log, "Seat")
        const back = yield* activity(log, "Seat")
        return `${outward}; ${back}`
      }))
      assert.deepStrictEqual(exit, Exit.succeed("Seat, line 1; Seat, line 1"))
      assert.deepStrictEqual(log, ["Seat"])
    }))

  it.effect("here: both are executed, under a key each, and both are undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("Seat")
          yield* step("Seat")
          yield* step("Payment")
        })
      ))
      world.parts.faults.set("Payment", ["refuse"])
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["Seat", "Seat", "Payment", "undo Seat", "undo Seat"])
      assert.deepStrictEqual(world.parts.keys, [
        "Seat S/1/0/Seat/0/0",
        "Seat S/1/0/Seat/1/0",
        "Payment S/1/0/Payment/0/0",
        "undo Seat S/1/0/Seat/1/compensation",
        "undo Seat S/1/0/Seat/0/compensation"
      ])
    }).pipe(Effect.scoped))
})

describe("a compensation that dies", () => {
  it.effect("there: the workflow fails with its defect, and why it rolled back is nowhere", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const exit = yield* inMemory(Effect.gen(function*() {
        yield* hotel(log)
        yield* Trip.withCompensation(activity(log, "Flight"), () => Effect.die(new Error("no such flight")))
        return yield* new Declined()
      }))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isSuccess(exit)) return
      assert.deepStrictEqual(exit.cause.reasons.map((_) => _._tag), ["Die"])
      assert.match(Cause.pretty(exit.cause), /no such flight/)
      assert.notMatch(Cause.pretty(exit.cause), /Declined/)
      assert.deepStrictEqual(log, ["Hotel", "Flight", "cancel Hotel"])
    }))

  it.effect("here: the saga parks with why it rolled back and with what stands; the others are undone", () =>
    Effect.gen(function*() {
      const world = yield* World.make(World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("Hotel")
          yield* step("Flight")
          yield* step("Payment")
        })
      ))
      world.parts.faults.set("Payment", ["refuse"]).set("undo Flight", ["die"])
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.original, { _tag: "Failed", error: new Refused({ step: "Payment" }) })
      assert.deepStrictEqual(parked.unresolved, [
        { step: "Flight", attempts: 1, error: undefined, defect: "Error: undo Flight is broken" }
      ])
      assert.deepStrictEqual(world.parts.log, ["Hotel", "Flight", "Payment", "undo Flight", "undo Hotel"])
      yield* world.resume
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "Payment" }))
    }).pipe(Effect.scoped))
})

describe("a failure that the body catches", () => {
  /** Books a hotel, fails, and catches that; an `Effect.scoped` around it changes nothing. */
  const caught = (log: Array<string>, then: Body): Body =>
    Effect.gen(function*() {
      yield* hotel(log).pipe(Effect.andThen(Effect.fail(new Declined())), Effect.scoped, Effect.ignore)
      log.push("another way")
      return yield* then
    })

  it.effect("there: what was done stays done, and nothing undoes a part of a workflow", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      assert.deepStrictEqual(yield* inMemory(caught(log, Effect.succeed("by train"))), Exit.succeed("by train"))
      assert.deepStrictEqual(log, ["Hotel", "another way"])
    }))

  it.effect("there: it is undone at the very end, if the workflow fails", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* inMemory(caught(log, Effect.andThen(activity(log, "Train"), Effect.fail(new Declined()))))
      assert.deepStrictEqual(log, ["Hotel", "another way", "Train", "cancel Hotel"])
    }))

  /** The same with a train as the other way, which may fail too. */
  const detour = (region: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, any>) =>
    World.body(({ step }) =>
      Effect.gen(function*() {
        const first = yield* Effect.result(region(Effect.andThen(step("Hotel"), step("Flight"))))
        return Result.isSuccess(first) ? "by air" : yield* step("Train")
      })
    )

  it.effect("here: the same, rule 6: what was done is held, and undone if the saga rolls back later", () =>
    Effect.gen(function*() {
      const goes = yield* World.make(detour((_) => _))
      goes.parts.faults.set("Flight", ["refuse"])
      assert.deepStrictEqual(yield* goes.execute, Exit.succeed("Train done"))
      assert.deepStrictEqual(goes.parts.log, ["Hotel", "Flight", "Train"])
      const fails = yield* World.make(detour((_) => _))
      fails.parts.faults.set("Flight", ["refuse"]).set("Train", ["refuse"])
      assert.deepStrictEqual(World.errorOf(yield* fails.execute), new Refused({ step: "Train" }))
      assert.deepStrictEqual(fails.parts.log, ["Hotel", "Flight", "Train", "undo Hotel"])
    }).pipe(Effect.scoped))

  it.effect("here: inside Saga.scoped it is undone at once, before the body tries another way, and not twice", () =>
    Effect.gen(function*() {
      for (const train of [[], ["refuse"]] as const) {
        const world = yield* World.make(detour(Saga.scoped))
        world.parts.faults.set("Flight", ["refuse"]).set("Train", [...train])
        yield* world.execute
        assert.deepStrictEqual(world.parts.log, ["Hotel", "Flight", "undo Hotel", "Train"])
      }
    }).pipe(Effect.scoped))
})

describe("a crash between two compensations", () => {
  /** Books two things and fails; the first process never gets an answer when it cancels the hotel. */
  const failing = (
    log: Array<string>,
    process: number,
    cancel: "plain effects" | "activities",
    answer: Effect.Effect<void>
  ): Body => {
    const undo = (name: string) => {
      const execute = Effect.suspend(() => {
        log.push(`${process}: cancel ${name}`)
        return name === "Hotel" ? answer : Effect.void
      })
      return cancel === "plain effects" ? execute : Activity.make({ name: `cancel ${name}`, execute })
    }
    return Effect.gen(function*() {
      yield* Trip.withCompensation(activity(log, "Hotel"), () => undo("Hotel"))
      yield* Trip.withCompensation(activity(log, "Flight"), () => undo("Flight"))
      return yield* new Declined()
    })
  }

  const twoProcesses = Effect.fnUntraced(function*(cancel: "plain effects" | "activities") {
    const log: Array<string> = []
    const shared = yield* storage
    const answer = Latch.makeUnsafe(false)
    const first = yield* inCluster(failing(log, 1, cancel, answer.await), shared)
    yield* Effect.addFinalizer(() => answer.open)
    yield* Effect.forkChild(Effect.provideContext(Trip.execute({ id: "1" }), first))
    yield* until(() => log.includes("1: cancel Hotel"))
    assert.deepStrictEqual(log.splice(0), ["Hotel", "Flight", "1: cancel Flight", "1: cancel Hotel"])
    const second = yield* inCluster(failing(log, 2, cancel, Effect.void), shared)
    const joined = yield* Effect.forkChild(Effect.provideContext(Trip.execute({ id: "1" }), second))
    yield* until(() => joined.pollUnsafe() !== undefined)
    assert.deepStrictEqual(World.errorOf(yield* Fiber.await(joined)), new Declined())
    return log
  })

  it.effect("there: compensations are not recorded: the one that was done is done again", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* twoProcesses("plain effects"), ["2: cancel Flight", "2: cancel Hotel"])
    }).pipe(Effect.scoped))

  it.effect("there: unless whoever writes them makes an activity of each", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* twoProcesses("activities"), ["2: cancel Hotel"])
    }).pipe(Effect.scoped))

  it.effect("here: each is recorded once; the recorded one is not done again, and the rest goes on", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) =>
        Effect.gen(function*() {
          yield* step("Hotel")
          yield* step("Flight")
          yield* step("Payment")
        })
      )
      const world = yield* World.make(live)
      world.parts.faults.set("Payment", ["refuse"])
      world.parts.gate("undo Hotel")
      yield* world.start
      yield* world.parts.hasBegun("undo Hotel")
      assert.deepStrictEqual(world.parts.log, ["Hotel", "Flight", "Payment", "undo Flight", "undo Hotel"])
      const next = yield* world.crashed((yield* world.journal).length, live, World.makeParts())
      assert.deepStrictEqual(World.errorOf(yield* next.result), new Refused({ step: "Payment" }))
      assert.deepStrictEqual(next.parts.log, ["undo Hotel"])
      const recorded = (yield* next.entries).flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name] : [])
      assert.deepStrictEqual(recorded, ["Flight", "Hotel"])
      yield* world.parts.gate("undo Hotel").open
    }).pipe(Effect.scoped))
})
