/**
 * The kinds of steps that are others in other words: resources, operations, snapshots, lists.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Schedule, Schema } from "effect"
import { Saga, SagaEngine, SagaError, Step } from "effect-saga"
import { Refused, Stuck } from "./utils/Shop.ts"
import * as World from "./utils/World.ts"

const refusing = (...acts: ReadonlyArray<string>) => {
  const parts = World.makeParts()
  for (const act of acts) parts.faults.set(act, ["refuse"])
  return parts
}

describe("a retry that says for which errors", () => {
  class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}
  class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}
  const retry = {
    schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 5 })),
    while: (error: Busy | Declined) => error._tag === "Busy"
  }
  const Pay = Saga.make("Pay", {
    payload: Schema.String,
    error: Schema.Union([Busy, Declined]),
    compensationError: Schema.Union([Busy, Declined]),
    idempotencyKey: (id) => id,
    compensation: { retry }
  })
  /** Answers with these errors, first to last, then succeeds. */
  const bank = (log: Array<string>, act: string, answers: Array<Busy | Declined>) =>
    Effect.suspend(() => {
      log.push(act)
      const answer = answers.shift()
      return answer === undefined ? Effect.void : Effect.fail(answer)
    })

  it.effect("ends at another one, in a step and in a compensation", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const refund = bank(log, "refund", [new Busy(), new Declined(), new Busy()])
      const live = Pay.toLayer(() =>
        Effect.andThen(
          Step.make("Charge", {
            error: Schema.Union([Busy, Declined]),
            execute: bank(log, "charge", [new Busy(), new Busy()]),
            retry,
            compensate: () => refund
          }),
          Step.make("Tip", {
            error: Schema.Union([Busy, Declined]),
            execute: bank(log, "tip", [new Busy(), new Declined(), new Busy()]),
            retry,
            compensate: () => Effect.void
          })
        )
      )
      const engine = yield* Layer.build(live.pipe(Layer.provideMerge(SagaEngine.layerMemory)))
      const exit = yield* World.ended(Effect.provideContext(Pay.execute("1"), engine))
      const parked = World.whyParked(exit)
      assert.deepStrictEqual(log, ["charge", "charge", "charge", "tip", "tip", "refund", "refund"])
      assert.deepStrictEqual(parked.unresolved, [{
        step: "Charge",
        attempts: 2,
        error: new Declined(),
        defect: undefined
      }])
      assert.deepStrictEqual(parked.original, { _tag: "Failed", error: new Declined() })
    }).pipe(Effect.scoped))
})

describe("Step.stepKey", () => {
  it.effect("tells a compensation the key of the attempt that happened, after a crash and in Saga.transact too", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(
          step("A", {
            retry: Schedule.recurs(2),
            compensate: () => Effect.flatMap(Step.stepKey, (key) => parts.seen("undo", key))
          }),
          step("B")
        )
      )
      const world = yield* World.make(live, refusing("A", "B"))
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["A", "A", "B", "undo=S/1/0/A/0/1"])
      const after = (yield* world.journal).findIndex((_) => _.includes("StepSucceeded A")) + 1
      const recovered = yield* world.crashed(after, live, refusing("B"))
      yield* recovered.result
      assert.deepStrictEqual(recovered.parts.log, ["B", "undo=S/1/0/A/0/1"])

      const log: Array<string> = []
      yield* Effect.exit(Saga.transact(Effect.andThen(
        Step.make("A", {
          execute: Effect.flatMap(Step.stepKey, (key) => Effect.sync(() => void log.push(key))),
          compensate: () => Effect.flatMap(Step.stepKey, (key) => Effect.sync(() => void log.push(key)))
        }),
        Effect.fail("no")
      )))
      assert.strictEqual(log.length, 2)
      assert.strictEqual(log[0], log[1])
    }).pipe(Effect.scoped))
})

describe("Step.resource", () => {
  it.effect("is deleted with what its creation gave, when the saga rolls back", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(
          Step.resource("Tenant", {
            success: Schema.String,
            error: Refused,
            create: parts.act("create", "tenant 7"),
            delete: (tenant) => Effect.orDie(parts.act(`delete ${tenant}`, undefined))
          }),
          step("B")
        )
      )
      const world = yield* World.make(live, refusing("B"))
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "B" }))
      assert.deepStrictEqual(world.parts.log, ["create", "B", "delete tenant 7"])
      const none = yield* World.make(live, refusing("create"))
      assert.deepStrictEqual(World.errorOf(yield* none.execute), new Refused({ step: "create" }))
      assert.deepStrictEqual(none.parts.log, ["create"])
    }).pipe(Effect.scoped))
})

