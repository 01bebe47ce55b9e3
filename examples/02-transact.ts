/**
 * Roll-back without a journal: `Saga.transact` runs a body at once, in memory. A release is put in the place of the one
 * before; if it then does not start, the folder looks as it did.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, FileSystem, Schema } from "effect"
import { Saga, Step } from "effect-saga"

class DoesNotStart extends Schema.TaggedError<DoesNotStart>()("DoesNotStart", { release: Schema.String }) {}

/** Moves a file; undone by moving it back. */
const move = <const Name extends string>(name: Step.Literal<Name>, from: string, to: string) =>
  Step.make(name, {
    execute: FileSystem.FileSystem.use((_) => Effect.orDie(_.rename(from, to))),
    compensate: () =>
      Effect.andThen(
        Console.log(`  undoing ${name}`),
        FileSystem.FileSystem.use((_) => Effect.orDie(_.rename(to, from)))
      )
  })

const unpack = (path: string, text: string) =>
  Step.make("Unpack", {
    execute: FileSystem.FileSystem.use((_) => Effect.orDie(_.writeFileString(path, text))),
    compensate: () =>
      Effect.andThen(Console.log("  undoing Unpack"), FileSystem.FileSystem.use((_) => Effect.orDie(_.remove(path))))
  })

/** Only looks: there is nothing to undo. */
const tryOut = (path: string) =>
  Step.readonly("TryOut", {
    error: DoesNotStart,
    execute: Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const release = yield* Effect.orDie(files.readFileString(path))
      if (release.includes("broken")) return yield* new DoesNotStart({ release })
    })
  })

const install = Effect.fn("install")(function*(folder: string, release: string) {
  yield* unpack(`${folder}/new`, release)
  yield* move("KeepOld", `${folder}/current`, `${folder}/old`)
  yield* move("PutInPlace", `${folder}/new`, `${folder}/current`)
  yield* tryOut(`${folder}/current`)
  // Only when nothing can fail any more.
  yield* Saga.onCommit("RemoveOld", FileSystem.FileSystem.use((_) => _.remove(`${folder}/old`)))
})

const program = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const folder = yield* files.makeTempDirectoryScoped()
  yield* files.writeFileString(`${folder}/current`, "1.0")
  for (const release of ["1.1", "1.2, broken"]) {
    yield* Console.log(`installing ${release}`)
    const said = yield* Saga.transact(install(folder, release)).pipe(
      Effect.as("it runs"),
      Effect.catchTag("DoesNotStart", (error) => Effect.succeed(`${error.release} does not start`))
    )
    const current = yield* files.readFileString(`${folder}/current`)
    const names = (yield* files.readDirectory(folder)).sort()
    yield* Console.log(`  ${said}; current is ${current}; the folder holds ${names.join(", ")}`)
  }
})

program.pipe(Effect.scoped, Effect.provide(NodeServices.layer), NodeRuntime.runMain)

// Output:
// installing 1.1
//   it runs; current is 1.1; the folder holds current
// installing 1.2, broken
//   undoing PutInPlace
//   undoing KeepOld
//   undoing Unpack
//   1.2, broken does not start; current is 1.1; the folder holds current
