import { OperatorError, TransientError } from "../core/errors.ts";
import { isClassified } from "./classified.ts";

/** Errors that a person must mend, each with how. */
const MENDS: Readonly<Record<string, string | undefined>> = {
  EACCES: "give the process's user the right to read and write below the directory",
  EPERM: "give the process's user the right to write, on a file system that knows hard links",
  EROFS: "mount the file system for writing",
  ENOTDIR: "a file stands where a folder is needed: move it away",
  EISDIR: "a folder stands where a file is needed: move it away",
  ELOOP: "remove the symbolic link that points to itself",
  EXDEV: "keep everything below the directory on one file system",
  EOPNOTSUPP: "use a file system that knows hard links",
  ENOTSUP: "use a file system that knows hard links",
  ENOSYS: "use a file system that knows hard links",
  ENAMETOOLONG: "use s3://, or a file system that takes longer names",
  EFBIG: "lower file.maxBytes, or use a file system that takes larger files",
};

/**
 * Turns a failure of the file system into a TransientError (a full disk, an exhausted quota, a bad block, too many
 * open files) or an OperatorError. Whatever carries no errno, and what is classified already, comes back as it is.
 */
export function classifyDiskError(error: unknown, target: string): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code) || isClassified(error)) return error;
  const mend = MENDS[code];
  const message = `${target}: ${explain(code)}`;
  return mend === undefined
    ? new TransientError(message, { cause: error })
    : new OperatorError(message, mend, { cause: error });
}

function explain(code: string): string {
  const known: Readonly<Record<string, string | undefined>> = {
    EACCES: "permission denied",
    EPERM: "the file system does not permit it",
    EROFS: "the file system is read-only",
    ENOSPC: "no space left on the device",
    EDQUOT: "the disk quota is exhausted",
    EIO: "the disk answers with an input/output error",
    ENOTDIR: "a part of this path is not a folder",
    ENOENT: "it vanished while it was written",
  };
  const text = known[code];
  return text === undefined ? code : `${text} (${code})`;
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}
