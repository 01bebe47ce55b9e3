/**
 * What the database allows: the same appends as plain inserts by hand on `@effect/sql-pg`, without definitions,
 * recovery or roll-back. `BENCH_LIMIT=commit`: each append a statement, so a commit, on a pool of ten. `group`: what is
 * due is committed together over one connection, each append awaited.
 *
 * A saga of n steps is n + 1 appends: an intent before each step, its result with the next one's intent. One that
 * rolls back undoes each of four steps behind an intent of its own: ten appends.
 */
import { PgClient, PgTypes } from "@effect/sql-pg"
import { Effect, ManagedRuntime, Result } from "effect"
import { callers as promises, type Contender, result, serve, steps, type Work } from "../work.ts"
import { callers, client } from "./effects.ts"

const group = process.env["BENCH_LIMIT"] === "group"

const appends: Readonly<Record<Work, number>> = { S5: steps.S5 + 1, S20: steps.S20 + 1, S5F: 10 }

const array = (values: ReadonlyArray<string | number>, type: number) => Result.getOrThrow(PgTypes.array(values, type))

const entry = (seq: number): string =>
  JSON.stringify({ at: Date.now(), done: `Step${seq}`, value: result(seq), next: `Step${seq + 1}` })

await serve(async (task): Promise<Contender> => {
  const runtime = ManagedRuntime.make(client(task.url, group ? { maxConnections: 1 } : { maxConnections: 10 }))
  const sql = await runtime.runPromise(PgClient.PgClient)
  await runtime.runPromise(
    sql`CREATE TABLE IF NOT EXISTS journal (
      execution text COLLATE "C" NOT NULL, seq bigint NOT NULL, entry text NOT NULL, PRIMARY KEY (execution, seq))`
  )
  const unique = `${process.pid}-${Date.now().toString(36)}`
  let next = 0
  const close = () => runtime.dispose()
  if (!group) {
    const run = (work: Work) =>
      Effect.suspend(() => {
        const execution = `${work}/${unique}-${next++}`
        let seq = 0
        return Effect.whileLoop({
          while: () => seq < appends[work],
          body: () =>
            sql.unsafe("INSERT INTO journal (execution, seq, entry) VALUES ($1, $2, $3)", [execution, seq, entry(seq)]),
          step: () => {
            seq++
          }
        })
      })
    return {
      drive: (work, concurrency, until) => runtime.runPromise(Effect.orDie(callers(concurrency, until, run(work)))),
      close
    }
  }
  let due: Array<{ execution: string; seq: number; entry: string; resolve: () => void }> = []
  let writing = false
  const write = async (): Promise<void> => {
    // The rest of this tick belongs to the batch.
    await Promise.resolve()
    while (due.length > 0) {
      const batch = due
      due = []
      await runtime.runPromise(sql.unsafe(
        `INSERT INTO journal (execution, seq, entry)
SELECT execution, seq::bigint, entry FROM unnest($1::text[], $2::float8[], $3::text[]) AS due(execution, seq, entry)`,
        [
          array(batch.map((append) => append.execution), PgTypes.OID.text),
          array(batch.map((append) => append.seq), PgTypes.OID.float8),
          array(batch.map((append) => append.entry), PgTypes.OID.text)
        ]
      ))
      for (const append of batch) append.resolve()
      // Those that were answered append again in this tick.
      await new Promise((resolve) => setImmediate(resolve))
    }
    writing = false
  }
  const append = (execution: string, seq: number): Promise<void> =>
    new Promise((resolve) => {
      due.push({ execution, seq, entry: entry(seq), resolve })
      if (writing) return
      writing = true
      void write()
    })
  return {
    drive: (work, concurrency, until) =>
      promises(concurrency, until, async () => {
        const execution = `${work}/${unique}-${next++}`
        for (let seq = 0; seq < appends[work]; seq++) await append(execution, seq)
      }),
    close
  }
})
