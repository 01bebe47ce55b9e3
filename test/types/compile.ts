/**
 * Compiles programs with the TypeScript that users run, in a folder of their own.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Compiled {
  /** In the order of the files and lines; those of other files are left out. */
  readonly errors: ReadonlyArray<{ readonly file: string; readonly line: number; readonly message: string }>
  readonly types: number
  readonly instantiations: number
}

/** The files lie beside `shop.ts` and import by the public names. */
export const compile = (files: Readonly<Record<string, string>>): Compiled => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "effect-saga-types-")))
  const modules = path.join(folder, "node_modules")
  fs.mkdirSync(modules)
  fs.symlinkSync(root, path.join(modules, "effect-saga"))
  for (const name of ["effect", "@effect", "tstyche", "@types"]) {
    fs.symlinkSync(path.join(root, "node_modules", name), path.join(modules, name))
  }
  fs.copyFileSync(path.join(root, "test/types/shop.ts"), path.join(folder, "shop.ts"))
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text)
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module" }))
  fs.writeFileSync(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({ extends: path.join(root, "tsconfig.json"), files: Object.keys(files), include: [], exclude: [] })
  )
  // One checker, so that the counts are the same on every machine.
  const { stdout } = spawnSync(
    process.execPath,
    [path.join(root, "node_modules/typescript/bin/tsc"), "-p", folder, "--pretty", "false", "--extendedDiagnostics"]
      .concat("--singleThreaded"),
    { cwd: folder, encoding: "utf8", maxBuffer: 2 ** 26 }
  )
  fs.rmSync(folder, { recursive: true, force: true })
  const count = (name: string): number => {
    const found = new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(stdout)
    if (found === null) throw new Error(`tsc did not count:\n${stdout}`)
    return Number(found[1])
  }
  return {
    errors: errorsOf(stdout).filter(({ file }) => file in files),
    types: count("Types"),
    instantiations: count("Instantiations")
  }
}

/** A message goes on as long as its lines are indented. */
const errorsOf = (stdout: string): Compiled["errors"] =>
  stdout.split(/\n(?! )/).flatMap((text) => {
    const found = /^(.+?)\((\d+),\d+\): error TS\d+: ([^]*)$/.exec(text)
    return found === null ? [] : [{ file: found[1]!, line: Number(found[2]), message: found[3]! }]
  })
