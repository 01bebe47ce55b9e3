/**
 * Bugs that somebody could make, one at a time: what is changed, and the tests that must notice.
 */

export interface Mutant {
  /** What is wrong, as a sentence. */
  readonly bug: string
  readonly file: string
  /** Occurs exactly once in the file. */
  readonly find: string
  readonly replace: string
  readonly tests: ReadonlyArray<string>
  /** Runs only the tests whose names match. */
  readonly only?: string
}

const crash = ["test/crash/everywhere.test.ts"]
const dies = "rule 36.* > (four|a scope|a compensation|retries|timeouts|a pivot)"
const memory = ["test/contract/memory.test.ts"]
const lock = ["test/semantics/lock.test.ts", "test/internal/journalWriter.test.ts"]
const doubt = ["test/semantics/doubt.test.ts"]
const replay = ["test/semantics/replay.test.ts", "test/semantics/body.test.ts"]
const rollback = ["test/semantics/rollback.test.ts", "test/semantics/compensation.test.ts"]
const notation = ["test/internal/notation.test.ts"]
const inspector = ["test/SagaInspector.test.ts"]
const signals = ["test/semantics/signals.test.ts"]
const children = ["test/semantics/child.test.ts"]
const races = ["test/semantics/race.test.ts"]
const generations = ["test/semantics/continueAsNew.test.ts"]
const heartbeat = ["test/semantics/heartbeat.test.ts"]
const suspension = ["test/semantics/suspension.test.ts"]

