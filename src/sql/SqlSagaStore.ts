/**
 * Journals in PostgreSQL, through `@effect/sql-pg`; in PGlite through the same client.
 *
 * One statement is one transaction here: `append` writes a whole batch with one, and none is held open between two
 * calls. What refuses the second of two writers is the journal's primary key. This module relies on the database for
 * durability: with `synchronous_commit = off` an acknowledged append may be lost, so leave it on.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type { MigrationError } from "effect/sql/Migrator"
import type { SqlError } from "effect/sql/SqlError"
import * as SagaStore from "../SagaStore.ts"
import * as Gather from "./internal/gather.ts"
import type { Parameter } from "./internal/lists.ts"
import * as Migrations from "./internal/migrations.ts"
import * as Names from "./internal/names.ts"
import * as Session from "./internal/session.ts"
import * as Statements from "./internal/statements.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Where the store keeps its tables, and what it does at its start.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The schema that holds the store's tables. Two stores with two schemas in one database know nothing of each other.
   *
   * @default "saga"
   */
  readonly schema?: string | undefined
  /**
   * Creates the schema and the tables, and brings them up to date, before the layer is ready. Without it, run
   * `migrate` at deployment with a role that may create tables: the store itself only reads and writes rows.
   *
   * @default true
   */
  readonly migrate?: boolean | undefined
  /**
   * States that no other process uses the database, as the folder lock of the embedded one proves. Every worker that
   * is registered is then dead, so all leases end when the layer starts and recovery waits for none of them.
   *
   * @default false
   */
  readonly exclusive?: boolean | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The name of the schema unless the options say another one.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultSchema = "saga"

/**
 * Creates the schema and the tables, or brings them up to date.
 *
 * **Details**
 *
 * Safe to run from several processes at once, and again at any time. Fails with `StoreError`, `retryable` if the
 * database did not answer.
 *
 * @category running
 * @since 0.1.0
 */
export const migrate = Effect.fn("SqlSagaStore.migrate")(function*(
  options?: Pick<Options, "schema">
): Effect.fn.Return<void, SagaStore.StoreError, PgClient.PgClient> {
  const schema = yield* checkedSchema(options?.schema)
  const client = yield* PgClient.PgClient
  yield* Migrations.run(client.withoutTransforms(), schema).pipe(
    Effect.mapError((error: SqlError | MigrationError) =>
      error._tag === "SqlError"
        ? Session.storeError("migrate")(error)
        : new SagaStore.StoreError({ operation: "migrate", retryable: false, cause: error })
    )
  )
})

