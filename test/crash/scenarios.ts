/**
 * The sagas that something happens to at every point, and what that is.
 */
import { Effect, Layer, Schedule, Schema } from "effect"
import { Saga, Signal, Timer } from "effect-saga"
import type { SagaTest } from "effect-saga/testing"
import * as Crash from "../utils/Crash.ts"

const retry = Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 2 }))
const always = (fault: Crash.Fault): ReadonlyArray<Crash.Fault> => Array.from({ length: 20 }, () => fault)
const ladder = Crash.body(({ step }) =>
  Effect.gen(function*() {
    yield* step("A")
    yield* step("B")
    yield* step("C")
    return yield* step("D")
  })
)
const decided = (pivot: object = {}) =>
  Crash.settled(({ pivot: decide, retryable, step }) => ({
    attempt: Effect.andThen(step("A"), step("B")),
    pivot: () => decide("Pivot", pivot),
    settle: () => Effect.andThen(retryable("Ship"), retryable("Mail"))
  }))

const inDoubt = Crash.body(({ step }) =>
  Effect.gen(function*() {
    yield* step("A")
    yield* step("B", { timeout: "2 seconds", unknown: "park" })
    return yield* step("D")
  })
)

const alone: ReadonlyArray<Crash.Scenario> = [
  { name: "four steps", saga: ladder, ends: ["completed"] },
  ...["A", "B", "C", "D"].map((name): Crash.Scenario => ({
    name: `four steps, ${name} refuses`,
    saga: ladder,
    faults: { [name]: ["refuse"] },
    ends: ["rolledback"]
  })),
  ...["A", "B", "C"].map((name): Crash.Scenario => ({
    name: `four steps, the last refuses, undoing ${name} fails once`,
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        for (const name of ["A", "B", "C"]) yield* step(name, { compensation: { retry } })
        return yield* step("D")
      })
    ),
    faults: { D: ["refuse"], [`undo ${name}`]: ["refuse"] },
    ends: ["rolledback"]
  })),
  {
    name: "a compensation that fails for good",
    saga: ladder,
    faults: { D: ["refuse"], "undo B": always("refuse") },
    ends: ["parked"]
  },
  {
    name: "a compensation that fails for good and halts",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        for (const name of ["A", "B", "C"]) yield* step(name, { compensation: { onFailure: "halt" } })
        return yield* step("D")
      })
    ),
    faults: { D: ["refuse"], "undo B": always("refuse") },
    ends: ["parked"]
  },
  {
    name: "three at once",
    saga: Crash.body(({ step }) =>
      Effect.andThen(
        step("A"),
        Effect.all([step("X"), Effect.andThen(step("Y"), step("Y2")), step("Z")], { concurrency: "unbounded" })
      )
    ),
    ends: ["completed"]
  },
  {
    name: "three at once, one refuses",
    saga: Crash.body(({ step }) =>
      Effect.andThen(
        step("A"),
        Effect.all([step("X"), Effect.andThen(step("Y"), step("Y2")), step("Z")], { concurrency: "unbounded" })
      )
    ),
    faults: { Z: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "three at once, one refuses while another backs off",
    saga: Crash.body(({ step }) =>
      Effect.all([step("X", { retry }), Effect.andThen(step("Y"), step("Y2")), step("Z")], { concurrency: "unbounded" })
    ),
    faults: { X: ["refuse", "refuse"], Y2: ["refuse"] },
    ends: ["rolledback"]
  },
  { name: "a pivot", saga: decided(), ends: ["completed"] },
  { name: "a pivot that refuses", saga: decided(), faults: { Pivot: ["refuse"] }, ends: ["rolledback"] },
  {
    name: "a pivot with a check, that refuses",
    saga: decided({ timeout: "2 seconds", check: true }),
    faults: { Pivot: always("refuse") },
    ends: ["rolledback"]
  },
  {
    name: "a pivot whose answer is lost",
    saga: decided({ timeout: "2 seconds", check: true }),
    faults: { Pivot: ["late"] },
    ends: ["completed"]
  },
  {
    name: "retryable steps that refuse",
    saga: decided(),
    faults: { Ship: ["refuse", "refuse"], Mail: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "retries with back-off",
    saga: Crash.body(({ step }) => Effect.andThen(step("A", { retry }), step("B", { retry }))),
    faults: { A: ["refuse", "refuse"], B: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "retries that come to an end",
    saga: Crash.body(({ step }) => Effect.andThen(step("A"), step("B", { retry }))),
    faults: { B: ["refuse", "refuse", "refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "timeouts with a check",
    saga: Crash.body(({ step }) =>
      Effect.andThen(
        step("A", { timeout: "2 seconds", check: true, retry }),
        step("B", { timeout: "2 seconds", check: true, retry })
      )
    ),
    faults: { A: ["late"], B: ["lost"] },
    ends: ["completed"]
  },
  {
    name: "timeouts with a check, then a refusal",
    saga: Crash.body(({ step }) =>
      Effect.andThen(
        step("A", { timeout: "2 seconds", check: true, retry }),
        Effect.andThen(step("B", { timeout: "2 seconds", check: true }), step("C", { check: true }))
      )
    ),
    faults: { A: ["late"], C: always("refuse") },
    ends: ["rolledback"]
  },
  {
    name: "timeouts without a check",
    saga: Crash.body(({ step }) =>
      Effect.andThen(step("A", { timeout: "2 seconds", unknown: "park", retry }), step("B"))
    ),
    faults: { A: ["late"] },
    // While nobody knows whether a step happened, a cancel undoes nothing.
    ends: ["completed", "parked"]
  },
  {
    name: "a scope with a fallback",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        const way = yield* Saga.scoped(Effect.andThen(step("Book"), Effect.andThen(step("Pack"), step("Truck")))).pipe(
          Effect.catchTag("Refused", () => step("Ship"))
        )
        yield* step("Z")
        return way
      })
    ),
    faults: { Truck: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "a scope with a fallback that refuses too",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        return yield* Saga.scoped(Effect.andThen(step("Book"), step("Truck"))).pipe(
          Effect.catchTag("Refused", () => step("Ship"))
        )
      })
    ),
    faults: { Truck: ["refuse"], Ship: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a scope whose compensation fails for good",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        return yield* Saga.scoped(Effect.andThen(step("Book"), Effect.andThen(step("Pack"), step("Truck")))).pipe(
          Effect.catchTag("Refused", () => step("Ship"))
        )
      })
    ),
    faults: { Truck: ["refuse"], "undo Pack": always("refuse") },
    ends: ["parked"]
  },
  {
    name: "a hook in a scope",
    saga: Crash.body(({ onRollback, step }) =>
      Effect.gen(function*() {
        yield* Saga.scoped(
          Effect.andThen(step("Book"), Effect.andThen(onRollback("Apologize"), step("Truck")))
        ).pipe(Effect.catchTag("Refused", () => Effect.void))
        yield* onRollback("Apologize again")
        return yield* step("Z")
      })
    ),
    faults: { Truck: ["refuse"], Z: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a schedule that ends past the point of no return",
    saga: Crash.settled(({ pivot, retryable, step }) => ({
      attempt: step("A"),
      pivot: () => pivot("Pivot"),
      settle: () => retryable("Ship", { retry })
    })),
    faults: { Ship: always("refuse") },
    ends: ["parked"]
  },
  {
    name: "a timeout that counts as a refusal",
    saga: Crash.body(({ step }) => Effect.andThen(step("A"), step("B", { timeout: "2 seconds", unknown: "refused" }))),
    faults: { B: always("lost") },
    ends: ["rolledback"]
  },
  {
    name: "compensations that time out",
    saga: Crash.body(({ step }) =>
      Effect.andThen(step("A", { compensation: { timeout: "2 seconds", retry } }), step("B"))
    ),
    faults: { B: ["refuse"], "undo A": ["late", "lost"] },
    ends: ["rolledback"]
  },
  {
    name: "no pivot, but a point of no return",
    saga: Crash.settled(({ retryable, step }) => ({
      attempt: Effect.andThen(step("A"), step("B")),
      settle: () => Effect.all([retryable("Ship"), retryable("Mail")], { concurrency: 2 })
    })),
    faults: { Ship: ["refuse", "refuse"], Mail: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "hooks, and it commits",
    saga: Crash.body(({ onCommit, onRollback, step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* onRollback("Apologize")
        yield* onCommit("Invoice")
        yield* onCommit("Letter")
        return yield* step("B")
      })
    ),
    faults: { Invoice: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "hooks, and it rolls back",
    saga: Crash.body(({ onCommit, onRollback, step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* onRollback("Apologize")
        yield* onCommit("Invoice")
        return yield* step("B")
      })
    ),
    faults: { B: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "reads between",
    saga: Crash.body(({ readonly, step }) =>
      Effect.gen(function*() {
        yield* readonly("Look")
        yield* step("A")
        yield* readonly("Look again")
        yield* readonly("And again")
        return yield* step("B")
      })
    ),
    faults: { B: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "timers between",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* Effect.sleep("5 seconds")
        yield* step("B")
        return yield* Effect.timeoutOption(Effect.andThen(Effect.sleep("10 seconds"), step("C")), "2 seconds")
      })
    ),
    ends: ["completed"]
  },
  { name: "a bug in a step", saga: ladder, faults: { C: ["die"] }, ends: ["parked", "completed"] },
  {
    name: "a bug in a step beside others",
    saga: Crash.body(({ step }) => Effect.all([step("X"), step("Y"), step("Z")], { concurrency: "unbounded" })),
    faults: { Y: ["die"] },
    ends: ["parked", "completed"]
  },
  {
    name: "a bug in a compensation",
    saga: ladder,
    faults: { D: ["refuse"], "undo B": ["die"] },
    ends: ["parked", "rolledback"]
  },
  ...(["continue", "halt"] as const).map((onFailure): Crash.Scenario => ({
    name: `compensations at once, one fails for good, ${onFailure}`,
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        for (const name of ["A", "B", "C"]) yield* step(name, { compensation: { onFailure, retry } })
        return yield* step("D")
      })
    ),
    options: { compensation: "parallel" },
    faults: { D: ["refuse"], "undo B": always("refuse"), "undo A": ["refuse"] },
    ends: ["parked"]
  })),
  {
    name: "compensations that are asked for",
    saga: Crash.body(({ asked, step }) =>
      Effect.gen(function*() {
        yield* asked("A", { timeout: "2 seconds", retry })
        yield* asked("B", { timeout: "2 seconds", retry })
        return yield* step("C")
      })
    ),
    faults: { C: ["refuse"], "undo A": ["late"], "undo B": ["lost"] },
    ends: ["rolledback"]
  },
  {
    name: "a compensation that waits within",
    saga: Crash.body(({ step, undoneBy }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* undoneBy("B", (undo) => Effect.andThen(Timer.sleep("a second", "1 second"), undo))
        yield* undoneBy("C", (undo) => Effect.andThen(Timer.sleep("a day", "4 seconds"), undo))
        return yield* step("D")
      })
    ),
    suspendAfter: "2 seconds",
    faults: { D: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "waits that leave memory",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A", { compensation: { retry: Schedule.spaced("4 seconds").pipe(Schedule.upTo({ times: 2 })) } })
        yield* Effect.sleep("4 seconds")
        yield* step("B", { retry: Schedule.spaced("4 seconds").pipe(Schedule.upTo({ times: 2 })) })
        return yield* step("C")
      })
    ),
    suspendAfter: "2 seconds",
    faults: { B: ["refuse"], C: ["refuse"], "undo A": ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "waits beside each other that leave memory",
    saga: Crash.body(({ step }) =>
      Effect.andThen(
        step("A"),
        Effect.all([Effect.andThen(Effect.sleep("3 seconds"), step("X")), Effect.sleep("6 seconds"), step("Y")], {
          concurrency: "unbounded"
        })
      )
    ),
    suspendAfter: "2 seconds",
    ends: ["completed"]
  },
  {
    name: "steps undone by their names, then asked for again",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        for (const name of ["A", "B", "C"]) yield* step(name)
        yield* Saga.rollback("A", "C", "Z")
        yield* step("C")
        return yield* step("D")
      })
    ),
    ends: ["completed"]
  },
  {
    name: "steps undone by their names, and then all",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        for (const name of ["A", "B", "C"]) yield* step(name)
        yield* Saga.rollback("B")
        yield* step("B")
        return yield* step("D")
      })
    ),
    faults: { D: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a step that is undone by its name, and cannot be",
    saga: Crash.body(({ step }) =>
      Effect.andThen(step("A"), Effect.andThen(step("B"), Effect.andThen(Saga.rollback("A"), step("C"))))
    ),
    faults: { "undo A": always("refuse") },
    ends: ["parked"]
  },
  {
    name: "a deadline that passes while a step waits to be tried again",
    saga: Crash.body(({ step }) =>
      Effect.andThen(step("A"), Effect.andThen(step("B", { retry: Schedule.spaced("2 seconds") }), step("C")))
    ),
    options: { deadline: "3 seconds" },
    faults: { B: always("refuse") },
    ends: ["rolledback"]
  },
  {
    name: "a deadline that passes in somebody's sleep",
    saga: Crash.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(Effect.sleep("20 seconds"), step("B")))),
    options: { deadline: "6 seconds" },
    suspendAfter: "2 seconds",
    ends: ["rolledback"]
  },
  {
    name: "a deadline that comes when all is settled",
    saga: decided(),
    options: { deadline: "2 seconds" },
    faults: { Ship: ["refuse", "refuse", "refuse", "refuse", "refuse"] },
    ends: ["completed", "rolledback"]
  },
  {
    name: "a bug in a step of a saga that rolls back on bugs",
    saga: Crash.body(({ step }) =>
      Effect.andThen(step("A"), Effect.all([step("X"), step("Y"), step("Z")], { concurrency: "unbounded" }))
    ),
    options: { onDefect: "rollback" },
    faults: { Y: ["die"] },
    ends: ["rolledback", "completed"]
  },
  {
    name: "a bug in the body of a saga that rolls back on bugs",
    saga: Crash.body(({ step }) => Effect.andThen(step("A"), Effect.die(new Error("a bug")))),
    options: { onDefect: "rollback" },
    ends: ["rolledback"]
  },
  {
    name: "a bug in a step, and a person who lets it go on, twice",
    saga: ladder,
    faults: { C: ["die"] },
    answers: [[(_, id) => _.retry(id), (_, id) => _.retry(id)]],
    ends: ["completed", "parked"]
  },
  {
    name: "a bug in a step, and a person who rolls it back",
    saga: ladder,
    faults: { C: ["die"] },
    answers: [[(_, id) => _.rollback(id), (_, id) => _.retry(id)], [(_, id) => _.rollback(id)]],
    ends: ["completed", "rolledback"]
  },
  {
    name: "a bug in a step, and a person who closes it",
    saga: ladder,
    faults: { C: ["die"] },
    answers: [[(_, id) => _.abandon(id, "sold"), (_, id) => _.retry(id)]],
    ends: ["completed", "abandoned"]
  },
  {
    name: "a step in doubt, and a person who knows its value",
    saga: inDoubt,
    faults: { B: ["late"], D: ["refuse"] },
    // The first is no result of it, and keeps the second from being sent.
    answers: [
      [(_, id) => _.resolve(id, "B", 1), (_, id) => _.resolve(id, "B", "B done")],
      [(_, id) => _.resolve(id, "B", "B done"), (_, id) => _.resolve(id, "B", "B done")]
    ],
    ends: ["rolledback"]
  },
  {
    name: "a step in doubt, and a person who knows that it did not happen",
    saga: inDoubt,
    faults: { B: ["lost"] },
    answers: [[(_, id) => _.skip(id, "B", "it is not there")], [(_, id) => _.retry(id), (_, id) => _.rollback(id)]],
    ends: ["completed", "rolledback"]
  },
  {
    name: "two compensations that fail for good, and a person who skips one and retries the other",
    saga: ladder,
    faults: { D: ["refuse"], "undo B": always("refuse"), "undo C": ["refuse"] },
    answers: [
      [(_, id) => _.skip(id, "B", "by hand"), (_, id) => _.skip(id, "B", "by hand")],
      [(_, id) => _.retry(id), (_, id) => _.retry(id)]
    ],
    ends: ["rolledback"]
  },
  {
    name: "a scope whose compensation fails for good, and a person who skips it",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        return yield* Saga.scoped(Effect.andThen(step("Book"), Effect.andThen(step("Pack"), step("Truck")))).pipe(
          Effect.catchTag("Refused", () => step("Ship"))
        )
      })
    ),
    faults: { Truck: ["refuse"], "undo Pack": always("refuse") },
    answers: [[(_, id) => _.skip(id, "Pack", "by hand")]],
    ends: ["completed"]
  }
]

