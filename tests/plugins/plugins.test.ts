/** The offline plugins by themselves: check, diff, create, update, delete, in the engine's words. Containers and SSH: tests/lab. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { commandPlugin } from "../../toolchain/plugins/command/plugin";
import { dockerPlugin } from "../../toolchain/plugins/docker/plugin";
import { tarOf } from "../../toolchain/plugins/docker/tar";
import { asProvider, type Plugin, unknownValue } from "../../toolchain/plugins/plugin";
import { randomPlugin } from "../../toolchain/plugins/random/plugin";

const urn = (type: string): string => `urn:pulumi:flip::flipflap::flipflap:server:Server$${type}::x`;
const localCommand = urn("command:local:Command");
const remoteCommand = urn("command:remote:Command");
const container = urn("docker:index/container:Container");
const password = urn("random:index/randomPassword:RandomPassword");
const folder = mkdtempSync(join(tmpdir(), "flipflap-plugins-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const provider = (plugin: Plugin) => asProvider(plugin) as Required<ReturnType<typeof asProvider>>;
const [command, docker, random] = [provider(commandPlugin), provider(dockerPlugin), provider(randomPlugin)];

describe("an input outside the set", () => {
  it.each([
    [
      command,
      remoteCommand,
      { connection: { host: "h", proxy: { host: "p" } }, environment: { A: "b" } },
      ["connection.proxy", "environment"],
    ],
    [command, localCommand, { create: "true", interpreter: ["bash"] }, ["interpreter"]],
    [
      docker,
      container,
      { name: "x", image: "y", ports: [{ internal: 1 }], capabilities: { drops: ["ALL"] }, labels: [{ label: "a", valeu: "b" }] },
      ["ports", "capabilities.drops", "labels[0].valeu"],
    ],
    [random, password, { length: 8, keepers: { a: "b" } }, ["keepers"]],
  ])("fails by name", async (plugin, type, inputs, names) => {
    const { failures = [] } = await plugin.check(type, {}, inputs);
    expect(failures.map((failure) => failure.property)).toEqual(names);
    for (const failure of failures) expect(failure.reason).toContain(`${failure.property} is not supported by the offline plugin`);
  });
  it("is not what is absent, nor a default that a vendor's plugin noted", async () => {
    const { failures } = await docker.check(container, {}, { name: "x", image: "y", ports: undefined, __defaults: [] });
    expect(failures).toEqual([]);
  });
  it("goes for resources too", async () => {
    await expect(docker.check(urn("docker:index/network:Network"), {}, {})).rejects.toThrow("has no resource docker:index/network:Network");
  });
});

describe("a difference", () => {
  const same = { create: "true", triggers: ["a"], stdin: "x", connection: { host: "h", port: 22 } };
  it.each([
    ["nothing", same, { ...same }, false, []],
    ["a script", same, { ...same, stdin: "y" }, true, []],
    ["a connection", same, { ...same, connection: { host: "h", port: 23 } }, true, []],
    ["a trigger", same, { ...same, triggers: ["b"] }, true, ["triggers"]],
    ["what is not known yet", same, { ...same, stdin: unknownValue }, true, []],
    ["an input that is gone", same, { ...same, stdin: undefined }, true, []],
  ])("of a command in %s", async (_, olds, news, changes, replaces) => {
    // A state holds outputs beside the inputs; they are no difference.
    expect(await command.diff("id", remoteCommand, { ...olds, stdout: "out" }, news)).toMatchObject({ changes, replaces });
  });
  const box = { name: "x", image: "sha256:1", memory: 64, restart: "always", labels: [{ label: "a", value: "b" }] };
  it.each([
    ["memory", { memory: 128 }, []],
    ["restart", { restart: "no" }, []],
    ["image", { image: "sha256:2" }, ["image"]],
    ["labels", { labels: [] }, ["labels"]],
    ["name", { name: "y" }, ["name"]],
  ])("of a container in %s", async (_, change, replaces) => {
    expect(await docker.diff("id", container, box, { ...box, ...change })).toMatchObject({ changes: true, replaces });
  });
  it("of a password always replaces", async () => {
    expect(await random.diff("none", password, { length: 8, result: "x" }, { length: 9 })).toMatchObject({
      changes: true,
      replaces: ["length"],
    });
  });
});

describe("a command", () => {
  it("creates, creates again on update, deletes, and tells what it printed", async () => {
    const file = join(folder, "it");
    const inputs = { create: `echo made >>'${file}'; cat '${file}'`, delete: `rm '${file}'` };
    const { id, outs } = await command.create(localCommand, inputs);
    expect(outs).toEqual({ ...inputs, stdout: "made", stderr: "" });
    const updated = await command.update(id, localCommand, outs, inputs);
    expect((updated.outs as { stdout: string }).stdout).toBe("made\nmade");
    await command.delete(id, localCommand, outs);
    expect(existsSync(file)).toBe(false);
  });
  it("that fails says what it said", async () => {
    await expect(command.create(localCommand, { create: "echo why >&2; exit 3" })).rejects.toThrow(
      /exit status 3: running "echo why >&2; exit 3":\nwhy/,
    );
  });
});

describe("a password", () => {
  it.each([8, 64])("has %i letters and digits, another each time", async (length) => {
    const results = await Promise.all(
      [1, 2].map(async () => (await random.create(password, { length, special: false })).outs as { result: string }),
    );
    for (const { result } of results) expect(result).toMatch(new RegExp(`^[A-Za-z0-9]{${length}}$`));
    expect(results[0]!.result).not.toBe(results[1]!.result);
  });
});

describe("a file for a container", () => {
  it.each(["/etc/token", `/${"long/".repeat(30)}name`])("is a tar that tar reads: %s", (path) => {
    const input = tarOf(path, "ünï\n");
    const listed = spawnSync("tar", ["-tf", "-"], { input, encoding: "utf8" });
    expect([listed.stdout.trim(), listed.stderr]).toEqual([path.slice(1), ""]);
    expect(spawnSync("tar", ["-xOf", "-"], { input, encoding: "utf8" }).stdout).toBe("ünï\n");
  });
});
