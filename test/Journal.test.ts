import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Journal from "../src/Journal.ts"

const started: Journal.Entry = { _tag: "SagaStarted", at: 0 }
const begun = (name: string, more: object = {}): Journal.Entry => ({
  _tag: "StepStarted",
  at: 1,
  name,
  kind: "compensable",
  ...more
})
const done = (name: string, at = 2): Journal.Entry => ({ _tag: "StepSucceeded", at, name, attempt: 1, value: name })
const refused = (name: string): Journal.Entry => ({ _tag: "StepFailed", at: 2, name, attempt: 1, error: "no" })
const rollback = (scope = ""): Journal.Entry => ({
  _tag: "RollbackStarted",
  at: 3,
  scope,
  cause: { _tag: "Failed", error: "no" }
})
const undoing = (name: string): Journal.Entry => ({ _tag: "CompensationStarted", at: 4, name })
const undone = (name: string): Journal.Entry => ({ _tag: "CompensationSucceeded", at: 5, name, attempt: 1 })
const stuck = (name: string): Journal.Entry => ({ _tag: "CompensationFailed", at: 5, name, attempt: 1, error: "stuck" })
const pivot: Journal.Entry = { _tag: "PivotPassed", at: 3 }
const parked: Journal.Entry = { _tag: "SagaParked", at: 6, reason: { _tag: "CompensationFailed" }, unresolved: [] }
const resolved: Journal.Entry = { _tag: "Resolved", at: 7, mail: 1, resolution: { _tag: "Retry" } }
const cancel: Journal.Entry = { _tag: "CancelRequested", at: 3, mail: 1 }
const completed: Journal.Entry = { _tag: "SagaCompleted", at: 9, value: null }
const rolledBack: Journal.Entry = { _tag: "SagaRolledBack", at: 9, cause: { _tag: "Failed", error: "no" } }
const claimed: Journal.Entry = { _tag: "Claimed", at: 1, worker: "w" }

const folded = (...entries: ReadonlyArray<Journal.Entry>) => {
  const result = Journal.fold(entries)
  return Result.isSuccess(result) ? result.success : assert.fail(JSON.stringify(result.failure))
}

