/**
 * Opens PGlite, in memory or in a folder, and makes it keep what it acknowledges.
 *
 * PGlite leaves three things to its user, and this module is their answer. Its files reach the disk only when the
 * operating system likes: one hook passes every flush of the database on. It creates a folder file by file: here a
 * new database is made beside its place and renamed. It lets two processes open one folder: here a lock keeps them
 * apart. It never runs SQL that a user wrote.
 *
 * @since 0.1.0
 */
import type { PGlite, PGliteOptions } from "@electric-sql/pglite"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import { CannotFlush, NotADatabase, OpenFailed, PeerMissing, PgliteError } from "../PgliteError.ts"
import * as FolderLock from "./folderLock.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What to open. */
export interface Options {
  /** `undefined` keeps everything in memory. */
  readonly dataDir: string | undefined
  readonly durable: boolean
  /** Settings of the one backend. */
  readonly settings: Readonly<Record<string, string>>
}

/** An open database: a backend that runs one cycle of the wire protocol at a time, in the caller's stack. */
export interface Database {
  /** Answers with whole messages. Without a `ReadyForQuery` among them the backend is lost. */
  readonly exec: (cycle: Uint8Array) => Buffer
  /** Whether a commit is not on the disk before the log is flushed, so that one flush can serve many commits. */
  readonly needsFlush: boolean
  /** The last lines of the database's own log. */
  readonly output: () => string
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** Opens the database; the scope closes it and gives its folder free. */
export const open = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Database, PgliteError, Scope.Scope> {
  const { PGlite } = yield* load
  const output = makeOutput()
  if (options.dataDir === undefined) {
    const settings = { ...commonSettings, ...options.settings }
    const startParams = [...PGlite.defaultStartParams, ...toStartParams(settings)]
    const db = yield* start(undefined, output, () => PGlite.create({ startParams, onStderr: output.write }))
    return { exec: makeExec(db, output), needsFlush: false, output: output.read }
  }
  const dataDir = yield* attempt(options.dataDir, "looking for its folder", () => resolveFolder(options.dataDir ?? ""))
  yield* FolderLock.acquire(dataDir)
  yield* attempt(dataDir, "removing what an earlier start left", () => removeLeftovers(dataDir))
  if (!(yield* isDatabase(dataDir))) {
    yield* initialise(
      dataDir,
      options.durable,
      output,
      (fresh) => PGlite.create({ dataDir: fresh, onStderr: output.write }).then((db) => db.close())
    )
  }
  const flusher = makeFlusher(dataDir)
  const settings = { ...commonSettings, ...(options.durable ? durableSettings : {}), ...options.settings }
  const startParams = [
    // `-F` turns every flush off.
    ...PGlite.defaultStartParams.filter((param) => !(options.durable && param === "-F")),
    ...toStartParams(settings)
  ]
  const db = yield* start(
    dataDir,
    output,
    () => PGlite.create({ dataDir, startParams, onStderr: output.write, ...(options.durable ? flusher.options : {}) })
  )
  if (options.durable) yield* proveFlush(dataDir, db, flusher)
  return { exec: makeExec(db, output), needsFlush: options.durable, output: output.read }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/**
 * PGlite has no background processes. Nothing else shrinks the log than our own checkpoints, so little of it is kept;
 * a cache of 16 MB instead of 128 MB, because the operating system caches the files of an in-process database too.
 */
const commonSettings = { shared_buffers: "16MB", min_wal_size: "32MB", max_wal_size: "64MB" }

/** Of the flush methods only `fsync` reaches the hook. A commit itself does not flush: one flush serves many. */
const durableSettings = { wal_sync_method: "fsync", synchronous_commit: "off" }

const toStartParams = (settings: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])

const load = Effect.tryPromise({
  try: () => import("@electric-sql/pglite"),
  catch: (cause) =>
    new PgliteError({
      reason: Predicate.hasProperty(cause, "code") && cause.code === "ERR_MODULE_NOT_FOUND"
        ? new PeerMissing({ cause })
        : new OpenFailed({ dataDir: undefined, while: "loading @electric-sql/pglite", output: "", cause })
    })
})

const openFailed = (dataDir: string | undefined, doing: string, output: string, cause: unknown): PgliteError =>
  new PgliteError({ reason: new OpenFailed({ dataDir, while: doing, output, cause }) })

const attempt = <A>(dataDir: string, doing: string, evaluate: () => A): Effect.Effect<A, PgliteError> =>
  Effect.try({ try: evaluate, catch: (cause) => openFailed(dataDir, doing, "", cause) })

const start = (
  dataDir: string | undefined,
  output: Output,
  create: () => Promise<PGlite>
): Effect.Effect<PGlite, PgliteError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({ try: create, catch: (cause) => openFailed(dataDir, "starting", output.read(), cause) }),
    // A backend that is lost cannot close in order; its files recover at the next start.
    (db) => Effect.ignore(Effect.tryPromise(() => db.close()))
  )

/** The one true name of the folder, so that two ways to write it meet at one lock. */
const resolveFolder = (dataDir: string): string => {
  const full = path.resolve(dataDir)
  fs.mkdirSync(path.dirname(full), { recursive: true })
  return fs.existsSync(full)
    ? fs.realpathSync(full)
    : path.join(fs.realpathSync(path.dirname(full)), path.basename(full))
}

const freshPrefix = (dataDir: string): string => `${dataDir}.init-`

