/**
 * The laws of undoing: a participant that keeps them, and one for each that breaks it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Context, Effect, Layer, Schema } from "effect"
import { Step } from "effect-saga"
import { SagaTest } from "effect-saga/testing"

class Declined extends Schema.TaggedError<Declined>()("Declined", { amount: Schema.Int }) {}

/** What a careless bank does wrong. */
type Fault = "refunds less" | "refunds again" | "takes what comes late" | "refunds anything" | "takes and declines"

interface Charge {
  readonly account: string
  readonly amount: number
  refunded: boolean
}

/** A bank that knows charges by the keys under which they were asked for, and those that it must never take. */
class Bank extends Context.Service<Bank, {
  readonly charge: (account: string, amount: number) => Effect.Effect<string, Declined, Step.StepContext>
  readonly refund: (id: string, amount: number) => Effect.Effect<void, never, Step.StepContext>
  readonly balance: (account: string) => Effect.Effect<number>
}>()("Bank") {}

const bank = (fault?: Fault) =>
  Layer.sync(Bank, () => {
    const charges = new Map<string, Charge>()
    const closed = new Set<string>()
    const lost = new Map<string, number>()
    const lose = (account: string, amount: number) => lost.set(account, (lost.get(account) ?? 0) + amount)
    return {
      charge: (account, amount) =>
        Effect.flatMap(Step.idempotencyKey, (key) => {
          if (closed.has(key) && fault !== "takes what comes late") return Effect.fail(new Declined({ amount }))
          if (amount > 900) {
            if (fault === "takes and declines") lose(account, amount)
            return Effect.fail(new Declined({ amount }))
          }
          const known = charges.get(key)
          if (known === undefined || known.refunded) charges.set(key, { account, amount, refunded: false })
          return Effect.succeed(`${account}|${key}`)
        }),
      refund: (id, amount) =>
        Effect.map(Step.stepKey, (key) => {
          const charge = charges.get(id.slice(id.indexOf("|") + 1))
          if (charge === undefined) {
            if (fault === "refunds anything") lose("a", -amount)
            return
          }
          closed.add(key)
          if (charge.refunded) {
            if (fault === "refunds again") lose(charge.account, -amount)
            return
          }
          charge.refunded = true
          if (fault === "refunds less" && amount > 100) lose(charge.account, 1)
        }),
      balance: (account) =>
        Effect.sync(() => {
          const taken = [...charges.values()].filter((_) => _.account === account && !_.refunded)
          return -taken.reduce((sum, _) => sum + _.amount, 0) - (lost.get(account) ?? 0)
        })
    }
  })

const Order = Schema.Struct({
  account: Schema.Literals(["a", "b"]),
  amount: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))
})

const charge = (order: typeof Order.Type) =>
  Step.make("Charge", {
    success: Schema.Struct({ id: Schema.String, amount: Schema.Int }),
    error: Declined,
    execute: Bank.use((_) => Effect.map(_.charge(order.account, order.amount), (id) => ({ id, amount: order.amount }))),
    compensate: ({ amount, id }) => Bank.use((_) => _.refund(id, amount))
  })

const laws = SagaTest.undoLaws(charge, {
  arbitrary: Order,
  observe: () => Bank.use((_) => Effect.all([_.balance("a"), _.balance("b")])),
  seed: 1
})

const broken = (fault: Fault) => Effect.flip(Effect.provide(laws, bank(fault)))

describe("the laws of undoing", () => {
  it.effect("are kept by a step whose participant is careful", () => Effect.provide(laws, bank()))

  it.effect("undone: everything that the step did; the smallest input is shown, and how to see it again", () =>
    Effect.gen(function*() {
      const error = yield* broken("refunds less")
      assert.deepStrictEqual([error.law, error.step], ["undone", "Charge"])
      assert.match(error.input, /"amount": ?101\b/)
      assert.include(error.message, "Charge breaks a law of undoing, \"undone\": after the step and its compensation")
      assert.match(error.message, /before: \[\S+\]\n {2}after: {2}\[\S+\]\n/)
      assert.include(error.message, `\`replay: ${JSON.stringify(error.replay)}\``)
      const again = yield* Effect.flip(Effect.provide(
        SagaTest.undoLaws(charge, {
          arbitrary: Order,
          observe: () => Bank.use((_) => Effect.all([_.balance("a"), _.balance("b")])),
          replay: error.replay
        }),
        bank("refunds less")
      ))
      assert.strictEqual(again.input, error.input)
    }))

  it.effect("undone twice: a compensation that runs again under its key changes nothing", () =>
    Effect.gen(function*() {
      const error = yield* broken("refunds again")
      assert.strictEqual(error.law, "undone twice")
      assert.include(error.message, "let the participant do it once for its idempotency key")
    }))

  it.effect("late: an attempt that arrives after its compensation is not taken", () =>
    Effect.gen(function*() {
      const error = yield* broken("takes what comes late")
      assert.strictEqual(error.law, "late")
      assert.include(error.message, "let the participant refuse a key that was undone")
    }))

  it.effect("never happened: undoing what nobody knows changes nothing", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* broken("refunds anything")).law, "never happened")
    }))

  it.effect("a step that is refused has changed nothing", () =>
    Effect.gen(function*() {
      const error = yield* broken("takes and declines")
      assert.strictEqual(error.law, "undone")
      assert.match(error.input, /"amount": ?901\b/)
    }))

  it.effect("a compensation that fails has not undone, and its error is shown", () =>
    Effect.gen(function*() {
      const failing = (n: number) =>
        Step.make("Print", {
          success: Schema.Int,
          execute: Effect.succeed(n),
          compensate: () => n > 10 ? Effect.fail(new Declined({ amount: n })) : Effect.void
        })
      const error = yield* Effect.flip(SagaTest.undoLaws(failing, {
        arbitrary: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 }))),
        observe: () => Effect.void,
        seed: 2
      }))
      assert.deepStrictEqual([error.law, error.input], ["undone", "11"])
      assert.include(error.message, "Its compensation failed: ")
      assert.include(error.message, "Declined")
    }))

  it.effect("do not take a step that dies for one that refuses", () =>
    Effect.gen(function*() {
      const broken = () => Step.make("Broken", { execute: Effect.die("a bug"), compensate: () => Effect.void })
      const exit = yield* Effect.exit(
        SagaTest.undoLaws(broken, { arbitrary: Schema.Int, observe: () => Effect.succeed(0) })
      )
      assert.include(String(exit), "a bug")
    }))
})