describe("Step.operation", () => {
  it.effect("is called off with what its start gave; one of which nobody knows is looked for first", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts, step }) =>
        Effect.andThen(
          Step.operation("Print", {
            success: Schema.String,
            error: Refused,
            start: parts.act("start", "job 1"),
            timeout: "1 second",
            check: () => Effect.as(Effect.orDie(parts.act("look", undefined)), Step.happened("job 1")),
            cancel: (job) => Effect.orDie(parts.act(`cancel ${job}`, undefined))
          }),
          step("B")
        )
      )
      const parts = refusing("B")
      parts.faults.set("start", ["hang"])
      const world = yield* World.make(live, parts)
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "B" }))
      assert.deepStrictEqual(world.parts.log, ["start", "look", "B", "cancel job 1"])
    }).pipe(Effect.scoped))
})

describe("Step.snapshot", () => {
  /** A price that somebody keeps; what was written is kept, whatever becomes of the process. */
  const shop = () => ({ price: 10, seen: [] as Array<string> })
  const priced = (kept: ReturnType<typeof shop>, to: number) =>
    Step.snapshot("Price", {
      state: Schema.Number,
      error: Refused,
      read: Effect.sync(() => {
        kept.seen.push(`read ${kept.price}`)
        return kept.price
      }),
      write: (prior) =>
        Effect.sync(() => {
          kept.seen.push(`write ${prior} to ${to}`)
          kept.price = to
        }),
      restore: (prior) =>
        Effect.sync(() => {
          kept.seen.push(`restore ${prior}`)
          kept.price = prior
        })
    })

  it.effect("puts back what was there, the last one first", () =>
    Effect.gen(function*() {
      const kept = shop()
      const live = World.body(({ step }) =>
        Effect.andThen(priced(kept, 20), Effect.andThen(priced(kept, 30), step("B")))
      )
      const world = yield* World.make(live, refusing("B"))
      assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: "B" }))
      assert.strictEqual(kept.price, 10)
      assert.deepStrictEqual(kept.seen, [
        "read 10",
        "write 10 to 20",
        "read 20",
        "write 20 to 30",
        "restore 20",
        "restore 10"
      ])
      const steps = (yield* world.poll).steps as ReadonlyArray<{ readonly step: string; readonly kind: string }>
      assert.deepStrictEqual(steps.slice(0, 2).map((_) => [_.step, _.kind]), [
        ["Price.read", "readonly"],
        ["Price", "compensable"]
      ])
    }).pipe(Effect.scoped))

  it.effect("remembers the state before the write, wherever the process dies", () =>
    Effect.gen(function*() {
      const live = (kept: ReturnType<typeof shop>) =>
        World.body(({ step }) => Effect.andThen(priced(kept, 20), step("B")))
      const world = yield* World.make(live(shop()), refusing("B"))
      yield* world.execute
      const appends = (yield* world.journal).length
      for (let n = 1; n < appends; n++) {
        // The write may have happened just before the process died, whether or not that was recorded.
        const journal = (yield* world.journal).slice(0, n).join(", ")
        // Once it is intended, the write may have happened just before the process died.
        const kept = { ...shop(), price: journal.split(", ").includes("StepStarted Price") ? 20 : 10 }
        const recovered = yield* world.crashed(n, live(kept), refusing("B"))
        const exit = yield* recovered.result
        assert.deepStrictEqual(World.errorOf(exit), new Refused({ step: "B" }), `cut after ${n}`)
        if (!journal.includes("CompensationSucceeded")) {
          assert.strictEqual(kept.price, 10, `cut after ${n}: ${kept.seen.join()}`)
        }
      }
    }).pipe(Effect.scoped))
})

describe("Saga.fromSteps", () => {
  const all = (parts: World.Parts, names: ReadonlyArray<"A" | "B" | "C">) =>
    Saga.fromSteps(names.map((name) =>
      Step.make(name, {
        success: Schema.String,
        error: Refused,
        execute: parts.act(name, `${name} done`),
        compensate: () => Effect.mapError(parts.act(`undo ${name}`, undefined), () => new Stuck({ step: name }))
      })
    ))

  it.effect("runs them one after the other and says what each gave", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts }) => Effect.map(all(parts, ["A", "B"]), (_) => JSON.stringify(_)))
      const world = yield* World.make(live)
      const expected = [{ step: "A", value: "A done" }, { step: "B", value: "B done" }]
      assert.deepStrictEqual(yield* world.execute, Exit.succeed(JSON.stringify(expected)))
    }).pipe(Effect.scoped))

  it.effect("undoes what has happened when one of them fails, in Saga.transact too", () =>
    Effect.gen(function*() {
      const live = World.body(({ parts }) => all(parts, ["A", "B", "C"]))
      const world = yield* World.make(live, refusing("C"))
      yield* world.execute
      assert.deepStrictEqual(world.parts.log, ["A", "B", "C", "undo B", "undo A"])
      const parts = refusing("C", "undo A")
      const exit = yield* Effect.exit(Saga.transact(all(parts, ["A", "B", "C"])))
      assert.deepStrictEqual(parts.log, ["A", "B", "C", "undo B", "undo A"])
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, SagaError.SagaError)
      assert.deepStrictEqual((error.reason as SagaError.Parked).unresolved.map((_) => _.step), ["A"])
    }).pipe(Effect.scoped))
})
