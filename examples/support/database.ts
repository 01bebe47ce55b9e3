/**
 * Where an example keeps everything: the PostgreSQL server that `DATABASE_URL` names, or an embedded one in a folder.
 * The participants' tables lie in the schema `order_example`, or in the one that `ORDERS_SCHEMA` names. The journals
 * lie beside it, in `order_example_saga`.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, type Layer, Redacted } from "effect"
import { SagaEngine } from "effect-saga"
import { Pglite, type PgliteError } from "effect-saga/pglite"
import { SqlSagaStore } from "effect-saga/sql"
import type { SqlClient, SqlError } from "effect/sql"

/** The participants' schema. */
export const shopSchema = process.env["ORDERS_SCHEMA"] ?? "order_example"
const sagaSchema = `${shopSchema}_saga`

const url = process.env["DATABASE_URL"] || undefined

/** Where that is, for people: never with a password. */
export const describe = (folder: string): string => {
  if (url === undefined) return `an embedded PostgreSQL in ${folder}`
  const { host, pathname } = URL.canParse(url) ? new URL(url) : { host: "DATABASE_URL", pathname: "" }
  return `PostgreSQL on ${host}${pathname}`
}

/** The database. */
export const layer = (
  folder: string
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, PgliteError.PgliteError | SqlError.SqlError> =>
  url === undefined
    ? Pglite.layer({ dataDir: folder })
    : PgClient.layer({ url: Redacted.make(url), startupParameters: { client_min_messages: "warning" } })

/** Forgets what earlier runs did. */
export const forget = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`DROP SCHEMA IF EXISTS ${sql(shopSchema)} CASCADE`
  yield* sql`DROP SCHEMA IF EXISTS ${sql(sagaSchema)} CASCADE`
})

/** The journals. An embedded database serves one process, so that whoever else worked on it is dead. */
export const layerStore = SqlSagaStore.layer({ schema: sagaSchema, exclusive: url === undefined })

/** On a server nobody knows that a process is dead before its lease has ended: a short one, so as not to wait long. */
export const layerEngine = SagaEngine.layerOptions({ lease: "3 seconds", margin: "500 millis", poll: "250 millis" })
