import { ECSClient, CreateServiceCommand, RegisterTaskDefinitionCommand } from "@aws-sdk/client-ecs";
import { describe, expect, it } from "vitest";
import { loadSettings } from "../../src/settings/load.ts";
import { json, text } from "./files.ts";
import { readFileSync } from "node:fs";

/**
 * What the SDK would send. It leaves out members that the service's model does not have, so what is the same behind it
 * as before has no wrong names and types.
 */
async function sent(command: object): Promise<unknown> {
  let body = "";
  const client = new ECSClient({
    region: "eu-central-1",
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
    requestHandler: {
      handle(request: { body: Uint8Array }) {
        body = Buffer.from(request.body).toString();
        throw new Error("enough");
      },
    },
    maxAttempts: 1,
  });
  await expect(client.send(command as never)).rejects.toThrow("enough");
  return JSON.parse(body);
}

interface Container {
  readonly user: string;
  readonly readonlyRootFilesystem: boolean;
  readonly stopTimeout: number;
  readonly environment: { name: string; value: string }[];
  readonly healthCheck: { command: string[] };
}
const task = json("ecs/task-definition.json") as { memory: string; containerDefinitions: [Container] };
const service = json("ecs/service.json") as { desiredCount: number; taskDefinition: string };
const [container] = task.containerDefinitions;

process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";

describe("config/ecs", () => {
  it("is as the service's model has it", async () => {
    expect(await sent(new RegisterTaskDefinitionCommand(task as never))).toEqual(task);
    expect(await sent(new CreateServiceCommand(service as never))).toEqual(service);
  });

  it("would be told of a wrong name", async () => {
    const wrong = { ...task, containerDefinitions: [{ ...container, healthcheck: {} }] };
    expect(await sent(new RegisterTaskDefinitionCommand(wrong as never))).not.toEqual(wrong);
  });

  it("has settings that load, and time to drain", () => {
    const env = Object.fromEntries(container.environment.map(({ name, value }) => [name, value]));
    const settings = loadSettings({ env });
    expect(settings.source).toMatchObject({ auth: "iam", tls: "verify-full" });
    expect(container.stopTimeout * 1000).toBeGreaterThan(settings.shutdown.timeoutMs);
    expect(Number(task.memory) * 2 ** 20).toBeGreaterThanOrEqual(2 * settings.memory.maxBytes);
  });

  it("runs the image as it is meant to", () => {
    const dockerfile = readFileSync(new URL("../../Dockerfile", import.meta.url), "utf8");
    expect(dockerfile).toContain(`USER ${container.user}\n`);
    expect(container.readonlyRootFilesystem).toBe(true);
    const [kind, ...command] = container.healthCheck.command;
    expect(kind).toBe("CMD");
    const port = "' + (process.env.PGSTAGE_HTTP_PORT ?? 8080) + '";
    expect(dockerfile).toContain(JSON.stringify(command).replaceAll(',"', ', "').replace("8080", port));
    expect(service.desiredCount).toBe(2);
    expect(text("ecs/task-definition.json")).toContain(`"family": "${service.taskDefinition}"`);
  });
});
