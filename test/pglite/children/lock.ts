/**
 * Takes a lock over from the dead, again and again, against others who do the same. Whoever holds it makes a file that
 * must not exist, removes it, and then "dies": it puts a dead holder's name into the lock. Ends after so many takes,
 * and prints what else it met.
 */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as FolderLock from "../../../src/pglite/internal/folderLock.ts"

const [, , dataDir = "", takes = "0"] = process.argv
const inside = `${dataDir}.inside`

const dead = (): string => JSON.stringify({ pid: 2 ** 22 + 1, started: "never", token: randomUUID() })

const hold = Effect.gen(function*() {
  yield* FolderLock.acquire(dataDir)
  fs.writeFileSync(inside, String(process.pid), { flag: "wx" })
  fs.rmSync(inside)
  const next = `${dataDir}.dead-${process.pid}`
  fs.writeFileSync(next, dead())
  fs.renameSync(next, `${dataDir}.lock`)
}).pipe(Effect.scoped)

let taken = 0
const reasons = new Set<string>()
while (taken < Number(takes)) {
  await Effect.runPromise(Effect.match(hold, {
    onSuccess: () => taken++,
    onFailure: (error) => reasons.add(error.reason._tag)
  }))
}
process.stdout.write(`${JSON.stringify({ taken, reasons: Array.from(reasons) })}\n`)
