import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Notation from "../../src/internal/notation.ts"
import type * as Journal from "../../src/Journal.ts"
import * as SagaStore from "../../src/SagaStore.ts"
import * as Migrations from "../../src/sql/internal/migrations.ts"
import * as Names from "../../src/sql/internal/names.ts"
import * as Statements from "../../src/sql/internal/statements.ts"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import * as Postgres from "../utils/Postgres.ts"

const row: SagaStore.RowUpdate = { status: "running", result: null, worker: null, wakeAt: null, received: 0 }
const start = (execution: string, change?: Partial<SagaStore.Append>): SagaStore.Append => ({
  execution,
  seq: 0,
  token: execution,
  at: 1_000,
  entries: `[{"_tag":"SagaStarted","at":1000}]`,
  create: { name: "Order", payload: "{}" },
  row,
  ...change
})
const then = (execution: string, seq: number, change?: Partial<SagaStore.Append>): SagaStore.Append =>
  start(execution, { seq, token: `${execution}#${seq}`, create: undefined, row: undefined, ...change })
const claimBy = (worker: string, change?: { readonly margin?: number; readonly names?: ReadonlyArray<string> }) => ({
  worker,
  names: change?.names ?? ["Order"],
  limit: 10,
  now: 1_000,
  margin: change?.margin ?? 0,
  token: worker,
  entries: "[]"
})

/** A store of its own, as another process has it, on the same server. */
const open = Effect.fnUntraced(function*(
  options: SqlSagaStore.Options,
  client: Omit<PgClient.PgPoolConfig, "url"> = {}
) {
  const { url } = yield* Postgres.Postgres
  const opened = SqlSagaStore.layer(options).pipe(
    Layer.provide(Layer.fresh(PgClient.layer({ ...client, url: Redacted.make(url) })))
  )
  return Context.get(yield* Layer.build(opened), SagaStore.SagaStore).encoded
})

/** Returns when a statement of this test's store, of no other on the server, waits for another transaction's lock. */
const waitsForLock = (sql: PgClient.PgClient) =>
  Effect.repeat(
    sql<{ readonly count: number }>`SELECT count(*)::int AS count FROM pg_stat_activity
      WHERE wait_event_type = 'Lock' AND strpos(query, '"' || current_schema || '".saga_') > 0`.unprepared,
    { until: ([row]) => row!.count > 0 }
  ).pipe(
    // On another connection than the transaction's.
    Effect.updateContext((context: Context.Context<never>): Context.Context<never> =>
      Context.omit(sql.transactionService)(context)
    )
  )

/** Drops a schema that a test names itself. */
const dropAfterwards = (schema: string) =>
  Effect.acquireRelease(
    Effect.succeed(schema),
    () =>
      Effect.flatMap(PgClient.PgClient, (sql) =>
        Effect.orDie(sql.unsafe(`DROP SCHEMA IF EXISTS ${Names.quote(schema)} CASCADE`)))
  )

