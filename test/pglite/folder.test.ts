import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Pglite } from "effect-saga/pglite"
import * as fs from "node:fs"
import * as path from "node:path"
import { freshFolder, startChild } from "./harness.ts"

const open = <A, E, R = never>(
  dataDir: string,
  use: (sql: PgClient.PgClient) => Effect.Effect<A, E, R>,
  options: Pglite.Options = {}
) => Effect.flatMap(PgClient.PgClient, use).pipe(Effect.provide(Pglite.layer({ ...options, dataDir })))

const whyNot = (dataDir: string) => Effect.flip(open(dataDir, () => Effect.void))

const beside = (dataDir: string): ReadonlyArray<string> => fs.readdirSync(path.dirname(dataDir)).toSorted()

const timeout = 60_000

describe("the folder of an embedded database", () => {
  it.live("keeps what was committed when it is closed and opened again", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      yield* open(dataDir, (sql) => Effect.andThen(sql`CREATE TABLE t (id int)`, sql`INSERT INTO t VALUES (7)`))
      assert.deepStrictEqual(beside(dataDir), ["db"])
      assert.deepStrictEqual(yield* open(dataDir, (sql) => sql`SELECT id FROM t`), [{ id: 7 }])
      const lax = open(dataDir, (sql) => sql`SELECT current_setting('fsync') AS fsync`, { durable: false })
      assert.deepStrictEqual(yield* lax, [{ fsync: "off" }])
    }).pipe(Effect.scoped), timeout)

  it.live("is refused to a second opener, in this process and in another", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      yield* open(dataDir, () =>
        Effect.gen(function*() {
          const here = yield* whyNot(path.join(dataDir, "..", "db"))
          assert.strictEqual(here.reason._tag, "FolderInUse")
          assert.include(here.message, "is already open in this process. Build its layer once")
          const child = yield* startChild("open", dataDir)
          const answer = yield* child.line((_, count) => count === 2)
          assert.include(answer, `FolderInUse: The database folder ${fs.realpathSync(dataDir)}`)
          assert.include(answer, `is in use by process ${process.pid}. Stop that process or choose another folder`)
        }))
      yield* open(dataDir, (sql) => sql`SELECT 1`)
    }).pipe(Effect.scoped), timeout)

  it.live("is given free by an owner that was killed with -9", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      const child = yield* startChild("open", dataDir)
      yield* child.line((line) => line === "open")
      const refused = yield* whyNot(dataDir)
      assert.include(refused.message, `is in use by process ${child.pid}`)
      yield* child.kill
      yield* open(dataDir, (sql) => sql`SELECT 1`)
      assert.deepStrictEqual(beside(dataDir), ["db"])
    }).pipe(Effect.scoped), timeout)

  it.live("loses no acknowledged commit to kill -9 under load", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      const acknowledged: Array<string> = []
      for (const round of ["1", "2", "3"]) {
        const child = yield* startChild("write", dataDir, round)
        yield* child.line((_, count) => count >= 400 * Number(round))
        yield* child.kill
        // The last line may be cut off.
        acknowledged.push(...child.lines.filter((line) => /^\d+-\d+-\d+$/.test(line)).slice(0, -1))
      }
      const rows = yield* open(dataDir, (sql) => sql<{ readonly id: string }>`SELECT id FROM row`)
      const kept = new Set(rows.map((row) => row.id))
      assert.isAtLeast(acknowledged.length, 2_000)
      assert.deepStrictEqual(acknowledged.filter((id) => !kept.has(id)), [])
    }).pipe(Effect.scoped), timeout)

  it.live("is usable after a kill -9 while it was first made", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      const child = yield* startChild("open", dataDir)
      yield* child.line((line) => line === "started")
      const isHalfMade = () => beside(dataDir).some((name) => name.startsWith("db.init-"))
      yield* Effect.repeat(Effect.sleep("2 millis"), { until: isHalfMade })
      yield* child.kill
      assert.isTrue(isHalfMade())
      assert.notInclude(beside(dataDir), "db")
      yield* open(dataDir, (sql) => sql`SELECT 1`)
      assert.deepStrictEqual(beside(dataDir), ["db"])
    }).pipe(Effect.scoped), timeout)

  it.live("is left alone when it holds something else", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      fs.mkdirSync(dataDir)
      fs.writeFileSync(path.join(dataDir, "thesis.txt"), "years of work")
      const error = yield* whyNot(dataDir)
      assert.strictEqual(error.reason._tag, "NotADatabase")
      assert.match(error.message, /Nothing was changed: give a folder that is empty, or that does not exist yet\.$/)
      assert.deepStrictEqual(fs.readdirSync(dataDir), ["thesis.txt"])
      assert.deepStrictEqual(beside(dataDir), ["db"])
    }).pipe(Effect.scoped), timeout)

  it.live("says what the database said when it cannot start", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      fs.mkdirSync(dataDir)
      fs.writeFileSync(path.join(dataDir, "PG_VERSION"), "9\n")
      const error = yield* whyNot(dataDir)
      assert.strictEqual(error.reason._tag, "OpenFailed")
      assert.match(error.message, /failed while starting \(.+\)\. See the cause, correct it/)
      assert.deepStrictEqual(beside(dataDir), ["db"])
    }).pipe(Effect.scoped), timeout)

  it.live("asks for the peer dependency where it is missing", () =>
    Effect.gen(function*() {
      const child = yield* startChild("open", yield* freshFolder, "without-peer")
      const answer = yield* child.line((_, count) => count === 2)
      assert.match(answer, /^PeerMissing: .* Add it to your dependencies: `npm install @electric-sql\/pglite`\.$/)
    }).pipe(Effect.scoped), timeout)

  it.live("is not trusted where flushes do not reach the disk", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      const error = yield* Effect.flip(open(dataDir, () => Effect.void, { startupParameters: { fsync: "off" } }))
      assert.strictEqual(error.reason._tag, "CannotFlush")
      assert.match(error.message, /or accept the loss with `durable: false`\.$/)
    }).pipe(Effect.scoped), timeout)
})
