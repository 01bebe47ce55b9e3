/**
 * How entries are written: short, whole, and readable for every later version.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { SagaStore } from "effect-saga"
import { ReplayTest } from "effect-saga/testing"
import * as fc from "fast-check"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Notation from "../../src/internal/notation.ts"
import * as Journal from "../../src/Journal.ts"
import { root } from "../utils/sources.ts"

const decode = Schema.decodeUnknownSync(Schema.Array(Journal.Entry))
const read = (text: string, at: number) => decode(Notation.expand(JSON.parse(text), at))

/** The journal of one append with this text, as a store gives it. */
const stored = (entries: string, at = 1) =>
  Effect.gen(function*() {
    const encoded = yield* SagaStore.makeMemory
    const row = { status: "running", result: null, worker: null, wakeAt: null, received: 0 } as const
    yield* encoded.append([
      { execution: "S/1", seq: 0, token: "t", at, entries, create: { name: "S", payload: "1" }, row }
    ])
    return yield* SagaStore.make(encoded).journal("S/1")
  })

const golden = fs.globSync("test/replay/journals/*/*.json", { cwd: root }).map((file) => path.join(root, file))
const appends = Effect.map(
  Effect.forEach(golden, (file) => ReplayTest.parse(fs.readFileSync(file, "utf8"))),
  (journals) => journals.flatMap((_) => _.appends)
)

