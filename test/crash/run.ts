/**
 * `npm run crash`: every saga of `scenarios.ts`, with ten second points after each first one, and its points listed.
 *
 * `npm run crash -- pivot` runs those whose name contains the word.
 */
import { Effect } from "effect"
import * as Crash from "../utils/Crash.ts"
import { mishaps, scenarios } from "./scenarios.ts"

const word = process.argv[2] ?? ""
const chosen = scenarios.filter((_) => _.name.includes(word))

let points = 0
let runs = 0
for (const scenario of chosen) {
  const report = await Effect.runPromise(Crash.everywhere(scenario, { mishaps, pairs: 10 }))
  const [course] = report.courses
  points += course!.points.length
  runs += report.runs
  console.log(`${scenario.name}: ends ${course!.status}; ${course!.points.length} points, ${report.runs} runs`)
  for (const point of course!.points) console.log(`    ${point}`)
}
console.log(`\n${chosen.length} sagas, ${points} points, ${runs} runs: none breaks a rule.`)
