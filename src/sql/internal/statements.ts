/**
 * The SQL texts of the store for one schema. Pure.
 *
 * The texts of `append` are prepared once a connection and sent with parameters of constant types. They look at no
 * table except through the unique index that `ON CONFLICT` names, so their plan does not depend on statistics: planned
 * on an empty table, it is still right with millions of rows. Every other statement is planned at each call, because a
 * cached plan that scans a table while it is small goes on scanning it when it has grown.
 *
 * @since 0.1.0
 */
import type { Query } from "../../SagaStore.ts"
import * as Lists from "./lists.ts"
import type { Names } from "./names.ts"

/**
 * @category models
 * @since 0.1.0
 */
export type Statements = ReturnType<typeof make>

/**
 * The texts for the tables of one schema.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (names: Names) => ({
  append: insert(names),
  starts: starts(names),
  appendRows: appendRows(names),
  careful: careful(names),
  appendMail: appendMail(names),
  witness: `SELECT
  CASE WHEN $2::bigint = 0 THEN (SELECT token FROM ${names.execution} WHERE id = $1)
    ELSE (SELECT token FROM ${names.journal} WHERE execution = $1 AND seq = $2::bigint) END AS token,
  greatest(
    (SELECT 0 FROM ${names.execution} WHERE id = $1),
    (SELECT max(seq)::float8 FROM ${names.journal} WHERE execution = $1)
  ) AS last`,
  read: `SELECT ${summary}, ${whole("payload")} AS payload, ${whole("result")} AS result, result IS NULL AS unended
FROM ${names.execution} WHERE id = ANY($1::text[])`,
  journal: `SELECT question::float8 AS question, found.* FROM ${questions}
CROSS JOIN LATERAL (
  SELECT 0::float8 AS seq, token, created_at AS at, ${whole("entries")} AS entries
  FROM ${names.execution} WHERE id = asked.execution AND asked.after < 0
  UNION ALL
  SELECT seq::float8, token, at, ${whole("entries")} FROM ${names.journal}
  WHERE execution = asked.execution AND seq > asked.after::bigint
  ORDER BY seq
) AS found`,
  list: (query: Query) => Lists.list(names, query, summary),
  stats: `SELECT name, status, count(*)::float8 AS count, min(created_at) AS oldest
FROM ${names.execution} GROUP BY name, status`,
  inbox: `SELECT question::float8 AS question, found.* FROM ${questions}
CROSS JOIN LATERAL (
  SELECT number::float8 AS number, ${whole("message")} AS message FROM ${names.inbox} AS inbox
  WHERE execution = asked.execution AND number > asked.after::bigint ORDER BY inbox.number
) AS found`,
  part: {
    payload: `SELECT ${part("payload")} FROM ${names.execution} WHERE id = $3 AND $4::float8 = 0`,
    result: `SELECT ${part("result")} FROM ${names.execution} WHERE id = $3 AND $4::float8 = 0`,
    entries: `SELECT ${part("entries")} FROM (
  SELECT entries FROM ${names.execution} WHERE id = $3 AND $4::bigint = 0
  UNION ALL SELECT entries FROM ${names.journal} WHERE execution = $3 AND seq = $4::bigint
) AS stored`,
    message: `SELECT ${part("message")} FROM ${names.inbox} WHERE execution = $3 AND number = $4::bigint`
  },
  claim: `${claim(names, "id")}
SELECT claimed.* FROM claimed JOIN picked USING (id) ORDER BY picked.since, picked.id`,
  claimAndRead: claimAndRead(names),
  release: `UPDATE ${names.execution} SET worker = NULL, wake_at = $3::timestamptz
WHERE id = ANY($2::text[]) AND worker = $1`,
  send: send(names),
  status: `SELECT status, worker, EXISTS (SELECT 1 FROM ${names.key} WHERE execution = $1 AND key = $2) AS known
FROM ${names.execution} WHERE id = $1`,
  owned: `SELECT id, coalesce((SELECT max(seq)::float8 FROM ${names.journal} WHERE execution = id), 0) AS seq
FROM ${names.execution} WHERE worker = $1 ORDER BY id`,
  unread: `SELECT id FROM ${names.execution} WHERE worker = $1 AND mail > received ORDER BY id`,
  register: register(names),
  renew: `UPDATE ${names.worker} SET expires_at = ${fromNow("$2")}
WHERE id = $1 AND expires_at > clock_timestamp() RETURNING id`,
  retire: `${retire(names)} WHERE id = $1`,
  retireAll: retire(names),
  wake: `SELECT pg_notify($1, '')`
})

/**
 * How many bytes of a text come back with their row. A backend message beyond the driver's `maxMessageSize` (16 MiB
 * unless set) breaks the connection, so what is longer is read in parts.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxWholeBytes = 2 * 1024 * 1024

/**
 * How many characters a part has: at most four bytes each.
 *
 * @category limits
 * @since 0.1.0
 */
