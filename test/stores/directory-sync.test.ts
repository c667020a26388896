import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { UploadLostError } from "../../src/core/errors.ts";
import { DirectoryStore } from "../../src/stores/directory.ts";

test("an upload that could not be synced is given up: the next fsync would say that all is well", async () => {
  const root = await mkdtemp(join(tmpdir(), "pgstage-sync-"));
  const handle = await open(join(root, "probe"), "w");
  const files = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  const upload = await new DirectoryStore(root).begin("public/t/f.csv");
  await upload.write(Buffer.alloc(1024), 1, 0);
  const failing = vi.spyOn(files, "sync");
  failing.mockRejectedValueOnce(Object.assign(new Error("EIO: i/o error, fsync"), { code: "EIO" }));
  try {
    await expect(upload.finish()).rejects.toBeInstanceOf(UploadLostError);
    await expect(upload.finish()).rejects.toBeInstanceOf(UploadLostError);
    await upload.abort();
  } finally {
    failing.mockRestore();
    await rm(root, { recursive: true });
  }
});
