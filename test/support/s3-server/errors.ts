/** An answer that says no: HTTP status and S3's error code. */
export class S3Error extends Error {
  override readonly name = "S3Error";
  readonly status: number;
  readonly code: string;
  /** Further elements of the answer's body, such as `Region`. */
  readonly elements: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message = code, elements: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.elements = elements;
  }
}

export const invalidRequest = (message: string): S3Error => new S3Error(400, "InvalidRequest", message);
export const invalidArgument = (message: string): S3Error => new S3Error(400, "InvalidArgument", message);
