/**
 * Random numbers that depend on a seed and on a key alone: what is drawn for one thing does not change because another
 * thing is left out.
 *
 * The hash is Effect's for strings, finished as in MurmurHash3 (Appleby, public domain) so that near keys differ.
 *
 * @since 0.1.0
 */
import * as Hash from "effect/Hash"

/**
 * Draws for one key, one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draw {
  /** A number from 0 to 1, without 1. */
  readonly number: () => number
  /** A whole number from `min` to `max`. */
  readonly int: (min: number, max: number) => number
  /** Whether something happens that happens with this probability, from 0 to 1. */
  readonly chance: (probability: number) => boolean
  /** One of these. */
  readonly pick: <A>(values: readonly [A, ...ReadonlyArray<A>]) => A
}

/**
 * The draws of a seed for a key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (seed: string | number, key: string): Draw => {
  let count = 0
  const number = () => finish(Hash.string(`${seed}/${key}/${count++}`)) / 2 ** 32
  const int = (min: number, max: number) => min + Math.floor(number() * (max - min + 1))
  return {
    number,
    int,
    chance: (probability) => number() < probability,
    pick: (values) => values[int(0, values.length - 1)]!
  }
}

/**
 * A time that is short most of the time and sometimes long, in milliseconds: exponential with this mean.
 *
 * @category drawing
 * @since 0.1.0
 */
export const latency = (draw: Draw, mean: number): number => Math.round(-Math.log(1 - draw.number()) * mean)

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const finish = (hash: number): number => {
  let h = hash | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
