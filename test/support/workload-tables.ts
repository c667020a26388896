import type { Random } from "./random.ts";

/** What a session may do to a table, one statement at a time. */
export interface WorkloadTable {
  readonly name: string;
  readonly insert: (random: Random) => string;
  /** Null where the application itself could not: nothing tells its rows apart for the stream. */
  readonly update: ((random: Random) => string) | null;
  readonly rekey: ((random: Random) => string) | null;
  readonly remove: ((random: Random) => string) | null;
  /** Whether columns of the workload's may be added to it and changed. */
  readonly mayAlter: boolean;
}

const KEYS = 150;

const id = (random: Random): number => random.below(KEYS);

/** Text with all that CSV and encodings make difficult. */
function oddText(random: Random): string {
  const pieces = [
    "plain",
    "with, comma",
    'with "quotes"',
    "line\nfeed",
    "cr\r\nlf",
    "ümlaut ☃ 😀",
    "",
    " blanks ",
    "\\.",
    "\\N",
    "''",
    "tab\t",
  ];
  return Array.from({ length: 1 + random.below(3) }, () => random.pick(pieces)).join("") + random.below(1000);
}

const text = (random: Random): string => `'${oddText(random).replaceAll("'", "''")}'`;
const textOrNull = (random: Random): string =>
  random.chance(0.1) ? "NULL" : random.chance(0.1) ? "''" : text(random);

/** Bytes that do not compress: `kib` KiB of hex digests, so they are stored out of line. */
const large = (random: Random, kib: number): string =>
  `(SELECT string_agg(md5(${random.below(1e9)}::text || i::text), '') FROM generate_series(1, ${kib * 32}) AS i)`;

/** DDL of the tables, all kinds that there are. */
export const CREATE_TABLES = `
CREATE TABLE plain (id int PRIMARY KEY, a text, n numeric, at timestamptz DEFAULT clock_timestamp(), doc jsonb, tags text[]);
CREATE TABLE composite (a int, b text, v text, PRIMARY KEY (a, b));
CREATE TABLE text_key (k text PRIMARY KEY, body text);
CREATE TABLE toasted (id int PRIMARY KEY, big text, small int, bytes bytea);
ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL;
CREATE TABLE full_keyed (id int PRIMARY KEY, big text, v int);
ALTER TABLE full_keyed REPLICA IDENTITY FULL, ALTER big SET STORAGE EXTERNAL;
CREATE TABLE full_bag (a int, b text, big text);
ALTER TABLE full_bag REPLICA IDENTITY FULL, ALTER big SET STORAGE EXTERNAL;
CREATE TABLE keyless (at timestamptz DEFAULT clock_timestamp(), message text);
CREATE TABLE by_index (u text NOT NULL, v int, note text);
CREATE UNIQUE INDEX by_index_u ON by_index (u);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_u;
CREATE TABLE "Odd name/ü" ("Key" int PRIMARY KEY, "a ""quoted"" column" text);
CREATE TABLE parted (region text, id int, v text, big text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE parted_north PARTITION OF parted FOR VALUES IN ('north');
CREATE TABLE parted_south PARTITION OF parted FOR VALUES IN ('south');
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
`;

const REGIONS = ["north", "south", "east", "west"];
const region = (random: Random): string => `'${random.pick(REGIONS)}'`;

/** The key may be taken by a row that another statement put there: then it is not the statement's day. */
const orNothing = " ON CONFLICT DO NOTHING";

