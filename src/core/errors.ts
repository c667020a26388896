/**
 * The three kinds of failure.
 *
 * - SettingsError: the settings are wrong; exit 2.
 * - OperatorError: only a person can mend it; exit 3, never retried.
 * - TransientError: the part that owns the connection starts again.
 *
 * Anything else is a bug or unknown: the process ends with 1 and its supervisor starts it again.
 */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** What is wrong, and the command or setting that mends it. The message is for people and holds no secret. */
export class OperatorError extends Error {
  override readonly name = "OperatorError";
  readonly mend: string;

  constructor(message: string, mend: string, options?: ErrorOptions) {
    super(message, options);
    this.mend = mend;
  }
}

/** Worth trying again from the last log document: a lost connection, a store that is slow or away. */
export class TransientError extends Error {
  override readonly name = "TransientError";
}

/** The source answers, but somebody is in the way: a lock, a transaction, another daemon. Worth trying again. */
export class BusyError extends TransientError {}

/** The store no longer knows an upload that is not recorded yet: its rows have to be received again. */
export class UploadLostError extends Error {
  override readonly name = "UploadLostError";
}

/** Another daemon wrote to the log: this one has been replaced and must stop without publishing. */
export class ReplacedError extends Error {
  override readonly name = "ReplacedError";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
