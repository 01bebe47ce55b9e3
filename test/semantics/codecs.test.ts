/**
 * Codecs that wait, fail or die: what an execution does then.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, SchemaGetter } from "effect"
import { Saga, SagaEngine, SagaStore, Step } from "effect-saga"

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

  it.live("that pass a value on as it is leave the journal what it was when the step gave it", () =>
    Effect.gen(function*() {
      const given = ["a"]
      const Post = Saga.make("Post", { payload: Schema.String, success: Schema.Json, idempotencyKey: (id) => id })
      const plain = <const Name extends string>(name: Step.Literal<Name>, value: Schema.Json) =>
        Step.make(name, { success: Schema.Json, execute: Effect.succeed(value), compensate: () => Effect.void })
      const PostLive = Post.toLayer(Effect.fnUntraced(function*() {
        const list = yield* plain("Give", given)
        if (Array.isArray(list)) list.push("b")
        yield* plain("Take", null)
        return list
      }))
      const stored = Effect.gen(function*() {
        assert.deepStrictEqual(yield* Post.execute("1"), ["a", "b"])
        return (yield* (yield* SagaStore.SagaStore).journal("Post/1")).appends.flatMap((append) => append.entries)
      })
      const engine = Layer.provideMerge(SagaEngine.layer, SagaStore.layerMemory)
      const entries = yield* Effect.provide(stored, Layer.provideMerge(PostLive, engine))
      const values = entries.flatMap((entry) => entry._tag === "StepSucceeded" ? [entry.value] : [])
      assert.deepStrictEqual(values, [["a"], null])
    }))

  it.live("that pass an error on as it is leave the journal what it was when the step failed with it", () =>
    Effect.gen(function*() {
      const why = ["no stock"]
      const Post = Saga.make("Post", { payload: Schema.String, success: Schema.Json, idempotencyKey: (id) => id })
      const refusing = Step.make("Refuse", {
        success: Schema.Json,
        error: Schema.Json,
        execute: Effect.fail(why),
        compensate: () => Effect.void
      })
      const PostLive = Post.toLayer(() =>
        Effect.catch(refusing, (error) => {
          if (Array.isArray(error)) error.push("later")
          return Effect.succeed(error)
        })
      )
      const stored = Effect.gen(function*() {
        assert.deepStrictEqual(yield* Post.execute("1"), ["no stock", "later"])
        return (yield* (yield* SagaStore.SagaStore).journal("Post/1")).appends.flatMap((append) => append.entries)
      })
      const engine = Layer.provideMerge(SagaEngine.layer, SagaStore.layerMemory)
      const entries = yield* Effect.provide(stored, Layer.provideMerge(PostLive, engine))
      const errors = entries.flatMap((entry) => entry._tag === "StepFailed" ? [entry.error] : [])
      assert.deepStrictEqual(errors, [["no stock"]])
    }))
})
