/**
 * What is here now, by id: things that come and go in a process that stays.
 *
 * A `Map` would keep everything that was ever in it until the next full collection. Each time its table is full it gets
 * another one, which V8 links from the one before; once one table is old, so is all that any later one held. So what
 * leaves is taken out of its place, and outgrown tables keep empty places.
 *
 * @since 0.1.0
 */
import type { Blank } from "./blank.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Registry<A> {
  readonly size: () => number
  readonly get: (id: string) => A | undefined
  readonly has: (id: string) => boolean
  /** In the order in which they came. */
  readonly values: () => ReadonlyArray<A>
  /** Puts one in the place of that id, whatever was there. */
  readonly set: (id: string, one: A) => void
  readonly delete: (id: string) => void
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(): Registry<A> => {
  const places = new Map<string, Place<A>>()
  const leave = (id: string): void => {
    const place = places.get(id)
    if (place === undefined) return
    place.one = undefined
    places.delete(id)
  }
  return {
    size: () => places.size,
    get: (id) => places.get(id)?.one,
    has: (id) => places.has(id),
    values: () => Array.from(places.values(), ({ one }) => one!),
    set: (id, one) => {
      leave(id)
      places.set(id, { ...empty, one })
    },
    delete: leave
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Place<A> {
  one: A | undefined
}

const empty: Blank<Place<never>> = { one: undefined }
