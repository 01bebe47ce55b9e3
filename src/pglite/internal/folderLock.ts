/**
 * One opener per database folder: a lock file beside it that names its holder, taken over when the holder is dead.
 *
 * PGlite takes no lock of its own, and two engines on one folder silently lose each other's rows. A kernel lock is out
 * of Node's reach, so a holder is known by its process id and the time its process started (Linux: a recycled id is
 * not mistaken for the holder; elsewhere the id alone has to do).
 *
 * **The algorithm.** A file comes into being by `link`, complete and only if its name is free. A lock is *succeeded*
 * rather than deleted: whoever finds its holder dead links its own file at a name made from the dead holder's token.
 * Tokens never return, so of any number of takers one gets that name, and while it holds it nobody else may touch the
 * lock. It then reads the lock again, because another taker may have come and gone before; if that still names the
 * same dead holder, it renames its file onto the lock. A taker that dies in between is a dead holder at the end of a
 * chain, and is succeeded in the same way.
 *
 * It relies on hard links and on seeing all processes: containers or machines that share a folder see different
 * processes and are not kept apart.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { FolderInUse, OpenFailed, PgliteError } from "../PgliteError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Who holds a lock.
 *
 * `started` tells two processes of one id apart; empty where the platform does not say.
 */
// Persistent: the content of the lock file.
const Holder = Schema.Struct({ pid: Schema.Int, started: Schema.String, token: Schema.String })
type Holder = typeof Holder.Type

const HolderJson = Schema.fromJsonString(Holder)
const decodeHolder = Schema.decodeUnknownOption(HolderJson)
const encodeHolder = Schema.encodeSync(HolderJson)

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** Holds the folder until the scope closes; fails at once when somebody else holds it. */
export const acquire = (dataDir: string): Effect.Effect<void, PgliteError, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.suspend(() => {
      const me: Holder = { pid: process.pid, started: startOf(process.pid) ?? "", token: randomUUID() }
      return Effect.flatMap(
        Effect.try({ try: () => take(`${dataDir}.lock`, me), catch: (cause) => lockFailed(dataDir, cause) }),
        (other) => other === undefined ? Effect.succeed(me) : Effect.fail(inUse(dataDir, other))
      )
    }),
    (me) => Effect.sync(() => release(`${dataDir}.lock`, me))
  ))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** Every turn of the loop means that another opener came or went in between. */
const maxTurns = 1_000

const lockFailed = (dataDir: string, cause: unknown): PgliteError =>
  new PgliteError({
    reason: new OpenFailed({ dataDir, while: "taking the lock beside its folder", output: "", cause })
  })

const inUse = (dataDir: string, holder: Holder): PgliteError =>
  new PgliteError({ reason: new FolderInUse({ dataDir, pid: holder.pid, here: holder.pid === process.pid }) })

/** Takes the lock, or answers who has it. */
const take = (lock: string, me: Holder): Holder | undefined => {
  const mine = `${lock}.${me.token}.new`
  let last: Holder | undefined
  for (let turn = 0; turn < maxTurns; turn++) {
    const holders = readChain(lock)
    last = holders.at(-1)
    if (last !== undefined && isAlive(last)) return last
    const place = last === undefined ? lock : successor(lock, last)
    fs.writeFileSync(mine, encodeHolder(me))
    const taken = linkUnlessTaken(mine, place)
    const confirmed = taken && (last === undefined || isSame(readChain(lock), [...holders, me]))
    if (confirmed && last !== undefined) fs.renameSync(mine, lock)
    fs.rmSync(mine, { force: true })
    if (confirmed) {
      for (const holder of holders) fs.rmSync(successor(lock, holder), { force: true })
      sweep(lock)
      return undefined
    }
    if (taken) fs.rmSync(place, { force: true })
  }
  return last
}

const release = (lock: string, me: Holder): void => {
  if (readHolder(lock)?.token === me.token) fs.rmSync(lock, { force: true })
}

/** The name at which the holder is succeeded. */
const successor = (lock: string, holder: Holder): string => `${lock}.${holder.token}`

/** The holder and those who set out to succeed it; the last one is who counts. */
const readChain = (lock: string): ReadonlyArray<Holder> => {
  const holders: Array<Holder> = []
  for (let next = lock;;) {
    const holder = readHolder(next)
    if (holder === undefined || holders.some((_) => _.token === holder.token)) return holders
    holders.push(holder)
    next = successor(lock, holder)
  }
}

const isSame = (left: ReadonlyArray<Holder>, right: ReadonlyArray<Holder>): boolean =>
  left.length === right.length && left.every((holder, index) => holder.token === right[index]?.token)

/** A file that was cut off by a power loss names nobody who is still alive. */
const unreadable: Holder = { pid: 0, started: "", token: "unreadable" }

const readHolder = (file: string): Holder | undefined => {
  const content = unlessMissing(() => fs.readFileSync(file, "utf8"))
  return content === undefined ? undefined : Option.getOrElse(decodeHolder(content), () => unreadable)
}

const linkUnlessTaken = (file: string, place: string): boolean => {
  const linked = Result.try(() => fs.linkSync(file, place))
  if (Result.isSuccess(linked)) return true
  // The lock's holder may sweep a file of ours that it takes for a dead one's; then this turn is lost, no more.
  if (hasCode(linked.failure, "EEXIST") || hasCode(linked.failure, "ENOENT")) return false
  throw linked.failure
}

/** Removes what dead takers left beside the lock. Only its holder does this, so nothing there is still in use. */
const sweep = (lock: string): void => {
  const folder = path.dirname(lock)
  const prefix = `${path.basename(lock)}.`
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith(prefix)) continue
    const file = path.join(folder, name)
    const holder = readHolder(file)
    if (holder !== undefined && !isAlive(holder)) fs.rmSync(file, { force: true })
  }
}

const isAlive = (holder: Holder): boolean => {
  if (holder.pid <= 0) return false
  const signalled = Result.try(() => process.kill(holder.pid, 0))
  if (Result.isFailure(signalled) && hasCode(signalled.failure, "ESRCH")) return false
  const started = startOf(holder.pid)
  return started === undefined || holder.started === "" || started === holder.started
}

/**
 * When a process started: the boot of the machine and the clock ticks since. A process that is dead and only waits
 * for its parent counts as not started. `undefined` where there is no `/proc`.
 */
const startOf = (pid: number): string | undefined => {
  const stat = unlessMissing(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  if (stat === undefined) return undefined
  const boot = unlessMissing(() => fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8")) ?? ""
  // The command, the second field, is in parentheses and may hold anything. The state is the third, the start the 22nd.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return fields[0] === "Z" || fields[0] === "X" ? "ended" : `${boot.trim()}/${fields[19] ?? ""}`
}

/** A process that ends while its entry is read makes that ESRCH. */
const unlessMissing = <A>(read: () => A): A | undefined => {
  const result = Result.try(read)
  if (Result.isSuccess(result)) return result.success
  if (hasCode(result.failure, "ENOENT") || hasCode(result.failure, "ESRCH")) return undefined
  throw result.failure
}

const hasCode = (error: unknown, code: string): boolean => Predicate.hasProperty(error, "code") && error.code === code
