/**
 * Plants each bug of `mutants.ts` in a copy of the project and runs the tests that must notice it. Prints who did, and
 * fails where nobody did.
 *
 *     npm run mutate
 *     npm run mutate -- --bug "lease"
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Mutant, mutants } from "./mutants.ts"

const { values } = parseArgs({ options: { bug: { type: "string", default: "" } } })
const root = fileURLToPath(new URL("../..", import.meta.url))
const copy = fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-mutants-"))
for (const entry of ["src", "test", "examples", "package.json", "tsconfig.json"]) {
  fs.cpSync(path.join(root, entry), path.join(copy, entry), { recursive: true })
}
fs.symlinkSync(path.join(root, "node_modules"), path.join(copy, "node_modules"))

/** The first test that failed; undefined where all passed. */
const killer = ({ only, tests }: Pick<Mutant, "only" | "tests">): string | undefined => {
  const args = ["run", "--config", "test/vitest.config.ts", "--bail", "1", ...(only === undefined ? [] : ["-t", only])]
  const vitest = path.join(copy, "node_modules/vitest/vitest.mjs")
  const ran = spawnSync(process.execPath, [vitest, ...args, ...tests], {
    cwd: copy,
    encoding: "utf8",
    timeout: 180_000,
    env: { ...process.env, NO_COLOR: "1" },
    maxBuffer: 2 ** 28
  })
  if (ran.status === 0) return undefined
  const failed = `${ran.stdout}${ran.stderr}`.split("\n").find((line) => line.startsWith(" FAIL "))
  return failed?.slice(6).trim() ?? (ran.signal === null ? "the run broke" : "it never ended")
}

const chosen = mutants.filter(({ bug }) => bug.includes(values.bug))
const survivors: Array<string> = []
try {
  for (const mutant of chosen) {
    const file = path.join(copy, mutant.file)
    const text = fs.readFileSync(file, "utf8")
    const parts = text.split(mutant.find)
    if (parts.length !== 2) throw new Error(`${mutant.bug}: found ${parts.length - 1} times in ${mutant.file}`)
    fs.writeFileSync(file, parts.join(mutant.replace))
    const by = killer(mutant)
    fs.writeFileSync(file, text)
    if (by === undefined) survivors.push(mutant.bug)
    console.log(
      `${by === undefined ? "SURVIVED" : "killed"}  ${mutant.bug}${by === undefined ? "" : `\n        ${by}`}`
    )
  }
} finally {
  fs.rmSync(copy, { recursive: true, force: true })
}
console.log(`\n${chosen.length - survivors.length} of ${chosen.length} bugs were noticed`)
if (survivors.length > 0) process.exitCode = 1
