/** The shipped testbeds as Pulumi sees them, with mocks: resources, parents, options; and that the offline plugins take exactly what is used. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { Declaration } from "../../components/config/declaration";
import { readPolicyFile } from "../../components/config/policies";
import { readFirewallRules } from "../../components/config/load";
import { testbedNames } from "../../components/config/sources";
import type { Testbed as TestbedFile } from "../../components/config/types.gen";
import { notesOf } from "../../components/host/objects/generation";
import { ruleFaults } from "../../components/plan/check";
import { secretsOf } from "../../components/plan/secrets";
import { codeRoot } from "../../support/project";
import { commandPlugin } from "../../toolchain/plugins/command/plugin";
import { dockerPlugin } from "../../toolchain/plugins/docker/plugin";
import { type Inputs, type Plugin, unsupportedInputs } from "../../toolchain/plugins/plugin";
import { randomPlugin } from "../../toolchain/plugins/random/plugin";
import { runningLab } from "../errors/harness";

interface Registered {
  readonly type: string;
  readonly name: string;
  readonly inputs: Record<string, unknown>;
}

const plugins: readonly Plugin[] = [commandPlugin, dockerPlugin, randomPlugin];
const registered = new Map<string, Registered[]>();
let keyFolder: string;

function declarationOf(name: string): Declaration {
  const privateKeyFile = join(keyFolder, "key");
  const servers = Object.entries(runningLab.servers).map(([server, facts]) => ({
    ...facts,
    privateKeyFile,
    name: server,
    hub: server === "flip",
    isLab: true,
  }));
  const testbed = parse(readFileSync(join(codeRoot, "testbeds", `${name}.yaml`), "utf8")) as TestbedFile;
  return {
    name,
    testbed,
    servers,
    nftables: {},
    firewallRules: readFirewallRules(codeRoot, testbed, []),
    policies: (testbed.policies ?? []).flatMap((path) => readPolicyFile(codeRoot, path, []) ?? []),
  };
}

/** Secrets as plain values: the offline plugins get them so. */
function unwrap(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrap);
  if (value === null || typeof value !== "object") return value;
  if ("4dabf18193072939515e22adb298388d" in value) return unwrap((value as { value?: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unwrap(inner)]));
}

/** The path of input names that a value uses, as a set of plugins' inputs. */
function used(value: unknown, path: string, into: Set<string>): void {
  into.add(path);
  if (Array.isArray(value)) for (const item of value) used(item, path, into);
  else if (value !== null && typeof value === "object")
    for (const [key, inner] of Object.entries(value)) if (inner !== undefined) used(inner, `${path}.${key}`, into);
}

function supported(inputs: Inputs, path: string): string[] {
  return Object.entries(inputs).flatMap(([key, inner]) => [
    `${path}.${key}`,
    ...(inner === true ? [] : supported(inner, `${path}.${key}`)),
  ]);
}

describe.each(["flip", "flap"])("stack %s", (stack) => {
  beforeAll(async () => {
    keyFolder = mkdtempSync(join(tmpdir(), "flipflap-key-"));
    writeFileSync(join(keyFolder, "key"), "key\n");
    for (const name of testbedNames(codeRoot)) {
      const list: Registered[] = [];
      registered.set(`${stack} ${name}`, list);
      const fromHub = Object.fromEntries(secretsOf(declarationOf(name)).map((secret) => [secret.name, "from the hub"]));
      await pulumi.runtime.setMocks(
        {
          newResource: ({ type, name: resource, inputs, id }) => {
            list.push({ type, name: resource, inputs: unwrap(inputs) as Record<string, unknown> });
            return {
              id: id ?? `${resource}-id`,
              state: {
                ...inputs,
                stdout: "{}",
                result: "secret",
                outputs: { secrets: fromHub },
              },
            };
          },
          call: ({ inputs }) => inputs,
        },
        "flipflap",
        stack,
        true,
      );
      const { Testbed } = await import("../../components/stack");
      const testbed = new Testbed(stack, { root: codeRoot, project: "p", declaration: declarationOf(name) });
      await new Promise<void>((resolve) => pulumi.output(testbed.urn).apply(() => resolve()));
      // Everything registers in turns of the event loop; wait for the last.
      for (let before = -1; before !== list.length;) {
        before = list.length;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    rmSync(keyFolder, { recursive: true, force: true });
  });

  it("has shipped testbeds without faults", () => {
    for (const name of testbedNames(codeRoot)) {
      expect(ruleFaults(declarationOf(name))).toEqual([]);
    }
  });

  it("makes one component a model, and every object has one", () => {
    const list = registered.get(`${stack} bridge`)!;
    const components = list.filter((r) => r.type.startsWith("flipflap:")).map((r) => `${r.type} ${r.name}`);
    expect(components.filter((c) => c.includes("TenantSystem")).length).toBe(3);
    expect(components.filter((c) => c.includes(":Nve ")).length).toBe(2);
    expect(list.filter((r) => r.type === "docker:index/container:Container").length).toBe(4);
  });

  it("keeps scripts and secrets out of command lines", () => {
    for (const list of registered.values()) {
      for (const { type, inputs } of list) {
        if (type !== "command:remote:Command") continue;
        expect(inputs.create).toMatch(/^sh -s (first|ensure|'')?$/);
        expect(inputs.addPreviousOutputInEnv).toBe(false);
      }
    }
  });

  it("notes on the server every object that it makes, so that the server alone can take it away, and no secret", () => {
    for (const [name, list] of registered) {
      if (!name.startsWith(`${stack} `)) continue;
      const put = String(list.find((one) => one.name === `${stack}-generation`)?.inputs.stdin);
      const [, packed = ""] = /printf %s (\S+) \| base64 -d/.exec(put) ?? [];
      const text = gunzipSync(Buffer.from(packed, "base64")).toString();
      const made = list.filter(({ type, inputs }) => type.startsWith("docker:index") || typeof inputs.delete === "string");
      const noted = notesOf(text.split("\n")).map((object) => object.name);
      const beside = [`${stack}-claim`, `${stack}-generation`];
      expect([name, noted.sort()]).toEqual([
        name,
        made
          .map((one) => one.name)
          .filter((one) => !beside.includes(one))
          .sort(),
      ]);
      expect([name, spawnSync("dash", ["-n"], { input: text, encoding: "utf8" }).stderr]).toEqual([name, ""]);
      // What the mocks give for secrets.
      expect(text).not.toMatch(/from the hub|"secret"/);
    }
  });

  it("uses no input that the offline plugins do not take", () => {
    for (const list of registered.values()) {
      for (const { type, name, inputs } of list) {
        const resource = plugins.map((plugin) => plugin.resources[type]).find((found) => found !== undefined);
        if (resource === undefined) {
          expect(type).toMatch(/^(flipflap:|pulumi:)/);
          continue;
        }
        expect([name, unsupportedInputs(resource, inputs)]).toEqual([name, []]);
      }
    }
  });
});

describe("the offline plugins", () => {
  it("take nothing that the testbeds do not use", () => {
    const all = new Set<string>();
    for (const list of registered.values()) for (const { type, inputs } of list) used(inputs, type, all);
    const extra = plugins
      .flatMap((plugin) => Object.entries(plugin.resources).flatMap(([type, resource]) => supported(resource.inputs, type)))
      .filter((path) => !all.has(path));
    expect(extra).toEqual([]);
  });
});
