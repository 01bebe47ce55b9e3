/**
 * What `SagaTest.crashEverywhere` visits, what it finds, and what it says then.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Ref, Schedule, Schema } from "effect"
import { Saga, SagaStore, Signal, Step, Timer } from "effect-saga"
import { FaultInjection, SagaTest } from "effect-saga/testing"

class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}
class NoTruck extends Schema.TaggedError<NoTruck>()("NoTruck", {}) {}
class NoTrain extends Schema.TaggedError<NoTrain>()("NoTrain", {}) {}

/** An account and a stock, which do a thing once for its key. */
class Shop extends Context.Service<Shop, {
  readonly act: (what: "stock" | "account", change: number) => Effect.Effect<string, never, Step.StepContext>
  readonly undo: (what: "stock" | "account", change: number) => Effect.Effect<void, never, Step.StepContext>
  readonly state: Effect.Effect<{ readonly stock: number; readonly account: number }>
}>()("test/Shop") {}

const shop = (once: boolean) =>
  Layer.effect(
    Shop,
    Effect.gen(function*() {
      const seen = new Set<string>()
      const state = yield* Ref.make({ stock: 10, account: 100 })
      const change = (what: "stock" | "account", by: number) =>
        Effect.gen(function*() {
          const key = yield* Step.idempotencyKey
          if (once && seen.has(key)) return key
          seen.add(key)
          yield* Ref.update(state, (_) => ({ ..._, [what]: _[what] + by }))
          return key
        })
      return {
        act: change,
        undo: (what, by) => Effect.asVoid(change(what, -by)),
        state: Ref.get(state)
      }
    })
  )

const Order = Saga.make("Order", {
  payload: Schema.String,
  success: Schema.String,
  error: Schema.Union([Declined, NoTruck, NoTrain]),
  idempotencyKey: (id) => id
})

const reserve = Step.make("Reserve", {
  success: Schema.String,
  execute: Shop.use((_) => _.act("stock", -1)),
  compensate: () => Shop.use((_) => _.undo("stock", -1))
})
const charge = Step.make("Charge", {
  success: Schema.String,
  error: Declined,
  execute: Shop.use((_) => _.act("account", -30)),
  compensate: () => Shop.use((_) => _.undo("account", -30))
})
const truck = Step.make("Truck", { error: NoTruck, execute: Effect.void, compensate: () => Effect.void })
const train = Step.make("Train", { error: NoTrain, execute: Effect.void, compensate: () => Effect.void })

const OrderLive = Order.toLayer(Effect.fn(function*(id) {
  yield* reserve
  yield* charge
  yield* Effect.catchTag(truck, "NoTruck", () => train)
  return `sent ${id}`
}))

const allOrNothing = ({ outcome }: SagaTest.CrashRun<string, unknown, unknown>) =>
  Effect.gen(function*() {
    const expected = outcome._tag === "Completed" ? { stock: 9, account: 70 } : { stock: 10, account: 100 }
    assert.deepStrictEqual(yield* Effect.flatMap(Shop, (_) => _.state), expected)
  })

const failed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) => {
    assert.instanceOf(error, SagaTest.CrashFailed)
    return Effect.succeed(error)
  })

