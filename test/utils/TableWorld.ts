/**
 * One case of the table of outcomes, run for real: three steps whose participants log what they do, processes that die
 * when a participant says so, virtual time; and what was seen, in the words of the model.
 */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Latch, Layer, Logger, Option, Result, Schedule, Schema, Scope } from "effect"
import { Saga, SagaEngine, SagaError, SagaStore, Step } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import * as Journal from "../../src/Journal.ts"
import { Refused, Stuck } from "./Shop.ts"
import type { Case, Expected } from "./tableModel.ts"

// ---------------------------------------------------------------------------------------------------------------------
// participants
// ---------------------------------------------------------------------------------------------------------------------

type Fault = "refuse" | "hang" | "die" | "crash"

interface Process {
  dead: boolean
  readonly workers: Set<string>
}

interface World {
  /** `A 0`, `C ?0`, `undo B`, `? B`: the acts in the order in which they began. */
  readonly log: Array<string>
  readonly undoKeys: Set<string>
  readonly faults: Map<string, Array<Fault>>
  readonly checks: Map<string, Array<"happened" | "never" | "going">>
  /** The steps whose effect there is, as the participants know. */
  readonly effects: Set<string>
  readonly gate: Latch.Latch
  readonly encoded: SagaStore.Encoded
  /** A participant brought its process down. */
  crashes: boolean
}

const faultsOf: Record<string, Fault> = {
  refused: "refuse",
  fails: "refuse",
  timeout: "hang",
  times: "hang",
  defect: "die",
  dies: "die",
  crash: "crash",
  process: "crash"
}

const faults = (name: string): Array<Fault> => {
  const fault = faultsOf[name.split(/[ ,]/)[0]!]
  return fault === undefined ? [] : name.endsWith("for good") ? [fault, fault] : [fault]
}

const checks = (name: string) =>
  name.includes("check") ? (name.match(/happened|never|going/g) ?? []) as Array<"happened" | "never" | "going"> : []

/** What ends without an answer has happened where its check says so in the end. */
const silently = (world: World, act: string) => world.checks.get(act)?.includes("happened") === true

const take = (world: World, act: string, effect: () => void) =>
  Effect.suspend((): Effect.Effect<string, Refused> => {
    const fault = world.faults.get(act)?.shift()
    if (fault === undefined || (fault !== "refuse" && silently(world, act))) effect()
    switch (fault) {
      case undefined:
        return Effect.succeed(`${act} done`)
      case "refuse":
        return Effect.fail(new Refused({ step: act }))
      case "hang":
        return Effect.never
      case "die":
        return Effect.die(new Error(`${act} is broken`))
      case "crash":
        world.crashes = true
        return Effect.never
    }
  })

const answers = {
  happened: Step.happened("C done"),
  never: Step.never,
  going: Step.stillGoing
}

const ask = (world: World, act: string) =>
  Effect.sync(() => answers[world.checks.get(act)?.shift() ?? assert.fail(`${act} was asked once too often`)])

const once = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 1 }))

type Loose = Effect.Effect<any, any, any>

const stepOf = (world: World, one: Case, name: "A" | "B" | "C"): Loose => {
  const alone = name === "B"
  const decides = name === "C"
  const { outcome, undoing } = one
  return Step.make(name, {
    success: Schema.String,
    error: Refused,
    execute: Effect.gen(function*() {
      const key = yield* Step.idempotencyKey
      world.log.push(`${name} ${key.slice(key.lastIndexOf("/") + 1)}`)
      if (decides) yield* world.gate.await
      return yield* take(world, name, () => world.effects.add(name))
    }),
    ...(!decides ? undefined : {
      ...(outcome.endsWith(", then done") || outcome.endsWith(", then happened") ? { retry: once } : undefined),
      ...(outcome.startsWith("timeout") ? { timeout: "5 seconds" } : undefined),
      ...(outcome.includes("unknown park") ? { unknown: "park" } : undefined),
      ...(outcome.includes("unknown refused") ? { unknown: "refused" } : undefined),
      ...(!outcome.includes("check") ? undefined : {
        check: (key: string) => {
          world.log.push(`C ?${key.slice(key.lastIndexOf("/") + 1)}`)
          return ask(world, "C")
        }
      })
    }),
    compensate: () =>
      Effect.gen(function*() {
        world.undoKeys.add(yield* Step.idempotencyKey)
        world.log.push(`undo ${name}`)
        const undone = take(world, `undo ${name}`, () => world.effects.delete(name))
        return yield* Effect.mapError(undone, () => new Stuck({ step: name }))
      }),
    compensation: !alone ? {} : {
      retry: once,
      onFailure: one.onFailure,
      ...(undoing.startsWith("times out") ? { timeout: "5 seconds" } : undefined),
      ...(!undoing.includes("check") ? undefined : {
        check: (key: string) => {
          world.undoKeys.add(key)
          world.log.push("? B")
          return ask(world, "undo B")
        }
      })
    }
  } as never) as Loose
}

// ---------------------------------------------------------------------------------------------------------------------
// stores and processes
// ---------------------------------------------------------------------------------------------------------------------