export const partCharacters = 1024 * 1024

/**
 * How many bytes of text a claim reads of one execution in all, and in how many appends beside the first. What has more
 * is read when it is taken up: many are claimed at once, and what one of them is must not hold up the others.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxClaimed = { bytes: 64 * 1024, appends: 256 }

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

/** The columns of a row that are always small. */
const summary = `id, name, version, tags::text AS tags, status, worker, wake_at, mail::float8 AS mail,
  received::float8 AS received, coalesce(base, 0)::float8 AS base, created_at,
  coalesce(updated_at, created_at) AS updated_at`

/** What is asked, by executions and what they know already; `question` counts from 1. */
const questions = "unnest($1::text[], $2::float8[]) WITH ORDINALITY AS asked(execution, after, question)"

const whole = (column: string): string => `CASE WHEN octet_length(${column}) <= ${maxWholeBytes} THEN ${column} END`

/** `$1` is the first character, from 1; `$2` how many. */
const part = (column: string): string => `substr(${column}, $1::integer, $2::integer) AS part`

/** The store's own clock, which moves within a statement too. */
const fromNow = (milliseconds: string): string =>
  `clock_timestamp() + ${milliseconds}::float8 * interval '1 millisecond'`

/**
 * Later appends, `$1` to `$5`, as they are: a place that is taken fails the statement, and the careful one is sent.
 * Somebody else has written there then, which is rare, where looking first costs each row a second record in the
 * database's log. Writers that insert in one order cannot deadlock. The first append of an execution is in its row.
 */
const insert = (names: Names): string =>
  `INSERT INTO ${names.journal} (at, seq, execution, token, entries)
  SELECT at, seq, execution, token, entries
  FROM unnest($1::text[], $2::integer[], $3::text[], $4::timestamptz[], $5::text[])
    AS append(execution, seq, token, at, entries)
  ORDER BY execution COLLATE "C"`

/**
 * Nothing but starts, `$1` to `$14`: who they are that were kept. Only a start is looked at: its place may well be
 * taken, since whoever starts an execution again joins it, and that costs no commit here.
 */
const starts = (names: Names): string =>
  `${rows(names, { first: 1 })}
ON CONFLICT (id) DO NOTHING
RETURNING id`

/**
 * Later appends with rows to create and to change, in one order and by one upsert: each further insert into the table
 * would open all of its indexes again. A start whose place is taken changes nothing and is not among the answers.
 *
 * The rows come first, as they do where executions are claimed, and so no two of these wait for each other.
 */
const appendRows = (names: Names): string =>
  `WITH added AS (
  ${insert(names)}
)
${rows(names)}
  ON CONFLICT (id) DO UPDATE SET
    ${changes}
  WHERE excluded.mail < 0
RETURNING id`

/** Null when all were kept, which spares the usual answer its rows. */
const answer =
  `SELECT CASE WHEN count(*) < $20::float8 THEN coalesce(array_agg(execution), '{}') END AS kept FROM stored`

const careful = (names: Names): string =>
  `WITH ${carefullyChanged(names)}
${answer}`

/**
 * The same, with the messages that some elements answer, those that some are created with, and those that some tell
 * others. Rare, so it is planned at each call, and looks first: unlike the others it finds rows by more than a unique
 * index.
 *
 * A row that is told something is none that the statement changes otherwise: one statement changes a row once. Both are
 * locked first, in the order in which every statement locks rows, so that no two of them wait for each other.
 */
