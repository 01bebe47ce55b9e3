/**
 * The library's one error that a child can fail with by itself.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A child rolled back for another reason than an error of its own: everything that it did is undone.
 *
 * **Details**
 *
 * `Cancelled`: somebody cancelled it. `DeadlineExceeded`: it took longer than its own deadline. `Operator`: a person
 * ordered it. `Defect`: a bug, in a saga that rolls back on defects. `child` is its execution.
 *
 * @category errors
 * @since 0.1.0
 */
export class ChildRolledBack
  extends Schema.TaggedError<ChildRolledBack>("effect-saga/Saga/ChildRolledBack")("ChildRolledBack", {
    child: Schema.String,
    why: Schema.Literals(["Cancelled", "DeadlineExceeded", "Operator", "Defect"])
  })
{
  override get message(): string {
    return `${this.child} was rolled back (${this.why}): everything that it did is undone`
  }
}
