import { Saga, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import { describe, expect, it } from "tstyche"
import { count, ship, Strict } from "./shop.ts"

declare const numbers: ReadonlyArray<number>

describe("the version of a change", () => {
  it("is one of its range, as a literal", () => {
    const body = Effect.gen(function*() {
      const carrier = yield* Saga.version("carrier", { min: 1, max: 3 })
      expect(carrier).type.toBe<1 | 2 | 3>()
      const once = yield* Saga.version("once", { min: 0, max: 0 })
      expect(once).type.toBe<0>()
    })
    Strict.toLayer(() => Effect.as(body, ""))
  })

  it("is asked for before and after the point of no return", () => {
    Strict
      .attempt(() => Effect.andThen(count, Saga.version("before", { min: 1, max: 2 })))
      .settle(() => Effect.tap(ship, Saga.version("after", { min: 1, max: 2 })))
  })

  it("can be matched without a rest", () => {
    Effect.map(Saga.version("carrier", { min: 1, max: 2 }), (version): string => {
      switch (version) {
        case 1:
          return "post"
        case 2:
          return "courier"
      }
    })
  })
})

describe("it is refused", () => {
  it("where the range is none", () => {
    // @ts-expect-error "the versions of a change go from min to max: min is the larger one">
    Saga.version("carrier", { min: 3, max: 1 })
    // @ts-expect-error "the versions of a change are whole numbers from 0 on">
    Saga.version("carrier", { min: -1, max: 1 })
    // @ts-expect-error "the versions of a change are whole numbers from 0 on">
    Saga.version("carrier", { min: 1, max: 1.5 })
    // @ts-expect-error "the versions of a change must be literals: the types speak of them">
    Saga.version("carrier", { min: 1, max: numbers.length })
  })

  it("where the name is no literal", () => {
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it">
    Saga.version("carrier" as string, { min: 1, max: 2 })
  })

  it("in a step", () => {
    Step.readonly("Ask", {
      // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body">
      execute: Effect.asVoid(Saga.version("carrier", { min: 1, max: 2 }))
    })
  })
})
