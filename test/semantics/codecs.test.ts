/**
 * Codecs that wait, fail or die: what an execution does then.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, SchemaGetter } from "effect"
import { Saga, SagaEngine, Step } from "effect-saga"

/** Text that goes through these two, each of which may wait or throw. */
const coded = (
  decode: (text: string) => Effect.Effect<string>,
  encode: (text: string) => Effect.Effect<string>
) =>
  Schema.String.pipe(Schema.decodeTo(Schema.String, {
    decode: SchemaGetter.transformEffect(decode),
    encode: SchemaGetter.transformEffect(encode)
  }))

const run = (success: Schema.Codec<string, string>) => {
  const undone: Array<string> = []
  const Post = Saga.make("Post", {
    payload: Schema.String,
    success: Schema.String,
    error: Schema.String,
    idempotencyKey: (id) => id
  })
  const PostLive = Post.toLayer(Effect.fnUntraced(function*() {
    const stamped = yield* Step.make("Stamp", {
      success,
      execute: Effect.succeed("stamp"),
      compensate: (value) => Effect.sync(() => undone.push(value))
    })
    if (stamped === "late") return yield* Effect.fail("late")
    return stamped
  }))
  const ended = Effect.exit(Post.execute("1")).pipe(
    Effect.provide(PostLive.pipe(Layer.provideMerge(SagaEngine.layerMemory)))
  )
  return Effect.map(ended, (exit) => ({ exit, undone }))
}

const soon = (text: string) => Effect.as(Effect.yieldNow, text)
const thrown = (): never => {
  throw new Error("the codec is broken")
}

describe("codecs", () => {
  it.live("may wait in both directions, and what they give is what the body gets", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(coded((text) => soon(`${text}ed`), soon))
      assert.deepStrictEqual(exit, Exit.succeed("stamped"))
    }))

  it.live("give a compensation what they give the body", () =>
    Effect.gen(function*() {
      const { exit, undone } = yield* run(coded(() => soon("late"), soon))
      assert.strictEqual(String(exit), String(Exit.fail("late")))
      assert.deepStrictEqual(undone, ["late"])
    }))

  it.live("that die when they read a result back park the saga, where it says why", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(coded(thrown, Effect.succeed))
      assert.include(String(exit), "is parked: the result of Stamp cannot be stored: Error: the codec is broken")
    }))

  it.live("that die when they encode a result are a defect of the step", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(coded(Effect.succeed, thrown))
      assert.include(String(exit), "is parked: Stamp died: Error: the codec is broken")
    }))
})
