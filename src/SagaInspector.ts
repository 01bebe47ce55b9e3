/**
 * Looking at executions, and answering for those that are parked: for operators, dashboards and tests.
 *
 * Everything is read from the store and derived by the journal's pure fold; there is no second place that could
 * disagree. Only the owner of an execution appends, so an answer is a message: durable when the call returns, taken by
 * the worker that claims the execution, and journaled with who gave it and why. Closing one for good takes no worker.
 * The inspector needs a `SagaStore` and runs no step.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ExecutionId from "./ExecutionId.ts"
import { SagaEngine } from "./internal/engine.ts"
import * as limits from "./internal/limits.ts"
import { undelivered } from "./internal/mail.ts"
import * as Notation from "./internal/notation.ts"
import { failure, reading } from "./internal/reading.ts"
import { find, judge } from "./internal/resolution.ts"
import { endTold } from "./internal/starting.ts"
import { storable } from "./internal/storable.ts"
import * as Journal from "./Journal.ts"
import * as SagaError from "./SagaError.ts"
import * as SagaStore from "./SagaStore.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Which executions a list has: those that satisfy all that is given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filter {
  /** The saga's tag, or several. */
  readonly name?: string | ReadonlyArray<string> | undefined
  readonly status?: SagaStore.Status | ReadonlyArray<SagaStore.Status> | undefined
  readonly version?: number | ReadonlyArray<number> | undefined
  /** Each of these tags with this value. */
  readonly tags?: Readonly<Record<string, string>> | undefined
  /** Started this long ago or longer. */
  readonly olderThan?: Duration.Input | undefined
  /** Started less than this long ago. */
  readonly newerThan?: Duration.Input | undefined
  /** Free text that the id contains, in upper or lower case. */
  readonly search?: string | undefined
  /**
   * By the time of the start.
   *
   * @default "newest"
   */
  readonly order?: "newest" | "oldest" | undefined
  /**
   * How many a page has, at most `Limits.MaxPage`.
   *
   * @default 50
   */
  readonly limit?: number | undefined
  /** The `next` of the page before, with the same filter and `order`. */
  readonly after?: string | undefined
}

/**
 * An execution in a list.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed extends Omit<SagaStore.Summary, "id"> {
  readonly id: ExecutionId.ExecutionId
}

/**
 * A page of a list. `next` gives the page after it; undefined on the last one. An execution that starts while pages are
 * read appears where its time belongs, perhaps on a page that was read before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly items: ReadonlyArray<Listed>
  readonly next: string | undefined
}

/**
 * Everything that is known of one execution. `payload` is in its stored form. `state` holds maps, which
 * `JSON.stringify` leaves empty: `steps` and `compensations` are made for output.
 *
 * @category models
 * @since 0.1.0
 */
export interface Inspection {
  readonly summary: Listed
  readonly payload: Schema.Json
  readonly state: Journal.JournalState
  readonly steps: ReadonlyArray<Journal.StepRecord>
  readonly compensations: ReadonlyArray<Journal.CompensationRecord>
  /** What was sent to it and not taken yet. */
  readonly unread: ReadonlyArray<Journal.Mail>
  /** The signals that its journal answers: received, or undelivered when it ended. */
  readonly signals: ReadonlyArray<Journal.SignalState>
}

/**
 * An execution after one or more appends: what they added, and where it stands now.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change {
  /** The place in the journal of the last of them. */
  readonly seq: number
  readonly entries: ReadonlyArray<Journal.Entry>
  readonly state: Journal.JournalState
}

/**
 * How many executions stand where. Times are milliseconds since the epoch, of the start.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stats {
  readonly counts: Readonly<Record<SagaStore.Status, number>>
  /** Those that have not ended, the parked ones among them. */
  readonly open: number
  readonly oldestOpen: number | undefined
  readonly parked: number
  /** The same for each saga, by name. */
  readonly sagas: ReadonlyArray<Omit<Stats, "sagas"> & { readonly name: string }>
}

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Who answers: journaled with each resolution. Give it once, around what a person does; without it `"unknown"` is
 * journaled.
 *
 * @category services
 * @since 0.1.0
 */
