/**
 * How the tests run: the public names (`effect-saga`, `effect-saga/sql`, ...) lead to the sources, two files at a time,
 * each in a process of its own.
 */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// Ours, then what Vite uses for Node.
const conditions = ["effect-saga/source", "module", "node", "development|production"]
const globalSetup = fileURLToPath(new URL("./utils/globalSetup.ts", import.meta.url))

export default defineConfig({
  root: fileURLToPath(new URL("..", import.meta.url)),
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: existsSync(globalSetup) ? [globalSetup] : [],
    pool: "forks",
    maxWorkers: 2,
    // A test waits on latches and the test clock, never on time: what takes longer than this hangs. The first hook of a
    // file may have to wait for a database.
    testTimeout: 20_000,
    hookTimeout: 60_000
  }
})
