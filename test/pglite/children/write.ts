/** Inserts rows from several fibers and prints the id of each one that is acknowledged, until it is killed. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect } from "effect"
import { Pglite } from "effect-saga/pglite"
import { writeSync } from "node:fs"

const [, , dataDir, round] = process.argv

await Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`CREATE TABLE IF NOT EXISTS row (id text PRIMARY KEY, filler text NOT NULL)`
  const write = (fiber: number) =>
    Effect.gen(function*() {
      for (let count = 0;; count++) {
        const id = `${round}-${fiber}-${count}`
        const insert = sql`INSERT INTO row (id, filler) VALUES (${id}, ${"x".repeat(200)})`
        // Every third one in a transaction of two statements.
        yield* count % 3 === 0 ? sql.withTransaction(Effect.andThen(sql`SELECT count(*) FROM row`, insert)) : insert
        // Not `process.stdout`: what it buffers would die with the process.
        writeSync(1, `${id}\n`)
      }
    })
  yield* Effect.all(Array.from({ length: 8 }, (_, fiber) => write(fiber)), { concurrency: "unbounded" })
}).pipe(Effect.provide(Pglite.layer({ dataDir })), Effect.runPromise)
