import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { MaxEvents } from "../../src/internal/diagram.ts"
import { explain } from "../../src/internal/explain.ts"
import * as Journal from "../../src/Journal.ts"

type Tag = Journal.Entry["_tag"]
type Fields<T extends Tag> = Omit<Journal.EntryOf<T>, "_tag" | "at">

const start = 1_700_000_000_000

const on = <const T extends Tag>(at: number, _tag: T, fields: Fields<T>): Journal.Entry =>
  ({ _tag, at: start + at, ...fields }) as unknown as Journal.Entry

const begun = (at: number, name: string, kind: Journal.Kind = "compensable", scope?: string) =>
  on(at, "StepStarted", { name, kind, ...(scope === undefined ? undefined : { scope }) })
const done = (at: number, name: string, attempt = 1) => on(at, "StepSucceeded", { name, attempt, value: null })
const failed = (at: number, name: string, error: Journal.EntryOf<"StepFailed">["error"], attempt = 1) =>
  on(at, "StepFailed", { name, attempt, error })
const rollback = (at: number, cause: Journal.RollbackCause, scope = "") => on(at, "RollbackStarted", { scope, cause })
const undoing = (at: number, name: string) => on(at, "CompensationStarted", { name })
const undone = (at: number, name: string, attempt = 1) => on(at, "CompensationSucceeded", { name, attempt })
const rolledBack = (at: number, cause: Journal.RollbackCause) => on(at, "SagaRolledBack", { cause })

const started = on(0, "SagaStarted", {})
const damaged: Journal.RollbackCause = { _tag: "Failed", error: { _tag: "Damaged", sku: "VASE" } }
const rejected = { _tag: "RefundRejected", reason: "account closed" }
const busy = { _tag: "PaymentsBusy" }

const happy = [
  started,
  begun(1, "Reserve"),
  done(4, "Reserve"),
  begun(5, "Charge"),
  done(17, "Charge"),
  on(18, "PivotPassed", {}),
  begun(19, "Ship", "retryable"),
  done(1_300, "Ship"),
  on(1_301, "SagaCompleted", { value: null })
]

const unwound = [
  started,
  begun(1, "Reserve"),
  done(4, "Reserve"),
  begun(5, "Charge"),
  on(15, "AttemptFailed", { name: "Charge", attempt: 1, outcome: "refused", error: busy, wakeAt: start + 65 }),
  on(70, "AttemptFailed", { name: "Charge", attempt: 2, outcome: "refused", error: busy, wakeAt: start + 170 }),
  done(182, "Charge", 3),
  begun(183, "Pack"),
  failed(190, "Pack", damaged._tag === "Failed" ? damaged.error : null),
  rollback(191, damaged),
  undoing(192, "Charge"),
  on(200, "CompensationAttemptFailed", {
    name: "Charge",
    attempt: 1,
    outcome: "failed",
    error: rejected,
    wakeAt: start + 2_700
  }),
  undone(2_712, "Charge", 2),
  undoing(2_713, "Reserve"),
  undone(2_715, "Reserve"),
  rolledBack(2_716, damaged)
]

const stuck = [
  started,
  begun(1, "Reserve"),
  done(4, "Reserve"),
  begun(5, "Charge"),
  done(10, "Charge"),
  begun(11, "Pack"),
  failed(12, "Pack", { _tag: "Damaged", sku: "VASE" }),
  rollback(13, damaged),
  undoing(14, "Charge"),
  on(20, "CompensationFailed", { name: "Charge", attempt: 1, error: rejected }),
  undoing(21, "Reserve"),
  undone(23, "Reserve"),
  on(24, "SagaParked", {
    reason: { _tag: "CompensationFailed" },
    cause: damaged,
    unresolved: [{ name: "Charge", attempts: 1, error: rejected }]
  })
]

const skipped = [
  ...stuck,
  on(11_400_000, "Claimed", { worker: "worker-2" }),
  on(11_400_001, "Resolved", {
    mail: 1,
    resolution: { _tag: "Skip", step: { name: "Charge" } },
    actor: "Ada",
    reason: "refunded by hand"
  }),
  rolledBack(11_400_002, damaged)
]

const crashed = [
  started,
  begun(1, "Reserve"),
  done(4, "Reserve"),
  begun(5, "Charge"),
  on(30_000, "Claimed", { worker: "worker-2" }),
  on(30_010, "StepSucceeded", { name: "Charge", attempt: 1, value: null, found: true }),
  on(30_011, "SagaCompleted", { value: null })
]

const doubted = [
  started,
  begun(1, "Charge"),
  on(5_001, "AttemptFailed", { name: "Charge", attempt: 1, outcome: "pending", wakeAt: start + 6_001 }),
  on(6_005, "AttemptFailed", {
    name: "Charge",
    attempt: 2,
    outcome: "never",
    error: { _tag: "TimedOut", step: "Charge" },
    wakeAt: start + 7_005
  }),
  on(12_005, "AttemptFailed", { name: "Charge", attempt: 3, outcome: "timeout" }),
  on(12_005, "ParkRequested", { reason: { _tag: "Unknown", step: "Charge", message: "it timed out" } }),
  on(12_006, "SagaParked", { reason: { _tag: "Unknown", step: "Charge", message: "it timed out" }, unresolved: [] })
]

