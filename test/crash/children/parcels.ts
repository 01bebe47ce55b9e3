/** Runs the sagas of `test/utils/Parcels.ts` until it is killed. */
import { Effect, Layer } from "effect"
import { writeSync } from "node:fs"
import * as Parcels from "../../utils/Parcels.ts"

const [, , url = "", schema = ""] = process.argv

await Effect.gen(function*() {
  yield* Layer.build(Parcels.layer(url, schema))
  writeSync(1, "ready\n")
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.runPromise)
