/** What the contenders on Effect share. */
import { PgClient } from "@effect/sql-pg"
import { Effect, type Layer, Redacted } from "effect"

/** Callers of a saga that is an Effect: fibers of one runtime. */
export const callers = <E, R>(
  concurrency: number,
  until: () => boolean,
  run: Effect.Effect<unknown, E, R>
): Effect.Effect<Array<number>, E, R> => {
  const millis: Array<number> = []
  const caller = Effect.gen(function*() {
    while (!until()) {
      const before = performance.now()
      yield* run
      millis.push(performance.now() - before)
    }
  })
  return Effect.as(
    Effect.forEach(Array.from({ length: concurrency }), () => caller, { concurrency: "unbounded", discard: true }),
    millis
  )
}

export const client = (url: string, options: Omit<PgClient.PgPoolConfig, "url"> = {}) =>
  PgClient.layer({ ...options, url: Redacted.make(url) })

export type Client = Layer.Success<ReturnType<typeof client>>