/** The lock is ours, so a half-made database beside the folder is a dead process's. */
const removeLeftovers = (dataDir: string): void => {
  const parent = path.dirname(dataDir)
  const prefix = path.basename(freshPrefix(dataDir))
  for (const name of fs.readdirSync(parent)) {
    if (name.startsWith(prefix)) fs.rmSync(path.join(parent, name), { recursive: true, force: true })
  }
}

const isDatabase = Effect.fnUntraced(function*(dataDir: string): Effect.fn.Return<boolean, PgliteError> {
  const names = yield* attempt(
    dataDir,
    "reading its folder",
    () => fs.existsSync(dataDir) ? fs.readdirSync(dataDir) : []
  )
  if (names.length === 0) return false
  if (names.includes("PG_VERSION")) return true
  return yield* new PgliteError({ reason: new NotADatabase({ dataDir }) })
})

/** Makes a new database beside its place, so that a death in the middle leaves no half one there. */
const initialise = (
  dataDir: string,
  durable: boolean,
  output: Output,
  create: (fresh: string) => Promise<void>
): Effect.Effect<void, PgliteError> => {
  const fresh = `${freshPrefix(dataDir)}${process.pid}`
  return Effect.tryPromise({
    try: () => create(fresh),
    catch: (cause) => openFailed(dataDir, "making a new database", output.read(), cause)
  }).pipe(
    Effect.andThen(attempt(dataDir, "putting the new database into its place", () => {
      if (durable) flushTree(fresh)
      if (fs.existsSync(dataDir)) fs.rmdirSync(dataDir)
      fs.renameSync(fresh, dataDir)
      if (durable) flushFolder(path.dirname(dataDir))
    })),
    Effect.onError(() => Effect.sync(() => fs.rmSync(fresh, { recursive: true, force: true }))),
    Effect.uninterruptible
  )
}

const flushTree = (folder: string): void => {
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const name = path.join(entry.parentPath, entry.name)
    if (entry.isDirectory()) flushFolder(name)
    else flushFile(name)
  }
  flushFolder(folder)
}

const flushFile = (name: string): void => {
  const fd = fs.openSync(name, "r+")
  fs.fsyncSync(fd)
  fs.closeSync(fd)
}

/** A new name is on the disk once its folder is. Windows keeps folders by itself and refuses to open them. */
const flushFolder = (folder: string): void => {
  if (process.platform === "win32") return
  const fd = fs.openSync(folder, "r")
  fs.fsyncSync(fd)
  fs.closeSync(fd)
}

interface Flusher {
  readonly count: () => number
  readonly options: Pick<PGliteOptions, "extensions">
}

/** The part of an Emscripten stream of its Node file system that a flush needs. */
interface NodeStream {
  readonly nfd?: number
  readonly path?: string
}

/** `EIO`, as the C library inside counts. */
const ioError = 29

/**
 * Emscripten's Node file system has no flush of its own: without this every `fsync` of the database is a no-op. It is
 * set before the backend starts, because recovery after a crash relies on its flushes too.
 */
const makeFlusher = (dataDir: string): Flusher => {
  let count = 0
  let segment: string | undefined
  const fsync = (stream: NodeStream): number => {
    count++
    const { nfd } = stream
    if (nfd === undefined) return 0
    const flushed = Result.try(() => {
      fs.fdatasyncSync(nfd)
      // A segment of the log comes into being by a rename, and the database expects its folder to be flushed for it.
      if (stream.path !== segment && stream.path?.includes("/pg_wal/") === true) {
        flushFolder(path.join(dataDir, "pg_wal"))
        segment = stream.path
      }
    })
    return Result.isSuccess(flushed) ? 0 : ioError
  }
  const install = (module: unknown): void => {
    if (!Predicate.hasProperty(module, "NODEFS") || !Predicate.hasProperty(module.NODEFS, "stream_ops")) return
    if (Predicate.isObject(module.NODEFS.stream_ops)) Object.assign(module.NODEFS.stream_ops, { fsync })
  }
  return {
    count: () => count,
    options: {
      extensions: {
        flusher: {
          name: "flusher",
          setup: (_, emscriptenOpts) =>
            Promise.resolve({
              emscriptenOpts: { ...emscriptenOpts, preRun: [...(emscriptenOpts.preRun ?? []), install] }
            })
        }
      }
    }
  }
}

/** Trusts no version: a checkpoint must have come through the hook before anything is acknowledged. */
const proveFlush = Effect.fnUntraced(function*(
  dataDir: string,
  db: PGlite,
  flusher: Flusher
): Effect.fn.Return<void, PgliteError> {
  const before = flusher.count()
  yield* Effect.tryPromise({
    try: () => db.exec("CHECKPOINT"),
    catch: (cause) => openFailed(dataDir, "flushing", "", cause)
  })
  if (flusher.count() === before) return yield* new PgliteError({ reason: new CannotFlush({ dataDir }) })
})

interface Output {
  readonly write: (text: string) => boolean
  readonly read: () => string
}

/** How many lines of the database's log an error may quote. */
const outputLines = 4

const makeOutput = (): Output => {
  const lines: Array<string> = []
  return {
    write: (text) => {
      if (text.trim() !== "") lines.push(text.trim())
      if (lines.length > outputLines) lines.shift()
      return false
    },
    read: () => lines.join("; ")
  }
}

const makeExec = (db: PGlite, output: Output) => (cycle: Uint8Array): Buffer => {
  const chunks: Array<Buffer> = []
  // The work happens before the call returns; the promise stands for a flush that is not asked for here.
  db.execProtocolRawStream(cycle, { syncToFs: false, onRawData: (data) => void chunks.push(Buffer.from(data)) })
    .catch((cause: unknown) => output.write(String(cause)))
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}
