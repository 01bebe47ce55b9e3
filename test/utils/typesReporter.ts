/**
 * A tstyche reporter that writes the counts of a run to the file named by `EFFECT_SAGA_TYPES_REPORT`.
 */
import * as fs from "node:fs"
import type { Reporter, ReporterEvent } from "tstyche/api"

export default class TypesReporter implements Reporter {
  #errors = 0

  on([event, payload]: ReporterEvent): void {
    // An error outside of a test is in no count.
    if (
      event === "project:error" || event === "file:error" || event === "collect:error" || event === "directive:error"
    ) {
      this.#errors += 1
    }
    const file = process.env["EFFECT_SAGA_TYPES_REPORT"]
    if (event !== "run:end" || file === undefined) return
    const { failed, fixme, passed, skipped, todo } = payload.result.testCounts
    fs.writeFileSync(
      file,
      JSON.stringify({ passed, failed: failed + this.#errors, skipped: skipped + fixme + todo })
    )
  }
}
