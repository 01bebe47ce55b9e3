/**
 * What the README shows has run: its programs are cut from examples and from this file, or compile; its messages are
 * those that the type tests match; what it quotes from a run is what the example prints.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schedule, Schema } from "effect"
import { Saga, SagaError, Step } from "effect-saga"
import { SagaTest } from "effect-saga/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import { compile } from "./types/compile.ts"
import { readSources, root } from "./utils/sources.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the test that the README shows
// ---------------------------------------------------------------------------------------------------------------------

class NobodyHome extends Schema.TaggedError<NobodyHome>()("NobodyHome", {}) {}

const Deliver = Saga.make("Deliver", {
  payload: Schema.String,
  success: Schema.String,
  error: NobodyHome,
  idempotencyKey: (parcel) => parcel
})

const DeliverLive = Deliver.toLayer((parcel) =>
  Step.make("RingTheBell", {
    success: Schema.String,
    error: NobodyHome,
    execute: Effect.succeed(`${parcel} is delivered`),
    retry: Schedule.spaced("1 day"),
    compensate: () => Effect.void
  })
)

it.effect("is tried again on the next day", () =>
  Effect.gen(function*() {
    yield* SagaTest.fail("RingTheBell", new NobodyHome(), { times: 2 })
    assert.deepStrictEqual(yield* SagaTest.run(Deliver.execute("a book")), Exit.succeed("a book is delivered"))
    const acts = yield* SagaTest.SagaTest.use((test) => test.acts)
    assert.deepStrictEqual(acts.map(({ at, name }) => `${name} on day ${at / 86_400_000}`), [
      "RingTheBell on day 0",
      "RingTheBell on day 1",
      "RingTheBell on day 2"
    ])
  }).pipe(Effect.provide(DeliverLive.pipe(Layer.provideMerge(SagaTest.layer)))))

// ---------------------------------------------------------------------------------------------------------------------
// the README
// ---------------------------------------------------------------------------------------------------------------------

const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
const squeeze = (text: string): string => text.replaceAll(/\s+/g, " ").trim()
const blocks = (language: string): ReadonlyArray<string> =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))].map(([, text]) => text!)
const directive = /^\s*\/\/ @ts-expect-error (.*)$/

/** Programs with imports of their own stand alone; the others are cut from a file. */
const programs = blocks("ts").filter((text) => text.includes("import "))
const excerpts = blocks("ts").filter((text) => !text.includes("import "))

describe("README.md", () => {
  it("shows programs that compile, and one that is refused where it says so", () => {
    assert.isAbove(programs.length, 1)
    const files = Object.fromEntries(programs.map((text, index) => [`readme${index}.ts`, text]))
    const compiled = compile(
      Object.fromEntries(Object.entries(files).map(([file, text]) => [file, text.replace("@ts-expect-error", "")]))
    )
    const expected = Object.entries(files).flatMap(([file, text]) =>
      text.split("\n").flatMap((line, index) => {
        const sentence = directive.exec(line)?.[1]
        return sentence === undefined ? [] : [{ file, line: index + 2, sentence }]
      })
    )
    assert.deepStrictEqual(
      compiled.errors.map(({ file, line }) => ({ file, line })),
      expected.map(({ file, line }) => ({ file, line }))
    )
    for (const [index, { sentence }] of expected.entries()) assert.include(compiled.errors[index]!.message, sentence)
  })

  it("cuts everything else from what runs", () => {
    assert.isAbove(excerpts.length, 3)
    const sources = readSources("examples", "test").map(({ text }) => squeeze(text))
    const made = excerpts.filter((excerpt) => !sources.some((source) => source.includes(squeeze(excerpt))))
    assert.deepStrictEqual(made, [])
  })

  it("has the numbers of the chart", () => {
    const chart = fs.readFileSync(path.join(root, "bench/chart.svg"), "utf8")
    const drawn = [...chart.matchAll(/>([\d.]+)<\/text>/g)].map(([, number]) => number)
    const table = readme.slice(readme.indexOf("| sagas of five steps a second |")).split("\n\n")[0]!
    const numbers = table.split("\n").slice(2).flatMap((row) => row.split("|").slice(2, -1).map((cell) => cell.trim()))
    assert.strictEqual(numbers.length, 12)
    assert.deepStrictEqual(numbers.filter((number) => !drawn.includes(number)), [])
  })

  it("quotes what an example prints", () => {
    const printed = readSources("examples").flatMap(({ text }) => text.split("\n").map((line) => line.slice(3)))
    const quoted = blocks("text").flatMap((text) => text.trimEnd().split("\n"))
    assert.isAbove(quoted.length, 0)
    assert.deepStrictEqual(quoted.filter((line) => !printed.includes(line)), [])
  })

  it("gives the compiler's messages as the type tests match them", () => {
    const matched = readSources("test/types").flatMap(({ text }) => text.split("\n")).flatMap((line) =>
      directive.exec(line)?.[1] ?? []
    )
    const rows = [...readme.matchAll(/^\| (T\d+) \|.*\| `(.*)` \|$/gm)].map(([, theorem, message]) => ({
      theorem: theorem!,
      message: message!.replaceAll("\\`", "`")
    }))
    assert.deepStrictEqual(rows.map(({ theorem }) => theorem), [
      ...Array.from({ length: 10 }, (_, i) => `T${i + 1}`),
      "T12",
      "T13",
      "T14"
    ])
    // A sentence that ends the line above its test is matched by its end.
    const sentences = fs.readFileSync(path.join(root, "src/internal/types.ts"), "utf8")
    const isTested = (message: string): boolean =>
      matched.some((line) => line.includes(message)) ||
      sentences.includes(`"${message}"`) &&
        matched.some((line) => line.includes(`${message.split(" ").slice(-2).join(" ")}"`))
    assert.deepStrictEqual(rows.filter(({ message }) => !isTested(message)), [])
  })

  it("names every reason of SagaError and every reason to park", () => {
    const { members: reasons } = SagaError.SagaError.fields.reason
    const rows = [...readme.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name!)
    const names = (members: ReadonlyArray<{ readonly fields: { readonly _tag: { readonly schema: unknown } } }>) =>
      members.map(({ fields }) => (fields._tag.schema as Schema.Literal<string>).literal)
    assert.sameMembers(rows, names(reasons))
    for (const name of names(SagaError.ParkReason.members)) assert.include(readme, `\`${name}\``)
  })

  it("links to files that exist, and names commands that package.json has", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, file]) => file!)
    const headings = [...readme.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      `#${heading!.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-")}`
    )
    const leadsNowhere = (link: string) =>
      link.startsWith("#") ? !headings.includes(link) : !fs.existsSync(path.join(root, link))
    assert.deepStrictEqual(links.filter(leadsNowhere), [])
    const scripts: Readonly<Record<string, string>> =
      JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")).scripts
    const named = /`npm (?:run )?(start|test|check[\w:]*|crash|simulate|mutate|bench[\w:]*)(?=`| )/g
    const commands = [...readme.matchAll(named)].map(([, name]) => name!)
    assert.deepStrictEqual(commands.filter((name) => scripts[name] === undefined), [])
  })
})
