import { Bench } from "../unit/pump-bench.ts";

/**
 * Prints the bytes of heap that one change takes on its way from the message to the CSV, as a process of its own whose
 * young generation has room for all of it, so that nothing is collected meanwhile:
 *
 *     node --expose-gc --min-semi-space-size=512 --max-semi-space-size=512 --import tsx test/bench/allocations-child.ts ROWS_PER_TRANSACTION
 */
const perTransaction = Number(process.argv[2]);
const WARM = 60_000;
const CHANGES = 120_000;
const bench = new Bench({ memoryBytes: 1_000_000_000 });

function transactions(changes: number): Buffer[] {
  const payloads: Buffer[] = [];
  for (let change = 0; change < changes; change += perTransaction) {
    const rows = Array.from({ length: perTransaction }, () => bench.insert("text of a row"));
    payloads.push(bench.begin(), ...rows, bench.commit());
  }
  return payloads;
}

const [warm, measured] = [transactions(WARM), transactions(CHANGES)];
for (const payload of warm) bench.pump.read(payload);
globalThis.gc?.();
const before = process.memoryUsage().heapUsed;
for (const payload of measured) bench.pump.read(payload);
console.log((process.memoryUsage().heapUsed - before) / CHANGES);
process.exit(0);
