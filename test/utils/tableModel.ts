/**
 * Rule 18 as a table, and what follows from it for a saga of three steps A, B and C, of which C decides and B's
 * compensation misbehaves. It knows nothing of the library: what it says is compared with what really happens.
 */

export type Direction = "forward" | "under cancel" | "under deadline"

export interface Case {
  readonly outcome: keyof typeof forward
  readonly undoing: keyof typeof compensations
  readonly mode: "sequential" | "parallel"
  readonly onFailure: "continue" | "halt"
  readonly onDefect: "park" | "rollback"
  readonly direction: Direction
}

/** How C ends: it stands, a word for why it failed, `withdrawn` (it did not happen), or why it parks. */
type Verdict = "stands" | "Refused" | "TimedOut" | "withdrawn" | "Unknown" | "Defect"
type Row = readonly [acts: string, verdict: Verdict]

/** The acts of C in order, each with the ordinal in its key, `?` for a check; then the verdict. */
export const forward = {
  "done": ["0", "stands"],
  "refused": ["0", "Refused"],
  "refused, then done": ["0 1", "stands"],
  "timeout, check happened": ["0 ?0", "stands"],
  "timeout, check never": ["0 ?0", "TimedOut"],
  "timeout, check never, then done": ["0 ?0 1", "stands"],
  "timeout, check going": ["0 ?0", "Unknown"],
  "timeout, check going, then happened": ["0 ?0 ?0", "stands"],
  "timeout, unknown refused": ["0", "TimedOut"],
  "timeout, unknown refused, then done": ["0 0", "stands"],
  "timeout, unknown park": ["0", "Unknown"],
  "timeout, unknown park, then done": ["0 0", "stands"],
  "defect": ["0", "Defect"],
  "defect, unknown park": ["0", "Defect"],
  "defect, unknown refused": ["0", "Defect"],
  "defect, check happened": ["0 ?0", "stands"],
  "defect, check never": ["0 ?0", "Defect"],
  "defect, check going": ["0 ?0", "Defect"],
  "crash": ["0 0", "stands"],
  "crash, unknown park": ["0 0", "stands"],
  "crash, unknown refused": ["0 0", "stands"],
  "crash, check happened": ["0 ?0", "stands"],
  "crash, check never, then done": ["0 ?0 1", "stands"],
  "crash, check going": ["0 ?0", "Unknown"]
} as const satisfies Record<string, Row>

/** Where a cancel or a deadline makes another row of it: C is awaited, and nothing new is tried. */
const backward: { readonly [Outcome in keyof typeof forward]?: Row } = {
  "refused, then done": ["0", "Refused"],
  "timeout, check never, then done": ["0 ?0", "TimedOut"],
  "timeout, unknown refused, then done": ["0", "TimedOut"],
  "timeout, unknown park, then done": ["0", "Unknown"],
  "crash, check never, then done": ["0 ?0", "withdrawn"]
}

/** Where a saga that rolls back on defects counts one as not happened. */
const defects: { readonly [Outcome in keyof typeof forward]?: Row } = {
  "defect": ["0", "withdrawn"],
  "defect, unknown refused": ["0", "withdrawn"],
  "defect, check never": ["0 ?0", "withdrawn"]
}

/** The acts of B's compensation, `?` for a check, always under one key; the attempts that ended; and its end. */
export const compensations = {
  "succeeds": ["undo", 1, "completed"],
  "fails, then succeeds": ["undo undo", 2, "completed"],
  "fails for good": ["undo undo", 2, "Stuck"],
  "times out, then succeeds": ["undo undo", 2, "completed"],
  "times out for good": ["undo undo", 2, "TimedOut"],
  "times out, check happened": ["undo ?", 1, "completed"],
  "times out, check never": ["undo ? undo", 2, "completed"],
  "times out, check going, then happened": ["undo ? ?", 1, "completed"],
  "times out, check going, still going": ["undo ? ?", 1, "defect"],
  "dies": ["undo", 1, "defect"],
  "dies, check happened": ["undo ?", 1, "completed"],
  "dies, check never": ["undo ?", 1, "defect"],
  "process dies": ["undo undo", 1, "completed"],
  "process dies, check happened": ["undo ?", 1, "completed"],
  "process dies, check never": ["undo ? undo", 1, "completed"]
} as const

