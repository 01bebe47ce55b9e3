/**
 * An engine for tests: journals in memory, virtual time, a log of what steps did, and steps that fail on demand.
 *
 * It needs no test framework: everything is a layer or an effect. Steps run as they do in production, by the same
 * executor; only what they ask of the world is logged and, where a test says so, disturbed.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Execution from "../Execution.ts"
import * as SagaEngine from "../SagaEngine.ts"
import * as SagaInspector from "../SagaInspector.ts"
import * as SagaStore from "../SagaStore.ts"
import * as Step from "../Step.ts"
import { CrashPoint } from "./internal/crashPoint.ts"
import { actName, outcomeOf } from "./internal/timeline.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * One thing that a step did.
 *
 * **Details**
 *
 * `name` is how the log says it: `Charge`, `undo Charge`, `check Charge`, `check undo Charge`. `at` is virtual time in
 * milliseconds. `outcome` is undefined while it goes on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Act {
  readonly name: string
  readonly kind: Execution.ActKind
  readonly execution: string
  readonly step: string
  /** The idempotency key under which it was done. */
  readonly key: string
  readonly attempt: number
  readonly at: number
  outcome: "succeeded" | "failed" | "died" | "interrupted" | undefined
}

/**
 * Which acts are disturbed: those of a step's effect unless `kind` says otherwise; the next one, or the next `times`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Which {
  /**
   * @default "execute"
   */
  readonly kind?: Execution.ActKind | undefined
  /**
   * @default 1
   */
  readonly times?: number | undefined
}

/**
 * Nothing came of an effect within the time that a test gave it.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotEnded extends Schema.TaggedError<NotEnded>()("NotEnded", {
  within: Schema.String,
  log: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `It has not ended within ${this.within} of virtual time. What steps did: ${
      this.log.join(", ") || "nothing"
    }. ` +
      "Give it more time, or look for a step that hangs."
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a test sees and does.
 *
 * @category services
 * @since 0.1.0
 */
export class SagaTest extends Context.Service<SagaTest, {
  /** What steps did, in the order in which they began. */
  readonly acts: Effect.Effect<ReadonlyArray<Act>>
  /** The same by name. */
  readonly log: Effect.Effect<ReadonlyArray<string>>
  /** How often an act was begun under an idempotency key. */
  readonly times: (key: string) => Effect.Effect<number>
  /** Replaces what a step asks of the world. */
  readonly disturb: (step: string, by: Disturbance, which?: Which) => Effect.Effect<void>
}>()("effect-saga/testing/SagaTest") {}

/**
 * What is run instead of an act; it may run the act itself.
 *
 * @category models
 * @since 0.1.0
 */
export type Disturbance = (
  act: Effect.Effect<unknown, unknown, unknown>
) => Effect.Effect<unknown, unknown, unknown>

// ---------------------------------------------------------------------------------------------------------------------
// disturbances
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The next acts of a step fail with this error, without happening. One that the step does not declare is a defect.
 *
 * @category disturbances
 * @since 0.1.0
 */
export const fail = (step: string, error: unknown, which?: Which): Effect.Effect<void, never, SagaTest> =>
  SagaTest.use((test) => test.disturb(step, () => Effect.fail(error), which))

/**
 * The next acts of a step die, without happening.
 *
 * @category disturbances
 * @since 0.1.0
 */
export const die = (step: string, defect: unknown, which?: Which): Effect.Effect<void, never, SagaTest> =>
  SagaTest.use((test) => test.disturb(step, () => Effect.die(defect), which))

/**
 * The next acts of a step take this much longer.
 *
 * @category disturbances
 * @since 0.1.0
 */
export const delay = (
  step: string,
  duration: Duration.Input,
  which?: Which
): Effect.Effect<void, never, SagaTest> =>
  SagaTest.use((test) => test.disturb(step, (act) => Effect.delay(act, duration), which))

/**
 * The next acts of a step do not happen and never end: with a timeout, they time out.
 *
 * @category disturbances
 * @since 0.1.0
 */
export const hang = (step: string, which?: Which): Effect.Effect<void, never, SagaTest> =>
  SagaTest.use((test) => test.disturb(step, () => Effect.never, which))

