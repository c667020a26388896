import { S3Error } from "./errors.ts";
import type { Operation } from "./route.ts";
import { verifySignature, type Credentials, type SignedRequest } from "./signature.ts";

/** Who may do what: one pair of credentials, which can expire, and operations that are denied. */
export class Access {
  #credentials: Credentials;
  #expired: "ExpiredToken" | "InvalidAccessKeyId" | null = null;
  readonly #denied = new Set<Operation>();
  readonly #region: string;

  constructor(credentials: Credentials, region: string) {
    this.#credentials = credentials;
    this.#region = region;
  }

  get credentials(): Credentials {
    return this.#credentials;
  }

  /** From now on every request is refused with this code. */
  expire(code: "ExpiredToken" | "InvalidAccessKeyId" = "ExpiredToken"): void {
    this.#expired = code;
  }

  /** The credentials are valid again, or these are from now on. */
  restore(credentials: Credentials = this.#credentials): void {
    this.#credentials = credentials;
    this.#expired = null;
  }

  deny(...operations: Operation[]): void {
    for (const op of operations) this.#denied.add(op);
  }

  allow(...operations: Operation[]): void {
    for (const op of operations) this.#denied.delete(op);
  }

  /** Throws an S3Error if the request may not be done. */
  check(op: Operation, request: SignedRequest): void {
    if (this.#expired === "ExpiredToken")
      throw new S3Error(400, "ExpiredToken", "the provided token has expired");
    if (this.#expired !== null) throw new S3Error(403, this.#expired);
    verifySignature(request, this.#credentials, this.#region);
    if (this.#denied.has(op)) throw new S3Error(403, "AccessDenied", "access denied");
  }
}
