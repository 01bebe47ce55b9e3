/**
 * What the package gives away: every subpath leads to a source, and every public name is listed in
 * `exports.snapshot.txt`. A name that comes or goes changes that file (`npm test -- exports -u` writes it), so it is
 * seen in a review.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "vitest"
import { readSource, resolveImport, root } from "./utils/sources.ts"

interface Conditions {
  readonly "effect-saga/source": string
  readonly types: string
  readonly default: string
}

interface Manifest {
  readonly name: string
  readonly exports: Readonly<Record<string, string | Conditions>>
}

const manifest: Manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))

/** Public name and files of every entry point, `./package.json` aside. */
const entryPoints: ReadonlyArray<readonly [name: string, conditions: Conditions]> = Object.entries(manifest.exports)
  .flatMap(([subpath, target]) =>
    typeof target === "string" ? [] : [[manifest.name + subpath.slice(1), target] as const]
  )

describe.each(entryPoints)("%s", (name, conditions) => {
  const source = conditions["effect-saga/source"]

  it("leads to a source that exists", () => {
    expect(fs.existsSync(path.join(root, source)), source).toBe(true)
  })

  it("leads to what that source is compiled to", () => {
    const compiled = source.replace("./src/", "./dist/")
    expect(conditions).toEqual({
      "effect-saga/source": source,
      types: compiled.replace(/\.ts$/, ".d.ts"),
      default: compiled.replace(/\.ts$/, ".js")
    })
    // A runtime takes the first condition that it knows.
    expect(Object.keys(conditions)).toEqual(["effect-saga/source", "types", "default"])
  })

  it("can be imported, and has the names that its source declares", async () => {
    const module: Readonly<Record<string, unknown>> = await import(/* @vite-ignore */ name)
    const declared = exportsOf(source.slice("./".length)).filter((entry) => !entry.isType)
    expect(Object.keys(module).sort()).toEqual(declared.map((entry) => entry.name).sort())
  })
})

it("gives away the names that are listed", async () => {
  const text = entryPoints
    .map(([name, conditions]) => [name, conditions["effect-saga/source"].slice("./".length)] as const)
    .filter(([, source]) => fs.existsSync(path.join(root, source)))
    .map(([name, source]) => `${name}\n${listOf(source, "  ")}`)
    .join("\n")
  await expect(text).toMatchFileSnapshot("exports.snapshot.txt")
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Exported {
  readonly name: string
  readonly isType: boolean
  /** The module that this name is a namespace of. */
  readonly namespaceOf: string | undefined
}

/** What a module exports, as written; a constant and a type of one name are two. */
const exportsOf = (file: string): ReadonlyArray<Exported> => {
  const source = readSource(file)
  return source.parsed.module.staticExports.flatMap(({ entries }) =>
    entries.flatMap(({ exportName, importName, isType, moduleRequest }): ReadonlyArray<Exported> => {
      const from = moduleRequest === null ? undefined : resolveImport(source, moduleRequest.value)
      if (exportName.name === null) return from === undefined ? [] : exportsOf(from)
      const namespaceOf = importName.kind === "All" ? from : undefined
      return [{ name: exportName.name, isType, namespaceOf }]
    })
  )
}

const listOf = (file: string, indent: string): string => {
  const lines = exportsOf(file).map(({ isType, name, namespaceOf }) =>
    `${indent}${name}${isType ? " (type)" : ""}\n${namespaceOf === undefined ? "" : listOf(namespaceOf, indent + "  ")}`
  )
  return [...new Set(lines)].sort().join("")
}
