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
import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { describe, expect, it, onTestFinished } from "vitest"
import * as Postgres from "./utils/Postgres.ts"
import { readSource, readSources, root } from "./utils/sources.ts"

/** An example that takes longer than this waits for something that never comes. */
const patience = 120_000

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

describe("examples/01-order.ts", () => {
  const file = "examples/01-order.ts"
  const expected = (): string => outputOf(readSource(file).text)!

  it("does the same on a server, and resumes what is parked", () =>
    Effect.gen(function*() {
      const { env, schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const shop = `${schema}_shop`
      yield* Effect.addFinalizer(() =>
        Effect.forEach([shop, `${shop}_saga`], (name) => Effect.orDie(sql`DROP SCHEMA IF EXISTS ${sql(name)} CASCADE`))
      )
      const { code, stderr, stdout } = yield* Effect.promise(() => run(file, { env: { ...env, ORDERS_SCHEMA: shop } }))
      expect(code, `${stdout}\n${stderr}`).toBe(0)
      expect(stdout).toBe(fill(expected(), stdout))
      const resumed = yield* Effect.promise(() =>
        run(file, { env: { ...env, ORDERS_SCHEMA: shop }, args: ["--resume"] })
      )
      expect(resumed.stdout).toMatch(
        /1013 Robin Milner, 56.00: rolled back[^]*let it go on.*\n.*ChargePayment was undone/
      )
      expect(resumed.stdout).toContain("\n  5 rolled back     1005, 1012, 1013, 1019, 1024\n")
      expect(resumed.stdout).toContain("They add up")
    }).pipe(Effect.scoped, Effect.provide(Postgres.layer("example")), Effect.runPromise), patience + 5_000)

  it("says what is wrong with its input, and does nothing twice unless it is told to begin again", async () => {
    const cwd = emptyFolder()
    const missing = await run(file, { cwd, args: ["--orders=none.json"] })
    expect(missing.code).toBe(1)
    expect(missing.stderr).toMatch(/^error: The order file .*none.json cannot be read: .*\n$/)
    const order = (more: object) => ({
      id: "1",
      customer: "Ada",
      city: "London",
      card: "4242",
      items: [{ sku: "MUG-BLUE", quantity: 1, price: 100 }],
      ...more
    })
    const orders = [order({}), order({ customer: "Bob" }), order({ id: "2", items: [] }), { id: 3 }, "four"]
    fs.writeFileSync(path.join(cwd, "odd.json"), JSON.stringify(orders))
    const { code, stdout } = await run(file, { cwd, args: ["--orders=odd.json"] })
    expect(stdout).toMatch(/1 (Ada|Bob), 1.00: refused. PlaceOrder\/1 was started before with another payload./)
    expect(stdout).toContain("Order 3 of the file (2): malformed. Missing key at [\"items\"][0]\n")
    expect(stdout).toContain("Order 5 of the file: malformed. Expected object, got \"four\"\n")
    expect(stdout).toMatch(/ 5 orders read\n +1 completed +1\n +3 malformed\n +1 refused +1\n/)
    expect(code).toBe(0)

    const story = (stdout: string) => stdout.slice(stdout.indexOf("\n\n"))
    const again = await run(file, { cwd, args: ["--orders=odd.json"] })
    expect(again.stdout).toContain("Placed by an earlier run, and not done a second time: 2.\n")
    expect(story(again.stdout)).toBe(story(stdout))
    const fresh = await run(file, { cwd, args: ["--orders=odd.json", "--fresh"] })
    expect(fresh.stdout).not.toContain("an earlier run")
  }, patience)
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

/** A folder for the time of the test. */
const emptyFolder = (): string => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-example-"))
  onTestFinished(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

const run = (
  file: string,
  options: {
    readonly cwd?: string
    readonly args?: ReadonlyArray<string>
    readonly env?: Readonly<Record<string, string>>
  } = {}
): Promise<Result> => {
  const { args = [], cwd = emptyFolder(), env } = options
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--conditions=effect-saga/source", path.join(root, file), ...args], {
      cwd,
      // In its own folder, whatever database the tests run on.
      env: { ...process.env, NO_COLOR: "1", DATABASE_URL: "", ...env },
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
