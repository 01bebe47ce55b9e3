/**
 * Random bodies for the laws of roll-back: steps in a row, at once, in races and in scopes of their own, roll-backs by
 * name in the middle, hooks, and compensations that do not succeed at once.
 *
 * What an act does depends on its name and on the number of its attempt alone, so it does the same in every process.
 */
import { Effect, Schedule } from "effect"
import { Saga, Step } from "effect-saga"
import * as fc from "fast-check"
import { Refused, Stuck } from "./Shop.ts"
import * as World from "./World.ts"

type Undo = "at once" | "in the end" | "late" | "not" | "never"

export type Shape =
  | { readonly _tag: "Step"; readonly latency: number; readonly fails: boolean; readonly undo: Undo }
  | { readonly _tag: "Hook"; readonly undo: Undo }
  | { readonly _tag: "Rollback"; readonly of: ReadonlyArray<number> }
  | { readonly _tag: "Again"; readonly undo: Undo }
  | { readonly _tag: "Seq" | "Scoped" | "Caught" | "Race"; readonly of: ReadonlyArray<Shape> }
  | { readonly _tag: "All"; readonly of: ReadonlyArray<Shape>; readonly concurrency: number | "unbounded" }

const undo: fc.Arbitrary<Undo> = fc.oneof(
  { arbitrary: fc.constant("at once" as const), weight: 12 },
  { arbitrary: fc.constant("in the end" as const), weight: 3 },
  { arbitrary: fc.constant("late" as const), weight: 3 },
  { arbitrary: fc.constant("not" as const), weight: 1 },
  { arbitrary: fc.constant("never" as const), weight: 1 }
)

const { shape } = fc.letrec<{ shape: Shape }>((tie) => {
  const some = fc.array(tie("shape"), { minLength: 1, maxLength: 4 })
  const nested = (_tag: "Seq" | "Scoped" | "Caught" | "Race") => fc.record({ _tag: fc.constant(_tag), of: some })
  return {
    shape: fc.oneof(
      { maxDepth: 3, depthSize: "small" },
      {
        arbitrary: fc.record({
          _tag: fc.constant("Step" as const),
          latency: fc.constantFrom(0, 0, 10, 20, 30),
          fails: fc.oneof(
            { arbitrary: fc.constant(false), weight: 9 },
            { arbitrary: fc.constant(true), weight: 1 }
          ),
          undo
        }),
        weight: 7
      },
      { arbitrary: fc.record({ _tag: fc.constant("Hook" as const), undo }), weight: 1 },
      {
        arbitrary: fc.record({ _tag: fc.constant("Rollback" as const), of: fc.array(fc.nat(8), { maxLength: 4 }) }),
        weight: 1
      },
      { arbitrary: fc.record({ _tag: fc.constant("Again" as const), undo }), weight: 1 },
      { arbitrary: nested("Seq"), weight: 3 },
      { arbitrary: nested("Scoped"), weight: 3 },
      { arbitrary: nested("Caught"), weight: 1 },
      { arbitrary: nested("Race"), weight: 2 },
      {
        arbitrary: fc.record({
          _tag: fc.constant("All" as const),
          of: some,
          concurrency: fc.constantFrom<number | "unbounded">(1, 2, "unbounded")
        }),
        weight: 3
      }
    )
  }
})

/** A body, and whether a last step fails, so that everything is undone. */
export const arbitrary = fc.record({
  shapes: fc.array(shape, { minLength: 1, maxLength: 5 }),
  fails: fc.boolean()
}).map(({ fails, shapes }): Shape => ({
  _tag: "Seq",
  of: [...shapes, { _tag: "Step", latency: 0, fails, undo: "at once" }]
}))

/** Whether how it ends depends on how long its steps take. */
export const isTimed = (shape: Shape): boolean =>
  isConcurrent(shape) && (within(shape, "Rollback") || isRacing(shape, false))

