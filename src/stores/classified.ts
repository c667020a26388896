import {
  OperatorError,
  ReplacedError,
  SettingsError,
  TransientError,
  UploadLostError,
} from "../core/errors.ts";

const OURS = [TransientError, OperatorError, SettingsError, ReplacedError, UploadLostError];

/** True for an error that says already who can mend it. */
export function isClassified(error: Error): boolean {
  return OURS.some((kind) => error instanceof kind);
}

/** A published key never changes, whoever wrote it. */
export function occupied(name: string, how: string): OperatorError {
  return new OperatorError(
    `${name} exists already, ${how}: a published key never changes`,
    "find out who else writes below stage.url, and give every pipeline a prefix of its own",
  );
}