const appendMail = (names: Names): string =>
  `WITH ${
    carefullyChanged(
      names,
      `locked AS (
  SELECT id FROM ${names.execution}
  WHERE cardinality($28::text[]) > 0 AND (SELECT count(*) FROM stored) >= 0 AND id = ANY($6::text[] || $29::text[])
  ORDER BY id COLLATE "C" FOR UPDATE
), `,
      " AND (SELECT count(*) FROM locked) >= 0"
    )
  }, news AS (
  SELECT number, receiver, message, at FROM unnest($28::text[], $29::text[], $30::text[], $31::timestamptz[])
    WITH ORDINALITY AS new(teller, receiver, message, at, number)
  WHERE teller IN (SELECT execution FROM stored)
), told AS (
  UPDATE ${names.execution} AS old SET
    mail = mail + more.count,
    wake_at = CASE WHEN worker IS NULL THEN least(wake_at, more.at) ELSE wake_at END
  FROM (SELECT receiver, count(*) AS count, min(at) AS at FROM news GROUP BY receiver) AS more
  WHERE id = more.receiver AND status NOT IN ('completed', 'rolledback', 'abandoned')
    AND (SELECT count(*) FROM locked) >= 0
  RETURNING id, mail - more.count AS before
), heard AS (
  INSERT INTO ${names.inbox} (execution, number, message, at)
  SELECT id, before + row_number() OVER (PARTITION BY id ORDER BY number), message, at
  FROM told JOIN news ON receiver = id
), answered AS (
  DELETE FROM ${names.inbox} AS inbox
  USING unnest($21::text[], $22::float8[]) AS gone(execution, number)
  WHERE inbox.execution = gone.execution AND inbox.number = gone.number::bigint
    AND gone.execution IN (SELECT execution FROM stored)
), put AS (
  INSERT INTO ${names.inbox} (execution, number, message, at)
  SELECT execution, number::bigint, message, at
  FROM unnest($23::text[], $24::float8[], $25::text[], $26::timestamptz[]) AS new(execution, number, message, at)
  WHERE execution IN (SELECT execution FROM stored)
), keyed AS (
  INSERT INTO ${names.key} (execution, key)
  SELECT execution, key FROM unnest($23::text[], $27::text[]) AS new(execution, key)
  WHERE key IS NOT NULL AND execution IN (SELECT execution FROM stored)
)
${answer}`

/**
 * The OR keeps the planner from making a join of the IN: it is a hashed subplan over `kept`, linear in the batch.
 * `before` are CTEs that know what was stored, `first` what has to be done before a row is changed.
 */
const carefullyChanged = (names: Names, before = "", first = ""): string =>
  `kept AS (
  ${insert(names)}
  ON CONFLICT (execution, seq) DO NOTHING
  RETURNING execution
), ${created(names)}, stored AS (
  SELECT execution FROM kept UNION ALL SELECT execution FROM created
), ${before}changed AS (
  ${change(names, `(mail IS NULL OR id IN (SELECT execution FROM kept))${first}`)}
)`

/**
 * The rows to create and to change, in the order of the table's columns: what a change leaves as it is comes first, so
 * that the database's log need not repeat it. `mail` -1 marks a change, and what is below it one that continues as new
 * at the place -2 - `mail`. Their parameters are fourteen from `$first` on.
 */
const rows = (
  names: Names,
  { first = 6, where }: { readonly first?: number; readonly where?: string } = {}
): string =>
  `INSERT INTO ${names.execution} AS old
    (created_at, mail, received, version, id, name, tags, payload, token, entries, updated_at, status, worker, wake_at,
      result)
  SELECT at, mail, received, version, id, name, tags::jsonb, payload, token, entries,
    CASE WHEN mail < 0 THEN at END, status, worker,
    CASE WHEN worker IS NULL AND mail > received THEN least(wake_at, at) ELSE wake_at END, result
  FROM unnest(${Object.values(given).map((type, index) => `$${first + index}::${type}[]`).join(", ")})
    AS new(${Object.keys(given).join(", ")})
  ${where === undefined ? "" : `WHERE ${where}\n  `}ORDER BY id COLLATE "C"`

const given = {
  id: "text",
  name: "text",
  payload: "text",
  status: "text",
  result: "text",
  worker: "text",
  tags: "text",
  token: "text",
  entries: "text",
  wake_at: "timestamptz",
  at: "timestamptz",
  mail: "integer",
  received: "integer",
  version: "integer"
}

/** A new row holds the first append as well: its key is the place that two starts race for. */
const created = (names: Names): string =>
  `created AS (
  ${rows(names, { where: "mail >= 0" })}
  ON CONFLICT (id) DO NOTHING
  RETURNING id AS execution
)`

