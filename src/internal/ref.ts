/**
 * Which request of a body an entry speaks of, as a key, as people read it, and as it is stored. Pure.
 *
 * @since 0.1.0
 */
import type { Ref } from "../Journal.ts"

/**
 * The key of a request in maps: injective, since a path holds only digits, dots and letters without `|`.
 *
 * @category refs
 * @since 0.1.0
 */
export const refKey = (ref: Ref): string => `${ref.path ?? ""}|${ref.occurrence ?? 0}|${ref.name}`

/**
 * A request's name as people read it.
 *
 * @category refs
 * @since 0.1.0
 */
export const refName = (ref: Ref): string =>
  ref.occurrence === undefined ? ref.name : `${ref.name}#${ref.occurrence + 1}`

/**
 * The stored form: what is the default is left out.
 *
 * @category refs
 * @since 0.1.0
 */
export const ref_ = (name: string, path: string, occurrence: number): Ref => ({
  name,
  ...(path === "" ? undefined : { path }),
  ...(occurrence === 0 ? undefined : { occurrence })
})

/**
 * The `Ref` of a name as people read it.
 *
 * @category refs
 * @since 0.1.0
 */
export const parseRef = (text: string): Ref => {
  const numbered = /^(.+)#([1-9]\d*)$/s.exec(text)
  return numbered === null ? { name: text } : ref_(numbered[1]!, "", Number(numbered[2]) - 1)
}

/**
 * Whether a roll-back scope is `outer` or lies inside it.
 *
 * @category refs
 * @since 0.1.0
 */
export const isWithin = (scope: string, outer: string): boolean =>
  outer === "" || scope === outer || scope.startsWith(`${outer}/`)
