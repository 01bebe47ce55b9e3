/**
 * The type tests once more, by the TypeScript that users run: what they accept is accepted, and every refusal says its
 * sentence. Tstyche needs another TypeScript, whose messages could differ.
 */
import * as fs from "node:fs"
import { describe, expect, it } from "vitest"
import { compile } from "./compile.ts"

const folder = new URL(".", import.meta.url)
const directive = /^\s*\/\/ @ts-expect-error (.*)$/
const files = fs.readdirSync(folder)
  .filter((file) => file.endsWith(".tst.ts"))
  .map((file) => ({ file, lines: fs.readFileSync(new URL(file, folder), "utf8").split("\n") }))
const compiled = compile(
  Object.fromEntries(
    files.map(({ file, lines }) => [file, lines.map((line) => line.replace("@ts-expect-error", "")).join("\n")])
  )
)

describe.each(files)("$file", ({ file, lines }) => {
  const refused = lines.flatMap((line, index) => {
    const sentence = directive.exec(line)?.[1]
    // The refused line is the one below, counted from 1.
    return sentence === undefined ? [] : [{ line: index + 2, sentence }]
  })

  it("is refused where it says so, and nowhere else", () => {
    const errors = compiled.errors.filter((error) => error.file === file)
    expect(errors.map(({ line, message }) => ({ line, message }))).toEqual(
      refused.map(({ line, sentence }) => ({ line, message: expect.stringContaining(sentence) }))
    )
  })
})
