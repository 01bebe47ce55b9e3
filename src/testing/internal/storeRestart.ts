/**
 * What a store promises that keeps its data when the process ends.
 *
 * @since 0.1.0
 */
import { claim, create, equal, longLease, next, type RestartCase, restartPromise, rowUpdate } from "./storeCase.ts"

/**
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<RestartCase> = [
  restartPromise(
    "keeps journals, rows and messages when it is opened again",
    function*(world) {
      const { id, store } = world
      yield* store.append([create(world, id("a"), { wakeAt: 5 }), create(world, id("b"), { worker: "owner" })])
      yield* store.append([next(id("b"), 1, { row: rowUpdate({ status: "completed", result: "7" }) })])
      yield* store.send({ execution: id("a"), message: "\"hello\"", now: 4, refuse: [] })
    },
    function*(world) {
      const { id, store, worker } = world
      yield* equal("a taken seq is refused", yield* store.append([create(world, id("a"))]), [false])
      yield* equal("the ended one's result", (yield* store.read(id("b")))?.result, "7")
      yield* equal("its journal", (yield* store.journal(id("b"))).length, 2)
      yield* equal("the message", yield* store.inbox(id("a"), 0), [{ number: 1, message: "\"hello\"" }])
      yield* equal("what is due is claimed", yield* claim(world, worker(1)), [{ id: id("a"), seq: 1 }])
    }
  ),

  restartPromise(
    "lets another worker recover what one owned whose process ended",
    function*(world) {
      const { id, store, worker } = world
      yield* store.register(worker("gone"), longLease)
      yield* store.append([create(world, id("a"), { worker: worker("gone") })])
    },
    function*(world) {
      const { id, store, worker } = world
      yield* store.retire(worker("gone"))
      yield* equal("it is claimed", yield* claim(world, worker("new")), [{ id: id("a"), seq: 1 }])
    }
  )
]
