/**
 * Measures effect-saga beside its peers and beside what PostgreSQL allows: the same work, in one run, on one server
 * with its default durability.
 *
 *     npm --prefix bench ci
 *     npm run bench                        about an hour
 *     npm run bench -- --quick             some minutes
 *     npm run bench -- --only effect-saga,group --parts throughput --works S5,S5F@64 --rounds 5
 *
 * `--against FOLDER` adds another checkout of this repository, such as the one before a change.
 *
 * Each measurement is a process of its own on a database of its own; contenders take turns within each round, so that
 * what else the machine does hits all of them. Ratios of one run travel to other machines, absolute numbers don't.
 * It prints tables, and writes `results.json` and `chart.svg` beside this file.
 */
import { type ChildProcess, fork } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { chart } from "./chart.ts"
import * as Server from "./server.ts"
import type { Seen, Task, Work } from "./work.ts"

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    parts: { type: "string", default: "throughput,recovery,suspended,finished,memory,compile" },
    works: { type: "string", default: "S5,S5F,S20" },
    concurrency: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    warmup: { type: "string" },
    open: { type: "string" },
    against: { type: "string" }
  }
})
const here = path.dirname(fileURLToPath(import.meta.url))
const { quick } = values
const concurrencies = (values.concurrency ?? (quick ? "1,64" : "1,16,64,256")).split(",").map(Number)
/** `S5F@64`: this work only at 64 callers. */
const works = values.works.split(",").map((text) => {
  const [work, at] = text.split("@") as [Work, string | undefined]
  return { work, concurrencies: at === undefined ? concurrencies : [Number(at)] }
})
const rounds = Number(values.rounds ?? (quick ? 1 : 3))
const seconds = Number(values.seconds ?? (quick ? 2 : 4))
/** Until a process has compiled what it runs; a server runs for longer. */
const warmup = Number(values.warmup ?? (quick ? 1 : 4))
const parts = new Set(values.parts.split(","))
const open = Number(values.open ?? (quick ? 1_000 : 10_000))

interface Entrant {
  readonly name: string
  readonly file: string
  readonly env: Readonly<Record<string, string>>
  readonly recovers: boolean
}

const absurdSql = process.env["ABSURD_SQL"]
if (absurdSql === undefined) {
  console.log("Absurd is left out: its schema is no part of its npm package; name its file absurd.sql by ABSURD_SQL")
}

const entrants: ReadonlyArray<Entrant> = ([
  { name: "effect-saga", file: "saga.ts", env: {}, recovers: true },
  ...(values.against === undefined
    ? []
    : [{ name: "before", file: path.resolve(values.against, "bench/contenders/saga.ts"), env: {}, recovers: true }]),
  { name: "group", file: "limits.ts", env: { BENCH_LIMIT: "group" }, recovers: false },
  { name: "commit", file: "limits.ts", env: { BENCH_LIMIT: "commit" }, recovers: false },
  { name: "dbos", file: "dbos.ts", env: {}, recovers: true },
  { name: "absurd", file: "absurd.ts", env: {}, recovers: true },
  { name: "cluster", file: "cluster.ts", env: {}, recovers: true }
] satisfies ReadonlyArray<Entrant>).filter(({ name }) =>
  values.only?.split(",").includes(name) ?? (name !== "absurd" || absurdSql !== undefined)
)

const titles: Readonly<Record<string, string>> = {
  "effect-saga": "effect-saga",
  before: `effect-saga in ${values.against}`,
  group: "limit: six appends by hand, group commit",
  commit: "limit: six appends by hand, a commit each",
  dbos: "DBOS Transact",
  absurd: "Absurd",
  cluster: "effect/workflow on the cluster engine"
}

const versions = (): Readonly<Record<string, string>> => {
  const of = (file: string): string => JSON.parse(fs.readFileSync(path.join(here, file), "utf8")).version
  return {
    "effect-saga": of("../package.json"),
    effect: of("../node_modules/effect/package.json"),
    "@effect/sql-pg": of("../node_modules/@effect/sql-pg/package.json"),
    "@dbos-inc/dbos-sdk": of("node_modules/@dbos-inc/dbos-sdk/package.json"),
    "absurd-sdk": of("node_modules/absurd-sdk/package.json"),
    node: process.versions.node
  }
}

