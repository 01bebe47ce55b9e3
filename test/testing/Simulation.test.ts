/**
 * What a simulation does to its workers, what it finds, and what it says then. Ten thousand sagas of every shape are in
 * `test/simulation`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schedule, Schema } from "effect"
import { Saga, Step } from "effect-saga"
import { Simulation } from "effect-saga/testing"

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

/** A bank that books each request, or each request once for its key. */
class Bank extends Context.Service<Bank, {
  readonly book: (amount: number) => Effect.Effect<void, never, Step.StepContext>
  readonly balance: () => number
}>()("test/Bank") {}

const bank = (once: boolean) =>
  Layer.sync(Bank, () => {
    const keys = new Set<string>()
    let balance = 0
    return {
      balance: () => balance,
      book: (amount) =>
        Effect.map(Step.idempotencyKey, (key) => {
          if (once && keys.has(key)) return
          keys.add(key)
          balance += amount
        })
    }
  })

const Order = Saga.make("Order", {
  payload: Schema.Struct({ number: Schema.Int, amount: Schema.Int }),
  error: Declined,
  idempotencyKey: ({ number }) => String(number)
})

const OrderLive = Order.toLayer(Effect.fn(function*({ amount }) {
  yield* Step.make("Charge", {
    execute: Bank.use((_) => _.book(amount)),
    compensate: () => Bank.use((_) => _.book(-amount))
  })
  yield* Step.make("Ship", {
    error: Declined,
    execute: amount % 5 === 0 ? Effect.fail(new Declined()) : Effect.void,
    compensate: () => Effect.void
  })
}))

/** What is charged is what completed orders cost. */
const orders = (once: boolean) => {
  const amounts = new Map<string, number>()
  return {
    handlers: OrderLive,
    participants: bank(once),
    start: (number: number, draw: Simulation.Draw) => {
      const amount = draw.int(1, 20)
      amounts.set(`Order/${number}`, amount)
      return Order.start({ number, amount })
    },
    check: (ended: ReadonlyArray<Simulation.Ended>) =>
      Effect.map(Bank, (bank) => {
        const due = ended.reduce(
          (sum, { execution, status }) => sum + (status === "completed" ? amounts.get(execution)! : 0),
          0
        )
        assert.strictEqual(bank.balance(), due, "the balance")
      })
  }
}

const several = Array.from({ length: 20 }, (_, saga) => saga)

describe("Simulation", () => {
  it.live("runs sagas on several workers, to which things happen", () =>
    Effect.gen(function*() {
      const report = yield* Simulation.run({ seed: "orders", sagas: 200, workers: 3, ...orders(true) })
      assert.strictEqual([...report.statuses.values()].reduce((a, b) => a + b), 200)
      assert.isAbove(report.statuses.get("completed")!, 100)
      assert.isAbove(report.statuses.get("rolledback")!, 20)
      assert.isAbove(report.troubles, 50)
      assert.isAbove(report.appends, 400)
    }))

  it.live("finds what it is looking for, makes it small, and prints a call that shows it again", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Simulation.run({ seed: 7, sagas: 200, ...orders(false) }))
      assert.include(error.broken[0]!.sentences[0], "the balance")
      assert.isAtMost(error.scenario.sagas.length, 3)
      assert.isAtMost(error.scenario.troubles.length, 5)
      assert.include(error.message, error.code)
      const again = yield* Effect.flip(Simulation.replay(error.scenario, orders(false)))
      assert.deepStrictEqual(again.broken, error.broken)
      yield* Simulation.replay(error.scenario, orders(true))
    }))

  it.live("finds what never ends", () =>
    Effect.gen(function*() {
      const wait = Step.make("Wait", { execute: Effect.never, compensate: () => Effect.void })
      const error = yield* Effect.flip(Simulation.run({
        seed: 1,
        sagas: 3,
        troubles: 0,
        handlers: Order.toLayer(() => wait),
        start: (number) => Order.start({ number, amount: 1 })
      }))
      assert.deepStrictEqual(error.broken.map((_) => _.sentences), [["it stays running for ever"]])
      assert.deepStrictEqual(error.scenario.troubles, [])
      assert.strictEqual(error.scenario.workers, 1)
    }))

  it.live("finds what goes on without end", () =>
    Effect.gen(function*() {
      const again = Step.retryable("Again", {
        error: Declined,
        execute: Effect.fail(new Declined()),
        retry: Schedule.spaced("10 millis")
      })
      const error = yield* Effect.flip(Simulation.run({
        seed: 1,
        sagas: 1,
        troubles: 0,
        cancels: 0,
        handlers: Order.attempt(() => Effect.void).settle(() => again),
        start: (number) => Order.start({ number, amount: 1 })
      }))
      assert.include(error.broken[0]!.sentences[0], "for ever")
    }))

  it.live("dies of a bug in what it is told to start", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Simulation.run({
        sagas: 1,
        handlers: OrderLive,
        participants: bank(true),
        start: () => Effect.die(new Error("no such order"))
      }))
      assert.include(String(exit), "no such order")
    }))

  const troubles: ReadonlyArray<Simulation.Trouble> = [
    { _tag: "Crash", at: 600, worker: 0, down: 100 },
    { _tag: "Stop", at: 600, worker: 0, down: 100 },
    { _tag: "Pause", at: 600, worker: 0, lasts: 60_000 }
  ]
  for (const trouble of troubles) {
    it.live(`lets another worker take over: ${trouble._tag}`, () =>
      Effect.gen(function*() {
        const claimed = (troubles: ReadonlyArray<Simulation.Trouble>) => {
          let claims = 0
          return Effect.map(
            Simulation.replay({ seed: 2, sagas: several, workers: 1, spread: 1_000, troubles }, {
              ...orders(true),
              check: (ended) =>
                Effect.sync(() => {
                  claims = ended.flatMap((_) => _.journal).filter((_) => _._tag === "Claimed").length
                })
            }),
            () => claims
          )
        }
        const calm = yield* claimed([])
        const disturbed = yield* claimed([trouble])
        assert.isAbove(disturbed, calm)
      }))
  }

  it.live("slows calls down, loses them and their answers, and cancels", () =>
    Effect.gen(function*() {
      const run = (troubles: ReadonlyArray<Simulation.Trouble>) =>
        Simulation.replay({ seed: 2, sagas: several, workers: 1, spread: 1_000, troubles }, orders(true))
      const calm = yield* run([])
      const at = { at: 0, worker: 0, lasts: 20_000 }
      for (
        const trouble of [
          { _tag: "Unavailable", ...at },
          { _tag: "LostAnswers", ...at },
          { _tag: "Slow", ...at, by: 3_000 }
        ] as const
      ) {
        assert.isAbove((yield* run([trouble])).took, calm.took, trouble._tag)
      }
      const cancels = several.map((saga): Simulation.Trouble => ({ _tag: "Cancel", at: 900, saga }))
      const cancelled = yield* run(cancels)
      assert.isAbove(cancelled.statuses.get("rolledback")!, calm.statuses.get("rolledback")!)
    }))
})