/**
 * The driver on the client in the context.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeEncoded = Effect.fnUntraced(function*(
  options?: Options
): Effect.fn.Return<SagaStore.Encoded, SagaStore.StoreError, PgClient.PgClient> {
  const schema = yield* checkedSchema(options?.schema)
  if (options?.migrate ?? true) yield* migrate({ schema })
  const client = yield* PgClient.PgClient
  const names = Names.make(schema)
  const driver: Driver = { session: Session.make(client), statements: Statements.make(names) }
  if (options?.exclusive ?? false) yield* driver.session.planned("start", driver.statements.retireAll, [])
  return {
    ...journals(driver),
    ...lists(driver),
    ...claims(driver),
    ...mail(driver),
    ...workers(driver),
    listen: (onWake) => listen(client, names.channel, onWake),
    wake: Effect.asVoid(driver.session.planned("wake", driver.statements.wake, [names.channel]))
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Journals in the database of the `PgClient` in the context.
 *
 * **Details**
 *
 * The client's pool serves the store and the program alike; the journal needs one connection of it and uses two, and
 * listening takes a connection of its own beside the pool. A statement of the store is never part of a transaction of
 * the caller.
 *
 * **Gotchas**
 *
 * A result or payload may be larger than the driver's `maxMessageSize`: it is read in parts. Behind a pooler that
 * cannot keep prepared statements or `LISTEN`, set `prepare: false` on the client; work is then found by polling.
 * Where two processes write at one place of a journal, the server's log has an error, a duplicate key of
 * `saga_journal`: one of them was refused, as it should be.
 *
 * **Example**
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Layer, Redacted } from "effect"
 * import { SqlSagaStore } from "effect-saga/sql"
 *
 * const StoreLive = SqlSagaStore.layer({ schema: "orders_saga" }).pipe(
 *   Layer.provide(PgClient.layer({ url: Redacted.make("postgres://localhost/orders") }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<SagaStore.SagaStore, SagaStore.StoreError, PgClient.PgClient> =>
  Layer.effect(SagaStore.SagaStore, Effect.map(makeEncoded(options), SagaStore.make))

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Driver {
  readonly session: Session.Session
  readonly statements: Statements.Statements
}

const checkedSchema = (schema: string = defaultSchema): Effect.Effect<string, SagaStore.StoreError> => {
  const problem = Names.schemaProblem(schema)
  if (problem === undefined) return Effect.succeed(schema)
  const cause = new Error(`The schema ${JSON.stringify(schema)} cannot be used. ${problem}`)
  return Effect.fail(new SagaStore.StoreError({ operation: "start", retryable: false, cause }))
}

const texts = (values: ReadonlyArray<string | null>) => Result.getOrThrow(PgTypes.array(values, PgTypes.OID.text))
const numbers = (values: ReadonlyArray<number>) => Result.getOrThrow(PgTypes.array(values, PgTypes.OID.float8))
const integers = (values: ReadonlyArray<number>) => Result.getOrThrow(PgTypes.array(values, PgTypes.OID.int4))
const times = (values: ReadonlyArray<number | null>) =>
  Result.getOrThrow(PgTypes.array(values.map((value) => value === null ? null : time(value)), PgTypes.OID.timestamptz))

/** The last millisecond that both JavaScript and Postgres have: what is due later is never due. */
const endOfTime = 8.64e15

/** Whole milliseconds, later rather than earlier: what is claimed is due. */
const time = (value: number): number => Math.min(Math.ceil(value), endOfTime)

const millis = (value: unknown): number => (value as Date).getTime()

/** The most text that one statement carries, in UTF-16 code units: the embedded database copies it several times. */
const maxStatementSize = 16 * 1024 * 1024

const sizeOf = ({ create, entries, row, tell }: SagaStore.Append): number =>
  entries.length + (create?.payload.length ?? 0) + (row?.result?.length ?? 0) + (tell?.message.length ?? 0)

/**
 * The batch in as few statements as carry it; almost always one. A statement changes a row once, so what tells another
 * execution of the batch goes with another statement than that.
 */
const split = (batch: ReadonlyArray<SagaStore.Append>): ReadonlyArray<ReadonlyArray<SagaStore.Append>> => {
  const statements: Array<ReadonlyArray<SagaStore.Append>> = []
  let start = 0
  let size = 0
  const tells = batch.some(({ tell }) => tell !== undefined)
  const executions = new Set<string>()
  const told = new Set<string>()
  for (let index = 0; index < batch.length; index++) {
    const next = sizeOf(batch[index]!)
    const { execution, tell } = batch[index]!
    const meets = tells && (told.has(execution) || (tell !== undefined && executions.has(tell.execution)))
    if (meets || (index > start && size + next > maxStatementSize)) {
      statements.push(batch.slice(start, index))
      start = index
      size = 0
      executions.clear()
      told.clear()
    }
    size += next
    if (!tells) continue
    executions.add(execution)
    if (tell !== undefined) told.add(tell.execution)
  }
  if (start === 0) return batch.length === 0 ? [] : [batch]
  statements.push(batch.slice(start))
  return statements
}

