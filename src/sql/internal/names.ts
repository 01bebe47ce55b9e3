/**
 * The names of what the store keeps in a database, quoted for SQL text. Pure.
 *
 * @since 0.1.0
 */

/**
 * The tables and views of one schema, each as `"schema"."name"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Names {
  /** The schema itself, quoted. */
  readonly schema: string
  /** One row an execution, with its first append. */
  readonly execution: string
  /** One row a later append. */
  readonly journal: string
  readonly inbox: string
  /** The keys of what was ever sent. */
  readonly key: string
  readonly worker: string
  /** One row an entry, for people. */
  readonly entry: string
  /** The function of the trigger that removes a row which a change made. */
  readonly drop: string
  /** The `NOTIFY` channel, unquoted. */
  readonly channel: string
}

/**
 * The names in `schema`.
 *
 * @category constructors
 * @since 0.1.0
 */
// Persistent: the names of tables and views, and the channel that processes of several versions share.
export const make = (schema: string): Names => ({
  schema: quote(schema),
  execution: `${quote(schema)}.saga_execution`,
  journal: `${quote(schema)}.saga_journal`,
  inbox: `${quote(schema)}.saga_inbox`,
  key: `${quote(schema)}.saga_message_key`,
  worker: `${quote(schema)}.saga_worker`,
  entry: `${quote(schema)}.saga_entry`,
  drop: `${quote(schema)}.saga_drop`,
  channel: truncate(`saga_wake_${schema}`)
})

/**
 * The table in which the migrator keeps what it has applied, in the same schema.
 *
 * @category constants
 * @since 0.1.0
 */
// Persistent: a table's name.
export const migrationTable = "saga_migration"

/**
 * An identifier, quoted: any name is one name.
 *
 * @category combinators
 * @since 0.1.0
 */
export const quote = (identifier: string): string => `"${identifier.replaceAll("\"", "\"\"")}"`

/**
 * Why Postgres would not take, or not keep, this name for a schema; undefined if it does.
 *
 * @category guards
 * @since 0.1.0
 */
export const schemaProblem = (schema: string): string | undefined => {
  if (schema === "") return "A schema needs a name: leave the option out for \"saga\"."
  if (byteLength(schema) > maxBytes) return `Postgres cuts names off at ${maxBytes} bytes: choose a shorter one.`
  if (schema.includes("\u0000") || !schema.isWellFormed()) return "Postgres cannot store this name: choose another one."
  if (schema.startsWith("pg_") || schema === "$user") return "Postgres keeps this name for itself: choose another one."
  return undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** The longest name and the longest channel that Postgres knows. */
const maxBytes = 63

const encoder = new TextEncoder()

const byteLength = (text: string): number => encoder.encode(text).length

/** Two schemas that share a cut-off channel wake each other for nothing, which is harmless. */
const truncate = (channel: string): string => {
  let characters = Array.from(channel)
  while (byteLength(characters.join("")) > maxBytes) characters = characters.slice(0, -1)
  return characters.join("")
}