export const Actor = Context.Reference<string>("effect-saga/SagaInspector/Actor", { defaultValue: () => "unknown" })

/**
 * @category services
 * @since 0.1.0
 */
export class SagaInspector extends Context.Service<SagaInspector, {
  /** A page of executions. Fails with `QueryInvalid` where the filter makes no sense. */
  readonly list: (filter?: Filter) => Effect.Effect<Page, SagaError.SagaError<never>>
  /** All executions that a filter has, page by page as they are needed. `limit` is the size of a page. */
  readonly stream: (filter?: Filter) => Stream.Stream<Listed, SagaError.SagaError<never>>
  /** Everything about one execution. */
  readonly get: (id: string) => Effect.Effect<Inspection, SagaError.SagaError<never>>
  /** Its journal, append by append. */
  readonly journal: (id: string) => Effect.Effect<SagaStore.StoredJournal, SagaError.SagaError<never>>
  /** Where it stood after the append at this place of its journal, which are counted from 0. */
  readonly stateAt: (id: string, seq: number) => Effect.Effect<Journal.JournalState, SagaError.SagaError<never>>
  /** Its steps, in the order in which they began. */
  readonly steps: (id: string) => Effect.Effect<ReadonlyArray<Journal.StepRecord>, SagaError.SagaError<never>>
  /** Its compensations, in the order in which their steps happened. */
  readonly compensations: (
    id: string
  ) => Effect.Effect<ReadonlyArray<Journal.CompensationRecord>, SagaError.SagaError<never>>
  /**
   * Where it stands, then every change, until it has ended; a parked one has not. The store is asked every `poll`, by
   * default every half second.
   */
  readonly watch: (
    id: string,
    options?: { readonly poll?: Duration.Input | undefined }
  ) => Stream.Stream<Change, SagaError.SagaError<never>>
  /** How many executions stand where, in all and for each saga. */
  readonly stats: Effect.Effect<Stats, SagaError.SagaError<never>>
  /** Lets a parked execution go on from its journal. See `SagaInspector.retry`. */
  readonly retry: (id: string, reason?: string) => Effect.Effect<void, SagaError.SagaError<never>>
  /** Says with which value a step has happened. See `SagaInspector.resolve`. */
  readonly resolve: (
    id: string,
    step: string | Journal.Ref,
    value: Schema.Json,
    reason?: string
  ) => Effect.Effect<void, SagaError.SagaError<never>>
  /** Leaves a compensation, or a step that did not happen, out. See `SagaInspector.skip`. */
  readonly skip: (
    id: string,
    step: string | Journal.Ref,
    reason: string
  ) => Effect.Effect<void, SagaError.SagaError<never>>
  /** Undoes what a parked execution did. See `SagaInspector.rollback`. */
  readonly rollback: (id: string, reason?: string) => Effect.Effect<void, SagaError.SagaError<never>>
  /** Closes a parked execution as it is. See `SagaInspector.abandon`. */
  readonly abandon: (id: string, reason: string) => Effect.Effect<void, SagaError.SagaError<never>>
}>()("effect-saga/SagaInspector") {}

// ---------------------------------------------------------------------------------------------------------------------
// resolutions
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Lets a parked execution go on from its journal, once its cause is mended.
 *
 * **Details**
 *
 * A step that died or whose outcome nobody knows runs again with its key, or is asked for by its `check`; compensations
 * that failed for good get their whole budget again. Like every resolution it is durable once it returned, and taken
 * once: the same answer to the same park, given twice, changes nothing more. Fails with `NotAccepting` where the
 * execution is not parked, and with `ResolutionRefused` where this answer does not apply to it.
 *
 * @category resolutions
 * @since 0.1.0
 */
export const retry = (id: string, reason?: string) => SagaInspector.use((inspector) => inspector.retry(id, reason))

