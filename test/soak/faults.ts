import { setTimeout as delay } from "node:timers/promises";
import type { Daemon } from "../support/daemon.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import type { Random } from "../support/random.ts";
import type { S3 } from "../support/s3-server/index.ts";
import type { Scene } from "../support/scene.ts";

/** What a fault may do harm to. */
export interface Victim {
  readonly scene: Scene;
  readonly s3: S3;
  readonly proxy: FaultProxy;
  readonly random: Random;
  /** The daemon now. */
  readonly daemon: Daemon;
  /** Starts the next daemon; the one before is gone, or will be. */
  next(): Promise<Daemon>;
  /** Counts a daemon that was killed. */
  killed(): void;
}

type Harm = (victim: Victim) => Promise<void>;

async function kill(victim: Victim): Promise<void> {
  await victim.daemon.kill();
  victim.killed();
}

/** Answers for a while with what a store in trouble answers. */
const STORE_FAULTS = [
  { status: 500, code: "InternalError" },
  { status: 503, code: "SlowDown" },
  { status: 500, code: "InternalError", afterCommit: true },
  { reset: true },
  { reset: true, afterCommit: true },
  { delayMs: 2_000 },
  { op: ["PutObject", "CompleteMultipartUpload"] as const, status: 409, code: "ConditionalRequestConflict" },
];

async function endWalsenders({ scene }: Victim): Promise<void> {
  await scene.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'");
}

/** Every kind of harm, by name. Each ends with a daemon that runs, or will by itself. */
export const HARMS: Readonly<Record<string, Harm>> = {
  "kill -9": async (victim) => {
    await kill(victim);
    await victim.next();
  },
  "kill -9 at the start": async (victim) => {
    for (let i = 0; i < 3; i++) {
      await kill(victim);
      await victim.next();
      await delay(victim.random.below(1_200));
    }
  },
  "rolling deploy": async (victim) => {
    const before = victim.daemon;
    const after = await victim.next();
    // Where the one before has lost the slot just now, the new one takes it.
    await after.until(({ state }) => state !== "starting", "at its place");
    await before.drain();
  },
  "SIGTERM and a new start": async (victim) => {
    await victim.daemon.drain();
    await victim.next();
  },
  "asleep while another one takes over": async (victim) => {
    const zombie = victim.daemon;
    zombie.signal("SIGSTOP");
    await endWalsenders(victim);
    const after = await victim.next();
    await after.line("started");
    zombie.signal("SIGCONT");
    await delay(1_000 + victim.random.below(2_000));
    await zombie.kill();
    victim.killed();
  },
  "walsender ended": endWalsenders,
  "connections reset": async ({ proxy }) => {
    proxy.cut("rst");
    await Promise.resolve();
  },
  "connection torn in a message": async ({ proxy, random }) => {
    proxy.cutAfterBytes(random.below(500_000));
    await Promise.resolve();
  },
  "slow network": async ({ proxy, random }) => {
    proxy.latencyMs = random.below(300);
    await delay(3_000);
    proxy.latencyMs = 0;
  },
  "half-open connections": async ({ proxy }) => {
    proxy.forget();
    await Promise.resolve();
  },
  "server stopped fast": async ({ scene }) => {
    await scene.server.stop("fast");
    await scene.server.start();
  },
  "server crash": async ({ scene }) => {
    await scene.server.stop("immediate");
    await scene.server.start();
  },
  "store in trouble": async ({ s3, random }) => {
    const injected = s3.faults.add({
      ...random.pick(STORE_FAULTS),
      skip: random.below(4),
      times: 1 + random.below(8),
    });
    await delay(3_000);
    injected.remove();
  },
  "credentials expire": async ({ s3 }) => {
    s3.access.expire();
    await delay(3_000);
    s3.access.restore();
  },
  "killed between record and publication": async (victim) => {
    let release = (): void => {};
    const hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    const held = victim.s3.faults.add({
      op: ["PutObject", "CompleteMultipartUpload"],
      key: /\.csv/,
      hold,
      reset: true,
    });
    await Promise.race([held.met, delay(10_000)]);
    await kill(victim);
    held.remove();
    release();
    await victim.next();
  },
};
