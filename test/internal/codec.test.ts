/**
 * What a codec reads and writes, and where an error of it comes from.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Schema, SchemaGetter } from "effect"
import { codec } from "../../src/internal/codec.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { step: Schema.Int }) {}

const causeOf = (json: Schema.Json, schema: Schema.Codec<unknown, unknown>): unknown => {
  const exit = Effect.runSyncExit(codec(schema).decodeError(json) as Effect.Effect<unknown, unknown>)
  return Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
}

describe("a codec", () => {
  it("is the same one for the same schema", () => {
    assert.strictEqual(codec(Refused), codec(Refused))
  })

  it("reads an error back without a trace of the code that reads it, and lets others have theirs", () => {
    const limit = Error.stackTraceLimit
    const read = codec(Refused).decodeError({ _tag: "Refused", step: 5 })
    assert.isTrue(Exit.isExit(read) && Exit.isSuccess(read) && read.value instanceof Refused)
    assert.notInclude(
      Exit.isExit(read) && Exit.isSuccess(read) && read.value instanceof Refused ? read.value.stack : " at ",
      " at "
    )
    assert.strictEqual(Error.stackTraceLimit, limit)
  })

  it("keeps the trace of what throws while it reads", () => {
    const brokenHere = (): never => {
      throw new Error("the codec is broken")
    }
    const broken = Schema.String.pipe(Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transform(brokenHere),
      encode: SchemaGetter.transform((text: string) => text)
    }))
    const defect = causeOf("text", broken)
    assert.include(defect instanceof Error ? defect.stack : "", "brokenHere")
  })

  it("asks a schema that waits once", () => {
    let asked = 0
    const waiting = Schema.String.pipe(Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transformEffect((text: string) => {
        asked++
        return Effect.as(Effect.yieldNow, text)
      }),
      encode: SchemaGetter.transform((text: string) => text)
    }))
    return Effect.runPromise(codec(waiting).decode("text") as Effect.Effect<unknown>).then((text) => {
      assert.strictEqual(text, "text")
      assert.strictEqual(asked, 1)
    })
  })

  it("says what does not fit", () => {
    assert.include(String(causeOf({ _tag: "Refused", step: "five" }, Refused)), "step")
  })
})
