import { defineConfig } from "vitest/config";

/** Every test may start real servers, so time limits are those of a busy two-core machine. */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    maxWorkers: 2,
  },
});
