/**
 * effect-saga: durable, type-safe sagas for Effect.
 *
 * The table of contents, in reading order: what the rest stands on first, what runs it last.
 *
 * @since 0.1.0
 */
export * as ExecutionId from "./ExecutionId.ts"
export * as Limits from "./internal/limits.ts"
export * as SagaError from "./SagaError.ts"

export * as Execution from "./Execution.ts"
export * as Journal from "./Journal.ts"

export * as Saga from "./Saga.ts"
export * as Signal from "./Signal.ts"
export * as Step from "./Step.ts"
export * as Timer from "./Timer.ts"

export * as SagaStore from "./SagaStore.ts"

export * as SagaEngine from "./SagaEngine.ts"
export * as SagaInspector from "./SagaInspector.ts"
export * as SagaWorker from "./SagaWorker.ts"