export const TABLES: readonly WorkloadTable[] = [
  {
    name: "plain",
    insert: (r) =>
      `INSERT INTO plain (id, a, n, doc, tags) VALUES (${id(r)}, ${textOrNull(r)}, ${r.next() * 1e6}, '{"x": ${r.below(100)}}', ARRAY[${text(r)}, NULL])${orNothing}`,
    update: (r) => `UPDATE plain SET a = ${textOrNull(r)}, n = n + 1 WHERE id BETWEEN ${id(r)} AND ${id(r)}`,
    rekey: (r) => `UPDATE plain SET id = ${id(r)} WHERE id = ${id(r)}`,
    remove: (r) => `DELETE FROM plain WHERE id = ${id(r)}`,
    mayAlter: true,
  },
  {
    name: "composite",
    insert: (r) => `INSERT INTO composite VALUES (${r.below(10)}, ${text(r)}, ${textOrNull(r)})${orNothing}`,
    update: (r) => `UPDATE composite SET v = ${textOrNull(r)} WHERE a = ${r.below(10)}`,
    rekey: (r) => `UPDATE composite SET a = a + 1, b = b || 'x' WHERE a = ${r.below(10)} AND length(b) < 40`,
    remove: (r) => `DELETE FROM composite WHERE a = ${10 + r.below(30)}`,
    mayAlter: true,
  },
  {
    name: "text_key",
    insert: (r) => `INSERT INTO text_key VALUES (${text(r)}, ${textOrNull(r)})${orNothing}`,
    update: (r) => `UPDATE text_key SET body = ${textOrNull(r)} WHERE hashtext(k) % 20 = ${r.below(20)}`,
    rekey: (r) =>
      `UPDATE text_key SET k = k || ${text(r)} WHERE hashtext(k) % 40 = ${r.below(40)} AND length(k) < 60`,
    remove: (r) => `DELETE FROM text_key WHERE hashtext(k) % 20 = ${r.below(20)}`,
    mayAlter: false,
  },
  {
    name: "toasted",
    insert: (r) =>
      `INSERT INTO toasted VALUES (${id(r)}, ${large(r, 4)}, 0, decode(${large(r, 3)}, 'hex'))${orNothing}`,
    update: (r) =>
      `UPDATE toasted SET small = small + 1${r.chance(0.2) ? `, big = ${large(r, 3)}` : ""} WHERE id BETWEEN ${id(r)} AND ${id(r)}`,
    rekey: (r) => `UPDATE toasted SET id = ${id(r)} WHERE id = ${id(r)}`,
    remove: (r) => `DELETE FROM toasted WHERE id = ${id(r)}`,
    mayAlter: true,
  },
  {
    name: "full_keyed",
    insert: (r) => `INSERT INTO full_keyed VALUES (${id(r)}, ${large(r, 3)}, 0)${orNothing}`,
    update: (r) => `UPDATE full_keyed SET v = v + 1 WHERE id % 10 = ${r.below(10)}`,
    rekey: (r) => `UPDATE full_keyed SET id = ${id(r)} WHERE id = ${id(r)}`,
    remove: (r) => `DELETE FROM full_keyed WHERE id = ${id(r)}`,
    mayAlter: true,
  },
  {
    name: "full_bag",
    insert: (r) =>
      `INSERT INTO full_bag SELECT ${r.below(20)}, ${textOrNull(r)}, ${r.chance(0.3) ? large(r, 3) : "NULL"} FROM generate_series(1, ${1 + r.below(3)})`,
    update: (r) => `UPDATE full_bag SET b = ${textOrNull(r)} WHERE a = ${r.below(20)}`,
    rekey: null,
    remove: (r) => `DELETE FROM full_bag WHERE a = ${r.below(20)}`,
    mayAlter: false,
  },
  {
    name: "keyless",
    insert: (r) =>
      `INSERT INTO keyless (message) SELECT ${text(r)} FROM generate_series(1, ${1 + r.below(3)})`,
    update: null,
    rekey: null,
    remove: null,
    mayAlter: false,
  },
  {
    name: "by_index",
    insert: (r) => `INSERT INTO by_index VALUES ('u${id(r)}', 0, ${textOrNull(r)})${orNothing}`,
    update: (r) => `UPDATE by_index SET v = v + 1 WHERE u LIKE 'u${r.below(10)}%'`,
    rekey: (r) => `UPDATE by_index SET u = 'u${id(r)}' WHERE u = 'u${id(r)}'`,
    remove: (r) => `DELETE FROM by_index WHERE u = 'u${id(r)}'`,
    mayAlter: true,
  },
  {
    name: '"Odd name/ü"',
    insert: (r) => `INSERT INTO "Odd name/ü" VALUES (${id(r)}, ${textOrNull(r)})${orNothing}`,
    update: (r) =>
      `UPDATE "Odd name/ü" SET "a ""quoted"" column" = ${textOrNull(r)} WHERE "Key" % 10 = ${r.below(10)}`,
    rekey: null,
    remove: (r) => `DELETE FROM "Odd name/ü" WHERE "Key" = ${id(r)}`,
    mayAlter: false,
  },
  {
    name: "parted",
    insert: (r) =>
      `INSERT INTO parted VALUES (${region(r)}, ${id(r)}, ${textOrNull(r)}, ${r.chance(0.3) ? large(r, 3) : "NULL"})${orNothing}`,
    update: (r) => `UPDATE parted SET v = ${textOrNull(r)} WHERE id % 10 = ${r.below(10)}`,
    rekey: (r) =>
      `UPDATE parted SET region = ${region(r)} WHERE region = ${region(r)} AND id % 20 = ${r.below(20)}`,
    remove: (r) => `DELETE FROM parted WHERE id = ${id(r)}`,
    mayAlter: true,
  },
];

/** Rows to begin with, so that a copy takes a few ranges. */
export const FILL_TABLES = `
INSERT INTO plain (id, a, n) SELECT i, repeat(md5(i::text), 4), i FROM generate_series(1000, 3000) AS i;
INSERT INTO composite SELECT i, md5(i::text), repeat('v', 100) FROM generate_series(1000, 2500) AS i;
INSERT INTO text_key SELECT md5(i::text), repeat(md5(i::text), 4) FROM generate_series(1, 1500) AS i;
INSERT INTO toasted SELECT i, (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 90) AS j), 0, NULL FROM generate_series(0, 120) AS i;
INSERT INTO full_keyed SELECT i, (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 90) AS j), 0 FROM generate_series(0, 100) AS i;
INSERT INTO full_bag SELECT i % 20, 'bag', NULL FROM generate_series(1, 600) AS i;
INSERT INTO keyless (message) SELECT md5(i::text) FROM generate_series(1, 1500) AS i;
INSERT INTO by_index SELECT 'u' || i, 0, repeat('n', 100) FROM generate_series(0, 1500) AS i;
INSERT INTO parted SELECT (ARRAY['north', 'south', 'east'])[1 + i % 3], i, repeat('p', 200), NULL FROM generate_series(0, 1500) AS i;
`;
