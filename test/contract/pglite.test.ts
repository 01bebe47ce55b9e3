import { it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Pglite from "../../src/pglite/Pglite.ts"
import * as SagaStore from "../../src/SagaStore.ts"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import * as StoreContract from "../../src/testing/StoreContract.ts"

layer(SqlSagaStore.layer().pipe(Layer.provide(Pglite.layer())), { excludeTestServices: true })(
  "the store on the embedded database",
  (it) => {
    for (const { name, run } of StoreContract.cases) {
      it.effect(name, () => run)
    }
  }
)

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-contract-"))),
  (dir) => Effect.sync(() => fs.rmSync(dir, { recursive: true, force: true }))
)

for (const { name, run } of StoreContract.restartCases) {
  it.live(`the store in a folder ${name}`, () =>
    Effect.scoped(Effect.gen(function*() {
      const dataDir = path.join(yield* folder, "data")
      const process = SqlSagaStore.layer({ exclusive: true }).pipe(Layer.provide(Pglite.layer({ dataDir })))
      yield* run(Effect.map(Layer.build(Layer.fresh(process)), Context.get(SagaStore.SagaStore)))
    })))
}
