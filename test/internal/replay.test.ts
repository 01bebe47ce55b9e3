import { assert, describe, it } from "@effect/vitest"
import * as Replay from "../../src/internal/replay.ts"
import type * as Journal from "../../src/Journal.ts"

const at = 0
const step = (name: string, kind: Journal.Kind = "compensable"): Journal.Entry => ({
  _tag: "StepStarted",
  at,
  name,
  kind
})
const ok = (name: string): Journal.Entry => ({ _tag: "StepSucceeded", at, name, attempt: 1, value: null })
const no = (name: string): Journal.Entry => ({ _tag: "StepFailed", at, name, attempt: 1, error: null })
const cancel: Journal.Entry = { _tag: "CancelRequested", at, mail: 1 }
const pivot: Journal.Entry = { _tag: "PivotPassed", at }
const parking: Journal.Entry = { _tag: "ParkRequested", at, reason: { _tag: "Defect", message: "bug" } }
const parked: Journal.Entry = { _tag: "SagaParked", at, reason: { _tag: "Defect", message: "bug" }, unresolved: [] }
const resolved: Journal.Entry = { _tag: "Resolved", at, mail: 2, resolution: { _tag: "Retry" } }
const rollback = (scope = ""): Journal.Entry => ({
  _tag: "RollbackStarted",
  at,
  scope,
  cause: { _tag: "Failed", error: null }
})

const planned = (...entries: ReadonlyArray<Journal.Entry>) =>
  Replay.plan([{ _tag: "SagaStarted", at }, ...entries]).map((_) => _._tag === "Pivot" ? "Pivot" : `${_._tag} ${_.key}`)

const cases: ReadonlyArray<readonly [string, ReadonlyArray<Journal.Entry>, ReadonlyArray<string>]> = [
  ["nothing for a journal that has only begun", [], []],
  [
    "intents and answers in the order of the journal",
    [step("A"), step("B"), ok("B"), step("C"), no("A")],
    ["Intent s|0|A", "Intent s|0|B", "Answer s|0|B", "Intent s|0|C", "Answer s|0|A"]
  ],
  [
    "timers too, beside steps of the same name",
    [
      { _tag: "TimerSet", at, name: "A", wakeAt: 1 },
      step("A"),
      { _tag: "TimerFired", at, name: "A" }
    ],
    ["Intent t|0|A", "Intent s|0|A", "Answer t|0|A"]
  ],
  [
    "what ended after a cancel is kept, and not told to the body",
    [step("A"), step("B"), ok("A"), cancel, ok("B"), rollback()],
    ["Intent s|0|A", "Intent s|0|B", "Answer s|0|A", "Keep s|0|B"]
  ],
  [
    "a cancel past the point of no return closes nothing",
    [pivot, step("A"), cancel, ok("A")],
    ["Pivot", "Intent s|0|A", "Answer s|0|A"]
  ],
  [
    "a cancel with the pivot in flight: it happened, so the body goes on",
    [step("P", "pivot"), cancel, ok("P"), pivot, step("A"), ok("A")],
    ["Intent s|0|P", "Answer s|0|P", "Pivot", "Intent s|0|A", "Answer s|0|A"]
  ],
  [
    "a cancel with the pivot in flight: it did not happen, so the cancel holds",
    [step("P", "pivot"), step("B"), cancel, no("P"), ok("B"), rollback()],
    ["Intent s|0|P", "Intent s|0|B", "Keep s|0|P", "Keep s|0|B"]
  ],
  [
    "what ended while it parked is told when a person resumes it",
    [step("A"), step("B"), parking, ok("A"), parked, resolved, step("C"), ok("C")],
    ["Intent s|0|A", "Intent s|0|B", "Answer s|0|A", "Intent s|0|C", "Answer s|0|C"]
  ],
  [
    "what ended while it parked is kept when a cancel comes instead",
    [step("A"), parking, ok("A"), parked, cancel, rollback()],
    ["Intent s|0|A", "Keep s|0|A"]
  ],
  [
    "a resume in a roll-back opens nothing",
    [step("A"), step("B"), ok("A"), cancel, ok("B"), rollback(), parked, resolved],
    ["Intent s|0|A", "Intent s|0|B", "Answer s|0|A", "Keep s|0|B"]
  ],
  [
    "an inner roll-back is a request like others",
    [step("A"), ok("A"), rollback(":0"), { _tag: "ScopeRolledBack", at, scope: ":0" }, step("B")],
    ["Intent s|0|A", "Answer s|0|A", "Intent r:0", "Answer r:0", "Intent s|0|B"]
  ]
]

describe("the plan of a replay", () => {
  for (const [what, entries, expected] of cases) {
    it(`has ${what}`, () => {
      assert.deepStrictEqual(planned(...entries), expected)
    })
  }

  it("says what the journal has, for people", () => {
    const described = Replay.plan([
      step("A"),
      { _tag: "StepSucceeded", at, name: "A", occurrence: 1, attempt: 1, value: null },
      { _tag: "TimerSet", at, name: "sleep", wakeAt: 1 },
      rollback(":0"),
      pivot
    ]).map(Replay.describe)
    assert.deepStrictEqual(described, [
      "step A (compensable)",
      "step A#2",
      "timer sleep",
      "the roll-back of scope :0",
      "the point of no return"
    ])
  })
})