/** Where roll-backs, a pivot in doubt and answers meet. */
const meeting: ReadonlyArray<Crash.Scenario> = [
  {
    name: "two forks name the same steps",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* step("B")
        const late = Effect.andThen(Effect.sleep(200), Saga.rollback("A", "B"))
        yield* Effect.all([Saga.rollback("A", "B"), late], { concurrency: 2 })
        return yield* step("D")
      })
    ),
    faults: { "undo A": [500], "undo B": [500] },
    ends: ["completed"]
  },
  {
    name: "a fork names what a scope that has failed is about to undo",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        const failing = Saga.scoped(Effect.andThen(step("A"), Effect.andThen(step("B"), step("C"))))
        const late = Effect.andThen(Effect.sleep(200), Saga.rollback("A"))
        yield* Effect.all([Effect.ignore(failing), late], { concurrency: 2 })
        return yield* step("D")
      })
    ),
    faults: { C: ["refuse"], "undo A": [500], "undo B": [500] },
    ends: ["completed"]
  },
  {
    name: "a scope fails while one inside it is undone",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* Saga.scoped(Effect.gen(function*() {
          yield* Effect.forkChild(Effect.ignore(Saga.scoped(Effect.andThen(step("A"), step("B")))))
          yield* step("C")
          return yield* step("E")
        })).pipe(Effect.ignore)
        return yield* step("D")
      })
    ),
    faults: { B: ["refuse"], C: [200], E: ["refuse"], "undo A": [500] },
    // Where the outer one fails first, the inner one is asked for too late: a bug.
    ends: ["completed", "parked"]
  },
  {
    name: "a scope fails past the point of no return",
    saga: Crash.settled(({ pivot, readonly, retryable, step }) => ({
      attempt: step("A"),
      pivot: () => pivot("Pivot"),
      settle: () => Effect.andThen(Effect.ignore(Saga.scoped(readonly("Look"))), retryable("Ship"))
    })),
    faults: { Look: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "a name that is used twice at one time, in a saga that rolls back on bugs",
    saga: Crash.body(({ step }) =>
      Effect.andThen(
        step("A"),
        Effect.all([step("B"), Effect.andThen(step("C"), step("B"))], { concurrency: "unbounded" })
      )
    ),
    options: { onDefect: "rollback" },
    faults: { B: [1_000] },
    ends: ["rolledback"]
  },
  {
    name: "a pivot in doubt, and a person who rolls it back",
    saga: decided({ timeout: "2 seconds", unknown: "park" }),
    faults: { Pivot: ["late"] },
    answers: [[(_, id) => _.rollback(id)]],
    ends: ["completed", "parked"]
  },
  {
    name: "a pivot in flight when the deadline passes",
    saga: decided(),
    options: { deadline: "2 seconds" },
    faults: { Pivot: always(3_000) },
    ends: ["completed", "rolledback"]
  }
]