const signalled = [
  started,
  on(1, "SignalAwaited", { name: "Paid, Called off", signals: ["Paid", "Called off"] }),
  on(10_001, "Suspended", {}),
  on(70_000, "Claimed", { worker: "worker-2" }),
  on(70_001, "SignalReceived", { name: "Paid, Called off", mail: 2, signal: "Paid", value: 5 }),
  begun(70_001, "Ship"),
  done(70_004, "Ship"),
  on(70_004, "MailUndelivered", { mail: 1, message: { _tag: "Signal", signal: "Note", payload: "x" } }),
  on(70_004, "SagaCompleted", { value: null }),
  on(70_010, "Claimed", { worker: "worker-2" }),
  on(70_011, "MailUndelivered", { mail: 3, message: { _tag: "Cancel" } }),
  on(70_011, "MailUndelivered", { mail: 4 })
]

const raced = [
  started,
  begun(1, "Fetch", "compensable", ":0"),
  done(4, "Fetch"),
  begun(4, "Train", "compensable", ":0"),
  on(5, "TimerSet", { name: "an hour", wakeAt: start + 3_600_005 }),
  on(6, "SignalAwaited", { name: "Paid", signals: ["Paid"] }),
  on(3_600_005, "TimerFired", { name: "an hour" }),
  on(3_600_005, "RaceWon", { name: "race", winner: 1, losers: [":0"] }),
  on(3_600_005, "ReceiveWithdrawn", { name: "Paid" }),
  done(3_700_000, "Train", 1),
  undoing(3_700_000, "Train"),
  undone(3_700_002, "Train"),
  undoing(3_700_002, "Fetch"),
  undone(3_700_003, "Fetch"),
  on(3_700_003, "ScopeRolledBack", { scope: ":0" }),
  on(3_700_003, "SagaCompleted", { value: null })
]

const anotherWay = [
  started,
  begun(1, "Reserve"),
  done(4, "Reserve"),
  begun(5, "BookTrain", "compensable", ":0"),
  done(9, "BookTrain", 1),
  begun(10, "BookSeat", "compensable", ":0"),
  failed(12, "BookSeat", "sold out"),
  rollback(13, { _tag: "Failed", error: "sold out" }, ":0"),
  undoing(14, "BookTrain"),
  undone(16, "BookTrain"),
  on(17, "ScopeRolledBack", { scope: ":0" }),
  begun(18, "BookBus"),
  done(20, "BookBus"),
  on(21, "SagaCompleted", { value: null })
]

const late = [
  on(0, "SagaStarted", { deadline: start + 60_000, version: 2 }),
  begun(1, "Reserve"),
  done(4, "Reserve"),
  on(5, "TimerSet", { name: "sleep", wakeAt: start + 7_200_005 }),
  on(6, "Suspended", { wakeAt: start + 60_000 }),
  on(60_003, "Claimed", { worker: "worker-2" }),
  on(60_003, "DeadlinePassed", {}),
  on(60_003, "TimerWithdrawn", { name: "sleep" }),
  rollback(60_004, { _tag: "DeadlineExceeded", deadline: start + 60_000 }),
  undoing(60_005, "Reserve"),
  on(60_006, "CompensationSucceeded", { name: "Reserve", attempt: 1, found: true }),
  rolledBack(60_007, { _tag: "DeadlineExceeded", deadline: start + 60_000 })
]

const abandoned = [
  ...stuck,
  on(86_400_000, "Resolved", { mail: 1, resolution: { _tag: "Abandon" }, actor: "Ada", reason: "written off" }),
  on(86_400_000, "SagaAbandoned", {
    reason: { _tag: "CompensationFailed" },
    unresolved: [{ name: "Charge", attempts: 1, error: rejected }],
    actor: "Ada",
    because: "written off"
  })
]

const told = (entries: ReadonlyArray<Journal.Entry>, expected: string) =>
  assert.strictEqual(`\n${explain(entries).text}\n`, expected)

const drawn = (entries: ReadonlyArray<Journal.Entry>, expected: string) =>
  assert.strictEqual(`\n${explain(entries, { saga: "PlaceOrder" }).diagram}\n`, expected)

const textsOf = (...entries: ReadonlyArray<Journal.Entry>) => explain(entries).lines.map(({ text }) => text)

/** Names that mean something to Mermaid, to a sentence or to a terminal. */
const nasty = [
  "end",
  "a;b #1 %%{init: {}}%% <b>\"x\"</b>",
  "two\nlines\r\u2028\u0000\u001b[31m",
  "",
  " ",
  "as: wrap: style:#fff;",
  "Überweisung 送る 🦕\u202e\ud800",
  "->>",
  "`$$x$$`",
  "n".repeat(500),
  "#;".repeat(200)
]

