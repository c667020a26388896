import { fileURLToPath } from "node:url";
import type { StageSettings } from "./settings.ts";
import type { Values } from "./values.ts";

/** Classes whose objects must be restored before anybody can read them. */
const ARCHIVES = ["GLACIER", "DEEP_ARCHIVE"];

/** The `stage.*` settings, checked together; what is wrong goes into `values`. */
export function stageSettings(values: Values): StageSettings {
  const endpoint = values.text("stage.endpoint");
  if (endpoint !== undefined && !/^https?:\/\/[^/]/.test(endpoint)) {
    values.refuse(
      "stage.endpoint",
      `${JSON.stringify(endpoint)} is not a URL such as https://s3.example.com`,
    );
  }
  const region = values.text("stage.region");
  const forcePathStyle = values.flag("stage.forcePathStyle");
  const sse = values.text("stage.sse") as StageSettings["sse"];
  const kmsKeyId = values.text("stage.kmsKeyId");
  if (kmsKeyId !== undefined && !sse?.startsWith("aws:kms")) {
    values.refuse("stage.kmsKeyId", "needs stage.sse aws:kms");
  }
  const storageClass = values.text("stage.storageClass");
  if (storageClass !== undefined && ARCHIVES.includes(storageClass.toUpperCase())) {
    values.refuse(
      "stage.storageClass",
      `${storageClass} cannot be read by Snowpipe without being restored first`,
    );
  }
  return {
    url: stageUrl(values),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(forcePathStyle === undefined ? {} : { forcePathStyle }),
    ...(sse === undefined ? {} : { sse }),
    ...(kmsKeyId === undefined ? {} : { kmsKeyId }),
    ...(storageClass === undefined ? {} : { storageClass }),
  };
}

function stageUrl(values: Values): string {
  const given = values.text("stage.url");
  if (given === undefined) {
    values.refuse("stage.url", "is required: s3://bucket/prefix or file:///directory");
    return "";
  }
  const url = given.replace(/\/+$/, "");
  const problem = given.startsWith("file:") ? directoryProblem(given) : bucketProblem(url);
  if (problem !== undefined) values.refuse("stage.url", problem);
  return url;
}

function directoryProblem(url: string): string | undefined {
  if (!url.startsWith("file:///"))
    return `${JSON.stringify(url)} is not absolute: file:/// and the path, with three slashes`;
  try {
    const path = fileURLToPath(url);
    return path === "/" ? "is the root directory: name one for the stage alone" : undefined;
  } catch {
    return `${JSON.stringify(url)} is not a file URL: file:///directory, with % written as %25`;
  }
}

/** Bucket names as AWS allows them (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html), and older ones with capitals and underscores. */
function bucketProblem(url: string): string | undefined {
  const match = /^s3:\/\/([^/]*)((?:\/.*)?)$/s.exec(url);
  if (match === null)
    return `${JSON.stringify(hideCredentials(url))} is neither s3://bucket/prefix nor file:///directory`;
  const [, bucket = "", prefix = ""] = match;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket)) {
    return `${JSON.stringify(hideCredentials(bucket))} is not a bucket's name`;
  }
  if (/[?#]/.test(prefix))
    return "has a ? or # in it: settings such as the region have their own keys, stage.region, stage.endpoint";
  const segments = prefix.split("/").slice(1);
  if (segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
    return `${JSON.stringify(prefix)} has an empty, . or .. part`;
  }
  return undefined;
}

/** Somebody may have put keys where a user name goes. */
function hideCredentials(text: string): string {
  return text.replace(/[^/@]*@/, "…@");
}