const appendParameters = (later: ReadonlyArray<SagaStore.Append>): Array<unknown> => [
  texts(later.map((append) => append.execution)),
  integers(later.map((append) => append.seq)),
  texts(later.map((append) => append.token)),
  times(later.map((append) => append.at)),
  texts(later.map((append) => append.entries))
]

interface Changed extends SagaStore.Append {
  readonly row: SagaStore.RowUpdate
}

const rowParameters = (changed: ReadonlyArray<Changed>): Array<unknown> => [
  texts(changed.map((append) => append.execution)),
  texts(changed.map((append) => append.create?.name ?? "")),
  texts(changed.map((append) => append.create?.payload ?? "")),
  texts(changed.map((append) => append.row.status)),
  texts(changed.map((append) => append.row.result)),
  texts(changed.map((append) => append.row.worker)),
  texts(changed.map((append) => tagsText(append.create?.tags))),
  texts(changed.map((append) => append.create === undefined ? "" : append.token)),
  texts(changed.map((append) => append.create === undefined ? "" : append.entries)),
  times(changed.map((append) => append.row.wakeAt)),
  times(changed.map((append) => append.at)),
  integers(
    changed.map(({ create, row, seq }) =>
      create !== undefined ? create.mail?.length ?? 0 : row.continued === undefined ? -1 : -2 - seq
    )
  ),
  integers(changed.map((append) => append.row.received)),
  integers(changed.map(({ create, row }) => create?.version ?? row.continued?.version ?? 1))
]

const hasMail = ({ answered, create, tell }: SagaStore.Append): boolean =>
  tell !== undefined || (answered !== undefined && answered.length > 0) ||
  (create?.mail !== undefined && create.mail.length > 0)

const mailParameters = (batch: ReadonlyArray<SagaStore.Append>): Array<unknown> => {
  const answered = batch.flatMap(({ answered = [], execution }) => answered.map((number) => ({ execution, number })))
  const put = batch.flatMap(({ at, create, execution }) =>
    (create?.mail ?? []).map(({ key, message }, index) => ({ at, execution, key, message, number: index + 1 }))
  )
  const told = batch.flatMap(({ at, execution, tell }) => tell === undefined ? [] : [{ at, execution, tell }])
  return [
    texts(answered.map((_) => _.execution)),
    numbers(answered.map((_) => _.number)),
    texts(put.map((_) => _.execution)),
    numbers(put.map((_) => _.number)),
    texts(put.map((_) => _.message)),
    times(put.map((_) => _.at)),
    texts(put.map((_) => _.key ?? null)),
    texts(told.map((_) => _.execution)),
    texts(told.map((_) => _.tell.execution)),
    texts(told.map((_) => _.tell.message)),
    times(told.map((_) => _.at))
  ]
}

const tagsText = (tags: Readonly<Record<string, string>> | undefined): string | null =>
  tags === undefined || Object.keys(tags).length === 0 ? null : JSON.stringify(tags)

const appendOnce = (
  { session, statements }: Driver,
  batch: ReadonlyArray<SagaStore.Append>
): Effect.Effect<ReadonlyArray<boolean>, SagaStore.StoreError> => {
  const later: Array<SagaStore.Append> = []
  const changed: Array<Changed> = []
  let withMail = false
  // A start without a creation is taken: there is nothing to make a row of.
  let unmade = false
  for (const append of batch) {
    if (append.seq > 0) later.push(append)
    if (isChanged(append)) changed.push(append)
    withMail ||= hasMail(append)
    unmade ||= append.seq === 0 && append.create === undefined
  }
  const looking = () => [...appendParameters(later), ...rowParameters(changed), batch.length]
  if (withMail) {
    const parameters = [...looking(), ...mailParameters(batch)]
    return Effect.map(session.planned("append", statements.appendMail, parameters), carefully(batch))
  }
  const looked = Effect.suspend(() =>
    Effect.map(session.prepared("append", statements.careful, looking()), carefully(batch))
  )
  if (unmade) return looked
  // Nothing of it can be taken but its starts.
  if (later.length === 0) {
    return Effect.map(session.prepared("append", statements.starts, rowParameters(changed)), unlessTaken(batch))
  }
  const sent = changed.length === 0
    ? session.prepared("append", statements.append, appendParameters(later))
    : session.prepared("append", statements.appendRows, [...appendParameters(later), ...rowParameters(changed)])
  return Effect.catch(
    Effect.map(sent, unlessTaken(batch)),
    (error) => Session.isTaken(error) ? looked : Effect.fail(error)
  )
}

