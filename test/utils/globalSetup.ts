/**
 * One PostgreSQL server for a whole test run. It starts when the first test asks for it, see `Postgres.layer`.
 *
 * @since 0.1.0
 */
import type { TestProject } from "vitest/node"
import { keep, type Source } from "./postgresServer.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly postgres: Source
  }
}

export const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  const { source, stop } = await keep()
  project.provide("postgres", source)
  return stop
}
