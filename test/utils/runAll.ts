/**
 * `npm test`: vitest, then the type tests, then one line with the sum of both.
 *
 * With arguments (`npm test -- Saga -t "rolls back"`) they are vitest's, and the type tests are left out. The numbers
 * come from the runners' own reports; a runner that fails without naming a failed test counts as one.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-test-"))

/** Runs a tool of this repository under the Node that runs this file. */
const run = (tool: string, args: ReadonlyArray<string>, env: Record<string, string> = {}): boolean => {
  const { status } = spawnSync(process.execPath, [path.join(root, "node_modules", tool), ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"]
  })
  return status === 0
}

const read = (file: string): unknown => fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : undefined

const total = (ok: boolean, counts: Counts): Counts => ok || counts.failed > 0 ? counts : { ...counts, failed: 1 }

interface VitestReport {
  readonly testResults: ReadonlyArray<{
    readonly status: "passed" | "failed"
    readonly assertionResults: ReadonlyArray<{
      readonly status: "passed" | "failed" | "skipped" | "pending" | "todo" | "disabled"
    }>
  }>
}

const vitest = (args: ReadonlyArray<string>): Counts => {
  const file = path.join(folder, "vitest.json")
  const ok = run("vitest/vitest.mjs", [
    "run",
    "--config=test/vitest.config.ts",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`,
    ...args
  ])
  const report = read(file) as VitestReport | undefined
  const files = report?.testResults ?? []
  const tests = files.flatMap((result) => result.assertionResults.map((test) => test.status))
  // A file that could not be loaded, or whose hooks failed, fails without a failed test.
  const broken = files.filter((result) =>
    result.status === "failed" && !result.assertionResults.some((test) => test.status === "failed")
  )
  const passed = tests.filter((status) => status === "passed").length
  const failed = tests.filter((status) => status === "failed").length
  return total(ok, { passed, failed: failed + broken.length, skipped: tests.length - passed - failed })
}

const types = (): Counts => {
  const file = path.join(folder, "types.json")
  const ok = run("tstyche/dist/bin.js", [
    "--root",
    "test/types",
    "--reporters",
    "list,summary,./test/utils/typesReporter.ts"
  ], {
    // tstyche needs the compiler's API, which TypeScript 7 has not: TypeScript 6 is installed beside it.
    TSTYCHE_TYPESCRIPT_MODULE: "typescript-6",
    EFFECT_SAGA_TYPES_REPORT: file
  })
  return total(ok, read(file) as Counts | undefined ?? { passed: 0, failed: 0, skipped: 0 })
}

const args = process.argv.slice(2)
const reports = args.length > 0 ? [vitest(args)] : [vitest([]), types()]
fs.rmSync(folder, { recursive: true, force: true })

const sum = (key: keyof Counts): number => reports.reduce((all, report) => all + report[key], 0)
const skipped = sum("skipped")
console.log(`\n${sum("passed")} passed, ${sum("failed")} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`)
process.exitCode = sum("failed") > 0 || sum("passed") === 0 ? 1 : 0
