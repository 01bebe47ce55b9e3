/**
 * Live = replay: random bodies are run while everything that they see is written down; then the process dies after each
 * append, with or without what was in flight having happened, and another one takes over. Some of those die again.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Fiber, Option, Random, Result, Schedule, Schema } from "effect"
import { Saga, SagaError, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Journal from "../../src/Journal.ts"
import { Refused, Stuck } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

// ---------------------------------------------------------------------------------------------------------------------
// bodies
// ---------------------------------------------------------------------------------------------------------------------

interface StepSpec {
  readonly _tag: "Step"
  readonly kind: "step" | "readonly"
  readonly latency: number
  /** It happens at once, and its answer takes the latency; otherwise it happens at the end. */
  readonly early: boolean
  readonly outcome: "ok" | "refuse" | "refuseOnce" | "dieOnce"
  readonly retry: boolean
  readonly undo: "ok" | "failOnce" | "dieOnce"
}

type Spec =
  | StepSpec
  | { readonly _tag: "Sleep"; readonly millis: number }
  | { readonly _tag: "Hook" }
  | { readonly _tag: "Commit" }
  | { readonly _tag: "Seq"; readonly of: ReadonlyArray<Spec> }
  | { readonly _tag: "All"; readonly of: ReadonlyArray<Spec>; readonly concurrency: number }
  | { readonly _tag: "Race"; readonly of: ReadonlyArray<Spec>; readonly first: boolean }
  | { readonly _tag: "Timeout"; readonly of: Spec; readonly millis: number }
  | { readonly _tag: "Caught"; readonly of: Spec }
  | { readonly _tag: "Scoped"; readonly of: Spec; readonly caught: boolean }
  | { readonly _tag: "Loop"; readonly of: Spec; readonly times: number }
  | { readonly _tag: "Fork"; readonly of: Spec; readonly beside: Spec }

const millis = fc.constantFrom(0, 0, 10, 20, 50)
const stepSpec: fc.Arbitrary<StepSpec> = fc.record({
  _tag: fc.constant("Step" as const),
  kind: fc.constantFrom("step" as const, "step" as const, "step" as const, "readonly" as const),
  latency: millis,
  early: fc.boolean(),
  outcome: fc.oneof(
    { arbitrary: fc.constant("ok" as const), weight: 12 },
    { arbitrary: fc.constant("refuse" as const), weight: 3 },
    { arbitrary: fc.constant("refuseOnce" as const), weight: 3 },
    { arbitrary: fc.constant("dieOnce" as const), weight: 1 }
  ),
  retry: fc.boolean(),
  undo: fc.oneof(
    { arbitrary: fc.constant("ok" as const), weight: 6 },
    { arbitrary: fc.constant("failOnce" as const), weight: 2 },
    { arbitrary: fc.constant("dieOnce" as const), weight: 1 }
  )
})

const { spec } = fc.letrec<{ spec: Spec }>((tie) => {
  const some = fc.array(tie("spec"), { minLength: 1, maxLength: 4 })
  return {
    spec: fc.oneof(
      { maxDepth: 4, depthSize: "medium" },
      { arbitrary: stepSpec, weight: 6 },
      { arbitrary: fc.record({ _tag: fc.constant("Sleep" as const), millis }), weight: 1 },
      { arbitrary: fc.record({ _tag: fc.constant("Hook" as const) }), weight: 1 },
      { arbitrary: fc.record({ _tag: fc.constant("Commit" as const) }), weight: 1 },
      { arbitrary: fc.record({ _tag: fc.constant("Seq" as const), of: some }), weight: 4 },
      {
        arbitrary: fc.record({
          _tag: fc.constant("All" as const),
          of: some,
          concurrency: fc.integer({ min: 1, max: 4 })
        }),
        weight: 3
      },
      {
        arbitrary: fc.record({ _tag: fc.constant("Race" as const), of: some, first: fc.boolean() }),
        weight: 1
      },
      {
        arbitrary: fc.record({
          _tag: fc.constant("Timeout" as const),
          of: tie("spec"),
          millis: fc.constantFrom(5, 15, 40)
        }),
        weight: 1
      },
      { arbitrary: fc.record({ _tag: fc.constant("Caught" as const), of: tie("spec") }), weight: 2 },
      {
        arbitrary: fc.record({ _tag: fc.constant("Scoped" as const), of: tie("spec"), caught: fc.boolean() }),
        weight: 2
      },
      {
        arbitrary: fc.record({
          _tag: fc.constant("Loop" as const),
          of: tie("spec"),
          times: fc.integer({ min: 1, max: 3 })
        }),
        weight: 1
      },
      { arbitrary: fc.record({ _tag: fc.constant("Fork" as const), of: tie("spec"), beside: tie("spec") }), weight: 1 }
    )
  }
})

