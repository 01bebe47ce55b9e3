/**
 * A client knows a saga's definition; a worker has its handler too. The client starts an execution, looks where it
 * stands, waits for its end, and cancels another one, which the worker then rolls back.
 *
 * Here both are in one process, on one store in memory. As two processes on one PostgreSQL they are the same layers,
 * with `SqlSagaStore.layer()` in the place of `SagaStore.layerMemory`.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Context, Effect, Latch, Layer, Result, Schema } from "effect"
import { Saga, SagaEngine, SagaStore, Step } from "effect-saga"

// ---------------------------------------------------------------------------------------------------------------------
// what both know
// ---------------------------------------------------------------------------------------------------------------------

const PrintBook = Saga.make("PrintBook", {
  payload: Schema.Struct({ title: Schema.String, sheets: Schema.Int }),
  success: Schema.String,
  idempotencyKey: (book) => book.title
})

// ---------------------------------------------------------------------------------------------------------------------
// the worker
// ---------------------------------------------------------------------------------------------------------------------

class Press extends Context.Service<Press, {
  readonly print: (sheet: string) => Effect.Effect<void>
  readonly pulp: (sheet: string) => Effect.Effect<void>
  /** Open while the press runs. */
  readonly running: Latch.Latch
  /** Opens with the first sheet that has to wait. */
  readonly waiting: Latch.Latch
}>()("example/Press") {
  static readonly layer = Layer.effect(
    Press,
    Effect.gen(function*() {
      const running = yield* Latch.make(true)
      const waiting = yield* Latch.make(false)
      return Press.of({
        running,
        waiting,
        print: Effect.fnUntraced(function*(sheet) {
          yield* Console.log(`  press: ${sheet}`)
          yield* waiting.open
          yield* running.await
        }),
        pulp: (sheet) => Console.log(`  press: ${sheet} is pulped`)
      })
    })
  )
}

const print = (sheet: string) =>
  Step.make("PrintSheet", {
    execute: Press.use((_) => _.print(sheet)),
    compensate: () => Press.use((_) => _.pulp(sheet))
  })

const PrintBookLive = PrintBook.toLayer(Effect.fn(function*(book) {
  for (let sheet = 1; sheet <= book.sheets; sheet++) yield* print(`sheet ${sheet} of ${book.title}`)
  return `${book.title}, ${book.sheets} sheets`
}))

const WorkerLive = PrintBookLive.pipe(Layer.provide(SagaEngine.layerOptions({ poll: "20 millis" })))

// ---------------------------------------------------------------------------------------------------------------------
// the client
// ---------------------------------------------------------------------------------------------------------------------

const program = Effect.gen(function*() {
  const press = yield* Press
  const id = yield* PrintBook.start({ title: "Sagas", sheets: 2 })
  yield* Console.log(`${id} is ${(yield* PrintBook.poll(id))._tag}, and no worker is there yet`)

  yield* Layer.build(WorkerLive)
  yield* Console.log(`printed: ${yield* PrintBook.result(id)}`)

  yield* press.running.close
  yield* press.waiting.close
  const long = yield* PrintBook.start({ title: "Edda", sheets: 500 })
  yield* press.waiting.await
  yield* PrintBook.cancel(long, { reason: "the author is not content" })
  yield* Console.log(`${long} is to stop; the step in flight is not cut off`)
  yield* press.running.open
  const end = yield* Effect.result(PrintBook.result(long))
  if (Result.isFailure(end)) yield* Console.log(`${long} ended with ${end.failure.reason._tag}`)
})

program.pipe(
  Effect.scoped,
  Effect.provide(SagaEngine.layer.pipe(Layer.provideMerge(SagaStore.layerMemory), Layer.provideMerge(Press.layer))),
  NodeRuntime.runMain
)

// Output:
// PrintBook/Sagas is Running, and no worker is there yet
//   press: sheet 1 of Sagas
//   press: sheet 2 of Sagas
// printed: Sagas, 2 sheets
//   press: sheet 1 of Edda
// PrintBook/Edda is to stop; the step in flight is not cut off
//   press: sheet 1 of Edda is pulped
// PrintBook/Edda ended with Cancelled
