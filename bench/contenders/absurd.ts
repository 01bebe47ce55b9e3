/**
 * Absurd: a worker of its SDK in this process, as many tasks at once as there are callers, asked for work a hundred
 * times a second instead of four times. Its schema is no part of the npm package: `ABSURD_SQL` names the file
 * `absurd.sql` of the same version, which `absurdctl` installs.
 *
 * A caller is told by a hook that its task's function returned, and then asks until the result is stored: polling for
 * it, as the SDK's own `awaitTaskResult` does, would measure the poll.
 */
import { Absurd, type TaskContext } from "absurd-sdk"
import * as fs from "node:fs"
import pg from "pg"
import { callers, type Contender, holding, result, serve } from "../work.ts"

let inHeld = 0
const returned = new Map<string, () => void>()

const sequence = async (context: TaskContext, steps: number) => {
  for (let number = 1; number < steps; number++) {
    await context.step(`Step${number}`, () => Promise.resolve(result(number)))
  }
  return await context.step(`Step${steps}`, () => Promise.resolve(result(steps)))
}

await serve(async (task): Promise<Contender> => {
  const pool = new pg.Pool({ connectionString: task.url, max: 20 })
  const quiet = (): void => {}
  const found = await pool.query("SELECT 1 FROM pg_namespace WHERE nspname = 'absurd'")
  if (found.rows.length === 0) await pool.query(fs.readFileSync(process.env["ABSURD_SQL"]!, "utf8"))
  const app = new Absurd({
    db: pool,
    queueName: "bench",
    log: { log: quiet, info: quiet, warn: quiet, error: quiet },
    hooks: {
      wrapTaskExecution: async (context, execute) => {
        try {
          return await execute()
        } finally {
          returned.get(context.taskID)?.()
        }
      }
    }
  })
  await app.createQueue()
  app.registerTask({ name: "S5" }, (_params, context) => sequence(context, 5))
  app.registerTask({ name: "S20" }, (_params, context) => sequence(context, 20))
  app.registerTask({ name: "S5F", defaultMaxAttempts: 1 }, async (_params, context) => {
    for (let number = 1; number < 5; number++) {
      await context.step(`Step${number}`, () => Promise.resolve(result(number)))
    }
    try {
      return await context.step("Step5", () => Promise.reject(new Error("refused")))
    } catch (error) {
      for (let number = 4; number > 0; number--) await context.step(`Undo${number}`, () => Promise.resolve(null))
      throw error
    }
  })
  app.registerTask({ name: "Held" }, async (_params, context) => {
    await context.step("Step1", () => Promise.resolve(result(1)))
    await context.step("Step2", () => Promise.resolve(result(2)))
    await context.step("Step3", () => {
      inHeld++
      return holding ? new Promise<unknown>(() => {}) : Promise.resolve(result(3))
    })
    await context.step("Step4", () => Promise.resolve(result(4)))
    return await context.step("Step5", () => Promise.resolve(result(5)))
  })
  const recovery = task.kind === "hold" || task.kind === "recover"
  const worker = await app.startWorker({
    // What is held stays held: all of it at once.
    concurrency: task.kind === "hold" ? task.count : recovery ? 256 : task.concurrency,
    batchSize: recovery ? 256 : task.concurrency,
    pollInterval: 0.01,
    // A dead worker's tasks wait for it.
    claimTimeout: recovery ? 5 : 120,
    fatalOnLeaseTimeout: false
  })
  return {
    drive: (work, concurrency, until) =>
      callers(concurrency, until, async () => {
        const { taskID } = await app.spawn(work, { id: "order" })
        let known = await app.fetchTaskResult(taskID)
        const open = () => known?.state !== "completed" && known?.state !== "failed"
        if (open()) {
          await Promise.race([
            new Promise<void>((resolve) => returned.set(taskID, resolve)),
            // It may have returned before it was listened to.
            new Promise((resolve) => setTimeout(resolve, 500))
          ])
        }
        returned.delete(taskID)
        while (open()) {
          await new Promise((resolve) => setTimeout(resolve, 1))
          known = await app.fetchTaskResult(taskID)
        }
      }),
    hold: async (count) => {
      for (let started = 0; started < count; started += 64) {
        await Promise.all(Array.from({ length: Math.min(64, count - started) }, () => app.spawn("Held", {})))
      }
      while (inHeld < count) await new Promise((resolve) => setTimeout(resolve, 50))
    },
    open: async () => {
      const { rows } = await pool.query<{ readonly count: number }>(
        "SELECT count(*)::float8 AS count FROM absurd.t_bench WHERE state NOT IN ('completed', 'failed', 'cancelled')"
      )
      return rows[0]!.count
    },
    close: async () => {
      await worker.close()
      await pool.end()
    }
  }
})
