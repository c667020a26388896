import { OperatorError, TransientError, messageOf } from "../core/errors.ts";
import { rdsRegion, type SourceAccess } from "./source-access.ts";

/**
 * A token to log in with, good for 15 minutes and needed at the login only
 * (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html).
 * It is signed here, without a request to RDS: a token for a role that may not log in looks like any other.
 *
 * Rejects with an OperatorError if there is no region, with a TransientError if there are no credentials (now).
 */
export async function rdsToken(source: SourceAccess): Promise<string> {
  const { Signer } = await import("@aws-sdk/rds-signer");
  const region = source.region ?? rdsRegion(source.host);
  const signer = new Signer({
    hostname: source.host,
    port: source.port,
    username: source.user,
    ...(region === undefined ? {} : { region }),
  });
  try {
    return await signer.getAuthToken();
  } catch (error) {
    if (messageOf(error) === "Region is missing") {
      throw new OperatorError(
        "the IAM token needs the region of the database, and neither its host name nor AWS's configuration tells it",
        "set source.region",
        { cause: error },
      );
    }
    throw new TransientError(`no IAM token for the source: AWS gave no credentials (${messageOf(error)})`, {
      cause: error,
    });
  }
}
