/**
 * What happened to the orders, for people: a timeline of each, a summary that adds up, and the participants' books.
 */
import { Effect, Result, Schema } from "effect"
import { SagaStore } from "effect-saga"
import { count, money, paint, print as line } from "./screen.ts"
import * as Shop from "./shop.ts"
import * as Timeline from "./timeline.ts"

/** An order that was given to the saga. */
export interface Placed {
  readonly order: Shop.Order
  readonly id: string
  /** Why it was not even started. */
  readonly refused: string | undefined
}

/** The books do not add up: a step happened twice, or was not undone. */
export class BooksError extends Schema.TaggedError<BooksError>()("BooksError", { wrong: Schema.Array(Schema.String) }) {
  override get message(): string {
    return `The books do not add up: ${this.wrong.join(", ")}. This is a bug: keep the data, and report it.`
  }
}

const colours = {
  completed: "green",
  "rolled back": "magenta",
  "failed at once": "yellow",
  parked: "red",
  "not ended": "red",
  malformed: "yellow",
  refused: "red"
} as const
type Outcome = keyof typeof colours

/** Prints everything; fails if something does not add up. */
export const print = Effect.fn("Report.print")(function*(
  read: ReadonlyArray<Shop.Read>,
  placed: ReadonlyArray<Placed>
) {
  const store = yield* SagaStore.SagaStore
  const outcomes = new Map<Outcome, Array<string>>()
  const add = (outcome: Outcome, order: string) => {
    outcomes.set(outcome, [...outcomes.get(outcome) ?? [], order])
  }
  for (const one of read) {
    line()
    if (Result.isFailure(one)) {
      line(`${paint("bold", one.failure.line)}: ${paint(colours.malformed, "malformed")}. ${one.failure.issue}`)
      add("malformed", one.failure.line)
      continue
    }
    const { id, order, refused } = placed.find(({ order }) => order === one.success)!
    const title = `${paint("bold", order.id)} ${order.customer}, ${money(order.total)}`
    if (refused !== undefined) {
      line(`${title}: ${paint(colours.refused, "refused")}. ${refused}`)
      add("refused", order.id)
      continue
    }
    const timeline = Timeline.make(yield* store.journal(id))
    add(timeline.ending, order.id)
    line(`${title}: ${paint(colours[timeline.ending], timeline.ending)} after ${timeline.took} ms`)
    for (const text of timeline.lines) line(text)
  }
  summary(read.length, outcomes)
  yield* books(outcomes)
})

const summary = (all: number, outcomes: ReadonlyMap<Outcome, ReadonlyArray<string>>): void => {
  line()
  line(paint("bold", `${String(all).padStart(3)} orders read`))
  let sum = 0
  for (const outcome of Object.keys(colours) as ReadonlyArray<Outcome>) {
    const orders = outcomes.get(outcome) ?? []
    sum += orders.length
    if (orders.length === 0) continue
    const names = orders.length > 5 || outcome === "malformed" ? "" : `  ${orders.join(", ")}`
    line(`${String(orders.length).padStart(3)} ${paint(colours[outcome], outcome.padEnd(14))}${names}`.trimEnd())
  }
  if (sum !== all) line(paint("red", `These are ${sum}, not ${all}.`))
}

/** Compares what the participants hold with how the executions ended. */
const books = Effect.fnUntraced(function*(outcomes: ReadonlyMap<Outcome, ReadonlyArray<string>>) {
  const completed = outcomes.get("completed") ?? []
  const parked = outcomes.get("parked") ?? []
  const endings = ["completed", "rolled back", "failed at once", "parked"] as const
  const ended = endings.flatMap((ending) => outcomes.get(ending) ?? [])
  const { letters, parcels, payments, reservations, stock } = yield* Shop.books(ended)

  const { all, mine } = reservations
  const kept = (orders: ReadonlyArray<string>) =>
    sum(payments.filter((_) => orders.includes(_.order)).map((_) => _.charged - _.refunded))
  const units = (rows: typeof reservations.all, state: string) =>
    sum(rows.filter((_) => _.state === state).map((_) => _.units))
  const charged = sum(payments.map((_) => _.charged))
  const refunded = sum(payments.map((_) => _.refunded))

  line()
  line(paint("bold", "The books of those who took part"))
  line(
    `    money: ${money(charged)} charged, ${money(refunded)} of it refunded; ${money(kept(completed))} is for what ` +
      `was completed${parked.length === 0 ? "" : `, ${money(kept(parked))} is stuck`}`
  )
  line(
    `    stock: ${stock.initial} units at first, ${stock.onHand} now; ${units(all, "taken")} taken out, ` +
      `${stock.reserved} reserved`
  )
  line(
    `    ${count(parcels.length, "parcel")} and ${count(letters.length, "letter")} for ` +
      count(completed.length, "completed order")
  )

  const oneEach = (rows: ReadonlyArray<{ readonly order: string }>) =>
    rows.length === completed.length && completed.every((order) => rows.some((row) => row.order === order))
  const wrong = [
    ...payments.filter((_) => _.times > 1).map((_) => `${_.order} was charged ${_.times} times`),
    ...charged - refunded === kept(completed) + kept(parked) ? [] : ["money is missing"],
    ...stock.initial - stock.onHand === units(all, "taken") && stock.reserved === units(all, "reserved")
      ? []
      : ["stock is missing"],
    ...units(mine, "reserved") === 0 ? [] : ["goods are reserved for nobody"],
    ...mine.every((_) => (_.state === "taken") === completed.includes(_.order)) ? [] : ["goods are gone"],
    ...oneEach(parcels) ? [] : ["parcels are wrong"],
    ...oneEach(letters) ? [] : ["letters are wrong"]
  ]
  if (wrong.length > 0) return yield* new BooksError({ wrong })
  line(paint("green", "They add up: nobody was charged twice, and what was undone left nothing behind."))
  if (parked.length > 0) {
    line()
    line(`Parked: ${parked.join(", ")}. A person looks into it, and then \`npm start -- --resume\` goes on with it.`)
  }
})

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((all, one) => all + one, 0)
