import type { IncomingMessage, ServerResponse } from "node:http";
import type { Answer } from "./context.ts";
import type { S3Error } from "./errors.ts";
import type { Fault } from "./faults.ts";
import { xmlDocument } from "./xml.ts";

/** Sends an answer; the fault may spoil its body. */
export async function sendAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  fault: Fault | null,
): Promise<void> {
  const { status, headers = {}, body, contentLength } = answer;
  if (body === undefined) {
    const length = contentLength ?? (status === 204 ? undefined : 0);
    response.writeHead(status, { ...headers, ...(length !== undefined && { "content-length": length }) });
    response.end();
    return;
  }
  const { bytes, pieces } = typeof body === "string" ? textBody(body) : body;
  response.writeHead(status, { ...headers, "content-length": bytes });
  let sent = 0;
  for await (const piece of pieces) {
    const cut = (fault?.cutAfterBytes ?? Infinity) - sent;
    if (piece.length > cut) {
      response.write(piece.subarray(0, Math.max(0, cut)), () => request.socket.destroy());
      return;
    }
    sent += piece.length;
    if (!response.write(fault?.corrupt === true ? corrupted(piece) : piece)) await drained(response);
    if (response.destroyed) return;
  }
  response.end();
}

function textBody(text: string): { bytes: number; pieces: Buffer[] } {
  const piece = Buffer.from(text);
  return { bytes: piece.length, pieces: [piece] };
}

function corrupted(piece: Buffer): Buffer {
  const copy = Buffer.from(piece);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}

async function drained(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = (): void => {
      response.off("drain", go).off("close", go);
      resolve();
    };
    response.once("drain", go).once("close", go);
  });
}

/** Sends an error, with its document but for HEAD. What is left of the request's body is read and thrown away. */
export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  error: S3Error,
  requestId: string,
): void {
  request.resume();
  const region = error.elements["Region"];
  const body = xmlDocument("Error", {
    Code: error.code,
    Message: error.message,
    Resource: request.url ?? "",
    RequestId: requestId,
    ...error.elements,
  }).replace(' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', "");
  const hasBody = request.method !== "HEAD" && error.status !== 304;
  response.writeHead(error.status, {
    ...(region !== undefined && { "x-amz-bucket-region": region }),
    ...(hasBody && { "content-type": "application/xml", "content-length": Buffer.byteLength(body) }),
  });
  response.end(hasBody ? body : undefined);
}
