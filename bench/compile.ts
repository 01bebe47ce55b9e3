/**
 * What a saga costs the compiler: check time and instantiations of sagas of 5, 50 and 200 steps, each step with a
 * schema, an error and a service of its own, over the same file without steps and saga.
 *
 *     npm run compile
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const rounds = process.argv.includes("--quick") ? 1 : 5
const repeat = (count: number, of: (number: number) => string): string =>
  Array.from({ length: count }, (_, number) => of(number)).join("")

const header = `import { Context, Effect, Schema } from "effect"
import { Saga, Step } from "../../src/index.ts"
`
const own = (number: number): string => `
export class Result${number} extends Schema.Class<Result${number}>("Result${number}")({ n${number}: Schema.Int }) {}
export class Refused${number} extends Schema.TaggedError<Refused${number}>()("Refused${number}", {}) {}
export class Service${number} extends Context.Service<Service${number}, {
  readonly act: Effect.Effect<Result${number}, Refused${number}>
  readonly undo: (result: Result${number}) => Effect.Effect<void>
}>()("Service${number}") {}
`
const step = (number: number): string => `
const step${number} = Step.make("Step${number}", {
  success: Result${number},
  error: Refused${number},
  execute: Service${number}.use((_) => _.act),
  compensate: (result) => Service${number}.use((_) => _.undo(result))
})
`
const empty = (count: number): string => `${header}${repeat(count, own)}export { Effect, Saga, Step }\n`
const saga = (count: number): string =>
  `${header}${repeat(count, own)}${repeat(count, step)}
export const layer = Saga.make("Saga", {
  payload: Schema.Struct({ id: Schema.String }),
  success: Schema.Int,
  error: Schema.Union([${repeat(count, (number) => `Refused${number}, `)}]),
  idempotencyKey: ({ id }) => id
}).toLayer(Effect.fn(function*() {
${repeat(count, (number) => `  const r${number} = yield* step${number}\n`)}  return ${
    repeat(count, (number) => `r${number}.n${number} + `)
  }0
}))
`

// Within the repository, so that the packages are found.
const folder = fs.mkdtempSync(path.join(root, "bench", ".compile-"))
process.once("exit", () => fs.rmSync(folder, { recursive: true, force: true }))

interface Cost {
  readonly seconds: number
  readonly instantiations: number
}

const compile = (text: string): Cost => {
  fs.writeFileSync(path.join(folder, "program.ts"), text)
  fs.writeFileSync(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.json", files: ["program.ts"], include: [], exclude: [] })
  )
  const { stdout } = spawnSync(
    process.execPath,
    [path.join(root, "node_modules/typescript/bin/tsc"), "-p", folder, "--extendedDiagnostics", "--singleThreaded"],
    { cwd: folder, encoding: "utf8", maxBuffer: 2 ** 26 }
  )
  if (stdout.includes("error TS")) throw new Error(stdout.slice(0, 2_000))
  const number = (name: string): number => Number(new RegExp(`^${name}:\\s+([\\d.]+)`, "m").exec(stdout)?.[1])
  return { seconds: number("Check time"), instantiations: number("Instantiations") }
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

console.log("compiling, over a file with the same imports and classes (medians, TypeScript with one checker)")
for (const count of [5, 50, 200]) {
  const seconds: Array<number> = []
  const instantiations: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    const [without, with_] = [compile(empty(count)), compile(saga(count))]
    seconds.push(with_.seconds - without.seconds)
    instantiations.push(with_.instantiations - without.instantiations)
  }
  console.log(
    `${`${count}`.padStart(4)} steps: ${median(seconds).toFixed(3)} s of check time, ${
      median(instantiations).toFixed(0)
    } instantiations`
  )
}
