/** What the tests of the embedded database share: folders that vanish, and processes that can be killed. */
import { Effect, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"

/** A name for a database in a temporary folder, which is removed with the scope. */
export const freshFolder: Effect.Effect<string, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-pglite-"))),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => path.join(folder, "db")
)

/** A process that runs one of the scripts in `children`. */
export interface Child {
  readonly pid: number
  /** Every line so far. */
  readonly lines: ReadonlyArray<string>
  /** Waits for a line, also one that came before. */
  readonly line: (accept: (line: string, count: number) => boolean) => Effect.Effect<string>
  readonly kill: Effect.Effect<void>
  readonly exited: Effect.Effect<void>
}

/** Starts a script on the sources of the library; it is killed with -9 at the end of the scope at the latest. */
export const startChild = (
  script: string,
  ...args: ReadonlyArray<string>
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--conditions=effect-saga/source", scriptPath(script), ...args], {
          stdio: ["ignore", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    toChild
  )

const scriptPath = (script: string): string => fileURLToPath(new URL(`./children/${script}.ts`, import.meta.url))

const toChild = (child: ChildProcess): Child => {
  const lines: Array<string> = []
  const waiting = new Set<() => void>()
  const end = new Promise<void>((resolve) => child.once("close", () => resolve()))
  if (child.stdout !== null) {
    readline.createInterface({ input: child.stdout }).on("line", (line) => {
      lines.push(line)
      for (const look of Array.from(waiting)) look()
    })
  }
  const exited = Effect.promise(() => end)
  return {
    pid: child.pid ?? 0,
    lines,
    line: (accept) =>
      Effect.callback((resume) => {
        const look = (): void => {
          const found = lines.find((line, index) => accept(line, index + 1))
          if (found === undefined) return
          waiting.delete(look)
          resume(Effect.succeed(found))
        }
        waiting.add(look)
        look()
      }),
    kill: Effect.suspend(() => {
      child.kill("SIGKILL")
      return exited
    }),
    exited
  }
}
