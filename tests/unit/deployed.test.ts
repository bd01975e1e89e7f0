/** What is deployed, from the stacks' own declarations. */
import { describe, expect, it } from "vitest";
import { type Declaration, declarationHash, type ServerDeclaration } from "../../components/config/declaration";
import { changedText, joinDeployed } from "../../deploy/deployed";

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
  firewallRules: {},
  testbed: {
    tenants: [{ name: "red" }],
    networks: [...new Set(systems.map(([, , network]) => network))].map((name) => ({ name, tenant: "red", kind: "evpn" as const, vn: 7 })),
    systems: systems.map(([name, at, network]) => ({ name, tenant: "red", server: at, networks: [{ name: network }] })),
    links: [],
  },
  ...more,
});

describe("what is deployed", () => {
  it("has each server's systems as its own stack has them, and the networks of all, where stacks differ", () => {
    const declared = declaration({}, ["new", "flip", "n3"]);
    const joined = joinDeployed(
      declared,
      [
        { server: "flip", declaration: declaration({}, ["a", "flip", "n1"], ["b", "flap", "n1"]) },
        { server: "flap", declaration: declaration({}, ["a-before", "flip", "n1"], ["c", "flap", "n2"]) },
      ],
      true,
    );
    expect(joined.testbed.systems.map(({ name }) => name)).toEqual(["a", "c"]);
    expect(joined.testbed.networks.map(({ name }) => name).sort()).toEqual(["n1", "n2"]);
  });

  it("has a system once whose move was cut off, where the first stack has it", () => {
    const moved = (at: string) => declaration({}, ["web", at, "n1"]);
    const joined = joinDeployed(
      declaration({}),
      [
        { server: "flip", declaration: moved("flip") },
        { server: "flap", declaration: moved("flap") },
      ],
      true,
    );
    expect(joined.testbed.systems).toEqual([expect.objectContaining({ name: "web", server: "flip" })]);
  });

  it("is the stacks' declaration as it stands where they agree: a run that is resumed knows it again", () => {
    const then = declaration({}, ["b", "flip", "n1"], ["a", "flap", "n1"], ["c", "flip", "n1"]);
    const joined = joinDeployed(
      declaration({}, ["new", "flip", "n3"]),
      [
        { server: "flip", declaration: then },
        { server: "flap", declaration: then },
      ],
      false,
    );
    expect(declarationHash(joined)).toBe(declarationHash(then));
  });

  it("takes from the files how a server is reached, and from its own stack what it is", () => {
    const declared = declaration({ servers: [server("flap", { uplink: "up7" }), server("flip", { address: "192.0.2.9", uplink: "up7" })] });
    const of = (uplink: string) =>
      declaration({ servers: [server("flap", { uplink }), server("flip", { uplink, privateKeyFile: "/then" })] });
    const joined = joinDeployed(
      declared,
      [
        { server: "flip", declaration: of("up1") },
        { server: "flap", declaration: of("up2") },
      ],
      true,
    );
    expect(joined.servers).toEqual([server("flap", { uplink: "up2" }), server("flip", { address: "192.0.2.9", uplink: "up1" })]);
  });

  it("takes from a running lab where its servers are", () => {
    const at = (ipv4: string) => declaration({ servers: [server("flip", { isLab: true, underlay: { ipv4 } })] });
    const joined = joinDeployed(at("198.18.9.1/24"), [{ server: "flip", declaration: at("198.18.0.1/24") }], false);
    expect(joined.servers[0]?.underlay.ipv4).toBe("198.18.9.1/24");
  });

  it("is what is declared where nothing is deployed", () => {
    const declared = declaration({}, ["new", "flip", "n3"]);
    expect(joinDeployed(declared, [], false)).toBe(declared);
  });

  it("says where files and servers differ, where that is not known, and nothing where they agree", () => {
    const context = { root: "", declaration: declaration({}), changed: [] as string[], isKnown: true, isMixed: false };
    expect(changedText(context)).toBeUndefined();
    expect(changedText({ ...context, changed: ["flip"] })).toContain(
      "since testbed small was brought up on flip. This is what is deployed",
    );
    expect(changedText({ ...context, changed: ["flip", "flap"], isMixed: true })).toContain("from different files");
    expect(changedText({ ...context, changed: ["flip"], isKnown: false })).toContain("not known");
  });
});
