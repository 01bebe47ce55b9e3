/**
 * What users need to test with: the store's contract, and a store that fails by a plan.
 *
 * @since 0.1.0
 */

export * as FaultInjection from "./FaultInjection.ts"
export * as SagaTest from "./SagaTest.ts"
export * as StoreContract from "./StoreContract.ts"
