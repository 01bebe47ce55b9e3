/**
 * The embedded database: PGlite inside the process, behind the `PgClient` of `@effect/sql-pg`.
 *
 * @since 0.1.0
 */

export * as Pglite from "./Pglite.ts"
export * as PgliteError from "./PgliteError.ts"
