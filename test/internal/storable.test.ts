import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { type Limits, storable } from "../../src/internal/storable.ts"

const limits: Limits = { depth: 50, size: 10_000 }

const refusal = (value: unknown) => {
  const result = storable(value, limits)
  assert(Result.isFailure(result), "it was accepted")
  return result.failure
}

const nested = (depth: number): unknown => {
  let value: unknown = 1
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { value }
  return value
}

describe("what can be stored", () => {
  it("is the JSON of any JSON value", () => {
    fc.assert(fc.property(fc.jsonValue({ stringUnit: "grapheme", maxDepth: 6 }), (value) => {
      const json = JSON.stringify(value)
      fc.pre(!json.includes("\\u0000") && json.length <= limits.size)
      assert.deepStrictEqual(storable(value, limits), Result.succeed(json))
    }))
  })

  it("may look suspicious without being so", () => {
    const harmless = ["\\u0000", "\\ud800", "null", null, [null], { null: null }, "[".repeat(200), "🦕", "\\\"[[["]
    for (const value of harmless) {
      assert.deepStrictEqual(storable(value, limits), Result.succeed(JSON.stringify(value)))
    }
  })

  it("may nest as deep as the limit", () => {
    assert.isTrue(Result.isSuccess(storable(nested(50), limits)))
    assert.isTrue(Result.isSuccess(storable([nested(49), "}".repeat(500)], limits)))
  })

  it("may be as long as the limit", () => {
    assert.isTrue(Result.isSuccess(storable("x".repeat(limits.size - 2), limits)))
  })
})

describe("what is refused", () => {
  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  for (
    const [what, value, problem, path] of [
      ["NUL in a text", { user: { name: "a\u0000b" } }, "nul", "$.user.name"],
      ["NUL in a key", [{ "a\u0000": 1 }], "nul", "$[0][\"a\\u0000\"]"],
      ["half of a surrogate pair", ["ok", "\ud800"], "surrogate", "$[1]"],
      ["half of a surrogate pair in a key", { "\udc00": 1 }, "surrogate", "$[\"\\udc00\"]"],
      ["NaN", { total: Number.NaN }, "number", "$.total"],
      ["infinity", [1, Number.POSITIVE_INFINITY], "number", "$[1]"],
      ["undefined", undefined, "type", "$"],
      ["undefined in an array", { list: [undefined] }, "type", "$.list[0]"],
      ["a bigint", { "my total": 1n }, "type", "$[\"my total\"]"],
      ["a function", () => 1, "type", "$"],
      ["a symbol", Symbol("s"), "type", "$"],
      ["an object that holds itself", cyclic, "depth", `$${".self".repeat(12)}...`],
      ["what is one level too deep", { a: nested(50) }, "depth", undefined],
      ["what is too deep for JSON.stringify", nested(100_000), "depth", undefined],
      ["what is too long", { items: [1, { note: "x".repeat(20_000) }] }, "size", "$.items[1].note"],
      ["a list that is too long", { items: Array.from({ length: 9_000 }, () => 1) }, "size", "$.items"]
    ] as const
  ) {
    it(`${what}, by name and path`, () => {
      const error = refusal(value)
      assert.strictEqual(error.problem, problem)
      if (path !== undefined) assert.strictEqual(error.path, path)
      assert.match(error.message, /^\$.* cannot be stored: .+\. \w.+\.$/s)
      assert.isBelow(error.message.length, 400)
    })
  }

  it("a NUL or a lone surrogate wherever it is", () => {
    fc.assert(fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
      let found = false
      JSON.stringify(value, (key, child) => {
        const texts = typeof child === "string" ? [key, child] : [key]
        if (texts.some((text) => text.includes("\u0000") || !text.isWellFormed())) found = true
        return child
      })
      assert.strictEqual(Result.isFailure(storable(value, { depth: 50, size: 1e9 })), found)
    }))
  })
})
