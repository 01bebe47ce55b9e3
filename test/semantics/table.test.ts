/**
 * Rule 18 in full: every outcome of the deciding step, with everything that can happen to a compensation, one by one or
 * all at once, going on and halting, forward, under a cancel and under a deadline. What must come of each case is
 * computed by a model that knows nothing of the library (`utils/tableModel.ts`).
 */
import { afterAll, assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SagaStore } from "effect-saga"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import * as Postgres from "../utils/Postgres.ts"
import * as Table from "../utils/tableModel.ts"
import * as TableWorld from "../utils/TableWorld.ts"

const ran = { memory: 0, postgres: 0 }
afterAll(() => {
  console.log(
    `the table of outcomes: ${ran.memory} of ${Table.cases.length} cases in memory, ${ran.postgres} on PostgreSQL`
  )
})

describe("rule 18: the table, in memory", () => {
  for (const outcome of Object.keys(Table.forward)) {
    it.live(outcome, () =>
      Effect.gen(function*() {
        for (const one of Table.cases) {
          if (one.outcome !== outcome) continue
          const store = yield* SagaStore.makeMemory
          const seen = yield* TableWorld.run(store, one, "S")
          assert.deepStrictEqual(seen, Table.expected(one), Table.nameOf(one))
          ran.memory++
        }
      }), 30_000)
  }
})

/** Where nothing is undone, it does not matter how that would have been: then one case of each kind is enough. */
const telling = Table.cases.filter((one) =>
  Table.expected(one).order.length > 0 ||
  (one.undoing === "succeeds" && one.mode === "sequential" && one.onFailure === "continue")
)

const inItsSchema = Layer.unwrap(Effect.map(Postgres.Postgres, ({ schema }) => SqlSagaStore.layer({ schema })))

layer(inItsSchema.pipe(Layer.provide(Postgres.layer("table", { maxConnections: 10 }))), {
  excludeTestServices: true
})("rule 18: the table, on PostgreSQL", (it) => {
  for (const outcome of Object.keys(Table.forward)) {
    it.effect(outcome, () =>
      Effect.gen(function*() {
        const store = yield* SagaStore.SagaStore
        const mine = telling.flatMap((one, index) => one.outcome === outcome ? [{ one, index }] : [])
        yield* Effect.forEach(mine, ({ index, one }) =>
          Effect.map(TableWorld.run(store.encoded, one, `T${index}`), (seen) => {
            assert.deepStrictEqual(seen, Table.expected(one), Table.nameOf(one))
            ran.postgres++
          }), { concurrency: 32, discard: true })
      }), 60_000)
  }
})
