/**
 * Rules 24, 27 and 28 as laws over random bodies: what is undone in which order, that each compensation is recorded
 * once, that nothing is forgotten; for the first process, and for each that takes over after an append.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, Option, Result } from "effect"
import { SagaError } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Journal from "../../src/Journal.ts"
import * as Shapes from "../utils/Shapes.ts"
import * as World from "../utils/World.ts"

// ---------------------------------------------------------------------------------------------------------------------
// laws
// ---------------------------------------------------------------------------------------------------------------------

const isHeld = (entry: Journal.Entry) =>
  entry._tag === "StepStarted" && (entry.kind === "compensable" || entry.kind === "onRollback")

/** A roll-back that has begun: of the whole saga, of a scope, or of these steps. */
interface Undoing {
  readonly name: string
  readonly covers: (key: string) => boolean
  /** The place of the step that it undid last. */
  last: number
  running: string | undefined
}

/** How deep what is undone lies in the body: named steps lie in no roll-back but their own. */
const depth = (undoing: string): number =>
  undoing === "scope " ? 0 : undoing.startsWith("steps ") ? 1_000 : undoing.split("/").length

/** Within each roll-back: the exact reverse of the order in which the steps succeeded, one after the other. */
const order = (entries: ReadonlyArray<Journal.Entry>): void => {
  const scopes = new Map<string, string>()
  const completed: Array<string> = []
  const undone = new Set<string>()
  /** The inner ones first. */
  let active: Array<Undoing> = []
  const begin = (name: string, covers: (key: string) => boolean) => {
    active.unshift({ name, covers, last: Infinity, running: undefined })
    // What lost a race is undone by its own roll-back, also where one around it begins before that is done.
    active = active.toSorted((a, b) => depth(b.name) - depth(a.name))
  }
  const end = (name: string) => {
    const ended = active.find((_) => _.name === name)!
    // Nothing in its range was passed over.
    const left = completed.filter((key) => ended.covers(key) && !undone.has(key))
    assert.deepStrictEqual(left, [], `${name} left something`)
    active = active.filter((_) => _ !== ended)
  }
  for (const entry of entries) {
    if (isHeld(entry) && entry._tag === "StepStarted") scopes.set(Journal.refKey(entry), entry.scope ?? "")
    if (entry._tag === "StepSucceeded" && scopes.has(Journal.refKey(entry))) completed.push(Journal.refKey(entry))
    if (entry._tag === "RollbackStarted") {
      begin(`scope ${entry.scope}`, (key) => Journal.isWithin(scopes.get(key)!, entry.scope))
    }
    if (entry._tag === "RaceWon") {
      for (const scope of entry.losers) begin(`scope ${scope}`, (key) => Journal.isWithin(scopes.get(key)!, scope))
    }
    if (entry._tag === "StepsRollbackStarted") {
      const keys = entry.steps.map(Journal.refKey)
      begin(`steps ${Journal.refKey(entry)}`, (key) => keys.includes(key))
    }
    if (entry._tag === "ScopeRolledBack") end(`scope ${entry.scope}`)
    if (entry._tag === "StepsRolledBack") end(`steps ${Journal.refKey(entry)}`)
    if (entry._tag === "SagaRolledBack") end("scope ")
    if (entry._tag === "CompensationStarted") {
      const key = Journal.refKey(entry)
      const by = active.find((_) => _.covers(key))
      if (by === undefined) return assert.fail(`${entry.name} is undone by nobody`)
      const place = completed.indexOf(key)
      assert.isAtLeast(place, 0, `${entry.name} is undone though it has not happened`)
      assert.isBelow(place, by.last, `${entry.name} is undone out of order`)
      assert.isUndefined(by.running, `${entry.name} is undone beside ${by.running}`)
      const between = completed.slice(place + 1).filter((other) => by.covers(other) && !undone.has(other))
      assert.deepStrictEqual(between, [], `${entry.name} is undone before what came after it`)
      by.last = place
      by.running = key
    }
    if (entry._tag === "CompensationSucceeded" || entry._tag === "CompensationFailed") {
      const key = Journal.refKey(entry)
      const by = active.find((_) => _.running === key)!
      by.running = undefined
      // One that failed for good is passed over: the roll-back goes on.
      undone.add(key)
    }
  }
}

/**
 * Each compensation begins at most once, and has exactly one end; none only where its process died while a park was
 * under way, which names it.
 */
const once = (entries: ReadonlyArray<Journal.Entry>): void => {
  const count = (...tags: ReadonlyArray<Journal.Entry["_tag"]>) => {
    const counts = new Map<string, number>()
    for (const entry of entries) {
      if (!tags.includes(entry._tag) || !("name" in entry)) continue
      counts.set(Journal.refKey(entry), (counts.get(Journal.refKey(entry)) ?? 0) + 1)
    }
    return counts
  }
  const last = entries.at(-1)
  const died = entries.some((_) => _._tag === "Claimed") && last?._tag === "SagaParked" ? last.unresolved : []
  const ends = count("CompensationSucceeded", "CompensationFailed")
  for (const [key, times] of count("CompensationStarted")) {
    assert.strictEqual(times, 1, `the compensation of ${key} began again`)
    if (ends.has(key) || !died.some((_) => Journal.refKey(_) === key)) {
      assert.strictEqual(ends.get(key), 1, `the compensation of ${key} has not exactly one end`)
    }
    ends.delete(key)
  }
  assert.deepStrictEqual([...ends], [], "a compensation has ended and not begun")
}

