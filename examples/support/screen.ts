/**
 * What an example prints: colours and a progress line on a terminal, plain text everywhere else.
 */
import { Effect } from "effect"
import { styleText } from "node:util"

const terminal = process.stdout.isTTY

type Style = Parameters<typeof styleText>[0]

/** Coloured on a terminal, unless `NO_COLOR` is set. */
export const paint = (style: Style, text: string): string =>
  terminal && !process.env["NO_COLOR"] ? styleText(style, text, { validateStream: false }) : text

const clear = "\r\u001b[2K"

/** A line that the next one replaces. Only on a terminal. */
export const progress = (text: string): void => {
  if (terminal) process.stdout.write(clear + paint("dim", text.slice(0, (process.stdout.columns || 80) - 1)))
}

/** A line that stays. */
export const print = (text = ""): void => {
  process.stdout.write(`${terminal ? clear : ""}${text}\n`)
}

/** Says in a sentence why the program cannot go on, and what lies behind it. */
export const fail = (error: Error): Effect.Effect<void> =>
  Effect.sync(() => {
    let cause: unknown = error
    while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause
    const reason = (cause as Error).message
    const behind = error.message.includes(reason) ? "" : ` (${reason})`
    process.stderr.write(`${terminal ? clear : ""}${paint("red", "error")}: ${error.message}${behind}\n`)
    process.exitCode = 1
  })

/** Cents, as people read them. */
export const money = (cents: number): string => (cents / 100).toFixed(2)

/** `1 parcel`, `2 parcels`. */
export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`
