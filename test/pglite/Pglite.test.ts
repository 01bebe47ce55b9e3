import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Queue, Scope } from "effect"
import { Pglite } from "effect-saga/pglite"
import { TestClock } from "effect/testing"
import * as Database from "../../src/pglite/internal/database.ts"
import * as Engine from "../../src/pglite/internal/engine.ts"

const values = (rows: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  rows.map((row) => Object.values(row as Record<string, unknown>)[0])

/** Moves the clock until the fiber is done. */
const passTimeUntilDone = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.andThen(
    Effect.repeat(TestClock.adjust("1 second"), { until: () => fiber.pollUnsafe() !== undefined }),
    Fiber.join(fiber)
  )

/** Holds a transaction open until the latch is done. */
const openTransaction = Effect.fnUntraced(function*(sql: PgClient.PgClient, latch: Deferred.Deferred<void>) {
  const opened = yield* Deferred.make<void>()
  const fiber = yield* Effect.forkChild(sql.withTransaction(
    sql`SELECT 1`.pipe(Effect.andThen(Deferred.succeed(opened, undefined)), Effect.andThen(Deferred.await(latch)))
  ))
  yield* Deferred.await(opened)
  return fiber
})

describe("the embedded database", () => {
  it.layer(Pglite.layer({ startupParameters: { timezone: "Asia/Tokyo" }, maxConnections: 20 }), {
    timeout: Duration.seconds(60)
  })((it) => {
    it.effect("answers queries with the types of the driver", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const rows = yield* sql`SELECT 1::int8 AS a, 'x'::text AS b, ${sql.json({ c: [1] })} AS d, NULL::int AS e`
        assert.deepStrictEqual(rows, [{ a: 1n, b: "x", d: { c: [1] }, e: null }])
      }))

    it.effect("gives its settings to every connection", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const zones = yield* Effect.all([sql`SHOW timezone`, sql`SHOW timezone`], { concurrency: 2 })
        assert.deepStrictEqual(zones.flatMap(values), ["Asia/Tokyo", "Asia/Tokyo"])
      }))

    it.effect("goes on after a statement that fails", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const error = yield* Effect.flip(sql`SELECT 1 / 0`)
        assert.strictEqual(error._tag, "SqlError")
        assert.strictEqual((yield* Effect.flip(sql`SELEC`)).reason._tag, "SqlSyntaxError")
        yield* sql`CREATE TABLE once (id int PRIMARY KEY)`
        yield* sql`INSERT INTO once VALUES (1)`
        assert.strictEqual((yield* Effect.flip(sql`INSERT INTO once VALUES (1)`)).reason._tag, "UniqueViolation")
        assert.deepStrictEqual(values(yield* sql`SELECT id FROM once`), [1])
      }))

    it.effect("commits, rolls back, and rolls back to a savepoint", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`CREATE TABLE tx (id int)`
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`INSERT INTO tx VALUES (1)`
          yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`INSERT INTO tx VALUES (2)`, Effect.fail("no"))))
          yield* Effect.flip(sql.withTransaction(sql`SELECT 1 / 0`))
          yield* sql.withTransaction(sql`INSERT INTO tx VALUES (3)`)
        }))
        yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`INSERT INTO tx VALUES (4)`, Effect.fail("no"))))
        assert.deepStrictEqual(values(yield* sql`SELECT id FROM tx ORDER BY id`), [1, 3])
      }))

    it.effect("keeps the statements of transactions in two connections apart", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`CREATE TABLE counter (n int)`
        yield* sql`INSERT INTO counter VALUES (0)`
        // Read, then write: without exclusion an increment would be lost.
        const increment = sql.withTransaction(Effect.gen(function*() {
          const [row] = yield* sql<{ readonly n: number }>`SELECT n FROM counter`
          yield* Effect.yieldNow
          yield* sql`UPDATE counter SET n = ${(row?.n ?? 0) + 1}`
        }))
        yield* Effect.all(Array.from({ length: 50 }, () => increment), { concurrency: 10 })
        assert.deepStrictEqual(values(yield* sql`SELECT n FROM counter`), [50])
      }))

    it.effect("answers concurrent fibers each with its own rows", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        // Every seventh one fails, and says so by its number.
        const ask = (n: number) =>
          sql<{ readonly n: number }>`SELECT ${n}::int / (${n}::int % 7)::bool::int AS n`.pipe(
            Effect.map(([row]) => row?.n),
            Effect.catch(() => Effect.succeed(n))
          )
        const numbers = Array.from({ length: 300 }, (_, n) => n)
        assert.deepStrictEqual(yield* Effect.forEach(numbers, ask, { concurrency: "unbounded" }), numbers)
      }))

    it.effect("refuses a statement that waits too long for somebody's transaction, which goes on", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const latch = yield* Deferred.make<void>()
        const transaction = yield* openTransaction(sql, latch)
        const waiting = yield* Effect.forkChild(Effect.flip(sql`SELECT 2`))
        const error = yield* passTimeUntilDone(waiting)
        assert.strictEqual(error.reason._tag, "LockTimeoutError")
        assert.isTrue(error.isRetryable)
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(transaction)
        assert.deepStrictEqual(values(yield* sql`SELECT 3`), [3])
      }))

    it.effect("lets a waiting statement be interrupted", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`CREATE TABLE interrupted (id int)`
        const latch = yield* Deferred.make<void>()
        const transaction = yield* openTransaction(sql, latch)
        const waiting = yield* Effect.forkChild(sql`INSERT INTO interrupted VALUES (1)`, { startImmediately: true })
        yield* Effect.repeat(Effect.yieldNow, { times: 20 })
        yield* Fiber.interrupt(waiting)
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(transaction)
        assert.deepStrictEqual(yield* sql`SELECT * FROM interrupted`, [])
      }))

    it.effect("notifies the connections that listen, until the last of them stops", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const [first, second] = [yield* Scope.make(), yield* Scope.make()]
        const one = yield* Scope.provide(sql.listen("News \"today\""), first)
        const two = yield* Scope.provide(sql.listen("News \"today\""), second)
        const notify = (payload: string) => sql`SELECT pg_notify('News "today"', ${payload})`
        yield* notify("a")
        assert.strictEqual((yield* Queue.take(one)).payload, "a")
        assert.strictEqual((yield* Queue.take(two)).payload, "a")

        yield* Scope.close(first, Exit.void)
        yield* sql.withTransaction(notify("b"))
        yield* Effect.flip(sql.withTransaction(Effect.andThen(notify("never"), Effect.fail("no"))))
        yield* notify("c")
        assert.strictEqual((yield* Queue.take(two)).payload, "b")
        assert.strictEqual((yield* Queue.take(two)).payload, "c")

        const channels = Effect.map(sql`SELECT pg_listening_channels()`, values)
        assert.deepStrictEqual(yield* channels, ["News \"today\""])
        yield* Scope.close(second, Exit.void)
        yield* sql`SELECT 1`
        assert.deepStrictEqual(yield* channels, [])

        const again = yield* sql.listen("News \"today\"")
        yield* notify("d")
        assert.strictEqual((yield* Queue.take(again)).payload, "d")
      }).pipe(Effect.scoped))

    it.effect("vacuums a table that is rewritten often, and cuts its log", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`CREATE TABLE hot (id int PRIMARY KEY, filler text)`
        yield* sql`INSERT INTO hot SELECT n, repeat('x', 2000) FROM generate_series(1, 1000) n`
        for (let count = 0; count < 40; count++) yield* sql`UPDATE hot SET filler = reverse(filler) || ${count}`
        for (let count = 0; count < 5_000; count++) yield* sql`SELECT 1`
        const [row] = yield* sql<{ readonly vacuums: bigint; readonly log: number }>`
          SELECT vacuum_count AS vacuums, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), redo_lsn)::float8 AS log
          FROM pg_stat_user_tables, pg_control_checkpoint() WHERE relname = 'hot'`
        assert.isAbove(Number(row?.vacuums), 0)
        assert.isBelow(row?.log ?? Infinity, 64 * 1024 * 1024)
      }))
  })

  describe("between its sessions", () => {
    const engine = Effect.flatMap(
      Database.open({ dataDir: undefined, durable: true, settings: {} }),
      (database) => Engine.make(database, { lockTimeout: Duration.seconds(5) })
    )

    it.live(
      "rolls back the transaction of one that is destroyed, and forgets what it prepared",
      () =>
        Effect.gen(function*() {
          const { connect } = yield* engine
          const config = { username: "postgres", ssl: false }
          const doomed = connect()
          const one = yield* PgConnection.make({ ...config, stream: () => doomed })
          const two = yield* PgConnection.make({ ...config, stream: connect })
          yield* two.query("CREATE TABLE t (id int)")
          yield* one.query("BEGIN")
          yield* one.query("INSERT INTO t VALUES (1)")
          const prepared = "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'"
          const waiting = yield* Effect.forkChild(two.query("SELECT * FROM t"), { startImmediately: true })
          doomed.destroy()
          assert.deepStrictEqual((yield* Fiber.join(waiting)).rows, [])
          assert.deepStrictEqual((yield* two.query(prepared)).rows, [])
        }).pipe(Effect.scoped),
      30_000
    )

    it.live("runs the pipelined cycles of one connection in order", () =>
      Effect.gen(function*() {
        const { connect } = yield* engine
        const connection = yield* PgConnection.make({
          username: "postgres",
          ssl: false,
          stream: connect,
          multiplex: true
        })
        yield* connection.query("CREATE TABLE t (id int PRIMARY KEY)")
        const numbers = Array.from({ length: 200 }, (_, n) => n)
        const exits = yield* Effect.forEach(
          numbers,
          (n) => Effect.exit(connection.query("INSERT INTO t VALUES ($1::int)", [n % 100])),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(exits.map(Exit.isSuccess), numbers.map((n) => n < 100))
      }).pipe(Effect.scoped), 30_000)
  })
})