/** Every line that a diagram may have. */
const text = String.raw`(?:[\p{L}\p{N}\p{M} .,()'"!?=_/+…-]|#\d+;|<br/>)+`
const grammar = [
  /^sequenceDiagram$/,
  new RegExp(`^ {2}participant (?:S|P\\d+) as ${text}$`, "u"),
  /^ {2}(?:rect rgb\(255, 238, 238\)|end)$/,
  new RegExp(`^ {2,4}(?:S->>P\\d+|P\\d+(?:-->>|--x)S): ${text}$`, "u"),
  new RegExp(`^ {2,4}Note over S(?:,P\\d+)?: ${text}$`, "u")
]

const isValid = (entries: ReadonlyArray<Journal.Entry>, saga = "Saga") => {
  const { diagram, lines, text, took } = explain(entries, { saga })
  const drawn = diagram.split("\n")
  for (const line of drawn) assert.isTrue(grammar.some((rule) => rule.test(line)), line)
  const opened = drawn.filter((line) => line.startsWith("  rect")).length
  assert.strictEqual(drawn.filter((line) => line === "  end").length, opened)
  assert.isBelow(diagram.length, 50_000)
  assert.strictEqual(text.split("\n").length, lines.length)
  for (const [index, line] of lines.entries()) {
    assert.match(line.text, /^[^\s\p{Cc}](?:[^\p{Cc}]*[^\s\p{Cc}])?[.!?…]$/u)
    assert.isTrue(line.at >= (lines[index - 1]?.at ?? 0) && line.at <= took)
  }
}

