/**
 * What a store promises about lists and counts.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Query } from "../../SagaStore.ts"
import { type Case, create, equal, next, promise, rowUpdate, type World } from "./storeCase.ts"

/**
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  promise("lists executions by their start, newest or oldest first, equals by their id's bytes", function*(world) {
    yield* started(world, [["b", 2_000], ["a", 2_000], ["c", 1_000], ["\u{1F600}", 3_000], ["\uFF5E", 3_000]])
    yield* lists(world, "newest first", {}, ["\u{1F600}", "\uFF5E", "b", "a", "c"])
    yield* lists(world, "oldest first", { order: "oldest" }, ["c", "a", "b", "\uFF5E", "\u{1F600}"])
  }),

  promise("gives a row without its payload and its result", function*(world) {
    const { id, saga, store, worker } = world
    const row = rowUpdate({ status: "parked", result: "[1]", worker: worker(1), wakeAt: 77, received: 0 })
    const tags = { customer: "ann", "a \"key\"": "a {value}\n" }
    yield* store.append([
      create(world, id("a"), row, { create: { name: saga, payload: "{}", version: 3, tags } })
    ])
    const [found] = yield* store.list(query(world, {}))
    yield* equal<unknown>("the row", found, {
      id: id("a"),
      name: saga,
      version: 3,
      tags,
      status: "parked",
      worker: worker(1),
      wakeAt: 77,
      mail: 0,
      received: 0,
      base: 0,
      createdAt: 1_000,
      updatedAt: 1_000
    })
    yield* equal<unknown>("its version and its tags", (yield* store.read(id("a")))?.tags, tags)
  }),

  promise("gives page after page, each beyond a place that need not be taken", function*(world) {
    const all = Array.from({ length: 7 }, (_, n) => [`e${n}`, 1_000 + Math.floor(n / 3)] as const)
    yield* started(world, all)
    for (const order of ["newest", "oldest"] as const) {
      const seen: Array<string> = []
      let after: Query["after"]
      while (true) {
        const page = yield* world.store.list(query(world, { order, after, limit: 2 }))
        const last = page.at(-1)
        if (last === undefined) break
        seen.push(...page.map((row) => row.id))
        after = last
      }
      const expected = all.map(([name]) => world.id(name))
      yield* equal(`all, ${order} first`, seen, order === "oldest" ? expected : expected.toReversed())
    }
    yield* lists(world, "beyond no row", { after: { createdAt: 1_001, id: "" } }, ["e2", "e1", "e0"])
    yield* lists(world, "before all", { order: "oldest", after: { createdAt: 0, id: "" }, limit: 1 }, ["e0"])
  }),

  promise("lists what has one of these statuses, rare and common ones", function*(world) {
    const { id, store } = world
    for (const [name, status] of [["a", "completed"], ["b", "parked"], ["c", "running"], ["d", "parked"]] as const) {
      yield* store.append([create(world, id(name), { status })])
    }
    yield* lists(world, "parked", { statuses: ["parked"] }, ["d", "b"])
    yield* lists(world, "two, named twice", { statuses: ["parked", "running", "parked"] }, ["d", "c", "b"])
    yield* lists(world, "completed or running", { statuses: ["completed", "running"] }, ["c", "a"])
    yield* lists(world, "none", { statuses: [] }, [])
    yield* store.append([next(id("b"), 1, { row: rowUpdate({ status: "completed" }) })])
    yield* lists(world, "after a change", { statuses: ["parked"] }, ["d"])
  }),

  promise("lists what has all of these tags", function*(world) {
    const { id, saga, store } = world
    const tagged = (name: string, tags: Readonly<Record<string, string>> | undefined, version?: number) =>
      store.append([create(world, id(name), {}, { create: { name: saga, payload: "1", tags, version } })])
    yield* tagged("a", { customer: "ann", city: "Ulm" })
    yield* tagged("b", { customer: "bob", city: "Ulm" }, 2)
    yield* tagged("c", undefined)
    yield* tagged("d", { city: "ann" }, 2)
    yield* lists(world, "one", { tags: { city: "Ulm" } }, ["b", "a"])
    yield* lists(world, "two", { tags: { city: "Ulm", customer: "ann" } }, ["a"])
    yield* lists(world, "none", { tags: { customer: "" } }, [])
    yield* lists(world, "a name that every object has", { tags: { constructor: "ann" } }, [])
    yield* lists(world, "with a version", { tags: { city: "Ulm" }, versions: [2, 3] }, ["b"])
    yield* lists(world, "with a status", { tags: { city: "Ulm" }, statuses: ["running"] }, ["b", "a"])
  }),

  promise("lists what started in a time, and what an id contains", function*(world) {
    yield* started(world, [["Order-1_x", 1_000], ["order-2%", 2_000], ["Other", 3_000]])
    yield* lists(world, "from", { createdFrom: 2_000 }, ["Other", "order-2%"])
    yield* lists(world, "before", { createdBefore: 2_000 }, ["Order-1_x"])
    yield* lists(world, "between", { createdFrom: 1_001, createdBefore: 3_000 }, ["order-2%"])
    yield* lists(world, "a part, whatever its case", { search: "/ORDER" }, ["order-2%", "Order-1_x"])
    yield* lists(world, "a percent sign", { search: "2%" }, ["order-2%"])
    yield* lists(world, "an underscore", { search: "1_" }, ["Order-1_x"])
    yield* lists(world, "nothing", { search: "1%" }, [])
  }),

  promise("lists what every other filter leaves of all sagas", function*(world) {
    const { id, store } = world
    yield* started(world, [["a", 1_000], ["b", 2_000]])
    const found = yield* store.list({ ...query(world, {}), names: undefined, search: id("") })
    yield* equal("by a part of the id alone", found.map((row) => row.id), [id("b"), id("a")])
    yield* equal("of no saga", yield* store.list({ ...query(world, {}), names: [] }), [])
  }),

  promise("counts executions by saga and status", function*(world) {
    const { id, saga, store } = world
    yield* started(world, [["a", 3_000], ["b", 2_000], ["c", 1_000]])
    yield* store.append([next(id("c"), 1, { row: rowUpdate({ status: "parked" }) })])
    const counts = (yield* store.stats).filter((count) => count.name === saga)
    yield* equal<unknown>("the counts", counts.toSorted((x, y) => y.count - x.count), [
      { name: saga, status: "running", count: 2, oldest: 2_000 },
      { name: saga, status: "parked", count: 1, oldest: 1_000 }
    ])
  }),

  promise("gives what a journal has after a place", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("a"))])
    yield* store.append([next(id("a"), 1)])
    yield* store.append([next(id("a"), 2)])
    const after = (seq: number) => Effect.map(store.journal(id("a"), seq), (stored) => stored.map((_) => _.seq))
    yield* equal("after 0", yield* after(0), [1, 2])
    yield* equal("after the last", yield* after(2), [])
    yield* equal("from the beginning", yield* after(-1), [0, 1, 2])
  })
]

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const query = ({ saga }: World, change: Partial<Query>): Query => ({
  names: [saga],
  statuses: undefined,
  versions: undefined,
  tags: {},
  createdFrom: undefined,
  createdBefore: undefined,
  search: undefined,
  order: "newest",
  after: undefined,
  limit: 100,
  ...change
})

const started = (world: World, executions: ReadonlyArray<readonly [name: string, at: number]>) =>
  Effect.forEach(
    executions,
    ([name, at]) => world.store.append([create(world, world.id(name), {}, { at })]),
    { discard: true }
  )

const lists = (world: World, what: string, change: Partial<Query>, expected: ReadonlyArray<string>) =>
  Effect.flatMap(
    world.store.list(query(world, change)),
    (found) => equal(what, found.map((row) => row.id), expected.map(world.id))
  )
