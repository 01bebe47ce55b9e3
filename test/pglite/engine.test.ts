import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { Duplex } from "node:stream"
import type { Database } from "../../src/pglite/internal/database.ts"
import * as Engine from "../../src/pglite/internal/engine.ts"
import * as Protocol from "../../src/pglite/internal/protocol.ts"

const startup = Buffer.from([0, 0, 0, 9, 0, 3, 0, 0, 0])
const sync = Protocol.message("S", Buffer.alloc(0))

/** One statement in the extended form, under a name of its own. */
const statement = (sql: string): Buffer =>
  Buffer.concat([
    Protocol.message("P", Buffer.from(`${sql}\0${sql}\0\0\0`)),
    Protocol.message("B", Buffer.from(`\0${sql}\0\0\0\0\0\0\0`)),
    sync
  ])

/** Logs what runs and what is answered. The flush of the log fails when `canFlush` says so. */
const setup = (canFlush: () => boolean = () => true) =>
  Effect.gen(function*() {
    const log: Array<string> = []
    let status = "I"
    const database: Database = {
      needsFlush: true,
      output: () => "",
      exec: (cycle) => {
        const bytes = Buffer.from(cycle)
        const sql = bytes[0] === Protocol.Frontend.query ?
          bytes.toString("utf8", 5, bytes.length - 1)
          : bytes[0] === Protocol.Frontend.parse ?
          Protocol.readParse(bytes).sql
          : "close"
        const isFlush = sql.includes("pg_logical_emit_message")
        log.push(isFlush ? "flush" : sql)
        if (sql === "lost") return Buffer.alloc(0)
        if (sql === "BEGIN") status = "T"
        if (sql === "COMMIT" || sql === "ROLLBACK") status = "I"
        const body = isFlush && !canFlush()
          ? Protocol.message("E", Buffer.from("SERROR\0\0"))
          : Protocol.message("C", Buffer.from(`${sql.replace(" AND CHAIN", "")}\0`))
        return Buffer.concat([body, Protocol.message("Z", Buffer.from(status))])
      }
    }
    const engine = yield* Engine.make(database, { lockTimeout: Duration.seconds(5) })
    const connect = (name: string): Duplex => {
      const stream = engine.connect()
      stream.on("error", (error) => log.push(`${name} failed: ${error.message}`))
      stream.write(startup)
      stream.on("data", (chunk: Buffer) => {
        if (chunk[0] !== 0x52) log.push(`${name} answered`)
      })
      return stream
    }
    return { connect, engine, log }
  })

/** Lets the engine work off what it was given. */
const settle = Effect.repeat(Effect.yieldNow, { times: 20 })

describe("the engine", () => {
  it.effect("flushes once for the commits of a round, before any of them is answered", () =>
    Effect.gen(function*() {
      const { connect, log } = yield* setup()
      connect("a").write(statement("one"))
      connect("b").write(statement("two"))
      yield* settle
      assert.deepStrictEqual(log, ["one", "two", "flush", "a answered", "b answered"])
    }).pipe(Effect.scoped))

  it.effect("flushes what is held before another session opens its transaction", () =>
    Effect.gen(function*() {
      const { connect, log } = yield* setup()
      const [a, b] = [connect("a"), connect("b")]
      a.write(statement("one"))
      b.write(statement("BEGIN"))
      yield* settle
      assert.deepStrictEqual(log, ["one", "flush", "a answered", "BEGIN", "b answered"])
      log.length = 0
      a.write(statement("two"))
      b.write(statement("inside"))
      yield* settle
      assert.deepStrictEqual(log, ["inside", "b answered"])
      log.length = 0
      b.write(statement("COMMIT"))
      yield* settle
      assert.deepStrictEqual(log, ["COMMIT", "two", "flush", "b answered", "a answered"])
    }).pipe(Effect.scoped))

  it.effect("flushes a commit that opens the next transaction at once", () =>
    Effect.gen(function*() {
      const { connect, log } = yield* setup()
      const a = connect("a")
      a.write(statement("BEGIN"))
      a.write(Protocol.query("COMMIT AND CHAIN"))
      yield* settle
      assert.deepStrictEqual(log, ["BEGIN", "a answered", "COMMIT AND CHAIN", "flush", "a answered"])
    }).pipe(Effect.scoped))

  it.effect("answers no commit whose flush failed", () =>
    Effect.gen(function*() {
      const { connect, log } = yield* setup(() => false)
      connect("a").write(statement("one"))
      yield* settle
      assert.notInclude(log, "a answered")
      assert.include(log.join(), "a failed: The log could not be flushed: it is unknown whether this committed")
    }).pipe(Effect.scoped))

  it.effect("ends every session, also a later one, when its backend is lost", () =>
    Effect.gen(function*() {
      const { connect, log } = yield* setup()
      const a = connect("a")
      connect("b").write(statement("lost"))
      yield* settle
      connect("c")
      yield* settle
      assert.isTrue(a.destroyed)
      for (const name of ["a", "b", "c"]) {
        assert.include(log.join(), `${name} failed: The embedded database has stopped`)
      }
    }).pipe(Effect.scoped))

  it.effect("reads cycles from pieces of any size", () =>
    Effect.gen(function*() {
      const { connect, log } = yield* setup()
      const a = connect("a")
      for (const byte of Buffer.concat([statement("one"), statement("two")])) a.write(Buffer.from([byte]))
      yield* settle
      assert.deepStrictEqual(log, ["one", "two", "flush", "a answered", "a answered"])
    }).pipe(Effect.scoped))
})
