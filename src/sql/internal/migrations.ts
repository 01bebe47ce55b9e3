/**
 * The tables of the store, as migrations. A released migration is never changed: what comes later is a new one.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Record from "effect/Record"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Names from "./names.ts"

/**
 * Creates the schema if it is missing and brings its tables up to date.
 *
 * **Details**
 *
 * One transaction under an advisory lock, so several processes may start at once on an empty database: one of them
 * migrates, the others wait for it. A role that may not create schemas can use one that was made for it.
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  schema: string
): Effect.fn.Return<void, SqlError | Migrator.MigrationError> {
  const names = Names.make(schema)
  const prepare = Effect.fnUntraced(function*() {
    yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${names.channel}, 0))`.unprepared
    const found = yield* sql`SELECT 1 AS found FROM pg_namespace WHERE nspname = ${schema}`.unprepared
    if (found.length === 0) yield* sql.unsafe(`CREATE SCHEMA ${names.schema}`).unprepared
    // The migrator cannot name a table in a schema whose name holds a dot, so its table is found by the search path.
    yield* sql`SELECT set_config('search_path', ${names.schema}, true)`.unprepared
    yield* migrate({ loader: loader(sql, names), table: Names.migrationTable })
  })
  yield* sql.withTransaction(prepare()).pipe(Effect.provideService(SqlClient.SqlClient, sql))
})

/**
 * What each migration executes, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const statements = (names: Names.Names) => ({
  "0001_tables": tables(names),
  "0002_lists": lists(names),
  "0003_messages": messages(names),
  "0004_notation": notation(names),
  "0005_rows": rows(names),
  "0006_generations": generations(names)
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const migrate = Migrator.make({})

const loader = (sql: SqlClient.SqlClient, names: Names.Names): Migrator.Loader =>
  Migrator.fromRecord(Record.map(statements(names), (texts) => each(sql, texts)))

const each = (sql: SqlClient.SqlClient, statements: ReadonlyArray<string>) =>
  Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared, { discard: true })

// Persistent: tables, columns and what they mean. Changed only by a further migration.
const tables = (names: Names.Names): ReadonlyArray<string> => [
  `CREATE TABLE ${names.execution} (
  id text COLLATE "C" PRIMARY KEY,
  name text NOT NULL,
  status text NOT NULL,
  payload text NOT NULL,
  result text,
  worker text COLLATE "C",
  wake_at timestamptz,
  mail bigint NOT NULL,
  received bigint NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
)`,
  // The journal is the lock: this primary key refuses the second of two writers.
  `CREATE TABLE ${names.journal} (
  execution text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  token text NOT NULL,
  at timestamptz NOT NULL,
  entries text NOT NULL,
  PRIMARY KEY (execution, seq)
)`,
  `CREATE TABLE ${names.inbox} (
  execution text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  message text NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (execution, number)
)`,
  `CREATE TABLE ${names.worker} (
  id text COLLATE "C" PRIMARY KEY,
  expires_at timestamptz NOT NULL,
  retired boolean NOT NULL
)`,
  // Each index holds only the rows that somebody looks for, so a finished execution is in none of them.
  `CREATE INDEX saga_execution_due ON ${names.execution} (name, wake_at) WHERE worker IS NULL AND wake_at IS NOT NULL`,
  `CREATE INDEX saga_execution_owned ON ${names.execution} (worker) WHERE worker IS NOT NULL`,
  `CREATE INDEX saga_execution_unread ON ${names.execution} (worker) WHERE mail > received`,
  `CREATE VIEW ${names.entry} AS
  SELECT journal.execution, journal.seq, entry.position - 1 AS index, entry.value ->> '_tag' AS tag,
    to_timestamp((entry.value ->> 'at')::double precision / 1000) AS at, entry.value AS entry
  FROM ${names.journal} AS journal
  CROSS JOIN LATERAL jsonb_array_elements(journal.entries::jsonb) WITH ORDINALITY AS entry(value, position)`,
  `COMMENT ON TABLE ${names.execution} IS 'effect-saga: one row an execution: where it stands and who runs it'`,
  `COMMENT ON TABLE ${names.journal} IS 'effect-saga: one row an append; never updated; see saga_entry'`,
  `COMMENT ON TABLE ${names.inbox} IS 'effect-saga: messages to an execution, which its owner journals'`,
  `COMMENT ON TABLE ${names.worker} IS 'effect-saga: one row a worker: until when its lease lasts'`,
  `COMMENT ON VIEW ${names.entry} IS 'effect-saga: one row a journal entry, for people'`
]

// Persistent: the keys of what was sent stay when the messages have left the inbox, so that none is received twice.
const messages = (names: Names.Names): ReadonlyArray<string> => [
  `CREATE TABLE ${names.key} (
  execution text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  PRIMARY KEY (execution, key)
)`,
  `COMMENT ON TABLE ${names.key} IS 'effect-saga: the keys of all messages that were accepted, one row each'`
]

// Persistent: null, which takes no room, where an execution never continued as new.
const generations = (names: Names.Names): ReadonlyArray<string> => [
  `ALTER TABLE ${names.execution} ADD COLUMN base bigint`,
  `COMMENT ON COLUMN ${names.execution}.base IS 'effect-saga: the append in which it last continued as new'`
]

// Persistent: what executions are found by. An index that every execution is in costs every execution, so there is one
// such index; the other two hold those that have not completed, and those that have tags.
const lists = (names: Names.Names): ReadonlyArray<string> => [
  `ALTER TABLE ${names.execution} ADD COLUMN version integer NOT NULL DEFAULT 1, ADD COLUMN tags jsonb`,
  `CREATE INDEX saga_execution_started ON ${names.execution} (name, created_at, id)`,
  `CREATE INDEX saga_execution_status ON ${names.execution} (status, created_at, id) INCLUDE (name)
  WHERE status <> 'completed'`,
  `CREATE INDEX saga_execution_tags ON ${names.execution} USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL`,
  `COMMENT ON COLUMN ${names.execution}.tags IS 'effect-saga: what it is found by; null where it has none'`,
  // A change of a row that is not there (somebody deleted the execution) must not make one, and looking for it first
  // would cost every append. `mail` -1 marks a change, so only what a change inserted is seen here: in the statement
  // that inserted it, so no crash can leave it behind.
  `CREATE FUNCTION ${names.drop}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('DELETE FROM %I.%I WHERE id = $1', TG_TABLE_SCHEMA, TG_TABLE_NAME) USING NEW.id;
  RETURN NULL;
END
$$`,
  `CREATE TRIGGER saga_execution_stray AFTER INSERT ON ${names.execution}
  FOR EACH ROW WHEN (NEW.mail < 0) EXECUTE FUNCTION ${names.drop}()`
]

// Persistent: entries are stored short, with a word for their tag and without the time of their append
// (`internal/notation`). For people they are spelled out, except that what is usual stays left out.
const notation = (names: Names.Names): ReadonlyArray<string> => entryView(names, names.journal)

/** `appends` has the columns of a journal. */
const entryView = (names: Names.Names, appends: string): ReadonlyArray<string> => [
  `CREATE OR REPLACE VIEW ${names.entry} AS
  SELECT execution, seq, index, tag, to_timestamp((entry ->> 'at')::double precision / 1000) AS at, entry
  FROM (
    SELECT journal.execution, journal.seq, element.position - 1 AS index, spelled.tag,
      CASE WHEN word.word IS NULL THEN element.value ELSE
        jsonb_build_object('_tag', spelled.tag, 'at', round(extract(epoch FROM journal.at) * 1000)) ||
        CASE spelled.tag
          WHEN 'SagaCompleted' THEN jsonb_build_object('value', element.value -> word.word)
          WHEN 'Claimed' THEN jsonb_build_object('worker', element.value -> word.word)
          WHEN 'VersionMarked' THEN jsonb_build_object('change', element.value -> word.word)
          ELSE CASE WHEN element.value -> word.word = 'true' THEN '{}' ELSE
            jsonb_build_object('name', element.value -> word.word) END
        END || (element.value - word.word)
      END AS entry
    FROM ${appends} AS journal
    CROSS JOIN LATERAL jsonb_array_elements(journal.entries::jsonb) WITH ORDINALITY AS element(value, position)
    LEFT JOIN LATERAL (
      SELECT key AS word FROM jsonb_object_keys(element.value) AS key
      WHERE NOT element.value ? '_tag'
        AND (key ~ '^[A-Z]' OR key IN ('start', 'do', 'did', 'done', 'undo', 'undid'))
      LIMIT 1
    ) AS word ON true
    CROSS JOIN LATERAL (
      SELECT CASE word.word
        WHEN 'start' THEN 'SagaStarted'
        WHEN 'do' THEN 'StepStarted'
        WHEN 'did' THEN 'StepSucceeded'
        WHEN 'done' THEN 'SagaCompleted'
        WHEN 'undo' THEN 'CompensationStarted'
        WHEN 'undid' THEN 'CompensationSucceeded'
        ELSE coalesce(word.word, element.value ->> '_tag')
      END AS tag
    ) AS spelled
  ) AS found`,
  `COMMENT ON VIEW ${names.entry} IS 'effect-saga: one row a journal entry, spelled out for people'`
]

