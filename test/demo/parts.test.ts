import { expect, test } from "vitest";
import { demoOptions } from "../../src/commands/demo.ts";
import { SettingsError } from "../../src/core/errors.ts";
import { Screen } from "../../src/demo/screen.ts";
import { stageTree } from "../../src/demo/tree.ts";

test("options: what they mean, and every problem at once", () => {
  expect(demoOptions({ dir: "here" })).toEqual({ seconds: null, stageUrl: null, dir: "here" });
  expect(demoOptions({ seconds: "30", stage: "s3://b/p", dir: "d" })).toMatchObject({
    seconds: 30,
    stageUrl: "s3://b/p",
  });
  const wrong = (): unknown => demoOptions({ seconds: "soon", stage: "ftp://x" });
  expect(wrong).toThrow(SettingsError);
  expect(wrong).toThrow(/--seconds: "soon" is not a number of seconds\n--stage: .*neither s3/);
});

test("the stage as a tree: first and newest file of each table", () => {
  const files = [1, 2, 3].map((n) => ({
    key: `public/orders/2026/11/22/07/${n}.csv.gz`,
    rows: 10,
    bytes: 100,
  }));
  expect(
    stageTree("stage", [{ key: "public/a/2026/11/22/07/x.csv.gz", rows: 1, bytes: 9 }, ...files]),
  ).toEqual([
    "stage",
    "├── public/a/       1 file, 1 row, 9 B",
    "│   └── 2026/11/22/07/x.csv.gz",
    "├── public/orders/  3 files, 30 rows, 300 B",
    "│   ├── 2026/11/22/07/1.csv.gz",
    "│   ├── … 1 more",
    "│   └── 2026/11/22/07/3.csv.gz",
    "└── _pgstage/  the daemon's own: the log of what was published, table progress, schemas",
  ]);
});

test("a screen draws its last lines again on a terminal, and nowhere else", () => {
  const written: string[] = [];
  const terminal = { write: (text: string) => written.push(text), isTTY: true, columns: 20 };
  const screen = new Screen(terminal, { TERM: "xterm" });
  screen.live(["bar one", "x".repeat(50)]);
  screen.line("news");
  screen.live([]);
  expect(written).toEqual([
    `bar one\n${"x".repeat(19)}\n`,
    `\u001b[2A\r\u001b[Jnews\nbar one\n${"x".repeat(19)}\n`,
    "\u001b[2A\r\u001b[J",
  ]);
  written.length = 0;
  const plain = new Screen({ write: (text: string) => written.push(text) }, {});
  plain.live(["bar"]);
  plain.line("news");
  expect(written).toEqual(["news\n"]);
});
