import { Step } from "effect-saga"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { Inventory, Payment, Payments, Refunds, type Reservation } from "./shop.ts"

const Id = Schema.String.pipe(Schema.brand("Id"))
const OtherId = Schema.String.pipe(Schema.brand("OtherId"))

describe("a compensation accepts exactly its step's result", () => {
  it("and the cause of the roll-back", () => {
    Step.make("Charge", {
      success: Payment,
      execute: Effect.succeed(Payment.make({ id: "1" })),
      compensate: (payment, cause) => {
        expect(payment).type.toBe<Payment>()
        expect(cause).type.toBe<Cause.Cause<unknown>>()
        return Refunds.use((_) => _.refund(payment.id))
      }
    })
  })

  it("or nothing of it", () => {
    Step.make("Lock", { execute: Effect.void, compensate: () => Effect.log("unlocked") })
  })

  it("without a schema the result is void", () => {
    Step.make("Lock", {
      execute: Effect.void,
      compensate: (value) => {
        expect(value).type.toBe<void>()
        return Effect.void
      }
    })
  })

  it("an explicit parameter may be wider", () => {
    Step.make("Charge", {
      success: Payment,
      execute: Effect.succeed(Payment.make({ id: "1" })),
      compensate: (payment: { readonly id: string }) => Refunds.use((_) => _.refund(payment.id))
    })
  })
})

describe("another step's result is refused", () => {
  it("by what it lacks", () => {
    Step.make("Charge", {
      success: Payment,
      execute: Effect.orDie(Payments.use((_) => _.charge(1))),
      // @ts-expect-error Property 'items' is missing in type 'Payment' but required in type 'Reservation'
      compensate: (reservation: Reservation) => Inventory.use((_) => _.release(reservation.id))
    })
  })

  it("and a branded id is not another branded id", () => {
    Step.make("Lock", {
      success: Id,
      execute: Effect.succeed(Id.make("1")),
      // @ts-expect-error is not assignable to type 'string & Brand<"OtherId">'
      compensate: (id: typeof OtherId.Type) => Effect.log(id)
    })
  })

  it("a compensation is a function", () => {
    // @ts-expect-error provides no match for the signature '(value: void, cause: Cause<unknown>)
    Step.make("Lock", { execute: Effect.void, compensate: Effect.void })
  })
})