/**
 * Says that a step in flight has happened, with this value in its stored form, and lets the execution go on.
 *
 * **Details**
 *
 * `step` is a name as it is listed, `Ship` or `Ship#2`, or a `Ref`. Where this process has the saga's handler, the
 * value is checked against the step's schema before it is sent (`ResolutionRefused`); the worker checks it in any
 * case, and journals `ResolutionRefused` where it does not fit: the execution then stays parked.
 *
 * @category resolutions
 * @since 0.1.0
 */
export const resolve = (id: string, step: string | Journal.Ref, value: Schema.Json, reason?: string) =>
  SagaInspector.use((inspector) => inspector.resolve(id, step, value, reason))

/**
 * Says that a compensation is taken care of, so that the roll-back goes on without it; or that a step in flight did not
 * happen and is not to be tried again.
 *
 * **Details**
 *
 * Other compensations that failed stay failed: the execution parks again until each is retried or skipped, and ends
 * rolled back once none is left. After a step was left out the body cannot go on, so the execution stays parked for
 * `rollback` or `abandon`.
 *
 * @category resolutions
 * @since 0.1.0
 */
export const skip = (id: string, step: string | Journal.Ref, reason: string) =>
  SagaInspector.use((inspector) => inspector.skip(id, step, reason))

/**
 * Undoes everything that a parked execution did; it ends rolled back (`RolledBackByOperator`).
 *
 * **Details**
 *
 * Steps in flight are settled first: checked, or run again with their key and then compensated. Past the point of no
 * return it fails with `TooLate`.
 *
 * @category resolutions
 * @since 0.1.0
 */
export const rollback = (id: string, reason?: string) =>
  SagaInspector.use((inspector) => inspector.rollback(id, reason))

/**
 * Closes a parked execution for good: nothing more is done or undone. Those who wait for it get `Abandoned`.
 *
 * **Details**
 *
 * Unlike the other answers it needs no worker with the handler: it is closed when the call returns.
 *
 * @category resolutions
 * @since 0.1.0
 */
