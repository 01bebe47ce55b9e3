/**
 * Objects that V8 does not take for old ones.
 *
 * V8 counts how many objects of a literal survive. Where many executions wait at once, all of them do; from then on it
 * allocates what this literal makes among the old objects. There a dead one keeps what it refers to, and so the rest of
 * its execution, until the next full collection. What begins as a copy is not counted. So does what is made for each
 * execution, or for each step, and refers to others of them: as a copy of a blank that has all its fields.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"

/**
 * An object of this shape without any values.
 *
 * @category models
 * @since 0.1.0
 */
export type Blank<A> = { readonly [K in keyof A]-?: undefined }

/**
 * Adds a service to a context that is made.
 *
 * @category models
 * @since 0.1.0
 */
export type Put = <I, S>(key: Context.Key<I, S>, service: S) => void

/**
 * A context with more services, as one table: each service that `Context.add` adds is an object of one literal.
 *
 * @category combinators
 * @since 0.1.0
 */
export const extend = (context: Context.Context<never>, add: (put: Put) => void): Context.Context<never> => {
  // A `Map` of a `Map` is made through its iterator: an array and a result for each service.
  const services = new Map<string, unknown>()
  context.mapUnsafe.forEach((service, key) => services.set(key, service))
  add((key, service) => services.set(key.key, service))
  return Context.makeUnsafe(services)
}

/**
 * A callback for the end of something, which forgets what it has called: whoever keeps the callback may be old.
 *
 * @category combinators
 * @since 0.1.0
 */
export const once = <A>(f: (value: A) => void): (value: A) => void => {
  // What is made together with an old object is made old too, closures with what they see; but not a copy.
  const cell: Cell<A> = { ...emptyCell, f }
  return (value) => {
    const then = cell.f
    cell.f = undefined
    then?.(value)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

interface Cell<A> {
  f: ((value: A) => void) | undefined
}

const emptyCell: Blank<Cell<never>> = { f: undefined }
