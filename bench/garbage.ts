/**
 * What V8's collections of young objects cost a saga on PostgreSQL, process by process.
 *
 *     npm --prefix bench ci
 *     npm run bench:garbage
 *     npm run bench:garbage -- --work S5F --concurrency 64 --processes 8 --against FOLDER
 *
 * Nearly all that a saga makes is garbage when it has ended. What a collection promotes all the same is copied, and is
 * there until the next full one: much of it means that something old refers to executions that have ended. Whether V8
 * takes something for old is decided early and once for a process, so several are looked at. Half a megabyte to three a
 * collection is sound, eight are not. `--against` adds another checkout of this repository.
 */
import { fork } from "node:child_process"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Server from "./server.ts"
import type { Seen, Task, Work } from "./work.ts"

const { values } = parseArgs({
  options: {
    work: { type: "string", default: "S5" },
    concurrency: { type: "string", default: "64,256" },
    processes: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    against: { type: "string" }
  }
})
const here = path.dirname(fileURLToPath(import.meta.url))
const seconds = Number(values.seconds)
const contenders = [
  ...(values.against === undefined
    ? []
    : [{ name: "before", file: path.resolve(values.against, "bench/contenders/saga.ts") }]),
  { name: "effect-saga", file: path.join(here, "contenders/saga.ts") }
]

const server = await Server.start()
let databases = 0

const run = async (file: string, concurrency: number) => {
  const database = `garbage_${databases++}`
  await server.query("postgres", `CREATE DATABASE ${database}`)
  const task: Task = {
    kind: "throughput",
    work: values.work as Work,
    concurrency,
    seconds,
    warmup: 1,
    url: server.url(database),
    count: 0,
    extra: ""
  }
  const child = fork(file, {
    execArgv: ["--expose-gc", "--trace-gc-nvp"],
    env: { ...process.env, BENCH_TASK: JSON.stringify(task), NODE_ENV: "production" },
    stdio: ["ignore", "pipe", "inherit", "ipc"]
  })
  const said = <A>(key: string) =>
    new Promise<A>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`${file} ended with ${code}`)))
      child.on("message", (message) => {
        if (message !== null && typeof message === "object" && key in message) {
          resolve((message as Readonly<Record<string, A>>)[key]!)
        }
      })
    })
  const lines: Array<string> = []
  child.stdout!.setEncoding("utf8").on("data", (text: string) => void lines.push(...text.split("\n")))
  try {
    await said("ready")
    // What the warm-up and its last collection said is not counted: it may still be on its way.
    await new Promise((resolve) => setTimeout(resolve, 100))
    lines.length = 0
    child.send("go")
    return { ...await said<Seen>("done"), lines: [...lines] }
  } finally {
    child.removeAllListeners()
    const ended = new Promise((resolve) => child.once("exit", resolve))
    if (child.connected) child.send("stop")
    await ended
  }
}

const field = (line: string, name: string): number => Number(new RegExp(` ${name}=([\\d.]+)`).exec(line)?.[1] ?? 0)

try {
  console.log(`PostgreSQL ${server.version}, node ${process.version}`)
  for (const concurrency of values.concurrency.split(",").map(Number)) {
    console.log(`\n${values.work} at ${concurrency} callers, ${seconds} s a process`)
    for (let number = 0; number < Number(values.processes); number++) {
      for (const { file, name } of contenders) {
        const { count, lines, seconds: took } = await run(file, concurrency)
        const young = lines.filter((line) => line.includes(" gc=s "))
        const sum = (of: string) => young.reduce((total, line) => total + field(line, of), 0)
        const megabytes = sum("promoted") / young.length / 1_000_000
        console.log([
          name.padEnd(12),
          `${(count / took).toFixed(0)} sagas/s`.padStart(13),
          `${megabytes.toFixed(2)} MB promoted a collection`.padStart(32),
          `${(sum("promoted") / count / 1_000).toFixed(1)} KB a saga`.padStart(15),
          `${(sum("allocated") / count / 1_000).toFixed(0)} KB allocated`.padStart(18),
          `${(sum("pause") / took / 10).toFixed(1)} % of the time`.padStart(20)
        ].join(""))
      }
    }
  }
} finally {
  await server.stop()
}
