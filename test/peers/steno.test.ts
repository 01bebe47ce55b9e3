/**
 * What the demo of oxidecomputer/steno lets its user inject: an error at a node, an error at the undoing of a node, and
 * a node that is executed twice. Here each is injected at every node of a saga like the demo's.
 *
 * ```text
 *             /-- Address ----------------\
 * Instance --+--- Volume ------------------+-- Configure -- Attach -- Boot
 *             \-- [ Pick -- Reserve ] ----/
 * ```
 *
 * What is in brackets is the subsaga: a `Saga.scoped`. steno's constant and output nodes have no counterpart: they are
 * values of the body.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Saga } from "effect-saga"
import type * as Journal from "../../src/Journal.ts"
import * as Crash from "../utils/Crash.ts"
import { Refused, Stuck } from "../utils/Shop.ts"
import * as World from "../utils/World.ts"

const nodes = ["Instance", "Address", "Volume", "Pick", "Reserve", "Configure", "Attach", "Boot"] as const
type Node = typeof nodes[number]

/** Which nodes a node waits for. */
const needs: Readonly<Record<Node, ReadonlyArray<Node>>> = {
  Instance: [],
  Address: ["Instance"],
  Volume: ["Instance"],
  Pick: ["Instance"],
  Reserve: ["Pick"],
  Configure: ["Address", "Volume", "Reserve"],
  Attach: ["Configure"],
  Boot: ["Attach"]
}

const provision = (step: (name: string) => Effect.Effect<any, any, any>) =>
  Effect.gen(function*() {
    yield* step("Instance")
    yield* Effect.all([
      step("Address"),
      step("Volume"),
      Saga.scoped(Effect.andThen(step("Pick"), step("Reserve")))
    ], { concurrency: "unbounded" })
    yield* step("Configure")
    yield* step("Attach")
    return yield* step("Boot")
  })

const demo = World.body(({ step }) => provision(step))

const partsWith = (faults: Readonly<Record<string, ReadonlyArray<World.Fault>>>) => () => {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  return parts
}

const done = (entries: ReadonlyArray<Journal.Entry>) =>
  entries.flatMap((_) => _._tag === "StepSucceeded" ? [_.name as Node] : [])
const undone = (entries: ReadonlyArray<Journal.Entry>) =>
  entries.flatMap((_) => _._tag === "CompensationSucceeded" ? [_.name as Node] : [])

/** Whether no node was undone before one that waited for it. */
const dependentsFirst = (order: ReadonlyArray<Node>) =>
  order.every((node, place) => needs[node].every((needed) => order.lastIndexOf(needed) > place))

describe("an injected error", () => {
  it.effect("nowhere: every node is done, in an order that the graph allows", () =>
    Effect.gen(function*() {
      const world = yield* World.make(demo)
      assert.deepStrictEqual(yield* world.execute, Exit.succeed("Boot done"))
      const order = done(yield* world.entries)
      assert.sameMembers(order, [...nodes])
      assert.isTrue(dependentsFirst([...order].reverse()))
      assert.deepStrictEqual(undone(yield* world.entries), [])
    }).pipe(Effect.scoped))

  for (const node of nodes) {
    it.effect(`at ${node}: what was done is undone once, dependents first; what waits for it is never asked`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(demo, partsWith({ [node]: ["refuse"] })())
        assert.deepStrictEqual(World.errorOf(yield* world.execute), new Refused({ step: node }))
        const entries = yield* world.entries
        assert.deepStrictEqual([...undone(entries)].sort(), [...done(entries)].sort())
        assert.isTrue(dependentsFirst(undone(entries)), undone(entries).join())
        assert.notInclude(undone(entries), node)
        for (const later of nodes) if (needs[later].includes(node)) assert.notInclude(world.parts.log, later)
      }).pipe(Effect.scoped))

    it.effect(`at ${node}, and the process dies after each append: the next one ends it in the same way`, () =>
      Effect.gen(function*() {
        const parts = partsWith({ [node]: ["refuse"] })
        const world = yield* World.make(demo, parts())
        yield* world.execute
        for (const cut of yield* World.everyCut(world, demo, parts)) {
          assert.deepStrictEqual(World.errorOf(cut.exit), new Refused({ step: node }), `after ${cut.appends}`)
          const entries = yield* cut.world.entries
          assert.deepStrictEqual([...undone(entries)].sort(), [...done(entries)].sort(), `after ${cut.appends}`)
          assert.isTrue(dependentsFirst(undone(entries)), undone(entries).join())
        }
      }).pipe(Effect.scoped))
  }

  it.effect("in the subsaga: its own nodes are undone first, before its siblings' and before its parent's", () =>
    Effect.gen(function*() {
      const world = yield* World.make(demo, partsWith({ Reserve: ["refuse"], Address: [500], Volume: [900] })())
      yield* world.execute
      assert.deepStrictEqual(undone(yield* world.entries), ["Pick", "Volume", "Address", "Instance"])
    }).pipe(Effect.scoped))
})

