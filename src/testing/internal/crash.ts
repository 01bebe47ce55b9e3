/**
 * A saga that is run once for every point at which something can happen to its process.
 *
 * It chooses what happens where; `crashRun` does one run.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Codec } from "../../internal/codec.ts"
import * as Limits from "../../internal/limits.ts"
import { storable } from "../../internal/storable.ts"
import { TimedOut } from "../../internal/timedOut.ts"
import type * as Saga from "../../Saga.ts"
import type * as SagaEngine from "../../SagaEngine.ts"
import type * as SagaStore from "../../SagaStore.ts"
import type * as SagaWorker from "../../SagaWorker.ts"
import {
  type Course,
  courseName,
  type CrashOptions,
  type Injection,
  type Mishap,
  type Result as RunResult,
  run,
  runName,
  type Setting
} from "./crashRun.ts"
import { format } from "./timeline.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Which points were visited.
 *
 * @category models
 * @since 0.1.0
 */
export interface CrashReport {
  /** How many runs there were, the undisturbed ones included. */
  readonly runs: number
  /** The points that the undisturbed run of each course passed, in order: something happened at each of them. */
  readonly courses: ReadonlyArray<{
    readonly name: string
    readonly status: SagaStore.Status
    readonly points: ReadonlyArray<string>
    readonly runs: number
  }>
}

/**
 * A saga that breaks a rule where something happens to its process, with up to three such places.
 *
 * @category errors
 * @since 0.1.0
 */
