/** What is deployed, from the stacks' own declarations. */
import { describe, expect, it } from "vitest";
import type { Declaration, ServerDeclaration } from "../../components/config/declaration";
import { changedText, mergeDeployed } from "../../deploy/deployed";

const server = (name: string, more: Partial<ServerDeclaration> = {}): ServerDeclaration => ({
  name,
  hub: name === "flip",
  isLab: false,
  address: "192.0.2.1",
  port: 22,
  user: "root",
  hostKey: "key",
  privateKeyFile: "/keys/now",
  uplink: "up0",
  underlay: { ipv4: "198.18.0.1/24" },
  ...more,
});

const declaration = (more: Partial<Declaration>, ...systems: [name: string, server: string, network: string][]): Declaration => ({
  name: "small",
  servers: [server("flap"), server("flip")],
  policies: [],
  nftables: {},
  testbed: {
    tenants: [{ name: "red" }],
    networks: [...new Set(systems.map(([, , network]) => network))].map((name) => ({ name, tenant: "red", kind: "evpn" as const, vn: 7 })),
    systems: systems.map(([name, at, network]) => ({ name, tenant: "red", server: at, networks: [{ name: network }] })),
    links: [],
  },
  ...more,
});

describe("what is deployed", () => {
  it("has each server's systems as its own stack has them, and the networks of all", () => {
    const declared = declaration({}, ["new", "flip", "n3"]);
    const merged = mergeDeployed(declared, [
      { server: "flip", declaration: declaration({}, ["a", "flip", "n1"], ["b", "flap", "n1"]) },
      { server: "flap", declaration: declaration({}, ["a-before", "flip", "n1"], ["c", "flap", "n2"]) },
    ]);
    expect(merged.testbed.systems.map(({ name }) => name)).toEqual(["a", "c"]);
    expect(merged.testbed.networks.map(({ name }) => name).sort()).toEqual(["n1", "n2"]);
  });

  it("takes from the files how a server is reached, and nothing else", () => {
    const declared = declaration({ servers: [server("flip", { address: "192.0.2.9", uplink: "up7" })] });
    const then = declaration({ servers: [server("flip", { privateKeyFile: "/keys/then" })] });
    expect(mergeDeployed(declared, [{ server: "flip", declaration: then }]).servers).toEqual([
      server("flip", { address: "192.0.2.9", uplink: "up0" }),
    ]);
  });

  it("is what is declared where nothing is deployed", () => {
    const declared = declaration({}, ["new", "flip", "n3"]);
    expect(mergeDeployed(declared, [])).toBe(declared);
  });

  it("says where files and servers differ, and nothing where they agree", () => {
    const context = { root: "", declaration: declaration({}), changed: [] as string[], isMixed: false };
    expect(changedText(context)).toBeUndefined();
    expect(changedText({ ...context, changed: ["flip"] })).toContain(
      "since testbed small was brought up on flip. This is what is deployed",
    );
    expect(changedText({ ...context, changed: ["flip", "flap"], isMixed: true })).toContain("from different files");
  });
});
