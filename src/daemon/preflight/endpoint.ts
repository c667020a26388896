import { fail, ok, warn, type Check } from "./check.ts";

const NAME = "endpoint";

/**
 * What the host's name says, before anybody connects. Names of endpoints:
 * https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Overview.Endpoints.html
 */
export function checkEndpoint(host: string): Check {
  const name = host.toLowerCase();
  if (!/\.rds\.amazonaws\.com(\.cn)?$/.test(name)) return ok(NAME, host);
  if (/^[^.]+\.(endpoint\.)?proxy-/.test(name)) {
    return fail(
      NAME,
      `${host} is an RDS Proxy, which does not pass replication on`,
      "set source.url to the endpoint of the instance, or to the writer endpoint of the cluster",
    );
  }
  if (/^[^.]+\.cluster-ro-/.test(name)) {
    return fail(
      NAME,
      `${host} is a reader endpoint, and Aurora's readers cannot decode changes`,
      `set source.url to the writer endpoint: ${host.replace(/\.cluster-ro-/i, ".cluster-")}`,
    );
  }
  if (/^[^.]+\.cluster-custom-/.test(name)) {
    return warn(
      NAME,
      `${host} is a custom endpoint, which may lead to a reader`,
      "use the cluster's writer endpoint",
    );
  }
  if (/^[^.]+-green-[a-z0-9]+\./.test(name)) {
    return warn(
      NAME,
      `${host} is the green side of a blue/green deployment: its name is gone after the switchover`,
      "stop pgstage and run `pgstage teardown --yes` before the switchover, and `pgstage resync --all --new-source` after it: slots are not carried over",
    );
  }
  return ok(NAME, host);
}