describe("the text", () => {
  it("tells of an execution without trouble", () =>
    told(
      happy,
      `
 +0 ms  The saga started.
 +4 ms  Reserve succeeded in 3 ms.
+17 ms  Charge succeeded in 12 ms.
+18 ms  The point of no return is passed: from here on nothing is undone.
+1.3 s  Ship succeeded in 1.2 s.
+1.3 s  The saga completed after 1.3 s.
`
    ))

  it("tells of refusals, retries and the roll-back", () =>
    told(
      unwound,
      `
  +0 ms  The saga started.
  +4 ms  Reserve succeeded in 3 ms.
 +15 ms  Charge was refused at attempt 1: PaymentsBusy. It is tried again in 50 ms.
 +70 ms  Charge was refused at attempt 2: PaymentsBusy. It is tried again in 100 ms.
+182 ms  Charge succeeded at attempt 3 in 12 ms.
+190 ms  Pack failed after 7 ms: Damaged (sku "VASE").
+191 ms  The saga rolls back, because it failed with Damaged (sku "VASE").
+191 ms  It undoes Charge and Reserve.
+200 ms  Undoing Charge failed at attempt 1: RefundRejected (reason "account closed"). It is tried again in 2.5 s.
 +2.7 s  Charge was undone at attempt 2 in 12 ms.
 +2.7 s  Reserve was undone in 2 ms.
 +2.7 s  The saga is rolled back after 2.7 s: nothing of what it did is left.
`
    ))

  it("tells of a park, what a person can do, and what one did", () =>
    told(
      skipped,
      `
    +0 ms  The saga started.
    +4 ms  Reserve succeeded in 3 ms.
   +10 ms  Charge succeeded in 5 ms.
   +12 ms  Pack failed after 1 ms: Damaged (sku "VASE").
   +13 ms  The saga rolls back, because it failed with Damaged (sku "VASE").
   +13 ms  It undoes Charge and Reserve.
   +20 ms  Charge cannot be undone, after 1 attempt: RefundRejected (reason "account closed").
   +23 ms  Reserve was undone in 2 ms.
   +24 ms  It is parked for a person, because a compensation failed for good.
   +24 ms  Not undone yet: Charge (1 attempt, RefundRejected (reason "account closed")).
   +24 ms  A person can mend the cause and retry; or undo Charge by hand and skip it; or abandon it as it is.
+3 h 10 m  Worker worker-2 took up the parked execution: there was mail for it.
+3 h 10 m  Ada took care of undoing Charge (refunded by hand).
+3 h 10 m  The saga is rolled back after 3 h 10 m: a person took care of what it could not undo.
`
    ))

  it("tells of a crash, and what it left in doubt", () =>
    told(
      crashed,
      `
+0 ms  The saga started.
+4 ms  Reserve succeeded in 3 ms.
+30 s  Worker worker-2 recovered it, as the process that had it was gone. Charge was in doubt.
+30 s  The check found that Charge had succeeded.
+30 s  The saga completed after 30 s.
`
    ))

  it("tells of timeouts, and of what the check says", () =>
    told(
      doubted,
      `
+0 ms  The saga started.
 +5 s  The check says that Charge still goes on. It is asked again in 1 s.
 +6 s  The check says that Charge did not happen. It is tried again in 1 s.
+12 s  Charge timed out at attempt 3: nobody knows whether it happened.
+12 s  It is parked for a person, because nobody knows whether Charge happened (it timed out).
+12 s  A person can retry, if another attempt does no harm; or resolve Charge with its value, if it happened; \
or skip Charge, if it did not happen; or roll it back; or abandon it as it is.
`
    ))

  it("tells of a part that is rolled back before another way is tried", () =>
    told(
      anotherWay,
      `
 +0 ms  The saga started.
 +4 ms  Reserve succeeded in 3 ms.
 +9 ms  BookTrain succeeded in 4 ms.
+12 ms  BookSeat failed after 2 ms: "sold out".
+13 ms  A part of the saga rolls back, because it failed with "sold out".
+13 ms  It undoes BookTrain.
+16 ms  BookTrain was undone in 2 ms.
+17 ms  That part of the saga is rolled back, and the saga goes on.
+20 ms  BookBus succeeded in 2 ms.
+21 ms  The saga completed after 21 ms.
`
    ))

  it("tells of a deadline that passed while it was out of memory", () =>
    told(
      late,
      `
+0 ms  The saga started, with version 2 of its definition and a deadline in 1 m.
+4 ms  Reserve succeeded in 3 ms.
+5 ms  The saga waits 2 h.
+6 ms  Nothing is due for 59.9 s: it left memory until then.
 +1 m  Worker worker-2 took it up again, as it was due.
 +1 m  Its deadline passed.
 +1 m  The wait was given up.
 +1 m  The saga rolls back, because its deadline passed.
 +1 m  It undoes Reserve.
 +1 m  The check found that Reserve had been undone.
 +1 m  The saga is rolled back after 1 m: nothing of what it did is left.
`
    ))

  it("tells of signals: waited for, out of memory, received, and undelivered", () =>
    told(
      signalled,
      `
    +0 ms  The saga started.
    +1 ms  The saga waits for Paid and "Called off".
    +10 s  It left memory until a message comes.
+1 m 10 s  Worker worker-2 took it up again, as there was mail for it.
+1 m 10 s  Signal Paid was received.
+1 m 10 s  Ship succeeded in 3 ms.
+1 m 10 s  Nobody received signal Note before the end.
+1 m 10 s  The saga completed after 1 m 10 s.
+1 m 10 s  Worker worker-2 looked after it: mail had come before its end.
+1 m 10 s  Nobody received a cancel before the end.
+1 m 10 s  A message that nobody can read lay in its inbox at the end.
`
    ))

  it("tells of a race, and of what lost it", () =>
    told(
      raced,
      `
   +0 ms  The saga started.
   +4 ms  Fetch succeeded in 3 ms.
   +5 ms  The saga waits 1 h ("an hour").
   +6 ms  The saga waits for Paid.
    +1 h  The wait ("an hour") is over.
    +1 h  Number 2 won a race. What the others did is undone: Fetch.
    +1 h  The wait for Paid was given up.
+1 h 1 m  Train succeeded in 1 h 1 m.
+1 h 1 m  Train was undone in 2 ms.
+1 h 1 m  Fetch was undone in 1 ms.
+1 h 1 m  That part of the saga is rolled back, and the saga goes on.
+1 h 1 m  The saga completed after 1 h 1 m.
`
    ))

  it("tells of who abandoned it", () =>
    told(
      abandoned,
      `
 +0 ms  The saga started.
 +4 ms  Reserve succeeded in 3 ms.
+10 ms  Charge succeeded in 5 ms.
+12 ms  Pack failed after 1 ms: Damaged (sku "VASE").
+13 ms  The saga rolls back, because it failed with Damaged (sku "VASE").
+13 ms  It undoes Charge and Reserve.
+20 ms  Charge cannot be undone, after 1 attempt: RefundRejected (reason "account closed").
+23 ms  Reserve was undone in 2 ms.
+24 ms  It is parked for a person, because a compensation failed for good.
+24 ms  Not undone yet: Charge (1 attempt, RefundRejected (reason "account closed")).
+24 ms  A person can mend the cause and retry; or undo Charge by hand and skip it; or abandon it as it is.
  +1 d  Ada wants it closed as it is (written off).
  +1 d  Ada abandoned it (written off). Charge was never undone.
`
    ))

  it("says what is under way, and what is due, where the journal ends", () => {
    const last = (...entries: ReadonlyArray<Journal.Entry>) => textsOf(started, ...entries).at(-1)
    assert.deepStrictEqual(textsOf(), ["The journal is empty."])
    assert.strictEqual(last(), "The journal ends here: nothing is under way.")
    assert.strictEqual(last(begun(1, "A")), "The journal ends here: A is under way.")
    assert.strictEqual(last(begun(1, "A"), begun(2, "B")), "The journal ends here: A and B are under way.")
    assert.strictEqual(last(...unwound.slice(1, 5)), "The journal ends here: Charge is due again in 50 ms.")
    assert.strictEqual(last(...unwound.slice(1, 11)), "The journal ends here: undoing Charge is under way.")
    assert.strictEqual(last(...unwound.slice(1, 12)), "The journal ends here: undoing Charge is due again in 2.5 s.")
    assert.strictEqual(
      last(
        ...unwound.slice(1, 11),
        on(193, "CompensationTimerSet", { name: "Charge", timer: "cooling off", wakeAt: start + 86_400_193 })
      ),
      "The journal ends here: the wait of undoing Charge (\"cooling off\") ends in 1 d."
    )
    assert.strictEqual(
      last(on(1, "TimerSet", { name: "sleep", wakeAt: start + 11_400_001 })),
      "The journal ends here: the wait ends in 3 h 10 m."
    )
    assert.strictEqual(
      last(on(1, "Suspended", { wakeAt: start + 60_001 })),
      "Nothing is due for 1 m: it left memory until then."
    )
  })

  it("knows a crash from a process that takes up what waited", () => {
    const claim = on(100, "Claimed", { worker: "w" })
    const second = (...entries: ReadonlyArray<Journal.Entry>) =>
      explain([started, ...entries, claim]).lines.findLast((line) => line.text.startsWith("Worker w "))!
    const suspended = (wakeAt: number) => on(2, "Suspended", { wakeAt: start + wakeAt })
    assert.deepStrictEqual(second(), {
      at: 100,
      mark: "started",
      text: "Worker w took it up, before any step had begun."
    })
    assert.strictEqual(second(suspended(100)).text, "Worker w took it up again, as it was due.")
    assert.strictEqual(second(suspended(200)).text, "Worker w took it up again before its time.")
    assert.strictEqual(second(...stuck.slice(1)).text, "Worker w took up the parked execution: there was mail for it.")
    assert.deepStrictEqual(second(begun(1, "A")), {
      at: 100,
      mark: "recovered",
      text: "Worker w recovered it, as the process that had it was gone. A was in doubt."
    })
    assert.strictEqual(second(claim).mark, "recovered")
    // A step in back-off is not in doubt.
    const refused = on(2, "AttemptFailed", { name: "A", attempt: 1, outcome: "refused", wakeAt: start + 101 })
    assert.strictEqual(
      second(begun(1, "A"), refused).text,
      "Worker w recovered it, as the process that had it was gone. Nothing was in doubt."
    )
  })

  it("offers a person only what would be taken", () => {
    const advice = (...entries: ReadonlyArray<Journal.Entry>) =>
      explain([started, ...entries]).lines.find(({ mark }) => mark === "advice")!.text
    const park = (reason: Journal.EntryOf<"SagaParked">["reason"]) => on(9, "SagaParked", { reason, unresolved: [] })
    assert.strictEqual(
      advice(begun(1, "A"), park({ _tag: "Defect", message: "boom" })),
      "A person can mend the code and retry; or resolve A with its value, if it happened; " +
        "or skip A, if it did not happen; or roll it back; or abandon it as it is."
    )
    assert.strictEqual(
      advice(
        on(1, "PivotPassed", {}),
        begun(2, "A", "retryable"),
        park({ _tag: "Exhausted", step: "A", message: "busy" })
      ),
      "A person can mend the cause and retry; or resolve A with its value, if it happened; or abandon it as it is."
    )
    assert.strictEqual(
      advice(rollback(1, damaged), park({ _tag: "Nondeterminism", journal: "A", body: "B" })),
      "A person can deploy the code that wrote the journal and retry; or abandon it as it is."
    )
  })

  it("tells forks apart only where they share a name", () => {
    const fork = (name: string, path: string) => on(1, "StepStarted", { name, path, kind: "compensable" })
    assert.strictEqual(
      textsOf(started, fork("A", "0"), fork("A", "1"), fork("B", "0")).at(-1),
      "The journal ends here: A (fork 0), A (fork 1) and B are under way."
    )
  })

  it("says how an execution stands in short", () => {
    const short = (entries: ReadonlyArray<Journal.Entry>) => {
      const { ending, happened, smooth, took } = explain(entries)
      return [ending, happened, smooth, took]
    }
    assert.deepStrictEqual(short([]), ["running", false, false, 0])
    assert.deepStrictEqual(short(happy), ["completed", true, true, 1_301])
    assert.deepStrictEqual(short(happy.slice(0, 6)), ["settling", true, false, 18])
    assert.deepStrictEqual(short(crashed), ["completed", true, false, 30_011])
    assert.deepStrictEqual(short(anotherWay), ["completed", true, false, 21])
    assert.deepStrictEqual(short(unwound.slice(0, 12)), ["compensating", true, false, 200])
    assert.deepStrictEqual(short(unwound), ["rolledback", true, false, 2_716])
    assert.deepStrictEqual(short(late.slice(0, 5)), ["suspended", true, false, 6])
    assert.deepStrictEqual(short(stuck), ["parked", true, false, 24])
    assert.deepStrictEqual(short(abandoned), ["abandoned", true, false, 86_400_000])
    const atOnce = [started, begun(1, "A"), failed(2, "A", "no"), rollback(3, damaged), rolledBack(4, damaged)]
    assert.deepStrictEqual(short(atOnce), ["rolledback", false, false, 4])
    assert.strictEqual(textsOf(...atOnce).at(-1), "The saga failed after 4 ms, and left nothing behind.")
  })

  it("reads a stored journal as well as its entries", () => {
    const appends = [{ seq: 0, at: 0, entries: happy.slice(0, 3) }, { seq: 1, at: 0, entries: happy.slice(3) }]
    assert.deepStrictEqual(explain({ appends }), explain(happy))
    assert.deepStrictEqual(explain(new Set(happy)), explain(happy))
  })

  it("goes on where the journal is in disorder", () => {
    assert.deepStrictEqual(textsOf(done(1, "A"), on(2, "SagaCompleted", { value: null }), started), [
      "A succeeded.",
      "The journal is not in order here: StepSucceeded met an empty journal.",
      "The journal is not in order here: StepSucceeded met no step A.",
      "The saga completed after 1 ms.",
      "The saga started.",
      "The journal is not in order here: SagaStarted met an execution that completed."
    ])
    assert.include(
      textsOf(started, started),
      "The journal is not in order here: SagaStarted met an execution that started."
    )
    const unknown = { _tag: "FromTheFuture", at: start } as unknown as Journal.Entry
    assert.include(
      textsOf(started, unknown),
      "The journal is not in order here: FromTheFuture met a version that does not know it."
    )
  })
})

