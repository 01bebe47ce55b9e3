import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SagaStore from "../../src/SagaStore.ts"
import * as StoreContract from "../../src/testing/StoreContract.ts"

describe("the store in memory", () => {
  for (const { name, run } of StoreContract.cases) {
    it.live(name, () => Effect.provide(run, SagaStore.layerMemory))
  }
})
