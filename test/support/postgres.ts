import type { PostgresVersion } from "../../src/embedded/postgres.ts";

export { startPostgres, type EmbeddedPostgres, type PostgresOptions } from "../../src/embedded/postgres.ts";

/** Every major version that pgstage supports. */
export const POSTGRES_VERSIONS: readonly PostgresVersion[] = [13, 14, 15, 16, 17, 18];
