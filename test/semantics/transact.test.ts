/**
 * Sagas without a journal: what a step sees of the run that it is in, and that nothing is left behind wherever the run
 * is interrupted.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Option, Schedule, Scheduler, Schema } from "effect"
import { Saga, Step, Timer } from "effect-saga"
import { TestClock } from "effect/testing"
import { Refused } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

type Loose = Effect.Effect<any, any>

/** Runs a body whose types the test leaves out. */
const transact = (body: Effect.Effect<any, any, any>): Loose => Saga.transact(body as Loose) as Loose

const world = (faults: Readonly<Record<string, ReadonlyArray<World.Fault>>> = {}) => {
  const parts = World.makeParts()
  for (const [act, those] of Object.entries(faults)) parts.faults.set(act, [...those])
  return { parts, ...World.steps(parts) }
}

class Region extends Context.Service<Region, string>()("test/Region") {}

describe("what a step knows", () => {
  it.effect("its key stays while nobody knows, is another one after a refusal, and never that of another run", () =>
    Effect.gen(function*() {
      const { parts, step } = world({ A: ["hang", "refuse"], B: ["refuse"] })
      const body = Effect.andThen(
        step("A", {
          retry: Schedule.recurs(2),
          timeout: "1 second",
          unknown: "refused",
          compensate: () =>
            Effect.andThen(
              parts.act("undo A", undefined),
              Effect.map(Step.stepKey, (key) => void parts.keys.push(`what A did ${key}`))
            )
        }),
        Effect.andThen(step("C"), step("B"))
      )
      yield* World.ended(transact(body))
      const ids = parts.keys.map((_) => _.split(" ").at(-1)!.split("/")[1])
      assert.strictEqual(new Set(ids).size, 1)
      assert.deepStrictEqual(parts.keys.map((_) => _.replaceAll(ids[0]!, "id")), [
        "A transact/id/0/A/0/0",
        "A transact/id/0/A/0/0",
        "A transact/id/0/A/0/1",
        "C transact/id/0/C/0/0",
        "B transact/id/0/B/0/0",
        "undo C transact/id/0/C/0/compensation",
        "undo A transact/id/0/A/0/compensation",
        "what A did transact/id/0/A/0/1"
      ])
      parts.keys.length = 0
      yield* World.ended(transact(step("A")))
      assert.notInclude(parts.keys[0], ids[0])
    }))

  it.effect("which attempt it is, and the same id as every other", () =>
    Effect.gen(function*() {
      const { parts, step } = world({ A: ["refuse"] })
      const look = (act: string) =>
        Effect.andThen(
          Effect.flatMap(Step.StepContext, (_) => parts.seen(act, `${_.step} ${_.attempt} ${_.epoch}`)),
          parts.act(act, undefined)
        )
      const ids: Array<string> = []
      const note = Effect.map(Step.StepContext, ({ execution }) => void ids.push(execution))
      yield* World.ended(transact(Effect.gen(function*() {
        yield* step("A", { execute: look("A"), success: Schema.Void, retry: Schedule.recurs(1) })
        yield* step("B", { execute: note, success: Schema.Void })
        yield* step("B", { execute: note, success: Schema.Void, compensate: () => note })
        return yield* Effect.fail("no")
      })))
      assert.deepStrictEqual(parts.log, ["A=A 1 0", "A", "A=A 2 0", "A", "undo B", "undo A"])
      assert.strictEqual(ids.length, 3)
      assert.strictEqual(new Set(ids).size, 1)
    }))

  it.effect("nothing of the body's seam: a step in it is refused as in a saga with a journal", () =>
    Effect.gen(function*() {
      const { parts, step } = world()
      for (const part of [{ execute: step("B") }, { execute: Timer.sleep("long", 1_000) }]) {
        for (const body of [step("A", part), Effect.provideService(step("A", part), Region, "north")]) {
          const exit = yield* World.ended(transact(body))
          assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        }
      }
      assert.deepStrictEqual(parts.log, [])
    }))

  it.effect("what the body provides around it, also when it is undone", () =>
    Effect.gen(function*() {
      const { parts, step } = world()
      const local = (name: string) =>
        step(name, {
          execute: Effect.flatMap(Region, (region) => parts.seen(name, region)),
          success: Schema.Void,
          compensate: () => Effect.flatMap(Region, (region) => parts.seen(`undo ${name}`, region))
        })
      const there = (region: string) =>
        Effect.provideService(
          Effect.andThen(local(`A of ${region}`), Effect.andThen(Effect.yieldNow, local(`B of ${region}`))),
          Region,
          region
        )
      yield* World.ended(transact(
        Effect.andThen(Effect.all([there("north"), there("south")], { concurrency: 2 }), Effect.fail("no"))
      ))
      const done = ["A of north=north", "A of south=south", "B of north=north", "B of south=south"]
      assert.deepStrictEqual(parts.log, [...done, ...done.toReversed().map((_) => `undo ${_}`)])
    }))

  it.effect("a scope of its own, closed when the attempt has ended", () =>
    Effect.gen(function*() {
      const { parts, step } = world({ A: ["refuse"] })
      const held = (act: string) =>
        Effect.andThen(Effect.acquireRelease(Effect.void, () => parts.seen("closed", act)), parts.act(act, act))
      yield* World.ended(transact(Effect.gen(function*() {
        yield* step("A", { execute: held("A"), retry: Schedule.recurs(1), compensate: () => held("undo A") })
        yield* step("B")
        return yield* Effect.fail("no")
      })))
      assert.deepStrictEqual(parts.log, [
        "A",
        "closed=A",
        "A",
        "closed=A",
        "B",
        "undo B",
        "undo A",
        "closed=undo A"
      ])
    }))

  it.effect("a bug in a finalizer is a bug of the step", () =>
    Effect.gen(function*() {
      const { parts, step } = world()
      const broken = Effect.andThen(Effect.addFinalizer(() => Effect.die("broken")), parts.act("B", "B done"))
      const exit = yield* World.ended(transact(Effect.andThen(step("A"), step("B", { execute: broken }))))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.deepStrictEqual(parts.log, ["A", "B", "undo A"])
    }))

  it.effect("in a check: the attempt that it asks about, and what that one said last", () =>
    Effect.gen(function*() {
      const { parts, step } = world()
      const last = Step.lastHeartbeat(Schema.Int)
      const checked = step("A", {
        execute: Effect.andThen(
          Effect.flatMap(last, (_) => parts.seen("A", Option.getOrNull(_))),
          Effect.andThen(Step.heartbeat(7), Effect.never)
        ),
        timeout: "1 second",
        retry: Schedule.recurs(1),
        check: () =>
          Effect.gen(function*() {
            yield* parts.seen("check", `${Option.getOrNull(yield* last)} of ${yield* Step.attempt}`)
            yield* Step.heartbeat(8)
            return Option.none()
          })
      })
      yield* World.ended(transact(checked))
      assert.deepStrictEqual(parts.log, ["A=null", "check=7 of 1", "A=7", "check=7 of 2"])
    }))

  it.effect("in a compensation that is tried again: what the last attempt said", () =>
    Effect.gen(function*() {
      const { parts, step } = world({ "undo A": ["refuse"] })
      const compensate = () =>
        Effect.gen(function*() {
          yield* parts.seen("from", Option.getOrNull(yield* Step.lastHeartbeat(Schema.Int)))
          yield* Step.heartbeat(5)
          return yield* parts.act("undo A", undefined)
        })
      const held = step("A", { compensate, compensation: { retry: Schedule.recurs(1) } })
      yield* World.ended(transact(Effect.andThen(held, Effect.fail("no"))))
      assert.deepStrictEqual(parts.log, ["A", "from=null", "undo A", "from=5", "undo A"])
    }))
})