describe("the diagram", () => {
  it("shows what was asked of whom, and the unwind", () =>
    drawn(
      unwound,
      `
sequenceDiagram
  participant S as PlaceOrder
  participant P1 as Reserve
  participant P2 as Charge
  participant P3 as Pack
  S->>P1: attempt 1
  P1-->>S: done
  S->>P2: attempt 1
  P2--xS: refused, PaymentsBusy
  S->>P2: attempt 2
  P2--xS: refused, PaymentsBusy
  S->>P2: attempt 3
  P2-->>S: done
  S->>P3: attempt 1
  P3--xS: failed, Damaged (sku "VASE")
  rect rgb(255, 238, 238)
    Note over S,P3: roll-back, because it failed with Damaged (sku "VASE")
    S->>P2: undo
    P2--xS: failed, RefundRejected (reason "account<br/>closed")
    S->>P2: undo, attempt 2
    P2-->>S: undone
    S->>P1: undo
    P1-->>S: undone
  end
  Note over S,P3: rolled back
`
    ))

  it("shows a crash, and the check after it", () =>
    drawn(
      crashed,
      `
sequenceDiagram
  participant S as PlaceOrder
  participant P1 as Reserve
  participant P2 as Charge
  S->>P1: attempt 1
  P1-->>S: done
  S->>P2: attempt 1
  Note over S,P2: crash, recovered by worker-2 (Charge in doubt)
  S->>P2: did it happen?
  P2-->>S: yes, it happened
  Note over S,P2: completed
`
    ))

  it("shows a park, and the person who ended it", () =>
    drawn(
      skipped,
      `
sequenceDiagram
  participant S as PlaceOrder
  participant P1 as Reserve
  participant P2 as Charge
  participant P3 as Pack
  S->>P1: attempt 1
  P1-->>S: done
  S->>P2: attempt 1
  P2-->>S: done
  S->>P3: attempt 1
  P3--xS: failed, Damaged (sku "VASE")
  rect rgb(255, 238, 238)
    Note over S,P3: roll-back, because it failed with Damaged (sku "VASE")
    S->>P2: undo
    P2--xS: stuck, RefundRejected (reason "account<br/>closed")
    S->>P1: undo
    P1-->>S: undone
    Note over S,P3: parked, because a compensation failed for good
    Note over S,P3: taken up by worker-2
    Note over S,P3: Ada answers to skip Charge
  end
  Note over S,P3: rolled back
`
    ))

  it("escapes whatever a name holds", () => {
    for (const name of nasty) isValid([started, begun(1, name), failed(2, name, { _tag: name, [name]: name })], name)
    const { diagram } = explain([started, begun(1, nasty[1]!)], { saga: nasty[5]! })
    assert.strictEqual(
      diagram,
      `sequenceDiagram
  participant S as as#58; wrap#58; style#58;#35;fff#59;
  participant P1 as a#59;b #35;1 #37;#37;#123;init#58; #123;#125;#125;#37;#37; #60;b#62;"…
  S->>P1: attempt 1`
    )
  })

  it("leaves out the middle of a long journal, and says how much", () => {
    const long = [
      started,
      ...Array.from({ length: 500 }, (_, n) => [begun(n, `Step ${n}`), done(n, `Step ${n}`)]).flat(),
      rollback(600, damaged),
      ...Array.from({ length: 500 }, (_, n) => [undoing(600, `Step ${499 - n}`), undone(600, `Step ${499 - n}`)])
        .flat(),
      rolledBack(700, damaged)
    ]
    isValid(long)
    const { diagram, lines } = explain(long)
    const arrows = diagram.split("\n").filter((line) => line.includes(": "))
    assert.strictEqual(arrows.length, MaxEvents)
    assert.include(diagram, "Note over S,P50: 1803 events are left out")
    assert.strictEqual(lines.length, 1_004)
    assert.strictEqual(explain(long, { events: 11 }).diagram.split("\n").filter((_) => _.includes(": ")).length, 11)
    for (const events of [-1, 0, 2.5, NaN, Infinity]) assert.include(explain(long, { events }).diagram, "are left out")
    const worst = "#".repeat(500)
    isValid([started, ...Array.from({ length: 500 }, (_, n) => failed(n, `${n}${worst}`, worst))], worst)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// any journal
// ---------------------------------------------------------------------------------------------------------------------

const names = fc.oneof(
  fc.constantFrom("A", "B", "C"),
  fc.constantFrom("A", "B", ...nasty),
  fc.string({ unit: "binary", maxLength: 12 })
)
const times = fc.integer({ min: start, max: start + 10_000 })
const json = fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<any>
const optional = <A>(value: fc.Arbitrary<A>) => fc.option(value, { nil: undefined })
const refs = fc.record(
  { name: names, path: fc.constantFrom("0", "1", "0.1"), occurrence: fc.nat(2) },
  { requiredKeys: ["name"] }
)
const attempt = fc.integer({ min: 1, max: 4 })
const cause: fc.Arbitrary<Journal.RollbackCause> = fc.oneof(
  fc.record({ _tag: fc.constant("Failed" as const), error: json }),
  fc.record({ _tag: fc.constant("Cancelled" as const), reason: names }),
  fc.record({ _tag: fc.constant("DeadlineExceeded" as const), deadline: times }),
  fc.record({ _tag: fc.constant("Operator" as const), actor: names, reason: names }),
  fc.record({ _tag: fc.constant("Defect" as const), step: names, message: names })
)
const reason: fc.Arbitrary<Journal.EntryOf<"SagaParked">["reason"]> = fc.oneof(
  fc.record({ _tag: fc.constant("CompensationFailed" as const) }),
  fc.record({ _tag: fc.constantFrom("Unknown" as const, "Exhausted" as const), step: names, message: names }),
  fc.record({ _tag: fc.constant("Defect" as const), step: names, message: names }),
  fc.record({ _tag: fc.constant("Nondeterminism" as const), journal: names, body: names }),
  fc.record({ _tag: fc.constantFrom("Undecodable" as const, "Unencodable" as const), what: names, message: names }),
  fc.record({ _tag: fc.constant("RecoveryExhausted" as const), claims: fc.nat() }),
  fc.record({ _tag: fc.constant("Child" as const), step: names, child: names, message: names })
)
const resolution: fc.Arbitrary<Journal.Resolution> = fc.oneof(
  fc.record({ _tag: fc.constantFrom("Retry" as const, "Rollback" as const, "Abandon" as const) }),
  fc.record({ _tag: fc.constant("Resolve" as const), step: refs, value: json }),
  fc.record({ _tag: fc.constant("Skip" as const), step: refs })
)
const scope = fc.constantFrom("", ":0", ":0/:1")
const unresolved = fc.array(refs.map((ref) => ({ ...ref, attempts: 1, error: "no" })), { maxLength: 3 })
const message: fc.Arbitrary<Journal.Mail> = fc.oneof(
  fc.record({ _tag: fc.constant("Cancel" as const), reason: names }),
  fc.record({ _tag: fc.constant("Resolve" as const), resolution }),
  fc.record({ _tag: fc.constant("Signal" as const), signal: names, payload: json }),
  fc.record({ _tag: fc.constant("Child" as const), child: names })
)
const childEnd: fc.Arbitrary<Journal.End> = fc.oneof(
  fc.record({ _tag: fc.constant("SagaCompleted" as const), at: times, value: json }),
  fc.record({ _tag: fc.constant("SagaRolledBack" as const), at: times, cause }),
  fc.record({ _tag: fc.constant("SagaParked" as const), at: times, reason, unresolved }),
  fc.record({
    _tag: fc.constant("SagaAbandoned" as const),
    at: times,
    reason,
    unresolved,
    actor: names,
    because: names
  })
)
const answer = { mail: fc.nat(), resolution, actor: optional(names), reason: optional(names) }

const beating = { attempt, details: optional(json), beatAt: optional(times) }

type Model = { readonly [key: string]: fc.Arbitrary<unknown> }

/** What each entry holds besides its tag and time. */
const models: Readonly<Record<Tag, readonly [of: "ref" | "saga", fields: Model]>> = {
  SagaStarted: ["saga", { deadline: optional(times), version: optional(attempt) }],
  ContinuedAsNew: ["saga", {
    payload: json,
    generation: attempt,
    deadline: optional(times),
    version: optional(attempt),
    parks: optional(attempt)
  }],
  Claimed: ["saga", { worker: names }],
  StepStarted: ["ref", { kind: fc.constantFrom(...Journal.Kind.literals), scope: optional(scope) }],
  ChildStarted: ["ref", {
    child: names,
    undo: fc.constantFrom(undefined, true as const),
    scope: optional(scope)
  }],
  ChildCancelRequested: ["ref", {}],
  ChildParked: ["ref", { mail: fc.nat(), reason }],
  ChildResumed: ["ref", { mail: fc.nat() }],
  ChildEnded: ["ref", { mail: fc.nat(), end: childEnd }],
  AttemptFailed: ["ref", {
    attempt,
    outcome: fc.constantFrom(...Journal.AttemptOutcome.literals),
    error: optional(json),
    message: optional(names),
    wakeAt: optional(times)
  }],
  StepSucceeded: ["ref", { attempt, value: json, found: fc.constantFrom(undefined, true) }],
  StepFailed: ["ref", { attempt, error: json }],
  StepWithdrawn: ["ref", {}],
  PivotPassed: ["saga", {}],
  TimerSet: ["ref", { wakeAt: times }],
  TimerFired: ["ref", {}],
  TimerWithdrawn: ["ref", {}],
  ParkRequested: ["saga", { reason }],
  CancelRequested: ["saga", { mail: fc.nat(), reason: optional(names) }],
  DeadlinePassed: ["saga", {}],
  RollbackRequested: ["saga", { cause }],
  Resolved: ["saga", answer],
  ResolutionRefused: ["saga", { ...answer, issue: names }],
  Suspended: ["saga", { wakeAt: optional(times) }],
  Published: ["ref", { value: json }],
  VersionMarked: ["saga", { change: names, version: attempt }],
  RollbackStarted: ["saga", { scope, cause }],
  CompensationStarted: ["ref", {}],
  CompensationAttemptFailed: ["ref", {
    attempt,
    outcome: fc.constantFrom("failed", "timeout", "pending"),
    error: optional(json),
    wakeAt: optional(times)
  }],
  CompensationTimerSet: ["ref", { timer: names, wakeAt: times }],
  CompensationSucceeded: ["ref", { attempt, found: fc.constantFrom(undefined, true) }],
  CompensationFailed: ["ref", { attempt, error: optional(json), defect: optional(names) }],
  ScopeRolledBack: ["saga", { scope }],
  StepsRollbackStarted: ["ref", { steps: fc.array(refs, { maxLength: 3 }) }],
  StepsRolledBack: ["ref", {}],
  SignalAwaited: ["ref", { signals: fc.array(names, { minLength: 1, maxLength: 3 }) }],
  SignalReceived: ["ref", { mail: fc.nat(), signal: names, value: json }],
  StepHeartbeat: ["ref", beating],
  CompensationHeartbeat: ["ref", beating],
  ReceiveWithdrawn: ["ref", {}],
  CompensationSignalReceived: ["ref", { wait: names, mail: fc.nat(), signal: names, value: json }],
  RaceWon: ["ref", { winner: fc.nat(3), losers: fc.array(scope, { maxLength: 2 }) }],
  MailUndelivered: ["saga", { mail: fc.nat(), message: optional(message) }],
  SagaCompleted: ["saga", { value: json }],
  SagaRolledBack: ["saga", { cause }],
  SagaParked: ["saga", { reason, unresolved }],
  SagaAbandoned: ["saga", { reason, unresolved, actor: names, because: names }]
}
const tags = Object.keys(models) as ReadonlyArray<Tag>

const entryOf = (tag: Tag): fc.Arbitrary<Journal.Entry> => {
  const [of, fields] = models[tag]
  const rest = fc.record({ _tag: fc.constant(tag), at: times, ...fields })
  const entry = of === "saga" ? rest : fc.tuple(refs, rest).map(([ref, rest]) => ({ ...ref, ...rest }))
  return entry as unknown as fc.Arbitrary<Journal.Entry>
}

describe("any journal", () => {
  /** Told by how it ends, by what follows, or where the journal ends. */
  const silent: ReadonlyArray<Tag> = ["StepStarted", "CompensationStarted"]

  it("has a sentence for every entry but those that another one tells", () => {
    for (const tag of tags) {
      fc.assert(
        fc.property(entryOf(tag), (entry) => {
          const told = explain([started, entry]).lines.filter(({ mark }) => mark !== "open" && mark !== "disorder")
          // A park that was only asked for is told with the park itself.
          assert.strictEqual(told.length > 1, !silent.includes(tag), JSON.stringify(told))
        }),
        { numRuns: 20 }
      )
    }
  })

  it("is told without an exception, in whole lines and a diagram that can be read", () => {
    const journal = fc.array(fc.oneof(...tags.map(entryOf)), { maxLength: 60 })
    fc.assert(
      fc.property(
        journal,
        fc.boolean(),
        names,
        (entries, begins, saga) =>
          isValid(begins ? [started, ...entries.toSorted((a, b) => a.at - b.at)] : entries, saga)
      ),
      { numRuns: 300 }
    )
  })

  it("is told in whole lines wherever a long error is cut off", () => {
    for (let length = 250; length < 320; length++) {
      const error = `${"x".repeat(length)} ${"y z ".repeat(40)}`
      isValid([started, { _tag: "RollbackStarted", at: start, scope: "", cause: { _tag: "Failed", error } }])
    }
  })

  it("is told up to wherever it is cut off", () => {
    for (const whole of [happy, unwound, skipped, crashed, doubted, anotherWay, late, abandoned, signalled, raced]) {
      for (let length = 0; length <= whole.length; length++) {
        isValid(whole.slice(0, length))
        const { lines } = explain(whole.slice(0, length))
        const said = lines.filter(({ mark }) => mark !== "open")
        // What was said is not taken back; a park that was asked for is told differently until it is done.
        if (whole !== doubted) assert.deepStrictEqual(said, explain(whole).lines.slice(0, said.length))
        assert.isTrue(lines.every(({ mark }) => mark !== "disorder"))
      }
    }
  })
})