layer(Postgres.layer("sql"), { excludeTestServices: true })("the tables", (it) => {
  it.effect("are made once by many processes that start at once on an empty database", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const fresh = yield* dropAfterwards(`${schema}_fresh`)
      const stores = yield* Effect.forEach(Array.from({ length: 6 }), () => open({ schema: fresh }), {
        concurrency: "unbounded"
      })
      const kept = yield* Effect.forEach(stores, (store) => store.append([start("a")]), { concurrency: "unbounded" })
      assert.strictEqual(kept.flat().filter((_) => _).length, 1)
      const applied = yield* sql.unsafe<{ readonly name: string }>(
        `SELECT name FROM ${Names.quote(fresh)}.saga_migration`
      )
      assert.deepStrictEqual(applied.map((_) => _.name), [
        "tables",
        "lists",
        "messages",
        "notation",
        "rows",
        "generations"
      ])
    }))

  it.effect("of the first version are brought up to date with what is in them", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const old = yield* dropAfterwards(`${schema}_old`)
      const table = (name: string) => `${Names.quote(old)}.${name}`
      const migrations = Migrations.statements(Names.make(old))
      const run = (statements: ReadonlyArray<string>) =>
        Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared)
      yield* run([`CREATE SCHEMA ${Names.quote(old)}`])
      yield* run(migrations["0001_tables"])
      yield* run([
        `CREATE TABLE ${table("saga_migration")} (
          migration_id integer PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), name text NOT NULL
        )`,
        `INSERT INTO ${table("saga_migration")} (migration_id, name) VALUES (1, 'tables')`,
        `INSERT INTO ${table("saga_execution")}
          (id, name, status, payload, worker, mail, received, created_at, updated_at)
          VALUES ('a', 'Order', 'running', '{}', 'w', 0, 0, to_timestamp(1), to_timestamp(2))`,
        `INSERT INTO ${table("saga_journal")} (execution, seq, token, at, entries) VALUES
          ('a', 0, 'first', to_timestamp(1), '[{"_tag":"SagaStarted","at":1000}]'),
          ('a', 1, 'second', to_timestamp(2), '[{"_tag":"PivotPassed","at":2000}]')`
      ])
      const store = yield* open({ schema: old })
      const found = yield* store.read("a")
      assert.deepStrictEqual([found?.version, found?.tags, found?.updatedAt], [1, {}, 2_000])
      assert.deepStrictEqual(yield* store.journal("a"), [
        { seq: 0, token: "first", at: 1_000, entries: `[{"_tag":"SagaStarted","at":1000}]` },
        { seq: 1, token: "second", at: 2_000, entries: `[{"_tag":"PivotPassed","at":2000}]` }
      ])
      const tags = yield* sql.unsafe(`SELECT tag FROM ${table("saga_entry")} ORDER BY seq`)
      assert.deepStrictEqual(tags, [{ tag: "SagaStarted" }, { tag: "PivotPassed" }])
      assert.deepStrictEqual(yield* store.append([start("a")]), [false])
      assert.deepStrictEqual(yield* store.append([then("a", 2, { row })]), [true])
      yield* store.append([start("b", { create: { name: "Order", payload: "{}", version: 2, tags: { t: "1" } } })])
      const query = { names: ["Order"], statuses: undefined, versions: [1], tags: {}, createdFrom: undefined }
      const rest = { createdBefore: undefined, search: undefined, order: "newest", after: undefined, limit: 9 } as const
      assert.deepStrictEqual((yield* store.list({ ...query, ...rest })).map((_) => _.id), ["a"])
    }))

  it.effect("lie in any schema, whatever its name", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      for (const name of [`Sch"e'ma`, "with.dot", "UPPER case", "semi;colon--", "$1 %s \\", "漢字🦕", `a"."b`]) {
        const hostile = yield* dropAfterwards(`${schema.slice(-8)} ${name}`)
        const store = yield* open({ schema: hostile })
        // Again, on the tables that are there.
        yield* open({ schema: hostile })
        assert.deepStrictEqual(yield* store.append([start("a", { row: { ...row, wakeAt: 1 } })]), [true])
        assert.deepStrictEqual(yield* store.claim(claimBy("w")), [{ id: "a", seq: 1 }])
        yield* store.wake
      }
    }))

  it.effect("keep two schemas of one database apart", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const one = yield* open({ schema: yield* dropAfterwards(`${schema}.one`) })
      const two = yield* open({ schema: yield* dropAfterwards(`${schema}.two`) })
      yield* one.append([start("a", { row: { ...row, wakeAt: 1 } })])
      assert.deepStrictEqual(yield* two.claim(claimBy("w")), [])
      assert.deepStrictEqual(yield* two.append([start("a")]), [true])
    }))

  for (
    const [schema, why] of [["", /needs a name/], ["pg_saga", /keeps this name/], ["$user", /keeps this name/], [
      "x".repeat(64),
      /cuts names off at 63 bytes/
    ]] as const
  ) {
    it.effect(`refuse the name ${JSON.stringify(schema.slice(0, 8))} for their schema, and say why`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(open({ schema }))
        assert.instanceOf(error, SagaStore.StoreError)
        assert.isFalse(error.retryable)
        assert.match(String(error.cause), why)
      }))
  }

  it.effect("are not touched by a store that does not migrate, which then fails where they are missing", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema: `${schema}_none`, migrate: false })
      const error = yield* Effect.flip(store.append([start("a")]))
      assert.deepStrictEqual([error._tag, error.operation, error.retryable], ["StoreError", "append", false])
      const found = yield* sql`SELECT 1 FROM pg_namespace WHERE nspname = ${`${schema}_none`}`
      assert.deepStrictEqual(found, [])
    }))

  it.effect("show each entry as a row of saga_entry", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const entries = JSON.stringify([{ _tag: "PivotPassed", at: 2_000 }, {
        _tag: "SagaCompleted",
        at: 3_000,
        value: { "it's": "\\ \u2028 🦕" }
      }])
      yield* store.append([start("shown")])
      yield* store.append([then("shown", 1, { entries })])
      const rows = yield* sql.unsafe(
        `SELECT seq::int, index::int, tag, at, entry FROM ${Names.make(schema).entry}
         WHERE execution = 'shown' ORDER BY 1, 2`
      )
      assert.deepStrictEqual(rows, [
        { seq: 0, index: 0, tag: "SagaStarted", at: new Date(1_000), entry: { _tag: "SagaStarted", at: 1_000 } },
        { seq: 1, index: 0, tag: "PivotPassed", at: new Date(2_000), entry: { _tag: "PivotPassed", at: 2_000 } },
        { seq: 1, index: 1, tag: "SagaCompleted", at: new Date(3_000), entry: JSON.parse(entries)[1] }
      ])
    }))

  it.effect("spell out in saga_entry what is stored short", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const entries: ReadonlyArray<Journal.Entry> = [
        { _tag: "Claimed", at: 4_000, worker: "w" },
        { _tag: "StepSucceeded", at: 3_999, name: "A", occurrence: 1, attempt: 2, value: null },
        { _tag: "StepStarted", at: 4_000, name: "true", kind: "pivot" },
        { _tag: "VersionMarked", at: 4_000, change: "c", version: 2 },
        { _tag: "CompensationStarted", at: 4_000, name: "A" },
        { _tag: "CompensationSucceeded", at: 4_000, name: "A", attempt: 3 },
        { _tag: "SignalReceived", at: 4_000, name: "Go", mail: 1, signal: "Go", value: true },
        { _tag: "PivotPassed", at: 4_000 },
        { _tag: "SagaCompleted", at: 4_000, value: true }
      ]
      yield* store.append([start("short")])
      yield* store.append([then("short", 1, { at: 4_000, entries: Notation.encode(entries, 4_000) })])
      const rows = yield* sql.unsafe(
        `SELECT index::int, tag, at, entry FROM ${Names.make(schema).entry}
         WHERE execution = 'short' AND seq = 1 ORDER BY 1`
      )
      assert.deepStrictEqual(
        rows,
        entries.map((entry, index) => ({ index, tag: entry._tag, at: new Date(entry.at), entry }))
      )
    }))
})

