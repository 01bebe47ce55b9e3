/** Opens a folder, says so, and keeps it open; or says why it cannot. `without-peer` hides PGlite from it. */
import { Effect } from "effect"
import { Pglite } from "effect-saga/pglite"
import { registerHooks } from "node:module"

const [, , dataDir, mode] = process.argv

if (mode === "without-peer") {
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === "@electric-sql/pglite") {
        throw Object.assign(new Error(`Cannot find package '${specifier}'`), { code: "ERR_MODULE_NOT_FOUND" })
      }
      return next(specifier, context)
    }
  })
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

say("started")
await Effect.sync(() => say("open")).pipe(
  Effect.andThen(Effect.never),
  Effect.provide(Pglite.layer({ dataDir })),
  Effect.catch((error) => Effect.sync(() => say(`${error.reason._tag}: ${error.message}`))),
  Effect.runPromise
)
