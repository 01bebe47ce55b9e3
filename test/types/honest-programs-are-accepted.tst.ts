import { Saga, Step } from "effect-saga"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import {
  charge,
  Declined,
  Gone,
  Inventory,
  type Order,
  OutOfStock,
  Payment,
  type Payments,
  PlaceOrder,
  RefundRejected,
  type Refunds,
  Reservation,
  reserve
} from "./shop.ts"

describe("helpers around steps", () => {
  it("over the name, the result and the services", () => {
    const soft = <const Name extends string, S extends Schema.Top, R>(
      name: Step.Literal<Name>,
      success: S & Step.Storable<S>,
      execute: Effect.Effect<S["Type"], never, R> & Step.NoSteps<R>
    ) => Step.make(name, { success, execute, compensate: () => Effect.void })
    const step = soft("Soft", Reservation, Effect.orDie(Inventory.use((_) => _.reserve(1))))
    expect(step).type.toBe<Step.Compensable<"Soft", Reservation, never, Inventory>>()
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    soft("Soft", Reservation, Effect.orDie(reserve(1)))
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    soft("Soft" as string, Reservation, Effect.orDie(Inventory.use((_) => _.reserve(1))))
  })

  it("over the errors and the compensation too", () => {
    const tried = <const Name extends string, S extends Schema.Top, E extends Schema.Top, R, CE, CR>(
      name: Step.Literal<Name>,
      options: {
        readonly success: S & Step.Storable<S>
        readonly error: E & Step.Storable<E>
        readonly execute: Effect.Effect<S["Type"], E["Type"], R> & Step.NoSteps<R>
        readonly undo: (value: S["Type"]) => Effect.Effect<void, CE, CR> & Step.MayWait<CR>
      }
    ) =>
      Step.make(name, {
        success: options.success,
        error: options.error,
        execute: options.execute,
        compensate: options.undo,
        timeout: "1 second",
        unknown: "park"
      })
    const step = tried("Tried", {
      success: Reservation,
      error: OutOfStock,
      execute: Inventory.use((_) => _.reserve(1)),
      undo: (reservation) => reservation.id === "" ? Effect.fail(new Gone()) : Effect.void
    })
    expect(step).type.toBe<Step.Compensable<"Tried", Reservation, OutOfStock | Step.TimedOut, Inventory, Gone>>()
  })

  it("with an explicit type", () => {
    const step = (n: number): Step.Compensable<
      "Charge",
      Payment,
      Declined | Step.TimedOut,
      Payments | Refunds,
      RefundRejected
    > => charge(n)
    PlaceOrder.toLayer((order) => Effect.map(step(order.items), (_) => _.id))
  })

  it("in a method", () => {
    class Warehouse {
      readonly room = "a"
      take(items: number) {
        return Step.make(`Take-${this.room}-${items}`, {
          success: Reservation,
          error: OutOfStock,
          execute: Inventory.use((_) => _.reserve(items)),
          compensate: ({ id }) => Inventory.use((_) => _.release(this.room + id))
        })
      }
    }
    PlaceOrder.toLayer((order) => Effect.map(new Warehouse().take(order.items), (_) => _.id))
  })
})

describe("bodies", () => {
  it("Effect.fn with a name and pipes, Effect.fnUntraced, Effect.gen", () => {
    PlaceOrder.toLayer(
      Effect.fn("PlaceOrder")(
        function*(order) {
          return (yield* reserve(order.items)).id
        },
        Effect.tap(() => reserve(2)),
        Effect.catchTag("OutOfStock", () => Effect.succeed("none"))
      )
    )
    PlaceOrder.toLayer(Effect.fnUntraced(function*(order) {
      return (yield* Saga.scoped(reserve(order.items))).id
    }))
    PlaceOrder.toLayer((order) =>
      Effect.gen(function*() {
        return (yield* reserve(order.items)).id
      })
    )
  })

  it("conditions, loops and recursion", () => {
    PlaceOrder.toLayer(Effect.fn(function*(order) {
      const first = yield* (order.items > 1 ? reserve(1) : charge(1))
      let id = first.id
      for (let n = 0; n < order.items; n++) id += (yield* reserve(n)).id
      return id
    }))
    type Body = Effect.Effect<string, OutOfStock, Effect.Services<ReturnType<typeof reserve>>>
    const again = (n: number): Body => n === 0 ? Effect.succeed("") : Effect.flatMap(reserve(n), () => again(n - 1))
    PlaceOrder.toLayer((order) => again(order.items))
  })

  it("an annotated handler", () => {
    const handler: (
      order: typeof Order.Type
    ) => Effect.Effect<string, OutOfStock, Effect.Services<ReturnType<typeof reserve>>> = (order) =>
      Effect.map(reserve(order.items), (_) => _.id)
    PlaceOrder.toLayer(handler)
    PlaceOrder.attempt(handler).settle((id) => Effect.succeed(id))
  })

  it("retries of the body's own", () => {
    PlaceOrder.toLayer((order) => reserve(order.items).pipe(Effect.retry(Schedule.recurs(2)), Effect.map((_) => _.id)))
  })
})

describe("schemas", () => {
  const Id = Schema.String.pipe(Schema.brand("Id"))

  it("branded, read-only arrays, classes, unions", () => {
    const step = Step.make("List", {
      success: Schema.Array(Schema.Union([Payment, Schema.Struct({ id: Id, tags: Schema.optional(Schema.String) })])),
      error: Schema.Union([OutOfStock, Declined, RefundRejected]),
      execute: Effect.succeed([{ id: Id.make("1") }]),
      compensate: (list) => Effect.forEach(list, ({ id }) => Inventory.use((_) => _.release(id)))
    })
    expect<Effect.Error<typeof step>>().type.toBe<OutOfStock | Declined | RefundRejected>()
  })

  it("a compensation that may fail", () => {
    const step = Step.make("Maybe", {
      success: Payment,
      execute: Effect.succeed(Payment.make({ id: "1" })),
      compensate: (payment) =>
        payment.id === "" ? Effect.fail(new RefundRejected()) : Inventory.use((_) => _.release(""))
    })
    expect(step).type.toBe<Step.Compensable<"Maybe", Payment, never, Inventory, RefundRejected>>()
  })
})
