/**
 * What a saga writes to the log of PostgreSQL, record by record: for effect-saga, and for the same appends by hand.
 *
 *     npm --prefix bench ci
 *     npm run bench:wal
 *     npm run bench:wal -- --work S5F --sagas 2000 --against FOLDER
 *
 * The bytes are those of the records themselves; images of whole pages are switched off on the run's own server, since
 * they are a checkpoint's and not the work's. A number of sagas is counted, not a time, so two runs differ by little
 * more than where pages split. `--against` adds another checkout of this repository.
 */
import { fork } from "node:child_process"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Server from "./server.ts"
import type { Task, Work } from "./work.ts"

const { values } = parseArgs({
  options: {
    work: { type: "string", default: "S5" },
    concurrency: { type: "string", default: "64" },
    sagas: { type: "string", default: "2000" },
    against: { type: "string" }
  }
})
const here = path.dirname(fileURLToPath(import.meta.url))
const sagas = Number(values.sagas)
const concurrency = Number(values.concurrency)

const contenders = [
  { name: "limit", file: "limits.ts", env: { BENCH_LIMIT: "group" } },
  ...(values.against === undefined
    ? []
    : [{ name: "before", file: path.resolve(values.against, "bench/contenders/saga.ts"), env: {} }]),
  { name: "effect-saga", file: "saga.ts", env: {} }
]
type Contender = (typeof contenders)[number]

interface Entry {
  readonly xid: string
  readonly what: string
  readonly relation: string
  readonly bytes: number
}

const server = await Server.start()

/** The log's records of what a contender did, in order. */
const records = async (contender: Contender, callers: number, count: number): Promise<ReadonlyArray<Entry>> => {
  const database = `wal_${contender.name.replaceAll("-", "_")}_${callers}`
  await server.query("postgres", `CREATE DATABASE ${database}`)
  const task: Task = {
    kind: "throughput",
    work: values.work as Work,
    concurrency: callers,
    seconds: 0,
    warmup: 1,
    url: server.url(database),
    count,
    extra: ""
  }
  const child = fork(path.resolve(here, "contenders", contender.file), {
    env: { ...process.env, ...contender.env, BENCH_TASK: JSON.stringify(task), NODE_ENV: "production" },
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  const said = (key: string) =>
    new Promise<void>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`${contender.name} ended with ${code}`)))
      child.on("message", (message) => {
        if (message !== null && typeof message === "object" && key in message) resolve()
      })
    })
  const place = async () => {
    const [row] = await server.query<{ readonly lsn: string }>("postgres", "SELECT pg_current_wal_flush_lsn() AS lsn")
    return row!.lsn
  }
  try {
    await said("ready")
    const from = await place()
    child.send("go")
    await said("done")
    const to = await place()
    return await server.query<Entry>(
      database,
      `SELECT xid::text AS xid, resource_manager || ' ' || record_type AS what,
  coalesce(class.relname, '') AS relation, (record_length - fpi_length)::float8 AS bytes
FROM public.pg_get_wal_records_info('${from}', '${to}')
LEFT JOIN pg_class AS class ON class.relfilenode =
  substring(block_ref FROM 'rel [0-9]+/' || (SELECT oid FROM pg_database WHERE datname = current_database())
    || '/([0-9]+)')::oid
ORDER BY start_lsn`
    )
  } finally {
    child.removeAllListeners()
    const ended = new Promise((resolve) => child.once("exit", resolve))
    if (child.connected) child.send("stop")
    await ended
  }
}

/** Which records make up the bytes; the rare ones of splits, clean-up and the server's own are summed up. */
const kinds: Readonly<Record<string, string>> = {
  "Heap INSERT": "row",
  "Heap INSERT+INIT": "row",
  "Heap2 MULTI_INSERT": "row",
  "Heap UPDATE": "row changed, indexes anew",
  "Heap UPDATE+INIT": "row changed, indexes anew",
  "Heap HOT_UPDATE": "row changed",
  "Heap DELETE": "row deleted",
  "Heap LOCK": "row locked",
  "Heap INPLACE": "other",
  "Btree INSERT_LEAF": "index entry",
  "Btree INSERT_POST": "index entry",
  "Transaction COMMIT": "commit"
}

