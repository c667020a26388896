import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Every test may start real servers, so time limits are those of a busy two-core machine. */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    // One more than cores: a test mostly waits for servers and daemons, and has them at work in between.
    maxWorkers: Math.min(availableParallelism() + 1, 8),
  },
});