/** What a process sees of the store: calls are counted, and one that has died gets no answer. */
const storeOf = (world: World, process: Process, busy: Busy): SagaStore.Encoded => {
  const { encoded } = world
  const call = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      if (process.dead) return Effect.never
      busy.begin()
      return Effect.flatMap(
        // A database is in real time: what its client waits for would never come.
        Effect.ensuring(TestClock.withLive(effect), Effect.sync(busy.end)),
        (answer) => process.dead ? Effect.never : Effect.succeed(answer)
      )
    })
  return {
    append: (batch) => call(encoded.append(batch)),
    claim: (options) => call(encoded.claim(options)),
    witness: (execution, seq) => call(encoded.witness(execution, seq)),
    read: (execution) => call(encoded.read(execution)),
    journal: (execution, after) => call(encoded.journal(execution, after)),
    list: (query) => call(encoded.list(query)),
    stats: call(encoded.stats),
    release: (options) => call(encoded.release(options)),
    send: (options) => call(encoded.send(options)),
    inbox: (execution, after) => call(encoded.inbox(execution, after)),
    owned: (worker) => call(encoded.owned(worker)),
    unread: (worker) => call(encoded.unread(worker)),
    register: (worker, lease) => {
      process.workers.add(worker)
      return call(encoded.register(worker, lease))
    },
    renew: (worker, lease) => call(encoded.renew(worker, lease)),
    retire: (worker) => call(encoded.retire(worker)),
    listen: () => Effect.never,
    wake: Effect.void
  }
}

/** How many calls of one case wait for the store. */
interface Busy {
  waiting: number
  activity: number
  readonly idle: Latch.Latch
  readonly begin: () => void
  readonly end: () => void
}

const makeBusy = (): Busy => {
  const busy: Busy = {
    waiting: 0,
    activity: 0,
    idle: Latch.makeUnsafe(true),
    begin: () => {
      busy.activity++
      busy.waiting++
      busy.idle.closeUnsafe()
    },
    end: () => {
      busy.activity++
      if (--busy.waiting === 0) busy.idle.openUnsafe()
    }
  }
  return busy
}

