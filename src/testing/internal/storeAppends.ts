/**
 * What the store promises of appends and journals.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Append, Row } from "../../SagaStore.ts"
import { type Case, create, entries, equal, next, promise, rowUpdate } from "./storeCase.ts"

/**
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  promise("gives back an append and the row that it created", function*(world) {
    const { id, saga, store, worker } = world
    const execution = id("a")
    const row = rowUpdate({ status: "settling", result: "[1]", worker: worker(1), wakeAt: 77, received: 0 })
    const append = create(world, execution, row)
    yield* equal("the append is kept", yield* store.append([append]), [true])
    yield* equal("its journal", yield* store.journal(execution), [
      { seq: 0, token: append.token, at: append.at, entries: append.entries }
    ])
    yield* equal<Row | null>("its row", yield* store.read(execution), {
      id: execution,
      name: saga,
      version: 1,
      tags: {},
      payload: "{\"order\":1}",
      mail: 0,
      base: 0,
      createdAt: 1_000,
      updatedAt: 1_000,
      ...row
    })
  }),

  promise("knows nothing of an execution that was never started", function*({ id, store }) {
    yield* equal("its row", yield* store.read(id("never")), null)
    yield* equal("its journal", yield* store.journal(id("never")), [])
    yield* equal("its inbox", yield* store.inbox(id("never"), 0), [])
    yield* equal("its witness", yield* store.witness(id("never"), 0), { token: null, last: null })
  }),

  promise("keeps exactly one of many appends that race for a seq", function*(world) {
    const { id, store } = world
    const execution = id("raced")
    const tokens = Array.from({ length: 16 }, (_, index) => `racer ${index}`)
    const starts = yield* Effect.forEach(
      tokens,
      (token) =>
        store.append([create(world, execution, { result: JSON.stringify(token) }, {
          token,
          create: { name: world.saga, payload: JSON.stringify(token) }
        })]),
      { concurrency: "unbounded" }
    )
    const starter = tokens.filter((_, index) => starts[index]![0])
    yield* equal("one start is kept", starter.length, 1)
    yield* equal("the row is the winner's", (yield* store.read(execution))?.payload, JSON.stringify(starter[0]))
    const seconds = yield* Effect.forEach(
      tokens,
      (token) => store.append([next(execution, 1, { token, row: rowUpdate({ result: JSON.stringify(token) }) })]),
      { concurrency: "unbounded" }
    )
    const second = tokens.filter((_, index) => seconds[index]![0])
    yield* equal("one second append is kept", second.length, 1)
    yield* equal("it is the one in the journal", yield* store.witness(execution, 1), { token: second[0]!, last: 1 })
    yield* equal("the row is the winner's", (yield* store.read(execution))?.result, JSON.stringify(second[0]))
  }),

  promise("keeps each execution once when batches race, in whatever order they name it", function*(world) {
    const { id, store } = world
    const executions = Array.from({ length: 20 }, (_, index) => id(index))
    const batches = Array.from(
      { length: 8 },
      (_, index) =>
        (index % 2 === 0 ? executions : executions.toReversed()).map((execution) =>
          create(world, execution, { worker: `batch ${index}` }, { token: `batch ${index}` })
        )
    )
    const kept = yield* Effect.forEach(batches, store.append, { concurrency: "unbounded" })
    const winners = batches.flatMap((batch, index) => batch.filter((_, element) => kept[index]![element]))
    yield* equal("each is kept once", winners.map((_) => _.execution).sort(), executions.toSorted())
    for (const winner of winners) {
      const { token } = yield* store.witness(winner.execution, 0)
      yield* equal("the journal is the winner's", token, winner.token)
      const row = yield* store.read(winner.execution)
      yield* equal("the row is the winner's", row?.worker, winner.token)
    }
  }),

  promise("stores nothing of a refused element, and keeps the others of its batch", function*(world) {
    const { id, store } = world
    const refused = id("refused")
    yield* store.append([create(world, refused, { worker: "first" }), create(world, id("other"))])
    const before = yield* store.read(refused)
    const kept = yield* store.append([
      create(world, id("new 1")),
      create(world, refused, { status: "completed", result: "2", worker: "second", wakeAt: 5, received: 3 }, {
        token: "second",
        at: 9_000
      }),
      next(id("other"), 1, { row: rowUpdate({ status: "parked" }) }),
      create(world, id("new 2"))
    ])
    yield* equal("only the taken seq is refused", kept, [true, false, true, true])
    yield* equal("its row is unchanged", yield* store.read(refused), before)
    yield* equal("its journal is unchanged", (yield* store.journal(refused)).map((_) => _.token), [`${refused}#0`])
    yield* equal("another's row is changed", (yield* store.read(id("other")))?.status, "parked")
    yield* equal("another's start is kept", (yield* store.read(id("new 2")))?.id, id("new 2"))
  }),

  promise("changes nothing for a refused later append that has a row", function*(world) {
    const { id, store } = world
    const execution = id("a")
    yield* store.append([create(world, execution, { worker: "owner" })])
    yield* store.append([next(execution, 1)])
    const before = yield* store.read(execution)
    const late = next(execution, 1, { token: "late", row: rowUpdate({ status: "completed", result: "0" }) })
    yield* equal("it is refused", yield* store.append([late]), [false])
    yield* equal("the row is unchanged", yield* store.read(execution), before)
  }),

  promise("makes no row for an append that changes the row of an execution without one", function*(world) {
    const { id, saga, store, worker } = world
    const execution = id("deleted")
    const row = rowUpdate({ status: "parked", worker: worker(1), wakeAt: 1, received: 2 })
    yield* store.append([create(world, id("there"))])
    const kept = yield* store.append([next(execution, 3, { row }), next(id("there"), 1, { row })])
    yield* equal("both are kept", kept, [true, true])
    yield* equal("it has no row", yield* store.read(execution), null)
    yield* equal("another's row is changed", (yield* store.read(id("there")))?.status, "parked")
    yield* equal("nobody owns it", yield* store.owned(worker(1)), [{ id: id("there"), seq: 1 }])
    const message = { execution, message: "{}", now: 1, refuse: [] }
    yield* equal("it takes no mail", yield* store.send(message), { _tag: "Unknown" })
    yield* store.append([create(world, execution, { status: "settling" })])
    const started = yield* store.read(execution)
    yield* equal("a start makes its row", [started?.name, started?.status, started?.mail], [saga, "settling", 0])
  }),

  promise("answers for each element in the order of the batch", function*(world) {
    const { id, store } = world
    const taken = [5, 0, 3]
    yield* store.append(taken.map((index) => create(world, id(index))))
    const kept = yield* store.append([5, 4, 3, 2, 1, 0].map((index) => create(world, id(index))))
    yield* equal("what was taken is refused", kept, [false, true, false, true, true, false])
  }),

  promise("takes a batch without elements", function*({ store }) {
    yield* equal("the answer", yield* store.append([]), [])
  }),

  promise("creates and ends an execution with one append", function*(world) {
    const { id, store } = world
    const result = entries("SagaCompleted", 1_000)
    yield* store.append([create(world, id("short"), { status: "completed", result })])
    const row = yield* store.read(id("short"))
    yield* equal("its status", row?.status, "completed")
    yield* equal("its result", row?.result, result)
    yield* equal("its owner", row?.worker, null)
  }),

  promise("leaves the row of the first start, whatever a second one says", function*(world) {
    const { id, saga, store } = world
    const execution = id("once")
    yield* store.append([create(world, execution)])
    const before = yield* store.read(execution)
    for (const payload of ["{\"order\":1}", "{\"order\":2}"]) {
      const again = create(world, execution, { worker: "late" }, { token: payload, create: { name: saga, payload } })
      yield* equal("the second start is refused", yield* store.append([again]), [false])
      yield* equal("the row is the first's", yield* store.read(execution), before)
    }
  }),

  promise("leaves the row alone when an append has none", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("a"), { worker: "owner", wakeAt: 5 })])
    const before = yield* store.read(id("a"))
    yield* store.append([next(id("a"), 1)])
    yield* equal("the row", yield* store.read(id("a")), before)
  }),

  promise("begins anew where an append's row says so", function*(world) {
    const { id, store } = world
    const version = (execution: string) =>
      Effect.map(store.read(execution), (row) => ({ version: row?.version, base: row?.base }))
    yield* store.append([create(world, id("a")), create(world, id("b"))])
    yield* equal("at first", yield* version(id("a")), { version: 1, base: 0 })
    yield* store.append([
      next(id("a"), 1, { row: rowUpdate({ continued: { version: 7 } }) }),
      next(id("b"), 1, { row: rowUpdate({}) })
    ])
    yield* equal("continued", yield* version(id("a")), { version: 7, base: 1 })
    yield* equal("the other one", yield* version(id("b")), { version: 1, base: 0 })
    yield* store.append([next(id("a"), 2, { row: rowUpdate({}) })])
    yield* equal("and after the next", yield* version(id("a")), { version: 7, base: 1 })
    yield* store.append([next(id("a"), 3, { row: rowUpdate({ continued: { version: 8 } }) })])
    yield* equal("and again", yield* version(id("a")), { version: 8, base: 3 })
    const late = yield* store.append([next(id("a"), 3, { row: rowUpdate({ continued: { version: 9 } }) })])
    yield* equal("a late one is refused", late, [false])
    yield* equal("and changes nothing", yield* version(id("a")), { version: 8, base: 3 })
  }),

  promise("changes exactly what an append's row says", function*(world) {
    const { id, saga, store, worker } = world
    yield* store.append([create(world, id("a"), { worker: worker(1), wakeAt: 5 })])
    const row = rowUpdate({ status: "suspended", result: "{}", worker: worker(2), wakeAt: 123_456_789, received: 4 })
    yield* store.append([next(id("a"), 1, { row })])
    yield* equal<Row | null>("the row", yield* store.read(id("a")), {
      id: id("a"),
      name: saga,
      version: 1,
      tags: {},
      payload: "{\"order\":1}",
      mail: 0,
      base: 0,
      createdAt: 1_000,
      updatedAt: 1_001,
      ...row
    })
  }),

  promise("tells one's own append from another's after a lost acknowledgement", function*(world) {
    const { id, store } = world
    const execution = id("resent")
    const mine = create(world, execution, { worker: "me" }, { token: "mine" })
    yield* store.append([mine])
    // The answer was lost: the same append is sent again.
    yield* equal("the resend is refused", yield* store.append([mine]), [false])
    yield* equal("it is mine, and the last", yield* store.witness(execution, 0), { token: "mine", last: 0 })
    yield* store.append([next(execution, 1, { token: "another's" })])
    yield* equal("it is mine, but not the last", yield* store.witness(execution, 0), { token: "mine", last: 1 })
    yield* equal("there is no later one", yield* store.witness(execution, 2), { token: null, last: 1 })
  }),

  promise("takes a thousand appends of every kind at once", function*(world) {
    const { id, store } = world
    const half = Array.from({ length: 500 }, (_, index) => id(`old ${index}`))
    yield* store.append(half.map((execution) => create(world, execution, { worker: "owner" })))
    const batch: Array<Append> = half.flatMap((execution, index) => [
      create(world, id(`new ${index}`), { worker: "owner" }),
      next(execution, 1, index % 2 === 0 ? { row: rowUpdate({ status: "completed", result: `${index}` }) } : {})
    ])
    const kept = yield* store.append(batch)
    yield* equal("all are kept", kept.filter((_) => _).length, 1_000)
    yield* equal("one that ended", (yield* store.read(id("old 250")))?.result, "250")
    yield* equal("one that went on", (yield* store.read(id("old 251")))?.status, "running")
    yield* equal("one that began", (yield* store.read(id("new 499")))?.worker, "owner")
  }),

  promise("keeps every text as it was, whatever it holds", function*(world) {
    const { id, store } = world
    for (const [index, text] of hostile.entries()) {
      const execution = `${id(index)}${text}`
      const append = create(world, execution, { worker: text, result: JSON.stringify(text) }, {
        token: text,
        entries: JSON.stringify([{ _tag: "SagaStarted", at: 1, note: text }]),
        create: { name: text, payload: JSON.stringify({ [text]: text }) }
      })
      yield* equal(`${text} is kept`, yield* store.append([append]), [true])
      yield* equal(`${text} is refused again`, yield* store.append([append]), [false])
      const row = yield* store.read(execution)
      yield* equal("id", row?.id, execution)
      yield* equal("name", row?.name, text)
      yield* equal("payload", row?.payload, append.create?.payload)
      yield* equal("result", row?.result, JSON.stringify(text))
      yield* equal("worker", row?.worker, text)
      yield* equal("token", yield* store.witness(execution, 0), { token: text, last: 0 })
      yield* equal("entries", (yield* store.journal(execution))[0]?.entries, append.entries)
      yield* store.send({ execution, message: JSON.stringify(text), now: 1, refuse: [] })
      yield* equal("message", yield* store.inbox(execution, 0), [{ number: 1, message: JSON.stringify(text) }])
      yield* equal("unread", yield* store.unread(text), [execution])
      yield* store.release({ worker: text, executions: [execution], wakeAt: 1 })
      const token = `claimed ${text}`
      const claimed = yield* store.claim({
        worker: text,
        names: [text],
        limit: 10,
        now: 1,
        margin: 0,
        token,
        entries: append.entries
      })
      yield* equal("claim", claimed.filter((_) => _.id === execution), [{ id: execution, seq: 1 }])
      yield* store.append([next(execution, 2, { row: rowUpdate({ status: "completed" }) })])
    }
  }),

  promise("keeps megabytes as they were", function*(world) {
    const { id, store } = world
    const big = (character: string) => JSON.stringify([character.repeat(1_500_000)])
    const append = create(world, id("big"), { result: big("r") }, {
      entries: big("é"),
      create: { name: world.saga, payload: big("🦕") }
    })
    yield* store.append([append, create(world, id("small"))])
    yield* store.send({ execution: id("big"), message: big("\\\""), now: 1, refuse: [] })
    const row = yield* store.read(id("big"))
    yield* equal("the payload is whole", row?.payload === big("🦕"), true)
    yield* equal("the result is whole", row?.result === big("r"), true)
    yield* equal("the entries are whole", (yield* store.journal(id("big")))[0]?.entries === big("é"), true)
    yield* equal("the message is whole", (yield* store.inbox(id("big"), 0))[0]?.message === big("\\\""), true)
  }),

  promise("gives a long journal back in order", function*(world) {
    const { id, store } = world
    yield* store.append([create(world, id("long"))])
    for (let seq = 1; seq < 30; seq++) yield* store.append([next(id("long"), seq)])
    const journal = yield* store.journal(id("long"))
    yield* equal("the seqs", journal.map((_) => _.seq), Array.from({ length: 30 }, (_, seq) => seq))
    yield* equal("the times", journal.map((_) => _.at), Array.from({ length: 30 }, (_, seq) => 1_000 + seq))
  })
]

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Texts that a driver which builds SQL, arrays or JSON by hand gets wrong. All but NUL and lone surrogates. */
const hostile: ReadonlyArray<string> = [
  "it's",
  "\"quoted\"",
  "back\\slash \\\\ \\x00 \\u0000",
  "'; DROP TABLE saga_execution; --",
  "$1 $$ ${} :name ? @p",
  "100% _like_ %",
  "{a,b} {} NULL null",
  "(1,2) [3] \\N",
  "line\nfeed\r\ntab\tend",
  "\u0001\u001f\u007f\u0085\u2028\u2029\ufeff",
  "ünïcödé ß Ω 漢字 עברית",
  "e\u0301 and \u00e9",
  "🦕👩‍👩‍👧‍👦 \u{10ffff}",
  " leading and trailing ",
  "long ".repeat(120)
]