/**
 * Changes rows for which `mayChange` holds. An upsert, so that no join with the table has to be planned. A change of a
 * row that is not there inserts one, which a trigger of the table removes within the statement.
 */
const change = (names: Names, mayChange: string): string =>
  `${rows(names, { where: `mail < 0 AND ${mayChange}` })}
  ON CONFLICT (id) DO UPDATE SET
    ${changes}`

const changes = `status = excluded.status,
    result = excluded.result,
    worker = excluded.worker,
    wake_at = CASE
      WHEN excluded.worker IS NULL AND old.mail > excluded.received
      THEN least(excluded.wake_at, excluded.updated_at) ELSE excluded.wake_at END,
    received = excluded.received,
    updated_at = excluded.updated_at,
    version = CASE WHEN excluded.mail < -1 THEN excluded.version ELSE old.version END,
    base = CASE WHEN excluded.mail < -1 THEN -2 - excluded.mail ELSE old.base END`

/** A range of one, read in the order of the index: for an equality the planner may scan the table to find one row. */
const ownedBy = (worker: string): string => `worker >= ${worker} AND worker <= ${worker}`

/** `margin` in milliseconds. */
const isGone = (margin: string): string =>
  `(w.retired OR w.expires_at <= clock_timestamp() - ${margin}::float8 * interval '1 millisecond')`

/** A saga that is named beside versions is claimed in these versions only. */
const ofVersion = `(name <> ALL($8::text[]) OR EXISTS (
      SELECT FROM unnest($8::text[], $9::float8[]) AS wanted(of, v) WHERE of = name AND v = version
    ))`

/**
 * Due ones by saga and time; then those of each worker that is gone and owns something. What live workers own is not
 * looked at: they start and end executions all the time, so their part of the index is full of dead entries. Those who
 * are gone come as an array, which the planner takes for short: a join looks to it as if it were worth compiling (JIT).
 *
 * The rows are locked before the journals are written, and a row that another claimer has locked is skipped. The place
 * in a journal is `max(seq) + 1` as of the statement's start: a zombie that appends meanwhile takes it, and the
 * execution is not claimed this time.
 */
const claim = (names: Names, returning: string): string =>
  `WITH gone AS (
  SELECT w.id AS worker, CASE WHEN w.retired THEN '-infinity' ELSE w.expires_at END AS since FROM ${names.worker} AS w
  WHERE w.id = ANY(ARRAY(
    SELECT w.id FROM ${names.worker} AS w
    CROSS JOIN LATERAL (SELECT 1 FROM ${names.execution} WHERE ${ownedBy("w.id")} ORDER BY worker LIMIT 1) AS owned
    WHERE ${isGone("$5")}
  ))
), due AS (
  SELECT e.id, e.wake_at AS since
  FROM (SELECT DISTINCT name FROM unnest($2::text[]) AS names(name)) AS wanted
  CROSS JOIN LATERAL (
    SELECT id, wake_at FROM ${names.execution}
    WHERE worker IS NULL AND wake_at <= $4::timestamptz AND name = wanted.name AND ${ofVersion}
    ORDER BY wake_at LIMIT $3::integer FOR UPDATE SKIP LOCKED
  ) AS e
), orphaned AS (
  SELECT e.id, gone.since
  FROM gone
  CROSS JOIN LATERAL (
    SELECT id FROM ${names.execution}
    WHERE ${ownedBy("gone.worker")} AND name = ANY($2::text[]) AND ${ofVersion}
    ORDER BY worker LIMIT $3::integer FOR UPDATE SKIP LOCKED
  ) AS e
), picked AS (
  SELECT id, since FROM (SELECT id, since FROM due UNION ALL SELECT id, since FROM orphaned) AS found
  ORDER BY since, id LIMIT $3::integer
), kept AS (
  INSERT INTO ${names.journal} (execution, seq, token, at, entries)
  SELECT id, 1 + coalesce(
    (SELECT seq FROM ${names.journal} WHERE execution = picked.id ORDER BY seq DESC LIMIT 1), 0),
    $6::text, $4::timestamptz, $7::text
  FROM picked ORDER BY id
  ON CONFLICT (execution, seq) DO NOTHING
  RETURNING execution, seq
), claimed AS (
  UPDATE ${names.execution} AS e SET worker = $1, wake_at = NULL, updated_at = $4::timestamptz
  FROM kept WHERE e.id = kept.execution
  RETURNING kept.seq::float8 AS seq, ${returning}
)`