/** What a body says of itself while it runs. */
const saying: ReadonlyArray<Crash.Scenario> = [
  {
    name: "every step is published, and the last one refuses",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        for (const name of ["A", "B", "C"]) {
          yield* Saga.publish("next", name)
          yield* step(name)
          yield* Saga.publish("done", name)
        }
      })
    ),
    options: { published: { next: Schema.String, done: Schema.String } },
    faults: { C: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "two forks publish under one key, beside a long wait",
    saga: Crash.settled(({ pivot, retryable, step }) => ({
      attempt: Effect.all([
        Effect.andThen(step("A"), Saga.publish("done", "A")),
        Timer.sleep("wait", "1 minute").pipe(Effect.andThen(Saga.publish("done", "waited")), Effect.andThen(step("B")))
      ], { concurrency: 2 }),
      pivot: () => Effect.tap(pivot("Pivot"), Saga.publish("done", "decided")),
      settle: () => Effect.andThen(Saga.publish("done", "settling"), retryable("Ship"))
    })),
    options: { published: { done: Schema.String } },
    suspendAfter: "10 seconds",
    ends: ["completed"]
  },
  {
    name: "changes in two forks and in a loop, and the last step refuses",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        const named = (name: string) =>
          Effect.flatMap(Saga.version("names", { min: 1, max: 2 }), (version) => step(`${name}${version}`))
        yield* Effect.all([named("A"), Effect.andThen(step("X"), named("B"))], { concurrency: 2 })
        for (const name of ["C", "D"]) yield* named(name)
        if ((yield* Saga.version("end", { min: 1, max: 3 })) === 3) yield* step("End")
      })
    ),
    faults: { End: ["refuse"] },
    ends: ["rolledback"]
  }
]

