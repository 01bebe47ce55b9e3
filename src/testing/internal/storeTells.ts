/**
 * What the store promises of messages that go with the append of another execution.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Status } from "../../SagaStore.ts"
import { type Case, claim, create, equal, longLease, next, promise, rowUpdate, type World } from "./storeCase.ts"

/**
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  promise("tells another execution with an append: counted, numbered, and due where nobody owns it", function*(world) {
    const { id, store, worker } = world
    yield* store.append([
      create(world, id("parent")),
      create(world, id("sooner"), { wakeAt: 100 }),
      create(world, id("owned"), { worker: worker(1) })
    ])
    yield* store.send({ execution: id("parent"), message: "\"first\"", now: 900_000, refuse: [] })
    yield* equal(
      "all are kept",
      yield* store.append([tell(world, "a", "parent"), tell(world, "b", "sooner"), tell(world, "c", "owned")]),
      [true, true, true]
    )
    const rows = yield* Effect.forEach(["parent", "sooner", "owned"], (name) => store.read(id(name)))
    yield* equal("they are counted", rows.map((row) => row?.mail), [2, 1, 1])
    yield* equal("when they are due", rows.map((row) => row?.wakeAt), [1_000, 100, null])
    yield* equal("its inbox", yield* store.inbox(id("parent"), 0), [
      { number: 1, message: "\"first\"" },
      { number: 2, message: "\"from a\"" }
    ])
    yield* store.register(worker(1), longLease)
    yield* equal("its owner learns of it", yield* store.unread(worker(1)), [id("owned")])
  }),

  promise("tells one execution several things in one batch, each under a number of its own", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("parent"))])
    const names = Array.from({ length: 10 }, (_, index) => `child ${index}`)
    yield* store.append(names.map((name) => tell(world, name, "parent")))
    const inbox = yield* store.inbox(id("parent"), 0)
    yield* equal("the numbers", inbox.map((_) => _.number), names.map((_, index) => index + 1))
    yield* equal("the messages", inbox.map((_) => _.message).sort(), names.map((name) => `"from ${name}"`))
    yield* equal("the count", (yield* store.read(id("parent")))?.mail, 10)
  }),

  promise("tells nothing with an append that it refuses, nor with one that is sent again", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("parent"))])
    const first = tell(world, "a", "parent")
    yield* equal("the first", yield* store.append([first]), [true])
    yield* equal("the same again", yield* store.append([first]), [false])
    yield* equal("another writer's", yield* store.append([{ ...first, token: "another" }]), [false])
    yield* equal("the count", (yield* store.read(id("parent")))?.mail, 1)
    yield* equal("its inbox", (yield* store.inbox(id("parent"), 0)).length, 1)
  }),

  promise("drops what is told to an execution that has ended or never was, and keeps the append", function*(world) {
    const { id, store } = world
    const over: ReadonlyArray<Status> = ["completed", "rolledback", "abandoned"]
    yield* store.append([
      ...over.map((status) => create(world, id(status), { status, result: "1" })),
      create(world, id("parked"), { status: "parked", result: "1" })
    ])
    const batch = [...over, "never", "parked"].map((name) => tell(world, `child of ${name}`, name))
    yield* equal("all are kept", yield* store.append(batch), batch.map(() => true))
    for (const name of [...over, "never"]) {
      yield* equal(`the mail of ${name}`, (yield* store.read(id(name)))?.mail ?? 0, 0)
      yield* equal(`the inbox of ${name}`, yield* store.inbox(id(name), 0), [])
    }
    yield* equal("one that is parked has it", (yield* store.read(id("parked")))?.mail, 1)
  }),

  promise("tells an execution that the same batch creates or changes, in the order given", function*(world) {
    const { id, store, worker } = world
    const end = rowUpdate({ status: "completed", result: "1" })
    yield* store.register(worker(1), longLease)
    yield* store.append([create(world, id("early"), { worker: worker(1) }), create(world, id("late"))])
    const kept = yield* store.append([
      create(world, id("new"), { worker: worker(1) }),
      tell(world, "a", "new"),
      tell(world, "b", "early"),
      next(id("early"), 1, { row: end }),
      next(id("late"), 1, { row: end }),
      tell(world, "c", "late"),
      // A child of a child.
      { ...tell(world, "d", "a"), row: rowUpdate({ status: "completed", result: "1" }) }
    ])
    yield* equal("all are kept", kept.every((_) => _), true)
    const rows = yield* Effect.forEach(["new", "early", "late", "a"], (name) => store.read(id(name)))
    yield* equal("their mail", rows.map((row) => row?.mail), [1, 1, 0, 1])
    yield* equal("where they stand", rows.map((row) => row?.status), ["running", "completed", "completed", "running"])
    // It ended with mail that its last owner had not seen: somebody looks.
    yield* equal("who is due", (yield* claim(world, worker(2))).map((_) => _.id).sort(), [id("a"), id("early")].sort())
  }),

  promise("never makes two batches wait for each other that tell each other's executions", function*(world) {
    const { id, store } = world
    const names = Array.from({ length: 8 }, (_, index) => index)
    yield* store.append(names.map((name) => create(world, id(name))))
    const rounds = 12
    // Each batch changes rows and tells those that the others change.
    const batch = (half: number, round: number) =>
      names.filter((name) => name % 2 === half).map((name) =>
        next(id(name), round, {
          row: rowUpdate({ received: 0 }),
          tell: { execution: id((name * 3 + 1) % names.length), message: `${round}` }
        })
      )
    yield* Effect.forEach(
      [0, 1],
      (half) =>
        Effect.forEach(
          Array.from({ length: rounds }, (_, index) => index + 1),
          (round) =>
            Effect.flatMap(store.append(batch(half, round)), (kept) => equal("kept", kept.every((_) => _), true))
        ),
      { concurrency: 2 }
    )
    const told = new Map<string, number>()
    for (const half of [0, 1]) {
      for (const { tell } of batch(half, 1)) told.set(tell!.execution, (told.get(tell!.execution) ?? 0) + rounds)
    }
    for (const [execution, count] of told) {
      yield* equal("the mail", (yield* store.read(execution))?.mail, count)
      yield* equal("the inbox", (yield* store.inbox(execution, 0)).length, count)
    }
  })
]

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** An execution that starts, and tells another one so. */
const tell = (world: World, name: string, receiver: string) =>
  create(world, world.id(name), undefined, {
    tell: { execution: world.id(receiver), message: `"from ${name}"` }
  })
