/**
 * Crashes on purpose: a process that kills itself, once, at the worst moment; and the one that starts the next.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import { spawn } from "node:child_process"
import { shopSchema } from "./database.ts"
import { paint, print, progress } from "./screen.ts"

export class Crash extends Context.Service<Crash, {
  /** Kills this process if `moment` is one that was chosen, and comes for the first time. */
  readonly at: (moment: string) => Effect.Effect<void>
}>()("example/Crash") {
  /** What happened is remembered in the database: the next process goes past it. */
  static readonly layer = (moments: ReadonlyArray<string>) =>
    Layer.effect(
      Crash,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const table = sql(`${shopSchema}.crash`)
        yield* sql`CREATE SCHEMA IF NOT EXISTS ${sql(shopSchema)}`
        yield* sql`CREATE TABLE IF NOT EXISTS ${table} (moment text PRIMARY KEY)`
        return Crash.of({
          at: Effect.fnUntraced(function*(moment) {
            if (!moments.includes(moment)) return
            const first = yield* sql`INSERT INTO ${table} VALUES (${moment}) ON CONFLICT DO NOTHING RETURNING moment`
            if (first.length === 0) return
            print(paint("red", `The process kills itself (SIGKILL) while it is ${moment}.`))
            process.kill(process.pid, "SIGKILL")
            yield* Effect.never
          }, Effect.orDie)
        })
      })
    )
}

/** How this process ends: with a code, or by a signal. */
type End = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

/** Runs this very program once more, with other arguments, and waits for its end. */
const run = (args: ReadonlyArray<string>) =>
  Effect.callback<End>((resume) => {
    const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], { stdio: "inherit" })
    child.on("error", (error) => resume(Effect.die(error)))
    child.on("exit", (code, signal) => resume(Effect.succeed({ code, signal })))
    // Ctrl-C reaches the child too, and it ends in order.
    return Effect.callback<void>((resume) => {
      if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
      child.on("exit", () => resume(Effect.void))
      child.kill("SIGTERM")
    })
  })

const maxProcesses = 5

/** Starts this program as a worker, and starts it again when it was killed. Answers the exit code of the last one. */
export const supervise = Effect.fn("supervise")(function*(args: (process: number) => ReadonlyArray<string>) {
  for (let number = 1; number <= maxProcesses; number++) {
    progress(`Process ${number} starts.`)
    const { code, signal } = yield* run(args(number))
    if (signal === null) return code ?? 1
    if (signal !== "SIGKILL") return 130
    if (number < maxProcesses) print("It is gone. Another one starts on the same data.")
  }
  print(`${maxProcesses} processes were killed, one after the other. Start again: nothing is lost.`)
  return 1
})
