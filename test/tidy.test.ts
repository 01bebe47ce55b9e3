/**
 * The rules of the house that a test can check.
 *
 * Each rule collects what breaks it, as `file:line what to do`, and expects that to be nothing.
 */
import * as fs from "node:fs"
import { type ExportNamedDeclaration, Visitor } from "oxc-parser"
import { describe, expect, it } from "vitest"
import { mutants } from "./mutation/mutants.ts"
import { at, docAbove, imports, readSources, resolveImport, root, type Source } from "./utils/sources.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the tables: a new module or folder gets its place here
// ---------------------------------------------------------------------------------------------------------------------

/** The core modules, lowest rank first. A module imports from its own rank or below, type imports included. */
const ranks: ReadonlyArray<ReadonlyArray<string>> = [
  [
    "SagaError",
    "ExecutionId",
    "SagaMetrics",
    "internal/limits",
    "internal/heap",
    "internal/blank",
    "internal/codec",
    "internal/eager",
    "internal/registry",
    "internal/storable",
    "internal/timedOut",
    "internal/childRolledBack"
  ],
  [
    "Journal",
    "internal/ref",
    "internal/notation",
    "internal/beginning",
    "internal/fold",
    "internal/records",
    "internal/resolution",
    "internal/wording",
    "internal/scene",
    "internal/story",
    "internal/diagram",
    "internal/explain",
    "Execution",
    "internal/types",
    "internal/engine",
    "internal/attempt",
    "internal/started"
  ],
  [
    "Step",
    "Signal",
    "Timer",
    "Tcc",
    "Saga",
    "internal/step",
    "internal/stepContext",
    "internal/snapshot",
    "internal/messages",
    "internal/continueAsNew",
    "internal/race",
    "internal/scoped",
    "internal/child",
    "internal/version",
    "internal/body",
    "internal/paths",
    "internal/definition",
    "internal/transact"
  ],
  ["SagaStore", "internal/memory"],
  [
    "internal/core",
    "internal/starting",
    "internal/children",
    "internal/receiving",
    "internal/timing",
    "internal/heartbeat",
    "internal/notes",
    "internal/handlers",
    "internal/forward",
    "internal/stepOutcome",
    "internal/compensate",
    "internal/waits",
    "internal/rollback",
    "internal/replay",
    "internal/run",
    "internal/intake",
    "internal/mail",
    "internal/undoing",
    "internal/suspension",
    "internal/alarm",
    "internal/ending",
    "internal/reading",
    "internal/recovery",
    "internal/executor",
    "internal/journalWriter",
    "internal/lease"
  ],
  ["SagaEngine", "SagaWorker", "SagaInspector"]
]

/** The outside worlds: one folder each, which is also the subpath export. They lie above every core module. */
const worlds: ReadonlyArray<string> = ["sql", "pglite", "http", "cluster", "inspection", "testing", "cli"]

/** The only imports from one outside world to another. */
const bridges: ReadonlyArray<readonly [from: string, to: string]> = [["cli", "inspection"]]

/** The only files of src that may catch by hand: they touch the process, for which `.oxlintrc.json` lists them too. */
const mayCatch: ReadonlyArray<string> = ["src/cli/bin.ts"]

/** What may lie at the top of the repository, beside dotfiles and what .gitignore names. */
const topLevel: ReadonlyArray<string> = [
  "CHANGELOG.md",
  "LICENSE",
  "README.md",
  "bench",
  "examples",
  "package-lock.json",
  "package.json",
  "src",
  "test",
  "tsconfig.json"
]

/** 120 columns are for people: a line made of one long word (a key, a URL, a journal's text) is not read. */
const maxColumns = 120
const maxLines = 700

// ---------------------------------------------------------------------------------------------------------------------
// the rules
// ---------------------------------------------------------------------------------------------------------------------

const src = readSources("src")
const all = readSources("src", "test", "examples", "bench")

