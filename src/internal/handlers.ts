/**
 * The handlers of a process: of each saga one for each version, and which of them runs an execution.
 *
 * An execution is run by the handler of the version that it started with, or by one that says it replaces that version.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import type { Handler } from "./engine.ts"

/**
 * A handler, with what it was registered with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registered {
  readonly handler: Handler
  readonly context: Context.Context<never>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Handlers {
  readonly add: (registered: Registered) => void
  readonly remove: (handler: Handler) => void
  /** The handler of an execution of this saga that started with this version. */
  readonly of: (tag: string, version: number) => Registered | undefined
  /** The handler of a saga that has one only. */
  readonly only: (tag: string) => Registered | undefined
  /** What a claim may take. */
  readonly claimable: () => {
    readonly names: ReadonlyArray<string>
    readonly versions: ReadonlyArray<{ readonly name: string; readonly version: number }>
  }
}

/**
 * Whether a handler runs executions that started with this version.
 *
 * @category guards
 * @since 0.1.0
 */
export const runs = ({ definition }: Handler, version: number): boolean =>
  definition.version === version || definition.replaces.includes(version)

/**
 * No handlers yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Handlers => {
  /** By saga; the newest version first. */
  const known = new Map<string, ReadonlyArray<Registered>>()
  const others = ({ definition: { tag, version } }: Handler) =>
    (known.get(tag) ?? []).filter((_) => _.handler.definition.version !== version)
  return {
    add: (registered) => {
      const all = [...others(registered.handler), registered]
      all.sort((a, b) => b.handler.definition.version - a.handler.definition.version)
      known.set(registered.handler.definition.tag, all)
    },
    remove: (handler) => {
      const { tag } = handler.definition
      const left = (known.get(tag) ?? []).filter((_) => _.handler !== handler)
      if (left.length === 0) known.delete(tag)
      else known.set(tag, left)
    },
    of: (tag, version) => {
      const all = known.get(tag) ?? []
      return all.find((_) => _.handler.definition.version === version) ?? all.find((_) => runs(_.handler, version))
    },
    only: (tag) => {
      const all = known.get(tag) ?? []
      return all.length === 1 ? all[0] : undefined
    },
    claimable: () => ({
      names: [...known.keys()],
      versions: [...known].flatMap(([name, all]) =>
        [...new Set(all.flatMap(({ handler: { definition } }) => [definition.version, ...definition.replaces]))]
          .map((version) => ({ name, version }))
      )
    })
  }
}
