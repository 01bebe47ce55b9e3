/**
 * Sagas of every shape, drawn by number: what `npm run simulate` runs.
 *
 * Their bodies are read from the payload, so that every process runs the same. What participants do depends on the key
 * alone; they know what happened and what was undone, and the check compares that with the journals.
 */
import { Duration, Effect, Layer, Schedule, Schema } from "effect"
import { Saga, type SagaEngine, SagaInspector, Signal, Step, Timer } from "effect-saga"
import { Simulation } from "effect-saga/testing"
import * as assert from "node:assert/strict"
import * as Crash from "../utils/Crash.ts"
import { Refused, Stuck } from "../utils/Shop.ts"

// ---------------------------------------------------------------------------------------------------------------------
// shapes
// ---------------------------------------------------------------------------------------------------------------------

type Part =
  | { readonly _tag: "Step"; readonly name: string; readonly timeout?: "check" | "park"; readonly retries?: number }
  | { readonly _tag: "Beating"; readonly name: string; readonly each: number; readonly retries: number }
  | { readonly _tag: "Read"; readonly name: string }
  | { readonly _tag: "Hook"; readonly name: string }
  | { readonly _tag: "Sleep"; readonly name: string; readonly millis: number }
  | { readonly _tag: "Rollback"; readonly names: ReadonlyArray<string> }
  | { readonly _tag: "Say"; readonly name: string }
  | { readonly _tag: "Receive"; readonly name: string; readonly millis: number }
  | { readonly _tag: "Race"; readonly of: ReadonlyArray<Part> }
  | {
    readonly _tag: "Child"
    readonly name: string
    readonly of: ReadonlyArray<Part>
    readonly stays: boolean
    readonly millis?: number
  }
  | { readonly _tag: "AtOnce"; readonly of: ReadonlyArray<Part> }
  | { readonly _tag: "Scoped"; readonly of: ReadonlyArray<Part>; readonly instead: string }

interface Plan {
  readonly attempt: ReadonlyArray<Part>
  readonly end: "no point of no return" | "pivot" | "settle"
  readonly settle: ReadonlyArray<string>
}

