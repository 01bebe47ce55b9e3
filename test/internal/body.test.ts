import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Option, Random } from "effect"
import { Saga, Step } from "effect-saga"
import * as Execution from "../../src/Execution.ts"
import * as Body from "../../src/internal/body.ts"

const step = (name: string) =>
  Step.readonly(name as "step", { execute: Effect.void }) as Effect.Effect<void, never, any>
const all = { concurrency: "unbounded" } as const

interface Run {
  readonly body: Body.Body
  /** Everything that was asked and not answered. */
  readonly open: Array<Body.Asked>
  readonly settle: () => ReadonlyArray<string>
  readonly answer: (name: string, exit?: Exit.Exit<unknown, unknown>) => ReadonlyArray<string>
  readonly activity: () => number
}

const label = (asked: Body.Asked) => `${asked.name}@${asked.path}#${asked.occurrence}`

const start = (effect: Effect.Effect<unknown, unknown, any>): Run => {
  let activity = 0
  const body = Body.make({ id: "S/1", onActivity: () => activity++, executed: () => [] })
  const open: Array<Body.Asked> = []
  const settle = () => {
    while (!body.drive()) { /* to quiescence */ }
    const asked = body.takeAsked()
    open.push(...asked)
    return asked.map(label)
  }
  body.start(effect, Context.empty())
  return {
    body,
    open,
    settle,
    activity: () => activity,
    answer: (name, exit = Exit.void) => {
      const index = open.findIndex((_) => _.name === name)
      const [asked] = open.splice(index, 1)
      body.deliver(asked!, exit)
      return settle()
    }
  }
}

