/**
 * Ten thousand sagas of every shape on three workers, to which things happen: no rule is broken. One thousand of them
 * are always the same; the seed of the others is new each time, and printed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulation } from "effect-saga/testing"
import { workload } from "./workload.ts"

const worlds = (seed: string, sagas: number) =>
  it.live(`breaks no rule with the seed ${seed}`, () =>
    Effect.gen(function*() {
      let ended = 0
      for (let world = 0; world < sagas / 250; world++) {
        const own = `${seed}/${world}`
        const report = yield* Simulation.run({ seed: own, sagas: 250, workers: 3, ...workload(own) })
        for (const count of report.statuses.values()) ended += count
      }
      assert.strictEqual(ended, sagas)
      console.log(`npm run simulate -- --seed ${seed} --sagas ${sagas}: no rule is broken`)
    }), 300_000)

describe("a simulation", () => {
  worlds("always the same", 1_000)
  worlds(String(Date.now()), 9_000)

  it.live("does the same again for the same seed, in the same order", () =>
    Effect.gen(function*() {
      const run = (seed: number) => Simulation.run({ seed, sagas: 60, ...workload(seed) })
      const [first, again, other] = [yield* run(1), yield* run(1), yield* run(2)]
      assert.deepStrictEqual(again, first)
      assert.notStrictEqual(other.trace, first.trace)
    }))
})
