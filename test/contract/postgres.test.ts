import * as PgClient from "@effect/sql-pg/PgClient"
import { it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as SagaStore from "../../src/SagaStore.ts"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import * as StoreContract from "../../src/testing/StoreContract.ts"
import * as Postgres from "../utils/Postgres.ts"

const inItsSchema = Layer.unwrap(Effect.map(Postgres.Postgres, ({ schema }) => SqlSagaStore.layer({ schema })))

layer(inItsSchema.pipe(Layer.provide(Postgres.layer("contract"))), { excludeTestServices: true })(
  "the store on PostgreSQL",
  (it) => {
    for (const { name, run } of StoreContract.cases) {
      it.effect(name, () => run)
    }
  }
)

layer(inItsSchema.pipe(Layer.provide(Postgres.layer("contract", { multiplex: true, maxConnections: 1 }))), {
  excludeTestServices: true
})("the store on one shared connection", (it) => {
  for (const { name, run } of StoreContract.cases) {
    it.effect(name, () => run)
  }
})

for (const { name, run } of StoreContract.restartCases) {
  it.live(`the store on PostgreSQL ${name}`, () =>
    Effect.gen(function*() {
      const { schema, url } = yield* Postgres.Postgres
      const process = SqlSagaStore.layer({ schema }).pipe(
        Layer.provide(Layer.fresh(PgClient.layer({ url: Redacted.make(url) })))
      )
      yield* run(Effect.map(Layer.build(process), Context.get(SagaStore.SagaStore)))
    }).pipe(Effect.provide(Postgres.layer("restart"))))
}