const stepStatus = { stands: "completed", Refused: "failed", TimedOut: "failed", withdrawn: "withdrawn" } as const
const causes = { "under cancel": "Cancelled", "under deadline": "DeadlineExceeded" } as const

/** Everything that can be seen of a case. */
export const expected = ({ direction, mode, onDefect, onFailure, outcome, undoing }: Case) => {
  const row: Row = (onDefect === "rollback" ? defects[outcome] : undefined) ??
    (direction === "forward" ? undefined : backward[outcome]) ?? forward[outcome]
  const [acts, verdict] = row
  const parks = verdict === "Unknown" || verdict === "Defect"
  const happened = verdict === "stands" ? ["A", "B", "C"] : ["A", "B"]
  const ofC = { acts: `C ${acts}`, status: parks ? "unknown" : stepStatus[verdict] }
  if (parks || (verdict === "stands" && direction === "forward")) {
    const pending = happened.map((step) => `${step} pending 0`)
    const end = parks ? `Parked ${verdict}` : "Completed"
    const original = parks && direction !== "forward" ? causes[direction] : undefined
    return { ofC, end, original, order: [], undo: [], records: pending, unresolved: [], stands: happened }
  }
  const cause = direction !== "forward" ? causes[direction] : verdict === "withdrawn" ? "Defect" : verdict
  const [undo, attempts, ended] = compensations[undoing]
  const failed = ended !== "completed"
  const alone = mode === "sequential"
  const order = happened.toReversed()
  const begun = alone && failed && onFailure === "halt" ? order.filter((step) => step !== "A") : order
  const actsOf = (step: string) => step === "B" ? undo.split(" ").map((act) => `${act} B`) : [`undo ${step}`]
  const left = happened.filter((step) => !begun.includes(step) || (step === "B" && failed))
  return {
    ofC,
    end: failed ? "Parked CompensationFailed" : `RolledBack ${cause}`,
    original: failed ? cause : undefined,
    order: alone
      ? begun.flatMap((step) => [`begin ${step}`, `end ${step}`])
      : [...happened.map((step) => `begin ${step}`), ...happened.map((step) => `end ${step}`)],
    undo: alone ? begun.flatMap(actsOf) : [...happened.map((step) => `undo ${step}`), ...actsOf("B").slice(1)],
    records: happened.map((step) =>
      !begun.includes(step)
        ? `${step} pending 0`
        : step === "B"
        ? `B ${failed ? `failed ${attempts} ${ended}` : `completed ${attempts}`}`
        : `${step} completed 1`
    ),
    unresolved: left.map((step) => step === "B" ? `B ${attempts} ${ended}` : `${step} 0`),
    stands: left
  }
}

export type Expected = ReturnType<typeof expected>

/** Every combination. Whether defects roll back matters to steps that die only. */
export const cases: ReadonlyArray<Case> = (Object.keys(forward) as Array<Case["outcome"]>).flatMap((outcome) =>
  (Object.keys(compensations) as Array<Case["undoing"]>).flatMap((undoing) =>
    (["sequential", "parallel"] as const).flatMap((mode) =>
      (["continue", "halt"] as const).flatMap((onFailure) =>
        (outcome.startsWith("defect") ? ["park", "rollback"] as const : ["park"] as const).flatMap((onDefect) =>
          (["forward", "under cancel", "under deadline"] as const).map((direction): Case => ({
            outcome,
            undoing,
            mode,
            onFailure,
            onDefect,
            direction
          }))
        )
      )
    )
  )
)

export const nameOf = (one: Case): string =>
  `${one.direction}, ${one.outcome}; undoing B ${one.undoing}; ${one.mode}, ${one.onFailure}, defects ${one.onDefect}`
