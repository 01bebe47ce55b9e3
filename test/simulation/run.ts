/**
 * `npm run simulate -- --seed 42 --sagas 10000 --workers 3`: worlds of 250 sagas each, every one with a seed of its own
 * that follows from the first. Prints what they did; fails with the smallest scenario in which a rule is broken.
 */
import { Cause, Effect, Exit } from "effect"
import { Simulation } from "effect-saga/testing"
import { parseArgs } from "node:util"
import { workload } from "./workload.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now()) },
    sagas: { type: "string", default: "10000" },
    workers: { type: "string", default: "3" }
  }
})
const size = 250
const sagas = Number(values.sagas)
const workers = Number(values.workers)
const began = performance.now()
const totals = new Map<string, number>()
const add = (what: string, count: number) => totals.set(what, (totals.get(what) ?? 0) + count)

console.log(`seed ${values.seed}: ${sagas} sagas on ${workers} workers`)
for (let done = 0; done < sagas; done += size) {
  const seed = `${values.seed}/${done / size}`
  const exit = await Effect.runPromiseExit(
    Simulation.run({ seed, sagas: Math.min(size, sagas - done), workers, ...workload(seed) })
  )
  if (Exit.isFailure(exit)) {
    console.log(String(Cause.squash(exit.cause)))
    process.exitCode = 1
    break
  }
  for (const [status, count] of exit.value.statuses) add(status, count)
  add("acts", exit.value.acts)
  add("appends", exit.value.appends)
  add("troubles", exit.value.troubles)
  add("virtual hours", exit.value.took / 3_600_000)
  add("worlds", 1)
}
const seconds = ((performance.now() - began) / 1_000).toFixed(1)
console.log([...totals].map(([what, count]) => `${Math.round(count)} ${what}`).join(", "), `in ${seconds} s`)
if (process.exitCode !== 1) console.log("no rule is broken")
