import { type Execution, Saga, type SagaEngine, Step, Timer } from "effect-saga"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "tstyche"
import { OutOfStock, RefundRejected } from "./shop.ts"

const Parcel = Schema.Struct({ tracking: Schema.String })
const Ship = Saga.make("Ship", {
  payload: Schema.Struct({ order: Schema.String }),
  success: Parcel,
  error: OutOfStock,
  idempotencyKey: (_) => _.order
})
const Notify = Saga.make("Notify", { payload: Schema.String, idempotencyKey: (_) => _ })

const Order = Saga.make("Order", {
  payload: Schema.String,
  success: Parcel,
  error: Schema.Union([OutOfStock, Saga.ChildRolledBack]),
  idempotencyKey: (_) => _
})
const Strict = Saga.make("Strict", { payload: Schema.String, success: Parcel, idempotencyKey: (_) => _ })
const recall = (parcel: typeof Parcel.Type) => Effect.asVoid(Effect.succeed(parcel))

describe("Saga.child", () => {
  it("gives the result of its saga, and fails with its error", () => {
    const child = Saga.child(Ship, { order: "1" }, { onParentRollback: recall })
    expect<Effect.Success<typeof child>>().type.toBe<{ readonly tracking: string }>()
    expect<Effect.Error<typeof child>>().type.toBe<OutOfStock>()
    const notify = Saga.child(Notify, "hello", { onParentRollback: "leave" })
    expect<Effect.Success<typeof notify>>().type.toBe<void>()
    expect<Effect.Error<typeof notify>>().type.toBe<never>()
    expect<Execution.Execution>().type.toBeAssignableTo<Effect.Services<typeof notify>>()
  })

  it("takes the payload of its saga", () => {
    // @ts-expect-error Type 'number' is not assignable to type 'string'
    Saga.child(Ship, { order: 1 }, { onParentRollback: "leave" })
    // @ts-expect-error Argument of type 'string' is not assignable to parameter of type '{ readonly order: string; }'
    Saga.child(Ship, "1", { onParentRollback: "leave" })
  })

  it("says what undoes it, or that nothing does", () => {
    // @ts-expect-error Property 'onParentRollback' is missing
    Saga.child(Ship, { order: "1" }, {})
    // @ts-expect-error Expected 3 arguments, but got 2
    Saga.child(Ship, { order: "1" })
    // @ts-expect-error Type '"undo"' is not assignable
    Saga.child(Ship, { order: "1" }, { onParentRollback: "undo" })
    // @ts-expect-error Type 'string' is not assignable to type 'Effect<unknown, never, Left>'
    Saga.child(Ship, { order: "1" }, { onParentRollback: () => "void" })
  })

  it("is undone with its own result", () => {
    Saga.child(Ship, { order: "1" }, {
      onParentRollback: (parcel) => {
        expect(parcel).type.toBe<{ readonly tracking: string }>()
        return Effect.void
      }
    })
    // @ts-expect-error Type 'string' is not assignable to type 'number'
    Saga.child(Ship, { order: "1" }, { onParentRollback: (_: { readonly tracking: number }) => Effect.succeed(_) })
  })

  it("fails with ChildRolledBack only where that is asked for", () => {
    const child = Saga.child(Ship, { order: "1" }, { onParentRollback: "leave", onRolledBack: "fail" })
    expect<Effect.Error<typeof child>>().type.toBe<OutOfStock | Saga.ChildRolledBack>()
    const other = Saga.child(Ship, { order: "1" }, { onParentRollback: "leave", onRolledBack: "park" })
    expect<Effect.Error<typeof other>>().type.toBe<OutOfStock>()
  })

  it("has a literal name", () => {
    // @ts-expect-error "a name must be a literal: it is stored, and the types speak of it"
    Saga.child(Ship, { order: "1" }, { onParentRollback: "leave", name: "x" as string })
    Saga.child(Ship, { order: "1" }, { onParentRollback: "leave", name: `ship-${1 as number}` })
  })

  it("belongs into a body that declares its error", () => {
    const live = Order.toLayer((order) => Saga.child(Ship, { order }, { onParentRollback: recall }))
    expect(live).type.toBe<Layer.Layer<never, never, SagaEngine.SagaEngine>>()
    // @ts-expect-error "the body can fail with an error that the saga does not declare in error"
    Strict.toLayer((order) => Saga.child(Ship, { order }, { onParentRollback: recall }))
  })

  it("whose compensation can fail has that declared", () => {
    const failing = () => Effect.fail(new RefundRejected())
    // @ts-expect-error "a compensation can fail with an error that the saga does not declare in compensationError"
    Order.toLayer((order) => Saga.child(Ship, { order }, { onParentRollback: failing }))
  })

  it("whose compensation needs a service has its worker need it, a durable wait not", () => {
    class Carrier extends Context.Service<Carrier, { readonly recall: Effect.Effect<void> }>()("Carrier") {}
    const live = Order.toLayer((order) =>
      Saga.child(Ship, { order }, {
        onParentRollback: () => Effect.andThen(Timer.sleep("a while", "1 day"), Carrier.use((_) => _.recall))
      })
    )
    expect(live).type.toBe<Layer.Layer<never, never, Carrier | SagaEngine.SagaEngine>>()
  })

  it("does not run inside a step, nor without a journal", () => {
    const child = Saga.child(Notify, "hello", { onParentRollback: "leave" })
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Step.readonly("Outer", { execute: child })
    // @ts-expect-error "Saga.transact has no journal, and so no children: call the body of the child instead"
    Saga.transact(child)
    // @ts-expect-error "a step cannot run inside another step: yield it in the saga's body"
    Saga.child(Notify, "hello", { onParentRollback: () => child })
  })

  it("is started past the point of no return only where it cannot fail, and is left", () => {
    const attempted = Order.attempt(() => Effect.succeed({ tracking: "" }))
    attempted.settle((parcel) => Effect.as(Saga.child(Notify, "sent", { onParentRollback: "leave" }), parcel))
    const undone = Saga.child(Notify, "sent", { onParentRollback: () => Effect.void })
    // @ts-expect-error "after the point of no return nothing can be compensated: use Step.retryable"
    attempted.settle((parcel) => Effect.as(undone, parcel))
    const fails = Effect.ignore(Saga.child(Ship, { order: "1" }, { onParentRollback: "leave" }))
    // @ts-expect-error "after the point of no return no child may be started that can fail"
    attempted.settle((parcel) => Effect.as(fails, parcel))
    const told = Effect.ignore(Saga.child(Notify, "x", { onParentRollback: "leave", onRolledBack: "fail" }))
    // @ts-expect-error "after the point of no return no child may be started that can fail"
    attempted.settle((parcel) => Effect.as(told, parcel))
  })
})