/** What happened is undone, named as unresolved, or stands since nobody rolled it back. */
const conservation = (state: Journal.JournalState): void => {
  for (const [key, { compensation, kind, status }] of state.steps) {
    if (status !== "succeeded" || (kind !== "compensable" && kind !== "onRollback")) continue
    const unresolved = state.end?._tag === "SagaParked" && state.end.unresolved.some((_) => Journal.refKey(_) === key)
    const undone = compensation.status === "succeeded"
    if (state.rollback === undefined) {
      assert.isTrue(undone || unresolved || compensation.status === "held", `${key} is ${compensation.status}`)
    } else {
      assert.isTrue(undone !== unresolved, `${key} is ${undone ? "undone and" : "not undone and not"} named`)
    }
  }
}

interface Final {
  readonly end: string
  readonly compensations: ReadonlyArray<string>
}

/** Checks everything that must hold of an execution that came to its end, and says how. */
const check = Effect.fnUntraced(function*(world: World.World, exit: Exit.Exit<unknown, unknown>) {
  const entries = yield* world.entries
  const polled = yield* world.poll
  return yield* Effect.try({
    try: (): Final => {
      const state = Result.getOrThrow(Journal.fold(entries))
      order(entries)
      once(entries)
      conservation(state)
      const plain = (value: unknown) => JSON.parse(JSON.stringify(value))
      assert.deepStrictEqual(plain(polled.steps), plain(Journal.stepRecords(state)))
      assert.deepStrictEqual(plain(polled.compensations), plain(Journal.compensationRecords(state)))
      return {
        end: Exit.isSuccess(exit) ? "completed" : wordOf(Option.getOrThrow(Cause.findErrorOption(exit.cause))),
        compensations: Journal.compensationRecords(state).map((_) => `${_.step} ${_.status} ${_.attempts}`)
      }
    },
    catch: (error) => new Error(`${String(error)}\n${entries.map(World.sentence).join("\n")}`, { cause: error })
  })
})

const wordOf = (error: unknown): string =>
  error instanceof SagaError.SagaError && error.reason instanceof SagaError.Parked
    ? `parked ${error.reason.why._tag}: ${error.reason.unresolved.map((_) => `${_.step} ${_.attempts}`).join(", ")}`
    : String(error)

// ---------------------------------------------------------------------------------------------------------------------
// runs
// ---------------------------------------------------------------------------------------------------------------------

const ran = { bodies: 0, recoveries: 0, rolledBack: 0, parked: 0, inner: 0 }
afterAll(() =>
  console.log(
    `laws of roll-back: ${ran.bodies} bodies (${ran.rolledBack} rolled back, ${ran.parked} parked, ` +
      `${ran.inner} with an inner roll-back), ${ran.recoveries} recoveries`
  )
)

const run = Effect.fnUntraced(function*(shape: Shapes.Shape) {
  const live = Shapes.toLive(shape)
  const world = yield* World.make(live)
  const exit = yield* world.execute
  const final = yield* check(world, exit)
  const journal = yield* world.entries
  ran.bodies++
  if (journal.some((_) => _._tag === "ScopeRolledBack" || _._tag === "StepsRolledBack")) ran.inner++
  if (final.end.startsWith("parked")) ran.parked++
  else if (final.end !== "completed") ran.rolledBack++
  // The acts began in the order in which the journal has them; those of two who lost a race have none.
  const acts = new Set(world.parts.log.filter((_) => _.startsWith("undo ")))
  const starts = new Set(journal.flatMap((_) => _._tag === "CompensationStarted" ? [`undo ${_.name}`] : []))
  const raced = journal.some((_) => _._tag === "RaceWon" && _.losers.length > 1)
  assert.deepStrictEqual(raced ? [...acts].sort() : [...acts], raced ? [...starts].sort() : [...starts])
  for (const cut of yield* World.everyCut(world, live, World.makeParts)) {
    ran.recoveries++
    const again = yield* check(cut.world, cut.exit).pipe(
      Effect.mapError((error) => new Error(`after ${cut.appends} appends: ${error.message}`, { cause: error }))
    )
    if (Shapes.isTimed(shape)) continue
    const sorted = ({ compensations, end }: Final) =>
      Shapes.isConcurrent(shape) ? [end.split(":")[0], compensations.toSorted()] : [end, compensations]
    assert.deepStrictEqual(sorted(again), sorted(final), `after ${cut.appends} appends`)
  }
})

/** A park is warned of, and there are many. */
const quietly = Layer.merge(TestClock.layer(), Logger.layer([]))

const holds = (shape: Shapes.Shape): Promise<void> =>
  Effect.runPromise(Effect.scoped(Effect.orDie(run(shape))).pipe(Effect.provide(quietly)))

const fresh = Date.now() % 2 ** 31

describe("rules 24, 27, 28: whatever the body", () => {
  for (const seed of [1, 2, 3, 4, fresh]) {
    it(
      `everything is undone once, in reverse, from wherever it is taken up (${
        seed === fresh ? `a fresh seed: ${seed}` : `seed ${seed}`
      })`,
      () => fc.assert(fc.asyncProperty(Shapes.arbitrary, holds), { seed, numRuns: 60 }),
      60_000
    )
  }
})
