import { randomUUID } from "node:crypto";
import { messageOf, OperatorError, TransientError } from "../core/errors.ts";
import { OWN_FOLDER } from "../core/layout.ts";
import type { ProbeResult, Store } from "./store.ts";

/** What a step found: a sentence if all is well, else also what to do about it. */
export type Finding = string | Omit<ProbeResult, "name">;

const OLD_STORE =
  "use a store that knows conditional writes (AWS S3, recent MinIO or Ceph): without them two daemons could write one log";

/** Does once, under names of its own, what the daemon will do with the store, and cleans up. */
export async function probeStore(store: Store): Promise<ProbeResult[]> {
  const key = `${OWN_FOLDER}probe/${randomUUID()}`;
  const first = [await probeStep("stage list", () => findFolders(store))];
  if (failed(first)) return first;
  const second = [...first, await probeStep("stage write", () => writeAndRead(store, key))];
  if (failed(second)) return second;
  return [
    ...second,
    await probeStep("stage conditional write", () => refusesSecondWrite(store, key)),
    await probeStep("stage upload", () => staysInvisible(store, `${key}-upload`)),
    await probeStep("stage conditional publish", () => refusesSecondPublish(store, key)),
    await probeStep("stage uploads", () => findUploads(store)),
    await probeStep("stage delete", () => remove(store, [key, `${key}-upload`])),
  ];
}

/** One result, whatever the step throws. */
export async function probeStep(name: string, run: () => Promise<Finding>): Promise<ProbeResult> {
  try {
    const finding = await run();
    return typeof finding === "string"
      ? { name, verdict: "ok", found: finding, mend: "" }
      : { name, ...finding };
  } catch (error) {
    const mend =
      error instanceof OperatorError ? error.mend : "see that the stage can be reached, then try again";
    const passing = error instanceof TransientError;
    return { name, verdict: "fail", found: messageOf(error), mend, ...(passing ? { passing } : {}) };
  }
}

function failed(results: readonly ProbeResult[]): boolean {
  return results.some(({ verdict }) => verdict === "fail");
}

async function findFolders(store: Store): Promise<Finding> {
  const { length } = await store.listFolders("");
  return length === 0 ? `${store.url} is empty` : `${store.url} can be listed`;
}

const DOCUMENT = Buffer.from("written by pgstage check\n");
const OTHER = Buffer.from("written by pgstage check, a second time\n");

async function writeAndRead(store: Store, key: string): Promise<Finding> {
  await store.put(key, DOCUMENT);
  if ((await store.get(key))?.equals(DOCUMENT) === true) return "a document was written and read back";
  return {
    verdict: "fail",
    found: `${store.url}: what was written was not read back`,
    mend: "see that stage.url and stage.endpoint are a store's, not a cache's or a web site's",
  };
}

async function refusesSecondWrite(store: Store, key: string): Promise<Finding> {
  if ((await store.putIfAbsent(key, OTHER)) === "exists") return "a second writer of one key is refused";
  const found = `${store.url} ignores If-None-Match: the second writer of a key is not refused`;
  return { verdict: "fail", found, mend: OLD_STORE };
}

async function staysInvisible(store: Store, key: string): Promise<Finding> {
  const upload = await store.begin(key);
  try {
    await upload.write(DOCUMENT, 1, 0);
    await upload.finish();
    if ((await store.get(key)) === null) return "an upload is invisible until it is published";
    const found = `${store.url} shows an upload before it is complete`;
    return { verdict: "fail", found, mend: "use a store that implements S3's multipart uploads" };
  } finally {
    await upload.abort();
  }
}

async function refusesSecondPublish(store: Store, key: string): Promise<Finding> {
  const upload = await store.begin(key);
  try {
    await upload.write(OTHER, 1, 0);
    const receipt = await upload.finish();
    if (!(await publishes(store, key, receipt))) return "an upload does not replace a file";
  } finally {
    await upload.abort();
  }
  return {
    verdict: "warn",
    found: `${store.url} lets an upload replace a file (it ignores If-None-Match on CompleteMultipartUpload)`,
    mend: "nothing, as long as nobody else writes below stage.url",
  };
}

async function publishes(
  store: Store,
  key: string,
  receipt: Parameters<Store["publish"]>[1],
): Promise<boolean> {
  try {
    await store.publish(key, receipt);
    return true;
  } catch (error) {
    if (error instanceof OperatorError) return false;
    throw error;
  }
}

async function findUploads(store: Store): Promise<Finding> {
  await store.discardUploads(() => true);
  return "uploads that a crash left can be found";
}

async function remove(store: Store, keys: readonly string[]): Promise<Finding> {
  await store.delete(keys);
  return "documents can be deleted";
}
