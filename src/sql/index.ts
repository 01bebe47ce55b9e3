/**
 * The saga store on PostgreSQL.
 *
 * @since 0.1.0
 */

export * as SqlSagaStore from "./SqlSagaStore.ts"
