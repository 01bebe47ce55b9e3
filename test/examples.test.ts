/**
 * Runs every example, each in an empty folder of its own, and compares what it prints with the `// Output:` comment at
 * its end:
 *
 * ```ts
 * // Output:
 * // reserved R-1
 * // charged <...>
 * ```
 *
 * `<...>` stands for whatever changes from run to run: any text, also none, inside one line. An example without the
 * comment only has to succeed.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { describe, expect, it, onTestFinished } from "vitest"
import { readSources, root } from "./utils/sources.ts"

/** An example that takes longer than this waits for something that never comes. */
const patience = 60_000

/** What they share is not one of them. */
const examples = readSources("examples").filter((source) => !source.path.startsWith("examples/support/"))

describe("examples", () => {
  it("reads the output comment, and its placeholders", () => {
    const expected = outputOf("code()\n\n// Output:\n// took <...> ms\n//\n//   (really)\n")
    expect(expected).toBe("took <...> ms\n\n  (really)")
    expect(fill("took <...> ms\n\n  (really)", "took 12 ms\n\n  (really)")).toBe("took 12 ms\n\n  (really)")
    expect(fill("took <...> ms", "took 12 s")).toBe("took <...> ms")
    expect(fill("a.b(<...>)", "a-b(c)")).toBe("a.b(<...>)")
    expect(outputOf("code()\n")).toBeUndefined()
    expect(outputOf("// Output:\n// not at the end\ncode()\n")).toBeUndefined()
  })

  it.each(examples.map(({ path, text }) => [path, text] as const))("%s", async (file, text) => {
    const { code, stderr, stdout } = await run(file)
    expect(code, `${stdout}\n${stderr}`).toBe(0)
    const expected = outputOf(text)
    if (expected !== undefined) expect(stdout).toBe(fill(expected, stdout))
  }, patience + 5_000)
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const placeholder = "<...>"

const escape = (literal: string): string => literal.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")

/** The text of the trailing comment. */
const outputOf = (text: string): string | undefined => {
  const [, comment] = /(?:^|\n)\/\/ Output:\n((?:\/\/.*(?:\n|$))*)$/.exec(text.trimEnd()) ?? []
  return comment?.split("\n").map((line) => line.replace(/^\/\/ ?/, "")).join("\n").trimEnd()
}

/** The expected text, its placeholders filled in from the actual one: what a diff shows is what really differs. */
const fill = (expected: string, actual: string): string => {
  const lines = actual.split("\n")
  return expected.split("\n").map((line, index) => {
    const pattern = line.split(placeholder).map(escape).join(".*")
    const real = lines[index]
    return real !== undefined && new RegExp(`^${pattern}$`).test(real) ? real : line
  }).join("\n")
}

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const run = (file: string): Promise<Result> => {
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-example-"))
  onTestFinished(() => fs.rmSync(cwd, { recursive: true, force: true }))
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--conditions=effect-saga/source", path.join(root, file)], {
      cwd,
      // In its own folder, whatever database the tests run on.
      env: { ...process.env, NO_COLOR: "1", DATABASE_URL: "" },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: patience,
      killSignal: "SIGKILL"
    })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => stdout += chunk)
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => stderr += chunk)
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, stdout: stdout.trimEnd(), stderr }))
  })
}
