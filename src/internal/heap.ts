/**
 * A binary heap in an array: what comes first is at 0.
 *
 * @since 0.1.0
 */

/**
 * Adds a value.
 *
 * @category mutations
 * @since 0.1.0
 */
export const push = <A>(heap: Array<A>, value: A, isBefore: (left: A, right: A) => boolean): void => {
  let index = heap.push(value) - 1
  while (index > 0) {
    const parent = (index - 1) >> 1
    if (!isBefore(value, heap[parent]!)) break
    heap[index] = heap[parent]!
    index = parent
  }
  heap[index] = value
}

/**
 * Takes the first value out; undefined where there is none.
 *
 * @category mutations
 * @since 0.1.0
 */
export const pop = <A>(heap: Array<A>, isBefore: (left: A, right: A) => boolean): A | undefined => {
  const first = heap[0]
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return first
  let index = 0
  while (true) {
    let child = 2 * index + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
    if (!isBefore(heap[child]!, last)) break
    heap[index] = heap[child]!
    index = child
  }
  heap[index] = last
  return first
}
