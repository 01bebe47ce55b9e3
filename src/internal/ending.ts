/**
 * What callers get of an execution: its end, or where it stands, decoded with the definition's schemas.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Journal from "../Journal.ts"
import * as SagaError from "../SagaError.ts"
import * as SagaStore from "../SagaStore.ts"
import type { Codec } from "./codec.ts"
import type { Definition, Polled } from "./engine.ts"

/**
 * The end in an execution's row.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeEnd = (id: string, text: string): Effect.Effect<Journal.End, SagaError.SagaError<never>> =>
  Effect.mapError(Journal.decodeEnd(text), (error) => undecodable(id, error.message))

/**
 * What a caller gets for an end: the result, the saga's own error, or `SagaError`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const outcomeOf = (
  definition: Definition,
  id: string,
  end: Journal.End
): Effect.Effect<unknown, unknown, unknown> => {
  switch (end._tag) {
    case "SagaCompleted":
      return decoded(id, definition.success.decode(end.value))
    case "SagaRolledBack":
      return Effect.flatMap(rolledBackError(definition, id, end.cause), Effect.fail)
    case "SagaParked":
      return Effect.flatMap(parkedError(definition, id, end), Effect.fail)
    case "SagaAbandoned":
      return Effect.flatMap(abandonedError(definition, id, end), Effect.fail)
  }
}

/**
 * Where an execution stands, as its row says, with the records of as much of its journal as can be read.
 *
 * @category decoding
 * @since 0.1.0
 */
export const toPolled = Effect.fnUntraced(function*(
  definition: Definition,
  id: string,
  row: SagaStore.Row,
  stored: ReadonlyArray<SagaStore.Stored>
): Effect.fn.Return<Polled, SagaError.SagaError<never>, unknown> {
  const state = Journal.foldPrefix(Journal.current(SagaStore.decodePrefix(stored, row.base)))
  const records = {
    steps: state === undefined ? [] : Journal.stepRecords(state),
    compensations: state === undefined ? [] : Journal.compensationRecords(state),
    published: yield* published(definition, state)
  }
  if (row.result !== null) {
    const end = yield* decodeEnd(id, row.result)
    switch (end._tag) {
      case "SagaCompleted":
        return { ...records, _tag: "Completed", value: yield* decoded(id, definition.success.decode(end.value)) }
      case "SagaRolledBack":
        return { ...records, _tag: "RolledBack", error: yield* rolledBackError(definition, id, end.cause) }
      case "SagaParked":
        return { ...records, _tag: "Parked", error: yield* parkedError(definition, id, end) }
      case "SagaAbandoned":
        return { ...records, _tag: "Abandoned", error: yield* abandonedError(definition, id, end) }
    }
  }
  switch (row.status) {
    case "compensating":
      return { ...records, _tag: "Compensating" }
    case "suspended":
      return { ...records, _tag: "Suspended", wakeAt: row.wakeAt ?? undefined }
    case "running":
    case "settling":
    case "completed":
    case "rolledback":
    case "parked":
    case "abandoned":
      return { ...records, _tag: "Running", pivotPassed: row.status === "settling" }
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const failure = (reason: SagaError.Reason<never>): SagaError.SagaError<never> => new SagaError.SagaError({ reason })

/** Progress never keeps a caller from knowing where an execution stands: what cannot be read is not there. */
const published = Effect.fnUntraced(function*(definition: Definition, state: Journal.JournalState | undefined) {
  const values: Array<readonly [string, unknown]> = []
  for (const [key, json] of state?.published ?? []) {
    const codec = definition.published.get(key)
    const read = codec === undefined ? Option.none() : yield* Effect.option(codec.decode(json))
    if (Option.isSome(read)) values.push([key, read.value])
  }
  return Object.fromEntries(values)
})

const undecodable = (execution: string, issue: string): SagaError.SagaError<never> =>
  failure(new SagaError.ResultUndecodable({ execution, issue }))

const decoded = (id: string, decode: ReturnType<Codec["decode"]>) =>
  Effect.mapErrorEager(decode, (error) => undecodable(id, error.message))

const rolledBackError = (definition: Definition, id: string, cause: Journal.RollbackCause) => {
  switch (cause._tag) {
    case "Failed":
      return decoded(id, definition.error.decodeError(cause.error))
    case "Cancelled":
      return Effect.succeed(failure(new SagaError.Cancelled({ execution: id, reason: cause.reason })))
    case "DeadlineExceeded":
      return Effect.succeed(failure(new SagaError.DeadlineExceeded({ execution: id, deadline: cause.deadline })))
    case "Operator": {
      const { actor, reason } = cause
      return Effect.succeed(failure(new SagaError.RolledBackByOperator({ execution: id, actor, reason })))
    }
    case "Defect": {
      const { message, step } = cause
      return Effect.succeed(failure(new SagaError.RolledBackByDefect({ execution: id, step, defect: message })))
    }
  }
}

/** What is left undone, and why it rolled back, if it did: the original comes first. */
const left = Effect.fnUntraced(function*(
  definition: Definition,
  id: string,
  end: Journal.EntryOf<"SagaParked" | "SagaAbandoned">
) {
  const original = end.cause === undefined ? undefined : yield* originalOf(definition, id, end.cause)
  const unresolved: Array<SagaError.Unresolved<unknown>> = []
  for (const one of end.unresolved) {
    unresolved.push({
      step: Journal.refName(one),
      attempts: one.attempts,
      error: one.error === undefined
        ? undefined
        : yield* decoded(id, definition.compensationError.decodeError(one.error)),
      defect: one.defect
    })
  }
  return { execution: id, why: end.reason, unresolved, original }
})

const originalOf = (
  definition: Definition,
  id: string,
  cause: Journal.RollbackCause
): Effect.Effect<SagaError.Original, SagaError.SagaError<never>, unknown> => {
  switch (cause._tag) {
    case "Failed":
      return Effect.map(decoded(id, definition.error.decodeError(cause.error)), (error) => ({ _tag: "Failed", error }))
    case "Cancelled":
      return Effect.succeed({ _tag: "Cancelled", reason: cause.reason })
    case "DeadlineExceeded":
      return Effect.succeed(cause)
    case "Operator":
      return Effect.succeed({ _tag: "Operator", actor: cause.actor, reason: cause.reason })
    case "Defect":
      return Effect.succeed({ _tag: "Defect", step: cause.step, message: cause.message })
  }
}

const parkedError = (definition: Definition, id: string, end: Journal.EntryOf<"SagaParked">) =>
  Effect.map(left(definition, id, end), (known) => new SagaError.SagaError({ reason: new SagaError.Parked(known) }))

const abandonedError = (definition: Definition, id: string, end: Journal.EntryOf<"SagaAbandoned">) =>
  Effect.map(left(definition, id, end), (known) =>
    new SagaError.SagaError({
      reason: new SagaError.Abandoned({ ...known, actor: end.actor, reason: end.because })
    }))