/** One measurement, with what the server did for it. */
interface Measured extends Seen {
  readonly statements: number
  readonly commits: number
  /** Bytes of the log, without images of whole pages: those are a checkpoint's, not the work's. */
  readonly wal: number
  readonly serverCpu: number
}

const server = await Server.start()
const children = new Set<ChildProcess>()
const stopAll = async (): Promise<void> => {
  for (const child of children) child.kill("SIGKILL")
  await server.stop()
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopAll().then(() => process.exit(1)))
}

const message = <A>(child: ChildProcess, key: string, limit: number): Promise<A> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(() => reject(new Error(`no answer within ${limit} s`))), limit * 1_000)
    const settle = (then: () => void) => {
      clearTimeout(timer)
      child.off("message", onMessage).off("exit", onExit)
      then()
    }
    const onExit = (code: number | null) => settle(() => reject(new Error(`ended with ${code}`)))
    const onMessage = (received: unknown) => {
      if (received !== null && typeof received === "object" && key in received) {
        settle(() => resolve((received as Record<string, A>)[key]!))
      }
    }
    child.on("message", onMessage).once("exit", onExit)
  })

const start = (entrant: Entrant, task: Task, env: Readonly<Record<string, string>> = {}): ChildProcess => {
  const child = fork(path.resolve(here, "contenders", entrant.file), {
    // As users run it; but what fills a database first holds it in memory.
    execArgv: [
      "--expose-gc",
      ...(task.kind === "extra" ? ["--max-old-space-size=8192"] : [])
    ],
    env: { ...process.env, ...entrant.env, ...env, BENCH_TASK: JSON.stringify(task), NODE_ENV: "production" },
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  children.add(child)
  child.once("exit", () => children.delete(child))
  return child
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000)
    child.once("exit", () => {
      clearTimeout(timer)
      resolve()
    })
  })

const counters = async (database: string) => {
  const [row] = await server.query<{ readonly lsn: string; readonly statements: number }>(
    "postgres",
    `SELECT pg_current_wal_flush_lsn()::text AS lsn, (
  SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements
  WHERE dbid = (SELECT oid FROM pg_database WHERE datname = '${database}')) AS statements`
  )
  return { ...row!, cpu: server.cpu() }
}

const walBetween = async (from: string, to: string) => {
  if (from === to) return { bytes: 0, commits: 0 }
  const [row] = await server.query<{ readonly bytes: number; readonly commits: number }>(
    "postgres",
    `SELECT sum(record_size)::float8 AS bytes,
  coalesce(sum(count) FILTER (WHERE "resource_manager/record_type" = 'Transaction/COMMIT'), 0)::float8 AS commits
FROM pg_get_wal_stats('${from}', '${to}', true)`
  )
  return row!
}

const measure = async (entrant: Entrant, task: Task, limit: number): Promise<Measured> => {
  const database = new URL(task.url).pathname.slice(1)
  const child = start(entrant, task)
  try {
    await message(child, "ready", 60)
    const before = await counters(database)
    child.send("go")
    const seen = await message<Seen>(child, "done", limit)
    const after = await counters(database)
    // What an extra loads is checkpointed, and then no longer in the log.
    const { bytes, commits } = task.kind === "extra"
      ? { bytes: Number.NaN, commits: Number.NaN }
      : await walBetween(before.lsn, after.lsn)
    return {
      ...seen,
      commits,
      wal: bytes,
      statements: after.statements - before.statements,
      serverCpu: after.cpu - before.cpu
    }
  } finally {
    if (child.connected) child.send("stop")
    await ended(child)
  }
}