/** Lets everything run that needs no time: until nothing waits for the store, and nothing new comes. */
const quietly = (busy: Busy, world: World): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (let still = 0, seen = -1; still < 8; still++) {
      yield* busy.idle.await
      const now = busy.activity + world.log.length
      if (now !== seen) still = 0
      seen = now
      yield* Effect.yieldNow
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// a run
// ---------------------------------------------------------------------------------------------------------------------

const deadline = 3_000

/** Runs one case on a store, under a tag that nobody else uses there; what was seen. */
export const run = (encoded: SagaStore.Encoded, one: Case, tag: string): Effect.Effect<Expected> =>
  Effect.scoped(Effect.provide(runWith(encoded, one, tag), silent))

/** Its own time, and no log: a park is warned of, and there are thousands. */
const silent = Layer.merge(TestClock.layer(), Logger.layer([]))

const runWith = Effect.fnUntraced(function*(encoded: SagaStore.Encoded, one: Case, tag: string) {
  const world: World = {
    log: [],
    undoKeys: new Set(),
    faults: new Map([["C", faults(one.outcome)], ["undo B", faults(one.undoing)]]),
    checks: new Map([["C", checks(one.outcome)], ["undo B", checks(one.undoing)]]),
    effects: new Set(),
    gate: Latch.makeUnsafe(one.direction === "forward"),
    encoded,
    crashes: false
  }
  const definition = Saga.make(tag as "S", {
    payload: Schema.String,
    success: Schema.String,
    error: Schema.Union([Refused, Step.TimedOut]),
    compensationError: Schema.Union([Stuck, Step.TimedOut]),
    idempotencyKey: () => "1",
    compensation: one.mode,
    onDefect: one.onDefect,
    deadline: one.direction === "under deadline" ? deadline : undefined
  })
  const id = definition.executionId("")
  const body = definition.toLayer(
    (() =>
      Effect.andThen(
        stepOf(world, one, "A"),
        Effect.andThen(stepOf(world, one, "B"), stepOf(world, one, "C"))
      )) as never
  )
  const busy = makeBusy()
  const quiet = quietly(busy, world)
  const spawn = Effect.gen(function*() {
    const process: Process = { dead: false, workers: new Set() }
    const own = yield* Scope.make()
    const engine = Layer.provide(
      SagaEngine.layerOptions({ lease: "1 hour", poll: "10 seconds", grace: 0 }),
      Layer.succeed(SagaStore.SagaStore, SagaStore.make(storeOf(world, process, busy)))
    )
    const context = yield* Effect.orDie(Layer.buildWithScope(Layer.provideMerge(body, engine), own))
    return { process, context, close: Scope.close(own, Exit.void) }
  })
  let current = yield* spawn
  yield* Effect.orDie(Effect.provideContext(definition.start(""), current.context))
  yield* quiet
  assert.include(world.log, "C 0", "the deciding step has not begun")
  if (one.direction === "under cancel") {
    yield* Effect.orDie(Effect.provideContext(definition.cancel(id), current.context))
  }
  if (one.direction === "under deadline") yield* TestClock.adjust(deadline)
  yield* quiet
  yield* world.gate.open
  for (let round = 0;; round++) {
    yield* quiet
    if (world.crashes) {
      // What it has done elsewhere is on record; its lease ends at once.
      world.crashes = false
      current.process.dead = true
      for (const worker of current.process.workers) yield* Effect.orDie(encoded.retire(worker))
      current = yield* spawn
      continue
    }
    const row = yield* Effect.orDie(encoded.read(id))
    if (row !== null && row.result !== null && row.worker === null) break
    if (round > 40) return assert.fail(`it stays ${row?.status ?? "unknown"}: ${world.log.join(", ")}`)
    yield* TestClock.adjust("1 second")
  }
  const exit = yield* Effect.exit(Effect.provideContext(definition.result(id), current.context))
  const polled = yield* Effect.orDie(Effect.provideContext(definition.poll(id), current.context))
  const journal = yield* Effect.orDie(SagaStore.make(encoded).journal(id))
  yield* current.close
  current.process.dead = true
  return observed(world, one, polled, exit, journal.appends.flatMap((_) => _.entries))
})

// ---------------------------------------------------------------------------------------------------------------------
// what was seen
// ---------------------------------------------------------------------------------------------------------------------

type Polled = Saga.Status<string, unknown, { readonly _tag: string }>

const observed = (
  world: World,
  one: Case,
  polled: Polled,
  exit: Exit.Exit<unknown, unknown>,
  entries: ReadonlyArray<Journal.Entry>
): Expected => {
  const state = Result.getOrThrow(Journal.fold(entries))
  const plain = (value: unknown) => JSON.parse(JSON.stringify(value))
  assert.deepStrictEqual(plain(polled.steps), plain(Journal.stepRecords(state)))
  assert.deepStrictEqual(plain(polled.compensations), plain(Journal.compensationRecords(state)))
  assert.strictEqual(polled._tag.toLowerCase(), state.phase)
  const undo = world.log.filter((act) => act.startsWith("undo") || act.startsWith("? "))
  assert.isAtMost(world.undoKeys.size, new Set(undo.map((act) => act.slice(-1))).size, "a compensation's key changed")
  const order = entries.flatMap((entry) =>
    entry._tag === "CompensationStarted"
      ? [`begin ${entry.name}`]
      : entry._tag === "CompensationSucceeded" || entry._tag === "CompensationFailed"
      ? [`end ${entry.name}`]
      : []
  )
  const together = (acts: ReadonlyArray<string>) => {
    const count = polled.compensations.length
    return one.mode === "sequential" ? acts : [...acts.slice(0, count).toSorted(), ...acts.slice(count)]
  }
  const ends = together(order)
  return {
    ofC: {
      acts: `C ${world.log.filter((act) => act.startsWith("C ")).map((act) => act.slice(2)).join(" ")}`,
      status: polled.steps.find((_) => _.step === "C")!.status
    },
    ...endOf(polled, exit),
    order: one.mode === "sequential"
      ? ends
      : [...ends.slice(0, ends.length / 2), ...ends.slice(ends.length / 2).toSorted()],
    undo: [...together(undo)],
    records: polled.compensations.map((_) =>
      [_.step, _.status, _.attempts, ...(_.status === "failed" ? [failure(_)] : [])].join(" ")
    ),
    stands: [...world.effects].toSorted()
  } as Expected
}

/** The end as `poll` says it, which is what `result` says too; the cause of the roll-back is the journal's. */
const endOf = (polled: Polled, exit: Exit.Exit<unknown, unknown>) => {
  const none = { original: undefined, unresolved: [] }
  const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
  switch (polled._tag) {
    case "Completed":
      assert.deepStrictEqual(exit, Exit.succeed(polled.value))
      return { end: "Completed", ...none }
    case "RolledBack":
      assert.deepStrictEqual(error, polled.error)
      return { end: `RolledBack ${wordOf(polled.error)}`, ...none }
    case "Parked": {
      assert.deepStrictEqual(error, polled.error)
      const { reason } = polled.error
      assert.instanceOf(reason, SagaError.Parked)
      const { original, unresolved, why } = reason
      return {
        end: `Parked ${why._tag}`,
        original: original?._tag === "Failed" ? wordOf(original.error) : original?._tag,
        unresolved: unresolved.map((_) => [_.step, _.attempts, ...(_.attempts > 0 ? [failure(_)] : [])].join(" "))
      }
    }
    case "Running":
    case "Suspended":
    case "Compensating":
    case "Abandoned":
      return assert.fail(`it is ${polled._tag}`)
  }
}

const failure = ({ defect, error }: { readonly defect: string | undefined; readonly error: unknown }): string =>
  defect !== undefined ? "defect" : (error as { readonly _tag: string })._tag

const wordOf = (error: unknown): string =>
  error instanceof SagaError.SagaError
    ? error.reason._tag.replace("RolledBackByDefect", "Defect")
    : (error as { readonly _tag: string })._tag
