/**
 * The library's one error that a step can fail with by itself.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * An attempt at a step, or at a compensation, took longer than its timeout.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimedOut extends Schema.TaggedError<TimedOut>("effect-saga/Step/TimedOut")("TimedOut", {
  step: Schema.String
}) {
  override get message(): string {
    return `${this.step} took longer than its timeout`
  }
}
