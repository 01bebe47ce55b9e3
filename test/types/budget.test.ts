/**
 * What the types cost: a saga of 5 and one of 50 different steps, in one generator.
 *
 * The counts are those of TypeScript 7.0.2 with one checker, less those of a program that only imports the library. A
 * budget is what was counted, and a quarter more. When one breaks, look for the type that grew before raising it.
 */
import { describe, expect, it } from "vitest"
import { compile, type Compiled } from "./compile.ts"

const header = `
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Saga, Step } from "effect-saga"
`

/** Each step has a schema, an error, a service and a compensation error of its own. */
const step = (n: number): string => `
class Result${n} extends Schema.Class<Result${n}>("Result${n}")({ id: Schema.String, n${n}: Schema.Int }) {}
class Refused${n} extends Schema.TaggedError<Refused${n}>()("Refused${n}", { n: Schema.Int }) {}
class Stuck${n} extends Schema.TaggedError<Stuck${n}>()("Stuck${n}", { n: Schema.Int }) {}
class Service${n} extends Context.Service<Service${n}, {
  readonly act: (id: string) => Effect.Effect<Result${n}, Refused${n}>
  readonly undo: (id: string) => Effect.Effect<void, Stuck${n}>
}>()("Service${n}") {}
const step${n} = (id: string) => Step.make("Step${n}", {
  success: Result${n},
  error: Refused${n},
  execute: Service${n}.use((_) => _.act(id)),
  compensate: (result) => Service${n}.use((_) => _.undo(result.id)),
  timeout: "1 second",
  unknown: "refused"
})
`

/** The classes without the library: what the user's own types cost. */
const plain = (n: number): string => step(n).slice(0, step(n).indexOf(`const step${n}`))

/** Of five steps two are yielded and three are run together. */
const body = (n: number): string =>
  Array.from({ length: n / 5 }, (_, index) => {
    const [a, b, c, d, e] = Array.from({ length: 5 }, (_, offset) => index * 5 + offset)
    return `
    const r${a} = yield* step${a}(id)
    const r${b} = yield* step${b}(r${a}.id)
    const all${a} = [step${c}(id), step${d}(r${b}.id), step${e}(id)] as const
    const [r${c}, r${d}, r${e}] = yield* Effect.all(all${a}, { concurrency: 3 })
    id = r${c}.id + r${d}.id + r${e}.id`
  }).join("")

const repeat = (n: number, f: (n: number) => string): string =>
  Array.from({ length: n }, (_, index) => f(index)).join("")

const saga = (n: number): string =>
  `${header}${repeat(n, step)}
const Definition = Saga.make("Saga", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Schema.String,
  error: Schema.Union([${repeat(n, (n) => `Refused${n}, `)}Step.TimedOut]),
  compensationError: Schema.Union([${repeat(n, (n) => `Stuck${n}, `)}]),
  idempotencyKey: ({ id }) => id
})
export const layer = Definition.toLayer(Effect.fn(function*(payload) {
  let id = payload.id${body(n)}
  return id
}))
`

const empty = (n: number): string =>
  `${header}${repeat(n, plain)}
export const used = [Context, Effect, Schema, Saga, Step, ${repeat(n, (n) => `Refused${n}, Stuck${n}, Service${n}, `)}]
`

const less = (a: Compiled, b: Compiled): { readonly types: number; readonly instantiations: number } => ({
  types: a.types - b.types,
  instantiations: a.instantiations - b.instantiations
})

const budgets = {
  5: { types: 2_900, instantiations: 9_200 },
  50: { types: 18_700, instantiations: 79_000 }
}

describe("a saga costs the compiler", () => {
  const cost = (n: 5 | 50 | 95) => {
    const compiled = compile({ "saga.ts": saga(n) })
    expect(compiled.errors).toEqual([])
    const counted = less(compiled, compile({ "saga.ts": empty(n) }))
    console.log(`${n} steps: ${counted.instantiations} instantiations, ${counted.types} types`)
    return counted
  }
  const five = cost(5)
  const fifty = cost(50)

  it("of five steps what was counted", () => {
    expect(five.types).toBeLessThan(budgets[5].types)
    expect(five.instantiations).toBeLessThan(budgets[5].instantiations)
  })

  it("of fifty steps what was counted", () => {
    expect(fifty.types).toBeLessThan(budgets[50].types)
    expect(fifty.instantiations).toBeLessThan(budgets[50].instantiations)
  })

  it("no more than linearly in the steps: the second 45 cost what the first 45 did, within a tenth", () => {
    const ninetyFive = cost(95)
    const more = (key: "types" | "instantiations") => [ninetyFive[key] - fifty[key], fifty[key] - five[key]] as const
    for (const [second, first] of [more("types"), more("instantiations")]) {
      expect(second).toBeLessThan(1.1 * first)
    }
  })
})