describe("SagaTest.crashEverywhere", () => {
  it.live(
    "visits each point of each course, and of the fallbacks that only a refusal shows",
    () =>
      Effect.gen(function*() {
        const report = yield* SagaTest.crashEverywhere(Order, "1", {
          handlers: OrderLive,
          participants: shop(true),
          check: allOrNothing
        })
        assert.deepStrictEqual(report.courses.map((_) => [_.name, _.status]), [
          ["no step refuses", "completed"],
          ["Charge refuses", "rolledback"],
          ["Truck refuses", "completed"],
          ["Truck and Train refuse", "rolledback"]
        ])
        assert.deepStrictEqual(report.courses[1]!.points, [
          "before the append of SagaStarted, StepStarted Reserve",
          "after the append of SagaStarted, StepStarted Reserve",
          "before Reserve",
          "after Reserve",
          "before the append of StepSucceeded Reserve, StepStarted Charge",
          "after the append of StepSucceeded Reserve, StepStarted Charge",
          "before Charge",
          "after Charge",
          "before the append of StepFailed Charge, RollbackStarted, CompensationStarted Reserve",
          "after the append of StepFailed Charge, RollbackStarted, CompensationStarted Reserve",
          "before undo Reserve",
          "after undo Reserve",
          "before the append of CompensationSucceeded Reserve, SagaRolledBack",
          "after the append of CompensationSucceeded Reserve, SagaRolledBack"
        ])
        assert.isAbove(report.runs, 300)
      }),
    30_000
  )

  it.live(
    "lets somebody do something from outside at each point, alone and before a death",
    () =>
      Effect.gen(function*() {
        const Paid = Signal.make("Paid", { payload: Schema.String })
        const paid: SagaTest.Mishap = {
          name: "is paid",
          run: (id) => Order.signal(id, Paid, "cash", { key: "paid" })
        }
        const seen = new Set<string>()
        const run = (mishaps: ReadonlyArray<ReadonlyArray<SagaTest.Mishap>>) =>
          SagaTest.crashEverywhere(Order, "1", {
            handlers: Order.toLayer(() =>
              Effect.andThen(reserve, Saga.race([Signal.receive(Paid), Effect.as(Timer.sleep("due", "1 day"), "late")]))
            ),
            participants: shop(true),
            mishaps,
            pairs: 1,
            check: ({ name, outcome }) =>
              Effect.sync(() => {
                assert.strictEqual(outcome._tag, "Completed")
                if (outcome._tag === "Completed") seen.add(`${name}: ${outcome.value}`)
              })
          })
        const undisturbed = yield* run([])
        assert.deepStrictEqual([...seen], ["no step refuses: late"])
        const report = yield* run([[paid], [paid, "dies"]])
        assert.isAbove(report.runs, undisturbed.courses[0]!.points.length)
        assert.include([...seen], "no step refuses, is paid before Reserve: cash")
        // Nobody can pay what is not there yet: that it fails is ignored.
        const [first] = undisturbed.courses[0]!.points
        assert.include([...seen], `no step refuses, is paid ${first}: late`)
        assert.isTrue([...seen].some((_) => _.startsWith("no step refuses, is paid before Reserve, dies")))
      }),
    30_000
  )

  it.live("finds a participant that does a thing twice, and says where", () =>
    Effect.gen(function*() {
      const error = yield* failed(SagaTest.crashEverywhere(Order, "1", {
        handlers: OrderLive,
        participants: shop(false),
        check: allOrNothing,
        refusing: []
      }))
      const [first] = error.failures
      assert.strictEqual(first!.name, "no step refuses, dies after Reserve")
      assert.match(first!.broken[0]!, /the check: .*stock: 8/s)
      assert.include(first!.timeline, "process 1  Reserve: succeeded (key Order/1/0/Reserve/0/0, attempt 1)")
      assert.strictEqual(error.failures.length, 3)
      assert.include(error.message, "Order does not survive everything")
    }))

  it.live("finds a body that does not do the same again", () =>
    Effect.gen(function*() {
      let times = 0
      const error = yield* failed(SagaTest.crashEverywhere(Order, "1", {
        handlers: Order.toLayer(() => {
          times++
          return Effect.as(times % 2 === 1 ? Effect.andThen(reserve, charge) : charge, "done")
        }),
        participants: shop(true),
        mishaps: [["dies"]],
        refusing: []
      }))
      assert.include(error.failures[0]!.broken, "it parks: Nondeterminism")
    }))

  it.live("finds a saga that takes another way, so that a point is not reached", () =>
    Effect.gen(function*() {
      let runs = 0
      const error = yield* failed(SagaTest.crashEverywhere(Order, "1", {
        handlers: Layer.unwrap(Effect.sync(() => {
          const long = runs++ === 0
          return Order.toLayer(() => Effect.as(long ? Effect.andThen(reserve, charge) : reserve, "done"))
        })),
        participants: shop(true),
        mishaps: [["is cancelled"]],
        refusing: []
      }))
      assert.isTrue(error.failures.some((_) => _.broken.some((one) => one.includes("was not reached"))))
    }))

  it.live("finds a saga that hangs", () =>
    Effect.gen(function*() {
      const error = yield* failed(SagaTest.crashEverywhere(Order, "1", {
        handlers: Order.toLayer(() =>
          Effect.as(Step.make("Wait", { execute: Effect.never, compensate: () => Effect.void }), "")
        ),
        within: "1 hour"
      }))
      assert.deepStrictEqual(error.failures.map((_) => [_.name, _.broken[0]]), [
        ["no step refuses", "it stays running for ever"]
      ])
    }))

  it.live("needs no time for a saga that takes weeks", () =>
    Effect.gen(function*() {
      const report = yield* SagaTest.crashEverywhere(Order, "1", {
        handlers: Order.toLayer(() =>
          Effect.gen(function*() {
            yield* reserve
            yield* Timer.sleep("until it is there", "30 days")
            yield* charge
            return "done"
          })
        ),
        participants: shop(true),
        check: ({ acts, outcome }) =>
          Effect.sync(() => {
            if (outcome._tag !== "Completed") return
            assert.isAtLeast(acts.at(-1)!.at, 30 * 86_400_000)
            assert.isBelow(acts.at(-1)!.at, 31 * 86_400_000)
          }),
        refusing: []
      })
      assert.isAbove(report.runs, 100)
    }), 60_000)

  it.live("fails its steps with what a test gives, and those after the point of no return for a while", () =>
    Effect.gen(function*() {
      const errors = new Set<unknown>()
      const Sent = Saga.make("Sent", {
        payload: Schema.String,
        error: Schema.Union([Declined, NoTruck]),
        idempotencyKey: (id) => id
      })
      const send = Step.retryable("Send", { error: NoTruck, execute: Effect.void, retry: Schedule.spaced("1 second") })
      const report = yield* SagaTest.crashEverywhere(Sent, "1", {
        handlers: Sent.attempt(() => charge).settle(() => send),
        participants: shop(true),
        errors: { Charge: new Declined({ reason: "no funds" }) },
        mishaps: [["dies"]],
        check: ({ acts, name, outcome }) =>
          Effect.sync(() => {
            if (outcome._tag === "RolledBack") errors.add(outcome.error)
            if (name === "Send refuses") assert.strictEqual(acts.filter((_) => _.name === "Send").length, 3)
          })
      })
      assert.deepStrictEqual(report.courses.map((_) => [_.name, _.status]), [
        ["no step refuses", "completed"],
        ["Charge refuses", "rolledback"],
        ["Send refuses", "completed"]
      ])
      assert.deepStrictEqual([...errors].map((_) => (_ as Declined).reason), Array(errors.size).fill("no funds"))
    }))

  it.live("answers what is parked as a person would", () =>
    Effect.gen(function*() {
      const Waiting = Saga.make("Waiting", { payload: Schema.String, error: Step.TimedOut, idempotencyKey: (id) => id })
      const wait = Step.make("Wait", {
        execute: Effect.never,
        timeout: "1 second",
        unknown: "park",
        compensate: () => Effect.void
      })
      const report = yield* SagaTest.crashEverywhere(Waiting, "1", {
        handlers: Waiting.toLayer(() => wait),
        answers: [(inspector, id) => inspector.abandon(id, "written off")],
        mishaps: [["dies"]],
        refusing: []
      })
      assert.strictEqual(report.courses[0]!.status, "abandoned")
    }))

  it.live("lets things happen at points within an act, too", () =>
    Effect.gen(function*() {
      const half = Step.make("Half", {
        execute: SagaTest.crashPoint("half way"),
        compensate: () => Effect.void
      })
      const report = yield* SagaTest.crashEverywhere(Order, "1", {
        handlers: Order.toLayer(() => Effect.as(half, "")),
        mishaps: [["dies"]],
        refusing: []
      })
      assert.include(report.courses[0]!.points, "half way")
    }))

  it.live("runs on any store", () =>
    Effect.gen(function*() {
      let stores = 0
      const store = Effect.map(SagaStore.makeMemory, (encoded) => {
        stores++
        return FaultInjection.make(encoded, FaultInjection.nth("renew", 1, FaultInjection.unavailable))
      })
      const report = yield* SagaTest.crashEverywhere(Order, "1", {
        handlers: OrderLive,
        participants: shop(true),
        check: allOrNothing,
        store,
        mishaps: [["dies"]]
      })
      assert.strictEqual(stores, report.runs)
    }))

  it.live("finds a saga that parks although nothing happens to it, unless a test says that it may", () =>
    Effect.gen(function*() {
      const broken = Step.make("Broken", { execute: Effect.die("a bug"), compensate: () => Effect.void })
      const handlers = Order.toLayer(() => Effect.as(broken, ""))
      const error = yield* failed(SagaTest.crashEverywhere(Order, "1", { handlers }))
      assert.include(error.failures[0]!.broken[0], "it parks although nothing has happened to it, for Defect")
      const report = yield* SagaTest.crashEverywhere(Order, "1", { handlers, ends: ["parked"], mishaps: [["dies"]] })
      assert.strictEqual(report.courses[0]!.status, "parked")
    }))

  it.live("finds a saga that has no handler", () =>
    Effect.gen(function*() {
      const error = yield* failed(SagaTest.crashEverywhere(Order, "1", { handlers: Layer.empty, within: "1 hour" }))
      assert.include(error.failures[0]!.broken, "nobody runs it: handlers has no layer of Order")
    }))

  it.live("refuses steps with what a journal can keep, and says where it knows nothing", () =>
    Effect.gen(function*() {
      class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { what: Schema.String }) {}
      class Never extends Schema.TaggedError<Never>()("Never", {
        what: Schema.String.check(Schema.makeFilter(() => false))
      }) {}
      const Stay = Saga.make("Stay", {
        payload: Schema.String,
        error: Schema.Union([SoldOut, Never]),
        idempotencyKey: (id) => id
      })
      const step = (name: string) =>
        Step.make(name as "Hotel", { error: SoldOut, execute: Effect.void, compensate: () => Effect.void })
      for (const name of ["Hotel", "Hostel", "Tent", "Cabin", "Inn", "Castle"]) {
        const report = yield* SagaTest.crashEverywhere(Stay, "1", {
          handlers: Stay.toLayer(() => step(name)),
          mishaps: [["dies"]]
        })
        assert.deepStrictEqual(report.courses.map((_) => _.status), ["completed", "rolledback"], name)
      }
      const never = Step.make("Palace", { error: Never, execute: Effect.void, compensate: () => Effect.void })
      const exit = yield* Effect.exit(SagaTest.crashEverywhere(Stay, "1", { handlers: Stay.toLayer(() => never) }))
      assert.include(String(exit), "give it in errors, as { Palace: ... }")
    }))

  it.live("lets promises settle that need no time, before virtual time goes on", () =>
    Effect.gen(function*() {
      const hops = Effect.promise(async () => {
        for (let hop = 0; hop < 50; hop++) await Promise.resolve()
      })
      const patient = Step.make("Patient", {
        execute: hops,
        timeout: "1 second",
        unknown: "park",
        compensate: () => hops
      })
      const Waiting = Saga.make("Waiting", { payload: Schema.String, error: Step.TimedOut, idempotencyKey: (id) => id })
      const report = yield* SagaTest.crashEverywhere(Waiting, "1", {
        handlers: Waiting.toLayer(() => patient),
        mishaps: [["dies"]],
        refusing: []
      })
      assert.strictEqual(report.courses[0]!.status, "completed")
    }))
})
