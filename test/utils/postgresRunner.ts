/**
 * A test runner that does nothing but have a server, for tests of what happens to it.
 *
 * @since 0.1.0
 */
import { ask, keep } from "./postgresServer.ts"

const { source } = await keep()
const folder = source._tag === "Keeper" ? source.folder : ""
process.stdout.write(`${JSON.stringify({ folder, url: await ask(source) })}\n`)
setInterval(() => {}, 1_000)
