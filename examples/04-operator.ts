/**
 * What a person does: a trip is undone, one airline does not take its ticket back, and the execution parks. It is
 * found, looked at, and answered for; then its story is told.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, References, Schedule, Schema } from "effect"
import { Saga, SagaEngine, SagaInspector, SagaStore, Step } from "effect-saga"

class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { what: Schema.String }) {}
class NotRefundable extends Schema.TaggedError<NotRefundable>()("NotRefundable", { ticket: Schema.String }) {}

const Trip = Schema.Struct({ id: Schema.String, customer: Schema.String, car: Schema.Boolean })

const BookTrip = Saga.make("BookTrip", {
  payload: Trip,
  success: Schema.String,
  error: SoldOut,
  compensationError: NotRefundable,
  idempotencyKey: (trip) => trip.id,
  // What a person finds the execution by.
  tags: (trip) => ({ customer: trip.customer }),
  deadline: "1 hour",
  // For compensations that say nothing of their own.
  compensation: { retry: Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 1 })) }
})

const hotel = Step.resource("Hotel", {
  success: Schema.String,
  create: Effect.succeed("room 12"),
  delete: (room) => Console.log(`  ${room} is free again`)
})

/** This airline takes nothing back. */
const airline = Step.make("Flight", {
  success: Schema.String,
  execute: Effect.succeed("ticket 7"),
  compensate: (ticket) => Effect.fail(new NotRefundable({ ticket }))
})

const rentCar = (company: string, available: boolean) =>
  Step.make("Car", {
    success: Schema.String,
    error: SoldOut,
    execute: available ? Effect.succeed(`a car of ${company}`) : Effect.fail(new SoldOut({ what: company })),
    compensate: (car) => Console.log(`  ${car} goes back`)
  })

const BookTripLive = BookTrip.toLayer(Effect.fn(function*(trip) {
  const room = yield* hotel
  const ticket = yield* airline
  const car = yield* rentCar("Hertz", false).pipe(
    // Another way: the second company is asked under the step's next occurrence.
    Effect.catchTag("SoldOut", () => rentCar("Avis", trip.car))
  )
  return [room, ticket, car].join(", ")
}))

const program = Effect.gen(function*() {
  const inspector = yield* SagaInspector.SagaInspector
  yield* Console.log(`booked ${yield* BookTrip.execute({ id: "1", customer: "ann", car: true })}`)
  yield* Effect.flip(BookTrip.execute({ id: "2", customer: "bob", car: false }))

  const { items } = yield* inspector.list({ status: "parked", tags: { customer: "bob" } })
  for (const { id } of items) {
    yield* Console.log(`${id} is parked`)
    for (const { attempts, error, status, step } of yield* inspector.compensations(id)) {
      const why = error === undefined ? "" : `: ${JSON.stringify(error)}`
      yield* Console.log(`  undoing ${step}: ${status} after ${attempts} attempts${why}`)
    }
    // The ticket is paid for by the agency: its compensation is taken care of, and the roll-back ends.
    yield* SagaInspector.skip(id, "Flight", "on the house").pipe(
      Effect.provideService(SagaInspector.Actor, "carol")
    )
    const trip = BookTrip.executionId({ id: "2", customer: "bob", car: false })
    yield* Effect.flip(BookTrip.result(trip))
    yield* Console.log(Saga.explain(yield* inspector.journal(id)).text)
  }

  const { counts, open } = yield* inspector.stats
  yield* Console.log(`${counts.completed} completed, ${counts.rolledback} rolled back, ${open} open`)
})

const InspectedLive = Layer.merge(BookTripLive, SagaInspector.layer).pipe(
  Layer.provideMerge(SagaEngine.layer),
  Layer.provide(SagaStore.layerMemory)
)

program.pipe(
  Effect.provide(InspectedLive),
  // What parks is warned of in the log; here it is listed.
  Effect.provideService(References.MinimumLogLevel, "Error"),
  NodeRuntime.runMain
)

// Output:
// booked room 12, ticket 7, a car of Avis
//   room 12 is free again
// BookTrip/2 is parked
//   undoing Hotel: completed after 1 attempts
//   undoing Flight: failed after 2 attempts: {"_tag":"NotRefundable","ticket":"ticket 7"}
// <...>  The saga started, with a deadline in 1 h.
// <...>  Hotel succeeded in <...>.
// <...>  Flight succeeded in <...>.
// <...>  Car failed after <...>: SoldOut (what "Hertz").
// <...>  Car#2 failed after <...>: SoldOut (what "Avis").
// <...>  The saga rolls back, because it failed with SoldOut (what "Avis").
// <...>  It undoes Flight and Hotel.
// <...>  Undoing Flight failed at attempt 1: NotRefundable (ticket "ticket 7"). It is tried again in 10 ms.
// <...>  Flight cannot be undone, after 2 attempts: NotRefundable (ticket "ticket 7").
// <...>  Hotel was undone in <...>.
// <...>  It is parked for a person, because a compensation failed for good.
// <...>  Not undone yet: Flight (2 attempts, NotRefundable (ticket "ticket 7")).
// <...>  A person can mend the cause and retry; or undo Flight by hand and skip it; or abandon it as it is.
// <...>  Worker <...> took up the parked execution: there was mail for it.
// <...>  carol took care of undoing Flight (on the house).
// <...>  The saga is rolled back after <...>: a person took care of what it could not undo.
// 1 completed, 1 rolled back, 0 open
