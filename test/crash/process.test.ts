/**
 * Processes of the operating system that are killed with SIGKILL, at moments that were chosen and at any others, and
 * started again until every execution has ended.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { freshFolder, startChild } from "../pglite/harness.ts"
import * as Postgres from "../utils/Postgres.ts"

interface Result {
  readonly ended: ReadonlyArray<readonly [id: string, how: string, cause: string]>
  readonly acts: ReadonlyArray<{ readonly execution: string; readonly step: string; readonly amount: number }>
}

const transfers = 12

/** After how many lines each process is killed: some at once, some in the middle of an act, some late. */
const deaths = [1, 2, 5, 9, 14, 3, 7]

const untilAllEnded = (...where: ReadonlyArray<string>): Effect.Effect<Result, never, Scope.Scope> =>
  Effect.gen(function*() {
    const start = startChild("../../crash/children/transfers", ...where, String(transfers))
    let killed = 0
    for (const death of deaths) {
      const child = yield* start
      const line = yield* child.line((line, count) => count >= death || line.startsWith("result"))
      yield* child.kill
      if (line.startsWith("result")) break
      killed++
    }
    assert.isAbove(killed, 3)
    const last = yield* start
    const line = yield* last.line((line) => line.startsWith("result"))
    yield* last.kill
    return JSON.parse(line.slice("result ".length)) as Result
  })

/** Money is neither made nor lost; what completed was done once, and what rolled back is undone. */
const conserves = ({ acts, ended }: Result): void => {
  assert.strictEqual(ended.length, transfers)
  for (const [id, how, cause] of ended) {
    const mine = acts.filter((_) => _.execution === id)
    assert.strictEqual(mine.reduce((sum, act) => sum + act.amount, 0), 0, `transfer ${id} ${how} ${cause}`)
    const steps = mine.map((_) => _.step).sort()
    if (Number(id) % 3 === 0) {
      assert.strictEqual(how, "rolled back")
      assert.deepStrictEqual(steps, ["Credit", "Debit", "Undo credit", "Undo debit"], `transfer ${id}`)
    } else {
      assert.strictEqual(how, "completed", cause)
      assert.deepStrictEqual(steps, ["Approve", "Credit", "Debit", "Notify"], `transfer ${id}`)
    }
  }
}

describe("a process that is killed again and again", () => {
  it.live("on a folder loses nothing and does nothing twice", () =>
    Effect.gen(function*() {
      conserves(yield* untilAllEnded("folder", yield* freshFolder, "saga"))
    }), 120_000)

  it.live("on PostgreSQL loses nothing and does nothing twice", () =>
    Effect.gen(function*() {
      const { schema, url } = yield* Postgres.Postgres
      conserves(yield* untilAllEnded("postgres", url, schema))
    }).pipe(Effect.provide(Postgres.layer("killed"))), 120_000)
})
