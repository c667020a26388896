import { OperatorError, ReplacedError, SettingsError, TransientError } from "../core/errors.ts";

/** An error as a log line or `--json` shows it. A stack only where the cause is not known: for our mistakes. */
export interface ErrorFacts {
  readonly type: string;
  readonly message: string;
  readonly code?: string | number;
  readonly mend?: string;
  readonly cause?: ErrorFacts;
  readonly stack?: string;
}

const MAX_CAUSES = 5;

export function serializeError(error: unknown): ErrorFacts {
  return factsOf(error, { stack: !isExplained(error), causes: MAX_CAUSES });
}

/** True for errors whose message says it all. */
export function isExplained(error: unknown): boolean {
  return [SettingsError, OperatorError, TransientError, ReplacedError].some((kind) => error instanceof kind);
}

function factsOf(error: unknown, depth: { stack: boolean; causes: number }): ErrorFacts {
  if (!(error instanceof Error)) return { type: typeof error, message: scrub(String(error)) };
  const { code } = error as NodeJS.ErrnoException;
  const causes = depth.causes - 1;
  const cause =
    error.cause === undefined || causes === 0 ? undefined : factsOf(error.cause, { stack: false, causes });
  return {
    type: error.name,
    message: scrub(error.message),
    ...(code === undefined ? {} : { code }),
    ...(error instanceof OperatorError ? { mend: error.mend } : {}),
    ...(depth.stack && error.stack !== undefined ? { stack: scrub(error.stack) } : {}),
    ...(cause === undefined ? {} : { cause }),
  };
}

/**
 * Takes passwords out of URLs and signatures out of tokens, wherever a library may have put them; rather too much
 * than too little. The placeholder in `postgres://user:password@host` may stay.
 */
export function scrub(text: string): string {
  return text
    .replaceAll(/(\w+:\/\/[^\s:/@]*):(?!password@)[^\s"']*@/g, "$1:…@")
    .replaceAll(/(X-Amz-(?:Signature|Security-Token|Credential)=)[^\s&"]+/gi, "$1…");
}
