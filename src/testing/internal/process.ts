/**
 * A process that runs sagas on a shared store, in virtual time: it can die, wait and be stopped at any moment, and
 * everything that it does to the store and to participants passes a hook.
 *
 * It records what became durable and what steps did; it judges nothing.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Execution from "../../Execution.ts"
import type { Codec } from "../../internal/codec.ts"
import type { Definition } from "../../internal/engine.ts"
import * as Notation from "../../internal/notation.ts"
import type * as Journal from "../../Journal.ts"
import * as SagaEngine from "../../SagaEngine.ts"
import * as SagaInspector from "../../SagaInspector.ts"
import * as SagaStore from "../../SagaStore.ts"
import type * as SagaWorker from "../../SagaWorker.ts"
import * as Step from "../../Step.ts"
import { type Act, actName, type Event, outcomeOf } from "./timeline.ts"
import * as Virtual from "./virtual.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A call of the store that a process is about to make; `what` says what it is about, as people read it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly operation: keyof SagaStore.Encoded
  /** The executions that it is about; undefined where it is about the worker itself. */
  readonly subject: string | undefined
  readonly batch?: ReadonlyArray<SagaStore.Append> | undefined
}

/**
 * An act that is about to begin.
 *
 * @category models
 * @since 0.1.0
 */
export interface Doing extends Pick<Act, "execution" | "kind" | "step" | "stepKind" | "key" | "attempt" | "name"> {
  /** What it may fail with; undefined for one that may not. */
  readonly error: Codec | undefined
}

/**
 * What all processes pass through.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hooks {
  readonly call: <A>(
    process: Process,
    call: Call,
    run: Effect.Effect<A, SagaStore.StoreError>
  ) => Effect.Effect<A, SagaStore.StoreError>
  /** `see` records that it began, and how it ended. */
  readonly act: (
    process: Process,
    act: Doing,
    effect: Effect.Effect<unknown, unknown, unknown>,
    see: (effect: Effect.Effect<unknown, unknown, unknown>) => Effect.Effect<unknown, unknown, unknown>
  ) => Effect.Effect<unknown, unknown, unknown>
}

/**
 * What processes share.
 *
 * @category models
 * @since 0.1.0
 */
export interface World {
  readonly virtual: Virtual.Virtual
  readonly encoded: SagaStore.Encoded
  readonly timeline: Array<Event>
  /** Who appended last to an execution. */
  readonly owners: Map<string, number>
  /** The place of the last claim of an execution in its journal. */
  readonly epochs: Map<string, number>
  /** The sagas that processes have registered, by name. */
  readonly definitions: Map<string, Definition>
  readonly hooks: Hooks
  /** What handlers need from outside, and the references of the test. */
  readonly context: Context.Context<never>
}

/**
 * @category models
 * @since 0.1.0
 */
export type Services = SagaEngine.SagaEngine | SagaInspector.SagaInspector

/**
 * @category models
 * @since 0.1.0
 */
export interface Process {
  readonly index: number
  readonly gate: Virtual.Gate
  /** Undefined until its layers are built. */
  services: Context.Context<Services> | undefined
  /** Why its layers could not be built. */
  failure: Cause.Cause<unknown> | undefined
  /** Stops it as a deployment does: what it runs is finished within its grace, or given back. */
  readonly stop: Effect.Effect<void>
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  readonly index: number
  readonly handlers: Layer.Layer<never, unknown, SagaEngine.SagaEngine>
  readonly worker: SagaWorker.Options
  /** References for what it runs. */
  readonly references?: ((process: Process) => Context.Context<never>) | undefined
  /** How far its clock is ahead, in milliseconds. */
  readonly skew?: number | undefined
  /** Hears of it before it does anything. */
  readonly created?: ((process: Process) => void) | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Starts a process. Its layers are built behind its gate, which may take virtual time.
 *
 * @category running
 * @since 0.1.0
 */
export const spawn = (world: World, options: Options): Effect.Effect<Process> =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const gate = Virtual.makeGate(options.skew)
    const process: Process = {
      index: options.index,
      gate,
      services: undefined,
      failure: undefined,
      stop: Effect.suspend(() => inside(world, process, Scope.close(scope, Exit.void)))
    }
    options.created?.(process)
    const store = SagaStore.make(storeOf(world, process))
    const engine = Layer.merge(watched(world, options.worker), SagaInspector.layer).pipe(
      Layer.provide(Layer.succeed(SagaStore.SagaStore, store))
    )
    const built = Layer.buildWithScope(Layer.provideMerge(options.handlers, engine), scope).pipe(
      Effect.provideContext(
        Context.add(
          options.references?.(process) ?? Context.empty(),
          Execution.Interceptor,
          interceptor(world, process)
        )
      ),
      Effect.matchCause({
        onSuccess: (services) => {
          process.services = services
        },
        onFailure: (cause) => {
          process.failure = cause
        }
      })
    )
    world.virtual.fork(inside(world, process, built), gate)
    return process
  })

/**
 * Runs an effect as code of that process.
 *
 * @category running
 * @since 0.1.0
 */
