/**
 * Random sequences of operations, on a database and on the store in memory: both must answer alike, until every
 * operation has answered in each of its ways at least once.
 */
import { layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fc from "fast-check"
import { expect } from "vitest"
import * as Pglite from "../../src/pglite/Pglite.ts"
import * as SagaStore from "../../src/SagaStore.ts"
import * as SqlSagaStore from "../../src/sql/SqlSagaStore.ts"
import * as Postgres from "../utils/Postgres.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the operations
// ---------------------------------------------------------------------------------------------------------------------

const executions = ["a", "b", "c", "d"]
const sagas = ["X", "Y"]
const workers = ["w1", "w2", "w3"]
/** Dead at once, or beyond the run: what lies between depends on a clock. */
const leases = [0, 1_000_000]

const execution = fc.constantFrom(...executions)
const worker = fc.constantFrom(...workers)
const time = fc.constantFrom(10, 20, 30)
const text = fc.string({ unit: "grapheme", maxLength: 8 }).filter((text) => !text.includes("\u0000"))
const status = fc.constantFrom(...SagaStore.Status.literals)

const row = fc.record({
  status,
  result: fc.option(text),
  worker: fc.option(worker),
  wakeAt: fc.option(time),
  received: fc.integer({ min: 0, max: 2 })
})

const element = fc.record({
  execution,
  /** Beyond the last append of the journal: 0 is taken, 1 is free. */
  step: fc.constantFrom(0, 1, 1, 1),
  at: time,
  name: fc.constantFrom(...sagas),
  text,
  version: fc.constantFrom(undefined, 1, 2),
  tags: fc.constantFrom(undefined, {}, { t: "1" }, { t: "1", u: "2" }),
  row: fc.option(row),
  answered: fc.subarray([1, 2, 3]),
  mail: fc.constantFrom(undefined, [], [{ message: "first", key: "k" }, { message: "second" }]),
  tell: fc.option(fc.record({ execution, message: fc.constant("told") }))
})

const operation = fc.oneof(
  fc.record({
    _tag: fc.constant("append" as const),
    batch: fc.uniqueArray(element, { selector: (_) => _.execution, maxLength: 4 })
  }),
  fc.record({ _tag: fc.constant("witness" as const), execution, seq: fc.integer({ min: 0, max: 3 }) }),
  fc.record({
    _tag: fc.constant("claim" as const),
    worker,
    names: fc.subarray(sagas),
    now: time,
    margin: fc.constantFrom(0, 1_000_000),
    text,
    reads: fc.boolean()
  }),
  fc.record({ _tag: fc.constant("release" as const), worker, executions: fc.subarray(executions), wakeAt: time }),
  fc.record({
    _tag: fc.constant("send" as const),
    execution,
    message: text,
    key: fc.constantFrom(undefined, "k", "l"),
    now: time,
    refuse: fc.subarray([...SagaStore.Status.literals], { maxLength: 4 })
  }),
  fc.record({ _tag: fc.constant("inbox" as const), execution, after: fc.integer({ min: 0, max: 2 }) }),
  fc.record({ _tag: fc.constant("unread" as const), worker }),
  fc.record({ _tag: fc.constant("owned" as const), worker }),
  fc.record({ _tag: fc.constant("register" as const), worker, lease: fc.constantFrom(...leases) }),
  fc.record({ _tag: fc.constant("renew" as const), worker, lease: fc.constantFrom(...leases) }),
  fc.record({ _tag: fc.constant("retire" as const), worker }),
  fc.record({
    _tag: fc.constant("list" as const),
    names: fc.subarray(sagas),
    statuses: fc.option(fc.subarray([...SagaStore.Status.literals]), { nil: undefined }),
    versions: fc.option(fc.subarray([1, 2]), { nil: undefined }),
    tags: fc.constantFrom<Record<string, string>>({}, { t: "1" }, { u: "2" }, { t: "1", u: "2" }),
    createdFrom: fc.option(time, { nil: undefined }),
    createdBefore: fc.option(time, { nil: undefined }),
    search: fc.option(fc.constantFrom("A", "b", "run"), { nil: undefined }),
    order: fc.constantFrom("newest" as const, "oldest" as const),
    after: fc.option(fc.record({ createdAt: time, id: execution }), { nil: undefined }),
    limit: fc.integer({ min: 1, max: 4 })
  }),
  fc.record({ _tag: fc.constant("stats" as const) }),
  fc.record({ _tag: fc.constant("journal" as const), execution, after: fc.integer({ min: -1, max: 3 }) })
)
type Operation = typeof operation extends fc.Arbitrary<infer A> ? A : never

/** The ways in which an operation answers: each must be seen. */
const answers = [
  "append: created",
  "append: appended",
  "append: refused",
  "witness: found",
  "witness: none",
  "claim: some",
  "claim: none",
  "release: some",
  "send: Sent",
  "send: Refused",
  "send: Unknown",
  "inbox: some",
  "inbox: none",
  "owned: some",
  "owned: none",
  "unread: some",
  "unread: none",
  "register: done",
  "renew: true",
  "renew: false",
  "retire: done",
  "list: some",
  "list: none",
  "stats: some",
  "journal: some",
  "journal: none"
]

// ---------------------------------------------------------------------------------------------------------------------
// running them
// ---------------------------------------------------------------------------------------------------------------------

interface Run {
  readonly oracle: SagaStore.Encoded
  readonly store: SagaStore.Encoded
  /** Makes names unique to a run, because all share one database. */
  readonly own: (name: string) => string
  readonly seen: (answer: string) => void
}

const both = Effect.fnUntraced(function*<A>(
  { oracle, store }: Run,
  what: unknown,
  f: (store: SagaStore.Encoded) => Effect.Effect<A, SagaStore.StoreError>
) {
  const expected = yield* f(oracle)
  expect(yield* f(store), JSON.stringify(what)).toEqual(expected)
  return expected
})

const append = Effect.fnUntraced(function*(run: Run, operation: Operation & { _tag: "append" }, count: number) {
  const elements: Array<SagaStore.Append> = []
  for (const { answered, at, execution, mail, name, row, step, tags, tell, text, version } of operation.batch) {
    const id = run.own(execution)
    const { last } = yield* run.oracle.witness(id, 0)
    const seq = last === null ? 0 : last + step
    const update = row === null ? undefined : { ...row, worker: row.worker === null ? null : run.own(row.worker) }
    elements.push({
      execution: id,
      seq,
      token: `${count} ${text}`,
      at,
      entries: JSON.stringify([text]),
      create: seq === 0 ? { name: run.own(name), payload: JSON.stringify(text), tags, version, mail } : undefined,
      answered,
      tell: tell === null || tell.execution === execution ? undefined : { ...tell, execution: run.own(tell.execution) },
      row: seq === 0 ? update ?? { status: "running", result: null, worker: null, wakeAt: at, received: 0 } : update
    })
  }
  const kept = yield* both(run, elements, (store) => store.append(elements))
  kept.forEach((kept, index) => {
    run.seen(!kept ? "append: refused" : elements[index]!.seq === 0 ? "append: created" : "append: appended")
  })
})

const some = (list: ReadonlyArray<unknown>): string => list.length === 0 ? "none" : "some"

const perform = Effect.fnUntraced(function*(run: Run, operation: Operation, count: number) {
  const { own, seen } = run
  switch (operation._tag) {
    case "append":
      return yield* append(run, operation, count)
    case "witness": {
      const { token } = yield* both(run, operation, (store) => store.witness(own(operation.execution), operation.seq))
      return seen(token === null ? "witness: none" : "witness: found")
    }
    case "claim": {
      const options = {
        worker: own(operation.worker),
        names: operation.names.map(own),
        limit: 100,
        now: operation.now,
        margin: operation.margin,
        token: `claim ${count}`,
        entries: JSON.stringify([operation.text]),
        reads: operation.reads
      }
      // The order of those whose owner is gone is that of two different clocks.
      const claimed = yield* both(
        run,
        operation,
        (store) => Effect.map(store.claim(options), (rows) => rows.toSorted((x, y) => x.id < y.id ? -1 : 1))
      )
      return seen(`claim: ${some(claimed)}`)
    }
    case "release": {
      const owned = yield* Effect.forEach(operation.executions, (execution) => run.oracle.read(own(execution)))
      const worker = own(operation.worker)
      yield* both(
        run,
        operation,
        (store) => store.release({ worker, executions: operation.executions.map(own), wakeAt: operation.wakeAt })
      )
      if (owned.some((row) => row?.worker === worker)) seen("release: some")
      return
    }
    case "send": {
      const options = { ...operation, execution: own(operation.execution) }
      const { _tag } = yield* both(run, operation, (store) => store.send(options))
      return seen(`send: ${_tag}`)
    }
    case "inbox":
      return seen(
        `inbox: ${some(yield* both(run, operation, (store) => store.inbox(own(operation.execution), operation.after)))}`
      )
    case "unread":
      return seen(
        `unread: ${
          some(
            yield* both(
              run,
              operation,
              (store) => Effect.map(store.unread(own(operation.worker)), (ids) => ids.toSorted())
            )
          )
        }`
      )
    case "owned": {
      const owned = (store: SagaStore.Encoded) =>
        Effect.map(
          store.owned(own(operation.worker)),
          (rows) => rows.toSorted((a, b) => a.id < b.id ? -1 : 1)
        )
      return seen(`owned: ${some(yield* both(run, operation, owned))}`)
    }
    case "register":
      yield* both(run, operation, (store) => store.register(own(operation.worker), operation.lease))
      return seen("register: done")
    case "renew": {
      const renewed = yield* both(run, operation, (store) => store.renew(own(operation.worker), operation.lease))
      return seen(`renew: ${renewed}`)
    }
    case "retire":
      yield* both(run, operation, (store) => store.retire(own(operation.worker)))
      return seen("retire: done")
    case "list": {
      const after = operation.after === undefined ? undefined : { ...operation.after, id: own(operation.after.id) }
      const query = { ...operation, names: operation.names.map(own), after }
      return seen(`list: ${some(yield* both(run, operation, (store) => store.list(query)))}`)
    }
    case "stats": {
      const mine = (counts: ReadonlyArray<SagaStore.Count>) =>
        counts.filter((_) => sagas.map(own).includes(_.name))
          .toSorted((a, b) => `${a.name} ${a.status}` < `${b.name} ${b.status}` ? -1 : 1)
      return seen(`stats: ${some(yield* both(run, operation, (store) => Effect.map(store.stats, mine)))}`)
    }
    case "journal": {
      const stored = (store: SagaStore.Encoded) => store.journal(own(operation.execution), operation.after)
      return seen(`journal: ${some(yield* both(run, operation, stored))}`)
    }
  }
})

const compare = Effect.fnUntraced(function*(run: Run) {
  for (const execution of executions) {
    const id = run.own(execution)
    yield* both(run, "the row", (store) => store.read(id))
    yield* both(run, "the journal", (store) => store.journal(id))
    yield* both(run, "the inbox", (store) => store.inbox(id, 0))
  }
})

/** Runs sequences until every answer was seen, ten times forty at most; what was not seen then is returned. */
const unseen = Effect.fnUntraced(function*(store: SagaStore.Encoded) {
  const left = new Set(answers)
  let runs = 0
  const sequence = Effect.fnUntraced(function*(operations: ReadonlyArray<Operation>) {
    const prefix = `run ${runs++}`
    const run: Run = {
      oracle: yield* SagaStore.makeMemory,
      store,
      own: (name) => `${prefix} ${name}`,
      seen: (answer) => left.delete(answer)
    }
    // A store may be slow to notice an owner that never registered.
    for (const worker of workers) {
      yield* both(run, "register", (store) => store.register(run.own(worker), 0))
    }
    for (const [count, operation] of operations.entries()) {
      yield* perform(run, operation, count)
    }
    yield* compare(run)
  })
  for (let round = 0; round < 10 && left.size > 0; round++) {
    yield* Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(operation, { minLength: 20, maxLength: 40 }), (operations) =>
          Effect.runPromise(sequence(operations))),
        { numRuns: 40, seed: 20_251_121 + round }
      )
    )
  }
  return Array.from(left)
})

// ---------------------------------------------------------------------------------------------------------------------
// the stores
// ---------------------------------------------------------------------------------------------------------------------

const onPostgres = Layer.unwrap(Effect.map(Postgres.Postgres, ({ schema }) => SqlSagaStore.layer({ schema }))).pipe(
  Layer.provide(Postgres.layer("differential"))
)
const onPglite = SqlSagaStore.layer().pipe(Layer.provide(Pglite.layer()))

for (const [name, store] of [["PostgreSQL", onPostgres], ["the embedded database", onPglite]] as const) {
  layer(Layer.orDie(store as Layer.Layer<SagaStore.SagaStore, unknown>), { excludeTestServices: true })(name, (it) => {
    it.effect("answers as the store in memory does", () =>
      Effect.gen(function*() {
        const { encoded } = yield* SagaStore.SagaStore
        expect(yield* unseen(encoded)).toEqual([])
      }))
  })
}
