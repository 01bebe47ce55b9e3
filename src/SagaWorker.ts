/**
 * The part of an engine that owns executions: it holds a lease, claims what is due or orphaned, runs it, and drains.
 *
 * A worker without the handler of a saga leaves its executions alone. A shutdown rolls nothing back: what is in flight
 * finishes within the grace, the rest is given back to be recovered. It relies on the store's claim for exclusiveness
 * and on the journal for fencing; it never interprets an entry.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as ExecutionId from "./ExecutionId.ts"
import * as Alarm from "./internal/alarm.ts"
import type { Blank } from "./internal/blank.ts"
import type { Limits } from "./internal/core.ts"
import type { Handler } from "./internal/engine.ts"
import * as Executor from "./internal/executor.ts"
import * as Handlers from "./internal/handlers.ts"
import * as JournalWriter from "./internal/journalWriter.ts"
import * as Lease from "./internal/lease.ts"
import * as limits from "./internal/limits.ts"
import * as Notation from "./internal/notation.ts"
import * as Registry from "./internal/registry.ts"
import * as Starting from "./internal/starting.ts"
import { type Append, type Claimed, type Row, SagaStore, type StoreError } from "./SagaStore.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * How a worker behaves.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * How long the store waits for a worker that does not renew, before others take over what it owns. Renewed at a
   * third.
   *
   * @default "30 seconds"
   */
  readonly lease?: Duration.Input | undefined
  /**
   * How much longer than the lease a successor waits, for clocks that drift.
   *
   * @default "2 seconds"
   */
  readonly margin?: Duration.Input | undefined
  /**
   * How often the store is asked for work when nothing wakes the worker; and for the end of an execution that somebody
   * waits for here, while it is suspended.
   *
   * @default "1 second"
   */
  readonly poll?: Duration.Input | undefined
  /**
   * How long a shutdown waits for steps in flight before it interrupts them.
   *
   * @default "10 seconds"
   */
  readonly grace?: Duration.Input | undefined
}

/**
 * A running worker.
 *
 * @category models
 * @since 0.1.0
 */