const Paid = Signal.make("Paid", { payload: Schema.String })
const Note = Signal.make("Note", { payload: Schema.String })
const paid = { signal: Paid, payload: "paid", key: "paid" }
const note = { signal: Note, payload: "noted", key: "noted" }

/** Where one comes at any other time. */
const comes = (signals: ReadonlyArray<Crash.Signalled>): Pick<Crash.Scenario, "signals" | "mishaps"> => ({
  signals,
  mishaps: signals.map(Crash.signalled).flatMap((is) => [[is], [is, "dies"], [is, "is cancelled"]])
})

/** What waits for signals, in memory and out of it, forward and back. */
const messages: ReadonlyArray<Crash.Scenario> = [
  {
    name: "two signals of one kind, a step after each",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        const first = yield* Signal.receive(Paid)
        yield* step(`B ${first}`)
        const second = yield* Signal.receive(Paid)
        return yield* step(`C ${second}`)
      })
    ),
    ...comes([{ signal: Paid, payload: "1", key: "1" }, note, { signal: Paid, payload: "2", key: "2" }]),
    ends: ["completed"]
  },
  {
    name: "a wait for a signal out of memory",
    suspendAfter: "1 second",
    saga: Crash.body(({ step }) => Effect.andThen(step("A"), Effect.andThen(Signal.receive(Paid), step("B")))),
    ...comes([note, paid]),
    ends: ["completed"]
  },
  {
    name: "a signal, a timer and a deadline that meet",
    suspendAfter: "1 second",
    options: { deadline: "5 seconds" },
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        const way = yield* Effect.raceFirst(Signal.receive(Paid), Effect.as(Timer.sleep("t", "4 seconds"), "late"))
        yield* step(way)
        return yield* Signal.receive(Paid)
      })
    ),
    ...comes([note, paid]),
    ends: ["rolledback"]
  },
  {
    name: "a receive in a scope that rolls back, and one after it",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* Effect.ignore(Saga.scoped(
          Effect.all([Effect.andThen(step("A"), Signal.receive(Paid)), Effect.andThen(step("B"), step("C"))], {
            concurrency: "unbounded"
          })
        ))
        return yield* Signal.receive(Note)
      })
    ),
    faults: { C: [500, "refuse"] },
    ...comes([paid, note]),
    ends: ["completed"]
  },
  {
    name: "a compensation that waits for a signal out of memory",
    suspendAfter: "1 second",
    saga: Crash.body(({ step, undoneBy }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* undoneBy("B", (undo) => Effect.andThen(Signal.receive(Note), undo))
        return yield* step("C")
      })
    ),
    faults: { C: ["refuse"] },
    ...comes([paid, note]),
    ends: ["rolledback"]
  },
  {
    name: "signals to a parked saga, past the point of no return",
    saga: Crash.settled(({ pivot, retryable, step }) => ({
      attempt: step("A"),
      pivot: () => pivot("Pivot"),
      settle: () => Effect.andThen(retryable("B"), Effect.andThen(Signal.receive(Note), retryable("C")))
    })),
    faults: { B: ["die"] },
    ...comes([paid, note]),
    answers: [[(_, id) => _.retry(id)]],
    ends: ["completed"]
  }
]