const isChanged = (append: SagaStore.Append): append is Changed => append.row !== undefined

/** What was kept, after a statement that looks at each place first. */
const carefully =
  (batch: ReadonlyArray<SagaStore.Append>) => ([answer]: ReadonlyArray<Session.Columns>): ReadonlyArray<boolean> => {
    const kept = answer?.["kept"] as ReadonlyArray<string> | null | undefined
    if (kept === null || kept === undefined) return batch.map(() => true)
    const executions = new Set(kept)
    return batch.map((append) => executions.has(append.execution))
  }

/** What was kept, after a statement that fails unless it keeps all but starts. */
const unlessTaken =
  (batch: ReadonlyArray<SagaStore.Append>) => (rows: ReadonlyArray<Session.Columns>): ReadonlyArray<boolean> => {
    const executions = new Set<unknown>()
    for (const row of rows) executions.add(row["id"])
    return batch.map((append) => append.seq > 0 || executions.has(append.execution))
  }

/** Reads a text that was too long to come with its row. */
const inParts = Effect.fnUntraced(function*(
  { session }: Driver,
  text: string,
  execution: string,
  number: number
): Effect.fn.Return<string, SagaStore.StoreError> {
  const parts: Array<string> = []
  let from = 1
  while (true) {
    const [row] = yield* session.planned("read", text, [from, Statements.partCharacters, execution, number])
    const part = row?.["part"] as string | undefined
    if (part === undefined || part === "") return parts.join("")
    parts.push(part)
    from += Statements.partCharacters
  }
})

const summaryOf = (columns: Session.Columns): SagaStore.Summary => ({
  id: columns["id"] as string,
  name: columns["name"] as string,
  version: columns["version"] as number,
  tags: columns["tags"] === null ? {} : JSON.parse(columns["tags"] as string) as Record<string, string>,
  status: columns["status"] as SagaStore.Status,
  worker: columns["worker"] as string | null,
  wakeAt: columns["wake_at"] === null ? null : millis(columns["wake_at"]),
  mail: columns["mail"] as number,
  received: columns["received"] as number,
  base: columns["base"] as number,
  createdAt: millis(columns["created_at"]),
  updatedAt: millis(columns["updated_at"])
})

/** How many executions one statement reads; each may have as much text as one message of the server has room for. */
const maxQuestions = 64

interface Question {
  readonly execution: string
  readonly after: number
}

/** The rows that answer each of several questions. */
const gathered = ({ session }: Driver, operation: string, text: string) =>
  Gather.make<Question, ReadonlyArray<Session.Columns>>(maxQuestions, (questions) =>
    Effect.map(
      session.planned(operation, text, [
        texts(questions.map((_) => _.execution)),
        numbers(questions.map((_) => _.after))
      ]),
      (rows) => {
        const answers: Array<Array<Session.Columns>> = questions.map(() => [])
        for (const row of rows) answers[row["question"] as number - 1]!.push(row)
        return answers
      }
    ))