// Persistent: the row of an execution is its first append too, so that a start writes one row where it wrote two. What
// the end changes stands last, and rows leave room for it: then the database's log has that part of them only.
const rows = (names: Names.Names): ReadonlyArray<string> => {
  const old = (table: string) => `${names.schema}.saga_${table}_old`
  return [
    `DROP VIEW ${names.entry}`,
    `ALTER TABLE ${names.execution} RENAME TO saga_execution_old`,
    `ALTER TABLE ${old("execution")} RENAME CONSTRAINT saga_execution_pkey TO saga_execution_old_pkey`,
    `ALTER TABLE ${names.journal} RENAME TO saga_journal_old`,
    `ALTER TABLE ${old("journal")} RENAME CONSTRAINT saga_journal_pkey TO saga_journal_old_pkey`,
    `CREATE TABLE ${names.execution} (
  created_at timestamptz NOT NULL,
  mail integer NOT NULL,
  received integer NOT NULL,
  version integer NOT NULL,
  id text COLLATE "C" PRIMARY KEY,
  name text NOT NULL,
  tags jsonb,
  payload text NOT NULL,
  token text NOT NULL,
  entries text NOT NULL,
  updated_at timestamptz,
  status text NOT NULL,
  worker text COLLATE "C",
  wake_at timestamptz,
  result text
) WITH (fillfactor = 45)`,
    `CREATE TABLE ${names.journal} (
  at timestamptz NOT NULL,
  seq integer NOT NULL CHECK (seq > 0),
  execution text COLLATE "C" NOT NULL,
  token text NOT NULL,
  entries text NOT NULL,
  PRIMARY KEY (execution, seq)
)`,
    `INSERT INTO ${names.execution}
  SELECT created_at, mail, received, version, id, name, tags, payload, coalesce(first.token, ''),
    coalesce(first.entries, '[]'), updated_at, status, worker, wake_at, result
  FROM ${old("execution")} AS execution
  LEFT JOIN ${old("journal")} AS first ON first.execution = execution.id AND first.seq = 0`,
    `INSERT INTO ${names.journal} SELECT at, seq, execution, token, entries FROM ${old("journal")} WHERE seq > 0`,
    `DROP TABLE ${old("execution")}, ${old("journal")}`,
    `CREATE INDEX saga_execution_due ON ${names.execution} (name, wake_at)
  WHERE worker IS NULL AND wake_at IS NOT NULL`,
    `CREATE INDEX saga_execution_owned ON ${names.execution} (worker) WHERE worker IS NOT NULL`,
    `CREATE INDEX saga_execution_unread ON ${names.execution} (worker) WHERE mail > received`,
    // An execution is in one of three at a time: owned, unowned, or completed; so a start and an end cost one each.
    `CREATE INDEX saga_execution_completed ON ${names.execution} (name, created_at, id) WHERE status = 'completed'`,
    `CREATE INDEX saga_execution_unowned ON ${names.execution} (status, created_at, id) INCLUDE (name)
  WHERE status <> 'completed' AND worker IS NULL`,
    `CREATE INDEX saga_execution_tags ON ${names.execution} USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL`,
    `CREATE TRIGGER saga_execution_stray AFTER INSERT ON ${names.execution}
  FOR EACH ROW WHEN (NEW.mail < 0) EXECUTE FUNCTION ${names.drop}()`,
    ...entryView(
      names,
      `(
      SELECT id AS execution, 0 AS seq, created_at AS at, entries FROM ${names.execution}
      UNION ALL SELECT execution, seq, at, entries FROM ${names.journal}
    )`
    ),
    `COMMENT ON TABLE ${names.execution} IS 'effect-saga: one row an execution: its start, and where it stands'`,
    `COMMENT ON TABLE ${names.journal} IS 'effect-saga: one row a later append; never updated; see saga_entry'`,
    `COMMENT ON COLUMN ${names.execution}.tags IS 'effect-saga: what it is found by; null where it has none'`,
    `COMMENT ON COLUMN ${names.execution}.entries IS 'effect-saga: the first append, with its token'`,
    `COMMENT ON COLUMN ${names.execution}.updated_at IS 'effect-saga: null while it is as it was created'`
  ]
}
