import { rename, rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { StatusJson } from "../../src/observe/status-json.ts";
import { launchBrowser } from "../browser/browser.ts";
import { killDaemons, type Daemon, type LogLine } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { Scene } from "../support/scene.ts";
import { openStage, type StageKind } from "../support/stage.ts";
import { Outlook, type Account, type Look } from "./outlook.ts";

/** Within so long everything that an operator looks at says the same true thing. */
const SOON_MS = 10_000;

let server: EmbeddedPostgres;
let browser: Browser;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const settings = { max_slot_wal_keep_size: "64MB", max_wal_size: "64MB", min_wal_size: "32MB" };
  [server, browser] = await Promise.all([startPostgres({ version: 16, settings }), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await server.destroy();
});
afterEach(async () => {
  await killDaemons();
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A shop that sells all the time, until the test is over. */
async function sell(scene: Scene): Promise<void> {
  const over = new AbortController();
  const selling = (async () => {
    while (!over.signal.aborted) {
      await scene
        .sql("INSERT INTO orders (what) SELECT md5(random()::text) FROM generate_series(1, 20)")
        .catch(() => {});
      await delay(100, undefined, { signal: over.signal }).catch(() => {});
    }
  })();
  cleanups.push(() => {
    over.abort();
    return selling;
  });
}

interface Begun {
  readonly scene: Scene;
  readonly daemon: Daemon;
  readonly outlook: Outlook;
}

/** A daemon as in production, a page that is open, and a shop; all copied, and all well. */
async function begin(kind: StageKind, isSelling = true): Promise<Begun> {
  const stage = await openStage(kind);
  const scene = new Scene(server, await server.createDatabase(), stage);
  cleanups.push(async () => {
    await scene.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
    await stage[Symbol.asyncDispose]();
  });
  await scene.sql(
    `CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
     INSERT INTO orders (what) SELECT md5(i::text) FROM generate_series(1, 500) i`,
  );
  if (isSelling) await sell(scene);
  const settings = { PGSTAGE_LOG_LEVEL: "info", PGSTAGE_FLUSH_INTERVAL: "500ms" };
  const daemon = await scene.daemon(settings);
  await scene.settled(daemon);
  const outlook = await Outlook.open(daemon, browser, {
    ...settings,
    ...stage.env,
    PGSTAGE_SOURCE_URL: scene.url,
  });
  cleanups.push(() => outlook.page.close());
  await outlook.until(isWell, SOON_MS);
  return { scene, daemon, outlook };
}

function isWell({ state, problems, text, lagSeconds }: Account): boolean {
  const isQuiet = problems === null ? text.startsWith("0 errors") : problems.length === 0;
  return isQuiet && state === "streaming" && lagSeconds !== null && lagSeconds < 5;
}

/** The same error, with the same reason, everywhere; and lag that tells the truth about it. */
function fails(id: string, reason: RegExp, atLeastSeconds: number) {
  return ({ problems, text, lagSeconds }: Account, place: keyof Look): boolean =>
    (problems === null ? text.startsWith("1 errors") : problems.includes(id)) &&
    (place === "metrics" || reason.test(text)) &&
    lagSeconds !== null &&
    lagSeconds >= atLeastSeconds;
}

/** The levels and messages of the log from the `from`th line on, without what is always said. */
function told(daemon: Daemon, from: number): LogLine[] {
  return daemon.lines.slice(from).filter(({ msg }) => !["lag", "staged", "copied"].includes(msg));
}

function ids(status: StatusJson | null): string[] {
  return status?.notices.map(({ id }) => id) ?? [];
}

describe("an operator", () => {
  it("sees a store that is down, and that it is up again", async () => {
    const { scene, daemon, outlook } = await begin("s3");
    const from = daemon.lines.length;
    const fault = scene.stage.s3?.faults.add({ status: 503, code: "SlowDown", times: Infinity });
    await outlook.until(fails("store-failing", /stage cannot be used: .*503 SlowDown/, 2), SOON_MS);
    const human = await outlook.command();
    expect(human).toMatch(/^streaming {2}The stage cannot be used: /);
    expect(human).toMatch(/\nerror: The stage cannot be used: .*\n {2}→ See to the bucket or directory/);
    await daemon.line(({ notice, count }) => notice === "store-failing" && count === 4, from);
    fault?.remove();
    await outlook.until(isWell, SOON_MS);
    // Each fact once: the failure when it is the first, second, fourth …, and its end.
    const lines = told(daemon, from).map(({ level, msg, count = null }) => [level, msg, count]);
    const counts = [1, 2, 4, 8].slice(0, lines.length - 1);
    expect(lines).toEqual([
      ...counts.map((count) => ["error", "stage unreachable", count]),
      ["info", "over: stage unreachable", null],
    ]);
  });

  it("is told that a store is silent, also before any request has failed", async () => {
    const { scene, outlook } = await begin("s3");
    const fault = scene.stage.s3?.faults.add({ silent: true, times: Infinity });
    await seesNotice(outlook, "store-silent", /The stage has been asked and does not answer: /);
    expect((await outlook.look()).status.text).toMatch(/The stage has been asked and does not answer: /);
    fault?.remove();
  });

  it("sees a database that is down, and that it is up again", async () => {
    const { daemon, outlook } = await begin("file");
    const from = daemon.lines.length;
    await server.stop();
    await outlook.until(fails("source-unreachable", /database does not answer: /, 2), SOON_MS);
    expect(await outlook.command()).toMatch(
      /\nerror: The database does not answer: .*\n {2}→ See whether the server is up/,
    );
    await server.start();
    await outlook.until(isWell, SOON_MS);
    const lines = told(daemon, from).filter(({ level }) => level !== "info");
    expect(new Set(lines.map(({ msg }) => msg))).toEqual(new Set(["source unreachable"]));
    expect(lines.length).toBeLessThanOrEqual(5);
  });

  it("is told that the stage's directory has vanished, and what to do, also when the daemon has ended", async () => {
    const { scene, daemon, outlook } = await begin("file");
    const directory = scene.stage.directory ?? "";
    await rename(directory, `${directory}.away`);
    cleanups.push(() => rm(`${directory}.away`, { recursive: true, force: true }));
    expect(await daemon.exited).toEqual({ code: 3, signal: null });
    const { log, page, command } = await untilBlocked(outlook);
    expect(log.text).toMatch(/has vanished mount or restore it/);
    expect(page.text).toMatch(
      /^1 errors: Blocked, an operator must act: .* has vanished\. Mount or restore it/,
    );
    expect(command.text).toMatch(/the stage is not mounted or was emptied.* Mount or restore the stage/);
    await rename(`${directory}.away`, directory);
    const again = await scene.daemon({ PGSTAGE_LOG_LEVEL: "info", PGSTAGE_FLUSH_INTERVAL: "500ms" });
    await again.untilState("streaming", SOON_MS);
  });

  it("sees the WAL fill up behind a store that is down, and the slot being lost", async () => {
    const { scene, daemon, outlook } = await begin("s3");
    const from = daemon.lines.length;
    scene.stage.s3?.faults.add({ status: 503, code: "SlowDown", times: Infinity });
    for (const [id, segments] of [
      ["wal-50", 3],
      ["wal-75", 1],
    ] as const) {
      for (let segment = 0; segment < segments; segment++) await fillSegment(scene);
      await seesNotice(outlook, id, /% of what max_slot_wal_keep_size allows/);
    }
    await fillSegment(scene);
    await fillSegment(scene);
    await scene.sql("CHECKPOINT");
    expect(await daemon.exited).toEqual({ code: 3, signal: null });
    const look = await untilBlocked(outlook);
    for (const place of ["log", "page", "command"] as const) {
      expect(look[place].text, place).toMatch(
        /slot pgstage was invalidated by the server \(wal_removed\): .*`pgstage resync --all`/,
      );
    }
    const warned = told(daemon, from).filter(({ notice }) => String(notice).startsWith("wal-"));
    expect(warned.map(({ level, notice }) => [level, notice]).slice(0, 2)).toEqual([
      ["warn", "wal-50"],
      ["warn", "wal-75"],
    ]);
  });

  it("is told who holds the WAL if it is a transaction of the application", async () => {
    const { scene, daemon, outlook } = await begin("s3", false);
    const holder = await server.connect({ database: scene.database });
    const { rows } = await holder.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    await holder.query("BEGIN; INSERT INTO orders (what) VALUES ('open')");
    for (let segment = 0; segment < 2; segment++) await fillSegment(scene);
    // Only what lasts is worth a word: until then a transaction is one of many.
    await daemon.line(({ notice }) => notice === "wal-held-by-transaction");
    const who = new RegExp(`transaction that began long ago is still open: pid ${rows[0]?.pid}, for`);
    await seesNotice(outlook, "wal-held-by-transaction", who);
    expect((await outlook.look()).status.text).toMatch(who);
    expect((await daemon.status())?.lag.lag_seconds).toBe(0);
    await holder.query("COMMIT");
    await holder.end();
    // The server moves a slot's restart_lsn at the next record of what runs, and that may be seconds away.
    await sell(scene);
    await daemon.until((status) => !ids(status).includes("wal-held-by-transaction"), "freed");
    await outlook.until(isWell, SOON_MS);
  });

  it("sees a table altered, copied afresh, losing its key, and getting it back", async () => {
    const { scene, daemon, outlook } = await begin("file");
    await scene.sql("ALTER TABLE orders ADD COLUMN tier int DEFAULT 3");
    await seesNotice(outlook, "shape-changed", /The columns of public\.orders changed: added tier\./);
    await seesNotice(outlook, "copied-afresh", /public\.orders is copied afresh: column tier was added/);
    await scene.sql("ALTER TABLE orders DROP CONSTRAINT orders_pkey");
    await seesNotice(outlook, "table-without-identity", /Nothing identifies a row of public\.orders: /);
    await scene.sql("ALTER TABLE orders ADD PRIMARY KEY (id)");
    await daemon.until((status) => !ids(status).includes("table-without-identity"), "mended", SOON_MS);
    await outlook.until(isWell, SOON_MS);
    const afresh = daemon.lines.filter(({ notice }) => notice === "copied-afresh");
    expect(afresh.map(({ level, reason }) => [level, reason])).toEqual([
      ["info", "column tier was added with a default"],
      ["info", "its replica identity was lost"],
      ["info", "it has gained a replica identity"],
    ]);
  });
});

/** 16 MiB of WAL that no table of ours has to do with. */
async function fillSegment(scene: Scene): Promise<void> {
  await scene.sql("SELECT pg_logical_emit_message(false, 'filler', 'x'); SELECT pg_switch_wal()");
}

/** A notice stands on the page, in the log, in `/status` and at the prompt, in the same words. */
async function seesNotice(outlook: Outlook, id: string, words: RegExp): Promise<void> {
  const { daemon, page } = outlook;
  const places = async (): Promise<Record<string, boolean>> => {
    const [status, command, shown] = await Promise.all([
      daemon.status(),
      outlook.command(),
      page.textContent("#notices"),
    ]);
    return {
      status: status?.notices.some((notice) => notice.id === id && words.test(notice.message)) === true,
      log: daemon.lines.some(({ notice, message }) => notice === id && words.test(String(message))),
      page: words.test(shown ?? ""),
      command: words.test(command),
    };
  };
  const everywhere = { status: true, log: true, page: true, command: true };
  await expect.poll(places, { timeout: SOON_MS, interval: 200 }).toEqual(everywhere);
}

async function untilBlocked(outlook: Outlook): Promise<Pick<Look, "page" | "log" | "command">> {
  let look: Look | null = null;
  await expect
    .poll(
      async () => {
        look = await outlook.look();
        return [look.page.state, look.log.state, look.command.state];
      },
      { timeout: SOON_MS },
    )
    .toEqual(["blocked", "blocked", "blocked"]);
  if (look === null) throw new Error("nobody looked");
  return look;
}
