import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { policyNotes } from "../../src/snowflake/account.ts";
import { S3Store } from "../../src/stores/s3.ts";
import { startS3, type Operation, type S3 } from "../support/s3-server/index.ts";
import { options } from "../snowflake/input.ts";
import { checksum, stageFile } from "../stores/support.ts";
import { json, namesIn } from "./files.ts";

interface Statement {
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource?: string | string[];
  readonly Principal?: object;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | string[]>>>>;
}
interface Policy {
  readonly Version: string;
  readonly Statement: readonly Statement[];
}

const policy = (name: string): Policy => json(`iam/${name}.json`) as Policy;
const list = (value: string | string[] | undefined): string[] =>
  typeof value === "string" ? [value] : (value ?? []);

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html */
const ACTIONS: Readonly<Partial<Record<Operation, string>>> = {
  AbortMultipartUpload: "s3:AbortMultipartUpload",
  CompleteMultipartUpload: "s3:PutObject",
  CreateMultipartUpload: "s3:PutObject",
  DeleteObject: "s3:DeleteObject",
  DeleteObjects: "s3:DeleteObject",
  GetObject: "s3:GetObject",
  HeadObject: "s3:GetObject",
  ListMultipartUploads: "s3:ListBucketMultipartUploads",
  ListObjectsV2: "s3:ListBucket",
  ListParts: "s3:ListMultipartUploadParts",
  PutObject: "s3:PutObject",
  UploadPart: "s3:PutObject",
};

function allows({ Statement: statements }: Policy, action: string, arn: string): boolean {
  return statements.some(
    ({ Action, Resource }) =>
      list(Action).includes(action) &&
      list(Resource).some((pattern) =>
        pattern.endsWith("*") ? arn.startsWith(pattern.slice(0, -1)) : arn === pattern,
      ),
  );
}

describe("config/iam", () => {
  it.each(namesIn("iam"))("%s is a policy that grants by name and to no one else", (file) => {
    const { Version, Statement: statements } = json(`iam/${file}`) as Policy;
    expect(Version).toBe("2012-10-17");
    expect(statements.length).toBeGreaterThan(0);
    for (const { Effect, Action, Resource, Principal, Condition } of statements) {
      expect(Effect).toBe("Allow");
      for (const action of list(Action)) expect(action).toMatch(/^[a-z0-9-]+:[A-Za-z]+$/);
      for (const arn of list(Resource)) expect(arn).toMatch(/^arn:aws:(s3|rds-db|kms):[^*]*(\/\*)?$/);
      // Who may assume a role is always bound to one external id, subject or account.
      expect(Principal === undefined).toBe(Resource !== undefined);
      if (Principal) expect(Condition?.["StringEquals"]).toBeDefined();
    }
  });

  it("lets the database user be pgstage, as the examples connect", () => {
    expect(list(policy("rds-connect").Statement[0]?.Resource)[0]).toMatch(/:dbuser:[^/]+\/pgstage$/);
  });

  it("gives Snowflake nothing but reading, as `pgstage sql` says", () => {
    const reader = policy("snowflake-reader");
    const actions = reader.Statement.flatMap(({ Action }) => list(Action));
    expect(actions.filter((action) => !/^s3:(Get|List)/.test(action))).toEqual([]);
    const pipeline = {
      stageUrl: "s3://my-bucket/pgstage/app",
      compression: "gzip",
      slot: "pgstage",
    } as const;
    const said = policyNotes({ pipeline, tables: [], options: options() }).join("\n");
    expect(said).toContain(JSON.stringify(reader, null, 2));
  });
});

describe("config/iam/writer.json", () => {
  let s3: S3;
  let store: S3Store;

  beforeAll(async () => {
    s3 = await startS3({ bucket: "my-bucket" });
    Object.assign(process.env, s3.env);
    store = await S3Store.open({ bucket: s3.bucket, prefix: "pgstage/app", endpoint: s3.endpoint });
  });
  afterAll(async () => {
    store.close();
    await s3.close();
  });

  it("allows every request that the store makes, and no action that it does not need", async () => {
    const writer = policy("writer");
    for (const { verdict, found } of await store.probe()) expect(verdict, found).toBe("ok");
    const bytes = Buffer.from("rows");
    await store.publishBytes("public/orders/small.csv.gz", bytes, checksum(bytes));
    const receipt = await stageFile(store, "public/orders/large.csv.gz", bytes);
    expect(await store.publish("public/orders/large.csv.gz", receipt)).toBe("published");
    const lost = await stageFile(store, "public/orders/lost.csv.gz", bytes);
    s3.dropUploads();
    expect(await store.publish("public/orders/lost.csv.gz", lost)).toBe("gone");
    await stageFile(store, "public/orders/left.csv.gz", bytes);
    await store.discardUploads(() => false);
    await store.delete(["_pgstage/packs/1"]);

    const used = new Set<string>();
    for (const { op, key } of s3.requests.list()) {
      const action = ACTIONS[op];
      expect(action, `the action of ${op}`).toBeDefined();
      // A bulk delete names its keys in its body; the daemon's own are the only ones it ever deletes.
      const object = op === "DeleteObjects" ? "pgstage/app/_pgstage/packs/1" : key;
      const arn = `arn:aws:s3:::my-bucket${object === "" ? "" : `/${object}`}`;
      expect(allows(writer, action ?? "", arn), `${op} of ${arn}`).toBe(true);
      used.add(action ?? "");
    }
    const granted = writer.Statement.flatMap(({ Action }) => list(Action));
    // Asked only where a store answers a lost upload ambiguously.
    expect(granted.filter((action) => !used.has(action))).toEqual(
      used.has("s3:ListMultipartUploadParts") ? [] : ["s3:ListMultipartUploadParts"],
    );
  });

  it("does not allow data files to be deleted", () => {
    expect(
      allows(policy("writer"), "s3:DeleteObject", "arn:aws:s3:::my-bucket/pgstage/app/public/orders/x.csv"),
    ).toBe(false);
  });
});
