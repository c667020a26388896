import { DOCUMENT_FORMAT, type LogDocument, type PipelineIdentity } from "../core/document.ts";
import type { SeenShape, TableRecord } from "../core/table.ts";

/**
 * What the log adds up to. Pure: a state and a document give the next state; the same fold runs while writing and
 * at start. A state document is a state written down, so that a start need not read the whole log.
 */
export interface State {
  readonly format: number;
  readonly sequence: number;
  /** Of the document that it stands after: a state of another log is not ours. Older versions did not write it. */
  readonly writer?: string;
  readonly pipeline: PipelineIdentity;
  /** Every change that committed before here is published; null until the slot exists. */
  readonly endLsn: string | null;
  readonly tables: Readonly<Record<string, TableRecord>>;
}

/** A change to what is known about tables. */
export type TableEvent =
  | { readonly event: "table"; readonly table: TableRecord }
  | {
      readonly event: "range";
      readonly oid: number;
      readonly firstPoint: string;
      readonly number: number;
      readonly rows: number;
      readonly bytes: number;
    }
  | {
      readonly event: "copied";
      readonly oid: number;
      readonly firstPoint: string;
      readonly lastPoint: string;
    }
  | { readonly event: "forget"; readonly oid: number }
  /** The stream shows a table in another shape than the catalog's: the next look has to explain it. */
  | { readonly event: "seen"; readonly oid: number; readonly shape: SeenShape }
  /** A look at the catalog has judged the first `count` shapes. */
  | { readonly event: "looked"; readonly oid: number; readonly count: number }
  /** Everything is to be copied again: documents of the log are gone, or an operator said so. */
  | { readonly event: "copyAll"; readonly reason: string };

/** The state before a birth document. */
export function unborn(pipeline: PipelineIdentity): State {
  return { format: DOCUMENT_FORMAT, sequence: 0, pipeline, endLsn: null, tables: {} };
}

export function applyDocument(state: State, document: LogDocument): State {
  const events = document.tables as unknown as readonly TableEvent[];
  return {
    format: DOCUMENT_FORMAT,
    sequence: document.sequence,
    writer: document.writer,
    pipeline: document.pipeline,
    endLsn: document.endLsn,
    tables: events.length === 0 ? state.tables : applyEvents(state.tables, events),
  };
}

type Tables = Record<string, TableRecord>;

function applyEvents(tables: State["tables"], events: readonly TableEvent[]): State["tables"] {
  const next: Tables = { ...tables };
  for (const event of events) applyEvent(next, event);
  return next;
}

function applyEvent(tables: Tables, event: TableEvent): void {
  switch (event.event) {
    case "table":
      tables[event.table.catalog.oid] = withSeen(event.table, tables[event.table.catalog.oid]?.seen);
      return;
    case "seen":
    case "looked":
      applySeen(tables, event);
      return;
    case "forget":
      delete tables[event.oid];
      return;
    case "copyAll":
      for (const [oid, table] of Object.entries(tables)) {
        tables[oid] = { ...table, copy: { phase: "pending", reason: event.reason } };
      }
      return;
    case "range":
    case "copied": {
      const table = tables[event.oid];
      // A range of a plan that was given up meanwhile counts for nothing.
      if (table?.copy.phase !== "copying" || table.copy.firstPoint !== event.firstPoint) return;
      tables[event.oid] = { ...table, copy: advance(table.copy, event) };
      return;
    }
    default:
      event satisfies never;
  }
}

/** What the stream has shown is only forgotten by the look that judges it, whatever else is recorded meanwhile. */
function withSeen(table: TableRecord, seen: readonly SeenShape[] = []): TableRecord {
  const { seen: _, ...rest } = table;
  return seen.length === 0 ? rest : { ...rest, seen };
}

function applySeen(tables: Tables, event: Extract<TableEvent, { event: "seen" | "looked" }>): void {
  const table = tables[event.oid];
  if (!table) return;
  const seen = table.seen ?? [];
  tables[event.oid] = withSeen(
    table,
    event.event === "seen" ? [...seen, event.shape] : seen.slice(event.count),
  );
}

type Copying = Extract<TableRecord["copy"], { phase: "copying" }>;

function advance(
  copy: Copying,
  event: Extract<TableEvent, { event: "range" | "copied" }>,
): TableRecord["copy"] {
  if (event.event === "copied") {
    const { firstPoint, rows, bytes } = copy;
    return { phase: "copied", firstPoint, lastPoint: event.lastPoint, rows, bytes };
  }
  if (copy.done.includes(event.number)) return copy;
  return {
    ...copy,
    done: [...copy.done, event.number],
    rows: copy.rows + event.rows,
    bytes: copy.bytes + event.bytes,
  };
}