describe("an append's text", () => {
  it.effect("is read as what was written, whatever a journal says", () =>
    Effect.gen(function*() {
      for (const entries of yield* appends) {
        const at = entries.at(-1)!.at
        assert.deepStrictEqual(read(Notation.encode(entries, at), at), entries)
        assert.deepStrictEqual(read(Notation.encode(entries, at + 0.5), Math.ceil(at + 0.5)), entries)
      }
    }))

  it.effect("is read as earlier versions wrote it: each entry with its tag and its time", () =>
    Effect.gen(function*() {
      for (const entries of yield* appends) {
        const { appends } = yield* stored(JSON.stringify(entries), 7)
        assert.deepStrictEqual(appends[0]?.entries, entries)
      }
    }))

  it.effect("is never longer than it was, and holds each time that is not its own", () =>
    Effect.gen(function*() {
      for (const entries of yield* appends) {
        const at = entries.at(-1)!.at
        const text = Notation.encode(entries, at)
        assert.isBelow(text.length, JSON.stringify(entries).length)
        const times = (JSON.parse(text) as ReadonlyArray<{ readonly at?: number }>).map((_) => _.at ?? at)
        assert.deepStrictEqual(times, entries.map((_) => _.at))
      }
    }))

  it("holds every time that a store would not give back as it was", () => {
    const entry = (at: number): Journal.Entry => ({ _tag: "PivotPassed", at })
    for (const at of [0.5, -1, 8.64e15 + 2]) {
      assert.strictEqual(Notation.encode([entry(at)], at), JSON.stringify([{ PivotPassed: true, at }]))
    }
    const two = Notation.encode([entry(0), entry(8.64e15)], 8.64e15)
    assert.strictEqual(two, `[{"PivotPassed":true,"at":0},{"PivotPassed":true}]`)
  })

  it("keeps what only another version knows, and any value", () => {
    const field = fc.stringMatching(/^x_[a-z]{0,5}$/)
    fc.assert(fc.property(
      fc.constantFrom(...tags),
      fc.dictionary(field, fc.jsonValue(), { noNullPrototype: true }),
      fc.jsonValue(),
      fc.nat(),
      fc.nat(),
      (tag, more, value, at, shared) => {
        const known = { name: "A", value, worker: "w", change: "c", attempt: at, kind: "pivot" }
        const entry = { _tag: tag, at, ...known, ...more }
        const text = Notation.encode([entry as never], shared)
        const plain = JSON.parse(JSON.stringify([entry]))
        assert.deepStrictEqual(Notation.expand(JSON.parse(text), shared), plain)
      }
    ))
  })

  it("may have its keys in any order", () => {
    const entry: Journal.Entry = { _tag: "StepSucceeded", at: 3, name: "A", attempt: 2, value: { do: 1, did: [null] } }
    const [written] = JSON.parse(Notation.encode([entry], 9)) as [object]
    const turned = Object.fromEntries(Object.entries(written).toReversed())
    assert.deepStrictEqual(read(JSON.stringify([turned]), 9), [entry])
  })

  // Persistent: these texts are in databases.
  const golden: ReadonlyArray<string> = [
    `{"start":true}`,
    `{"Claimed":"w"}`,
    `{"do":"A","path":"0.1","occurrence":2,"scope":":0"}`,
    `{"AttemptFailed":"A","attempt":1,"outcome":"refused","error":{"a":1},"wakeAt":5}`,
    `{"did":"A","value":null}`,
    `{"StepFailed":"A","error":"no"}`,
    `{"StepWithdrawn":"A"}`,
    `{"StepHeartbeat":"A","attempt":1,"details":{"row":1}}`,
    `{"CompensationHeartbeat":"A","attempt":1}`,
    `{"ContinuedAsNew":true,"payload":{"id":"1"},"generation":1}`,
    `{"PivotPassed":true}`,
    `{"TimerSet":"sleep","wakeAt":9}`,
    `{"TimerFired":"sleep"}`,
    `{"TimerWithdrawn":"sleep"}`,
    `{"ParkRequested":true,"reason":{"_tag":"Defect","message":"bug"}}`,
    `{"CancelRequested":true,"mail":1,"reason":"late"}`,
    `{"Resolved":true,"mail":2,"resolution":{"_tag":"Retry"}}`,
    `{"Resolved":true,"mail":2,"resolution":{"_tag":"Resolve","step":{"name":"A","occurrence":1},` +
    `"value":[1]},"actor":"ann","reason":"seen","park":1}`,
    `{"ResolutionRefused":true,"mail":2,"resolution":{"_tag":"Skip","step":{"name":"A"}},"issue":"no"}`,
    `{"DeadlinePassed":true}`,
    `{"RollbackRequested":true,"cause":{"_tag":"Defect","step":"A","message":"bug"}}`,
    `{"Suspended":true,"wakeAt":9}`,
    `{"Published":"stage","path":"0","occurrence":1,"value":"packed"}`,
    `{"VersionMarked":"two carriers","version":2}`,
    `{"StepsRollbackStarted":"rollback","steps":[{"name":"A"}]}`,
    `{"StepsRolledBack":"rollback"}`,
    `{"CompensationTimerSet":"A","timer":"a day","wakeAt":9}`,
    `{"SagaAbandoned":true,"reason":{"_tag":"CompensationFailed"},"unresolved":[],"actor":"ann","because":"sold"}`,
    `{"RollbackStarted":true,"scope":"","cause":{"_tag":"Failed","error":"no"}}`,
    `{"undo":"A"}`,
    `{"CompensationAttemptFailed":"A","attempt":1,"outcome":"timeout","error":"no","wakeAt":4}`,
    `{"undid":"A"}`,
    `{"CompensationFailed":"A","attempt":1,"defect":"bug"}`,
    `{"ScopeRolledBack":true,"scope":":0"}`,
    `{"done":{"a":[1]}}`,
    `{"SagaRolledBack":true,"cause":{"_tag":"Cancelled"}}`,
    `{"SagaParked":true,"reason":{"_tag":"CompensationFailed"},"unresolved":[{"name":"A","attempts":1}]}`,
    `{"Suspended":true}`,
    `{"SignalAwaited":"Paid, Late","signals":["Paid","Late"]}`,
    `{"SignalReceived":"Paid, Late","mail":3,"signal":"Paid","value":{"a":[1]}}`,
    `{"ReceiveWithdrawn":"Paid","path":"0","occurrence":1}`,
    `{"CompensationSignalReceived":"A","wait":"Paid#2","mail":3,"signal":"Paid","value":1}`,
    `{"MailUndelivered":true,"mail":3,"message":{"_tag":"Signal","signal":"Paid","payload":1}}`,
    `{"ChildStarted":"C","child":"C/S/1/0/C/0","undo":true}`,
    `{"ChildCancelRequested":"C"}`,
    `{"ChildParked":"C","mail":1,"reason":{"_tag":"CompensationFailed"}}`,
    `{"ChildResumed":"C","mail":2}`,
    `{"ChildEnded":"C","mail":3,"end":{"_tag":"SagaCompleted","at":1,"value":"done"}}`,
    `{"RaceWon":"race","occurrence":1,"winner":0,"losers":[":1"]}`,
    `{"MailUndelivered":true,"mail":3}`
  ]
  for (const text of golden) {
    it(`reads and writes ${text} as before`, () => {
      assert.strictEqual(Notation.encode(read(`[${text}]`, 1), 1), `[${text}]`)
    })
  }

  it("is above for every entry", () => {
    const found = new Set(golden.map((text) => (Notation.expandOne(JSON.parse(text)) as Journal.Entry)._tag))
    assert.deepStrictEqual(tags.filter((tag) => !found.has(tag)), [])
  })

  const foreign = [
    ["torn", `[{"did":"A","val`],
    ["of no array", `{"did":"A","value":1}`],
    ["of no entries", `[1]`],
    ["of an entry without a word", `[{}]`],
    ["of a newer version", `[{"FromTheFuture":true}]`],
    ["of a field that is missing", `[{"did":"A"}]`],
    ["of a field of another kind", `[{"do":7}]`]
  ] as const
  for (const [what, text] of foreign) {
    it.effect(`that is ${what} says so, and where`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(stored(text))
        assert.instanceOf(error, SagaStore.Undecodable)
        assert.deepStrictEqual([error.execution, error.seq], ["S/1", 0])
      }))
  }
})

describe("an end's text", () => {
  it.effect("has its own time, and is read in the form of earlier versions too", () =>
    Effect.gen(function*() {
      const end: Journal.End = { _tag: "SagaCompleted", at: 5, value: { a: 1 } }
      assert.strictEqual(Notation.encodeOne(end), `{"done":{"a":1},"at":5}`)
      assert.deepStrictEqual(yield* Journal.decodeEnd(Notation.encodeOne(end)), end)
      assert.deepStrictEqual(yield* Journal.decodeEnd(JSON.stringify(end)), end)
      assert.strictEqual((yield* Effect.flip(Journal.decodeEnd(`{"done":1}`)))._tag, "SchemaError")
      assert.strictEqual((yield* Effect.flip(Journal.decodeEnd(`{"do":"A","at":1}`)))._tag, "SchemaError")
      assert.strictEqual((yield* Effect.flip(Journal.decodeEnd(`{"done"`)))._tag, "SchemaError")
    }))
})

const tags = Journal.Entry.members.map((member) => member.fields._tag.schema.literal)