describe("a run inside another", () => {
  it.effect("undoes its own steps and no others, in a body, in a step and in a compensation", () =>
    Effect.gen(function*() {
      const { parts, step } = world()
      const inner = (name: string) =>
        Effect.ignore(transact(Effect.andThen(step(name), Effect.andThen(Timer.sleep("t", 10), Effect.fail("no")))))
      yield* World.ended(transact(Effect.gen(function*() {
        yield* step("A", {
          execute: Effect.as(inner("in A"), "A done"),
          compensate: () => inner("in undo A")
        })
        yield* inner("beside")
        yield* step("B")
        return yield* Effect.fail("no")
      })))
      assert.deepStrictEqual(parts.log, [
        "in A",
        "undo in A",
        "beside",
        "undo beside",
        "B",
        "undo B",
        "in undo A",
        "undo in undo A"
      ])
    }))
})

describe("a fiber that outlives the body", () => {
  it.effect("is waited for while a step of it is in flight, which is undone, and begins no other", () =>
    Effect.gen(function*() {
      const { parts, step } = world({ A: [1_000] })
      const exits: Array<Exit.Exit<unknown, unknown>> = []
      const detached = Effect.andThen(
        step("A"),
        Effect.onExit(step("B"), (exit) => Effect.sync(() => exits.push(exit)))
      )
      yield* World.ended(transact(
        Effect.andThen(Effect.forkDetach(detached, { startImmediately: true }), Effect.fail("no"))
      ))
      assert.deepStrictEqual(parts.log, ["A", "undo A"])
      assert.isTrue(exits.length === 1 && Exit.hasDies(exits[0]!))
    }))
})

