/**
 * Which fork of which fiber asks: found by watching the evaluation of a body's primitives.
 *
 * Each fiber of a body has a path, so that one request has one name in every run. This module knows fibers and names;
 * it runs nothing, and knows no request.
 *
 * @since 0.1.0
 */
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import type { Blank } from "./blank.ts"

/**
 * A fiber of a body.
 *
 * @category models
 * @since 0.1.0
 */
export interface FiberInfo {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly path: string
  readonly region: Region | undefined
  readonly counts: Map<string, number>
  children: number
  /** The region of the operation that it evaluates now. */
  forking: Region | undefined
}

/**
 * The forks of one operation of one fiber, for instance of one `Effect.all`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Region {
  readonly parent: FiberInfo
  /** Which of its forks asked for a step of a name. */
  readonly names: Map<string, FiberInfo>
}

/**
 * Where a request stands.
 *
 * @category models
 * @since 0.1.0
 */
export type Place =
  | { readonly _tag: "Placed"; readonly path: string; readonly occurrence: number }
  | { readonly _tag: "Refused"; readonly reason: string }

/**
 * The fibers of one body.
 *
 * @category models
 * @since 0.1.0
 */
export interface Paths {
  /** The root fiber; most bodies have no other. */
  root: FiberInfo | undefined
  /** All others. */
  infos: WeakMap<Fiber.Fiber<unknown, unknown>, FiberInfo> | undefined
  /** The fiber that is being evaluated; nested evaluations restore it. */
  current: FiberInfo | undefined
  /** The fiber that was evaluated last. */
  last: FiberInfo | undefined
}

/**
 * Nobody was seen yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Paths => ({ ...blank, root: undefined, infos: undefined, current: undefined, last: undefined })

/**
 * Sees each evaluation of a fiber, until `of.paths` is undefined.
 *
 * @category running
 * @since 0.1.0
 */
export const watch = (
  inner: Tracer.Tracer["context"],
  of: { readonly paths: Paths | undefined }
): NonNullable<Tracer.Tracer["context"]> =>
(primitive, fiber) => {
  const { paths } = of
  if (paths === undefined) return inner === undefined ? primitive[evaluate](fiber) : inner(primitive, fiber)
  const info = paths.last?.fiber === fiber ? paths.last : find(paths, fiber) ?? adopt(paths, fiber)
  const outer = paths.current
  paths.current = info
  paths.last = info
  info.forking = undefined
  try {
    return inner === undefined ? primitive[evaluate](fiber) : inner(primitive, fiber)
  } finally {
    paths.current = outer
    paths.last = info
  }
}

/**
 * Runs a task of the dispatcher of that fiber: what starts in it was forked by this fiber.
 *
 * @category running
 * @since 0.1.0
 */
export const runTask = (paths: Paths, owner: FiberInfo | undefined, task: () => void): void => {
  const outer = paths.current
  const before = paths.last
  paths.current = owner
  paths.last = undefined
  if (owner !== undefined) owner.forking = undefined
  task()
  paths.current = outer
  paths.last ??= before
}

/**
 * Where a request of this fiber stands; refused where two forks of one region ask for one step.
 *
 * @category accessors
 * @since 0.1.0
 */
export const place = (
  paths: Paths,
  fiber: Fiber.Fiber<unknown, unknown>,
  step: string | undefined,
  counted: string
): Place => {
  const info = find(paths, fiber)
  if (info === undefined) {
    return {
      _tag: "Refused",
      reason: "was asked by a fiber that is not part of the saga's body: ask for steps in the body itself, " +
        "in Effect.all or in Effect.forkChild"
    }
  }
  if (step !== undefined) {
    for (let fork = info; fork.region !== undefined; fork = fork.region.parent) {
      const other = fork.region.names.get(step)
      if (other !== undefined && other !== fork) {
        return {
          _tag: "Refused",
          reason: "is the name of two steps in one concurrent region: give each its own name, " +
            "for instance with the index in it"
        }
      }
      fork.region.names.set(step, fork)
    }
  }
  const occurrence = info.counts.get(counted) ?? 0
  info.counts.set(counted, occurrence + 1)
  return { _tag: "Placed", path: info.path, occurrence }
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const evaluate = "~effect/Effect/evaluate"

const blank: Blank<Paths> = { root: undefined, infos: undefined, current: undefined, last: undefined }
const blankInfo: Blank<FiberInfo> = {
  fiber: undefined,
  path: undefined,
  region: undefined,
  counts: undefined,
  children: undefined,
  forking: undefined
}

const find = ({ infos, root }: Paths, fiber: Fiber.Fiber<unknown, unknown>): FiberInfo | undefined =>
  root?.fiber === fiber ? root : infos?.get(fiber)

const regionOf = (parent: FiberInfo): Region => parent.forking ??= { parent, names: new Map() }

/** A fiber seen for the first time: who forked it? */
const adopt = (paths: Paths, fiber: Fiber.Fiber<unknown, unknown>): FiberInfo => {
  if (paths.root === undefined) return paths.root = describe(fiber, undefined)
  const { current, last } = paths
  // A sibling that just ended makes room for the next one of its region (`Effect.all` with a bounded concurrency).
  const region = last?.region !== undefined && last.fiber.pollUnsafe() !== undefined
    ? last.region
    : current !== undefined
    ? regionOf(current)
    : last !== undefined
    ? regionOf(last)
    : undefined
  const info = describe(fiber, region)
  paths.infos ??= new WeakMap()
  paths.infos.set(fiber, info)
  return info
}

const describe = (fiber: Fiber.Fiber<unknown, unknown>, region: Region | undefined): FiberInfo => {
  const parent = region?.parent
  const index = parent === undefined ? 0 : parent.children++
  const path = parent === undefined ? "" : parent.path === "" ? `${index}` : `${parent.path}.${index}`
  return { ...blankInfo, fiber, path, region, counts: new Map(), children: 0, forking: undefined }
}
