/**
 * Every saga of `scenarios.ts` is run once for each point at which something can happen to its process, and for pairs
 * of such points. What must hold afterwards are the rules of `SagaTest.crashEverywhere`, and what participants know.
 *
 * `npm run crash` goes further: it follows each point with more second ones, and lists the points.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Crash from "../utils/Crash.ts"
import { mishaps, scenarios } from "./scenarios.ts"

describe("rule 36: wherever something happens to a process", () => {
  let runs = 0
  for (const scenario of scenarios) {
    it.live(scenario.name, () =>
      Effect.gen(function*() {
        const report = yield* Crash.everywhere(scenario, { mishaps, pairs: 2 })
        assert.isAbove(report.courses[0]!.points.length, 4)
        runs += report.runs
      }), 60_000)
  }
  afterAll(() => console.log(`${runs} runs of ${scenarios.length} sagas`))
})
