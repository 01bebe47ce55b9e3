/**
 * What users need to test with: an engine on virtual time, every point at which a process can die, simulations, a store
 * that fails by a plan, and the store's contract.
 *
 * @since 0.1.0
 */

export * as FaultInjection from "./FaultInjection.ts"
export * as ReplayTest from "./ReplayTest.ts"
export * as SagaTest from "./SagaTest.ts"
export * as Simulation from "./Simulation.ts"
export * as StoreContract from "./StoreContract.ts"
