/**
 * DBOS Transact, as its programming guide says: registered workflows called in this process, steps through
 * `DBOS.runStep`. Its pool is twice the default and its log is quiet; compensations are steps in a `catch`, which is
 * how a DBOS workflow undoes.
 */
import { DBOS } from "@dbos-inc/dbos-sdk"
import pg from "pg"
import { callers, type Contender, holding, type Result, result, serve, type Work } from "../work.ts"

let inHeld = 0

const step = (number: number): Promise<Result> =>
  DBOS.runStep(() => Promise.resolve(result(number)), { name: `Step${number}` })

const sequence = async (steps: number): Promise<Result> => {
  for (let number = 1; number < steps; number++) await step(number)
  return await step(steps)
}

const quiet = (): void => {}

class Refused extends Error {}

const workflows = {
  S5: DBOS.registerWorkflow((_id: string) => sequence(5), { name: "S5" }),
  S20: DBOS.registerWorkflow((_id: string) => sequence(20), { name: "S20" }),
  S5F: DBOS.registerWorkflow(async (_id: string) => {
    const undo: Array<number> = []
    try {
      for (let number = 1; number < 5; number++) {
        await step(number)
        undo.push(number)
      }
      return await DBOS.runStep(() => Promise.reject<Result>(new Refused("refused")), { name: "Step5" })
    } catch (error) {
      for (const number of undo.toReversed()) {
        await DBOS.runStep(() => Promise.resolve(), { name: `Undo${number}` })
      }
      throw error
    }
  }, { name: "S5F" })
}

const Held = DBOS.registerWorkflow(async (_id: string) => {
  await step(1)
  await step(2)
  await DBOS.runStep(() => {
    inHeld++
    return holding ? new Promise<Result>(() => {}) : Promise.resolve(result(3))
  }, { name: "Step3" })
  await step(4)
  return await step(5)
}, { name: "Held" })

await serve(async (task): Promise<Contender> => {
  DBOS.setConfig({
    name: "bench",
    systemDatabaseUrl: task.url,
    systemDatabasePoolSize: 20,
    logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    // What another process left is recovered by the executor of the same name and version.
    executorID: "bench",
    applicationVersion: "1"
  })
  await DBOS.launch()
  const unique = `${process.pid}-${Date.now().toString(36)}`
  let next = 0
  const id = () => `${unique}-${next++}`
  const start = (work: Work) => {
    const workflowID = id()
    return DBOS.startWorkflow(workflows[work], { workflowID })(workflowID)
  }
  const pool = new pg.Pool({ connectionString: task.url, max: 1 })
  return {
    drive: (work, concurrency, until) =>
      callers(concurrency, until, async () => {
        const handle = await start(work)
        await handle.getResult().catch((error: unknown) => {
          if (work !== "S5F") throw error
        })
      }),
    hold: async (count) => {
      for (let started = 0; started < count; started += 256) {
        const some = Array.from({ length: Math.min(256, count - started) }, () => {
          const workflowID = id()
          return DBOS.startWorkflow(Held, { workflowID })(workflowID)
        })
        await Promise.all(some)
        // So many at once would only wait for the pool.
        while (inHeld < started) await new Promise((resolve) => setTimeout(resolve, 20))
      }
      while (inHeld < count) await new Promise((resolve) => setTimeout(resolve, 50))
    },
    // Recovery puts them into a queue: then they are not pending, and have not ended either.
    open: async () => {
      const found = await pool.query<{ readonly count: number }>(
        "SELECT count(*)::float8 AS count FROM dbos.workflow_status WHERE status <> 'SUCCESS'"
      )
      return found.rows[0]!.count
    },
    close: async () => {
      await pool.end()
      await DBOS.shutdown()
    }
  }
})
