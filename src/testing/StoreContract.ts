/**
 * The promises of `SagaStore.Encoded` as programs: run them on a driver of your own to learn whether the engine can
 * rely on it.
 *
 * A case is a sentence and an Effect; it needs no test framework, and fails with `Violation` where the promise is not
 * kept. Every run of a case uses names of its own, so the cases may run in any order, at once, and again on a store
 * that has data. They rely on the live clock: a store counts leases on its own.
 *
 * @since 0.1.0
 */
import * as Appends from "./internal/storeAppends.ts"
import type { Case, RestartCase } from "./internal/storeCase.ts"
import * as Claims from "./internal/storeClaims.ts"
import * as Lists from "./internal/storeLists.ts"
import * as Mail from "./internal/storeMail.ts"
import * as Restart from "./internal/storeRestart.ts"
import * as Tells from "./internal/storeTells.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

export {
  /**
   * One promise: a sentence, and a program that fails where a store does not keep it.
   *
   * @category models
   * @since 0.1.0
   */
  type Case,
  /**
   * A promise of a store that outlives its process: a sentence, and a program over an `open` that opens the same data
   * each time it runs.
   *
   * @category models
   * @since 0.1.0
   */
  type RestartCase,
  /**
   * A promise that the store under test does not keep: what was expected, and what was found.
   *
   * @category errors
   * @since 0.1.0
   */
  Violation
} from "./internal/storeCase.ts"

// ---------------------------------------------------------------------------------------------------------------------
// cases
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What every store promises.
 *
 * **Example** (A driver's test)
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { SagaStore } from "effect-saga"
 * import { StoreContract } from "effect-saga/testing"
 *
 * for (const { name, run } of StoreContract.cases) {
 *   it.live(name, () => Effect.provide(run, SagaStore.layerMemory))
 * }
 * ```
 *
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  ...Appends.cases,
  ...Claims.cases,
  ...Mail.cases,
  ...Tells.cases,
  ...Lists.cases
]

/**
 * What a store promises in addition that keeps its data when the process ends.
 *
 * @category cases
 * @since 0.1.0
 */
export const restartCases: ReadonlyArray<RestartCase> = Restart.cases