describe("the fold", () => {
  it("says where an execution stands", () => {
    assert.strictEqual(folded(started).phase, "running")
    assert.strictEqual(folded(started, pivot).phase, "settling")
    assert.strictEqual(folded(started, rollback()).phase, "compensating")
    assert.strictEqual(folded(started, completed).phase, "completed")
    assert.strictEqual(folded(started, rollback(), rolledBack).phase, "rolledback")
    assert.strictEqual(folded(started, parked).phase, "parked")
    assert.strictEqual(folded(started, parked, resolved).phase, "running")
    assert.strictEqual(folded(started, pivot, parked, resolved).phase, "settling")
    assert.strictEqual(folded(started, rollback(), parked, resolved).phase, "compensating")
  })

  it("holds what succeeded, in the order in which it succeeded", () => {
    const state = folded(started, begun("A"), begun("B"), begun("C"), done("B"), refused("C"), done("A"))
    assert.deepStrictEqual(state.held, ["|0|B", "|0|A"])
    assert.deepStrictEqual(state.steps.get("|0|A")!.compensation.status, "held")
    assert.deepStrictEqual(state.steps.get("|0|C")!.compensation.status, "none")
  })

  it("holds nothing past the point of no return, and nothing of a read", () => {
    const read = begun("R", { kind: "readonly" })
    assert.deepStrictEqual(folded(started, read, done("R")).held, [])
    assert.deepStrictEqual(folded(started, begun("A"), pivot, done("A")).held, [])
  })

  it("counts an attempt that certainly did not happen as a refusal, and no other", () => {
    const attempt = (number: number, outcome: Journal.AttemptOutcome): Journal.Entry => ({
      _tag: "AttemptFailed",
      at: 2,
      name: "A",
      attempt: number,
      outcome
    })
    const outcomes = ["refused", "timeout", "never", "pending", "defect"] as const
    const state = folded(started, begun("A"), ...outcomes.map((outcome, index) => attempt(index + 1, outcome)))
    assert.strictEqual(state.steps.get("|0|A")!.refusals, 2)
    assert.strictEqual(state.steps.get("|0|A")!.attempts.length, 5)
  })

  it("counts claims without progress, and who made them", () => {
    const another: Journal.Entry = { ...claimed, worker: "another" }
    const { claimants, claims } = folded(started, claimed, another, claimed)
    assert.deepStrictEqual([claims, claimants], [3, ["w", "another"]])
    assert.deepStrictEqual(folded(started, claimed, claimed, begun("A")).claimants, [])
    assert.strictEqual(folded(started, claimed, claimed, begun("A")).claims, 0)
    assert.strictEqual(folded(started, parked, claimed, resolved).claims, 0)
  })

  it("takes a cancel before the point of no return, and not after it or in a roll-back", () => {
    assert.isDefined(folded(started, cancel).requested)
    assert.isUndefined(folded(started, pivot, cancel).requested)
    assert.isUndefined(folded(started, rollback(), cancel).requested)
    assert.strictEqual(folded(started, parked, cancel).phase, "running")
    assert.strictEqual(folded(started, pivot, parked, cancel).phase, "parked")
  })

  it("gives a compensation that failed its whole budget again when a person resumes", () => {
    const state = folded(started, begun("A"), done("A"), rollback(), undoing("A"), stuck("A"), parked, resolved)
    const { compensation } = state.steps.get("|0|A")!
    assert.deepStrictEqual(compensation.status, "running")
    assert.deepStrictEqual(compensation.attempts, [])
    assert.deepStrictEqual(Journal.unresolved(state), [{ name: "A", attempts: 1 }])
  })

  it("remembers the time of the last entry, which never goes back", () => {
    assert.strictEqual(folded(started, begun("A"), done("A", 50), { ...claimed, at: 10 }).at, 50)
  })

  const illegal: ReadonlyArray<readonly [string, ReadonlyArray<Journal.Entry>, string, string]> = [
    ["nothing", [], "SagaStarted", "no entries at all"],
    ["a journal that does not begin with its start", [begun("A")], "StepStarted", "an empty journal"],
    ["two starts", [started, started], "SagaStarted", "an execution that started"],
    ["a step that starts twice", [started, begun("A"), begun("A")], "StepStarted", "a step A that started"],
    ["an outcome without a start", [started, done("A")], "StepSucceeded", "no step A"],
    ["two outcomes", [started, begun("A"), done("A"), refused("A")], "StepFailed", "a step A that succeeded"],
    ["anything after the end", [started, completed, begun("A")], "StepStarted", "an execution that completed"],
    [
      "an end with a step in flight",
      [started, begun("A"), completed],
      "SagaCompleted",
      "an execution with A in flight"
    ],
    [
      "a roll-back with a step in flight",
      [started, begun("A"), rollback()],
      "RollbackStarted",
      "an execution with A in flight"
    ],
    [
      "a roll-back past the point of no return",
      [started, pivot, rollback()],
      "RollbackStarted",
      "an execution past its point of no return"
    ],
    ["two roll-backs", [started, rollback(), rollback()], "RollbackStarted", "an execution that rolls back"],
    [
      "a point of no return in a roll-back",
      [started, rollback(), pivot],
      "PivotPassed",
      "an execution that rolls back"
    ],
    ["a completion in a roll-back", [started, rollback(), completed], "SagaCompleted", "an execution that rolls back"],
    ["a new step in a roll-back", [started, rollback(), begun("A")], "StepStarted", "an execution that rolls back"],
    [
      "a rolled back end without a roll-back",
      [started, rolledBack],
      "SagaRolledBack",
      "an execution that does not roll back"
    ],
    [
      "a rolled back end with something left",
      [started, begun("A"), done("A"), rollback(), rolledBack],
      "SagaRolledBack",
      "an execution with A not undone"
    ],
    [
      "an undoing without a roll-back",
      [started, begun("A"), done("A"), undoing("A")],
      "CompensationStarted",
      "an execution that does not roll back"
    ],
    [
      "an undoing of another scope",
      [started, begun("A"), done("A"), rollback(":0"), undoing("A")],
      "CompensationStarted",
      "an execution that does not roll back"
    ],
    [
      "an undoing of what did not happen",
      [started, begun("A"), refused("A"), rollback(), undoing("A")],
      "CompensationStarted",
      "a compensation of A that is none"
    ],
    [
      "an undoing that ends before it starts",
      [started, begun("A"), done("A"), rollback(), undone("A")],
      "CompensationSucceeded",
      "a compensation of A that is held"
    ],
    [
      "an undoing that ends twice",
      [started, begun("A"), done("A"), rollback(), undoing("A"), undone("A"), undone("A")],
      "CompensationSucceeded",
      "a compensation of A that is succeeded"
    ],
    [
      "the end of a scope that did not roll back",
      [started, { _tag: "ScopeRolledBack", at: 1, scope: ":0" }],
      "ScopeRolledBack",
      "no roll-back of scope :0"
    ],
    ["a step of a parked execution", [started, parked, begun("A")], "StepStarted", "an execution that is parked"]
  ]
  for (const [what, entries, entry, state] of illegal) {
    it(`refuses ${what}, and names both sides`, () => {
      assert.deepStrictEqual(Journal.fold(entries), Result.fail({ entry: entry as Journal.Entry["_tag"], state }))
    })
  }
})

