/**
 * The sagas whose journals are golden: together they write every entry. A saga here may change like any open saga may,
 * so that its old journals still replay; a new construct gets a saga of its own.
 */
import { Effect, Layer, Schedule, Schema } from "effect"
import { Saga, type SagaInspector, Signal, Step, Timer } from "effect-saga"
import * as TestClock from "effect/testing/TestClock"
import { Refused, Stuck } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

export interface Golden {
  readonly live: World.Live
  readonly faults?: Readonly<Record<string, ReadonlyArray<World.Fault>>>
  /** What is done to it once it waits; then it is awaited. */
  readonly answer?: (
    world: World.World,
    inspector: SagaInspector.SagaInspector["Service"]
  ) => Effect.Effect<unknown, unknown>
}

const retry = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
const abc = (options: World.SagaOptions = {}) =>
  World.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))), options)
const published = { stage: Schema.String }
const Paid = Signal.make("Paid", { payload: Schema.String })
const Note = Signal.make("Note", { payload: Schema.String })
const always = Array.from({ length: 9 }, (): World.Fault => "refuse")

const Child = Saga.make("C", {
  payload: Schema.Struct({ name: Schema.String }),
  success: Schema.String,
  error: Refused,
  compensationError: Stuck,
  idempotencyKey: () => ""
})

