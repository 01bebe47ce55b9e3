/**
 * The smallest scenario that still fails, as far as it is found by leaving things out: delta debugging (Zeller and
 * Hildebrandt, 2002) on the sagas, then on the troubles, until neither can be left out.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Outcome, Scenario, Trouble } from "./simulate.ts"

/**
 * A scenario with less in it that fails too, and what came of it.
 *
 * **Details**
 *
 * `run` gives what came of a scenario; one with something broken fails. It is asked some hundred times at most.
 *
 * @category shrinking
 * @since 0.1.0
 */
export const shrink = Effect.fnUntraced(function*(
  scenario: Scenario,
  outcome: Outcome,
  run: (scenario: Scenario) => Effect.Effect<Outcome>
) {
  let smallest = scenario
  let came = outcome
  let runs = 0
  let steps = 0
  const attempt = Effect.fnUntraced(function*(smaller: Scenario) {
    if (runs >= mostRuns || steps >= mostSteps) return false
    runs++
    const result = yield* run(smaller)
    steps += result.steps
    if (result.broken.length === 0) return false
    smallest = smaller
    came = result
    return true
  })
  /** Leaves parts out, half of it first, then smaller ones, as long as what is left fails. */
  const reduce = Effect.fnUntraced(function*<A>(
    all: ReadonlyArray<A>,
    without: (kept: ReadonlyArray<A>) => Scenario
  ) {
    let kept = all
    let parts = 2
    while (kept.length > 0 && parts <= 2 * kept.length) {
      const size = Math.max(1, Math.ceil(kept.length / parts))
      let found = false
      for (let from = 0; from < kept.length && !found; from += size) {
        const less = [...kept.slice(0, from), ...kept.slice(from + size)]
        if (!(yield* attempt(without(less)))) continue
        kept = less
        found = true
      }
      if (found) parts = Math.max(2, parts - 1)
      else if (size === 1) break
      else parts *= 2
    }
    return kept.length < all.length
  })

  // What is broken most often needs nobody else.
  const broken = [...new Set(outcome.broken.flatMap((_) => _.saga === undefined ? [] : [_.saga]))]
  if (broken.length > 0) yield* attempt(about(scenario, broken.slice(0, 1)))
  for (let round = 0, less = true; less && round < 4; round++) {
    const sagas = yield* reduce(smallest.sagas, (kept) => about(smallest, kept))
    const troubles = yield* reduce(smallest.troubles, (kept) => ({ ...smallest, troubles: kept }))
    less = sagas || troubles
  }
  const workers = Math.max(0, ...smallest.troubles.map((_) => "worker" in _ ? _.worker : 0)) + 1
  for (let fewer = workers; fewer < smallest.workers; fewer++) {
    if (yield* attempt({ ...smallest, workers: fewer })) break
  }
  return { scenario: smallest, outcome: came, runs }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** What making it smaller may cost: runs, and timers in all of them. */
const mostRuns = 400
const mostSteps = 3_000_000

/** The scenario with these sagas alone. */
const about = (scenario: Scenario, sagas: ReadonlyArray<number>): Scenario => ({
  ...scenario,
  sagas,
  troubles: scenario.troubles.filter((trouble: Trouble) => trouble._tag !== "Cancel" || sagas.includes(trouble.saga))
})
