/** What `--help` says of a command. */
export interface CommandDescription {
  readonly name: CommandName;
  /** Behind the name, as commander writes it: `<table...>`. */
  readonly args?: string;
  readonly summary: string;
  readonly description: string;
  readonly examples: readonly string[];
  /** Flags and what they do; a command with more of them has them in its module. */
  readonly options?: readonly (readonly [flags: string, text: string])[];
  /** Its output is a log for machines, and so is its last error. */
  readonly logs?: boolean;
}

export const COMMAND_NAMES = [
  "run",
  "snapshot",
  "check",
  "status",
  "resync",
  "sql",
  "verify",
  "teardown",
  "demo",
] as const;
export type CommandName = (typeof COMMAND_NAMES)[number];

export const DEFAULT_COMMAND: CommandName = "run";

export const COMMANDS: readonly CommandDescription[] = [
  {
    name: "run",
    summary: "the daemon: copy what is not copied yet, stream, until SIGTERM (default)",
    description:
      "Copies every table that is not copied yet and stages every committed change, until SIGTERM or SIGINT; then it publishes what is open within shutdown.timeout. Runs the checks of `check` first. Can be killed and started again anywhere: the stage is its only memory.",
    examples: ["pgstage run --config pgstage.yaml", "PGSTAGE_STAGE_URL=s3://my-bucket/orders pgstage"],
    logs: true,
  },
  {
    name: "snapshot",
    summary: "one full copy of the tables at one consistent point, then exit",
    description:
      "Copies all tables as of one moment and exits with 0: for schedulers such as Airflow. All files appear together, at the end; a run that fails or is stopped publishes nothing. It needs a slot for a moment only, and leaves none behind. Not for the stage of a pipeline that streams: that is what resync is for.",
    examples: ["pgstage snapshot --config pgstage.yaml"],
    logs: true,
  },
  {
    name: "check",
    summary: "every prerequisite, one line each, and what to do about it",
    description:
      "Looks at the source and the stage as the daemon does before it starts, and alters nothing. Exits with 3 if one check fails.",
    examples: [
      "pgstage check --config pgstage.yaml",
      "pgstage check --json | jq '.[] | select(.verdict != \"ok\")'",
    ],
    options: [["--json", "print JSON"]],
  },
  {
    name: "status",
    summary: "where the pipeline stands, from the daemon, or from the stage and the slot",
    description:
      "Tells where the pipeline stands, what is wrong and what mends it: as the daemon does, if it answers at http.host and http.port, or else from the stage and the slot. Exits with 3 if an operator must act.",
    examples: [
      "pgstage status --config pgstage.yaml",
      "pgstage status --json | jq '.state, .lag.lag_seconds, .notices'",
    ],
    options: [["--json", "print JSON"]],
  },
  {
    name: "resync",
    args: "[table...]",
    summary: "copy tables afresh",
    description:
      "Asks the running daemon to copy tables again, while changes go on being staged. The new copy begins with a t row, so what was staged before no longer counts. Names are schema.table, or table in the schema public; globs are public.order*.\n\nWith --all and no daemon running it is the way out when slot and log have parted (the slot was lost, dropped or moved): it makes a new slot, and the next start copies every table afresh.",
    examples: [
      "pgstage resync public.orders customers",
      "pgstage resync 'public.order*'",
      "pgstage resync --all",
    ],
    options: [
      ["--all", "all tables; without a daemon, also a new slot"],
      ["--new-source", "with --all: this database has replaced the one that the stage belongs to"],
    ],
  },
  {
    name: "sql",
    summary: "print the Snowflake SQL for this pipeline",
    description:
      "Prints storage integration, stage, file format, landing tables, pipes and current-state views for this pipeline's tables as they are.",
    examples: [
      "pgstage sql --config pgstage.yaml > pipeline.sql",
      "pgstage sql --diff --table public.orders",
    ],
  },
  {
    name: "verify",
    summary: "rebuild tables from the stage and compare them with the source, row by row",
    description:
      "Rebuilds tables from the staged files with DuckDB and compares them with the source at one LSN, while the daemon goes on. Exits with 3 if they differ.",
    examples: ["pgstage verify --config pgstage.yaml", "pgstage verify --table public.orders --sample 10%"],
  },
  {
    name: "teardown",
    summary: "drop slot and publications",
    description:
      "Drops the replication slot and the publications of this pipeline. What is staged stays. Without --yes it only says what it would drop, and exits with 3. Refuses while a daemon runs.",
    examples: ["pgstage teardown", "pgstage teardown --yes"],
    options: [["--yes", "really do it"]],
  },
  {
    name: "demo",
    summary: "all of it on one machine, with nothing to install or configure",
    description:
      "Starts an embedded Postgres with real data and a live workload, runs the daemon against it, and proves in the end that the stage equals the source.",
    examples: ["pgstage demo", "pgstage demo --seconds 30"],
  },
];
