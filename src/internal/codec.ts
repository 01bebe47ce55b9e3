/**
 * JSON codecs of the schemas that users give, built once for each schema.
 *
 * Steps are made inside bodies, once for each execution, while their schemas are module constants: the codec hangs on
 * the schema. It never decides what to do with a value that does not fit; it only says so.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * How values of one schema are stored. Both directions may need the schema's own services, and never throw: what waits
 * for nothing is an `Exit`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Codec {
  readonly schema: Schema.Top
  readonly encode: (value: unknown) => Effect.Effect<Schema.Json, Schema.SchemaError, unknown>
  readonly decode: (json: Schema.Json) => Effect.Effect<unknown, Schema.SchemaError, unknown>
  /**
   * The same for an error, which is read back without a trace: it was not made here, so that a trace of here would say
   * nothing of it, and costs more than all the rest.
   */
  readonly decodeError: Codec["decode"]
}

/**
 * The codec of a schema; the same one for the same schema.
 *
 * @category constructors
 * @since 0.1.0
 */
export const codec = (schema: Schema.Top): Codec => {
  const known = codecs.get(schema)
  if (known !== undefined) return known
  const json = Schema.toCodecJson(schema)
  const decode = Schema.decodeUnknownEffect(json)
  const made: Codec = {
    schema,
    encode: guarded(Schema.encodeUnknownEffect(json)),
    decode: guarded(decode),
    decodeError: guarded(traceless(decode))
  }
  codecs.set(schema, made)
  return made
}

const codecs = new WeakMap<Schema.Top, Codec>()

const guarded =
  <A, B, E>(parse: (input: A) => Effect.Effect<B, E, unknown>) => (input: A): Effect.Effect<B, E, unknown> =>
    Result.getOrElse(Result.try(() => parse(input)), Effect.die)

/** What goes wrong meanwhile, or waits, is tried again with traces. */
const traceless =
  <A, B, E>(parse: (input: A) => Effect.Effect<B, E, unknown>) => (input: A): Effect.Effect<B, E, unknown> => {
    if (!mayLimit) return parse(input)
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    const read = Result.try(() => parse(input))
    Error.stackTraceLimit = stackTraceLimit
    return Result.isSuccess(read) && Exit.isExit(read.success) && Exit.isSuccess(read.success)
      ? read.success
      : parse(input)
  }

/** Not where the globals are frozen. */
const mayLimit = Object.getOwnPropertyDescriptor(Error, "stackTraceLimit")?.writable === true