export const abandon = (id: string, reason: string) => SagaInspector.use((inspector) => inspector.abandon(id, reason))

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An inspector of the store in the context; with an engine beside it, it knows the schemas of the handlers there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<SagaInspector["Service"], never, SagaStore.SagaStore> = Effect.gen(function*() {
  const store = yield* SagaStore.SagaStore
  const engine = yield* Effect.serviceOption(SagaEngine)
  const maxPage = yield* limits.MaxPage
  const storableLimits = { depth: yield* limits.MaxDepth, size: yield* limits.MaxAppendSize }
  const { encoded } = store

  const row = Effect.fnUntraced(function*(id: string) {
    const found = yield* reading(id, encoded.read(id))
    return found ?? (yield* failure(new SagaError.UnknownExecution({ execution: id })))
  })

  const journal = Effect.fnUntraced(function*(id: string, after?: number) {
    const read = store.journal(id, after).pipe(
      Effect.map(Result.succeed),
      Effect.catchTag("Undecodable", (error) => Effect.succeed(Result.fail(error)))
    )
    const found = yield* reading(id, read)
    if (Result.isSuccess(found)) return found.success
    return yield* failure(new SagaError.JournalUnreadable({ execution: id, issue: found.failure.message }))
  })

  const known = Effect.fnUntraced(function*(id: string) {
    const found = yield* journal(id)
    if (found.next === 0) return yield* failure(new SagaError.UnknownExecution({ execution: id }))
    return found
  })

  const state = (id: string) => Effect.flatMap(known(id), (found) => folded(id, entriesOf(found)))

  const unread = Effect.fnUntraced(function*(id: string, received: number) {
    // A signal that nobody waits for lies in the inbox although its owner has seen it.
    const inbox = yield* reading(id, encoded.inbox(id, 0))
    return undelivered(inbox, 0).flatMap(({ mail, message }) =>
      message !== undefined && (message._tag === "Signal" || mail > received) ? [message] : []
    )
  })

  const list = Effect.fn("SagaInspector.list")(function*(filter: Filter = {}) {
    const query = yield* toQuery(filter, maxPage)
    const found = yield* reading("", encoded.list({ ...query, limit: query.limit + 1 }))
    const items = found.slice(0, query.limit).map(listed)
    const last = items.at(-1)
    return { items, next: found.length > items.length && last !== undefined ? cursor(last) : undefined }
  })

  /** Sends an answer that applies; one that was given before is not given again. */
  const answer = Effect.fnUntraced(function*(
    id: string,
    resolutionOf: (state: Journal.JournalState) => Journal.Resolution | string,
    request: string,
    reason: string | undefined
  ) {
    const { received, status } = yield* row(id)
    const now = yield* state(id)
    const resolution = resolutionOf(now)
    const refuse = (issue: string) => failure(new SagaError.ResolutionRefused({ execution: id, request, issue }))
    if (typeof resolution === "string") return yield* refuse(resolution)
    const waiting = (yield* unread(id, received)).filter(({ _tag }) => _tag !== "Signal")
    const isWaiting = waiting.some((mail) =>
      mail._tag === "Resolve" && mail.park === now.parks && Equal.equals(mail.resolution, resolution)
    )
    if (isWaiting) return
    const verdict = judge(now, resolution, undefined)
    switch (verdict._tag) {
      case "Done":
        return
      case "NotParked":
        return yield* failure(new SagaError.NotAccepting({ execution: id, status, request }))
      case "TooLate":
        return yield* failure(new SagaError.TooLate({ execution: id }))
      case "Refused":
        return yield* refuse(verdict.issue)
      case "Applies":
        break
    }
    // Two things that are left out do not get into each other's way.
    const alone = resolution._tag !== "Skip" ||
      waiting.some((mail) => mail._tag !== "Resolve" || mail.resolution._tag !== "Skip")
    if (waiting.length > 0 && alone) {
      return yield* refuse("another answer, or a cancel, is on its way to it: wait for what comes of that")
    }
    if (resolution._tag === "Resolve" && Option.isSome(engine)) {
      const issue = yield* engine.value.issueOf(id, resolution.step, resolution.value)
      if (issue !== undefined) {
        return yield* refuse(`this is not a result of ${Journal.refName(resolution.step)}: ${issue}`)
      }
    }
    const actor = yield* Actor
    const mail: Journal.Mail = {
      _tag: "Resolve",
      resolution,
      actor,
      ...(reason === undefined ? undefined : { reason }),
      park: now.parks
    }
    const text = storable(mail, storableLimits)
    if (Result.isFailure(text)) return yield* refuse(text.failure.message)
    const at = yield* Clock.currentTimeMillis
    const send = encoded.send({ execution: id, message: text.success, now: at, refuse: unparked })
    const sent = yield* reading(id, send)
    if (sent._tag === "Unknown") return yield* failure(new SagaError.UnknownExecution({ execution: id }))
    if (sent._tag === "Refused") {
      return yield* failure(new SagaError.NotAccepting({ execution: id, status: sent.status, request }))
    }
    yield* Effect.ignore(encoded.wake)
  })

  /**
   * Closes a parked execution by an append of its own: that needs no handler, which may be what is missing. The journal
   * refuses it, or the worker that took the execution up meanwhile.
   */
  const abandon = Effect.fnUntraced(function*(id: string, because: string) {
    const request = "to be abandoned"
    const actor = yield* Actor
    const token = SecureRandom.uuidV7Unsafe()
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const { received, result, status } = yield* row(id)
      const stored = yield* reading(id, encoded.journal(id))
      const now = Journal.foldPrefix(SagaStore.decodePrefix(stored))
      const verdict = now === undefined ? undefined : judge(now, { _tag: "Abandon" }, undefined)
      if (status === "abandoned") return
      const parked = yield* Effect.orElseSucceed(Journal.decodeEnd(result ?? ""), () => undefined)
      const unreadable = parked?._tag === "SagaParked" && parked.reason._tag === "Undecodable"
      if (parked?._tag !== "SagaParked" || (verdict?._tag !== "Applies" && !unreadable)) {
        return yield* failure(new SagaError.NotAccepting({ execution: id, status, request }))
      }
      const at = Math.max(parked.at, now?.at ?? 0, yield* Clock.currentTimeMillis)
      const inbox = yield* reading(id, encoded.inbox(id, 0))
      const read = inbox.reduce((read, { number }) => Math.max(read, number), received)
      const entry: Journal.EntryOf<"SagaAbandoned"> = { ...parked, _tag: "SagaAbandoned", at, actor, because }
      const resolution: Journal.EntryOf<"Resolved"> = {
        _tag: "Resolved",
        at,
        mail: received,
        resolution: { _tag: "Abandon" },
        actor,
        reason: because,
        park: now?.parks ?? 0
      }
      const entries = [resolution, ...undelivered(inbox, at), entry]
      const kept = storable(entries, storableLimits)
      if (Result.isFailure(kept)) {
        return yield* failure(new SagaError.ResolutionRefused({ execution: id, request, issue: kept.failure.message }))
      }
      const append: SagaStore.Append = {
        execution: id,
        seq: stored.length,
        token,
        at,
        entries: Notation.encode(entries, at),
        create: undefined,
        row: { status: "abandoned", result: Notation.encodeOne(entry), worker: null, wakeAt: null, received: read },
        answered: inbox.map(({ number }) => number),
        ...endTold(stored, id, entry)
      }
      if ((yield* reading(id, encoded.append([append])))[0] === true) return
      const witness = yield* reading(id, encoded.witness(id, append.seq))
      if (witness.token === token && witness.last === append.seq) return
    }
    return yield* failure(new SagaError.NotAccepting({ execution: id, status: "running", request }))
  })

  const ofStep = (
    step: string | Journal.Ref,
    make: (ref: Journal.Ref) => Journal.Resolution
  ) =>
  (state: Journal.JournalState) => {
    const ref = typeof step === "string" ? find(state, step) : step
    return typeof ref === "string" ? ref : make(ref)
  }

  return {
    list,
    stream: (filter = {}) =>
      Stream.paginate(
        filter.after,
        (after) =>
          Effect.map(list({ ...filter, after }), ({ items, next }) =>
            [items, next === undefined ? Option.none() : Option.some(next)] as const)
      ),
    get: Effect.fn("SagaInspector.get")(function*(id) {
      const { payload, result: _, ...summary } = yield* row(id)
      const now = yield* state(id)
      return {
        summary: listed(summary),
        payload: yield* parsed(id, payload),
        state: now,
        steps: Journal.stepRecords(now),
        compensations: Journal.compensationRecords(now),
        signals: now.signals,
        unread: yield* unread(id, summary.received)
      }
    }),
    journal: known,
    stateAt: Effect.fn("SagaInspector.stateAt")(function*(id, seq) {
      const found = yield* known(id)
      if (!Number.isInteger(seq) || seq < 0 || seq >= found.next) {
        const issue = `the journal of ${id} has the places 0 to ${found.next - 1}, not ${seq}`
        return yield* failure(new SagaError.QueryInvalid({ issue }))
      }
      return yield* folded(id, found.appends.slice(0, seq + 1).flatMap((_) => _.entries))
    }),
    steps: (id) => Effect.map(state(id), Journal.stepRecords),
    compensations: (id) => Effect.map(state(id), Journal.compensationRecords),
    watch: (id, options) => {
      const input = options?.poll ?? "500 millis"
      const poll = Option.getOrUndefined(Duration.fromInput(input))
      if (poll === undefined || Duration.toMillis(poll) < minPoll) {
        const issue = `poll is ${JSON.stringify(input)}: give a duration of at least ${minPoll} milliseconds`
        return Stream.fail(failure(new SagaError.QueryInvalid({ issue })))
      }
      const entries: Array<Journal.Entry> = []
      /** Waits for what comes after `seq`. */
      const next = Effect.fnUntraced(function*(seq: number): Effect.fn.Return<Change, SagaError.SagaError<never>> {
        while (true) {
          const found = yield* seq < 0 ? known(id) : journal(id, seq)
          if (found.appends.length > 0) {
            const added = entriesOf(found)
            entries.push(...added)
            return { seq: found.next - 1, entries: added, state: yield* folded(id, entries) }
          }
          yield* Effect.sleep(poll)
        }
      })
      return Stream.unfold(
        { seq: -1, ended: false },
        ({ ended, seq }) =>
          ended ? Effect.succeed(undefined) : Effect.map(
            Effect.suspend(() => {
              if (seq < 0) entries.length = 0
              return next(seq)
            }),
            (change) => [change, { seq: change.seq, ended: isOver(change.state) }] as const
          )
      )
    },
    stats: Effect.suspend(() => Effect.map(reading("", encoded.stats), toStats)),
    retry: (id, reason) => answer(id, () => ({ _tag: "Retry" }), "a retry", reason),
    resolve: (id, step, value, reason) =>
      answer(id, ofStep(step, (ref) => ({ _tag: "Resolve", step: ref, value })), `a result of ${nameOf(step)}`, reason),
    skip: (id, step, reason) =>
      reason.trim() === ""
        ? unreasoned(id, `a skip of ${nameOf(step)}`)
        : answer(id, ofStep(step, (ref) => ({ _tag: "Skip", step: ref })), `a skip of ${nameOf(step)}`, reason),
    rollback: (id, reason) => answer(id, () => ({ _tag: "Rollback" }), "a roll-back", reason),
    abandon: (id, reason) => reason.trim() === "" ? unreasoned(id, "to be abandoned") : abandon(id, reason)
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An inspector of the store in the context.
 *
 * **Details**
 *
 * Provide it beside the engine, and values that persons give are checked against the schemas of its handlers before
 * they are sent.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SagaInspector, never, SagaStore.SagaStore> = Layer.effect(SagaInspector, make)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const entriesOf = (journal: SagaStore.StoredJournal): ReadonlyArray<Journal.Entry> =>
  journal.appends.flatMap((append) => append.entries)

const nameOf = (step: string | Journal.Ref): string => typeof step === "string" ? step : Journal.refName(step)

const folded = (
  execution: string,
  entries: ReadonlyArray<Journal.Entry>
): Effect.Effect<Journal.JournalState, SagaError.SagaError<never>> => {
  const state = Journal.fold(entries)
  if (Result.isSuccess(state)) return Effect.succeed(state.success)
  const issue = `${state.failure.entry} cannot follow ${state.failure.state}`
  return Effect.fail(failure(new SagaError.JournalUnreadable({ execution, issue })))
}

const parsed = (execution: string, payload: string): Effect.Effect<Schema.Json, SagaError.SagaError<never>> =>
  Effect.mapError(
    decodeJson(payload),
    (error) => failure(new SagaError.JournalUnreadable({ execution, issue: `its payload: ${error.message}` }))
  )

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Json))