const journals = (driver: Driver): Pick<SagaStore.Encoded, "append" | "witness" | "read" | "journal"> => {
  const { session, statements } = driver
  const journal = gathered(driver, "journal", statements.journal)
  const read = Gather.make<string, Session.Columns | undefined>(
    maxQuestions,
    (executions) =>
      Effect.map(session.planned("read", statements.read, [texts(executions)]), (rows) => {
        const found = new Map(rows.map((row) => [row["id"] as string, row]))
        return executions.map((execution) => found.get(execution))
      })
  )
  return {
    append: (batch) => {
      const parts = split(batch)
      return parts.length === 1
        ? appendOnce(driver, batch)
        : Effect.map(Effect.forEach(parts, (part) => appendOnce(driver, part)), (kept) => kept.flat())
    },
    witness: (execution, seq) =>
      Effect.map(session.planned("witness", statements.witness, [execution, seq]), ([row]) => ({
        token: row?.["token"] as string | null ?? null,
        last: row?.["last"] as number | null ?? null
      })),
    read: Effect.fnUntraced(function*(execution) {
      const row = yield* read(execution)
      if (row === undefined) return null
      const payload = row["payload"] as string | null
      const result = row["result"] as string | null
      return {
        ...summaryOf(row),
        payload: payload ?? (yield* inParts(driver, statements.part.payload, execution, 0)),
        result: result ??
          (row["unended"] === true ? null : yield* inParts(driver, statements.part.result, execution, 0))
      }
    }),
    journal: Effect.fnUntraced(function*(execution, after = -1) {
      const rows = yield* journal({ execution, after })
      const stored: Array<SagaStore.Stored> = []
      for (const row of rows) {
        const seq = row["seq"] as number
        const entries = row["entries"] as string | null ??
          (yield* inParts(driver, statements.part.entries, execution, seq))
        stored.push({ seq, token: row["token"] as string, at: millis(row["at"]), entries })
      }
      return stored
    })
  }
}

const lists = ({ session, statements }: Driver): Pick<SagaStore.Encoded, "list" | "stats"> => ({
  list: (query) => {
    const { parameters, text } = statements.list(query)
    return Effect.map(session.planned("list", text, parameters.map(parameterOf)), (rows) => rows.map(summaryOf))
  },
  stats: Effect.map(session.planned("stats", statements.stats, []), (rows) =>
    rows.map((row) => ({
      name: row["name"] as string,
      status: row["status"] as SagaStore.Status,
      count: row["count"] as number,
      oldest: millis(row["oldest"])
    })))
})

const parameterOf = (parameter: Parameter): unknown => {
  switch (parameter.type) {
    case "text":
    case "number":
      return parameter.value
    case "time":
      return PgTypes.timestamptz(time(parameter.value))
    case "texts":
      return texts(parameter.value)
    case "numbers":
      return numbers(parameter.value)
  }
}

const claims = ({ session, statements }: Driver): Pick<SagaStore.Encoded, "claim" | "owned" | "release"> => ({
  owned: (worker) =>
    Effect.map(
      session.planned("owned", statements.owned, [worker]),
      (rows) => rows.map((row) => ({ id: row["id"] as string, seq: row["seq"] as number }))
    ),
  claim: Effect.fnUntraced(function*(options) {
    const { entries, limit, margin, names, now, reads = false, token, versions = [], worker } = options
    const parameters = [
      worker,
      texts(names),
      limit,
      PgTypes.timestamptz(now),
      margin,
      token,
      entries,
      texts(versions.map((_) => _.name)),
      numbers(versions.map((_) => _.version))
    ]
    const claimed = yield* session.planned("claim", reads ? statements.claimAndRead : statements.claim, parameters)
    return claimed.map((row): SagaStore.Claimed => {
      const id = row["id"] as string
      const seq = row["seq"] as number
      return reads ? { id, seq, stored: claimedWith(row, { seq, token, at: now, entries }) } : { id, seq }
    })
  }),
  release: ({ executions, wakeAt, worker }) =>
    Effect.asVoid(
      session.planned("release", statements.release, [worker, texts(executions), PgTypes.timestamptz(time(wakeAt))])
    )
})