const kindOf = ({ relation, what }: Entry): string => {
  const kind = kinds[what]
  if (kind === undefined || (relation === "" && kind !== "commit")) return "page splits, clean-up and the like"
  return relation === "" ? kind : `${relation}: ${kind}`
}

const print = (rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows) {
    console.log(
      row.map((cell, column) => column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join("  ")
    )
  }
}

const sum = (entries: ReadonlyArray<Entry>): number => entries.reduce((bytes, entry) => bytes + entry.bytes, 0)

/** What a saga writes among many: commits are shared. */
const shared = async (): Promise<void> => {
  const found = new Map<string, ReadonlyArray<Entry>>()
  for (const contender of contenders) found.set(contender.name, await records(contender, concurrency, sagas))
  const all = new Map<string, number>()
  for (const entries of found.values()) {
    for (const [kind, of] of Map.groupBy(entries, kindOf)) all.set(kind, Math.max(all.get(kind) ?? 0, sum(of)))
  }
  console.log(`\n${values.work} at ${concurrency} callers: bytes of a saga (records), of ${sagas}`)
  const cell = (entries: ReadonlyArray<Entry>) =>
    entries.length === 0 ? "-" : `${(sum(entries) / sagas).toFixed(0)} (${(entries.length / sagas).toFixed(2)})`
  const limit = sum(found.get("limit")!)
  print([
    ["", ...contenders.map(({ name }) => name)],
    ...[...all].toSorted((a, b) => b[1] - a[1]).map(([kind]) => [
      kind,
      ...contenders.map(({ name }) => cell(found.get(name)!.filter((entry) => kindOf(entry) === kind)))
    ]),
    ["all", ...contenders.map(({ name }) => cell(found.get(name)!))],
    ["of the limit", ...contenders.map(({ name }) => (sum(found.get(name)!) / limit).toFixed(2))]
  ])
}

/** What each append of a saga writes, one saga at a time: the median of some. */
const single = async (): Promise<void> => {
  for (const contender of contenders) {
    const count = 50
    const entries = (await records(contender, 1, count)).filter(({ xid }) => xid !== "0")
    const appends = [...Map.groupBy(entries, ({ xid }) => xid).values()]
      .filter((of) => of.some(({ relation }) => relation === "saga_execution" || relation.endsWith("journal")))
    const each = Math.round(appends.length / count)
    const at = (append: number, kind: string) => {
      const sizes = appends.filter((_, index) => index % each === append)
        .map((of) => sum(of.filter((entry) => kindOf(entry) === kind))).toSorted((a, b) => a - b)
      return sizes[sizes.length >> 1]!
    }
    const numbers = Array.from({ length: each }, (_, index) => index)
    const rows = [...new Set(entries.map(kindOf))]
      .map((kind) => ({ kind, bytes: numbers.map((append) => at(append, kind)) }))
      .filter(({ bytes }) => bytes.some((size) => size > 0))
    const line = (name: string, bytes: ReadonlyArray<number>) => [
      name,
      ...bytes.map((size) => size === 0 ? "-" : size.toFixed(0)),
      bytes.reduce((a, b) => a + b, 0).toFixed(0)
    ]
    console.log(`\n${contender.name}: bytes of each append of a saga, one saga at a time`)
    print([
      ["", ...numbers.map((append) => `${append}`), "all"],
      ...rows.map(({ bytes, kind }) => line(kind, bytes)),
      line("all", numbers.map((append) => rows.reduce((total, { bytes }) => total + bytes[append]!, 0)))
    ])
  }
}

try {
  await server.query("postgres", "ALTER SYSTEM SET full_page_writes = off")
  await server.query("template1", "CREATE EXTENSION pg_walinspect")
  await server.query("postgres", "SELECT pg_reload_conf()")
  console.log(`PostgreSQL ${server.version}, without images of whole pages`)
  await shared()
  await single()
} finally {
  await server.stop()
}
