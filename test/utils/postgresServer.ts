/**
 * The runner's side of the test database: starts its keeper, and asks it for the URL.
 *
 * @since 0.1.0
 */
import { spawn } from "node:child_process"
import * as net from "node:net"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** Where a test gets the URL from. Plain data, so that it can be handed to workers. */
export type Source =
  | { readonly _tag: "Url"; readonly url: string }
  | { readonly _tag: "Keeper"; readonly folder: string }

/** Starts a keeper, unless `DATABASE_URL` names a server. No server is started before `ask`. */
export const keep = async (): Promise<{ readonly source: Source; readonly stop: () => Promise<void> }> => {
  const url = process.env["DATABASE_URL"]
  if (url !== undefined && url !== "") return { source: { _tag: "Url", url }, stop: () => Promise.resolve() }
  const script = fileURLToPath(new URL("./postgresKeeper.ts", import.meta.url))
  // In a group of its own: what the terminal sends to the runner's must not reach it.
  const keeper = spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "inherit"], detached: true })
  const exited = new Promise<void>((resolve) => keeper.once("exit", () => resolve()))
  const folder = await new Promise<string>((resolve, reject) => {
    keeper.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()))
    keeper.once("error", reject)
    keeper.once("exit", (code) => reject(new Error(`The keeper of the test database ended with ${code}`)))
  })
  keeper.unref()
  return {
    source: { _tag: "Keeper", folder },
    stop: () => {
      keeper.ref()
      keeper.stdin.end()
      return exited
    }
  }
}

/** The URL of the server, which starts when it is first asked for. */
export const ask = (source: Source): Promise<string> =>
  source._tag === "Url" ? Promise.resolve(source.url) : new Promise((resolve, reject) => {
    let answer = ""
    net.connect(path.join(source.folder, "ask"))
      .on("data", (chunk) => answer += chunk.toString())
      .on("error", reject)
      .on("end", () => {
        const { error, url }: { readonly url?: string; readonly error?: string } = JSON.parse(answer)
        if (url === undefined) reject(new Error(error ?? "The keeper of the test database gave no answer"))
        else resolve(url)
      })
  })
