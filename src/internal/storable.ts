/**
 * From an encoded value to the JSON text that a store keeps, refusing what no store could give back.
 *
 * Postgres cannot keep a NUL in text, a lone surrogate is not UTF-8, `JSON.stringify` writes a non-finite number as
 * null, and deep or huge values break a batch that also holds the appends of others. All of this is refused here, one
 * value at a time, before there is a batch. The hot path is one `JSON.stringify` and one search of the text: a value is
 * walked only when its text looks suspicious. This module is pure; the limits are given to it.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * How deep a value may nest, and how long its text may be in UTF-16 code units.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  readonly depth: number
  readonly size: number
}

/**
 * A value that no store keeps faithfully. `path` says where in the value, from `$`.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unstorable extends Schema.TaggedError<Unstorable>()("Unstorable", {
  path: Schema.String,
  problem: Schema.Literals(["nul", "surrogate", "depth", "size", "number", "type"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.path} cannot be stored: ${this.detail}`
  }
}

/**
 * The JSON text of a value that a codec has encoded, or why it cannot be stored.
 *
 * **Details**
 *
 * Refused: NUL and lone surrogates in a string or a key, non-finite numbers, a bigint, what is not JSON as the value
 * itself or in an array (undefined, functions, symbols), nesting beyond `limits.depth`, text beyond `limits.size`. A
 * property without a JSON value is left out, as `JSON.stringify` does: codecs do not make such properties.
 *
 * @category constructors
 * @since 0.1.0
 */
export const storable = (value: unknown, limits: Limits): Result.Result<string, Unstorable> => {
  const text = Result.try(() => JSON.stringify(value) as string | undefined)
  // A cycle, a bigint, or nesting beyond the stack.
  if (Result.isFailure(text) || text.success === undefined) {
    return Result.fail(findProblem(value, limits.depth) ?? unknownProblem)
  }
  const json = text.success
  if (json.length > limits.size) return Result.fail(tooLarge(value, json.length, limits.size))
  if (suspicious.test(json) || isDeep(json, limits.depth)) {
    const problem = findProblem(value, limits.depth)
    if (problem !== undefined) return Result.fail(problem)
  }
  return Result.succeed(json)
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/**
 * `JSON.stringify` escapes a NUL as `\u0000` and a lone surrogate as `\ud800` to `\udfff`, and writes a non-finite
 * number, or undefined in an array, as null. The harmless reasons for these texts are told apart by a walk.
 */
const suspicious = /\\u0000|\\ud[89a-f]|null/

const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const quote = 0x22
const backslash = 0x5c

/** Whether the text nests deeper than `limit`. A level takes two brackets, so short texts need no look. */
const isDeep = (json: string, limit: number): boolean => {
  if (json.length <= 2 * limit) return false
  let depth = 0
  for (let index = 0; index < json.length; index++) {
    const code = json.charCodeAt(index)
    if (code === quote) {
      index = endOfString(json, index)
    } else if (code === openBracket || code === openBrace) {
      depth++
      if (depth > limit) return true
    } else if (code === closeBracket || code === closeBrace) {
      depth--
    }
  }
  return false
}

/** The index of the quote that closes the string opened at `start`. */
const endOfString = (json: string, start: number): number => {
  let index = json.indexOf("\"", start + 1)
  while (index !== -1 && isEscaped(json, index)) index = json.indexOf("\"", index + 1)
  return index === -1 ? json.length : index
}

const isEscaped = (json: string, index: number): boolean => {
  let before = index - 1
  while (json.charCodeAt(before) === backslash) before--
  return (index - before) % 2 === 0
}

interface Node {
  readonly value: unknown
  readonly key: string | number | undefined
  readonly parent: Node | undefined
  readonly depth: number
}

/** The first problem in the value, in document order; found without recursion, because the value may be deep. */
const findProblem = (root: unknown, limit: number): Unstorable | undefined => {
  const stack: Array<Node> = [{ value: root, key: undefined, parent: undefined, depth: 0 }]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    const problem = problemOf(node, limit)
    if (problem !== undefined) return problem
    if (typeof node.value !== "object" || node.value === null) continue
    const children = childrenOf(node.value, node)
    for (let index = children.length - 1; index >= 0; index--) stack.push(children[index]!)
  }
  return undefined
}

