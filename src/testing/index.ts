/**
 * What users need to test with: the store's contract.
 *
 * @since 0.1.0
 */

export * as StoreContract from "./StoreContract.ts"
