/**
 * The golden journals of every stored format, in one folder for each version that first wrote it.
 *
 * The promise: every later version of this library replays them. A file here was written by the version that its folder
 * names, and is never changed or removed. `npm run golden` writes the journals of sagas that have none in the folder of
 * this version, and leaves those alone that are there.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SagaInspector, SagaStore } from "effect-saga"
import { ReplayTest } from "effect-saga/testing"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Journal from "../../src/Journal.ts"
import { root } from "../utils/sources.ts"
import * as World from "../utils/World.ts"
import { type Golden, sagas } from "./sagas.ts"

const folder = path.join(root, "test/replay/journals")
const version: string = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")).version
const fileOf = (name: string): string => path.join(folder, version, `${name.replaceAll(/[^a-z]+/g, "-")}.json`)

/** Runs a saga to its end, and gives its journal. */
const run = Effect.fnUntraced(function*({ answer, faults = {}, live }: Golden) {
  const parts = World.makeParts()
  for (const [act, list] of Object.entries(faults)) parts.faults.set(act, [...list])
  const world = yield* World.make(live, parts)
  const store = Layer.succeed(SagaStore.SagaStore, world.recorded.store)
  if (answer === undefined) {
    yield* world.execute
  } else {
    yield* world.start
    yield* World.quiet
    yield* TestClock.adjust("3 seconds")
    yield* World.quiet
    yield* Effect.provide(
      SagaInspector.SagaInspector.use((inspector) => answer(world, inspector)),
      Layer.provide(SagaInspector.layer, store)
    )
    yield* World.quiet
    yield* TestClock.adjust("10 seconds")
    yield* World.quiet
    yield* world.result
  }
  return (yield* Effect.provide(ReplayTest.record(world.id), store)) ?? assert.fail("it was not started")
})

/** Replays with the handler of a saga. */
const replay = ({ live }: Golden, journals: ReadonlyArray<ReplayTest.Recorded>) =>
  Effect.scoped(Effect.gen(function*() {
    const parts = World.makeParts()
    const handler = live({ ...World.steps(parts), parts })
    const context = yield* Layer.build(
      Layer.provideMerge(handler, Layer.provide(ReplayTest.layer, SagaStore.layerMemory))
    )
    const found = yield* Effect.provideContext(Effect.forEach(journals, ReplayTest.replay), context)
    assert.deepStrictEqual(parts.log, [])
    return found.flatMap((divergence) => divergence === undefined ? [] : [divergence.message])
  }))

if (process.env["GOLDEN"] === "write") {
  for (const [name, golden] of Object.entries(sagas)) {
    it.effect.skipIf(fs.existsSync(fileOf(name)))(`writes ${name}`, () =>
      Effect.gen(function*() {
        const text = ReplayTest.print(yield* run(golden))
        fs.mkdirSync(path.dirname(fileOf(name)), { recursive: true })
        fs.writeFileSync(fileOf(name), text, { flag: "wx" })
      }).pipe(Effect.scoped))
  }
} else {
  const stored = fs.readdirSync(folder).flatMap((version) =>
    fs.readdirSync(path.join(folder, version)).map((file) => ({ version, file }))
  )

  describe.each(stored)("the journal $file of $version", ({ file, version }) => {
    const text = fs.readFileSync(path.join(folder, version, file), "utf8")
    const [, golden] = Object.entries(sagas).find(([name]) => path.basename(fileOf(name)) === file) ?? []

    it.effect("is replayed as it was written, and so is whatever a crash left of it", () =>
      Effect.gen(function*() {
        const whole = yield* ReplayTest.parse(text)
        assert.isDefined(golden, "its saga stays in sagas.ts")
        const prefixes = whole.appends.map((_, index) => ({ ...whole, appends: whole.appends.slice(0, index + 1) }))
        assert.deepStrictEqual(yield* replay(golden, prefixes), [])
      }))

    it.effect("is written as it was read", () =>
      Effect.gen(function*() {
        assert.strictEqual(ReplayTest.print(yield* ReplayTest.parse(text)), text)
      }))
  })

  describe("the golden journals", () => {
    it.effect("hold every entry, and there is one of every saga", () =>
      Effect.gen(function*() {
        const journals = yield* Effect.forEach(
          stored,
          ({ file, version }) => ReplayTest.parse(fs.readFileSync(path.join(folder, version, file), "utf8"))
        )
        const tags = new Set(journals.flatMap(({ appends }) => appends.flat().map((_) => _._tag)))
        const all = Journal.Entry.members.map((member) => member.fields._tag.schema.literal)
        assert.deepStrictEqual(all.filter((tag) => !tags.has(tag)), [])
        const files = new Set(stored.map(({ file }) => file))
        const missing = Object.keys(sagas).filter((name) => !files.has(path.basename(fileOf(name))))
        assert.deepStrictEqual(missing, [], "npm run golden writes them")
      }))
  })
}
