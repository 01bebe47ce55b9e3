/**
 * A small shop whose every act is written to a log: what tests observe.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { Step } from "effect-saga"

export class Refused extends Schema.TaggedError<Refused>()("Refused", { step: Schema.String }) {}
export class Stuck extends Schema.TaggedError<Stuck>()("Stuck", { step: Schema.String }) {}

export interface Act {
  readonly act: "do" | "undo" | "check"
  readonly step: string
  readonly key: string
}

/** What a step or a compensation does instead of succeeding, once for each element; then it succeeds. */
export type Fault = "refuse" | "die" | "hang" | "interrupt"

export class Shop extends Context.Service<Shop, {
  readonly log: Array<Act>
  readonly names: () => Array<string>
  readonly faults: Map<string, Array<Fault>>
  readonly run: (act: Act["act"], step: string) => Effect.Effect<string, Refused, Step.StepContext>
}>()("test/Shop") {
  static readonly make = Effect.sync(() => {
    const log: Array<Act> = []
    const faults = new Map<string, Array<Fault>>()
    return Shop.of({
      log,
      faults,
      names: () => log.map((_) => _.act === "do" ? _.step : `${_.act} ${_.step}`),
      run: (act, step) =>
        Effect.flatMap(Step.idempotencyKey, (key) => {
          log.push({ act, step, key })
          const fault = faults.get(act === "do" ? step : `${act} ${step}`)?.shift()
          switch (fault) {
            case "refuse":
              return Effect.fail(new Refused({ step }))
            case "die":
              return Effect.die(new Error(`${step} is broken`))
            case "hang":
              return Effect.never
            case "interrupt":
              return Effect.interrupt
            case undefined:
              return Effect.succeed(`${step} done`)
          }
        })
    })
  })
  static readonly layer = Layer.effect(Shop, Shop.make)
}

/** A compensable step that logs itself and its undoing. */
export const step = <const Name extends string>(name: Name) =>
  Step.make<
    Name,
    Shop | Step.StepContext,
    Stuck,
    Shop | Step.StepContext,
    never,
    never,
    never,
    Schema.String,
    typeof Refused
  >(
    name as never,
    {
      success: Schema.String,
      error: Refused,
      execute: Shop.use((_) => _.run("do", name)),
      compensate: () =>
        Shop.use((_) => _.run("undo", name)).pipe(Effect.mapError((error) => new Stuck({ step: error.step })))
    }
  )