type Body = Effect.Effect<unknown, unknown, any>

/** What a test does beside the body: how many acts have begun when a cancel is sent. */
const scenario = fc.record({
  body: fc.array(spec, { minLength: 1, maxLength: 4 }).map((of): Spec => ({ _tag: "Seq", of })),
  /** After the body: a pivot, perhaps, and steps past the point of no return. */
  settle: fc.option(
    fc.record({ pivot: fc.option(stepSpec, { nil: undefined }), steps: fc.array(stepSpec, { maxLength: 3 }) }),
    {
      nil: undefined,
      freq: 2
    }
  ),
  cancelAt: fc.option(fc.integer({ min: 0, max: 8 }), { nil: undefined, freq: 3 }),
  again: fc.nat()
})

// ---------------------------------------------------------------------------------------------------------------------
// participants
// ---------------------------------------------------------------------------------------------------------------------

interface Op {
  readonly op: "do" | "refuse" | "die" | "read" | "undo" | "undo failed" | "begin"
  /** The key without its last part: which request it is. */
  readonly request: string
  readonly key: string
  /** How many appends of the journal were durable. */
  readonly durable: number
}

/** What happened in the world, and what the body saw of it. */
class Ledger {
  readonly ops: Array<Op> = []
  /** One for each run of the body. */
  readonly traces: Array<Array<readonly [durable: number, line: string]>> = []
  durable: number
  onBegin: (begun: number) => void = () => {}
  begun = 0
  readonly before: ReadonlyArray<Op>
  constructor(before: ReadonlyArray<Op>, durable: number) {
    this.before = before
    this.durable = durable
  }
  add(op: Op["op"], key: string) {
    this.ops.push({ op, request: key.slice(0, key.lastIndexOf("/")), key, durable: this.durable })
    if (op === "begin") this.onBegin(++this.begun)
  }
  all(): ReadonlyArray<Op> {
    return [...this.before, ...this.ops]
  }
  has(op: Op["op"], key: string): boolean {
    return this.all().some((_) => _.op === op && _.key === key)
  }
}

const makeStep = (
  ledger: Ledger,
  name: string,
  spec: Omit<StepSpec, "kind"> & { readonly kind: StepSpec["kind"] | "pivot" | "retryable" }
): any => {
  const happen = (key: string) => {
    const ok = spec.outcome !== "refuse" && !(spec.outcome === "refuseOnce" && key.endsWith("/0"))
    if (!ledger.has("do", key)) ledger.add(!ok ? "refuse" : spec.kind === "readonly" ? "read" : "do", key)
    return ok
  }
  const execute = Effect.gen(function*() {
    const key = yield* Step.idempotencyKey
    ledger.add("begin", key)
    if (spec.outcome === "dieOnce" && !ledger.has("die", key)) {
      ledger.add("die", key)
      return yield* Effect.die(new Error("a bug"))
    }
    const early = spec.early && happen(key)
    if (spec.latency > 0) yield* Effect.sleep(spec.latency)
    return early || happen(key) ? key : yield* new Refused({ step: name })
  })
  const retry = spec.retry ? Schedule.spaced(30).pipe(Schedule.upTo({ times: 2 })) : undefined
  const options = { success: Schema.String, error: Refused, execute, retry }
  if (spec.kind === "readonly") return Step.readonly(name as "step", options as never)
  if (spec.kind === "pivot") return Step.pivot(name as "step", options as never)
  if (spec.kind === "retryable") return Step.retryable(name as "step", { success: Schema.String, execute } as never)
  return Step.make(name as "step", {
    ...options,
    compensate: () => Effect.flatMap(Step.idempotencyKey, (key) => undo(ledger, spec, key)),
    compensation: { retry: Schedule.spaced(30).pipe(Schedule.upTo({ times: 2 })) }
  } as never)
}