/**
 * The next acts of a step happen, and their answer never comes: with a timeout, nobody knows whether they happened.
 *
 * @category disturbances
 * @since 0.1.0
 */
export const loseAnswer = (step: string, which?: Which): Effect.Effect<void, never, SagaTest> =>
  SagaTest.use((test) => test.disturb(step, (act) => Effect.andThen(act, Effect.never), which))

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs an effect, and lets virtual time pass until it has ended.
 *
 * **Details**
 *
 * Gives its `Exit`, so that a test looks at failures as values. Fails with `NotEnded` when `within` has passed; then
 * the effect is interrupted, and an execution that it started goes on.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options?: {
    /**
     * @default "400 days"
     */
    readonly within?: Duration.Input | undefined
  }
): Effect.Effect<Exit.Exit<A, E>, NotEnded, R | SagaTest> =>
  Effect.gen(function*() {
    const within = Duration.fromInputUnsafe(options?.within ?? "400 days")
    const fiber = yield* Effect.forkChild(effect)
    const start = yield* Clock.currentTimeMillis
    const end = start + Duration.toMillis(within)
    while (true) {
      yield* settle
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      const now = yield* Clock.currentTimeMillis
      if (now >= end) break
      // Everything that is due on the way wakes at its own time; the pace only says where time stands at the end.
      yield* TestClock.adjust(Math.min(Math.ceil(end - now), Math.max(10, Math.floor((now - start) / 8))))
    }
    yield* Fiber.interrupt(fiber)
    const log = yield* SagaTest.use((test) => test.log)
    return yield* new NotEnded({ within: Duration.format(within), log })
  })

/**
 * Lets everything happen that needs no time: afterwards each execution has ended, or waits.
 *
 * @category running
 * @since 0.1.0
 */
export const settle: Effect.Effect<void> = Effect.gen(function*() {
  for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
})

export {
  /**
   * What a compensation has to keep, whatever its step is.
   *
   * @category laws
   * @since 0.1.0
   */
  type Law,
  /**
   * A step that breaks a law, with the smallest input that was found.
   *
   * @category errors
   * @since 0.1.0
   */
  LawBroken,
  /**
   * What is checked, and on what.
   *
   * @category options
   * @since 0.1.0
   */
  type LawOptions,
  /**
   * Checks that a step's compensation undoes it: also when it runs twice, when the step's own request arrives after it,
   * and when the step never happened. Fails with `LawBroken`, which says how, for the smallest input that was found.
   *
   * **Details**
   *
   * The participant is whatever services the test provides; its state goes on from one input to the next, so `observe`
   * looks before and after. A step that is refused for an input must have changed nothing. Results go through the
   * step's schema, as in the journal. Durable waits in a compensation take no time.
   *
   * @category laws
   * @since 0.1.0
   */
  undoLaws
} from "./internal/undoLaws.ts"

export {
  /**
   * Runs a saga once for every point at which something can happen to its process: before and after each append and
   * each act, in a course where no step refuses, and in one for each step that can. Fails with `CrashFailed`, which
   * says where it breaks which rule, and what was seen.
   *
   * **Details**
   *
   * What happens there: the process dies; the answer of an append is lost; another process takes over while the first
   * stands still, and then both go on; it is stopped; somebody cancels. Then pairs of these. Time is virtual, and the
   * rules are those that the library promises: what is undone is undone in reverse order, everything that happened is
   * undone or named, nothing starts after the roll-back began, what is recorded never runs again, what was in flight
   * runs again only under its key, and it ends as the undisturbed run. `check` adds those of your own; it sees the
   * participants.
   *
   * `participants` are built for each run and outlive its processes. What they do has to depend on keys, not on how
   * often they were asked: a step runs again after a crash.
   *
   * **Gotchas**
   *
   * A saga has to do the same each time: no randomness and no clock of the platform outside of its steps. What steps do
   * to the world outside of the test is done as often as there are runs.
   *
   * **Example** (An order)
   *
   * ```ts
   * import { Effect } from "effect"
   * import { SagaTest } from "effect-saga/testing"
   *
   * const test = Effect.gen(function*() {
   *   const report = yield* SagaTest.crashEverywhere(PlaceOrder, order, {
   *     handlers: PlaceOrderLive,
   *     participants: ShopTest,
   *     check: ({ outcome }) => outcome._tag === "Completed" ? Effect.void : nothingIsCharged
   *   })
   *   console.log(`${report.runs} runs`)
   * })
   * ```
   *
   * @category crashing
   * @since 0.1.0
   */
  crashEverywhere,
  /**
   * A saga that breaks a rule where something happens to its process, with up to three such places.
   *
   * @category errors
   * @since 0.1.0
   */
  CrashFailed,
  /**
   * Which points were visited.
   *
   * @category models
   * @since 0.1.0
   */
  type CrashReport
} from "./internal/crash.ts"

