import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as FolderLock from "../../src/pglite/internal/folderLock.ts"
import { freshFolder, startChild } from "./harness.ts"

const beside = (dataDir: string): ReadonlyArray<string> => fs.readdirSync(path.dirname(dataDir)).toSorted()

const writeLock = (dataDir: string, holder: { readonly pid: number; readonly started: string }): void =>
  fs.writeFileSync(`${dataDir}.lock`, JSON.stringify({ ...holder, token: "theirs" }))

const readLock = (dataDir: string): { readonly pid: number; readonly started: string; readonly token: string } =>
  JSON.parse(fs.readFileSync(`${dataDir}.lock`, "utf8"))

/** An id above what Linux gives out. */
const nobody = 2 ** 22 + 1

describe("the lock of a folder", () => {
  it.effect("names its holder, and goes with the scope", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      const scope = yield* Scope.make()
      yield* Scope.provide(FolderLock.acquire(dataDir), scope)
      assert.strictEqual(readLock(dataDir).pid, process.pid)
      assert.deepStrictEqual(beside(dataDir), ["db.lock"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(beside(dataDir), [])
    }).pipe(Effect.scoped))

  it.effect("is refused while its holder lives", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      yield* FolderLock.acquire(dataDir)
      const before = readLock(dataDir)
      const error = yield* Effect.flip(Effect.scoped(FolderLock.acquire(dataDir)))
      assert.strictEqual(error.reason._tag, "FolderInUse")
      assert.deepStrictEqual(readLock(dataDir), before)
      assert.deepStrictEqual(beside(dataDir), ["db.lock"])
    }).pipe(Effect.scoped))

  it.effect("is not held by a process that only has the id of its holder", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      // This process is alive, and began at another time than the holder.
      writeLock(dataDir, { pid: process.pid, started: "an earlier boot/1" })
      yield* FolderLock.acquire(dataDir)
      assert.notStrictEqual(readLock(dataDir).token, "theirs")
      assert.deepStrictEqual(beside(dataDir), ["db.lock"])
    }).pipe(Effect.scoped))

  it.effect("is held by a process of this id where nobody knows when it began", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      writeLock(dataDir, { pid: process.ppid, started: "" })
      const error = yield* Effect.flip(Effect.scoped(FolderLock.acquire(dataDir)))
      assert.include(error.message, `in use by process ${process.ppid}`)
    }).pipe(Effect.scoped))

  it.effect("is taken over from a file that was cut off", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      fs.writeFileSync(`${dataDir}.lock`, "{\"pid\":")
      yield* FolderLock.acquire(dataDir)
      assert.strictEqual(readLock(dataDir).pid, process.pid)
    }).pipe(Effect.scoped))

  it.effect("is taken over from one who died while taking it over", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      const holder = (token: string) => JSON.stringify({ pid: nobody, started: "never", token })
      fs.writeFileSync(`${dataDir}.lock`, holder("first"))
      fs.writeFileSync(`${dataDir}.lock.first`, holder("second"))
      fs.writeFileSync(`${dataDir}.lock.second.new`, holder("second"))
      yield* FolderLock.acquire(dataDir)
      assert.strictEqual(readLock(dataDir).pid, process.pid)
      assert.deepStrictEqual(beside(dataDir), ["db.lock"])
    }).pipe(Effect.scoped))

  it.effect("waits behind one who lives and is taking it over", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      writeLock(dataDir, { pid: nobody, started: "never" })
      fs.writeFileSync(
        `${dataDir}.lock.theirs`,
        JSON.stringify({ pid: process.ppid, started: "", token: "taker" })
      )
      const error = yield* Effect.flip(Effect.scoped(FolderLock.acquire(dataDir)))
      assert.include(error.message, `in use by process ${process.ppid}`)
    }).pipe(Effect.scoped))

  it.live("has one holder at a time, however many take it over at once", () =>
    Effect.gen(function*() {
      const dataDir = yield* freshFolder
      const children = yield* Effect.all(Array.from({ length: 4 }, () => startChild("lock", dataDir, "100")))
      yield* Effect.forEach(children, (child) => child.exited, { concurrency: "unbounded" })
      // A child that met another one inside has died without a result.
      const results: ReadonlyArray<{ readonly taken: number; readonly reasons: ReadonlyArray<string> }> = children
        .flatMap((child) => child.lines.map((line) => JSON.parse(line)))
      assert.deepStrictEqual(results.map(({ taken }) => taken), [100, 100, 100, 100])
      assert.deepStrictEqual(Array.from(new Set(results.flatMap(({ reasons }) => reasons))), ["FolderInUse"])
    }).pipe(Effect.scoped), 60_000)
})