/** What loses a race is undone, whatever happens then. */
const races: ReadonlyArray<Crash.Scenario> = [
  {
    name: "a step that loses to a timer, and a step after it",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* Saga.race([Effect.andThen(step("B"), step("C")), Timer.sleep("t", "1 second")])
        return yield* step("D")
      })
    ),
    faults: { C: [3_000] },
    ends: ["completed"]
  },
  {
    name: "a step that loses, in a saga that fails",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* Saga.race([step("B", { check: true }), Timer.sleep("t", "1 second")])
        return yield* step("D")
      })
    ),
    faults: { B: [3_000], D: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a step and a signal, and the signal that comes again",
    suspendAfter: "1 second",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* Effect.asVoid(Saga.race([step("A"), Signal.receive(Paid), Timer.sleep("t", "2 seconds")]))
        yield* step("B")
        return yield* Timer.timeoutOption(Signal.receive(Note), "a while", "5 seconds")
      })
    ),
    faults: { A: [1_000] },
    ...comes([paid, note]),
    ends: ["completed"]
  },
  {
    name: "a race inside a race inside a scope that fails",
    saga: Crash.body(({ step }) =>
      Effect.catch(
        Saga.scoped(Effect.gen(function*() {
          const inner = Saga.race([step("A"), Effect.andThen(Timer.sleep("t", 500), step("B"))])
          yield* Saga.race([Effect.andThen(inner, step("C")), Timer.sleep("u", "2 seconds")])
          return yield* step("D")
        })),
        () => step("E")
      )
    ),
    faults: { A: [3_000], C: [3_000], D: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "a pivot behind a step that lost and is undone slowly",
    saga: Crash.settled(({ pivot, retryable, step }) => ({
      attempt: Saga.race([step("A"), Timer.sleep("t", "1 second")]),
      pivot: () => pivot("Pivot"),
      settle: () => Effect.andThen(Saga.race([retryable("B"), Timer.sleep("u", "1 second")]), retryable("C"))
    })),
    faults: { A: [2_000], "undo A": [1_000], B: [3_000] },
    ends: ["completed"]
  },
  {
    name: "a loser in doubt, and one whose compensation fails for good",
    saga: Crash.body(({ step }) =>
      Effect.gen(function*() {
        yield* Saga.race([
          step("A", { timeout: "3 seconds", unknown: "park" }),
          step("B"),
          Timer.sleep("t", "1 second")
        ])
        return yield* step("D")
      })
    ),
    faults: { A: ["late"], B: [2_000], "undo B": ["refuse"] },
    answers: [[(_, id) => _.retry(id)], [(_, id) => _.retry(id)]],
    // While nobody knows whether a step happened, a cancel undoes nothing.
    ends: ["completed", "parked"]
  }
]