/**
 * The same, with what is stored of each: the row as the claim left it, and its appends from `base` to the claim's own,
 * which is not among them. None can be missing there, because the last of them is what the claim counted from.
 */
const claimAndRead = (names: Names): string => {
  const appends = `FROM ${names.journal} WHERE execution = claimed.id AND seq >= claimed.base::integer`
  const times = ["wake_at", "created_at", "updated_at"]
  const small = [
    "id",
    "seq",
    "name",
    "version",
    "tags",
    "status",
    "worker",
    "mail",
    "received",
    "base",
    "token",
    ...times
  ]
  const texts = ["payload", "result", "entries"]
  return `${claim(names, `${summary}, token, ${texts.join(", ")}`)}
SELECT ${small.map((column) => `claimed.${column}`).join(", ")}, size.fits,
  ${texts.map((column) => `CASE WHEN size.fits THEN claimed.${column} END AS ${column}`).join(", ")},
  coalesce(later.appends, '[]') AS later
FROM claimed JOIN picked USING (id)
CROSS JOIN LATERAL (
  SELECT count(*) <= ${maxClaimed.appends} AND ${maxClaimed.bytes} >= octet_length(claimed.payload) +
    coalesce(octet_length(claimed.result), 0) + octet_length(claimed.entries) + coalesce(sum(length), 0) AS fits
  FROM (SELECT octet_length(entries) AS length ${appends} LIMIT ${maxClaimed.appends + 1}) AS counted
) AS size
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_object('seq', seq, 'token', token, 'at', at, 'entries', entries))::text AS appends
  FROM (
    SELECT seq, token, (extract(epoch FROM at) * 1000)::float8 AS at, entries ${appends} AND size.fits ORDER BY seq
  ) AS append
) AS later ON true
ORDER BY picked.since, picked.id`
}

/**
 * A worker that is gone keeps its row while it owns something, and for an hour, because a late append of its own may
 * still start an execution. An owner without a row, which is not supposed to be, gets one as retired. Owners are found
 * by skipping from one to the next in the index of owned executions.
 */
const register = (names: Names): string =>
  `WITH RECURSIVE owner(worker) AS (
  (SELECT worker FROM ${names.execution} WHERE worker IS NOT NULL ORDER BY worker LIMIT 1)
  UNION ALL
  SELECT (SELECT e.worker FROM ${names.execution} AS e WHERE e.worker > owner.worker ORDER BY e.worker LIMIT 1)
  FROM owner WHERE owner.worker IS NOT NULL
), found AS (
  INSERT INTO ${names.worker} (id, expires_at, retired)
  SELECT worker, clock_timestamp(), true FROM owner WHERE worker <> $1
  ON CONFLICT (id) DO NOTHING
), forgotten AS (
  DELETE FROM ${names.worker} AS w
  WHERE expires_at < clock_timestamp() - interval '1 hour' AND id <> $1
    AND NOT EXISTS (SELECT 1 FROM ${names.execution} AS e WHERE e.worker = w.id)
)
INSERT INTO ${names.worker} (id, expires_at, retired) VALUES ($1, ${fromNow("$2")}, false)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, retired = false`

const retire = (names: Names): string =>
  `UPDATE ${names.worker} SET retired = true, expires_at = least(expires_at, clock_timestamp())`

/**
 * The row is locked before its status is looked at, so an end that is being written is waited for. A key that another
 * transaction has put meanwhile fails the statement, and then it is there to be seen.
 */
const send = (names: Names): string =>
  `WITH counted AS (
  UPDATE ${names.execution} SET
    mail = mail + 1,
    wake_at = CASE WHEN worker IS NULL THEN least(wake_at, $3::timestamptz) ELSE wake_at END
  WHERE id = $1 AND status <> ALL($4::text[])
    AND NOT EXISTS (SELECT 1 FROM ${names.key} WHERE execution = $1 AND key = $5::text)
  RETURNING id, mail, worker
), keyed AS (
  INSERT INTO ${names.key} (execution, key) SELECT id, $5::text FROM counted WHERE $5::text IS NOT NULL
), put AS (
  INSERT INTO ${names.inbox} (execution, number, message, at) SELECT id, mail, $2, $3::timestamptz FROM counted
)
SELECT worker FROM counted`
