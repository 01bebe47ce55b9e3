/**
 * How entries are written as JSON text: short, since the database logs and indexes what a journal holds, and still
 * readable.
 *
 * `{"did":"Reserve","value":1}` is `StepSucceeded` of the step Reserve. The tag, or a word for it, is the first key and
 * what identifies the entry its value; a time is left out where it is that of its append, and so is what is usual. An
 * entry with a `_tag`, which is how earlier versions wrote all of them, is read as it is. Fields that this version does
 * not know are kept. Pure: what an entry may hold is checked by its schema.
 *
 * @since 0.1.0
 */
import type * as Journal from "../Journal.ts"
import type { Blank } from "./blank.ts"

/**
 * An entry, and its text but for its time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Line {
  readonly entry: Journal.Entry
  readonly head: string
  readonly rest: string
}

/**
 * The text of an entry as it is now, whatever becomes of its values. `value` is the text of its `value`, where that is
 * known.
 *
 * **Details**
 *
 * Built as text: half the time of an object that is made to be written.
 *
 * @category encoding
 * @since 0.1.0
 */
export const write = (entry: Journal.Entry, value?: string): Line => {
  const { key, usual } = forms[entry._tag]
  const fields: Readonly<Record<string, unknown>> = entry
  let rest = ""
  for (const field in fields) {
    if (field === "_tag" || field === "at" || field === key) continue
    const content = fields[field]
    if (content === undefined || (usual !== undefined && content === usual[field])) continue
    const text = value !== undefined && field === "value" ? value : JSON.stringify(content)
    rest += (fieldHeads.get(field) ?? `,${JSON.stringify(field)}:`) + text
  }
  const subject = key === undefined
    ? "true"
    : key === "value" && value !== undefined
    ? value
    : JSON.stringify(fields[key])
  return { ...blank, entry, head: heads.get(entry._tag)! + subject, rest }
}

/**
 * The text of an append at this time.
 *
 * @category encoding
 * @since 0.1.0
 */
export const append = (entries: ReadonlyArray<Line>, at: number): string => {
  const shared = isKept(at) ? at : undefined
  // In parts, which become one flat text; what is added to a text refers to it and to what is added.
  const parts = ["["]
  for (let index = 0; index < entries.length; index++) {
    if (index > 0) parts.push(",")
    put(parts, entries[index]!, shared)
  }
  parts.push("]")
  return parts.join("")
}

/**
 * The text of an append of these entries at this time.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (entries: ReadonlyArray<Journal.Entry>, at: number): string =>
  append(entries.map((entry) => write(entry)), at)

/**
 * The text of one entry, with its time.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeOne = (entry: Journal.Entry): string => {
  const parts: Array<string> = []
  put(parts, write(entry), undefined)
  return parts.join("")
}

/**
 * The entries of an append at this time, as their schema reads them; what is no array stays what it is.
 *
 * @category decoding
 * @since 0.1.0
 */
export const expand = (json: unknown, at: number): unknown =>
  Array.isArray(json) ? json.map((entry) => expandOne(entry, at)) : json

/**
 * One entry as its schema reads it. Without `at` it has to have a time of its own.
 *
 * @category decoding
 * @since 0.1.0
 */
export const expandOne = (json: unknown, at?: number): unknown => {
  if (typeof json !== "object" || json === null || Array.isArray(json) || "_tag" in json) return json
  const keys = Object.keys(json)
  // The first one, unless somebody repaired the row through a type that sorts keys. A newer version has others.
  const word = keys.find((key) => tags.has(key)) ?? keys[0]
  if (word === undefined) return json
  const { [word]: subject, ...fields } = json as Readonly<Record<string, unknown>>
  const tag = tags.get(word)
  if (tag === undefined) return { _tag: word, ...fields }
  const { key, usual } = forms[tag]
  return {
    _tag: tag,
    ...(at === undefined ? undefined : { at }),
    ...usual,
    ...(key === undefined ? undefined : { [key]: subject }),
    ...fields
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

type Tag = Journal.Entry["_tag"]

interface Form {
  /** The field that stands beside the tag; undefined for none, then `true` stands there. */
  readonly key?: string
  /** What stands for the tag. */
  readonly word?: string
  /** Values that are left out. */
  readonly usual?: Readonly<Record<string, unknown>>
}

const named: Form = { key: "name" }
const bare: Form = {}

// Persistent: words, keys and usual values are stored. No word may be the name of a field, nor of another entry, and
// what is here is not changed: `saga_entry`, the view for people, knows it too.
const forms: { readonly [T in Tag]: Form } = {
  SagaStarted: { word: "start" },
  Claimed: { key: "worker" },
  StepStarted: { key: "name", word: "do", usual: { kind: "compensable" } },
  AttemptFailed: named,
  StepSucceeded: { key: "name", word: "did", usual: { attempt: 1 } },
  StepFailed: { key: "name", usual: { attempt: 1 } },
  StepWithdrawn: named,
  StepHeartbeat: named,
  PivotPassed: bare,
  TimerSet: named,
  TimerFired: named,
  TimerWithdrawn: named,
  ParkRequested: bare,
  CancelRequested: bare,
  DeadlinePassed: bare,
  RollbackRequested: bare,
  Resolved: bare,
  ResolutionRefused: bare,
  Suspended: bare,
  Published: named,
  VersionMarked: { key: "change" },
  RollbackStarted: bare,
  CompensationStarted: { key: "name", word: "undo" },
  CompensationAttemptFailed: named,
  CompensationTimerSet: named,
  CompensationHeartbeat: named,
  CompensationSucceeded: { key: "name", word: "undid", usual: { attempt: 1 } },
  CompensationFailed: named,
  ScopeRolledBack: bare,
  StepsRollbackStarted: named,
  StepsRolledBack: named,
  SignalAwaited: named,
  SignalReceived: named,
  ReceiveWithdrawn: named,
  CompensationSignalReceived: named,
  ChildStarted: named,
  ChildCancelRequested: named,
  ChildParked: named,
  ChildResumed: named,
  ChildEnded: named,
  RaceWon: named,
  ContinuedAsNew: bare,
  MailUndelivered: bare,
  SagaCompleted: { key: "value", word: "done" },
  SagaRolledBack: bare,
  SagaParked: bare,
  SagaAbandoned: bare
}

const tags: ReadonlyMap<string, Tag> = new Map(
  (Object.keys(forms) as Array<Tag>).flatMap((tag) => {
    const { word } = forms[tag]
    return word === undefined ? [[tag, tag]] : [[word, tag], [tag, tag]]
  })
)

/** `{"do":` of each tag. */
const heads = new Map(
  (Object.keys(forms) as Array<Tag>).map((tag) => [tag, `{${JSON.stringify(forms[tag].word ?? tag)}:`])
)

/** `,"value":` of the fields that most entries have. */
const fieldHeads = new Map(
  ["attempt", "error", "kind", "occurrence", "path", "scope", "value"].map((field) => [field, `,"${field}":`])
)

/** Whether every store gives this time back as it was: they keep whole milliseconds, and not all of them. */
const isKept = (at: number): boolean => Number.isInteger(at) && at >= 0 && at <= 8.64e15

const put = (parts: Array<string>, { entry: { at }, head, rest }: Line, shared: number | undefined): void => {
  parts.push(head)
  if (at !== shared) parts.push(",\"at\":", JSON.stringify(at))
  parts.push(rest, "}")
}

const blank: Blank<Line> = { entry: undefined, head: undefined, rest: undefined }
