import { Saga } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { count, PlaceOrder, reserve, ship } from "./shop.ts"

const Parcel = Schema.Struct({ id: Schema.String, state: Schema.Literals(["sent", "late"]) })
const Tracking = Saga.make("Tracking", { payload: Parcel, idempotencyKey: (parcel) => parcel.id })
describe("a body that continues as new", () => {
  it("gives the payload of its saga, and never returns", () => {
    Tracking.toLayer(({ id }) => Effect.andThen(count, Saga.continueAsNew({ id, state: "late" })))
    expect<Effect.Success<ReturnType<typeof Saga.continueAsNew<string>>>>().type.toBe<never>()
  })

  it("may do so after the point of no return, whatever was done before", () => {
    PlaceOrder.attempt(() => reserve(1)).settle((_, order) => Effect.andThen(ship, Saga.continueAsNew(order)))
  })
})

describe("continuing as new is refused", () => {
  it("with something else", () => {
    // @ts-expect-error "the body continues as new with what is not the payload of its saga",
    Tracking.toLayer(({ id }) => Saga.continueAsNew({ id, state: "lost" }))
    // @ts-expect-error "the body continues as new with what is not the payload of its saga",
    Tracking.toLayer(() => Saga.continueAsNew("1"))
    // @ts-expect-error "the body continues as new with what is not the payload of its saga",
    Tracking.attempt(() => count).settle(() => Saga.continueAsNew({ id: 1, state: "late" }))
  })

  it("where compensations are held", () => {
    // @ts-expect-error "compensations would be lost when this body continues as new: let .settle(...) continue it"
    PlaceOrder.toLayer((order) => Effect.andThen(reserve(1), Saga.continueAsNew(order)))
    // @ts-expect-error "compensations would be lost when this body continues as new: let .settle(...) continue it"
    PlaceOrder.attempt((order) => Effect.andThen(reserve(1), Saga.continueAsNew(order)))
  })

  it("without a journal", () => {
    // @ts-expect-error "Saga.transact has no journal, so there is nothing to continue as new"
    Saga.transact(Saga.continueAsNew({ id: "1" }))
  })
})