describe("an injected error of an undo", () => {
  for (const node of nodes.filter((_) => _ !== "Boot")) {
    it.effect(`at ${node}: stuck, which names it and the error before; the others are undone; a resume ends it`, () =>
      Effect.gen(function*() {
        const world = yield* World.make(demo, partsWith({ Boot: ["refuse"], [`undo ${node}`]: ["refuse"] })())
        const parked = World.whyParked(yield* world.execute)
        assert.deepStrictEqual(parked.why, { _tag: "CompensationFailed" })
        assert.deepStrictEqual(parked.original, { _tag: "Failed", error: new Refused({ step: "Boot" }) })
        assert.deepStrictEqual(parked.unresolved, [
          { step: node, attempts: 1, error: new Stuck({ step: node }), defect: undefined }
        ])
        assert.sameMembers(undone(yield* world.entries), nodes.filter((_) => _ !== "Boot" && _ !== node))
        world.parts.log.length = 0
        yield* world.resume
        assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "Boot" }))
        assert.deepStrictEqual(world.parts.log, [`undo ${node}`])
      }).pipe(Effect.scoped))
  }

  it.effect("in a subsaga that fails: stuck before its parent hears of it; a resume lets the parent roll back", () =>
    Effect.gen(function*() {
      const world = yield* World.make(demo, partsWith({ Reserve: ["refuse"], "undo Pick": ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(parked.unresolved.map((_) => _.step), ["Pick"])
      // The saga itself has not failed: its body may still catch the error of the subsaga.
      assert.isUndefined(parked.original)
      assert.notInclude(world.parts.log, "undo Instance")
      yield* world.resume
      assert.deepStrictEqual(World.errorOf(yield* world.result), new Refused({ step: "Reserve" }))
      assert.isTrue(dependentsFirst(undone(yield* world.entries)))
    }).pipe(Effect.scoped))

  it.effect("under \"halt\": what it needs stands too, as the nodes before it do in steno", () =>
    Effect.gen(function*() {
      const live = World.body(({ step }) => provision((name) => step(name, { compensation: { onFailure: "halt" } })))
      const world = yield* World.make(live, partsWith({ Boot: ["refuse"], "undo Configure": ["refuse"] })())
      const parked = World.whyParked(yield* world.execute)
      assert.deepStrictEqual(undone(yield* world.entries), ["Attach"])
      assert.sameMembers(parked.unresolved.map((_) => _.step), nodes.slice(0, 6))
    }).pipe(Effect.scoped))
})

describe("an injected repeat", () => {
  const completes: Crash.Scenario = {
    name: "provision",
    saga: Crash.body(({ step }) => provision(step)),
    ends: ["completed"]
  }
  const rollsBack: Crash.Scenario = { ...completes, faults: { Boot: ["refuse"] }, ends: ["rolledback"] }

  /** The process dies when it has acted and not recorded it, so that the next one acts again. */
  const twice = Effect.fnUntraced(function*(scenario: Crash.Scenario, act: "do" | "undo", node: Node) {
    const runs = new Map<string, Crash.Run>()
    yield* Crash.everywhere(scenario, { mishaps: [["dies"]], seen: (run) => runs.set(run.name, run) })
    const undisturbed = runs.get("no step refuses")!
    const name = act === "undo" ? `undo ${node}` : node
    const seen = runs.get(`no step refuses, dies after ${name}`)!
    const [first, second, ...more] = seen.acts.filter((_) => _.name === name)
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual([first?.process, second?.process], [0, 1])
    assert.strictEqual(first?.key, second?.key)
    assert.match(seen.parts.answers.filter((_) => _.act === `${act} ${node}`)[1]!.answer, /^again: /)
    assert.strictEqual(seen.outcome._tag, undisturbed.outcome._tag)
    assert.deepStrictEqual(seen.parts.effects, undisturbed.parts.effects)
    assert.deepStrictEqual(seen.parts.undone, undisturbed.parts.undone)
  })

  for (const node of nodes) {
    it.effect(`of ${node}: it is asked twice under one key, and all ends in the same way`, () =>
      Effect.andThen(twice(completes, "do", node), twice(rollsBack, "do", node)))
  }
  for (const node of nodes.filter((_) => _ !== "Boot")) {
    it.effect(`of the undoing of ${node}: it is asked twice under one key, and all ends in the same way`, () =>
      twice(rollsBack, "undo", node))
  }
})
