/**
 * What is here now, by id: things that come and go in a process that stays.
 *
 * A `Map` would keep everything that was ever in it until the next full collection. Each time its table is full it gets
 * another one, which V8 links from the one before; once one table is old, so is all that any later one held. So what
 * leaves is taken out of its place, and the tables keep empty places.
 *
 * @since 0.1.0
 */

/**
 * @category models
 * @since 0.1.0
 */
export class Registry<A extends object> {
  readonly #places = new Map<string, { of: A | undefined }>()

  /** How many there are. */
  get size(): number {
    return this.#places.size
  }

  get(id: string): A | undefined {
    return this.#places.get(id)?.of
  }

  has(id: string): boolean {
    return this.#places.has(id)
  }

  /** In the order in which they came. */
  values(): Array<A> {
    const values: Array<A> = []
    for (const { of } of this.#places.values()) if (of !== undefined) values.push(of)
    return values
  }

  /** Puts one in the place of that id, whatever was there. */
  set(id: string, one: A): void {
    this.delete(id)
    this.#places.set(id, { of: one })
  }

  delete(id: string): void {
    const place = this.#places.get(id)
    if (place === undefined) return
    place.of = undefined
    this.#places.delete(id)
  }
}
