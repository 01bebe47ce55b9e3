/**
 * The work that every contender does, and how a contender's process talks to the run.
 *
 * A process serves one measurement: it opens its database, warms up, says `ready`, waits for `go`, works, and says what
 * it saw. Callers are a closed loop: each starts its next saga when its last one has ended, durably.
 */

/** Five steps that do nothing; five of which the last refuses, so that four are undone; twenty. */
export type Work = "S5" | "S5F" | "S20"

export const steps: Readonly<Record<Work, number>> = { S5: 5, S5F: 5, S20: 20 }

/** What a step returns. */
export interface Result {
  readonly id: number
  readonly state: string
}

export const result = (step: number): Result => ({ id: step, state: "confirmed" })

export interface Task {
  readonly kind: "throughput" | "hold" | "recover" | "extra"
  readonly work: Work
  readonly concurrency: number
  /** How long callers start sagas. */
  readonly seconds: number
  readonly warmup: number
  readonly url: string
  /** For `hold` and `recover`: how many executions are open. For `throughput` without `seconds`: how many sagas run. */
  readonly count: number
  /** For `extra`: what a contender measures on its own. */
  readonly extra: string
}

export interface Seen {
  readonly count: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
  /** Of the contender's process, in seconds. */
  readonly cpu: number
  /** The most memory that the process had, in bytes. */
  readonly memory: number
  /** Further numbers by name. */
  readonly more?: Readonly<Record<string, number>>
}

export interface Contender {
  /**
   * Runs sagas from `concurrency` callers until `until` (by `performance.now()`), and gives each saga's milliseconds
   * once the last has ended.
   */
  readonly drive: (work: Work, concurrency: number, until: () => boolean) => Promise<Array<number>>
  /** Starts `count` sagas of five steps whose third never ends, and returns when all are in it, durably. */
  readonly hold?: (count: number) => Promise<void>
  /** Returns when nothing that was held is open any more; `open` tells how many are. */
  readonly open?: () => Promise<number>
  readonly extra?: (name: string, count: number) => Promise<Readonly<Record<string, number>>>
  readonly close: () => Promise<void>
}

const quantile = (sorted: ReadonlyArray<number>, part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN

/** Callers of a contender whose saga is a promise. */
export const callers = async (
  concurrency: number,
  until: () => boolean,
  run: () => Promise<unknown>
): Promise<Array<number>> => {
  const millis: Array<number> = []
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (!until()) {
      const before = performance.now()
      await run()
      millis.push(performance.now() - before)
    }
  }))
  return millis
}

/** Held steps never end in the process that is killed; in the one that recovers they end at once. */
export const holding = process.env["BENCH_HOLD"] === "1"

const send = (message: unknown): Promise<void> =>
  new Promise((resolve, reject) => {
    process.send!(message, undefined, undefined, (error) => error === null ? resolve() : reject(error))
  })

const received = (wanted: string): Promise<void> =>
  new Promise((resolve) => {
    const listener = (message: unknown): void => {
      if (message !== wanted) return
      process.off("message", listener)
      resolve()
    }
    process.on("message", listener)
  })

/** Serves the measurement that the run asks this process for. */
export const serve = async (open: (task: Task) => Promise<Contender>): Promise<void> => {
  const task: Task = JSON.parse(process.env["BENCH_TASK"]!)
  const lasting = (seconds: number): () => boolean => {
    const end = performance.now() + seconds * 1_000
    return () => performance.now() >= end
  }
  if (task.kind === "hold") {
    const contender = await open(task)
    await contender.hold!(task.count)
    await send({ ready: true })
    // The run kills this process.
    return
  }
  if (task.kind === "recover") {
    await send({ ready: true })
    const cpu = process.cpuUsage()
    const before = performance.now()
    const contender = await open(task)
    let first = Number.NaN
    let left = task.count
    while (left > 0 && performance.now() - before < task.seconds * 1_000) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      left = await contender.open!()
      if (left < task.count && Number.isNaN(first)) first = performance.now() - before
    }
    const seconds = (performance.now() - before) / 1_000
    await send({ done: { ...used(cpu), count: task.count - left, seconds, p50: first, p99: Number.NaN } })
    await received("stop")
    process.exit(0)
  }
  const contender = await open(task)
  if (task.warmup > 0) await contender.drive(task.work, task.concurrency, lasting(task.warmup))
  await send({ ready: true })
  await received("go")
  const cpu = process.cpuUsage()
  const before = performance.now()
  if (task.kind === "extra") {
    const more = await contender.extra!(task.extra, task.count)
    const seconds = (performance.now() - before) / 1_000
    await send({ done: { ...used(cpu), count: task.count, seconds, p50: Number.NaN, p99: Number.NaN, more } })
  } else {
    let left = task.count
    const until = task.seconds === 0 ? () => left-- <= 0 : lasting(task.seconds)
    const millis = await contender.drive(task.work, task.concurrency, until)
    const seconds = (performance.now() - before) / 1_000
    const sorted = millis.sort((a, b) => a - b)
    const [p50, p99] = [quantile(sorted, 0.5), quantile(sorted, 0.99)]
    await send({ done: { ...used(cpu), count: millis.length, seconds, p50, p99 } })
  }
  await received("stop")
  await Promise.race([contender.close(), new Promise((resolve) => setTimeout(resolve, 3_000))])
  process.exit(0)
}

const used = (since: NodeJS.CpuUsage): Pick<Seen, "cpu" | "memory"> => {
  const { system, user } = process.cpuUsage(since)
  return { cpu: (system + user) / 1_000_000, memory: process.resourceUsage().maxRSS * 1_024 }
}
