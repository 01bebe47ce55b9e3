/**
 * The repository's own TypeScript files, parsed: what the tests about the sources read.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { type Comment, type ParseResult, parseSync, Visitor } from "oxc-parser"

/** The repository's folder. */
export const root = fileURLToPath(new URL("../..", import.meta.url))

/** One file. */
export interface Source {
  /** Relative to the repository, with forward slashes. */
  readonly path: string
  readonly text: string
  readonly parsed: ParseResult
}

/** A file that another one names in an import, an export, `import("...")` or an import type. */
export interface Import {
  readonly specifier: string
  readonly start: number
  /** Whether it is gone at run time. */
  readonly isType: boolean
}

const parsed = new Map<string, Source>()

/** Reads one file, given relative to the repository. */
export const readSource = (file: string): Source => {
  const known = parsed.get(file)
  if (known !== undefined) return known
  const text = fs.readFileSync(path.join(root, file), "utf8")
  const source = { path: file, text, parsed: parseSync(file, text) }
  parsed.set(file, source)
  return source
}

/** Every TypeScript file below the folders, in order of path; a folder that does not exist has none. */
export const readSources = (...folders: ReadonlyArray<string>): ReadonlyArray<Source> =>
  folders
    .filter((folder) => fs.existsSync(path.join(root, folder)))
    .flatMap((folder) =>
      fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
        .map((file) => `${folder}/${file.split(path.sep).join("/")}`)
    )
    .filter((file) => file.endsWith(".ts") && !file.includes("/node_modules/"))
    .sort()
    .map(readSource)

/** Every file that the source names, type imports included. */
export const imports = (source: Source): ReadonlyArray<Import> => {
  const { dynamicImports, staticExports, staticImports } = source.parsed.module
  const found: Array<Import> = staticImports.map(({ entries, moduleRequest, start }) => ({
    specifier: moduleRequest.value,
    start,
    isType: entries.length > 0 && entries.every((entry) => entry.isType)
  }))
  for (const { entries } of staticExports) {
    for (const { isType, moduleRequest, start } of entries) {
      if (moduleRequest !== null) found.push({ specifier: moduleRequest.value, start, isType })
    }
  }
  for (const { moduleRequest, start } of dynamicImports) {
    const literal = /^["'](.*)["']$/.exec(source.text.slice(moduleRequest.start, moduleRequest.end))?.[1]
    if (literal !== undefined) found.push({ specifier: literal, start, isType: false })
  }
  new Visitor({
    TSImportType: ({ source: { start, value } }) => {
      found.push({ specifier: value, start, isType: true })
    }
  }).visit(source.parsed.program)
  return found
}

/** The path, relative to the repository, that a relative specifier leads to. */
export const resolveImport = (source: Source, specifier: string): string =>
  path.posix.normalize(path.posix.join(path.posix.dirname(source.path), specifier))

/** The doc comment right above a position. Line comments may stand between. */
export const docAbove = (source: Source, position: number): Comment | undefined => {
  const above = source.parsed.comments.filter((comment) => comment.end <= position)
  let end = position
  for (const comment of above.reverse()) {
    if (source.text.slice(comment.end, end).trim() !== "") return undefined
    if (comment.type === "Block") return comment.value.startsWith("*") ? comment : undefined
    end = comment.start
  }
  return undefined
}

/** Where a position is, as an editor understands it. */
export const at = (source: Source, position: number): string =>
  `${source.path}:${source.text.slice(0, position).split("\n").length}`