layer(Postgres.layer("sql"), { excludeTestServices: true })("the statements", (it) => {
  it.effect("of append never look at a table but through the key that it names", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      yield* open({ schema })
      const { append, appendRows, careful, starts } = Statements.make(Names.make(schema))
      const texts = [[append, 5, []], [starts, 14, []], [appendRows, 19, []], [careful, 19, ["1"]]] as const
      for (const [text, arrays, more] of texts) {
        const parameters = [...Array.from({ length: arrays }, () => "{}"), ...more]
        const lines = yield* sql.unsafe<{ "QUERY PLAN": string }>(`EXPLAIN ${text}`, parameters).unprepared
        const scans = lines.map((line) => line["QUERY PLAN"]).filter((line) => /Scan/.test(line))
        assert.deepStrictEqual(scans.filter((line) => !/(?:Function|CTE|Subquery) Scan/.test(line)), [])
        assert.deepStrictEqual(lines.filter((line) => /Join|Nested Loop/.test(line["QUERY PLAN"])), [])
      }
    }))

  it.effect("of append are prepared once, whatever a batch holds", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const one = PgClient.layer({ url: Redacted.make((yield* Postgres.Postgres).url), maxConnections: 1 })
      const client = Context.get(yield* Layer.build(one), PgClient.PgClient)
      const store = yield* Effect.provideService(SqlSagaStore.makeEncoded({ schema }), PgClient.PgClient, client)
      yield* store.append([start("a"), start("b", { row: { ...row, worker: "w", wakeAt: 8.1e15, result: "1" } })])
      yield* store.append([then("a", 1)])
      yield* store.append([then("a", 2), then("b", 1, { at: 2 ** 40 })])
      yield* store.append([then("a", 3, { row: { ...row, received: 2e9 } })])
      yield* store.append([start("c", { at: 0.5 }), then("b", 2, { row: { ...row, wakeAt: 0.5 } }), then("a", 4)])
      yield* store.append(Array.from({ length: 300 }, (_, index) => start(`many ${index}`)))
      const { prepared } = (yield* client<{ readonly prepared: number }>`
        SELECT count(*)::int AS prepared FROM pg_prepared_statements WHERE statement LIKE '%INSERT INTO%FROM unnest(%'
      `.unprepared)[0]!
      assert.strictEqual(prepared, 3)
    }))

  it.effect("of a start that is taken write nothing, so that joining an execution costs no commit", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const batch = [start("joined"), start("joined too")]
      yield* store.append(batch)
      assert.deepStrictEqual(yield* store.append(batch.map((one) => ({ ...one, token: "late" }))), [false, false])
      const lockers = yield* sql.unsafe<{ readonly locker: string }>(
        `SELECT xmax::text AS locker FROM ${Names.make(schema).execution} WHERE id LIKE 'joined%'`
      ).unprepared
      assert.deepStrictEqual(lockers.map((_) => _.locker), ["0", "0"])
    }))

  it.effect("of appends that change rows and those of claims take them in one order, so that none is a victim", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const { execution, journal } = Names.make(schema)
      yield* store.append([start("ordered", { row: { ...row, worker: "w" } })])
      // As a claim does: the row, then the place in the journal, which the batch has not taken while it waits.
      const fiber = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql.unsafe(`SELECT 1 FROM ${execution} WHERE id = 'ordered' FOR UPDATE`)
        const fiber = yield* Effect.forkDetach(
          store.append([then("ordered", 1, { row: { ...row, status: "parked" } })])
        )
        yield* waitsForLock(sql)
        yield* sql.unsafe(`SET LOCAL lock_timeout = '500ms'`)
        yield* sql.unsafe(
          `INSERT INTO ${journal} (execution, seq, token, at, entries) VALUES ('ordered', 1, 'claim', now(), '[]')`
        )
        return fiber
      }))
      assert.deepStrictEqual(yield* Fiber.join(fiber), [false])
      assert.strictEqual((yield* store.read("ordered"))?.status, "running")
    }))

  it.effect("are transactions of their own, also inside one of the caller", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* SqlSagaStore.makeEncoded({ schema })
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(
        Effect.all([store.append([start("outside")]), store.register("w", 1_000)]),
        Effect.fail("roll back")
      )))
      assert.isNotNull(yield* store.read("outside"))
      assert.isTrue(yield* store.renew("w", 1_000))
    }))

  it.effect("do not depend on how the client names things", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const store = yield* open({ schema }, {
        transformResultNames: (name) => name.toUpperCase(),
        transformQueryNames: (name) => `x_${name}`,
        prepare: false
      })
      yield* store.append([start("named", { row: { ...row, wakeAt: 7 } })])
      assert.strictEqual((yield* store.read("named"))?.wakeAt, 7)
      assert.strictEqual((yield* store.journal("named")).length, 1)
    }))

  it.effect("carry and read more than one message of the driver holds", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const store = yield* open({ schema })
      const big = JSON.stringify(["🦕".repeat(5_000_000)])
      assert.isAbove(big.length * 2, 16 * 1024 * 1024)
      const appends = ["big 1", "big 2"].map((id) => start(id, { entries: big, create: { name: "Big", payload: big } }))
      assert.deepStrictEqual(yield* store.append(appends), [true, true])
      assert.isTrue((yield* store.read("big 2"))?.payload === big)
      assert.isTrue((yield* store.journal("big 2"))[0]?.entries === big)
    }))

  it.effect("are sent again when the database undoes one to end a deadlock", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const { journal } = Names.make(schema)
      const insert = (id: string) =>
        sql.unsafe(
          `INSERT INTO ${journal} (execution, seq, token, at, entries) VALUES ($1, 1, 'raw', now(), '[]')
           ON CONFLICT DO NOTHING`,
          [id]
        )
      // The transaction holds y and wants x, the batch holds x and wants y: who waits first is the one undone.
      const fiber = yield* sql.withTransaction(Effect.gen(function*() {
        yield* insert("deadlock y")
        const fiber = yield* Effect.forkDetach(
          store.append([then("deadlock x", 1), then("deadlock y", 1), then("deadlock z", 1)])
        )
        yield* waitsForLock(sql)
        // By less than the second after which each of them looks, and by more than a busy machine delays one.
        yield* sql`SELECT pg_sleep(0.4)`
        yield* insert("deadlock x")
        return fiber
      }))
      assert.deepStrictEqual(yield* Fiber.join(fiber), [false, false, true])
    }))

  it.effect("of a list find by a tag that thousands have what they find by one that few have", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const memory = yield* SagaStore.makeMemory
      const store = yield* open({ schema })
      const appends = Array.from({ length: 5_200 }, (_, index) =>
        start(`tagged ${index % 7} ${index}`, {
          at: 1_000 + Math.floor(index / 3),
          create: {
            name: index % 5 === 0 ? "Tagged b" : "Tagged a",
            payload: "{}",
            version: 1 + index % 3,
            tags: { all: "yes", ...(index % 500 === 9 ? { few: "yes" } : {}) }
          },
          row: { ...row, status: index % 4 === 0 ? "completed" : "running" }
        }))
      for (const each of [memory, store]) yield* each.append(appends)
      const whole: SagaStore.Query = {
        names: undefined,
        statuses: undefined,
        versions: undefined,
        tags: {},
        createdFrom: undefined,
        createdBefore: undefined,
        search: undefined,
        order: "newest",
        after: undefined,
        limit: 20
      }
      const after = { createdAt: 1_900, id: "tagged 3" }
      for (const tags of [{ all: "yes" }, { few: "yes" }, { all: "yes", few: "yes" }, { all: "no" }]) {
        for (
          const change of [
            {},
            { order: "oldest" },
            { after },
            { order: "oldest", after },
            { names: ["Tagged b", "Tagged a", "Tagged b"] },
            { names: ["Tagged b"] },
            { names: ["Nobody"] },
            { statuses: ["completed", "parked"] },
            { statuses: ["running"] },
            { versions: [2, 9, 2 ** 33] },
            { search: "TAGGED 3" },
            { createdFrom: 1_200, createdBefore: 1_204 }
          ] satisfies ReadonlyArray<Partial<SagaStore.Query>>
        ) {
          const query = { ...whole, ...change, tags }
          assert.deepStrictEqual(yield* store.list(query), yield* memory.list(query), JSON.stringify(query))
        }
      }
    }))

  it.effect("of a claim look cheap to the planner before it has statistics, so that it compiles none of them", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const { claim, claimAndRead } = Statements.make(Names.make(schema))
      yield* store.append(Array.from(
        { length: 5_000 },
        (_, index) => start(`owned ${index}`, { row: { ...row, worker: "live" } })
      ))
      const due = ["w", "{Order,Refund}", 64, new Date(1_000), 0, "token", "[]"]
      for (const text of [claim, claimAndRead]) {
        const [plan] = yield* sql.unsafe<{ "QUERY PLAN": ReadonlyArray<{ Plan: { "Total Cost": number } }> }>(
          `EXPLAIN (FORMAT JSON) ${text}`,
          [...due, "{Order,Order,Refund}", "{1,2,1}"]
        ).unprepared
        // PostgreSQL compiles from 100,000 on, which takes a hundred times as long as the statement.
        assert.isBelow(plan!["QUERY PLAN"][0]!.Plan["Total Cost"], 10_000)
      }
    }))

  it.effect("of a claim read what is short with it, and leave the rest to whoever takes it up", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const store = yield* open({ schema })
      const long = JSON.stringify(["x".repeat(Statements.maxClaimed.bytes)])
      const quarter = JSON.stringify(["x".repeat(Statements.maxClaimed.bytes / 4)])
      const due = { ...row, wakeAt: 1 }
      const create = { name: "Short", payload: "{}" }
      yield* store.append([
        start("long append", { create }),
        start("long first", { create, entries: long, row: due }),
        start("long payload", { create: { ...create, payload: long }, row: due }),
        start("long result", { create, row: { ...due, result: long } }),
        start("long together", { create: { ...create, payload: quarter }, row: { ...due, result: quarter } }),
        start("many", { create, row: due }),
        start("short", { create: { ...create, payload: quarter }, row: { ...due, result: quarter } })
      ])
      yield* store.append([
        then("long append", 1, { entries: long, row: due }),
        then("long together", 1, { entries: quarter }),
        then("short", 1, { entries: quarter })
      ])
      yield* store.append([then("long together", 2, { entries: quarter }), then("short", 2)])
      for (let seq = 1; seq <= Statements.maxClaimed.appends + 1; seq++) yield* store.append([then("many", seq)])
      const claimed = yield* store.claim({ ...claimBy("w", { names: ["Short"] }), reads: true })
      assert.strictEqual(claimed.length, 7)
      assert.deepStrictEqual(claimed.filter(({ stored }) => stored !== undefined).map(({ id }) => id), ["short"])
    }))

  it.effect("of a claim pass over a row that somebody has locked", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const create = { name: "Locked", payload: "{}" }
      const claim = store.claim(claimBy("claimer", { names: ["Locked"] }))
      yield* store.append([
        start("locked due", { create, row: { ...row, wakeAt: 1 } }),
        start("locked orphan", { create, row: { ...row, worker: "nobody" } }),
        start("free", { create, row: { ...row, wakeAt: 2 } })
      ])
      yield* store.register("claimer", 600_000)
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql.unsafe(`SELECT id FROM ${Names.make(schema).execution} WHERE id LIKE 'locked%' FOR UPDATE`)
        assert.deepStrictEqual(yield* claim, [{ id: "free", seq: 1 }])
      }))
      const ids = (yield* claim).map((_) => _.id)
      assert.deepStrictEqual(ids, ["locked orphan", "locked due"])
    }))

  it.effect("of a claim leave an execution to the owner whose append comes between", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const create = { name: "Contended", payload: "{}" }
      const claim = store.claim(claimBy("claimer", { names: ["Contended"] }))
      yield* store.append([start("zombie", { create, row: { ...row, worker: "gone" } })])
      yield* store.register("claimer", 600_000)
      const claiming = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql.unsafe(
          `INSERT INTO ${Names.make(schema).journal} (execution, seq, token, at, entries)
           VALUES ('zombie', 1, 'late', now(), '[]')`
        )
        const claiming = yield* Effect.forkDetach(claim)
        yield* waitsForLock(sql)
        return claiming
      }))
      assert.deepStrictEqual(yield* Fiber.join(claiming), [])
      assert.strictEqual((yield* store.read("zombie"))?.worker, "gone")
      assert.deepStrictEqual(yield* claim, [{ id: "zombie", seq: 2 }])
    }))

  it.effect("fail as retryable while the database does not answer", () =>
    Effect.gen(function*() {
      const nowhere = PgClient.layer({ path: "/nowhere/.s.PGSQL.5432", username: "nobody" })
      const failures = yield* Effect.gen(function*() {
        const store = yield* SqlSagaStore.makeEncoded({ migrate: false })
        return [yield* Effect.flip(SqlSagaStore.migrate()), yield* Effect.flip(store.append([start("a")]))] as const
      }).pipe(Effect.provide(nowhere))
      assert.deepStrictEqual(failures.map((_) => [_._tag, _.operation, _.retryable]), [
        ["StoreError", "migrate", true],
        ["StoreError", "append", true]
      ])
    }))
})

