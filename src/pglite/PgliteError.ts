/**
 * Why the embedded database cannot be opened.
 *
 * One error, `PgliteError`, with a `reason` union: `Effect.catchReason("PgliteError", "FolderInUse", ...)` picks one.
 * Errors of statements never travel in here: those are `SqlError`, as with any other `PgClient`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Another opener holds the folder: another process, or this one.
 *
 * @category errors
 * @since 0.1.0
 */
export class FolderInUse extends Schema.TaggedError<FolderInUse>("effect-saga/PgliteError/FolderInUse")("FolderInUse", {
  dataDir: Schema.String,
  /** The process that holds it. */
  pid: Schema.Int,
  /** Whether that is this very process. */
  here: Schema.Boolean
}) {
  override get message(): string {
    return this.here
      ? `The database folder ${this.dataDir} is already open in this process. ` +
        "Build its layer once and provide it to everything that needs it, or close the first one before."
      : `The database folder ${this.dataDir} is in use by process ${this.pid}. ` +
        "Stop that process or choose another folder: an embedded database serves one process at a time."
  }
}

/**
 * The folder holds something else than a database.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotADatabase extends Schema.TaggedError<NotADatabase>("effect-saga/PgliteError/NotADatabase")(
  "NotADatabase",
  { dataDir: Schema.String }
) {
  override get message(): string {
    return `The folder ${this.dataDir} is not empty and holds no database. ` +
      "Nothing was changed: give a folder that is empty, or that does not exist yet."
  }
}

/**
 * The optional peer dependency is not installed.
 *
 * @category errors
 * @since 0.1.0
 */
export class PeerMissing extends Schema.TaggedError<PeerMissing>("effect-saga/PgliteError/PeerMissing")("PeerMissing", {
  cause: Schema.Defect()
}) {
  override get message(): string {
    return "The embedded database needs the package @electric-sql/pglite, which is not installed. " +
      "Add it to your dependencies: `npm install @electric-sql/pglite`."
  }
}

/**
 * The installed PGlite does not pass flushes on to the disk, so a commit would not be durable.
 *
 * @category errors
 * @since 0.1.0
 */
export class CannotFlush extends Schema.TaggedError<CannotFlush>("effect-saga/PgliteError/CannotFlush")("CannotFlush", {
  dataDir: Schema.String
}) {
  override get message(): string {
    return `The installed @electric-sql/pglite cannot flush ${this.dataDir} to the disk, so commits would not be ` +
      "durable. Install the version that effect-saga names as its peer, or accept the loss with `durable: false`."
  }
}

/**
 * PGlite did not start.
 *
 * @category errors
 * @since 0.1.0
 */
export class OpenFailed extends Schema.TaggedError<OpenFailed>("effect-saga/PgliteError/OpenFailed")("OpenFailed", {
  /** `undefined` in memory. */
  dataDir: Schema.UndefinedOr(Schema.String),
  /** What was being done. */
  while: Schema.String,
  /** The last that the database had to say. */
  output: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const where = this.dataDir === undefined ? "in memory" : this.dataDir
    const output = this.output === "" ? "" : ` (${this.output})`
    return `The embedded database ${where} failed while ${this.while}${output}. ` +
      "See the cause, correct it (permissions, disk space, the PostgreSQL version of the folder) and open it again."
  }
}

/**
 * Everything that `PgliteError` can say.
 *
 * @category errors
 * @since 0.1.0
 */
export type Reason = FolderInUse | NotADatabase | PeerMissing | CannotFlush | OpenFailed

/**
 * The embedded database cannot be opened.
 *
 * @category errors
 * @since 0.1.0
 */
export class PgliteError extends Schema.TaggedError<PgliteError>("effect-saga/PgliteError")("PgliteError", {
  reason: Schema.Union([FolderInUse, NotADatabase, PeerMissing, CannotFlush, OpenFailed])
}) {
  override readonly cause = this.reason
  override get message(): string {
    return this.reason.message
  }
}