describe("layout", () => {
  it("has nothing at the top but what a visitor expects there", () => {
    const ignored = fs.readFileSync(`${root}/.gitignore`, "utf8").split("\n")
    const entries = fs.readdirSync(root).filter((entry) => !entry.startsWith(".") && !ignored.includes(entry))
    expect(entries.filter((entry) => !topLevel.includes(entry))).toEqual([])
  })

  it("gives every module a rank", () => {
    expect(
      src.filter((source) => rankOf(source.path) === undefined).map((source) =>
        `${source.path} has no rank: add it to the table in test/tidy.test.ts`
      )
    ).toEqual([])
  })

  it("imports from its own rank or below", () => {
    expect(
      edges().flatMap(({ from, position, to }) => {
        const [ours, theirs] = [rankOf(from.path), rankOf(to)]
        return ours === undefined || theirs === undefined || theirs <= ours
          ? []
          : [`${at(from, position)} rank ${ours} imports ${to}, which is rank ${theirs}`]
      })
    ).toEqual([])
  })

  it("keeps the outside worlds apart", () => {
    expect(
      edges().flatMap(({ from, position, to }) => {
        const [ours, theirs] = [worldOf(from.path), worldOf(to)]
        return ours === undefined || theirs === undefined || ours === theirs ||
            bridges.some(([a, b]) => a === ours && b === theirs)
          ? []
          : [`${at(from, position)} ${ours} imports ${to}: share through a core module`]
      })
    ).toEqual([])
  })

  it("has no import cycle at run time", () => {
    const graph = new Map<string, Array<string>>()
    for (const { from, isType, to } of edges()) {
      if (!isType) graph.set(from.path, [...graph.get(from.path) ?? [], to])
    }
    expect(cyclesOf(graph)).toEqual([])
  })

  it("imports no index.ts", () => {
    expect(
      edges().filter(({ to }) => to.endsWith("/index.ts")).map(({ from, position, to }) =>
        `${at(from, position)} imports ${to}: import the module itself`
      )
    ).toEqual([])
  })

  it("ends relative imports in .ts", () => {
    expect(all.flatMap((source) =>
      imports(source)
        .filter(({ specifier }) => specifier.startsWith(".") && !specifier.endsWith(".ts"))
        .map(({ specifier, start }) => `${at(source, start)} imports ${specifier}`)
    )).toEqual([])
  })

  it("numbers the examples; they and their support rely on the public names only", () => {
    const examples = readSources("examples")
    const named = /^examples\/(?:\d\d-[a-z0-9-]+|support\/[a-z0-9-]+)\.ts$/
    expect([
      ...examples.map((source) => source.path).filter((file) => !named.test(file)),
      ...examples.flatMap((source) =>
        imports(source)
          .filter(({ specifier }) => specifier.startsWith(".") && !/^\.\/(?:support\/)?[a-z0-9-]+\.ts$/.test(specifier))
          .map(({ specifier, start }) => `${at(source, start)} imports ${specifier}`)
      )
    ]).toEqual([])
  })
})

describe("text", () => {
  it(`has at most ${maxColumns} columns`, () => {
    expect(
      all.flatMap((source) =>
        source.text.split("\n").flatMap((line, index) =>
          line.length > maxColumns && /\S\s+\S/.test(line.trim().slice(0, maxColumns))
            ? [`${source.path}:${index + 1} has ${line.length} columns`]
            : []
        )
      )
    ).toEqual([])
  })

  it(`has at most ${maxLines} lines a module`, () => {
    expect(src.flatMap((source) => {
      const lines = source.text.trimEnd().split("\n").length
      return lines > maxLines ? [`${source.path} has ${lines} lines: split it by noun`] : []
    })).toEqual([])
  })

  it("leaves no note to do something later", () => {
    expect(all.flatMap((source) =>
      source.parsed.comments
        .filter((comment) => /\b(?:TODO|FIXME|XXX|HACK)\b/.test(comment.value))
        .map((comment) => at(source, comment.start))
    )).toEqual([])
  })

  it("begins every module with what it is", () => {
    expect(
      src.filter((source) => !hasHeader(source)).map((source) =>
        `${source.path}:1 begin with a doc comment that says what the module is, relies on and never does, with @since`
      )
    ).toEqual([])
  })

  it("documents every public export, with its category and since when", () => {
    expect(src.filter((source) => !isInternal(source.path) && !isIndex(source.path)).flatMap(undocumented)).toEqual([])
  })
})

describe("known bugs", () => {
  it("stand where they are planted", () => {
    const lost = mutants.filter(({ file, find }) => {
      const { text } = src.find(({ path }) => path === file) ?? { text: "" }
      return text.split(find).length !== 2
    })
    expect(lost.map(({ bug, file }) => `${file} has no one place for: ${bug}`)).toEqual([])
  })
})