export interface SagaWorker {
  readonly writer: JournalWriter.JournalWriter
  readonly limits: Limits
  /** In milliseconds. */
  readonly poll: number
  readonly token: (owned?: boolean) => string
  /** What runs here, by id. */
  readonly live: Omit<Registry.Registry<Executor.Live>, "set" | "delete">
  /** Lets this worker run a saga until the scope closes; then what it runs of it is drained. */
  readonly register: (handler: Handler) => Effect.Effect<void, never, Scope.Scope>
  /**
   * Runs a new execution here; undefined where the handler is missing, or the worker stops. `awaited`: who starts it
   * does nothing else until it has ended.
   */
  readonly start: (
    tag: string,
    id: string,
    create: NonNullable<Append["create"]>,
    awaited?: boolean
  ) => Executor.Live | undefined
  /** Looks for work now. */
  readonly poke: Effect.Effect<void>
  readonly handlers: Handlers.Handlers
  /** The handler of an execution, with what it was registered with; undefined where it is not here. */
  readonly handler: (id: string) => Effect.Effect<Handlers.Registered | undefined>
  /** Returns when an execution with this id begins to run here. */
  readonly arrival: (id: string) => Effect.Effect<void>
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A worker on the store, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<SagaWorker, StoreError, SagaStore | Scope.Scope> {
  const store = yield* SagaStore
  const clock = yield* Clock.Clock
  const config = yield* readConfig(options)
  const handlers = Handlers.make()
  const live = Registry.make<Executor.Live>()
  /** How many of them were claimed, which `MaxLive` bounds. */
  let claimed = 0
  /** Attempts that go on although their execution is parked, by its id. */
  const lingering = new Map<string, Set<Fiber.Fiber<unknown, unknown>>>()
  /** Claimed, and waiting for what still runs here of them. */
  const taking = new Set<string>()
  /** On their way back to the store, in so many calls: one that is late would give back what is claimed meanwhile. */
  const leaving = new Map<string, number>()
  /** Claimed while they were on their way back. */
  const returned = new Set<string>()
  /** Claiming failed, so this worker may own something that nobody runs; `due` is when it looks, in monotonic time. */
  let doubt: { readonly worker: string; readonly due: bigint } | undefined
  const arrivals = new Map<string, Set<() => void>>()
  const work = Latch.makeUnsafe(false)
  // Told apart only from who else writes at the same place of one journal, and stored with every append: short.
  const instance = Base64Url.encode(SecureRandom.randomBytesUnsafe(6))
  let tokens = 0
  let stopping = false
  let stopped = false
  const pause = Duration.toMillis(config.poll)
  const leaseNanos = BigInt(Math.round(Duration.toMillis(config.lease))) * 1_000_000n
  // A start and a claim may meet those of any process, so theirs is random. Who takes over begins with a claim, at the
  // place where the owner before would write next: an owner's own appends meet no other than that one, and are counted.
  const token = (owned = false) => {
    const count = (tokens++).toString(36)
    return owned ? count : `${instance}:${count}`
  }

  const lease = yield* Lease.make(
    store.encoded,
    config.lease,
    Effect.sync(() => {
      for (const one of live.values()) one.abandon()
    })
  )
  const writer = yield* JournalWriter.make(store.encoded, () => !lease.holds())
  const alarm = yield* Alarm.make(Effect.sync(() => work.openUnsafe()))

  /** Of several versions the row says which it is; the journal's taker looks again. */
  const handler = (id: string, known?: Row): Effect.Effect<Handlers.Registered | undefined> => {
    const tag = ExecutionId.tag(id)
    const only = handlers.only(tag)
    if (only !== undefined) return Effect.succeed(only)
    const of = (row: Row | null) => row === null ? undefined : handlers.of(tag, row.version)
    if (known !== undefined) return Effect.succeed(of(known))
    return Effect.match(store.encoded.read(id), { onFailure: () => undefined, onSuccess: of })
  }

  const starting: Starting.Starting = Starting.make({
    store,
    writer,
    token,
    now: () => clock.currentTimeMillisUnsafe(),
    run: Effect.fnUntraced(function*({ id, parent, saga }, create) {
      const running = live.get(id)
      if (running !== undefined) {
        yield* Deferred.await(running.started)
        return false
      }
      const registered = handlers.of(saga.tag, saga.version)
      const ending = launch(id, registered, { _tag: "Start", create, parent })?.started
      const started = ending === undefined ? { _tag: "Left" as const } : yield* Deferred.await(ending)
      switch (started?._tag) {
        case undefined:
        case "Ended":
        case "Continued":
        case "Suspended":
          return true
        case "Exists":
          return false
        case "Left":
          return undefined
        case "Failed":
          return yield* started.error
      }
    }),
    notify: (id) => {
      const one = live.get(id)
      one?.notify()
      return one !== undefined
    },
    poke: Effect.sync(() => work.openUnsafe())
  })

  const launch = (
    id: string,
    registered: Handlers.Registered | undefined,
    from: Executor.Options["from"],
    awaited = false
  ): Executor.Live | undefined => {
    if (registered === undefined || stopping || !lease.holds()) return undefined
    const worker = lease.worker()
    const one = Executor.make({
      ...blank,
      id,
      handler: registered.handler,
      context: registered.context,
      limits: config.limits,
      store,
      writer,
      worker,
      starting,
      mayAct: () => lease.holds() && lease.worker() === worker,
      token,
      awaited,
      from
    })
    live.set(id, one)
    const wasClaimed = from._tag === "Claim"
    if (wasClaimed) claimed++
    for (const arrived of arrivals.get(id) ?? []) arrived()
    arrivals.delete(id)
    one.run(() => {
      if (wasClaimed) claimed--
      linger(one)
      if (live.get(id) === one) live.delete(id)
      const ending = one.ending()
      if (ending._tag === "Suspended" && ending.wakeAt !== undefined) alarm.at(ending.wakeAt)
      // It goes on here, anew; or, where this worker stops, with whoever claims it.
      if (ending._tag === "Continued") {
        const next = handlers.of(ExecutionId.tag(id), registered.handler.definition.version)
        if (launch(id, next, { _tag: "Claim", seq: ending.seq }) !== undefined) return
      }
      // What left while this worker still owns it would wait for a lease that never ends; what was claimed again here
      // is not given back on behalf of who had it before.
      const stays = ending._tag === "Ended" || ending._tag === "Suspended"
      if (!stays && !stopping && lease.worker() === worker && !taking.has(id)) {
        Effect.runForkWith(registered.context)(giveBack([id], pause))
      }
    })
    return one
  }

  /**
   * Runs what a claim took whose answer was lost: it is owned here, so nobody else would. The store may be at it still,
   * for as long as it likes: so this looks again after each length of a lease, for as long as the worker is this one.
   */
  const reconcile = Effect.gen(function*() {
    const worker = lease.worker()
    const now = clock.monotonicTimeNanosUnsafe()
    if (doubt?.worker !== worker || now < doubt.due || !lease.holds()) return
    for (const owned of yield* store.encoded.owned(worker)) {
      if (!live.has(owned.id) && !taking.has(owned.id)) yield* take(owned)
    }
    doubt = { worker, due: now + leaseNanos }
  })

  /** How many the next claim may take, besides so many that are not taken up yet. */
  const room = (waiting: number): number => {
    if (handlers.claimable().names.length === 0 || stopping || !lease.holds()) return 0
    return Math.min(config.claimSize, config.maxLive - claimed - waiting)
  }

  const claim = (limit: number) =>
    Effect.suspend(() => {
      const now = clock.currentTimeMillisUnsafe()
      const worker = lease.worker()
      return store.encoded.claim({
        worker,
        ...handlers.claimable(),
        limit,
        now,
        margin: config.margin,
        token: token(),
        entries: Notation.encode([{ _tag: "Claimed", at: now, worker }], now),
        reads: true
      })
    })

  /** Claims as long as there is more, and asks for the next ones before it takes up those that came. */
  const claimAll = Effect.gen(function*() {
    let limit = room(0)
    let taken = limit > 0 ? yield* claim(limit) : undefined
    while (taken !== undefined) {
      limit = taken.length < limit ? 0 : room(taken.length)
      const next = limit > 0 ? yield* Effect.forkScoped(claim(limit), { startImmediately: true }) : undefined
      for (const execution of taken) yield* take(execution)
      taken = next === undefined ? undefined : yield* Fiber.join(next)
    }
  }).pipe(
    Effect.scoped,
    Effect.onError(() =>
      Effect.sync(() => {
        doubt = { worker: lease.worker(), due: clock.monotonicTimeNanosUnsafe() }
      })
    )
  )

  /**
   * Runs an execution that was claimed; what still runs here of it ends first. Whoever reads its row leaves it alone
   * where that was under an earlier lease.
   */
  const take = ({ id, seq, stored }: Claimed): Effect.Effect<void> => {
    if (leaving.has(id)) {
      returned.add(id)
      return Effect.void
    }
    const begin = (known: Claimed["stored"]) =>
      Effect.flatMap(Effect.suspend(() => handler(id, known?.row)), (registered) => {
        taking.delete(id)
        return launch(id, registered, { _tag: "Claim", seq, stored: known }) === undefined
          ? giveBack([id])
          : Effect.void
      })
    const zombie = live.get(id)
    if (zombie === undefined && !lingering.has(id)) return begin(stored)
    taking.add(id)
    zombie?.abandon()
    return (zombie === undefined ? Effect.void : Effect.asVoid(Deferred.await(zombie.ended))).pipe(
      Effect.andThen(Effect.yieldNow),
      Effect.andThen(Effect.suspend(() => Fiber.awaitAll(lingering.get(id) ?? []))),
      // What came with the claim may be old by then.
      Effect.andThen(begin(undefined)),
      Effect.forkDetach,
      Effect.asVoid
    )
  }

  /** Remembers the attempts of a parked execution that do not end, until they do. */
  const linger = (one: Executor.Live): void => {
    for (const fiber of one.lingering()) {
      const fibers = lingering.get(one.id) ?? new Set()
      lingering.set(one.id, fibers.add(fiber))
      fiber.addObserver(() => {
        fibers.delete(fiber)
        if (fibers.size === 0 && lingering.get(one.id) === fibers) lingering.delete(one.id)
      })
    }
  }

  const giveBack = (executions: ReadonlyArray<string>, pause = 0): Effect.Effect<void> => {
    const worker = lease.worker()
    if (executions.length === 0) return Effect.void
    const count = (by: number) =>
      Effect.sync(() => {
        for (const id of executions) {
          const calls = (leaving.get(id) ?? 0) + by
          if (calls === 0) leaving.delete(id)
          else leaving.set(id, calls)
        }
      })
    const released = Effect.suspend(() =>
      store.encoded.release({ worker, executions, wakeAt: clock.currentTimeMillisUnsafe() + pause })
    ).pipe(
      Effect.retry({
        while: (error) => error.retryable && lease.worker() === worker && !stopped,
        schedule: Schedule.spaced(config.poll)
      }),
      Effect.ignore
    )
    return Effect.acquireUseRelease(count(1), () => released, () => count(-1)).pipe(
      Effect.andThen(Effect.suspend(() =>
        // Nobody knows which came first: after this one, it is nobody's.
        giveBack(executions.filter((id) => !leaving.has(id) && returned.delete(id)))
      ))
    )
  }

  const readMail = Effect.gen(function*() {
    if (live.size() === 0) return
    for (const id of yield* store.encoded.unread(lease.worker())) live.get(id)?.notify()
  })

  /** Lets steps in flight finish within the grace, and gives the rest back. */
  const drain = Effect.fnUntraced(function*(mine: ReadonlyArray<Executor.Live>) {
    if (mine.length === 0) return
    for (const one of mine) one.drain()
    const all = Effect.forEach(mine, (one) => Deferred.await(one.ended), { concurrency: "unbounded", discard: true })
    yield* Effect.timeoutOption(all, config.grace)
    for (const one of mine) one.abandon()
    yield* all
    yield* Effect.andThen(giveBack(mine.map((_) => _.id)), Effect.ignore(store.encoded.wake)).pipe(
      Effect.interruptible,
      Effect.timeoutOption(config.grace)
    )
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      stopping = true
      return Effect.andThen(drain(live.values()), Effect.sync(() => stopped = true))
    })
  )