const within = (shape: Shape, tag: Shape["_tag"]): boolean =>
  shape._tag === tag || ("of" in shape && shape._tag !== "Rollback" && shape.of.some((one) => within(one, tag)))

/** Something beside others stops them: a failure, or a roll-back that parks. */
const isRacing = (shape: Shape, together: boolean): boolean => {
  switch (shape._tag) {
    case "Step":
      return together && shape.fails
    case "Hook":
    case "Rollback":
      return false
    case "Again":
      return together && (shape.undo === "not" || shape.undo === "never")
    case "Seq":
    case "Scoped":
    case "Caught":
      return shape.of.some((one) => isRacing(one, together))
    case "Race":
      return shape.of.length > 1 || shape.of.some((one) => isRacing(one, together))
    case "All":
      return shape.of.some((one) => isRacing(one, together || shape.concurrency !== 1))
  }
}

/** Whether steps are in flight side by side. */
export const isConcurrent = (shape: Shape): boolean =>
  (shape._tag === "All" && shape.concurrency !== 1 && shape.of.length > 1) ||
  (shape._tag === "Race" && shape.of.length > 1) ||
  ("of" in shape && shape._tag !== "Rollback" && shape.of.some(isConcurrent))

type Loose = Effect.Effect<any, any, any>

/** The body of a shape, on participants that log their acts. */
export const toLive = (shape: Shape): World.Live => World.body(({ parts, step }) => body(shape, "s", parts, step))

const body = (shape: Shape, place: string, parts: World.Parts, step: World.Steps["step"]): Loose => {
  const nested = (one: Shape, index: number) => body(one, `${place}.${index}`, parts, step)
  const acting = (name: string, latency: number, fails: boolean, undo: Undo) =>
    step(name, {
      execute: Effect.andThen(
        logged(parts, name, latency),
        fails ? Effect.fail(new Refused({ step: name })) : Effect.succeed(name)
      ),
      compensate: () => undoing(parts, name, undo),
      compensation: { retry, timeout: "1 second" }
    })
  switch (shape._tag) {
    case "Step":
      return acting(place, shape.latency, shape.fails, shape.undo)
    case "Hook":
      return Saga.onRollback(place as "hook", () => undoing(parts, place, shape.undo), { retry })
    case "Rollback":
      return Saga.executedSteps.pipe(
        Effect.flatMap((names) => Saga.rollback(...shape.of.map((index) => names[index] ?? "nobody"))),
        Effect.tap((names) => parts.seen("undone", names))
      )
    case "Again": {
      const one = acting(place, 0, false, shape.undo)
      return one.pipe(Effect.andThen(Saga.rollback(place)), Effect.andThen(one))
    }
    case "Seq":
      return Effect.forEach(shape.of, nested)
    case "Scoped":
      return Effect.ignore(Saga.scoped(Effect.forEach(shape.of, nested)))
    case "Caught":
      return Effect.ignore(Effect.forEach(shape.of, nested))
    case "Race":
      return Saga.race(shape.of.map(nested))
    case "All":
      return Effect.all(shape.of.map(nested), { concurrency: shape.concurrency })
  }
}

const retry = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))

const logged = (parts: World.Parts, act: string, latency: number) =>
  Effect.andThen(Effect.sync(() => parts.log.push(act)), latency === 0 ? Effect.void : Effect.sleep(latency))

const undoing = (parts: World.Parts, name: string, undo: Undo) =>
  Effect.gen(function*() {
    const attempt = yield* Step.attempt
    yield* logged(parts, `undo ${name}`, 0)
    const stuck = new Stuck({ step: name })
    switch (undo) {
      case "at once":
        return
      case "in the end":
        return yield* attempt < 3 ? Effect.fail(stuck) : Effect.void
      case "late":
        return yield* attempt < 2 ? Effect.sleep("2 seconds") : Effect.void
      case "not":
        return yield* Effect.fail(stuck)
      case "never":
        return yield* Effect.die(new Error(`undo ${name} is broken`))
    }
  })
