/**
 * PostgreSQL inside the process: PGlite behind the real `PgClient` of `@effect/sql-pg`.
 *
 * There is no server and no port: the client's protocol runs in memory, so one driver, one set of codecs and one set of
 * errors serve both the embedded database and a server. It relies on `@electric-sql/pglite`, an optional peer
 * dependency that is loaded when a layer is built. It never acknowledges a commit in a folder before that is on the
 * disk, and it never opens a folder that somebody else holds.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Reactivity } from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import * as Database from "./internal/database.ts"
import * as Engine from "./internal/engine.ts"
import { OpenFailed, PgliteError } from "./PgliteError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What an embedded database needs to know. Everything is optional.
 *
 * **Details**
 *
 * The options taken over from `PgClient` mean what they mean there. What concerns a network, a password, TLS or a
 * server's address is not among them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends
  Pick<
    PgClient.PgPoolConfig,
    | "prepare"
    | "preparedStatementCacheSize"
    | "maxMessageSize"
    | "spanAttributes"
    | "transformResultNames"
    | "transformQueryNames"
    | "transformJson"
    | "types"
  >
{
  /**
   * The folder of the database, made when it does not exist. It must be empty or hold a database.
   *
   * @default in memory: nothing survives the scope
   */
  readonly dataDir?: string | undefined
  /**
   * Whether a commit is on the disk before it is acknowledged, and so survives a power loss. Without it a commit in a
   * folder survives the death of the process, but not that of the machine. It has no meaning in memory.
   *
   * @default true
   */
  readonly durable?: boolean | undefined
  /**
   * How long a statement waits for the open transaction of another connection, before it fails with a
   * `LockTimeoutError`. Up to a fifth of it is added.
   *
   * @default "5 seconds"
   */
  readonly lockTimeout?: Duration.Input | undefined
  /**
   * How many virtual connections there are: how many statements of concurrent fibers can share one flush of the disk.
   * Each transaction, stream and listener takes one. They cost next to nothing.
   *
   * @default 32
   */
  readonly maxConnections?: number | undefined
  /**
   * Settings of PostgreSQL by name, such as `search_path`, `timezone` or `work_mem`.
   *
   * They are given to the one backend when it starts, and so hold for all connections: a connection has no settings of
   * its own here.
   */
  readonly startupParameters?: Readonly<Record<string, string>> | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Opens an embedded database; the scope closes it. See `layer`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Pglite.make")(function*(
  options: Options = {}
): Effect.fn.Return<PgClient.PgClient, PgliteError, Scope.Scope | Reactivity> {
  const { dataDir, durable, lockTimeout, maxConnections, startupParameters, ...client } = options
  const database = yield* Database.open({ dataDir, durable: durable ?? true, settings: startupParameters ?? {} })
  const engine = yield* Engine.make(database, {
    lockTimeout: Duration.fromInputUnsafe(lockTimeout ?? defaultLockTimeout)
  })
  return yield* Effect.mapError(
    PgClient.make({
      ...client,
      stream: engine.connect,
      maxConnections: maxConnections ?? defaultMaxConnections,
      ssl: false,
      username: "postgres",
      database: "postgres"
    }),
    (cause) => new PgliteError({ reason: new OpenFailed({ dataDir, while: "connecting to it", output: "", cause }) })
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An embedded PostgreSQL, in a folder or in memory, as `PgClient` and `SqlClient`.
 *
 * **When to use**
 *
 * Use it for a program that runs alone: a worker on one machine, a desktop application, a command line tool,
 * development and tests. For several processes on one database use `PgClient.layer` and a server.
 *
 * **Details**
 *
 * The folder is held by a lock file beside it (`<folder>.lock`) that names its process; the lock of a dead process is
 * taken over, and a second opener fails with `FolderInUse`. While the layer is open, every other process that ever
 * worked on this database is therefore dead or gone: a store on it may be told that it is the only one. A new database
 * is made beside its place and renamed, so a death in the middle leaves nothing half made. A first start takes two to
 * four seconds, a later one a fraction of one. Commits of concurrent fibers share one flush of the disk. The tables are
 * vacuumed, and the log is cut, now and then, between two transactions.
 *
 * Connections share one backend, and that shows in these ways. One transaction runs at a time: the statements of other
 * connections wait for it, `lockTimeout` at most. `SET`, temporary tables and advisory locks of a session belong to all
 * connections (`SET LOCAL` and `pg_advisory_xact_lock` are fine); `DISCARD ALL` and `DEALLOCATE ALL` touch all of them.
 * `LISTEN` and `NOTIFY` work as on a server.
 *
 * **Gotchas**
 *
 * A statement blocks the event loop while it runs, for a twentieth to a third of a millisecond if it is small:
 * `statement_timeout` and interruption end no statement that runs, only one that waits. A transaction that spans slow
 * work keeps everybody else waiting. The lock does not see processes in another container or on another machine: never
 * share the folder with those.
 *
 * **Example** (a database in a folder)
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Effect } from "effect"
 * import { Pglite } from "effect-saga/pglite"
 *
 * const program = Effect.gen(function*() {
 *   const sql = yield* PgClient.PgClient
 *   yield* sql`CREATE TABLE IF NOT EXISTS visit (at timestamptz NOT NULL DEFAULT now())`
 *   yield* sql`INSERT INTO visit DEFAULT VALUES`
 *   return yield* sql<{ readonly count: bigint }>`SELECT count(*) FROM visit`
 * }).pipe(Effect.provide(Pglite.layer({ dataDir: "./data" })))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<PgClient.PgClient | SqlClient, PgliteError> =>
  PgClient.layerFrom(make(options))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Long for a transaction, short for a person who waits. */
const defaultLockTimeout: Duration.Input = "5 seconds"

/** As many as the engine runs in one round, so that one flush can serve a full round. */
const defaultMaxConnections = 32