export {
  /**
   * How everywhere is everywhere, and what must hold there.
   *
   * @category options
   * @since 0.1.0
   */
  type CrashOptions,
  /**
   * One run of a saga, once it has ended.
   *
   * @category models
   * @since 0.1.0
   */
  type CrashRun,
  /**
   * What happens to a process at a point.
   *
   * @category models
   * @since 0.1.0
   */
  type Mishap,
  /**
   * What somebody does from outside at a point, a signal for instance.
   *
   * @category models
   * @since 0.1.0
   */
  type Outside
} from "./internal/crashRun.ts"

/**
 * A moment within a step's effect or compensation at which `crashEverywhere` lets things happen, as it does before and
 * after each of them. Does nothing elsewhere.
 *
 * @category crashing
 * @since 0.1.0
 */
export const crashPoint = (name: string): Effect.Effect<void> => CrashPoint.use((pass) => pass(name))

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An engine in memory on a test clock, with the log. Provide the sagas' layers with it.
 *
 * **Example** (A refund that fails once)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { SagaTest } from "effect-saga/testing"
 *
 * const test = Effect.gen(function*() {
 *   yield* SagaTest.fail("ShipOrder", new NoCarrier())
 *   yield* SagaTest.fail("ChargePayment", new RefundRejected(), { kind: "compensate" })
 *   const exit = yield* SagaTest.run(PlaceOrder.execute(order))
 *   const { log } = yield* SagaTest.SagaTest
 * }).pipe(Effect.provide(PlaceOrderLive.pipe(Layer.provideMerge(SagaTest.layer))))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  SagaTest | SagaEngine.SagaEngine | SagaStore.SagaStore | SagaInspector.SagaInspector | TestClock.TestClock
> = Layer.suspend(() => {
  const acts: Array<Act> = []
  const disturbances: Array<{ readonly step: string; readonly by: Disturbance; readonly which: Which; left: number }> =
    []
  const intercept: NonNullable<typeof Execution.Interceptor["Service"]> = ({ kind }, act) =>
    Effect.flatMap(
      Step.StepContext,
      ({ attempt, execution, key, step }) =>
        Effect.flatMap(Clock.currentTimeMillis, (at) => {
          const done: Act = { name: actName(kind, step), kind, execution, step, key, attempt, at, outcome: undefined }
          acts.push(done)
          const found = disturbances.find((one) =>
            one.step === step && (one.which.kind ?? "execute") === kind && one.left > 0
          )
          if (found !== undefined) found.left--
          return Effect.onExit(found === undefined ? act : found.by(act), (exit) =>
            Effect.sync(() => {
              done.outcome = outcomeOf(exit)
            }))
        })
    )
  const test = Layer.succeed(SagaTest, {
    acts: Effect.sync(() => [...acts]),
    log: Effect.sync(() => acts.map((act) => act.name)),
    times: (key) => Effect.sync(() => acts.filter((act) => act.key === key).length),
    disturb: (step, by, which = {}) =>
      Effect.sync(() => {
        disturbances.push({ step, by, which, left: which.times ?? 1 })
      })
  })
  // One process, which hears of everything: there is no need to poll.
  const engine = Layer.orDie(SagaEngine.layerOptions({ lease: "1000 days", poll: "100 days", grace: 0 }))
  return Layer.merge(engine, SagaInspector.layer).pipe(
    Layer.provideMerge(SagaStore.layerMemory),
    Layer.provideMerge(Layer.merge(test, Layer.succeed(Execution.Interceptor, intercept))),
    Layer.provideMerge(TestClock.layer())
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** How often the scheduler gets its turn before a test looks: far more than one execution takes between two waits. */
const turns = 64
