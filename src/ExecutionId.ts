/**
 * The name of one run of a saga: the saga's tag and the idempotency key of its payload.
 *
 * Two payloads with one key are one execution, in every process. The id is readable on purpose: it is what a person
 * types into psql or reads in a log. It never holds anything random.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The id of an execution, as text: `Tag/key`.
 *
 * @category models
 * @since 0.1.0
 */
export const ExecutionId = Schema.String.pipe(Schema.brand("~effect-saga/ExecutionId"))

/**
 * @category models
 * @since 0.1.0
 */
export type ExecutionId = typeof ExecutionId.Type

/**
 * The id of the execution of saga `tag` with the idempotency key `key`.
 *
 * **Details**
 *
 * A `/` or `%` in the tag is percent-encoded, so no two pairs of tag and key share an id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (tag: string, key: string): ExecutionId =>
  // Persistent: `Tag/key`, the primary key of every stored execution.
  ExecutionId.make(`${escape(tag)}/${key}`)

/**
 * One part of a key made of several: without `/`, and unlike every other part.
 *
 * @category combinators
 * @since 0.1.0
 */
export const escape = (part: string): string =>
  part.includes("/") || part.includes("%") ? part.replaceAll("%", "%25").replaceAll("/", "%2F") : part

/**
 * The saga's tag in an id.
 *
 * @category destructors
 * @since 0.1.0
 */
export const tag = (id: string): string => {
  const slash = id.indexOf("/")
  return (slash < 0 ? id : id.slice(0, slash)).replaceAll("%2F", "/").replaceAll("%25", "%")
}
