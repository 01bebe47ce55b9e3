/** A PostgreSQL of the run's own, with the durability that it has by default, and what it tells of its work. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import pg from "pg"
import * as Binaries from "../test/utils/postgresBinaries.ts"

/** What differs from the defaults of PostgreSQL: nothing that has to do with durability. */
export const settings: Readonly<Record<string, string>> = {
  shared_buffers: "512MB",
  max_connections: "300",
  // No checkpoint within a measurement: it would hit one contender and spare another.
  max_wal_size: "8GB",
  checkpoint_timeout: "30min",
  shared_preload_libraries: "pg_stat_statements"
}

export interface Server {
  readonly url: (database: string) => string
  readonly query: <A extends object>(database: string, text: string) => Promise<ReadonlyArray<A>>
  readonly version: string
  /** Of all its processes, in seconds. */
  readonly cpu: () => number
  readonly stop: () => Promise<void>
}

/** PostgreSQL refuses to run as root. */
const unprivileged = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const users = fs.readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"))
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody")
  return user === undefined ? undefined : { uid: Number(user[2]), gid: Number(user[3]) }
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = net.createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as net.AddressInfo
      probe.close(() => resolve(port))
    })
  })

const ticks = 100

/** Its own and its children's; children that ended are counted by it. */
const cpuOf = (postmaster: number): number => {
  let total = 0
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    let stat: string
    try {
      stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8")
    } catch {
      continue
    }
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number)
    const own = Number(pid) === postmaster
    if (own || fields[1] === postmaster) total += fields[11]! + fields[12]! + (own ? fields[13]! + fields[14]! : 0)
  }
  return total / ticks
}

export const start = async (): Promise<Server> => {
  const found = Binaries.find()
  if (found === undefined || found.missingLinks.length > 0) {
    throw new Error("No PostgreSQL: install PostgreSQL 15 or later with its contrib modules")
  }
  const identity = unprivileged()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-bench-"))
  if (identity !== undefined) fs.chownSync(folder, identity.uid, identity.gid)
  const options = { ...identity, cwd: folder, env: { ...process.env, LC_ALL: "C", TZ: "UTC" } }
  const data = path.join(folder, "data")
  const made = spawnSync(
    path.join(found.bin, "initdb"),
    ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"],
    { ...options, encoding: "utf8" }
  )
  if (made.status !== 0) throw new Error(made.stderr)
  const port = await freePort()
  const log = fs.openSync(path.join(folder, "log"), "w")
  const parameters = { listen_addresses: "127.0.0.1", port: `${port}`, unix_socket_directories: folder, ...settings }
  const server: ChildProcess = spawn(
    path.join(found.bin, "postgres"),
    ["-D", data, ...Object.entries(parameters).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    { ...options, stdio: ["ignore", log, log] }
  )
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()))
  const remove = () => fs.rmSync(folder, { recursive: true, force: true })
  process.once("exit", () => {
    server.kill("SIGQUIT")
    remove()
  })
  const url = (database: string) => `postgresql://postgres@127.0.0.1:${port}/${database}`
  const query = async <A extends object>(database: string, text: string): Promise<ReadonlyArray<A>> => {
    const client = new pg.Client({ connectionString: url(database) })
    await client.connect()
    try {
      return (await client.query<A>(text)).rows
    } finally {
      await client.end()
    }
  }
  for (let tries = 0;; tries++) {
    try {
      await query("postgres", "SELECT 1")
      break
    } catch (error) {
      if (tries > 100) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  await query("postgres", "CREATE EXTENSION pg_stat_statements")
  // Counts records of the log exactly; PostgreSQL before 15 has no such extension.
  await query("postgres", "CREATE EXTENSION pg_walinspect")
  const [{ version }] = await query<{ readonly version: string }>(
    "postgres",
    "SELECT current_setting('server_version') AS version"
  ) as [
    { readonly version: string }
  ]
  return {
    url,
    query,
    version,
    cpu: () => cpuOf(server.pid!),
    stop: async () => {
      server.kill("SIGINT")
      await ended
      remove()
    }
  }
}
