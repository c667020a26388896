import { usualTouch, type ShapeCase } from "./schemas.ts";

const again = [/.*/];

/** Keys, types, storage, generated columns, and what is altered back. */
export const OTHER_CASES: readonly ShapeCase[] = [
  {
    name: "the key moves to other columns",
    columns: "id int PRIMARY KEY, a int NOT NULL, b text",
    fill: "INSERT INTO %T SELECT i, i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T DROP CONSTRAINT %C, ADD PRIMARY KEY (a, id)"],
    touch: (k) =>
      `INSERT INTO %T VALUES (${1000 + k}, 1, ''); UPDATE %T SET a = a + 100 WHERE id = 5; DELETE FROM %T WHERE id = 7`,
    reasons: [/key is now/],
  },
  {
    name: "the key is lost, and UPDATE works again",
    steps: ["ALTER TABLE %T DROP CONSTRAINT %C"],
    touch: (k) => (k === 0 ? "INSERT INTO %T (id) VALUES (7777)" : ""),
    reasons: [/replica identity was lost/],
  },
  {
    name: "a key is gained",
    columns: "id int, a int",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T ADD PRIMARY KEY (id)"],
    reasons: [/gained a replica identity/],
  },
  {
    name: "replica identity becomes FULL and DEFAULT again",
    steps: ["ALTER TABLE %T REPLICA IDENTITY FULL", "ALTER TABLE %T REPLICA IDENTITY DEFAULT"],
    reasons: [],
  },
  {
    name: "a bag of rows under FULL gets a primary key and loses it",
    columns: "id int NOT NULL, a int",
    setup: "ALTER TABLE %T REPLICA IDENTITY FULL",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T ADD CONSTRAINT %C PRIMARY KEY (id)", "ALTER TABLE %T DROP CONSTRAINT %C"],
    reasons: [/key is now/, /key is now/],
  },
  {
    name: "replica identity becomes a unique index",
    columns: "id int PRIMARY KEY, u int NOT NULL",
    setup: "CREATE UNIQUE INDEX %I ON %T (u)",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T REPLICA IDENTITY USING INDEX %I"],
    touch: (k) =>
      `INSERT INTO %T VALUES (${1000 + k}, ${1000 + k}); UPDATE %T SET id = id + 5000 WHERE u = 5; UPDATE %T SET u = u + 6000 WHERE id = 6; DELETE FROM %T WHERE id = ${7 + k}`,
    reasons: [/key is now/],
  },
  {
    name: "an enum's value is renamed",
    setup: "CREATE TYPE %D AS ENUM ('one', 'two'); ALTER TABLE %T ADD e %D[] DEFAULT '{one,two}'",
    steps: ["ALTER TYPE %D RENAME VALUE 'one' TO 'eins'"],
    reasons: [/enum value one was renamed to eins/],
  },
  {
    name: "an enum gets a value",
    setup: "CREATE TYPE %D AS ENUM ('one', 'two'); ALTER TABLE %T ADD e %D DEFAULT 'one'",
    steps: ["ALTER TYPE %D ADD VALUE 'three'", "UPDATE %T SET e = 'three' WHERE id = 4"],
    reasons: [],
  },
  {
    name: "a composite type gets an attribute and loses it",
    setup: "CREATE TYPE %D AS (x int, y text); ALTER TABLE %T ADD e %D; ALTER TABLE %T ADD f %D[]",
    fill: "INSERT INTO %T SELECT i, i, i, i, '', ROW(i, 'y')::%D, ARRAY[ROW(i, NULL)::%D] FROM generate_series(1, 40) AS i",
    steps: ["ALTER TYPE %D ADD ATTRIBUTE z int", "ALTER TYPE %D DROP ATTRIBUTE x"],
    reasons: [/composite type/, /composite type/],
  },
  { name: "VACUUM FULL leaves the table alone", steps: ["VACUUM FULL %T"], reasons: [] },
  { name: "CLUSTER leaves the table alone", steps: ["CLUSTER %T USING %C"], reasons: [] },
  // The first VACUUM FULL writes the default into old rows: the catalog then looks as after a rewriting ALTER.
  {
    name: "VACUUM FULL after a column with a default",
    steps: ["ALTER TABLE %T ADD c int DEFAULT 3", "VACUUM FULL %T", "VACUUM FULL %T"],
    reasons: [/default/, /rewritten/],
  },
  {
    name: "settings of columns change",
    steps: [
      "ALTER TABLE %T ALTER big SET STORAGE MAIN, ALTER a SET STATISTICS 5, ALTER a SET DEFAULT 8; ANALYZE %T",
    ],
    reasons: [],
  },
  {
    name: "the table is truncated and filled again",
    steps: ["TRUNCATE %T; INSERT INTO %T (id) SELECT i FROM generate_series(1, 20) AS i"],
    reasons: [],
  },
  {
    name: "the table is emptied while it is altered",
    steps: [
      "BEGIN; TRUNCATE %T; ALTER TABLE %T ADD c int DEFAULT 1; INSERT INTO %T (id) SELECT i FROM generate_series(1, 20) AS i; COMMIT",
    ],
    reasons: again,
  },
  {
    name: "a stored generated column is added",
    steps: ["ALTER TABLE %T ADD g int GENERATED ALWAYS AS (id * 2) STORED"],
    reasons: [/rewritten/],
  },
  {
    name: "a stored generated column becomes a plain one",
    columns: "id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (id * 2) STORED",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T ALTER g DROP EXPRESSION"],
    reasons: [/column g/],
    before: 18,
  },
  {
    name: "a stored generated column becomes a plain one, after it was streamed",
    columns: "id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (id * 2) STORED",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T ALTER g DROP EXPRESSION"],
    reasons: [],
    since: 18,
  },
  {
    name: "a generated column gets another expression",
    columns: "id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (id * 2) STORED",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: ["ALTER TABLE %T ALTER g SET EXPRESSION AS (id * 3)"],
    reasons: [/rewritten/],
    since: 17,
  },
  {
    name: "a virtual generated column is added",
    steps: ["ALTER TABLE %T ADD g int GENERATED ALWAYS AS (id * 2) VIRTUAL"],
    reasons: [],
    since: 18,
  },
  {
    name: "a parent and its child get a column with a default",
    setup: "CREATE TABLE %K (extra int, PRIMARY KEY (id)) INHERITS (%T); INSERT INTO %K (id) VALUES (500)",
    steps: ["ALTER TABLE %T ADD c int DEFAULT 2", "UPDATE %T SET a = 1 WHERE id = 500"],
    reasons: [/default/],
  },
  {
    name: "the table goes to another schema and comes back",
    steps: ["ALTER TABLE %T SET SCHEMA elsewhere", "ALTER TABLE elsewhere.%N SET SCHEMA public"],
    touch: (k) => (k === 0 ? "UPDATE elsewhere.%N SET a = -1 WHERE id < 5" : usualTouch(k)),
    reasons: [/it is new/],
  },
  {
    name: "the table is renamed to a name that is not captured and back",
    steps: ['ALTER TABLE %T RENAME TO "hidden_%N"', 'ALTER TABLE "hidden_%N" RENAME TO %T'],
    touch: (k) => (k === 0 ? 'UPDATE "hidden_%N" SET a = -1 WHERE id < 5' : usualTouch(k)),
    reasons: [/it is new/],
  },
  {
    name: "a column is renamed and renamed back",
    steps: ["ALTER TABLE %T RENAME a TO z", "ALTER TABLE %T RENAME z TO a"],
    touch: (k) => `UPDATE %T SET ${k === 0 ? "z" : "b"} = 77 WHERE id = ${5 + k}`,
    reasons: [/renamed/, /renamed/],
  },
  {
    name: "two columns swap their names and swap back",
    columns: "id int PRIMARY KEY, a int, c int",
    fill: "INSERT INTO %T SELECT i, i, -i FROM generate_series(1, 40) AS i",
    steps: [
      "BEGIN; ALTER TABLE %T RENAME a TO x; ALTER TABLE %T RENAME c TO a; ALTER TABLE %T RENAME x TO c; COMMIT",
      "BEGIN; ALTER TABLE %T RENAME a TO x; ALTER TABLE %T RENAME c TO a; ALTER TABLE %T RENAME x TO c; COMMIT",
    ],
    reasons: [/renamed/, /renamed/],
  },
  {
    name: "timestamptz becomes timestamp and comes back",
    columns: "id int PRIMARY KEY, at timestamptz",
    fill: "INSERT INTO %T SELECT i, '2024-01-01 00:00:00+00' FROM generate_series(1, 40) AS i",
    steps: [
      "SET TimeZone = 'UTC'; ALTER TABLE %T ALTER at TYPE timestamp; RESET TimeZone",
      "SET TimeZone = 'UTC'; ALTER TABLE %T ALTER at TYPE timestamptz; RESET TimeZone",
    ],
    reasons: [/type of column at/, /type of column at/],
  },
  {
    name: "a column is added and dropped at once",
    steps: ["ALTER TABLE %T ADD c int DEFAULT 4", "ALTER TABLE %T DROP c"],
    reasons: again,
  },
  {
    name: "the table leaves the publication and somebody puts it back",
    steps: [
      "ALTER PUBLICATION %P DROP TABLE %T; UPDATE %T SET a = -5 WHERE id < 5; ALTER PUBLICATION %P ADD TABLE %T",
    ],
    // Taken out just behind a look that had put it back, it is gone for that look, and new for the next one.
    reasons: [/publication|it is new/],
  },
  {
    name: "a partitioned table gets columns with defaults",
    columns: "id int PRIMARY KEY, a int) PARTITION BY RANGE (id",
    setup: "CREATE TABLE %K PARTITION OF %T DEFAULT",
    fill: "INSERT INTO %T SELECT i, i FROM generate_series(1, 40) AS i",
    steps: [
      "ALTER TABLE %T ADD c int DEFAULT 2",
      "ALTER TABLE %T ADD d int",
      "ALTER TABLE %T ADD e float DEFAULT random()",
    ],
    reasons: [/column c was added with a default/, /rewritten/],
  },
];