let databases = 0
const fresh = async (): Promise<string> => {
  const name = `bench_${databases++}`
  await server.query("postgres", `CREATE DATABASE ${name}`)
  return server.url(name)
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const round = (value: number): string =>
  Number.isNaN(value) ? "-" : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

const print = (rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows) {
    console.log(
      row.map((cell, column) => column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join("  ")
    )
  }
}

/** The runs of one contender at one work and concurrency. */
export interface Cell {
  readonly work: Work
  readonly concurrency: number
  readonly contender: string
  readonly title: string
  readonly runs: ReadonlyArray<Measured & { readonly rate: number }>
}

const cells: Array<Cell> = []
const failures = new Map<string, string>()

const throughput = async (work: Work, concurrency: number): Promise<void> => {
  const runs = new Map<string, Array<Measured & { readonly rate: number }>>()
  const urls = new Map<string, string>()
  for (let number = 0; number < rounds; number++) {
    for (const entrant of entrants) {
      if (failures.has(entrant.name)) continue
      const url = urls.get(entrant.name) ?? await fresh()
      urls.set(entrant.name, url)
      const task: Task = { kind: "throughput", work, concurrency, seconds, warmup, url, count: 0, extra: "" }
      try {
        const measured = await measure(entrant, task, seconds + 60)
        const rate = measured.count / measured.seconds
        runs.set(entrant.name, [...runs.get(entrant.name) ?? [], { ...measured, rate }])
      } catch (error) {
        failures.set(entrant.name, String(error))
        console.log(`${entrant.name} is left out from here on: ${String(error)}`)
      }
    }
  }
  const limit = runs.get("group")
  const rows = [
    ["", "sagas/s", "(min to max)", "of the limit", "p50 ms", "p99 ms", "statements", "commits", "WAL bytes"].concat(
      "CPU ms client",
      "CPU ms server",
      "MB at most"
    )
  ]
  for (const [contender, measured] of runs) {
    cells.push({ work, concurrency, contender, title: titles[contender]!, runs: measured })
    const of = (pick: (run: Measured & { readonly rate: number }) => number) => median(measured.map(pick))
    const rates = measured.map(({ rate }) => rate)
    // Round by round, as they were taken side by side.
    const part = limit === undefined
      ? Number.NaN
      : median(measured.map(({ rate }, index) => rate / (limit[index]?.rate ?? Number.NaN)))
    rows.push([
      titles[contender]!,
      round(of(({ rate }) => rate)),
      `(${round(Math.min(...rates))} to ${round(Math.max(...rates))})`,
      round(part),
      round(of(({ p50 }) => p50)),
      round(of(({ p99 }) => p99)),
      round(of(({ count, statements }) => statements / count)),
      round(of(({ commits, count }) => commits / count)),
      round(of(({ count, wal }) => wal / count)),
      round(of(({ count, cpu }) => cpu * 1_000 / count)),
      round(of(({ count, serverCpu }) => serverCpu * 1_000 / count)),
      round(of(({ memory }) => memory / 1_000_000))
    ])
  }
  console.log(`\n${work} at ${concurrency} callers, ${rounds} rounds of ${seconds} s after ${warmup} s to warm up`)
  console.log("What is right of p99 is for one saga")
  print(rows)
}

const recoveries: Array<Seen & { readonly contender: string }> = []

/** Who takes longer than this, in seconds, does it once. */
const longRecovery = 30

/** A process that holds open executions is killed; another one ends them. */
const recoverOnce = async (entrant: Entrant): Promise<Seen> => {
  const url = await fresh()
  const task: Task = {
    kind: "hold",
    work: "S5",
    concurrency: 1,
    seconds: 180,
    warmup: 0,
    url,
    count: open,
    extra: ""
  }
  const victim = start(entrant, task, { BENCH_HOLD: "1" })
  await message(victim, "ready", 300)
  victim.kill("SIGKILL")
  await ended(victim)
  const heir = start(entrant, { ...task, kind: "recover" })
  try {
    return await message<Seen>(heir, "done", 240)
  } finally {
    if (heir.connected) heir.send("stop")
    await ended(heir)
  }
}

const recovery = async (): Promise<void> => {
  const rows = [["", "all ended after s", "a second", "least", "most", "the first after s", "MB at most"]]
  for (const entrant of entrants.filter(({ name, recovers }) => recovers && !failures.has(name))) {
    try {
      const all: Array<Seen & { readonly each: number }> = []
      while (all.length < rounds && (all.at(-1)?.seconds ?? 0) < longRecovery) {
        const seen = await recoverOnce(entrant)
        // All may have ended before the first look at them.
        const since = seen.seconds - seen.p50 / 1_000
        all.push({ ...seen, each: seen.count / (since > 0.05 ? since : seen.seconds) })
        recoveries.push({ contender: entrant.name, ...seen })
      }
      const sorted = all.toSorted((a, b) => a.each - b.each)
      const seen = sorted[sorted.length >> 1]!
      rows.push([
        titles[entrant.name]!,
        seen.count < open ? `${seen.count} of ${open} in ${round(seen.seconds)}` : round(seen.seconds),
        round(seen.each),
        round(sorted[0]!.each),
        round(sorted.at(-1)!.each),
        round(seen.p50 / 1_000),
        round(seen.memory / 1_000_000)
      ])
    } catch (error) {
      rows.push([titles[entrant.name]!, String(error), "-", "-", "-", "-", "-"])
    }
  }
  console.log(
    `\nrecovery of ${open} executions whose worker was killed, the median of ${rounds} rounds (of one, where that ` +
      `took longer than ${longRecovery} s); "a second" counts from the first that ended`
  )
  print(rows)
}

const extras: Array<Readonly<Record<string, unknown>>> = []

const extra = async (name: string, count: number): Promise<void> => {
  const [saga] = entrants.filter((entrant) => entrant.name === "effect-saga")
  if (saga === undefined) return
  const url = await fresh()
  const task: Task = { kind: "extra", work: "S5", concurrency: 1, seconds: 0, warmup: 0, url, count, extra: name }
  const measured = await measure(saga, task, 900)
  extras.push({ name, count, ...measured.more })
  console.log(`\n${name}: effect-saga with ${count}`)
  print(Object.entries(measured.more ?? {}).map(([what, value]) => [what, round(value)]))
}

/** What needs no database: a script beside this one, in a process of its own. */
const script = (file: string): Promise<void> =>
  new Promise((resolve) => {
    console.log("")
    const child = fork(path.join(here, file), quick ? ["--quick"] : [], {
      execArgv: ["--expose-gc", "--max-semi-space-size=256"],
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
    children.add(child)
    child.once("exit", () => {
      children.delete(child)
      resolve()
    })
  })

const date = new Date().toISOString().slice(0, 10)
const command = `npm run bench${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(" ")}` : ""}`
const about = {
  date,
  command,
  postgres: server.version,
  settings: Server.settings,
  cores: os.cpus().length,
  versions: versions()
}

try {
  console.log(
    `${date}  ${command}\nPostgreSQL ${server.version} (${
      Object.entries(Server.settings).map(([name, value]) => `${name} ${value}`).join(", ")
    }; else its defaults), ${about.cores} cores shared with the client`
  )
  console.log(Object.entries(about.versions).map(([name, version]) => `${name} ${version}`).join(", "))
  if (parts.has("throughput")) {
    for (const { concurrencies, work } of works) {
      for (const concurrency of concurrencies) await throughput(work, concurrency)
    }
  }
  if (parts.has("recovery")) await recovery()
  if (parts.has("suspended")) await extra("suspended", quick ? 10_000 : 100_000)
  if (parts.has("finished")) await extra("finished", quick ? 100_000 : 1_000_000)
  if (parts.has("memory")) await script("memory.ts")
  if (parts.has("compile")) await script("compile.ts")
  fs.writeFileSync(
    path.join(here, "results.json"),
    `${JSON.stringify({ about, cells, recoveries, extras }, null, 1)}\n`
  )
  if (cells.length > 0) fs.writeFileSync(path.join(here, "chart.svg"), chart(cells, about))
} finally {
  await stopAll()
}