describe("a race", () => {
  it.effect("undoes also the step of a loser that was in flight, before the body goes on", () =>
    Effect.gen(function*() {
      const { parts, step } = world({ A: [3_000] })
      yield* World.ended(transact(
        Effect.andThen(Saga.race([step("A"), Timer.sleep("t", 1_000)]), step("B"))
      ))
      assert.deepStrictEqual(parts.log, ["A", "undo A", "B"])
    }))

  it.effect("that is interrupted while it waits for a loser leaves nothing of it", () =>
    Effect.gen(function*() {
      const { parts, step } = world({ A: [3_000] })
      const fiber = yield* Effect.forkChild(transact(
        Effect.andThen(Saga.race([step("A"), Timer.sleep("t", 1_000)]), step("B"))
      ))
      yield* TestClock.adjust(2_000)
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust(2_000)
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual(parts.log, ["A", "undo A"])
    }))
})

describe("an interruption", () => {
  const waits = (name: string, wait: (world_: ReturnType<typeof world>) => Effect.Effect<unknown, unknown, any>) =>
    it.effect(`does not wait for ${name}`, () =>
      Effect.gen(function*() {
        const here = world({ B: ["refuse"] })
        const fiber = yield* Effect.forkChild(transact(Effect.andThen(here.step("A"), wait(here))))
        yield* World.quiet
        assert.isUndefined(fiber.pollUnsafe())
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(here.parts.log.at(-1), "undo A")
      }))
  waits("a timer", () => Timer.sleep("long", "1 hour"))
  waits("the next attempt", ({ step }) => step("B", { retry: Schedule.spaced("1 hour") }))
})

describe("interrupted anywhere", () => {
  const bodies: Readonly<Record<string, (world_: ReturnType<typeof world>) => Effect.Effect<unknown, unknown, any>>> = {
    "step after step": ({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))),
    "steps at once": ({ step }) => Effect.all([step("A"), step("B"), step("C")], { concurrency: "unbounded" }),
    "a step that is tried again": ({ parts, step }) => {
      const refusals = [new Refused({ step: "B" })]
      const execute = Effect.suspend((): Loose => refusals.pop() ?? parts.act("B", "B done"))
      return Effect.andThen(step("A"), step("B", { execute, retry: Schedule.recurs(1), timeout: "1 second" }))
    },
    "a scope that fails": ({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* Effect.ignore(Saga.scoped(Effect.andThen(step("B"), Effect.fail("no"))))
        yield* step("C")
      }),
    "steps undone by name": ({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* step("B")
        yield* Effect.all([Saga.rollback("A", "B"), Saga.rollback("B")], { concurrency: 2 })
        yield* step("C")
      }),
    "a race": ({ parts, step }) => {
      const execute = Effect.andThen(parts.act("C", "C done"), turns(30))
      return Effect.andThen(step("A"), Effect.andThen(Saga.race([step("B"), step("C", { execute })]), step("D")))
    }
  }

  const turns = (count: number) => Effect.repeat(Effect.yieldNow, { times: count - 1 })

  /** What has happened and was not undone, oldest first; undoing anything but the last of them is a mistake. */
  const left = (log: ReadonlyArray<string>): ReadonlyArray<string> => {
    const standing: Array<string> = []
    for (const act of log) {
      if (!act.startsWith("undo ")) standing.push(act)
      else {
        const index = standing.lastIndexOf(act.slice("undo ".length))
        assert.isAtLeast(index, 0, `${act} came twice, or too early: ${log.join()}`)
        standing.splice(index, 1)
      }
    }
    return standing
  }

  for (const [name, make] of Object.entries(bodies)) {
    it.effect(`${name}: all of it stays, or nothing`, () =>
      Effect.gen(function*() {
        const ends = { undone: 0, committed: 0 }
        for (let turn = 0;; turn++) {
          const here = world()
          const { log } = here.parts
          const started = yield* Deferred.make<void>()
          const body = Effect.andThen(Saga.onCommit("End", here.parts.seen("end", turn)), make(here))
          const run = Effect.andThen(Deferred.succeed(started, undefined), transact(body))
          // Nearly every operation is a turn of the scheduler, and so a place where an interruption can come.
          const fiber = yield* Effect.forkChild(Effect.provideService(run, Scheduler.MaxOpsBeforeYield, 3))
          yield* Deferred.await(started)
          if (turn > 0) yield* turns(turn)
          yield* Fiber.interrupt(fiber)
          if (Exit.isSuccess(yield* Fiber.await(fiber))) break
          yield* turns(200)
          if (log.at(-1) === `end=${turn}`) ends.committed++
          else {
            ends.undone++
            assert.deepStrictEqual(left(log), [], `interrupted in turn ${turn}: ${log.join()}`)
          }
        }
        assert.isAtLeast(ends.undone, 20)
        assert.isAtLeast(ends.committed, 1)
      }))
  }
})
