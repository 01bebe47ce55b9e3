import { assert, describe, it } from "@effect/vitest"
import * as Protocol from "../../src/pglite/internal/protocol.ts"

const complete = (tag: string): Buffer => Protocol.message("C", Buffer.from(`${tag}\0`))
const ready = (status: string): Buffer => Protocol.message("Z", Buffer.from(status))
const error = Protocol.message("E", Buffer.from("SERROR\0\0"))

describe("the wire protocol", () => {
  it("recognises the statements that touch what sessions share", () => {
    const table: ReadonlyArray<readonly [sql: string, statement: Protocol.Statement]> = [
      ["BEGIN", { _tag: "Begin" }],
      ["  begin isolation level serializable", { _tag: "Begin" }],
      ["START TRANSACTION", { _tag: "Begin" }],
      ["LISTEN \"a channel\"", { _tag: "Listen", channel: "a channel" }],
      ["LISTEN \"say \"\"hi\"\"\"", { _tag: "Listen", channel: "say \"hi\"" }],
      ["listen Folded", { _tag: "Listen", channel: "folded" }],
      ["UNLISTEN \"a\"", { _tag: "Unlisten", channel: "a" }],
      ["UNLISTEN *", { _tag: "UnlistenAll" }],
      ["SELECT 'BEGIN'", { _tag: "Other" }],
      ["beginning", { _tag: "Other" }],
      ["", { _tag: "Other" }]
    ]
    for (const [sql, statement] of table) assert.deepStrictEqual(Protocol.classify(sql), statement, sql)
  })

  it("reads an answer for its outcome", () => {
    const notification = Protocol.message("A", Buffer.from("\0\0\0\x2achannel\0payload\0"))
    const answers: ReadonlyArray<readonly [answer: Buffer, outcome: Protocol.Outcome]> = [
      [ready("I"), { status: "idle", failed: false, committed: false, notifications: [] }],
      [Buffer.concat([error, ready("E")]), { status: "failed", failed: true, committed: false, notifications: [] }],
      [
        Buffer.concat([complete("COMMIT"), ready("T")]),
        { status: "open", failed: false, committed: true, notifications: [] }
      ],
      [
        Buffer.concat([notification, ready("I")]),
        {
          status: "idle",
          failed: false,
          committed: false,
          notifications: [{ channel: "channel", bytes: notification }]
        }
      ],
      [Buffer.alloc(0), { status: "lost", failed: false, committed: false, notifications: [] }],
      [ready("I").subarray(0, 3), { status: "lost", failed: false, committed: false, notifications: [] }]
    ]
    for (const [answer, outcome] of answers) assert.deepStrictEqual(Protocol.readOutcome(answer), outcome)
  })

  it("keeps name and types of a statement whose text it replaces", () => {
    const types = Buffer.from([0, 1, 0, 0, 0, 25])
    const frame = Protocol.message("P", Buffer.concat([Buffer.from("name\0UNLISTEN x\0"), types]))
    const rewritten = Protocol.rewriteParse(frame, Protocol.harmlessUnlisten)
    assert.deepStrictEqual(Protocol.readParse(rewritten), { name: "name", sql: Protocol.harmlessUnlisten })
    assert.deepStrictEqual(rewritten.subarray(-types.length), types)
    assert.strictEqual(Protocol.frameLength(rewritten, 0), rewritten.length)
  })
})