const undo = (ledger: Ledger, spec: Pick<StepSpec, "undo">, key: string) =>
  Effect.suspend((): Effect.Effect<void, Stuck> => {
    if (spec.undo === "failOnce" && !ledger.has("undo failed", key)) {
      ledger.add("undo failed", key)
      return Effect.fail(new Stuck({ step: key }))
    }
    if (spec.undo === "dieOnce" && !ledger.has("undo failed", key)) {
      ledger.add("undo failed", key)
      return Effect.die(new Error("a bug"))
    }
    ledger.add("undo", key)
    return Effect.void
  })

/** The body of a spec: every place has a name of its own, and what it reads between two requests goes to the trace. */
const toBody = (ledger: Ledger, spec: Spec, place: string): Body => {
  const trace = (line: string) =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const random = yield* Random.nextInt
      ledger.traces.at(-1)!.push([ledger.durable, `${place} ${line} at ${now} draws ${random}`])
    })
  const nested = (of: Spec, index: number) => toBody(ledger, of, `${place}.${index}`)
  const caught = (body: Body): Body =>
    Effect.catchTag(body as Effect.Effect<unknown, Refused>, "Refused", () => Effect.void)
  switch (spec._tag) {
    case "Step":
      return trace("asks").pipe(
        Effect.andThen(makeStep(ledger, place, spec)),
        Effect.tap((value) => trace(`got ${String(value)}`)),
        Effect.tapError((error) => trace(`failed ${(error as Refused).step}`))
      )
    case "Sleep":
      return Effect.andThen(Effect.sleep(spec.millis), trace("woke"))
    case "Hook":
      return Saga.onRollback(
        place as "step",
        () => Effect.flatMap(Step.idempotencyKey, (key) => undo(ledger, { undo: "ok" }, key))
      )
    case "Commit": {
      const key = `S/1/0/${place}`
      return Saga.onCommit(place as "step", Effect.sync(() => ledger.add("read", key)))
    }
    case "Seq":
      return Effect.forEach(spec.of, nested)
    case "All":
      return Effect.all(spec.of.map(nested), { concurrency: spec.concurrency })
    case "Race":
      return spec.first ? Effect.raceAllFirst(spec.of.map(nested)) : Effect.raceAll(spec.of.map(nested))
    case "Timeout":
      return Effect.tap(Effect.timeoutOption(nested(spec.of, 0), spec.millis), (result) => trace(result._tag))
    case "Caught":
      return caught(nested(spec.of, 0))
    case "Scoped": {
      const body = Saga.scoped(nested(spec.of, 0))
      return spec.caught ? Effect.andThen(caught(body), trace("after the scope")) : body
    }
    case "Loop":
      return Effect.forEach(Array.from({ length: spec.times }), () => nested(spec.of, 0))
    case "Fork":
      return Effect.scoped(Effect.gen(function*() {
        const fiber = yield* Effect.forkScoped(nested(spec.of, 0))
        yield* nested(spec.beside, 1)
        return yield* Fiber.join(fiber)
      }))
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// laws
// ---------------------------------------------------------------------------------------------------------------------

const requestOf = (entry: Journal.Ref) => {
  const occurrence = entry.occurrence ?? 0
  return `S/1/0/${entry.name}/${entry.path === undefined ? occurrence : `${entry.path}:${occurrence}`}`
}

const requests = (entries: ReadonlyArray<Journal.Entry>, ...tags: ReadonlyArray<Journal.Entry["_tag"]>) =>
  entries.flatMap((entry) => tags.includes(entry._tag) && "name" in entry ? [requestOf(entry)] : [])

const sorted = (all: Iterable<string>) => [...new Set(all)].sort()

const checkEnd = (entries: ReadonlyArray<Journal.Entry>, exit: Exit.Exit<unknown, unknown>, ledger: Ledger) => {
  if (Exit.isFailure(exit)) {
    const error = Option.getOrThrow(Cause.findErrorOption(exit.cause))
    const fine = error instanceof Refused ||
      (error instanceof SagaError.SagaError && error.reason._tag === "Cancelled")
    assert.isTrue(fine, String(error))
  }
  const folded = Journal.fold(entries)
  assert.isTrue(Result.isSuccess(folded), JSON.stringify(folded))
  // What the journal says happened is what happened, and what was undone is what was undone.
  const acting = entries.flatMap((_) =>
    _._tag === "StepStarted" && ["compensable", "pivot", "retryable"].includes(_.kind) && !_.path?.startsWith("commit")
      ? [requestOf(_)]
      : []
  )
  const done = ledger.all().filter((_) => _.op === "do").map((_) => _.request)
  const undone = ledger.all().filter((_) => _.op === "undo").map((_) => _.request)
  const succeeded = requests(entries, "StepSucceeded").filter((_) => acting.includes(_))
  assert.deepStrictEqual(sorted(done), sorted(succeeded), "what happened is recorded")
  assert.deepStrictEqual(
    sorted(undone),
    sorted(requests(entries, "CompensationSucceeded")),
    "what was undone is recorded"
  )
  checkOrder(entries)
  if (Exit.isFailure(exit) && Result.isSuccess(folded)) {
    const compensable = entries.flatMap((_) =>
      _._tag === "StepStarted" && ["compensable", "onRollback"].includes(_.kind) ? [requestOf(_)] : []
    )
    const all = requests(entries, "StepSucceeded").filter((_) => compensable.includes(_))
    assert.deepStrictEqual(sorted(undone), sorted(all), "all that happened is undone")
  }
}

/** Each compensation that begins is that of the last step that succeeded and is still held, in its range. */
const checkOrder = (entries: ReadonlyArray<Journal.Entry>) => {
  const scopes = new Map<string, string>()
  const ranges: Array<string> = []
  let held: Array<string> = []
  for (const entry of entries) {
    if (entry._tag === "StepStarted" && ["compensable", "onRollback"].includes(entry.kind)) {
      scopes.set(requestOf(entry), entry.scope ?? "")
    }
    if (entry._tag === "StepSucceeded" && scopes.has(requestOf(entry))) held.push(requestOf(entry))
    if (entry._tag === "RollbackStarted") ranges.push(entry.scope)
    if (entry._tag === "ScopeRolledBack") ranges.splice(ranges.indexOf(entry.scope), 1)
    if (entry._tag !== "CompensationStarted") continue
    const request = requestOf(entry)
    const last = ranges.some((range) => held.filter((_) => Journal.isWithin(scopes.get(_)!, range)).at(-1) === request)
    assert.isTrue(last, `${request} was undone out of order`)
    held = held.filter((_) => _ !== request)
  }
}

/** What was recorded as settled before the crash did not run again. */
const checkOnce = (prefix: ReadonlyArray<Journal.Entry>, ledger: Ledger) => {
  const settled = requests(prefix, "StepSucceeded", "StepFailed", "StepWithdrawn")
  const again = ledger.ops.filter((_) => _.op === "begin" && settled.includes(_.request))
  assert.deepStrictEqual(again, [], "a settled step ran again")
  const undone = requests(prefix, "CompensationSucceeded")
  assert.deepStrictEqual(ledger.ops.filter((_) => _.op === "undo" && undone.includes(_.request)), [])
  const rolling = prefix.some((_) => _._tag === "RollbackStarted" && _.scope === "")
  if (rolling) assert.deepStrictEqual(ledger.ops.filter((_) => _.op === "begin"), [], "it went forward")
}

const run = Effect.fnUntraced(function*(world: World.World, ledger: Ledger, cancelAt: number | undefined) {
  world.recorded.onRow.current = (seq) => {
    ledger.durable = seq + 1
  }
  if (cancelAt === undefined) return yield* ended(world)
  const now = Fiber.getCurrent()!
  ledger.onBegin = (begun) => {
    if (begun === cancelAt) Effect.runForkWith(now.context)(Effect.ignore(world.cancel()))
  }
  return yield* ended(world)
})

/** The end, with a person who resumes whatever parks. */
const ended = Effect.fnUntraced(function*(world: World.World) {
  let exit = yield* world.recorded.appends.length === 0 ? world.execute : world.result
  for (let resumed = 0; resumed < 20 && Exit.isFailure(exit); resumed++) {
    const error = Option.getOrThrow(Cause.findErrorOption(exit.cause))
    if (!(error instanceof SagaError.SagaError) || error.reason._tag !== "Parked") break
    const fine = error.reason.why._tag === "Defect" || error.reason.why._tag === "CompensationFailed"
    assert.isTrue(fine, String(error))
    yield* Effect.ignore(world.resume)
    exit = yield* world.result
  }
  return exit
})

const check = Effect.fnUntraced(function*(given: {
  readonly body: Spec
  readonly settle: { readonly pivot: StepSpec | undefined; readonly steps: ReadonlyArray<StepSpec> } | undefined
  readonly cancelAt: number | undefined
  readonly again: number
}) {
  const live = (ledger: Ledger): World.Live => {
    const attempt = Effect.suspend(() => {
      ledger.traces.push([])
      return toBody(ledger, given.body, "s")
    })
    const { settle } = given
    if (settle === undefined) return World.body(() => attempt)
    const { pivot, steps } = settle
    return World.settled(() => ({
      attempt,
      ...(pivot === undefined ? undefined : { pivot: () => makeStep(ledger, "p", { ...pivot, kind: "pivot" }) }),
      settle: () =>
        Effect.forEach(
          steps,
          (step, index) =>
            makeStep(ledger, `r${index}`, {
              ...step,
              kind: "retryable",
              outcome: step.outcome === "refuse" ? "ok" : step.outcome
            })
        )
    }))
  }

  const crash = Effect.fnUntraced(function*(
    from: World.World,
    ledger: Ledger,
    appends: number,
    inFlight: boolean,
    depth: number
  ): Effect.fn.Return<void, unknown, any> {
    const happened = ledger.all().filter((_) => _.durable < appends || (inFlight && _.durable === appends))
    const next = new Ledger(happened.filter((_) => _.op !== "begin"), appends + 1)
    const world = yield* from.crashed(appends, live(next))
    const where = `after ${appends}${inFlight ? " and what was in flight" : ""}, depth ${depth}`
    const prefix = yield* world.entries
    const exit = yield* run(world, next, undefined)
    const entries = yield* world.entries
    yield* Effect.try({
      try: () => {
        for (const trace of ledger.traces) {
          const seen = trace.filter(([durable]) => durable < appends).map(([, line]) => line)
          const again = next.traces[0]?.slice(0, seen.length).map(([, line]) => line)
          if (again !== undefined) assert.deepStrictEqual(again, seen, "the body saw the same")
        }
        checkOnce(prefix, next)
        checkEnd(entries, exit, next)
      },
      catch: (error) =>
        new Error(`${where}: ${String(error)}\n${entries.map(World.sentence).join("\n")}`, { cause: error })
    })
    if (depth > 1) return
    const rows = (yield* world.journal).length
    const second = appends + 2 + given.again % Math.max(1, rows - appends - 2)
    if (second < rows) yield* crash(world, next, second, !inFlight, depth + 1)
  })

  const ledger = new Ledger([], 0)
  const world = yield* World.make(live(ledger))
  const exit = yield* run(world, ledger, given.cancelAt)
  const entries = yield* world.entries
  yield* Effect.try({
    try: () => checkEnd(entries, exit, ledger),
    catch: (error) => new Error(`live: ${String(error)}\n${entries.map(World.sentence).join("\n")}`, { cause: error })
  })
  const rows = (yield* world.journal).length
  for (let appends = 1; appends < rows; appends++) {
    yield* crash(world, ledger, appends, false, 1)
    yield* crash(world, ledger, appends, true, 1)
  }
})

const holds = (given: Parameters<typeof check>[0]): Promise<void> =>
  Effect.runPromise(Effect.scoped(check(given)).pipe(Effect.provide(TestClock.layer())) as Effect.Effect<void>)

describe("live = replay", () => {
  for (const seed of [1, 2, 3, 4]) {
    it(
      `holds for random bodies (seed ${seed})`,
      () => fc.assert(fc.asyncProperty(scenario, holds), { seed, numRuns: 20 }),
      60_000
    )
  }
})