describe("what is unresolved", () => {
  const held = [started, begun("A"), done("A"), begun("B", { scope: ":0" }), done("B")]

  it("is nothing while nothing rolls back", () => {
    assert.deepStrictEqual(Journal.unresolved(folded(...held)), [])
  })

  it("is what is left of the saga once it rolls back, oldest first", () => {
    const state = folded(...held, rollback(), undoing("B"), stuck("B"))
    assert.deepStrictEqual(Journal.unresolved(state), [
      { name: "A", attempts: 0 },
      { name: "B", attempts: 1, error: "stuck" }
    ])
  })

  it("is what is left of a scope when only that rolls back", () => {
    assert.deepStrictEqual(Journal.unresolved(folded(...held, rollback(":0"))), [{ name: "B", attempts: 0 }])
    const inner = folded(...held, rollback(":0"), undoing("B"), undone("B"), {
      _tag: "ScopeRolledBack",
      at: 6,
      scope: ":0"
    })
    assert.deepStrictEqual(Journal.unresolved(inner), [])
  })
})

describe("names", () => {
  it("keys are injective", () => {
    const refs = [
      Journal.ref_("A", "", 0),
      Journal.ref_("A", "", 1),
      Journal.ref_("A", "0", 0),
      Journal.ref_("0|A", "", 0),
      Journal.ref_("1|A", "", 0),
      Journal.ref_("A|0", "", 0)
    ]
    assert.strictEqual(new Set(refs.map(Journal.refKey)).size, refs.length)
  })

  it("are what people count", () => {
    assert.strictEqual(Journal.refName(Journal.ref_("Ship", "", 0)), "Ship")
    assert.strictEqual(Journal.refName(Journal.ref_("Ship", "", 1)), "Ship#2")
  })

  it("a scope lies within itself, within what it is nested in, and everything lies within the saga", () => {
    assert.isTrue(Journal.isWithin(":0/:1", ":0"))
    assert.isTrue(Journal.isWithin(":0", ":0"))
    assert.isTrue(Journal.isWithin("", ""))
    assert.isTrue(Journal.isWithin(":0", ""))
    assert.isFalse(Journal.isWithin(":01", ":0"))
    assert.isFalse(Journal.isWithin("", ":0"))
    assert.isFalse(Journal.isWithin(":1", ":0"))
  })
})