const isOver = ({ phase }: Journal.JournalState): boolean =>
  phase === "completed" || phase === "rolledback" || phase === "abandoned"

/** Every status but `parked`: an answer to one that is not is refused where the row is locked. */
const unparked = SagaStore.Status.literals.filter((status) => status !== "parked")

/** How often a store may be asked for changes, in milliseconds. */
const minPoll = 10

/** How often an append that another one forestalled is tried again. */
const maxAttempts = 8

const unreasoned = (execution: string, request: string) =>
  Effect.fail(failure(
    new SagaError.ResolutionRefused({ execution, request, issue: "it is journaled with its reason: say why" })
  ))

const listed = (row: SagaStore.Summary): Listed => ({ ...row, id: ExecutionId.ExecutionId.make(row.id) })

/** Where a page ends. */
const cursor = ({ createdAt, id }: Listed): string => `${createdAt}/${id}`

const parseCursor = (text: string): SagaStore.Query["after"] => {
  const [, createdAt, id] = /^(\d+)\/(.+)$/s.exec(text) ?? []
  return createdAt === undefined || id === undefined ? undefined : { createdAt: Number(createdAt), id }
}

const listOf = <A extends string | number>(one: A | ReadonlyArray<A> | undefined): ReadonlyArray<A> | undefined =>
  one === undefined || typeof one === "object" ? one : [one]

