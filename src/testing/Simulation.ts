/**
 * Thousands of sagas on several workers, which crash, stand still, lose the store and have wrong clocks, all on virtual
 * time in one process. One seed says everything that happens: the same seed does the same again.
 *
 * What fails is made smaller until nothing more can be left out, and printed as a call that can be pasted as a test. It
 * needs no test framework.
 *
 * @since 0.1.0
 */
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import type * as SagaEngine from "../SagaEngine.ts"
import type { Status } from "../SagaStore.ts"
import * as Draw from "./internal/draw.ts"
import { shrink } from "./internal/shrink.ts"
import {
  type Ended,
  type Outcome,
  type Scenario,
  simulate,
  type SimulationOptions,
  startsAt,
  type Trouble
} from "./internal/simulate.ts"
import { format } from "./internal/timeline.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

export {
  /**
   * Random numbers that depend on the seed and on what they are drawn for alone.
   *
   * @category models
   * @since 0.1.0
   */
  type Draw
} from "./internal/draw.ts"

export {
  /**
   * An execution of a simulation, once all have ended.
   *
   * @category models
   * @since 0.1.0
   */
  type Ended,
  /**
   * Everything that a run depends on, beside the code.
   *
   * @category models
   * @since 0.1.0
   */
  type Scenario,
  /**
   * What is run, and what must hold.
   *
   * @category options
   * @since 0.1.0
   */
  type SimulationOptions,
  /**
   * Something that happens to a worker, or to a saga; all times in milliseconds of virtual time.
   *
   * **Details**
   *
   * `Crash`: the process dies, and another comes in its place after `down`. `Stop`: it is stopped as by a deployment.
   * `Pause`: it stands still, then goes on as if nothing had been. `Unavailable`: it does not reach the store.
   * `LostAnswers`: the store does what it asks, and it does not hear of it. `Slow`: its calls of the store take `by`
   * longer. `Skew`: its clock jumps, forward or back. `Cancel`: somebody cancels a saga.
   *
   * @category models
   * @since 0.1.0
   */
  type Trouble
} from "./internal/simulate.ts"

/**
 * How much there is of everything.
 *
 * @category options
 * @since 0.1.0
 */
export interface ScenarioOptions {
  /**
   * @default a new one each time; it is in the report, and in the message of a failure
   */
  readonly seed?: string | number | undefined
  /**
   * How many sagas are started.
   *
   * @default 100
   */
  readonly sagas?: number | undefined
  /**
   * @default 3
   */
  readonly workers?: number | undefined
  /**
   * How much happens to a worker: how many times in a minute of virtual time, for each kind of trouble. 0 for none.
   *
   * @default 10
   */
  readonly troubles?: number | undefined
  /**
   * The part of the sagas that somebody cancels, from 0 to 1.
   *
   * @default 0.1
   */
  readonly cancels?: number | undefined
}

/**
 * What a simulation did.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly seed: string | number
  readonly sagas: number
  readonly workers: number
  /** How many executions ended how. */
  readonly statuses: ReadonlyMap<Status, number>
  readonly acts: number
  readonly appends: number
  readonly troubles: number
  /** Virtual time that it took, in milliseconds. */
  readonly took: number
  /** A number that two runs share that did the same in the same order. */
  readonly trace: number
}

/**
 * Executions that break a rule, in the smallest scenario that was found.
 *
 * @category errors
 * @since 0.1.0
 */
export class SimulationFailed extends Schema.TaggedError<SimulationFailed>()("SimulationFailed", {
  /** The scenario in which it was found, by its seed. */
  seed: Schema.Union([Schema.String, Schema.Number]),
  /** The smallest scenario that was found, as a value for `replay`. */
  scenario: Schema.Any,
  /** The same as code. */
  code: Schema.String,
  broken: Schema.Array(Schema.Struct({
    execution: Schema.String,
    sentences: Schema.Array(Schema.String),
    timeline: Schema.String
  })),
  runs: Schema.Int
}) {
  override get message(): string {
    const each = this.broken.slice(0, 3).map(({ execution, sentences, timeline }) =>
      `${execution}:\n${sentences.map((one) => `- ${one}\n`).join("")}${timeline}`
    )
    return `Rules are broken with the seed ${JSON.stringify(this.seed)}. The smallest scenario that was found in ` +
      `${this.runs} runs, to be pasted as a test:\n\n${this.code}\n\n${each.join("\n\n")}`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The scenario of a seed: when which saga starts, and what happens to whom.
 *
 * @category constructors
 * @since 0.1.0
 */
export const scenario = (options: ScenarioOptions & { readonly seed: string | number }): Scenario => {
  const { cancels = 0.1, sagas = 100, seed, troubles = 10, workers = 3 } = options
  const spread = Math.max(10_000, sagas * 100)
  const plain: Scenario = {
    seed,
    sagas: Array.from({ length: sagas }, (_, saga) => saga),
    workers,
    spread,
    troubles: []
  }
  const horizon = spread + 20_000
  const planned: Array<Trouble> = []
  for (let worker = 0; worker < workers; worker++) {
    for (const [tag, draws] of Object.entries(kinds)) {
      const draw = Draw.make(seed, `trouble/${worker}/${tag}`)
      // As often as that on average, and independent of each other.
      for (let at = wait(draw, troubles); at < horizon; at += wait(draw, troubles)) {
        planned.push(draws(draw, at, worker))
      }
    }
  }
  for (const saga of plain.sagas) {
    const draw = Draw.make(seed, `cancel/${saga}`)
    if (draw.chance(cancels)) {
      planned.push({ _tag: "Cancel", at: startsAt(plain, saga) + Draw.latency(draw, 300), saga })
    }
  }
  return { ...plain, troubles: planned.sort((left, right) => left.at - right.at) }
}

/**
 * Random numbers for a participant: they depend on the seed and on the key alone, so a participant answers the same
 * request in the same way in each run.
 *
 * @category constructors
 * @since 0.1.0
 */
export const draw: (seed: string | number, key: string) => Draw.Draw = Draw.make

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs the scenario of a seed. Fails with `SimulationFailed` where a rule is broken, with the smallest scenario that
 * still breaks one.
 *
 * **Details**
 *
 * The rules are those of `SagaTest.crashEverywhere`; and every execution ends. `check` adds those of your own.
 *
 * **Example** (A thousand orders)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Simulation } from "effect-saga/testing"
 *
 * const test = Simulation.run({
 *   sagas: 1_000,
 *   handlers: PlaceOrderLive,
 *   participants: ShopTest,
 *   start: (n, draw) => PlaceOrder.start(order(n, draw.pick(["book", "lamp"]))),
 *   check: () => moneyAndGoodsAreWhereTheyBelong
 * })
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <R, P = never>(
  options: ScenarioOptions & SimulationOptions<R, P>
): Effect.Effect<Report, SimulationFailed, Exclude<R, SagaEngine.SagaEngine | P>> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const seed = options.seed ?? SecureRandom.uuidV7Unsafe()
    const planned = scenario({ ...options, seed })
    const simulated = (scenario: Scenario) => simulate(scenario, closed(options), context)
    const outcome = yield* simulated(planned)
    if (outcome.broken.length === 0) return report(planned, outcome)
    const found = yield* shrink(planned, outcome, simulated)
    return yield* failed(seed, found)
  }).pipe(Effect.provide(Logger.layer([])))