export const sagas: Readonly<Record<string, Golden>> = {
  "a saga of many steps": {
    live: World.body(({ readonly, step }) =>
      Effect.gen(function*() {
        yield* readonly("Look")
        yield* Saga.publish("stage", "looked")
        yield* step("A", { retry })
        const version = yield* Saga.version("greeting", { min: 1, max: 2 })
        yield* Timer.sleep("a moment", "1 second")
        for (let i = 0; i < 2; i++) yield* step("Again")
        yield* Effect.all([step("X"), Effect.andThen(step("Y"), step("Z"))], { concurrency: 2 })
        yield* Timer.sleep("a while", "1 hour")
        return version === 1 ? "hello" : "hi"
      }), { published, deadline: "1 day" }),
    faults: { A: ["refuse"] }
  },
  "a pivot, and what waits for the commit": {
    live: World.settled(({ parts, pivot, retryable, step }) => ({
      attempt: Effect.gen(function*() {
        yield* step("A")
        yield* Saga.onRollback("note", () => Effect.void)
        yield* Saga.onCommit("tell", Effect.orDie(parts.act("tell", undefined)))
      }),
      pivot: () => pivot("Pivot"),
      settle: () => retryable("Ship")
    })),
    faults: { Ship: ["refuse"] }
  },
  "a roll-back": {
    live: World.body(({ parts, step }) =>
      Effect.gen(function*() {
        yield* step("A", {
          compensate: () =>
            Effect.andThen(Timer.sleep("cool", "1 second"), Effect.orDie(parts.act("undo A", undefined)))
        })
        yield* step("B", { compensation: { retry } })
        return yield* step("C", { retry })
      })
    ),
    faults: { C: always, "undo B": ["refuse"] }
  },
  "a scope that fails, and steps that are undone by name": {
    live: World.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* Effect.ignore(Saga.scoped(Effect.andThen(step("B"), step("C"))))
        yield* Saga.rollback("A")
        return yield* step("A")
      })
    ),
    faults: { C: ["refuse"] }
  },
  "what nobody waits for any more": {
    live: World.body(({ step }) =>
      Effect.gen(function*() {
        yield* Effect.raceFirst(Timer.sleep("long", "8 seconds"), Timer.sleep("short", "1 second"))
        return yield* Effect.all([step("X", { retry }), step("Y")], { concurrency: 2 })
      })
    ),
    faults: { X: always, Y: [500, "refuse"] }
  },
  "a cancel": {
    live: World.body(({ step }) => Effect.andThen(step("A"), Timer.sleep("wait", "5 seconds"))),
    answer: (world) => world.cancel("changed my mind")
  },
  "a deadline": {
    live: World.body(({ step }) => Effect.andThen(step("A"), Timer.sleep("wait", "8 seconds")), {
      deadline: "4 seconds"
    })
  },
  "a bug that rolls back": { live: abc({ onDefect: "rollback" }), faults: { B: ["die"] } },
  "a bug that parks, and a retry": {
    live: abc(),
    faults: { B: ["die"] },
    answer: (world, inspector) => inspector.retry(world.id, "mended")
  },
  "a compensation that fails for good, answers, and an end by hand": {
    live: abc(),
    faults: { C: ["refuse"], "undo B": always },
    answer: (world, inspector) =>
      Effect.gen(function*() {
        // Both were sent before anybody looked: the second comes too late.
        yield* inspector.retry(world.id)
        yield* World.quiet
        yield* TestClock.adjust("2 seconds")
        yield* World.quiet
        yield* inspector.abandon(world.id, "sold")
      })
  },
  "a value that a person gives, and one that does not fit": {
    live: World.body(({ step }) => Effect.andThen(step("A"), step("B", { timeout: "1 second", unknown: "park" }))),
    faults: { B: ["hang"] },
    answer: (world, inspector) =>
      Effect.gen(function*() {
        yield* inspector.resolve(world.id, "B", 1)
        yield* World.quiet
        yield* TestClock.adjust("2 seconds")
        yield* World.quiet
        yield* inspector.resolve(world.id, "B", "by hand")
      })
  },
  "signals, one that nobody receives, and a race": {
    live: World.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        const paid = yield* Signal.receive(Paid)
        yield* Effect.raceFirst(Signal.receive(Paid), Timer.sleep("short", "1 second"))
        yield* Saga.race([Effect.andThen(step("B"), step("C")), Timer.sleep("soon", "1 second")])
        return yield* step(paid)
      })
    ),
    faults: { C: [3_000] },
    answer: (world) => Effect.andThen(world.signal(Note, "by the way"), world.signal(Paid, "cash"))
  },
  "three generations": {
    live: (parts) =>
      (World.definition.attempt((() => parts.step("A")) as never) as any).settle(
        (_: unknown, { id, note = "" }: { readonly id: string; readonly note?: string }) =>
          Effect.andThen(
            parts.retryable("B"),
            note.length < 2 ? Saga.continueAsNew({ id, note: `${note}x` }) : Effect.succeed("done")
          )
      )
  },
  "heartbeats of a step and of its compensation": {
    live: World.body(({ parts, step }) => {
      const beating = (act: string) =>
        Effect.gen(function*() {
          yield* Step.heartbeat({ row: 1 })
          yield* Effect.sleep("11 seconds")
          yield* Step.heartbeat({ row: 2 })
          return yield* parts.act(act, `${act} done`)
        })
      return Effect.andThen(
        step("A", { execute: beating("A"), compensate: () => Effect.orDie(beating("undo A")) }),
        step("B")
      )
    }),
    faults: { B: ["refuse"] }
  },
  "a compensation that waits for a signal": {
    live: World.body(({ parts, step }) =>
      Effect.gen(function*() {
        yield* step("A", {
          compensate: () => Effect.andThen(Signal.receive(Note), Effect.orDie(parts.act("undo A", undefined)))
        })
        return yield* step("B")
      })
    ),
    faults: { B: ["refuse"] },
    answer: (world) => world.signal(Note, "it is back")
  },
  children: {
    live: (parts) => {
      const child = (name: string, options: object = {}) =>
        Saga.child(Child, { name }, {
          name: name as "name",
          onParentRollback: () => Effect.orDie(parts.parts.act(`undo ${name}`, undefined)),
          ...options
        })
      const parent = World.body(() =>
        Effect.gen(function*() {
          yield* child("one")
          yield* Effect.ignore(child("two"))
          yield* Saga.race([child("three"), Timer.sleep("soon", "1 second")])
          const [four] = yield* Effect.all([child("four"), child("left", { onParentRollback: "leave" })], {
            concurrency: "unbounded"
          })
          return yield* parts.step(`last ${four}`)
        })
      )
      const children = Child.toLayer(
        (({ name }: { readonly name: string }) =>
          name === "three" ? Timer.sleep("long", "1 hour") : parts.step(`${name} A`)) as never
      )
      return Layer.merge(parent(parts), children)
    },
    faults: { "two A": ["refuse"], "four A": ["die"], "last four A done": ["refuse"] },
    answer: (_, inspector) => inspector.retry("C/S/1/0/four/2:0")
  }
}