export class CrashFailed extends Schema.TaggedError<CrashFailed>()("CrashFailed", {
  saga: Schema.String,
  runs: Schema.Int,
  failures: Schema.Array(Schema.Struct({
    /** Which steps refused, and what happened where. */
    name: Schema.String,
    broken: Schema.Array(Schema.String),
    timeline: Schema.String
  }))
}) {
  override get message(): string {
    const each = this.failures.map(({ broken, name, timeline }) =>
      `${name}:\n${broken.map((one) => `- ${one}\n`).join("")}${timeline}`
    )
    return `${this.saga} does not survive everything (${this.runs} runs).\n\n${each.join("\n\n")}`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs a saga once for every point at which something can happen to its process; see `SagaTest`.
 *
 * @category running
 * @since 0.1.0
 */
export const crashEverywhere = <
  Tag extends string,
  P extends Schema.Top,
  S extends Schema.Top,
  E extends Schema.Top,
  CE extends Schema.Top,
  R = never,
  PR = never
>(
  definition: Saga.Saga<Tag, P, S, E, CE>,
  payload: P["Type"],
  options: CrashOptions<S["Type"], E["Type"], CE["Type"], R, PR>
): Effect.Effect<CrashReport, CrashFailed, Exclude<R, SagaEngine.SagaEngine | PR> | Given<P, S, E, CE>> =>
  Effect.gen(function*() {
    const setting: Setting = {
      definition,
      payload,
      options: options as never,
      context: yield* Effect.context<never>()
    }
    const failures: Array<Failure> = []
    const courses: Array<CrashReport["courses"][number]> = []
    const todo: Array<Course> = [{ refusing: [], errors: new Map() }]
    const known = new Set<string>()
    let runs = 0
    for (let course = todo.shift(); course !== undefined && failures.length < most; course = todo.shift()) {
      const explored = yield* explore(setting, course, failures)
      runs += explored.runs
      courses.push({
        name: courseName(course),
        status: explored.first.status,
        points: explored.first.points,
        runs: explored.runs
      })
      for (const [step, error] of yield* refusals(setting, explored.first)) {
        if (known.has(step) || course.refusing.length > 1) continue
        known.add(step)
        todo.push({ refusing: [...course.refusing, step], errors: new Map([...course.errors, [step, error]]) })
      }
    }
    if (failures.length > 0) return yield* new CrashFailed({ saga: definition.tag, runs, failures })
    return { runs, courses }
  }).pipe(Effect.provide(Logger.layer([])))

/**
 * What a definition's schemas need.
 *
 * @category type helpers
 * @since 0.1.0
 */
export type Given<P extends Schema.Top, S extends Schema.Top, E extends Schema.Top, CE extends Schema.Top> =
  | P["EncodingServices"]
  | P["DecodingServices"]
  | S["DecodingServices"]
  | S["EncodingServices"]
  | E["DecodingServices"]
  | E["EncodingServices"]
  | CE["DecodingServices"]
  | CE["EncodingServices"]

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** How many failures are worth reading. */
const most = 3

type Failure = CrashFailed["failures"][number]

const defaultMishaps: ReadonlyArray<ReadonlyArray<Mishap>> = [
  ["dies"],
  ["loses the answer"],
  ["is taken over"],
  ["is stopped"],
  ["is cancelled"],
  ["dies", "dies"],
  ["is cancelled", "dies"]
]

/** Runs a course undisturbed, then with every chain of mishaps at every point. */
const explore = Effect.fnUntraced(function*(setting: Setting, course: Course, failures: Array<Failure>) {
  const { options } = setting
  const first = yield* run(setting, course, [], learning, undefined)
  let runs = 1
  const judge = (result: RunResult, injections: ReadonlyArray<Injection>) => {
    if (result.broken.length === 0) return
    failures.push({
      name: runName(course, injections, result.points),
      broken: result.broken,
      timeline: format(result.timeline)
    })
  }
  judge(first, [])
  const worker = options.worker ?? workerFor(first.took)
  const visit = (
    chain: ReadonlyArray<Mishap>,
    injections: ReadonlyArray<Injection>,
    seen: RunResult
  ): Effect.Effect<void> =>
    Effect.gen(function*() {
      const mishap = chain[injections.length]
      if (mishap === undefined) return
      const from = injections.length === 0 ? 0 : injections.at(-1)!.at + 1
      const until = injections.length === 0 ? Infinity : from + (options.pairs ?? 3)
      for (let at = from; at < Math.min(seen.points.length, until) && failures.length < most; at++) {
        if (mishap === "loses the answer" && !seen.appends.has(at)) continue
        const next = [...injections, { at, mishap }]
        const result = yield* run(setting, course, next, worker, first.status)
        runs++
        // The first mishaps of a longer chain were judged when they came alone.
        if (next.length === chain.length) judge(result, next)
        yield* visit(chain, next, result)
      }
    })
  if (failures.length === 0) {
    for (const chain of options.mishaps ?? defaultMishaps) yield* visit(chain, [], first)
  }
  return { first, runs }
})

/** Which steps can refuse beside those that do, and with what. */
const refusals = Effect.fnUntraced(function*({ options }: Setting, { acts }: RunResult) {
  const found: Array<readonly [string, unknown]> = []
  for (const { error, step } of acts.values()) {
    if (error === undefined || !isDeclared(error.schema)) continue
    if (options.refusing !== undefined && !options.refusing.includes(step)) continue
    if (options.errors !== undefined && step in options.errors) {
      found.push([step, options.errors[step]])
      continue
    }
    const drawn = yield* Effect.exit(
      Effect.suspend(() => Arbitrary.sampleEffect(Arbitrary.schema(error.schema), { count: 50, seed: step }))
    )
    const values = Exit.isSuccess(drawn) ? drawn.value.filter((value) => !(value instanceof TimedOut)) : []
    const refusal = yield* firstStorable(error, values)
    if (refusal === undefined) {
      return yield* Effect.die(
        new Error(`nothing is known that ${step} could refuse with: give it in errors, as { ${step}: ... }`)
      )
    }
    found.push([step, refusal])
  }
  return found
})

/** A step that declares no error has a schema for nothing, or for anything that it dies of. */
const isDeclared = ({ ast }: Schema.Top): boolean => {
  const types = ast._tag === "Union" ? ast.types : [ast]
  return !types.some((one) => one._tag === "Unknown" || one._tag === "Never")
}

/** What is drawn from a schema may be nothing that a journal can keep. */
const firstStorable = Effect.fnUntraced(function*(error: Codec, values: ReadonlyArray<unknown>) {
  const limits = { depth: yield* Limits.MaxDepth, size: yield* Limits.MaxAppendSize }
  for (const value of values) {
    const json = yield* Effect.exit(error.encode(value))
    if (Exit.isSuccess(json) && Result.isSuccess(storable(json.value, limits))) return value
  }
  return undefined
})

/** While it is learnt, no process is taken over. */
const learning: SagaWorker.Options = { lease: "4 hours", poll: "1 hour", grace: "10 seconds" }

/** A saga that waits for weeks is not looked at a million times. */
const workerFor = (took: number): SagaWorker.Options => {
  const lease = Math.max(30_000, took / 200)
  return { lease, margin: "2 seconds", poll: lease / 3, grace: "10 seconds" }
}