layer(Postgres.layer("sql"), { excludeTestServices: true })("a store", (it) => {
  it.effect("that is alone ends all leases when it starts", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const before = yield* open({ schema })
      yield* before.register("before", 600_000)
      yield* before.append([start("a", { row: { ...row, worker: "before" } })])
      const beside = yield* open({ schema })
      yield* beside.register("beside", 600_000)
      assert.deepStrictEqual(yield* beside.claim(claimBy("beside")), [])
      const alone = yield* open({ schema, exclusive: true })
      yield* alone.register("alone", 600_000)
      assert.deepStrictEqual(yield* alone.claim(claimBy("alone", { margin: 600_000 })), [{ id: "a", seq: 1 }])
      assert.isFalse(yield* before.renew("before", 600_000))
    }))

  it.effect("listens again when its connection is lost, and looks for work then", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const sql = yield* PgClient.PgClient
      const store = yield* open({ schema })
      const wakes = yield* Queue.unbounded<void>()
      yield* Effect.forkScoped(store.listen(Effect.asVoid(Queue.offer(wakes, undefined))))
      yield* Queue.take(wakes)
      for (let round = 0; round < 2; round++) {
        const ended = yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE query = ${`LISTEN ${Names.quote(Names.make(schema).channel)}`}`
        assert.strictEqual(ended.length, 1)
        yield* Queue.take(wakes)
        yield* store.wake
        yield* Queue.take(wakes)
      }
    }))

  it.effect("works on a pool of one connection, also while it listens", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const store = yield* open({ schema }, { maxConnections: 1 })
      const begun = yield* Deferred.make<void>()
      yield* Effect.forkScoped(store.listen(Effect.asVoid(Deferred.succeed(begun, undefined))))
      yield* Deferred.await(begun)
      assert.deepStrictEqual(yield* store.append([start("one")]), [true])
    }))

  it.effect("finishes what many fibers append at once, and refuses none", () =>
    Effect.gen(function*() {
      const { schema } = yield* Postgres.Postgres
      const store = yield* open({ schema })
      const kept = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, index) => index),
        (index) => store.append([start(`many ${index}`)]),
        { concurrency: "unbounded" }
      )
      assert.isTrue(kept.every(([kept]) => kept === true))
    }))
})

describe("names", () => {
  it("quotes any identifier as one", () => {
    assert.strictEqual(Names.quote(`a"b.c`), `"a""b.c"`)
  })

  it("cuts a channel off where Postgres would", () => {
    const length = (schema: string) => new TextEncoder().encode(Names.make(schema).channel).length
    assert.strictEqual(Names.make("saga").channel, "saga_wake_saga")
    assert.strictEqual(length("x".repeat(63)), 63)
    assert.isAtMost(length("漢".repeat(21)), 63)
  })
})
