/**
 * What the store promises of claims, owners and leases.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Status } from "../../SagaStore.ts"
import {
  type Case,
  claim,
  create,
  deadLease,
  entries,
  equal,
  longLease,
  next,
  promise,
  rowUpdate,
  type World
} from "./storeCase.ts"

/**
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  promise("claims what is due and owned by nobody: the longest due first, and at most the limit", function*(world) {
    const { id, store, worker } = world
    const wakeAts = [5_000, 1_000, 10_000, 3_000]
    yield* store.append(wakeAts.map((wakeAt) => create(world, id(wakeAt), { wakeAt })))
    yield* store.register(worker(1), longLease)
    const first = yield* claim(world, worker(1), { limit: 2 })
    yield* equal("the longest due", first, [{ id: id(1_000), seq: 1 }, { id: id(3_000), seq: 1 }])
    const second = yield* claim(world, worker(1), { limit: 10 })
    yield* equal("the others", second, [{ id: id(5_000), seq: 1 }, { id: id(10_000), seq: 1 }])
    yield* equal("nothing is left", yield* claim(world, worker(1)), [])
  }),

  promise("claims the longest due first, of whichever saga", function*(world) {
    const { id, saga, store, worker } = world
    const names = [saga, `${saga}-2`, `${saga}-3`]
    yield* store.register(worker(1), longLease)
    yield* store.append(
      [4_000, 1_000, 3_000, 2_000, 6_000, 5_000].map((wakeAt, index) =>
        create(world, id(wakeAt), { wakeAt }, { create: { name: names[index % 3]!, payload: "{}" } })
      )
    )
    for (const wakeAt of [1_000, 2_000, 3_000, 4_000]) {
      const claimed = yield* claim(world, worker(1), { names, limit: 1 })
      yield* equal("the longest due of all", claimed, [{ id: id(wakeAt), seq: 1 }])
    }
  }),

  promise("makes the claimer the owner and appends the claim, and changes nothing else", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker(1), longLease)
    yield* store.append([create(world, id("a"), { status: "compensating", result: "1", wakeAt: 4 })])
    yield* store.send({ execution: id("a"), message: "{}", now: 4, refuse: [] })
    const before = yield* store.read(id("a"))
    yield* claim(world, worker(1), { token: "the claim" })
    const after = { ...before!, worker: worker(1), wakeAt: null, updatedAt: 10_000 }
    yield* equal("the row", yield* store.read(id("a")), after)
    yield* equal("the journal", (yield* store.journal(id("a")))[1], {
      seq: 1,
      token: "the claim",
      at: 10_000,
      entries: entries("Claimed", 10_000)
    })
  }),

  promise("answers a claim that asks with nothing but what is stored from then on", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker("gone"), deadLease)
    yield* store.register(worker(1), longLease)
    const told = { message: "{}", now: 4, refuse: [] }
    const long = JSON.stringify(["long ".repeat(20_000)])
    const tags = { color: "red" }
    yield* store.append([
      create(world, id("new"), { wakeAt: 1 }),
      create(world, id("told"), { wakeAt: 2, status: "parked", result: "{}" }),
      create(world, id("orphan"), { worker: worker("gone") }, { create: { name: world.saga, payload: "1", tags } }),
      create(world, id("again"), { wakeAt: 3 }),
      create(world, id("long"), { wakeAt: 4 }),
      create(world, id("long payload"), { wakeAt: 5 }, { create: { name: world.saga, payload: long } })
    ])
    yield* store.send({ execution: id("told"), ...told })
    yield* store.append([next(id("orphan"), 1), next(id("again"), 1), next(id("long"), 1, { entries: long })])
    const continued = rowUpdate({ wakeAt: 3, continued: { version: 3 } })
    yield* store.append([next(id("orphan"), 2), next(id("again"), 2, { row: continued })])
    yield* store.append([next(id("again"), 3)])
    const claimed = yield* claim(world, worker(1), { reads: true })
    yield* equal("all are claimed", claimed.length, 6)
    for (const one of claimed) {
      if (one.stored === undefined) continue
      const row = yield* store.read(one.id)
      yield* equal(`the row of ${one.id}`, one.stored.row, row!)
      yield* equal(`the journal of ${one.id}`, one.stored.journal, yield* store.journal(one.id, row!.base - 1))
    }
    const again = create(world, id("unasked"), { wakeAt: 1 })
    yield* store.append([again])
    yield* equal("a claim that does not ask", yield* claim(world, worker(1)), [{ id: id("unasked"), seq: 1 }])
  }),

  promise("claims nothing that is due later, never, or owned by a worker that lives", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker("owner"), longLease)
    yield* store.register(worker("other"), longLease)
    yield* store.append([
      create(world, id("later"), { wakeAt: 10_001 }),
      create(world, id("never")),
      create(world, id("owned"), { worker: worker("owner") }),
      create(world, id("owned and due"), { worker: worker("owner"), wakeAt: 1 }),
      create(world, id("ended"), { status: "completed" })
    ])
    yield* equal("the claim", yield* claim(world, worker("other")), [])
    yield* equal("the journal is untouched", (yield* store.witness(id("later"), 0)).last, 0)
  }),

  promise("names what a worker owns, with the last place of each journal", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker(1), longLease)
    yield* store.register(worker("other"), longLease)
    yield* store.append([
      create(world, id("started"), { worker: worker(1) }),
      create(world, id("due"), { wakeAt: 1 }),
      create(world, id("another's"), { worker: worker("other") })
    ])
    yield* claim(world, worker(1))
    const owned = (yield* store.owned(worker(1))).toSorted((a, b) => a.seq - b.seq)
    yield* equal("the owned", owned, [{ id: id("started"), seq: 0 }, { id: id("due"), seq: 1 }])
    yield* equal("of nobody", yield* store.owned(worker("nobody")), [])
  }),

  promise("claims only sagas that are named", function*(world) {
    const { id, saga, store, worker } = world
    const other = `${saga}-other`
    yield* store.register(worker("gone"), deadLease)
    yield* store.register(worker(1), longLease)
    yield* store.append([
      create(world, id("due"), { wakeAt: 1 }),
      create(world, id("orphan"), { worker: worker("gone") }),
      create(world, id("other"), { wakeAt: 2 }, { create: { name: other, payload: "{}" } })
    ])
    yield* equal("by another name", yield* claim(world, worker(1), { names: [`${saga}-third`] }), [])
    yield* equal("by no name", yield* claim(world, worker(1), { names: [] }), [])
    const ids = (yield* claim(world, worker(1), { names: [other] })).map((_) => _.id)
    yield* equal("by its name", ids, [id("other")])
    const rest = (yield* claim(world, worker(1), { names: [saga, other, saga] })).map((_) => _.id).sort()
    yield* equal("by all names", rest, [id("due"), id("orphan")].sort())
  }),

  promise("claims only the versions that are named, of a saga that is named beside versions", function*(world) {
    const { id, saga, store, worker } = world
    const other = `${saga}-other`
    const made = (name: string, version: number) => ({ create: { name, payload: "{}", version } })
    yield* store.register(worker("gone"), deadLease)
    yield* store.register(worker(1), longLease)
    yield* store.append([
      create(world, id("old"), { wakeAt: 1 }, made(saga, 1)),
      create(world, id("old orphan"), { worker: worker("gone") }, made(saga, 1)),
      create(world, id("new"), { wakeAt: 2 }, made(saga, 2)),
      create(world, id("new orphan"), { worker: worker("gone") }, made(saga, 2)),
      create(world, id("any"), { wakeAt: 3 }, made(other, 7))
    ])
    const take = (...versions: ReadonlyArray<number>) =>
      claim(world, worker(1), {
        names: [saga, other],
        versions: versions.map((version) => ({ name: saga, version })),
        limit: 3
      })
    const ids = (claimed: ReadonlyArray<{ readonly id: string }>) => claimed.map((_) => _.id).toSorted()
    yield* equal("of the second", ids(yield* take(2, 3)), [id("any"), id("new"), id("new orphan")].toSorted())
    yield* equal("of another", ids(yield* take(4)), [])
    yield* equal("of the first", ids(yield* take(1, 2)), [id("old"), id("old orphan")].toSorted())
  }),

  promise("claims what a worker left once its lease and the margin are over", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker("gone"), deadLease)
    yield* store.register(worker(1), longLease)
    yield* store.append([create(world, id("orphan"), { worker: worker("gone") })])
    yield* equal("within the margin", yield* claim(world, worker(1), { margin: longLease }), [])
    yield* equal("past the margin", yield* claim(world, worker(1)), [{ id: id("orphan"), seq: 1 }])
    yield* equal("its new owner", (yield* store.read(id("orphan")))?.worker, worker(1))
  }),

  promise("claims at once what a worker left that retired", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker("retired"), longLease)
    yield* store.register(worker(1), longLease)
    yield* store.append([create(world, id("a"), { worker: worker("retired") })])
    yield* store.retire(worker("retired"))
    yield* equal("the claim", yield* claim(world, worker(1), { margin: longLease }), [{ id: id("a"), seq: 1 }])
    // A start of its own that was on its way.
    yield* store.append([create(world, id("b"), { worker: worker("retired") })])
    yield* equal("a late one", yield* claim(world, worker(1), { margin: longLease }), [{ id: id("b"), seq: 1 }])
  }),

  promise("claims what an owner has that was never registered, once another worker registers", function*(world) {
    const { id, store, worker } = world
    yield* store.append([create(world, id("a"), { worker: worker("unknown") })])
    yield* store.register(worker(1), longLease)
    yield* equal("the claim", yield* claim(world, worker(1), { margin: longLease }), [{ id: id("a"), seq: 1 }])
  }),

  promise("claims no more than the limit of what several workers left", function*(world) {
    const { id, store, worker } = world
    const executions = Array.from({ length: 12 }, (_, index) => id(index))
    yield* store.append(executions.map((execution, index) => create(world, execution, { worker: worker(index % 3) })))
    yield* store.register(worker("rescuer"), longLease)
    const claimed: Array<string> = []
    for (const expected of [5, 5, 2, 0]) {
      const ids = (yield* claim(world, worker("rescuer"), { limit: 5, token: `${claimed.length}` })).map((_) => _.id)
      yield* equal("how many", ids.length, expected)
      claimed.push(...ids)
    }
    yield* equal("each once", claimed.sort(), executions.toSorted())
  }),

  promise("gives each execution to one of many claimers", function*(world) {
    const { id, store, worker } = world
    const executions = Array.from({ length: 60 }, (_, index) => id(index))
    yield* store.append(
      executions.map((execution, index) =>
        create(world, execution, index % 2 === 0 ? { wakeAt: index } : { worker: worker("gone") })
      )
    )
    const claimers = Array.from({ length: 6 }, (_, index) => worker(index))
    yield* Effect.forEach(claimers, (claimer) => store.register(claimer, longLease))
    const claimed: Array<string> = []
    // A claimer passes over what another one looks at, so one round may not see all.
    for (let round = 0; round < 60 && claimed.length < executions.length; round++) {
      const answers = yield* Effect.forEach(
        claimers,
        (claimer) =>
          Effect.map(claim(world, claimer, { limit: 7 }), (rows) => rows.map((row) => ({ ...row, claimer }))),
        {
          concurrency: "unbounded"
        }
      )
      for (const { claimer, id, seq } of answers.flat()) {
        claimed.push(id)
        yield* equal("the seq", seq, 1)
        yield* equal("the owner", (yield* store.read(id))?.worker, claimer)
        yield* equal("the journal", yield* store.witness(id, 1), { token: `claim by ${claimer}`, last: 1 })
      }
    }
    yield* equal("each is claimed once", claimed.sort(), executions.toSorted())
  }),

  promise("refuses the next append of an owner that lost its execution", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker("zombie"), deadLease)
    yield* store.append([create(world, id("a"), { worker: worker("zombie") })])
    yield* claim(world, worker("new"))
    const late = next(id("a"), 1, { row: rowUpdate({ status: "completed", result: "1" }) })
    yield* equal("it is refused", yield* store.append([late]), [false])
    yield* equal("the row is the new owner's", (yield* store.read(id("a")))?.worker, worker("new"))
    yield* equal("the new owner's is kept", yield* store.append([next(id("a"), 2)]), [true])
  }),

  promise("decides between a claim and an append of the former owner", function*(world) {
    for (let round = 0; round < 20; round++) yield* contend(world, round)
  }),

  promise("gives back only what the worker still owns", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker(2), longLease)
    yield* store.append([
      create(world, id("mine"), { worker: worker(1) }),
      create(world, id("kept"), { worker: worker(1) }),
      create(world, id("another's"), { worker: worker(2), wakeAt: 3 }),
      create(world, id("nobody's"), { wakeAt: 20_000 })
    ])
    const executions = [id("mine"), id("another's"), id("nobody's"), id("unknown")]
    yield* store.release({ worker: worker(1), executions, wakeAt: 9_000 })
    yield* store.release({ worker: worker(1), executions: [], wakeAt: 9_000 })
    const rows = yield* Effect.forEach(["mine", "kept", "another's", "nobody's"], (name) => store.read(id(name)))
    yield* equal("the owners", rows.map((row) => row?.worker), [null, worker(1), worker(2), null])
    yield* equal("when they are due", rows.map((row) => row?.wakeAt), [9_000, null, 3, 20_000])
    yield* store.register(worker(1), longLease)
    yield* equal("before its time", yield* claim(world, worker(3), { now: 8_999 }), [])
    yield* equal("at its time", yield* claim(world, worker(3), { now: 9_000 }), [{ id: id("mine"), seq: 1 }])
  }),

  promise("renews a lease that has not ended, and no other", function*({ store, worker }) {
    yield* equal("of an unknown worker", yield* store.renew(worker("unknown"), longLease), false)
    yield* store.register(worker("live"), longLease)
    yield* equal("of one that lives", yield* store.renew(worker("live"), longLease), true)
    yield* store.register(worker("late"), deadLease)
    yield* equal("of one whose lease ended", yield* store.renew(worker("late"), longLease), false)
    yield* equal("and it stays so", yield* store.renew(worker("late"), longLease), false)
    yield* store.retire(worker("live"))
    yield* equal("of one that retired", yield* store.renew(worker("live"), longLease), false)
    yield* store.register(worker("late"), longLease)
    yield* equal("of one that registered anew", yield* store.renew(worker("late"), longLease), true)
  }),

  promise("counts a lease from its last renewal", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker("owner"), longLease)
    yield* store.append([create(world, id("a"), { worker: worker("owner") })])
    yield* store.renew(worker("owner"), longLease)
    yield* equal("while it is renewed", yield* claim(world, worker("other")), [])
    yield* store.renew(worker("owner"), deadLease)
    yield* equal("when it was cut short", yield* claim(world, worker("other")), [{ id: id("a"), seq: 1 }])
  }),

  promise("leaves a worker its executions that registers anew after it retired", function*(world) {
    const { id, store, worker } = world
    yield* store.register(worker("back"), longLease)
    yield* store.append([create(world, id("a"), { worker: worker("back") })])
    yield* store.retire(worker("back"))
    yield* store.register(worker("back"), longLease)
    yield* equal("the claim of another", yield* claim(world, worker("other")), [])
  }),

  promise("retires a worker twice, and one that there never was", function*({ store, worker }) {
    yield* store.register(worker(1), longLease)
    yield* store.retire(worker(1))
    yield* store.retire(worker(1))
    yield* store.retire(worker("never"))
  }),

  promise("makes an execution due that its owner gives up with mail unread, also one that has ended", function*(world) {
    const { id, store } = world
    for (const status of Status.literals) {
      yield* store.append([create(world, id(status), { worker: "owner" })])
      yield* store.send({ execution: id(status), message: "{}", now: 5, refuse: [] })
      // Its owner has not seen the message.
      yield* store.append([next(id(status), 1, { at: 600, row: rowUpdate({ status, wakeAt: 20_000 }) })])
      const wakeAt = (yield* store.read(id(status)))?.wakeAt
      yield* equal(`${status} is due`, wakeAt, 600)
    }
    yield* store.append([create(world, id("read"), { worker: "owner" })])
    yield* store.send({ execution: id("read"), message: "{}", now: 5, refuse: [] })
    yield* store.append([next(id("read"), 1, { row: rowUpdate({ status: "suspended", received: 1 }) })])
    yield* equal("with all mail read", (yield* store.read(id("read")))?.wakeAt, null)
    yield* store.append([create(world, id("sooner"), { worker: "owner" })])
    yield* store.send({ execution: id("sooner"), message: "{}", now: 5, refuse: [] })
    yield* store.append([next(id("sooner"), 1, { at: 600, row: rowUpdate({ status: "suspended", wakeAt: 500 }) })])
    yield* equal("when it was due before", (yield* store.read(id("sooner")))?.wakeAt, 500)
  })
]

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** A claim and an append of the owner that is taken for dead, at once: the journal has one of them at each seq. */
const contend = Effect.fnUntraced(function*(world: World, round: number) {
  const { id, store, worker } = world
  const execution = id(`contended ${round}`)
  yield* store.append([create(world, execution, { worker: worker(`zombie ${round}`) })])
  const end = next(execution, 1, { token: "zombie", row: rowUpdate({ status: "completed", result: "1" }) })
  yield* store.register(worker("new"), longLease)
  const [claimed, kept] = yield* Effect.all([claim(world, worker("new"), { token: "claim" }), store.append([end])], {
    concurrency: 2
  })
  const journal = yield* store.journal(execution)
  const row = yield* store.read(execution)
  const at = claimed.find((_) => _.id === execution)?.seq
  yield* equal("no gap", journal.map((_) => _.seq), Array.from(journal, (_, seq) => seq))
  const tokens = journal.map((_) => _.token)
  yield* equal("the append is in the journal if it was kept", tokens.includes("zombie"), kept[0] === true)
  yield* equal("the claim is in the journal if it was answered", tokens.indexOf("claim"), at ?? -1)
  yield* equal("one of them at least", kept[0] === true || at !== undefined, true)
  yield* equal("the owner", row?.worker, at === undefined ? null : worker("new"))
  yield* equal("the status", row?.status, kept[0] === true ? "completed" : "running")
})
