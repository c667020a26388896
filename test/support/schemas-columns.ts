import type { ShapeCase } from "./schemas.ts";

/** What happens to columns: their number, their names, their types. */
export const COLUMN_CASES: readonly ShapeCase[] = [
  {
    name: "a column without a default is added",
    steps: ["ALTER TABLE %T ADD c text", "UPDATE %T SET c = 'new' WHERE id = 5"],
    reasons: [],
  },
  {
    name: "a column with a constant default is added",
    steps: ["ALTER TABLE %T ADD c text DEFAULT 'x,y'"],
    reasons: [/column c was added with a default/],
  },
  {
    name: "a column with a volatile default is added",
    steps: ["ALTER TABLE %T ADD c float DEFAULT random()"],
    reasons: [/rewritten/],
  },
  {
    name: "an identity column is added",
    steps: ["ALTER TABLE %T ADD c int GENERATED ALWAYS AS IDENTITY"],
    reasons: [/rewritten/],
  },
  {
    name: "a column of a domain with a default is added",
    steps: ["CREATE DOMAIN %D AS int DEFAULT 7; ALTER TABLE %T ADD c %D"],
    reasons: [/column c was added with a default|rewritten/],
  },
  {
    name: "a default is added later",
    steps: ["ALTER TABLE %T ADD c int", "ALTER TABLE %T ALTER c SET DEFAULT 5"],
    reasons: [],
  },
  { name: "a column is dropped", steps: ["ALTER TABLE %T DROP a"], reasons: [] },
  {
    name: "the first and the last column are dropped",
    columns: "a int, id int PRIMARY KEY, b text",
    fill: "INSERT INTO %T SELECT i, i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T DROP a", "ALTER TABLE %T DROP b"],
    reasons: [],
  },
  {
    name: "a column is renamed",
    steps: ["ALTER TABLE %T RENAME a TO z"],
    reasons: [/column a was renamed to z/],
  },
  {
    name: "a key column is renamed",
    steps: ["ALTER TABLE %T RENAME id TO key"],
    touch: (k) => `UPDATE %T SET b = 'k' WHERE "${k === 0 ? "key" : "id"}" = 3`,
    reasons: [/key is now|renamed/],
  },
  {
    name: "two columns swap their names",
    steps: [
      "BEGIN; ALTER TABLE %T RENAME a TO x; ALTER TABLE %T RENAME v TO a; ALTER TABLE %T RENAME x TO v; COMMIT",
    ],
    reasons: [/renamed/],
  },
  {
    name: "two columns of one type swap their names",
    columns: "id int PRIMARY KEY, a int, c int",
    fill: "INSERT INTO %T SELECT i, i, -i FROM generate_series(1, 40) AS i",
    steps: [
      "BEGIN; ALTER TABLE %T RENAME a TO x; ALTER TABLE %T RENAME c TO a; ALTER TABLE %T RENAME x TO c; COMMIT",
    ],
    reasons: [/renamed/],
  },
  {
    name: "a column is dropped and added again under its name",
    steps: ["ALTER TABLE %T DROP a; ALTER TABLE %T ADD a int"],
    reasons: [/column a is not the column that had this name before/],
  },
  {
    name: "a column is dropped, and later one of its name is added",
    steps: ["ALTER TABLE %T DROP a", "ALTER TABLE %T ADD a text"],
    reasons: [/column a is not the column that had this name before/],
  },
  {
    name: "int becomes bigint",
    steps: ["ALTER TABLE %T ALTER a TYPE bigint"],
    reasons: [/type of column a/],
  },
  {
    name: "the key's int becomes bigint",
    steps: ["ALTER TABLE %T ALTER id TYPE bigint"],
    reasons: [/type of column id/],
  },
  {
    name: "the key's int becomes text",
    steps: ["ALTER TABLE %T ALTER id TYPE text"],
    touch: () =>
      "INSERT INTO %T (id) VALUES ('not a number'); UPDATE %T SET id = id WHERE b LIKE '%1'; UPDATE %T SET id = id || 'x' WHERE b LIKE '%2'",
    reasons: [/type of column id/],
  },
  {
    name: "varchar(10) becomes varchar(20)",
    steps: ["ALTER TABLE %T ALTER v TYPE varchar(20)"],
    reasons: [],
  },
  {
    name: "varchar becomes text and comes back",
    steps: ["ALTER TABLE %T ALTER v TYPE text", "ALTER TABLE %T ALTER v TYPE varchar"],
    reasons: [],
  },
  {
    name: "text becomes char(9)",
    steps: ["ALTER TABLE %T ALTER b TYPE char(9)"],
    reasons: [/type of column b/],
  },
  {
    name: "timestamptz becomes timestamp without being rewritten",
    columns: "id int PRIMARY KEY, at timestamptz",
    fill: "INSERT INTO %T SELECT i, '2024-01-01 00:00:00+00' FROM generate_series(1, 40) AS i",
    steps: ["SET TimeZone = 'UTC'; ALTER TABLE %T ALTER at TYPE timestamp; RESET TimeZone"],
    reasons: [/type of column at/],
  },
  {
    name: "a column gets other values of the same type",
    steps: ["ALTER TABLE %T ALTER a TYPE int USING a * 2"],
    reasons: [/rewritten/],
  },
  {
    name: "numeric gets a larger precision",
    columns: "id int PRIMARY KEY, n numeric(10,2)",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T ALTER n TYPE numeric(12,2)"],
    reasons: [],
  },
  {
    name: "numeric gets a larger scale",
    columns: "id int PRIMARY KEY, n numeric(10,2)",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T ALTER n TYPE numeric(12,4)"],
    reasons: [/rewritten/],
  },
];