describe("a body", () => {
  it("asks nothing before it is driven to quiescence, and everything by then", () => {
    const run = start(Effect.all([step("A"), Effect.andThen(Effect.yieldNow, step("B")), step("C")], all))
    assert.deepStrictEqual(run.settle(), ["A@0#0", "C@2#0", "B@1#0"])
  })

  it("goes on only when it is driven, and ends with its exit", () => {
    const run = start(Effect.as(Effect.andThen(step("A"), step("B")), 7))
    assert.deepStrictEqual(run.settle(), ["A@#0"])
    assert.deepStrictEqual(run.answer("A"), ["B@#0"])
    assert.isUndefined(run.body.exit())
    assert.deepStrictEqual(run.answer("B"), [])
    assert.deepStrictEqual(run.body.exit(), Exit.succeed(7))
  })

  it("says that there is more to do instead of holding the process", () => {
    const run = start(Effect.forever(Effect.yieldNow))
    assert.isFalse(run.body.drive())
    assert.isFalse(run.body.drive())
  })

  it("reads the time that it is told", () => {
    const times: Array<number> = []
    const read = Effect.map(Clock.currentTimeMillis, (now) => void times.push(now))
    const run = start(Effect.andThen(Effect.andThen(read, step("A")), read))
    run.body.setTime(5)
    run.settle()
    run.body.setTime(9)
    run.answer("A")
    assert.deepStrictEqual(times, [0, 9])
  })

  it("draws the same numbers for one id", () => {
    const draws = () => {
      const drawn: Array<number> = []
      start(Effect.map(Effect.all([Random.next, Random.nextInt]), (all) => drawn.push(...all)) as never).settle()
      return drawn
    }
    assert.deepStrictEqual(draws(), draws())
    assert.strictEqual(draws().length, 2)
  })

  it("sleeps by asking; nothing and for ever need no timer", () => {
    const run = start(Effect.andThen(Effect.sleep(0), Effect.raceFirst(Effect.sleep("10 seconds"), Effect.never)))
    assert.deepStrictEqual(run.settle(), ["sleep@0#0"])
    const { request } = run.open[0]!
    assert.deepStrictEqual(request, { _tag: "Timer", name: "sleep", until: { millis: 10_000 } })
  })

  it("counts occurrences by path, kind and name", () => {
    const run = start(Effect.gen(function*() {
      yield* Effect.all([Effect.andThen(step("A"), step("A")), Effect.sleep(1), Effect.sleep(2)], all)
      yield* step("A")
      yield* Effect.sleep(1)
    }))
    assert.deepStrictEqual(run.settle(), ["A@0#0", "sleep@1#0", "sleep@2#0"])
    assert.deepStrictEqual(run.answer("A"), ["A@0#1"])
    run.answer("A")
    run.answer("sleep")
    assert.deepStrictEqual(run.answer("sleep"), ["A@#0"])
    assert.deepStrictEqual(run.answer("A"), ["sleep@#0"])
  })

  it("gives a fork the next path of its parent, however it was forked", () => {
    const run = start(Effect.gen(function*() {
      const one = yield* Effect.forkChild(step("A"))
      const two = yield* Effect.forkChild(step("B"), { startImmediately: true })
      const three = yield* Effect.forkDetach(Effect.andThen(Effect.yieldNow, step("C")))
      yield* Effect.scoped(Effect.andThen(Effect.forkScoped(step("D")), step("E")))
      yield* Fiber.joinAll([one, two, three])
    }))
    // In the order in which they first run.
    assert.sameMembers([...run.settle()], ["B@0#0", "A@1#0", "C@2#0", "D@3#0", "E@#0"])
  })

  it("nests paths", () => {
    const inner = (name: string) => Effect.all([step(`${name}1`), step(`${name}2`)], all)
    const run = start(Effect.all([inner("A"), inner("B")], all))
    assert.deepStrictEqual(run.settle(), ["A1@0.0#0", "A2@0.1#0", "B1@1.0#0", "B2@1.1#0"])
  })

  it("gives the next of a bounded region its place when one of it ends", () => {
    const run = start(
      Effect.forEach([1, 2, 3, 4], (n) => Effect.andThen(step(`A${n}`), Effect.yieldNow), { concurrency: 2 })
    )
    assert.deepStrictEqual(run.settle(), ["A1@0#0", "A2@1#0"])
    assert.deepStrictEqual(run.answer("A2"), ["A3@2#0"])
    assert.deepStrictEqual(run.answer("A1"), ["A4@3#0"])
    run.answer("A3")
    run.answer("A4")
    assert.isTrue(Exit.isSuccess(run.body.exit()!))
  })

  it("names scopes by the path and occurrence of Saga.scoped", () => {
    const run = start(
      Effect.andThen(
        Saga.scoped(Effect.andThen(step("A"), Saga.scoped(step("B")))),
        Effect.all([Saga.scoped(step("C")), Saga.scoped(step("D"))], all)
      )
    )
    run.settle()
    const scopes: Array<readonly [string, string]> = []
    for (const name of ["A", "B", "C", "D"]) {
      const asked = run.open.find((_) => _.name === name)!
      scopes.push([name, asked.scope])
      run.answer(name)
    }
    assert.deepStrictEqual(scopes, [["A", ":0"], ["B", ":0/:1"], ["C", "0:0"], ["D", "1:0"]])
  })

  it("forgets what was asked and withdrawn before anybody looked", () => {
    const run = start(Effect.raceFirst(step("A"), Effect.void))
    assert.deepStrictEqual(run.settle(), [])
    assert.deepStrictEqual(run.body.takeWithdrawn(), [])
    assert.isTrue(Exit.isSuccess(run.body.exit()!))
  })

  it("waits for the answer to what it withdrew, and does not use it", () => {
    const run = start(Effect.raceFirst(step("A"), Effect.as(step("B"), "b")))
    run.settle()
    run.answer("B")
    assert.deepStrictEqual(run.body.takeWithdrawn().map(label), ["A@0#0"])
    assert.isUndefined(run.body.exit())
    run.answer("A", Exit.succeed("late"))
    assert.deepStrictEqual(run.body.exit(), Exit.succeed("b"))
  })

  it("closed, asks nothing more and answers nothing, whatever its finalizers want", () => {
    const run = start(
      step("A").pipe(
        Effect.ensuring(step("B")),
        Effect.onInterrupt(() => step("C")),
        Effect.ensuring(Effect.sleep("1 hour"))
      )
    )
    run.settle()
    run.body.close()
    assert.deepStrictEqual(run.body.takeAsked(), [])
    run.body.deliver(run.open[0]!, Exit.void)
    assert.isTrue(run.body.drive())
    assert.deepStrictEqual(run.body.takeAsked(), [])
    assert.deepStrictEqual(run.body.takeWithdrawn(), [])
  })

  it("reports what happens to it from outside", async () => {
    const run = start(Effect.andThen(Effect.promise(() => Promise.resolve()), step("A")))
    run.settle()
    assert.strictEqual(run.activity(), 0)
    await new Promise((resolve) => setImmediate(resolve))
    assert.isAbove(run.activity(), 0)
    assert.deepStrictEqual(run.settle(), ["A@#0"])
  })

  it("refuses a fiber that it did not start", () => {
    let execution: Execution.Execution["Service"] | undefined
    const run = start(Effect.andThen(Effect.map(Execution.Execution, (_) => void (execution = _)), step("A")))
    run.settle()
    Effect.runFork(Effect.provideService(step("X"), Execution.Execution, execution!) as Effect.Effect<void>)
    assert.match(run.body.violation()!, /^X was asked by a fiber that is not part of the saga's body/)
    assert.deepStrictEqual(run.settle(), [])
  })

  it("gives steps what the asking code provides", () => {
    class Region extends Context.Service<Region, string>()("test/internal/Region") {}
    const run = start(Effect.provideService(step("A"), Region, "north"))
    run.settle()
    assert.deepStrictEqual(Context.getOption(run.open[0]!.context, Region), Option.some("north"))
  })
})
