import type { Answer, Context } from "./context.ts";
import { listObjects, listUploads } from "./listing.ts";
import { abortUpload, completeUpload, createUpload, listParts, uploadPart } from "./multipart.ts";
import { copyObject, deleteObject, deleteObjects, getObject, putObject } from "./objects.ts";
import { xmlAnswer } from "./context.ts";
import type { Operation } from "./route.ts";

type Handler = (context: Context) => Answer | Promise<Answer>;

/** What each operation does, on a bucket that exists. */
export const HANDLERS: Readonly<Record<Exclude<Operation, "CreateBucket">, Handler>> = {
  AbortMultipartUpload: abortUpload,
  CompleteMultipartUpload: completeUpload,
  CopyObject: copyObject,
  CreateMultipartUpload: createUpload,
  DeleteObject: deleteObject,
  DeleteObjects: deleteObjects,
  GetObject: getObject,
  HeadBucket: () => ({ status: 200 }),
  HeadObject: getObject,
  ListMultipartUploads: ({ bucket, route }) => xmlAnswer(listUploads(bucket, route.query)),
  ListObjectsV2: ({ bucket, route }) => xmlAnswer(listObjects(bucket, route.query)),
  ListParts: listParts,
  PutObject: putObject,
  UploadPart: uploadPart,
};