export const mutants: ReadonlyArray<Mutant> = [
  {
    bug: "a step acts before its intent is durable",
    file: "src/internal/intake.ts",
    find: "if (Forward.acts(request)) run.startDurable.push(task)",
    replace: "if (Forward.acts(request)) run.startNow.push(task)",
    tests: crash,
    only: dies
  },
  {
    bug: "compensations run in the order of their steps",
    file: "src/internal/rollback.ts",
    find: "    for (const one of held) {\n      if (!isSettled(one)) yield* Scope",
    replace: "    for (const one of held.toReversed()) {\n      if (!isSettled(one)) yield* Scope",
    tests: rollback
  },
  {
    bug: "an append loses its last entry",
    file: "src/internal/executor.ts",
    find: "entries: Notation.append(core.pending, core.at),",
    replace: "entries: Notation.append(core.pending.slice(0, Math.max(1, core.pending.length - 1)), core.at),",
    tests: replay
  },
  {
    bug: "every entry of an append gets its time",
    file: "src/internal/notation.ts",
    find: "if (at !== shared) parts",
    replace: "if (shared === undefined) parts",
    tests: notation
  },
  {
    bug: "an entry is written as its values are when it is sent",
    file: "src/internal/executor.ts",
    find: "entries: Notation.append(core.pending, core.at),",
    replace: "entries: Notation.append(core.pending.map(({ entry }) => Notation.write(entry)), core.at),",
    tests: ["test/semantics/codecs.test.ts"]
  },
  {
    bug: "a heartbeat is recorded as its details are then",
    file: "src/internal/heartbeat.ts",
    find: "take(core, this, beats, checked?.success)",
    replace: "take(core, this, beats, details)",
    tests: ["test/semantics/heartbeat.test.ts"]
  },
  {
    bug: "the store keeps two appends at one place",
    file: "src/internal/memory.ts",
    find: "if (seq <= last && journal.some((stored) => stored.seq === seq)) return false",
    replace: "if (seq < 0) return false",
    tests: memory
  },
  {
    bug: "a cancel does not settle what waits",
    file: "src/internal/executor.ts",
    find: "  yield* settleAll(run)\n  if (Run.unsettled(run)",
    replace: "  if (Run.unsettled(run)",
    tests: ["test/semantics/rollback.test.ts", "test/semantics/endings.test.ts", ...doubt]
  },
  {
    bug: "workers look for what waits as it was when it began to wait",
    file: "src/internal/memory.ts",
    find: "else state.open.set(row.id, row)",
    replace: "else if (!state.open.has(row.id)) state.open.set(row.id, row)",
    tests: memory
  },
  {
    bug: "workers do not look for what nobody owns",
    file: "src/internal/memory.ts",
    find: "if (row.worker === null && row.wakeAt === null) state.open.delete(row.id)",
    replace: "if (row.worker === null) state.open.delete(row.id)",
    tests: memory
  },
  {
    bug: "a lease is renewed after it has ended",
    file: "src/internal/memory.ts",
    find: "if (end === undefined || end <= now) return false",
    replace: "if (end === undefined) return false",
    tests: memory
  },
  {
    bug: "a replay answers every occurrence of a name from the first",
    file: "src/internal/ref.ts",
    find: "`${ref.path ?? \"\"}|${ref.occurrence ?? 0}|${ref.name}`",
    replace: "`${ref.path ?? \"\"}|0|${ref.name}`",
    tests: replay
  },
  {
    bug: "an append of somebody else is taken for one's own",
    file: "src/internal/journalWriter.ts",
    find: "token === pending.append.token && last === pending.append.seq",
    replace: "last === pending.append.seq",
    tests: lock
  },
  {
    bug: "an own append counts although another came after it",
    file: "src/internal/journalWriter.ts",
    find: "token === pending.append.token && last === pending.append.seq",
    replace: "token === pending.append.token",
    tests: lock
  },
  {
    bug: "a store in memory is written to after the writer's end",
    file: "src/internal/journalWriter.ts",
    find: "one === undefined || closed || left === 0",
    replace: "one === undefined || left === 0",
    tests: lock
  },
  {
    bug: "executions in memory hold the process for as long as they like",
    file: "src/internal/journalWriter.ts",
    find: "    left--\n",
    replace: "",
    tests: lock
  },
  {
    bug: "callers in memory leave nobody else a turn",
    file: "src/SagaEngine.ts",
    find: "Deferred.isDoneUnsafe(live.ended) ? ",
    replace: "live.id === \"\" ? ",
    tests: ["test/SagaEngine.test.ts"]
  },
  {
    bug: "executions within executions use up the stack",
    file: "src/internal/executor.ts",
    find: "depth <= maxDepth && ",
    replace: "",
    tests: ["test/SagaEngine.test.ts"]
  },
  {
    bug: "an execution that nobody waits for is run to its end by who starts it",
    file: "src/internal/executor.ts",
    find: "if (options.awaited && ",
    replace: "if (",
    tests: ["test/SagaEngine.test.ts"]
  },
  {
    bug: "a refused step is asked again under its old key",
    file: "src/internal/core.ts",
    find: "`${base}/${refusals}`",
    replace: "`${base}/${refusals * 0}`",
    tests: doubt
  },
  {
    bug: "a compensation uses the key of its step",
    file: "src/internal/core.ts",
    find: "`${base}/compensation`",
    replace: "`${base}/0`",
    tests: rollback
  },
  {
    bug: "what a replay finds done holds no compensation",
    file: "src/internal/recovery.ts",
    find: "    Run.hold(run, task, exit)\n",
    replace: "",
    tests: crash,
    only: dies
  },
  {
    bug: "a schedule begins anew after a restart",
    file: "src/internal/forward.ts",
    find: "task.history.filter((past) => past.wakeAt !== undefined)",
    replace: "task.history.filter((past) => past.at < 0)",
    tests: ["test/semantics/doubt.test.ts", "test/semantics/claims.test.ts", ...replay]
  },
  {
    bug: "a back-off that was not over is not waited for after a restart",
    file: "src/internal/forward.ts",
    find: "if (last?.wakeAt !== undefined && last.wakeAt > to.core.clock.currentTimeMillisUnsafe()) {",
    replace: "if (last?.wakeAt !== undefined && last.wakeAt < 0) {",
    tests: ["test/semantics/doubt.test.ts", ...suspension]
  },
  {
    bug: "a cancel undoes past the point of no return",
    file: "src/internal/run.ts",
    find: "  !core.pivotPassed && rollback === undefined && core.seal",
    replace: "  rollback === undefined && core.seal",
    tests: ["test/semantics/endings.test.ts", "test/semantics/deadline.test.ts", ...doubt]
  },
  {
    bug: "a cancel does not wait for the pivot in flight",
    file: "src/internal/run.ts",
    find: "      run.core.undoPending ??= cause\n      return\n",
    replace: "      break\n",
    tests: [...doubt, "test/semantics/deadline.test.ts"]
  },
  {
    bug: "a compensation that halts stops nothing",
    file: "src/internal/compensate.ts",
    find: "compensationDefaults.onFailure) === \"halt\"",
    replace: "compensationDefaults.onFailure) === undefined",
    tests: rollback
  },
  {
    bug: "a compensation that was given up waits in the journal on",
    file: "src/internal/compensate.ts",
    find: "    Waits.end(waits)",
    replace: "",
    tests: rollback
  },
  {
    bug: "a compensation that was given up receives a signal that is for another one",
    file: "src/internal/waits.ts",
    find: "  for (const ended of ends ?? []) ended()\n",
    replace: "",
    tests: rollback
  },
  {
    bug: "a heartbeat after the end of its attempt is recorded",
    file: "src/internal/heartbeat.ts",
    find: "  heart.core = undefined\n  heart.of = undefined\n",
    replace: "",
    tests: rollback
  },
  {
    bug: "a halt is forgotten when the process dies",
    file: "src/internal/rollback.ts",
    find: "halted: held.some((one) => halts(core, one))",
    replace: "halted: false",
    tests: inspector
  },
  {
    bug: "an attempt that never happened is tried again under its old key",
    file: "src/internal/forward.ts",
    find: "  failed(to, task, { outcome: \"never\" })\n",
    replace: "",
    tests: doubt
  },
  {
    bug: "nobody wakes what left memory",
    file: "src/internal/alarm.ts",
    find: "      yield* ring\n",
    replace: "",
    tests: suspension
  },
  {
    bug: "what was suspended counts as having been in flight",
    file: "src/internal/recovery.ts",
    find: "const quiet = entries.at(-1)?._tag === \"Claimed\" &&",
    replace: "const quiet = entries.at(-1)?._tag === \"SagaStarted\" &&",
    tests: suspension
  },
  {
    bug: "a deadline that passed meanwhile is only looked at later",
    file: "src/internal/recovery.ts",
    find: "    Run.passDeadline(run, state.deadline)",
    replace: "    Run.watchDeadline(run, state.deadline)",
    tests: ["test/semantics/deadline.test.ts"]
  },
  {
    bug: "an answer to an old park is taken for the present one",
    file: "src/internal/resolution.ts",
    find: "  if (park !== undefined && park !== state.parks) return notParked\n",
    replace: "",
    tests: inspector
  },
  {
    bug: "a person's value is not checked by the worker",
    file: "src/internal/recovery.ts",
    find: "  if (issue === undefined) return true\n",
    replace: "  if (issue !== \"\") return true\n",
    tests: inspector
  },
  {
    bug: "an execution that kills its process is tried for ever",
    file: "src/internal/recovery.ts",
    find: "if (state.claimants.length > maxClaims || state.claims > maxClaims * claimsOfAWorker) {",
    replace: "if (state.claims < 0) {",
    tests: lock
  },
  {
    bug: "progress does not count against claims",
    file: "src/internal/fold.ts",
    find: "    state.claims = 0\n",
    replace: "",
    tests: ["test/Journal.test.ts", "test/semantics/claims.test.ts"]
  },
  {
    bug: "a step that became of another kind is taken for the same",
    file: "src/internal/recovery.ts",
    find: "request._tag === \"Step\" && request.kind === entry.kind",
    replace: "request._tag === \"Step\"",
    tests: replay
  },
  {
    bug: "a step acts without a lease",
    file: "src/internal/forward.ts",
    find: "  if (!core.mayAct()) return core.leave()\n",
    replace: "",
    tests: ["test/internal/executor.test.ts"]
  },
  {
    bug: "mail that came after its owner last looked is slept on",
    file: "src/internal/memory.ts",
    find: "update.worker === null && row.mail > update.received",
    replace: "update.worker === null && false",
    tests: memory
  },
  {
    bug: "a compensation acts before its start is durable",
    file: "src/internal/compensate.ts",
    find: "  Core.onceDurable(core, () => takeUp(undo))\n",
    replace: "  takeUp(undo)\n",
    tests: crash,
    only: dies
  },
  {
    bug: "a page repeats the last of the page before",
    file: "src/internal/memory.ts",
    find: "compare(row, after) > 0",
    replace: "compare(row, after) >= 0",
    tests: memory
  },
  {
    bug: "what a failed scope undid still counts as executed",
    file: "src/internal/undoing.ts",
    find: "    if (Rollback.isSettled(one) && inScope(one.asked, task.scope)) forget(run, key)\n",
    replace: "",
    tests: ["test/semantics/partial.test.ts"]
  },
  {
    bug: "two roll-backs by name undo one step",
    file: "src/internal/undoing.ts",
    find: " && !isTaken(run, _)",
    replace: "",
    tests: ["test/semantics/partial.test.ts"]
  },
  {
    bug: "a bug rolls back although the saga does not say so",
    file: "src/internal/run.ts",
    find: "run.handler.definition.onDefect === \"park\" || ",
    replace: "",
    tests: ["test/semantics/endings.test.ts", ...doubt]
  },
  {
    bug: "a refused suspension is written as one",
    file: "src/internal/executor.ts",
    find: "  driver.suspending = undefined\n  if",
    replace: "  if",
    tests: suspension
  },
  {
    bug: "what a claim took whose answer was lost is owned and runs nowhere",
    file: "src/SagaWorker.ts",
    find: "        doubt = { worker: lease.worker(), due: clock.monotonicTimeNanosUnsafe() }\n",
    replace: "",
    tests: ["test/semantics/claims.test.ts"]
  },
  {
    bug: "what a claim takes after its owner looked runs nowhere",
    file: "src/SagaWorker.ts",
    find: "doubt = { worker, due: now + leaseNanos }",
    replace: "doubt = undefined",
    tests: ["test/SagaWorker.test.ts"]
  },
  {
    bug: "an execution runs beside who owns it, where a worker was said to",
    file: "src/internal/recovery.ts",
    find: "row === null || row.worker !== worker",
    replace: "row === null",
    tests: ["test/SagaWorker.test.ts"]
  },
  {
    bug: "what is claimed ahead of the others does not count against MaxLive",
    file: "src/SagaWorker.ts",
    find: "config.maxLive - claimed - waiting)",
    replace: "config.maxLive - claimed)",
    tests: ["test/semantics/claims.test.ts"]
  },
  {
    bug: "a claim in PostgreSQL brings a journal from before the last generation",
    file: "src/sql/internal/statements.ts",
    find: "seq >= claimed.base::integer",
    replace: "seq >= 0",
    tests: ["test/contract/postgres.test.ts"]
  },
  {
    bug: "a worker runs what it claimed while it was on its way back to the store",
    file: "src/SagaWorker.ts",
    find: "    if (leaving.has(id)) {",
    replace: "    if (leaving.has(\"\")) {",
    tests: ["test/SagaWorker.test.ts"]
  },
  {
    bug: "a cancel is read before what the event before it leads to",
    file: "src/internal/executor.ts",
    find: "    () => Intake.quiesce(run)\n  )\n  return Eager.again(",
    replace: "    () => driver.mailDue ? undefined : Intake.quiesce(run)\n  )\n  return Eager.again(",
    tests: ["test/semantics/endings.test.ts"]
  },
  {
    bug: "a scope that fails does not wait for one inside it that is undone",
    file: "src/internal/undoing.ts",
    find: "if (task.phase === \"done\" || (task._tag === \"Scope\" && task.scope === scope)) continue",
    replace: "if (task.phase === \"done\" || task._tag === \"Scope\") continue",
    tests: rollback
  },
  {
    bug: "a signal stays in the inbox when it is received",
    file: "src/internal/executor.ts",
    find: "    row,\n    answered,\n    tell\n",
    replace: "    row,\n    tell\n",
    tests: signals
  },
  {
    bug: "a signal that is received is not durable before what follows",
    file: "src/internal/receiving.ts",
    find:
      "Core.record(core, { _tag: \"SignalReceived\", at: Core.now(core), ...task.ref, mail, signal, value: payload })",
    replace: "",
    tests: signals
  },
  {
    bug: "who asked last is given the first signal",
    file: "src/internal/receiving.ts",
    find: "const receiver = [...core.receivers ?? []].find((_) => _.kinds.has(letter.signal) && _.listens())",
    replace: "const receiver = [...core.receivers ?? []].findLast((_) => _.kinds.has(letter.signal) && _.listens())",
    tests: signals
  },
  {
    bug: "a signal is received by a body that is cancelled",
    file: "src/internal/receiving.ts",
    find: "!task.asked.withdrawn && core.seal === undefined",
    replace: "true",
    tests: [...signals, ...races]
  },
  {
    bug: "signals that nobody waited for are forgotten when an execution is taken up again",
    file: "src/internal/mail.ts",
    find: "yield* inbox(run, 0)",
    replace: "yield* inbox(run, run.received)",
    tests: signals
  },
  {
    bug: "what nobody has received is not told with the end",
    file: "src/internal/run.ts",
    find: "if (next !== \"parked\") undelivered(run, entry.at)",
    replace: "",
    tests: signals
  },
  {
    bug: "two signals with one key are two",
    file: "src/internal/memory.ts",
    find: "keys?.has(key) === true",
    replace: "false",
    tests: [...memory, ...signals]
  },
  {
    bug: "what loses a race stays",
    file: "src/internal/intake.ts",
    find: "const losers = Undoing.lose(run, asked, request)",
    replace: "const losers = Undoing.lose(run, asked, request, [])",
    tests: races
  },
  {
    bug: "the point of no return does not wait for what lost a race",
    file: "src/internal/intake.ts",
    find: "if (decides && Undoing.losing(run))",
    replace: "if (false as boolean)",
    tests: races
  },
  {
    bug: "the winner of a race is not compared on replay",
    file: "src/internal/recovery.ts",
    find: " && request.winner === entry.winner",
    replace: "",
    tests: races
  },
  {
    bug: "a generation has the keys of the one before",
    file: "src/internal/core.ts",
    find: "${core.id}/${core.generation}/",
    replace: "${core.id}/0/",
    tests: generations
  },
  {
    bug: "compensations are lost when a saga continues as new",
    file: "src/internal/executor.ts",
    find: "if (holds.length > 0) {",
    replace: "if (holds.length > 99) {",
    tests: generations
  },
  {
    bug: "an execution that continued as new is read from its first generation on",
    file: "src/Journal.ts",
    find: "return last <= 0 ? entries : entries.slice(last)",
    replace: "return last <= 99 ? entries : entries.slice(last)",
    tests: generations
  },
  {
    bug: "what continues as new keeps its version",
    file: "src/internal/memory.ts",
    find: "{ base: seq, version: continued.version }",
    replace: "{ base: seq }",
    tests: [...memory, ...generations]
  },
  {
    bug: "a process that lost its claim goes on beating",
    file: "src/internal/heartbeat.ts",
    find: "if (core.left || !core.mayAct()) {",
    replace: "if (core.id === \"\") {",
    tests: heartbeat
  },
  {
    bug: "the details of a heartbeat are lost with the attempt that fails",
    file: "src/internal/heartbeat.ts",
    find: "  if (keep) write(heart)\n",
    replace: "",
    tests: heartbeat
  },
  {
    bug: "what was said before a silence is never written",
    file: "src/internal/heartbeat.ts",
    find: "Core.wakeAt(core, beats.due, () => write(heart))",
    replace: "() => {}",
    tests: heartbeat
  },
  {
    bug: "every heartbeat is written",
    file: "src/internal/heartbeat.ts",
    find: "if (beats.due <= now) return write(heart)",
    replace: "if (beats.due <= Infinity) return write(heart)",
    tests: heartbeat
  },
  {
    bug: "a heartbeat does not put off the timeout",
    file: "src/internal/heartbeat.ts",
    find: "  beats.at = Attempt.monotonic(core.clock)\n",
    replace: "",
    tests: heartbeat
  },
  {
    bug: "heartbeats count as progress",
    file: "src/internal/fold.ts",
    find: "if (entry._tag !== \"StepHeartbeat\" && entry._tag !== \"CompensationHeartbeat\") {",
    replace: "if (entry._tag !== \"CompensationHeartbeat\") {",
    tests: heartbeat
  },
  {
    bug: "a step may withdraw although it is wanted",
    file: "src/internal/forward.ts",
    find: "if (Heartbeat.wasTold(heart) && isWithdrawal(outcome.cause))",
    replace: "if (isWithdrawal(outcome.cause))",
    tests: heartbeat
  },
  {
    bug: "another process does not know what a compensation said",
    file: "src/internal/recovery.ts",
    find: "  one.heartbeat = known.heartbeat\n",
    replace: "",
    tests: heartbeat
  },
  {
    bug: "a child is created before its parent's journal has it",
    file: "src/internal/intake.ts",
    find: "scope: asked.scope })\n  })\n  run.startDurable.push(task)\n}",
    replace: "scope: asked.scope })\n  })\n  run.startNow.push(task)\n}",
    tests: children
  },
  {
    bug: "the end of a child is not told to its parent",
    file: "src/internal/executor.ts",
    find: "  const tell = telling(run)\n",
    replace: "  const tell = undefined as ReturnType<typeof telling>\n",
    tests: children
  },
  {
    bug: "a child is asked to roll back before that is durable",
    file: "src/internal/children.ts",
    find: "core.onDurable.push(() => Core.emit(core, () => cancel(to, task)))",
    replace: "cancel(to, task)",
    tests: crash,
    only: "rule 36.* > a child"
  },
  {
    bug: "a child that was never created may be created after its parent has rolled back",
    file: "src/internal/starting.ts",
    find: "if (found === undefined && (yield* bury(birth, reason))) return \"There\"",
    replace: "if (found === undefined) return \"Taken\"",
    tests: children
  },
  {
    bug: "a child that completes although it was cancelled is not undone",
    file: "src/internal/fold.ts",
    find: "    case \"SagaCompleted\":\n      return \"succeeded\"",
    replace: "    case \"SagaCompleted\":\n      return cancelled ? \"withdrawn\" : \"succeeded\"",
    tests: children
  },
  {
    bug: "somebody else's execution is taken for a child",
    file: "src/internal/starting.ts",
    find: "if ((yield* parentOf(store, id)) !== parent) return \"Taken\"",
    replace: "",
    tests: children
  },
  {
    bug: "an append tells what it does not keep",
    file: "src/internal/memory.ts",
    find: "if (seq <= last && journal.some((stored) => stored.seq === seq)) return false",
    replace: "if (seq <= last && journal.some((stored) => stored.seq === seq)) {\n" +
      "    if (append.tell !== undefined) tellMessage(state, append.tell, append.at)\n    return false\n  }",
    tests: memory
  },
  {
    bug: "a step that waited for its next attempt when its process died is believed not to have been tried again",
    file: "src/internal/forward.ts",
    find: "const waited = task.quiet && last?.wakeAt !== undefined",
    replace: "const waited = last?.wakeAt !== undefined",
    tests: doubt
  }
]