  const poll = Effect.gen(function*() {
    yield* work.await.pipe(Effect.timeoutOption(config.poll))
    work.closeUnsafe()
    yield* reconcile
    yield* claimAll
    yield* readMail
  }).pipe(
    // Whatever the driver does, the worker looks for work again.
    Effect.catchCause((cause) => {
      const error = Cause.findErrorOption(cause)
      const expected = Option.isSome(error) && error.value.retryable
      return Effect.andThen(expected ? Effect.logDebug(cause) : Effect.logError(cause), Effect.sleep(config.poll))
    })
  )
  yield* Effect.forkScoped(Effect.forever(poll))
  yield* store.encoded.listen(Effect.sync(() => work.openUnsafe())).pipe(
    Effect.catch((error) => Effect.logDebug(error)),
    Effect.scoped,
    Effect.forkScoped
  )

  return {
    writer,
    limits: config.limits,
    poll: pause,
    token,
    live,
    register: Effect.fnUntraced(function*(handler) {
      const context = yield* Effect.context<never>()
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          handlers.remove(handler)
          return drain(live.values().filter((_) => _.handler === handler))
        })
      )
      handlers.add({ handler, context })
      work.openUnsafe()
    }),
    start: (tag, id, create, awaited) =>
      launch(id, handlers.of(tag, create.version ?? 1), { _tag: "Start", create }, awaited),
    poke: Effect.sync(() => {
      work.openUnsafe()
    }),
    handlers,
    handler,
    arrival: (id) =>
      Effect.callback((resume) => {
        const arrived = () => resume(Effect.void)
        const waiting = arrivals.get(id) ?? new Set()
        arrivals.set(id, waiting.add(arrived))
        return Effect.sync(() => {
          waiting.delete(arrived)
          if (waiting.size === 0 && arrivals.get(id) === waiting) arrivals.delete(id)
        })
      })
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const blank: Blank<Executor.Options> = {
  id: undefined,
  handler: undefined,
  context: undefined,
  limits: undefined,
  store: undefined,
  writer: undefined,
  worker: undefined,
  starting: undefined,
  mayAct: undefined,
  token: undefined,
  awaited: undefined,
  from: undefined
}

const readConfig = Effect.fnUntraced(function*(options: Options) {
  const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))
  return {
    lease: Duration.fromInputUnsafe(options.lease ?? "30 seconds"),
    margin: millis(options.margin ?? "2 seconds"),
    poll: Duration.fromInputUnsafe(options.poll ?? "1 second"),
    grace: Duration.fromInputUnsafe(options.grace ?? "10 seconds"),
    claimSize: yield* limits.ClaimSize,
    maxLive: yield* limits.MaxLive,
    limits: {
      storable: { depth: yield* limits.MaxDepth, size: yield* limits.MaxAppendSize },
      grace: millis(yield* limits.InterruptGrace),
      maxClaims: yield* limits.MaxClaims,
      suspendAfter: millis(yield* limits.SuspendAfter),
      heartbeatPause: millis(yield* limits.HeartbeatPause),
      maxHeartbeatPause: millis(yield* limits.MaxHeartbeatPause)
    }
  }
})