describe("code", () => {
  it("has classes only for services, errors and schema models", () => {
    expect(src.flatMap((source) =>
      collect(source, (found) => ({
        ClassDeclaration: (node) => {
          if (node.superClass === null) found(node.start, "write an interface and a constructor instead of a class")
        }
      }))
    )).toEqual([])
  })

  it("catches nothing by hand", () => {
    expect(
      src.filter((source) => !mayCatch.includes(source.path)).flatMap((source) =>
        collect(source, (found) => ({
          TryStatement: (node) => {
            if (node.handler !== null) found(node.start, "use Effect.try or Result.try")
          }
        }))
      )
    ).toEqual([])
  })

  it("names every case of a union: no default branch", () => {
    expect(src.flatMap((source) =>
      collect(source, (found) => ({
        SwitchCase: (node) => {
          if (node.test === null) {
            found(node.start, "name the cases, so that the compiler finds the one that is missing")
          }
        }
      }))
    )).toEqual([])
  })

  it("runs every test: none is left out, none is run alone", () => {
    expect(
      readSources("test").flatMap((source) =>
        collect(source, (found) => ({
          MemberExpression: (node) => {
            const name = node.property.type === "Identifier" ? node.property.name : ""
            const callee = source.text.slice(node.object.start, node.object.end)
            if (["only", "skip", "todo", "fails"].includes(name) && /^(?:it|test|describe|layer)\b/.test(callee)) {
              found(node.start, `${callee}.${name}`)
            }
          }
        }))
      )
    ).toEqual([])
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const isIndex = (file: string): boolean => file.endsWith("/index.ts")

const isInternal = (file: string): boolean => file.includes("/internal/")

/** The outside world that a file of src belongs to. */
const worldOf = (file: string): string | undefined => worlds.find((world) => file.startsWith(`src/${world}/`))

/** The outside worlds lie above the core, and those that a bridge begins at above the others. */
const rankOf = (file: string): number | undefined => {
  if (file === "src/index.ts") return Infinity
  const world = worldOf(file)
  if (world !== undefined) return ranks.length + (bridges.some(([from]) => from === world) ? 1 : 0)
  const module = file.slice("src/".length, -".ts".length)
  const rank = ranks.findIndex((modules) => modules.includes(module))
  return rank === -1 ? undefined : rank
}

interface Edge {
  readonly from: Source
  readonly to: string
  readonly position: number
  readonly isType: boolean
}

/** Every import inside src; those of the tables of contents aside. */
const edges = (): ReadonlyArray<Edge> =>
  src.filter((source) => !isIndex(source.path)).flatMap((from) =>
    imports(from)
      .filter(({ specifier }) => specifier.startsWith("."))
      .map(({ isType, specifier, start }) => ({ from, to: resolveImport(from, specifier), position: start, isType }))
  )

/** One line for each cycle that a depth-first search closes. */
const cyclesOf = (graph: ReadonlyMap<string, ReadonlyArray<string>>): ReadonlyArray<string> => {
  const found: Array<string> = []
  const done = new Set<string>()
  const visit = (file: string, path: ReadonlyArray<string>): void => {
    if (path.includes(file)) {
      found.push([...path.slice(path.indexOf(file)), file].join(" -> "))
      return
    }
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return found
}

const hasHeader = (source: Source): boolean => {
  const [header] = source.parsed.comments
  if (header === undefined || !header.value.startsWith("*") || !header.value.includes("@since")) return false
  const above = source.text.slice(0, header.start)
  if (above.trim() !== "" && !above.startsWith("#!")) return false
  // A comment right above the first declaration documents that declaration.
  const [first] = source.parsed.program.body
  return first === undefined || first.type === "ImportDeclaration" || first.type === "ExportAllDeclaration" ||
    docAbove(source, first.start) !== header
}

/** What is wrong with the docs of a module's exports. The first of several overloads speaks for all. */
const undocumented = (source: Source): ReadonlyArray<string> => {
  const found: Array<string> = []
  const overloaded = new Set<string>()
  const require = (position: number, name: string, tags: ReadonlyArray<string>) => {
    const doc = docAbove(source, position)
    const missing = doc === undefined ? ["doc comment"] : tags.filter((tag) => !doc.value.includes(tag))
    if (missing.length > 0) found.push(`${at(source, position)} ${name} has no ${missing.join(", no ")}`)
  }
  const visit = (statement: ExportNamedDeclaration, tags: ReadonlyArray<string>) => {
    const { declaration } = statement
    if (declaration === null) {
      // `export { x }` is documented as a whole, or name by name.
      for (const specifier of statement.specifiers) {
        const name = source.text.slice(specifier.exported.start, specifier.exported.end)
        const own = docAbove(source, specifier.start)
        require(own === undefined ? statement.start : specifier.start, name, tags)
      }
      return
    }
    const name = nameOf(declaration)
    if (overloaded.has(name)) return
    if (declaration.type === "TSDeclareFunction") overloaded.add(name)
    require(statement.start, name, tags)
    if (declaration.type !== "TSModuleDeclaration" || declaration.body?.type !== "TSModuleBlock") return
    for (const inner of declaration.body.body) {
      if (inner.type === "ExportNamedDeclaration") visit(inner, ["@since"])
    }
  }
  for (const statement of source.parsed.program.body) {
    if (statement.type === "ExportNamedDeclaration") visit(statement, ["@category", "@since"])
  }
  return found
}

const nameOf = (declaration: NonNullable<ExportNamedDeclaration["declaration"]>): string => {
  if (declaration.type === "VariableDeclaration") {
    const [first] = declaration.declarations
    return first?.id.type === "Identifier" ? first.id.name : "a pattern"
  }
  return "id" in declaration && declaration.id?.type === "Identifier" ? declaration.id.name : "a declaration"
}

/** Walks the syntax and collects what a visitor complains of. */
const collect = (
  source: Source,
  visitor: (found: (position: number, sentence: string) => void) => ConstructorParameters<typeof Visitor>[0]
): ReadonlyArray<string> => {
  const complaints: Array<string> = []
  new Visitor(visitor((position, sentence) => complaints.push(`${at(source, position)} ${sentence}`)))
    .visit(source.parsed.program)
  return complaints
}