const toQuery = Effect.fnUntraced(function*(filter: Filter, maxPage: number) {
  const limit = filter.limit ?? Math.min(50, maxPage)
  const invalid = (issue: string) => failure(new SagaError.QueryInvalid({ issue }))
  if (!Number.isInteger(limit) || limit < 1 || limit > maxPage) {
    return yield* invalid(`limit is ${limit}: a page has 1 to ${maxPage} executions`)
  }
  const after = filter.after === undefined ? undefined : parseCursor(filter.after)
  if (filter.after !== undefined && after === undefined) {
    return yield* invalid(`after is ${JSON.stringify(filter.after)}: give the \`next\` of the page before`)
  }
  const names = listOf(filter.name)
  const statuses = listOf(filter.status)
  const versions = listOf(filter.version)
  const tags = filter.tags ?? {}
  for (const text of [...names ?? [], ...Object.entries(tags).flat(), filter.search ?? ""]) {
    // No id, name or tag has these, and a database does not even take the question.
    if (text.includes("\u0000") || !text.isWellFormed()) {
      return yield* invalid(`${JSON.stringify(text)} holds what no store keeps: leave it out`)
    }
  }
  for (const status of statuses ?? []) {
    const known = SagaStore.Status.literals
    if (!known.includes(status)) return yield* invalid(`there is no status ${String(status)}, only ${known.join(", ")}`)
  }
  for (const version of versions ?? []) {
    if (!Number.isInteger(version)) return yield* invalid(`version is ${version}: it is a whole number`)
  }
  const now = yield* Clock.currentTimeMillis
  const ago = Effect.fnUntraced(function*(name: string, input: Duration.Input | undefined) {
    if (input === undefined) return undefined
    const duration = Duration.fromInput(input)
    if (Option.isSome(duration) && Duration.isFinite(duration.value) && !Duration.isNegative(duration.value)) {
      return now - Duration.toMillis(duration.value) + 1
    }
    return yield* invalid(`${name} is ${JSON.stringify(input)}: give a duration, for instance "2 days"`)
  })
  return {
    names,
    statuses,
    versions,
    tags,
    createdFrom: yield* ago("newerThan", filter.newerThan),
    createdBefore: yield* ago("olderThan", filter.olderThan),
    search: filter.search === "" ? undefined : filter.search,
    order: filter.order ?? "newest",
    after,
    limit
  } satisfies SagaStore.Query
})

type Counted = Effect.Success<SagaStore.Encoded["stats"]>[number]

const toStats = (rows: ReadonlyArray<Counted>): Stats => {
  const names = [...new Set(rows.map((row) => row.name))].sort((a, b) => a < b ? -1 : a > b ? 1 : 0)
  return {
    ...summed(rows),
    sagas: names.map((name) => ({ name, ...summed(rows.filter((row) => row.name === name)) }))
  }
}

const summed = (rows: ReadonlyArray<Counted>): Omit<Stats, "sagas"> => {
  const counts: Record<SagaStore.Status, number> = {
    running: 0,
    settling: 0,
    suspended: 0,
    compensating: 0,
    completed: 0,
    rolledback: 0,
    parked: 0,
    abandoned: 0
  }
  let open = 0
  let oldestOpen: number | undefined
  for (const { count, oldest, status } of rows) {
    counts[status] += count
    if (status === "completed" || status === "rolledback" || status === "abandoned") continue
    open += count
    oldestOpen = Math.min(oldestOpen ?? oldest, oldest)
  }
  return { counts, open, oldestOpen, parked: counts.parked }
}