/** What came with a claim; undefined where it was too much for that. */
const claimedWith = (columns: Session.Columns, claim: SagaStore.Stored): SagaStore.Claimed["stored"] => {
  if (columns["fits"] !== true) return undefined
  const payload = columns["payload"] as string
  const row = { ...summaryOf(columns), payload, result: columns["result"] as string | null }
  const { base, createdAt: at } = row
  const first = { seq: 0, token: columns["token"] as string, at, entries: columns["entries"] as string }
  const later = JSON.parse(columns["later"] as string) as ReadonlyArray<SagaStore.Stored>
  return { row, journal: base === 0 ? [first, ...later, claim] : [...later, claim] }
}

const mail = (driver: Driver): Pick<SagaStore.Encoded, "send" | "inbox" | "unread"> => {
  const { session, statements } = driver
  const inbox = gathered(driver, "inbox", statements.inbox)
  return {
    send: Effect.fnUntraced(function*({ execution, key = null, message, now, refuse }) {
      while (true) {
        const parameters = [execution, message, PgTypes.timestamptz(time(now)), texts(refuse), key]
        const [sent] = yield* Effect.catch(
          session.planned("send", statements.send, parameters),
          (error) => Session.isTaken(error) ? Effect.succeed([undefined]) : Effect.fail(error)
        )
        if (sent !== undefined) return { _tag: "Sent", worker: sent["worker"] as string | null }
        const [row] = yield* session.planned("send", statements.status, [execution, key])
        if (row === undefined) return { _tag: "Unknown" }
        if (row["known"] === true) return { _tag: "Sent", worker: row["worker"] as string | null }
        const status = row["status"] as SagaStore.Status
        // Otherwise it became willing between the two statements.
        if (refuse.includes(status)) return { _tag: "Refused", status }
      }
    }),
    inbox: Effect.fnUntraced(function*(execution, after) {
      const rows = yield* inbox({ execution, after })
      const messages: Array<{ readonly number: number; readonly message: string }> = []
      for (const row of rows) {
        const number = row["number"] as number
        const message = row["message"] as string | null ??
          (yield* inParts(driver, statements.part.message, execution, number))
        messages.push({ number, message })
      }
      return messages
    }),
    unread: (worker) =>
      Effect.map(
        session.planned("unread", statements.unread, [worker]),
        (rows) => rows.map((row) => row["id"] as string)
      )
  }
}

const workers = ({ session, statements }: Driver): Pick<SagaStore.Encoded, "register" | "renew" | "retire"> => ({
  register: (worker, lease) => Effect.asVoid(session.planned("register", statements.register, [worker, lease])),
  renew: (worker, lease) =>
    Effect.map(session.planned("renew", statements.renew, [worker, lease]), (rows) => rows.length > 0),
  retire: (worker) => Effect.asVoid(session.planned("retire", statements.retire, [worker]))
})

/** How long to wait before the next try to listen, in milliseconds: doubling from `first` to `last`. */
const reconnect = { first: 100, last: 10_000 }

/**
 * Listens on a connection of its own: one of the pool's would be missing there, and a pool of one would be empty. TCP
 * keepalive notices a server that vanished in silence.
 */
const listen = Effect.fnUntraced(function*(
  client: PgClient.PgClient,
  channel: string,
  onWake: Effect.Effect<void>
): Effect.fn.Return<never, SagaStore.StoreError> {
  let failures = 0
  const session = Effect.scoped(Effect.gen(function*() {
    const connection = yield* PgConnection.make({ keepAlive: "30 seconds", ...client.config })
    const notifications = yield* connection.listen(channel)
    failures = 0
    yield* onWake
    return yield* Effect.forever(Effect.andThen(Queue.takeAll(notifications), onWake))
  }))
  while (true) {
    const error = Session.storeError("listen")(yield* Effect.flip(session))
    if (!error.retryable) return yield* error
    const delay = Math.min(reconnect.first * 2 ** failures++, reconnect.last)
    // Spread out, because all processes lose a database at the same moment.
    yield* Effect.sleep(yield* Random.nextBetween(delay / 2, delay))
  }
})