/** What continues as new, where nothing is held: before anything was done, and after the point of no return. */
const generations: ReadonlyArray<Crash.Scenario> = [
  {
    name: "three generations that settle",
    saga: Crash.settled(({ continueUntil, retryable, step }) => ({
      attempt: step("A"),
      settle: () => Effect.andThen(retryable("B"), continueUntil(2))
    })),
    faults: { B: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "the second generation fails",
    saga: Crash.settled(({ continueUntil, retryable, step }) => ({
      attempt: Effect.andThen(step("A"), step("B")),
      settle: () => Effect.andThen(retryable("C"), continueUntil(2))
    })),
    faults: { B: [0, "refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a round of a timer and a signal, out of memory between them",
    suspendAfter: "1 second",
    saga: Crash.body(({ continueUntil }) =>
      Effect.gen(function*() {
        yield* Timer.timeoutOption(Signal.receive(Paid), "a while", "5 seconds")
        yield* Saga.onCommit("told", Effect.void)
        return yield* continueUntil(2)
      })
    ),
    ...comes([paid, note]),
    ends: ["completed"]
  },
  {
    name: "a scope that was undone, and then anew",
    saga: Crash.body(({ continueUntil, step }) =>
      Effect.gen(function*() {
        yield* Effect.ignore(Saga.scoped(Effect.andThen(step("A"), step("B"))))
        return yield* continueUntil(1)
      })
    ),
    faults: { B: ["refuse", "refuse"] },
    ends: ["completed"]
  }
]

/** What takes long says how far it is, and is told when nobody wants it any more. */
const beats: ReadonlyArray<Crash.Scenario> = [
  {
    name: "a step that beats and refuses once, then one that refuses",
    saga: Crash.body(({ beating, step }) => Effect.andThen(beating("A", "4 seconds", { retry }), step("B"))),
    faults: { A: ["refuse"], B: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a step that beats and falls silent, with a check",
    saga: Crash.body(({ beating, step }) =>
      Effect.andThen(
        beating("A", "4 seconds", { heartbeatTimeout: "5 seconds", check: true, retry }),
        Effect.andThen(beating("B", "4 seconds", { heartbeatTimeout: "5 seconds", check: true, retry }), step("C"))
      )
    ),
    faults: { A: ["late"], B: ["lost"] },
    ends: ["completed"]
  },
  {
    name: "a step that beats beside one that refuses, and what undoes one falls silent",
    saga: Crash.body(({ beating, step }) =>
      Effect.andThen(
        beating("A", "4 seconds", { compensation: { heartbeatTimeout: "5 seconds", retry } }),
        Effect.all([beating("B", "4 seconds", { check: true }), step("C")], { concurrency: 2 })
      )
    ),
    faults: { C: [6_000, "refuse"], "undo A": ["lost"] },
    ends: ["rolledback", "completed"]
  },
  {
    name: "a step that beats and loses to a timer",
    saga: Crash.body(({ beating, step }) =>
      Effect.gen(function*() {
        yield* step("A")
        yield* Saga.race([beating("B", "4 seconds", { check: true }), Timer.sleep("t", "6 seconds")])
        return yield* step("D")
      })
    ),
    ends: ["completed"]
  }
]

const twoOf = ({ step }: Crash.Steps, name: string) => Effect.andThen(step(`${name} A`), step(`${name} B`))

/** Executions that another one starts: who dies in between is one of them, or both. */
const children: ReadonlyArray<Crash.Scenario> = [
  {
    name: "a child between two steps",
    saga: Crash.family(
      ({ step }, parts) =>
        Effect.gen(function*() {
          yield* step("A")
          yield* Crash.child(parts, "child")
          return yield* step("B")
        }),
      twoOf
    ),
    ends: ["completed"]
  },
  {
    name: "a child in each of two generations",
    saga: Crash.family(
      ({ continueUntil }, parts) =>
        Effect.andThen(Crash.child(parts, "child", { onParentRollback: "leave" }), continueUntil(1)),
      ({ step }, name) => step(name)
    ),
    ends: ["completed"]
  },
  {
    name: "a child that refuses",
    saga: Crash.family(({ step }, parts) => Effect.andThen(step("A"), Crash.child(parts, "child")), twoOf),
    faults: { "child B": ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a child that refuses, and another way",
    saga: Crash.family(
      (_, parts) => Effect.catch(Crash.child(parts, "child"), () => Crash.child(parts, "other")),
      twoOf
    ),
    faults: { "child B": ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "a finished child that is undone",
    saga: Crash.family(
      ({ step }, parts) => Effect.andThen(Crash.child(parts, "child"), Effect.andThen(step("A"), step("B"))),
      twoOf
    ),
    faults: { B: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a finished child that is left, and one that is undone",
    saga: Crash.family(
      ({ step }, parts) =>
        Effect.gen(function*() {
          yield* Crash.child(parts, "left", { onParentRollback: "leave" })
          yield* Crash.child(parts, "child")
          return yield* step("B")
        }),
      ({ step }, name) => step(name)
    ),
    faults: { B: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a child that is cancelled by the roll-back of its parent",
    saga: Crash.family(
      ({ step }, parts) =>
        Effect.all([Crash.child(parts, "child"), Effect.andThen(step("A"), step("B"))], { concurrency: "unbounded" }),
      twoOf
    ),
    faults: { "child B": [3_000], A: [1_000], B: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "a child that completes all the same, and is undone",
    saga: Crash.family(
      ({ step }, parts) => Effect.all([Crash.child(parts, "child"), step("A")], { concurrency: "unbounded" }),
      ({ step }, name) => step(`${name} A`),
      ({ retryable }, name) => retryable(`${name} B`)
    ),
    faults: { "child B": [3_000], A: ["refuse"] },
    ends: ["rolledback"]
  },
  {
    name: "two children at once, out of memory",
    suspendAfter: "1 second",
    saga: Crash.family(
      ({ step }, parts) =>
        Effect.andThen(
          Effect.all([Crash.child(parts, "one"), Crash.child(parts, "two")], { concurrency: "unbounded" }),
          step("B")
        ),
      ({ step }, name) => Effect.andThen(Timer.sleep("t", "5 seconds"), step(name))
    ),
    ends: ["completed"]
  },
  {
    name: "a child in a race, that loses",
    suspendAfter: "1 second",
    saga: Crash.family(
      ({ step }, parts) =>
        Effect.gen(function*() {
          yield* Saga.race([Crash.child(parts, "child"), Timer.sleep("t", "2 seconds")])
          return yield* step("B")
        }),
      ({ step }, name) => Effect.andThen(step(`${name} A`), Effect.andThen(Timer.sleep("t", "1 hour"), step("never")))
    ),
    ends: ["completed"]
  },
  {
    name: "a finished child in a part that loses, and a pivot behind it",
    saga: (parts, definition) =>
      Layer.merge(
        Crash.settled(({ pivot, retryable }) => ({
          attempt: Saga.race([
            Effect.andThen(Crash.child(parts, "child"), Timer.sleep("long", "1 hour")),
            Timer.sleep("t", "2 seconds")
          ]),
          pivot: () => pivot("Pivot"),
          settle: () => retryable("Ship")
        }))(parts, definition),
        Crash.childLayer(parts, ({ step }, name) => step(`${name} A`))
      ),
    ends: ["completed"]
  },
  {
    name: "a child in a scope that fails",
    saga: Crash.family(
      ({ step }, parts) =>
        Effect.gen(function*() {
          yield* Effect.ignore(Saga.scoped(Effect.andThen(Crash.child(parts, "child"), step("B"))))
          return yield* Crash.child(parts, "other")
        }),
      ({ step }, name) => step(`${name} A`)
    ),
    faults: { B: ["refuse"] },
    ends: ["completed"]
  },
  {
    name: "a child that takes too long",
    suspendAfter: "1 second",
    saga: Crash.family(
      ({ step }, parts) =>
        Effect.andThen(Timer.timeoutOption(Crash.child(parts, "child"), "a while", "3 seconds"), step("B")),
      ({ step }, name) => Effect.andThen(step(`${name} A`), Timer.sleep("t", "1 hour"))
    ),
    ends: ["completed"]
  },
  {
    name: "a child that parks, and is let go on",
    saga: Crash.family(({ step }, parts) => Effect.andThen(Crash.child(parts, "child"), step("B")), twoOf),
    faults: { "child B": ["die"] },
    helped: "C/S/1/0/child/0",
    ends: ["completed"]
  },
  {
    name: "a grandchild that refuses",
    saga: Crash.family(
      ({ step }, parts) => Effect.andThen(step("A"), Crash.child(parts, "child")),
      (steps, name, parts) =>
        name === "child"
          ? Effect.andThen(steps.step("child A"), Crash.child(parts, "grandchild"))
          : twoOf(steps, name)
    ),
    faults: { "grandchild B": ["refuse"] },
    ends: ["rolledback"]
  }
]

/** Every saga that is run. */
export const scenarios: ReadonlyArray<Crash.Scenario> = [
  ...alone,
  ...meeting,
  ...saying,
  ...messages,
  ...races,
  ...generations,
  ...beats,
  ...children
]

/** What happens at every point of every saga, and then at some of the points after it. */
export const mishaps: ReadonlyArray<ReadonlyArray<SagaTest.Mishap>> = [
  ["dies"],
  ["loses the answer"],
  ["is taken over"],
  ["is stopped"],
  ["is cancelled"],
  ["dies", "dies"],
  ["loses the answer", "dies"],
  ["loses the answer", "loses the answer"],
  ["is taken over", "dies"],
  ["is stopped", "dies"],
  ["dies", "is cancelled"],
  ["is cancelled", "dies"],
  ["is cancelled", "is taken over"],
  ["is cancelled", "is stopped"]
]
