/** What is needed of stdout or stderr: a test's stream is one, too. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether lines can be erased and written again there. */
export function canRewrite(to: Terminal, env: Environment): boolean {
  return to.isTTY === true && env["TERM"] !== "dumb";
}

/** Whether to write colours there (https://no-color.org). */
export function wantsColor(to: Terminal, env: Environment): boolean {
  return canRewrite(to, env) && (env["NO_COLOR"] ?? "") === "";
}

/** Names come from the database: no control character of theirs, nor one that turns text around, reaches the terminal. */
export function clean(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Bidi_Control}]/gu,
    (control) => `\\u{${control.charCodeAt(0).toString(16)}}`,
  );
}