export const inside = <A, E, R>(
  world: World,
  process: Process,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E> => {
  const services = process.services ?? Context.empty()
  return Effect.provideContext(
    effect,
    world.context.pipe(Context.merge(services), Context.merge(world.virtual.services(process.gate))) as Context.Context<
      R
    >
  )
}

/**
 * Nothing of it reaches the store or a participant any more, and nothing in it is finalized.
 *
 * @category running
 * @since 0.1.0
 */
export const kill = (process: Process): void => {
  process.gate.state = "shut"
}

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const interceptor = ({ epochs, hooks, owners, timeline, virtual }: World, process: Process): NonNullable<
  typeof Execution.Interceptor["Service"]
> =>
(intercepted, effect) =>
  Effect.flatMap(Step.StepContext, ({ attempt, epoch, execution, key, step }) => {
    const { kind } = intercepted
    const stepKind = intercepted.kind === "execute" ? intercepted.step : undefined
    const doing = { execution, kind, step, stepKind, key, attempt, name: actName(kind, step) }
    const see = (effect: Effect.Effect<unknown, unknown, unknown>) =>
      Effect.suspend(() => {
        const owner = owners.get(execution)
        const stale = process.gate.resumed && epoch < (epochs.get(execution) ?? 0)
        const late = stale || (owner !== undefined && owner !== process.index)
        const act: Act = {
          ...doing,
          _tag: "Act",
          process: process.index,
          at: virtual.now(),
          epoch,
          late,
          outcome: undefined
        }
        timeline.push(act)
        return Effect.onExit(virtual.perhapsOutside(effect), (exit) =>
          Effect.sync(() => {
            act.outcome = outcomeOf(exit)
          }))
      })
    const error = "error" in intercepted ? intercepted.error : undefined
    return hooks.act(process, { ...doing, error }, effect, see)
  })

/** The engine, which tells what is registered with it. */
const watched = (world: World, worker: SagaWorker.Options) =>
  Layer.effect(
    SagaEngine.SagaEngine,
    Effect.map(SagaEngine.make(worker), (engine) =>
      SagaEngine.SagaEngine.of({
        ...engine,
        register: (handler) => {
          world.definitions.set(handler.definition.tag, handler.definition)
          return engine.register(handler)
        }
      }))
  )

const storeOf = (world: World, process: Process): SagaStore.Encoded => {
  const { encoded, epochs, hooks, owners, timeline, virtual } = world
  // The store has a clock of its own, whatever the process thinks.
  const storeTime = Context.make(Clock.Clock, Context.get(virtual.services(Virtual.makeGate()), Clock.Clock))
  const kept = (execution: string, at: number, entries: string) => {
    owners.set(execution, process.index)
    const parsed = Notation.expand(JSON.parse(entries), at) as ReadonlyArray<Journal.Entry>
    timeline.push({ _tag: "Append", process: process.index, execution, at: virtual.now(), entries: parsed })
  }
  const call = <A>(
    operation: keyof SagaStore.Encoded,
    subject: string | undefined,
    run: Effect.Effect<A, SagaStore.StoreError>,
    batch?: ReadonlyArray<SagaStore.Append>
  ): Effect.Effect<A, SagaStore.StoreError> =>
    virtual.pass(process.gate).pipe(
      Effect.andThen(hooks.call(
        process,
        { operation, subject, batch },
        virtual.outside(Effect.provideContext(run, storeTime))
      )),
      Effect.tap(virtual.pass(process.gate))
    )
  return {
    append: (batch) =>
      call(
        "append",
        batch.map((one) => one.execution).join(" "),
        Effect.tap(encoded.append(batch), (results) =>
          Effect.sync(() => {
            batch.forEach((one, index) => {
              if (results[index] === true) kept(one.execution, one.at, one.entries)
            })
          })),
        batch
      ),
    claim: (options) =>
      call(
        "claim",
        undefined,
        Effect.tap(encoded.claim(options), (claimed) =>
          Effect.sync(() => {
            for (const { id, seq } of claimed) {
              epochs.set(id, seq)
              kept(id, options.now, options.entries)
            }
          }))
      ),
    witness: (execution, seq) => call("witness", execution, encoded.witness(execution, seq)),
    read: (execution) => call("read", execution, encoded.read(execution)),
    journal: (execution, after) => call("journal", execution, encoded.journal(execution, after)),
    list: (query) => call("list", "", encoded.list(query)),
    stats: call("stats", "", encoded.stats),
    owned: (worker) => call("owned", undefined, encoded.owned(worker)),
    release: (options) => call("release", undefined, encoded.release(options)),
    send: (options) => call("send", options.execution, encoded.send(options)),
    inbox: (execution, after) => call("inbox", execution, encoded.inbox(execution, after)),
    unread: (worker) => call("unread", undefined, encoded.unread(worker)),
    register: (worker, lease) => call("register", undefined, encoded.register(worker, lease)),
    renew: (worker, lease) => call("renew", undefined, encoded.renew(worker, lease)),
    retire: (worker) => call("retire", undefined, encoded.retire(worker)),
    listen: (onWake) => encoded.listen(Effect.suspend(() => process.gate.state === "open" ? onWake : Effect.void)),
    wake: call("wake", "", encoded.wake)
  }
}