const planned = (draw: Simulation.Draw): Plan => {
  let count = 0
  // Some names come again: then they are told apart by their occurrence.
  const name = () => `${draw.pick(["Reserve", "Charge", "Book", "Pack", "Note"])}${draw.chance(0.7) ? ++count : ""}`
  const names: Array<string> = []
  const part = (depth: number): Part => {
    const kind = draw.int(0, depth > 0 ? 12 : 7)
    switch (kind) {
      case 3: {
        // So long may one row of it take: what is said is written by itself, or only with something else.
        const beating = {
          _tag: "Beating" as const,
          name: name(),
          each: draw.pick([300, 6_000]),
          retries: draw.int(0, 2)
        }
        names.push(beating.name)
        return beating
      }
      case 4:
        return { _tag: "Read", name: name() }
      case 5:
        return draw.chance(0.5)
          ? { _tag: "Hook", name: `Hook${name()}` }
          : { _tag: "Rollback", names: names.filter(() => draw.chance(0.5)) }
      case 6:
        return { _tag: "Sleep", name: name(), millis: draw.pick([200, 3_000, 30_000, 90_000]) }
      case 7:
        return draw.chance(0.5)
          ? { _tag: "Say", name: name() }
          : { _tag: "Receive", name: name(), millis: draw.pick([500, 20_000]) }
      case 8:
        return { _tag: "AtOnce", of: several(depth - 1) }
      case 9:
        return { _tag: "Race", of: several(depth - 1) }
      case 11: {
        const child = `${name()}Child`
        names.push(child)
        return {
          _tag: "Child",
          name: child,
          of: several(depth - 1),
          stays: draw.chance(0.2),
          ...(draw.chance(0.3) ? { millis: draw.pick([500, 20_000]) } : undefined)
        }
      }
      case 10:
        return { _tag: "Scoped", of: several(depth - 1), instead: name() }
      default: {
        const timeout = draw.chance(0.3) ? draw.pick(["check", "check", "park"] as const) : undefined
        // What may not answer is called so.
        const step = { _tag: "Step" as const, name: timeout === undefined ? name() : `${name()}?` }
        names.push(step.name)
        return {
          ...step,
          ...(timeout === undefined ? undefined : { timeout }),
          ...(draw.chance(0.4) ? { retries: draw.int(1, 3) } : undefined)
        }
      }
    }
  }
  const several = (depth: number): ReadonlyArray<Part> => Array.from({ length: draw.int(1, 4) }, () => part(depth))
  return {
    attempt: several(2),
    end: draw.pick(["no point of no return", "pivot", "settle"] as const),
    settle: Array.from({ length: draw.int(0, 2) }, name)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the saga
// ---------------------------------------------------------------------------------------------------------------------

const define = (tag: string) =>
  Saga.make(tag as "tag", {
    payload: Schema.Struct({ number: Schema.Int, plan: Schema.String }),
    success: Schema.String,
    error: Schema.Union([Refused, Step.TimedOut]),
    compensationError: Schema.Union([Stuck, Step.TimedOut]),
    published: { said: Schema.String },
    idempotencyKey: ({ number }) => String(number)
  })

const Walk = define("Walk")
const Ride = define("Ride")
const Flight = define("Flight")

/** What a part of another saga does that is an execution of its own. */
const Errand = Saga.make("Errand", {
  payload: Schema.Struct({ plan: Schema.String }),
  success: Schema.String,
  error: Schema.Union([Refused, Step.TimedOut]),
  compensationError: Schema.Union([Stuck, Step.TimedOut]),
  published: { said: Schema.String },
  idempotencyKey: () => "of its parent"
})

const Paid = Signal.make("Paid", { payload: Schema.String })

type Loose = Effect.Effect<any, any, any>

const retry = (times: number) => Schedule.exponential("100 millis").pipe(Schedule.upTo({ times }))

const interpret = (steps: Crash.Steps, part: Part, parts: Crash.Parts): Loose => {
  switch (part._tag) {
    case "Beating":
      return steps.beating(part.name, part.each, {
        compensation: { retry: retry(6), heartbeatTimeout: "8 seconds" },
        heartbeatTimeout: "8 seconds",
        check: true,
        ...(part.retries === 0 ? undefined : { retry: retry(part.retries) })
      })
    case "Child": {
      const child = Saga.child(Errand, { plan: JSON.stringify(part.of) }, {
        name: part.name as "name",
        onParentRollback: part.stays
          ? "leave"
          : (() => Effect.mapError(parts.act("undo", part.name), () => new Stuck({ step: part.name }))) as never,
        compensation: { retry: retry(6), timeout: "2 seconds" }
      } as never) as Loose
      return part.millis === undefined
        ? child
        : Timer.timeoutOption(child, part.name as "name", Duration.millis(part.millis)) as Loose
    }
    case "Step":
      return steps.step(part.name, {
        compensation: { retry: retry(6), timeout: "2 seconds" },
        ...(part.retries === undefined ? undefined : { retry: retry(part.retries) }),
        ...(part.timeout === "check" ? { timeout: "2 seconds", check: true } : undefined),
        ...(part.timeout === "park" ? { timeout: "10 seconds", unknown: "park" } : undefined)
      })
    case "Read":
      return steps.readonly(part.name)
    case "Hook":
      return steps.onRollback(part.name)
    case "Sleep":
      return Timer.sleep(part.name as "name", Duration.millis(part.millis)) as Loose
    case "Rollback":
      return Saga.rollback(...part.names) as Loose
    case "Say":
      return Saga.publish("said", part.name) as Loose
    case "Receive":
      return Timer.timeoutOption(Signal.receive(Paid), part.name as "name", Duration.millis(part.millis)) as Loose
    case "Race":
      return Saga.race(part.of.map((one) => interpret(steps, one, parts)))
    case "AtOnce":
      return Effect.all(part.of.map((one) => interpret(steps, one, parts)), { concurrency: "unbounded" })
    case "Scoped":
      return Effect.catchTag(
        Saga.scoped(Effect.forEach(part.of, (one) => interpret(steps, one, parts))) as Effect.Effect<unknown, Refused>,
        "Refused",
        () => interpret(steps, { _tag: "Step", name: part.instead }, parts)
      )
  }
}

const handlers = Layer.unwrap(Effect.map(Crash.Participants, (parts) => {
  const steps = Crash.steps(parts)
  const attempt = ({ plan }: { readonly plan: string }): Loose =>
    Effect.forEach((JSON.parse(plan) as Plan).attempt, (part) => interpret(steps, part, parts))
  const settle = (_: unknown, { plan }: { readonly plan: string }): Loose =>
    Effect.as(Effect.forEach((JSON.parse(plan) as Plan).settle, (name) => steps.retryable(name)), "there")
  const decide = () => steps.pivot("Decide?", { timeout: "2 seconds", check: true })
  const run = ({ plan }: { readonly plan: string }): Loose =>
    Effect.as(Effect.forEach(JSON.parse(plan) as ReadonlyArray<Part>, (part) => interpret(steps, part, parts)), "done")
  return Layer.mergeAll(
    Errand.toLayer(run as never),
    givesUp as Layer.Layer<never>,
    Walk.toLayer(((payload: never) => Effect.as(attempt(payload), "there")) as never),
    (Ride.attempt(attempt as never) as any).settle(settle) as Handlers,
    (Flight.attempt(attempt as never) as any).pivot(decide).settle(settle) as Handlers
  )
}))

/** A child that is parked holds its parent up: somebody lets it go on, and then closes it as it is. */
const givesUp = Layer.effectDiscard(
  SagaInspector.SagaInspector.use((inspector) =>
    Effect.forkScoped(Effect.forever(
      Effect.gen(function*() {
        yield* Effect.sleep("45 seconds")
        const { items } = yield* inspector.list({ name: "Errand", status: "parked" })
        for (const { createdAt, id, updatedAt } of items) {
          const old = updatedAt - createdAt > 120_000
          yield* Effect.ignore(old ? inspector.abandon(id, "nobody mends it") : inspector.retry(id))
        }
      }).pipe(Effect.catchCause(() => Effect.void))
    ))
  )
)

type Handlers = Layer.Layer<never, never, SagaEngine.SagaEngine>

// ---------------------------------------------------------------------------------------------------------------------
// participants
// ---------------------------------------------------------------------------------------------------------------------

/** What an act does, by its key: most succeed, some refuse, some take place and are never heard of. */
const fault = (draw: Simulation.Draw, act: string): Crash.Fault | undefined => {
  const at = draw.number()
  if (act.startsWith("undo Hook")) return at < 0.01 ? "refuse" : undefined
  if (act.startsWith("undo ")) return at < 0.1 ? "refuse" : at < 0.13 ? "late" : at < 0.135 ? "die" : undefined
  if (at < 0.06) return "refuse"
  if (at < 0.065) return "die"
  if (at < 0.1) return draw.int(100, 4_000)
  return act.endsWith("?") && at < 0.2 ? draw.pick(["late", "lost"] as const) : undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// what is run
// ---------------------------------------------------------------------------------------------------------------------

const definitions = { "no point of no return": Walk, settle: Ride, pivot: Flight }

/** The sagas of a seed, their participants, and what must hold of both. */
export const workload = (seed: string | number) => ({
  handlers,
  participants: Layer.sync(
    Crash.Participants,
    () => Crash.makeParts((act, key) => fault(Simulation.draw(seed, `${act} ${key}`), act))
  ),
  start: (number: number, draw: Simulation.Draw) => {
    const plan = planned(draw)
    const definition = definitions[plan.end]
    const payload = { number, plan: JSON.stringify(plan) }
    return draw.chance(0.5)
      ? definition.startWithSignal(payload, Paid, "first", { key: "first" })
      : Effect.tap(
        definition.start(payload),
        (id) => Effect.ignore(definition.signal(id, Paid, "later", { key: "later" }))
      )
  },
  check: (ended: ReadonlyArray<Simulation.Ended>) =>
    Effect.map(Crash.Participants, (parts) => {
      const executionOf = (key: string) => key.split("/").slice(0, 2).join("/")
      const effects = Map.groupBy(parts.effects, ([key]) => executionOf(key))
      const undone = Map.groupBy(parts.undone, executionOf)
      const broken = ended.flatMap(({ execution, journal, status }) =>
        Crash.conservation(journal, status, execution, {
          effects: new Map(effects.get(execution)),
          undone: new Set(undone.get(execution))
        })
      )
      assert.deepStrictEqual(broken, [])
    })
})