const childrenOf = (value: object, parent: Node): ReadonlyArray<Node> =>
  Array.isArray(value)
    ? value.map((child, key) => ({ value: child, key, parent, depth: parent.depth + 1 }))
    : Object.entries(value)
      // `JSON.stringify` leaves these out, and a codec that encodes to them says so.
      .filter(([, child]) => child !== undefined)
      .map(([key, child]) => ({ value: child, key, parent, depth: parent.depth + 1 }))

const problemOf = (node: Node, limit: number): Unstorable | undefined => {
  const { key, value } = node
  const inKey = typeof key === "string" ? textProblem(key) : undefined
  if (inKey !== undefined) return refuse(node, inKey, "key")
  switch (typeof value) {
    case "string": {
      const inText = textProblem(value)
      return inText === undefined ? undefined : refuse(node, inText, "text")
    }
    case "number":
      return Number.isFinite(value)
        ? undefined
        : unstorable(node, "number", `${value} is not JSON. Encode it as text, or with Schema.toCodecJson.`)
    case "object":
      return value !== null && node.depth >= limit
        ? unstorable(node, "depth", `it nests deeper than ${limit}, or holds itself. Flatten it, or store a reference.`)
        : undefined
    case "boolean":
      return undefined
    case "undefined":
    case "bigint":
    case "symbol":
    case "function":
      return unstorable(node, "type", `${typeof value} is not JSON. Give it a schema that encodes it.`)
  }
}

const textProblem = (text: string): "nul" | "surrogate" | undefined =>
  text.includes("\u0000") ? "nul" : text.isWellFormed() ? undefined : "surrogate"

const refuse = (node: Node, problem: "nul" | "surrogate", where: "key" | "text"): Unstorable => {
  const what = problem === "nul" ? "the character NUL (\\u0000)" : "half of a surrogate pair"
  return unstorable(node, problem, `its ${where} holds ${what}. Remove it, or encode the bytes as Base64.`)
}

const unstorable = (node: Node, problem: Unstorable["problem"], detail: string): Unstorable =>
  new Unstorable({ path: pathOf(node), problem, detail })

const unknownProblem = new Unstorable({
  path: "$",
  problem: "type",
  detail: "JSON.stringify gave nothing. Give it a schema that encodes it to plain JSON."
})

/** How many steps of a path are shown: a value that is refused for its depth has a path of that length. */
const shownSteps = 12

const pathOf = (node: Node): string => {
  const steps: Array<string> = []
  for (let at: Node | undefined = node; at?.parent !== undefined; at = at.parent) steps.push(stepOf(at.key))
  steps.reverse()
  return `$${steps.slice(0, shownSteps).join("")}${steps.length > shownSteps ? "..." : ""}`
}

const stepOf = (key: string | number | undefined): string =>
  typeof key === "string" && /^[\p{L}_$][\p{L}\p{N}_$]{0,99}$/u.test(key)
    ? `.${key}`
    : `[${JSON.stringify(typeof key === "string" ? key.slice(0, 100) : key)}]`

const lengthOf = (value: unknown): number => (JSON.stringify(value) as string | undefined)?.length ?? 0

/** Names the smallest part that is more than half of the whole: that is what to look at. */
const tooLarge = (value: unknown, length: number, size: number): Unstorable => {
  let node: Node = { value, key: undefined, parent: undefined, depth: 0 }
  let largest: Node | undefined = node
  while (largest !== undefined && typeof largest.value === "object" && largest.value !== null) {
    node = largest
    largest = childrenOf(largest.value, largest).find((child) => 2 * lengthOf(child.value) > length)
  }
  const detail = `it is most of ${length} characters of JSON, and ${size} are allowed. Store a reference to it instead.`
  return unstorable(largest ?? node, "size", detail)
}