/**
 * Runs one scenario, as a failed simulation printed it. Fails with `SimulationFailed` where a rule is broken.
 *
 * @category running
 * @since 0.1.0
 */
export const replay = <R, P = never>(
  scenario: Scenario,
  options: SimulationOptions<R, P>
): Effect.Effect<Report, SimulationFailed, Exclude<R, SagaEngine.SagaEngine | P>> =>
  Effect.gen(function*() {
    const outcome = yield* simulate(scenario, closed(options), yield* Effect.context<never>())
    if (outcome.broken.length === 0) return report(scenario, outcome)
    return yield* failed(scenario.seed, { scenario, outcome, runs: 1 })
  }).pipe(Effect.provide(Logger.layer([])))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** What handlers need beside their participants is in the context that a scenario is run with. */
const closed = <R, P>(options: SimulationOptions<R, P>) =>
  options as unknown as SimulationOptions<SagaEngine.SagaEngine, never>

/** The time until the next, so many in a minute on average. */
const wait = (draw: Draw.Draw, perMinute: number): number =>
  perMinute <= 0 ? Infinity : 1 + Draw.latency(draw, 60_000 / perMinute)

const kinds: Readonly<Record<string, (draw: Draw.Draw, at: number, worker: number) => Trouble>> = {
  Crash: (draw, at, worker) => ({ _tag: "Crash", at, worker, down: Draw.latency(draw, 2_000) }),
  Stop: (draw, at, worker) => ({ _tag: "Stop", at, worker, down: Draw.latency(draw, 2_000) }),
  // Longer than a lease, as often as not.
  Pause: (draw, at, worker) => ({ _tag: "Pause", at, worker, lasts: Draw.latency(draw, 5_000) }),
  Unavailable: (draw, at, worker) => ({ _tag: "Unavailable", at, worker, lasts: Draw.latency(draw, 2_000) }),
  LostAnswers: (draw, at, worker) => ({ _tag: "LostAnswers", at, worker, lasts: Draw.latency(draw, 500) }),
  Slow: (draw, at, worker) => ({
    _tag: "Slow",
    at,
    worker,
    lasts: Draw.latency(draw, 3_000),
    by: Draw.latency(draw, 500)
  }),
  Skew: (draw, at, worker) => ({ _tag: "Skew", at, worker, by: draw.int(-5_000, 5_000) })
}

const report = ({ sagas, seed, troubles, workers }: Scenario, { ended, timeline, took }: Outcome): Report => ({
  seed,
  sagas: sagas.length,
  workers,
  statuses: counted(ended),
  acts: timeline.filter((_) => _._tag === "Act").length,
  appends: timeline.filter((_) => _._tag === "Append").length,
  troubles: troubles.length,
  took,
  trace: Hash.string(format(timeline))
})

const counted = (ended: ReadonlyArray<Ended>): ReadonlyMap<Status, number> => {
  const statuses = new Map<Status, number>()
  for (const { status } of ended) statuses.set(status, (statuses.get(status) ?? 0) + 1)
  return statuses
}

const failed = (
  seed: string | number,
  { outcome, runs, scenario }: { readonly scenario: Scenario; readonly outcome: Outcome; readonly runs: number }
) => new SimulationFailed({ seed, scenario, code: code(scenario), broken: outcome.broken, runs })

/** A scenario as a call. */
const code = ({ sagas, seed, spread, troubles, workers }: Scenario): string =>
  [
    "Simulation.replay({",
    `  seed: ${JSON.stringify(seed)},`,
    `  sagas: [${sagas.join(", ")}],`,
    `  workers: ${workers},`,
    `  spread: ${spread},`,
    troubles.length === 0
      ? "  troubles: []"
      : `  troubles: [\n${troubles.map((one) => `    ${literal(one)}`).join(",\n")}\n  ]`,
    "}, options)"
  ].join("\n")

const literal = (trouble: Trouble): string =>
  `{ ${Object.entries(trouble).map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", ")} }`