describe("the stored form", () => {
  // Persistent: these texts are in databases.
  const golden: ReadonlyArray<string> = [
    `{"_tag":"SagaStarted","at":1}`,
    `{"_tag":"Claimed","at":1,"worker":"w"}`,
    `{"_tag":"StepStarted","at":1,"name":"A","path":"0.1","occurrence":2,"kind":"compensable","scope":":0"}`,
    `{"_tag":"AttemptFailed","at":1,"name":"A","attempt":1,"outcome":"refused","error":{"a":1},"wakeAt":5}`,
    `{"_tag":"StepSucceeded","at":1,"name":"A","attempt":1,"value":null}`,
    `{"_tag":"StepFailed","at":1,"name":"A","attempt":1,"error":"no"}`,
    `{"_tag":"StepWithdrawn","at":1,"name":"A"}`,
    `{"_tag":"PivotPassed","at":1}`,
    `{"_tag":"TimerSet","at":1,"name":"sleep","wakeAt":9}`,
    `{"_tag":"TimerFired","at":1,"name":"sleep"}`,
    `{"_tag":"TimerWithdrawn","at":1,"name":"sleep"}`,
    `{"_tag":"ParkRequested","at":1,"reason":{"_tag":"Defect","message":"bug"}}`,
    `{"_tag":"CancelRequested","at":1,"mail":1,"reason":"late"}`,
    `{"_tag":"Resolved","at":1,"mail":2,"resolution":{"_tag":"Retry"}}`,
    `{"_tag":"Resolved","at":1,"mail":2,"resolution":{"_tag":"Resolve","step":{"name":"A","occurrence":1},` +
    `"value":[1]},"actor":"ann","reason":"seen","park":1}`,
    `{"_tag":"ResolutionRefused","at":1,"mail":2,"resolution":{"_tag":"Skip","step":{"name":"A"}},"issue":"no"}`,
    `{"_tag":"DeadlinePassed","at":1}`,
    `{"_tag":"RollbackRequested","at":1,"cause":{"_tag":"Defect","step":"A","message":"bug"}}`,
    `{"_tag":"Suspended","at":1,"wakeAt":9}`,
    `{"_tag":"Published","at":1,"name":"stage","path":"0","occurrence":1,"value":"packed"}`,
    `{"_tag":"VersionMarked","at":1,"change":"two carriers","version":2}`,
    `{"_tag":"StepsRollbackStarted","at":1,"name":"rollback","steps":[{"name":"A"}]}`,
    `{"_tag":"StepsRolledBack","at":1,"name":"rollback"}`,
    `{"_tag":"CompensationTimerSet","at":1,"name":"A","timer":"a day","wakeAt":9}`,
    `{"_tag":"SagaAbandoned","at":1,"reason":{"_tag":"CompensationFailed"},"unresolved":[],"actor":"ann",` +
    `"because":"sold"}`,
    `{"_tag":"RollbackStarted","at":1,"scope":"","cause":{"_tag":"Failed","error":"no"}}`,
    `{"_tag":"CompensationStarted","at":1,"name":"A"}`,
    `{"_tag":"CompensationAttemptFailed","at":1,"name":"A","attempt":1,"outcome":"timeout","error":"no","wakeAt":4}`,
    `{"_tag":"CompensationSucceeded","at":1,"name":"A","attempt":1}`,
    `{"_tag":"CompensationFailed","at":1,"name":"A","attempt":1,"defect":"bug"}`,
    `{"_tag":"ScopeRolledBack","at":1,"scope":":0"}`,
    `{"_tag":"SagaCompleted","at":1,"value":{"a":[1]}}`,
    `{"_tag":"SagaRolledBack","at":1,"cause":{"_tag":"Cancelled"}}`,
    `{"_tag":"SagaParked","at":1,"reason":{"_tag":"CompensationFailed"},"unresolved":[{"name":"A","attempts":1}]}`,
    `{"_tag":"Suspended","at":1}`,
    `{"_tag":"SignalAwaited","at":1,"name":"Paid, Late","signals":["Paid","Late"]}`,
    `{"_tag":"SignalReceived","at":1,"name":"Paid, Late","mail":3,"signal":"Paid","value":{"a":[1]}}`,
    `{"_tag":"ReceiveWithdrawn","at":1,"name":"Paid","path":"0","occurrence":1}`,
    `{"_tag":"CompensationSignalReceived","at":1,"name":"A","wait":"Paid#2","mail":3,"signal":"Paid","value":1}`,
    `{"_tag":"MailUndelivered","at":1,"mail":3,"message":{"_tag":"Signal","signal":"Paid","payload":1}}`,
    `{"_tag":"RaceWon","at":1,"name":"race","occurrence":1,"winner":0,"losers":[":1"]}`,
    `{"_tag":"MailUndelivered","at":1,"mail":3}`,
    `{"_tag":"StepHeartbeat","at":9,"name":"A","path":"0","attempt":2,"details":{"row":5},"beatAt":7}`,
    `{"_tag":"StepHeartbeat","at":9,"name":"A","attempt":1}`,
    `{"_tag":"CompensationHeartbeat","at":9,"name":"A","occurrence":1,"attempt":1,"details":null}`,
    `{"_tag":"SagaStarted","at":1,"parent":"S/1"}`,
    `{"_tag":"ChildStarted","at":1,"name":"C","path":"0","occurrence":1,"child":"C/S/1/0/C/0:1","undo":true,` +
    `"scope":":0"}`,
    `{"_tag":"ChildCancelRequested","at":1,"name":"C"}`,
    `{"_tag":"ChildParked","at":1,"name":"C","mail":1,"reason":{"_tag":"Child","step":"D","child":"D/C/1/0/D/0",` +
    `"message":"is not ours"}}`,
    `{"_tag":"ChildResumed","at":1,"name":"C","mail":2}`,
    `{"_tag":"ChildEnded","at":1,"name":"C","mail":3,"end":{"_tag":"SagaCompleted","at":1,"value":"done"}}`,
    `{"_tag":"MailUndelivered","at":1,"mail":4,"message":{"_tag":"Child","child":"C/S/1/0/C/0:1"}}`,
    `{"_tag":"ContinuedAsNew","at":1,"payload":{"id":"1"},"generation":2,"deadline":9,"version":3,"parks":1,"parent":"S/1"}`
  ]
  for (const text of golden) {
    it(`reads and writes ${text.slice(9, text.indexOf("\"", 9))} as before`, () => {
      const entry = Schema.decodeUnknownSync(Journal.Entry)(JSON.parse(text))
      assert.strictEqual(JSON.stringify(Schema.encodeSync(Journal.Entry)(entry)), text)
    })
  }

  it("every entry has a text above", () => {
    const tags = new Set(golden.map((text) => (JSON.parse(text) as Journal.Entry)._tag))
    assert.strictEqual(tags.size, Journal.Entry.members.length)
  })
})
