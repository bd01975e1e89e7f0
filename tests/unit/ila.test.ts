/** The addresses of ILA, and what the plans of kind ila hold. */
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { Project } from "../../benches/support/scratchProject";
import type { Declaration } from "../../components/config/declaration";
import type { IlaNetwork, Testbed } from "../../components/config/types.gen";
import { ilaKind } from "../../components/kinds/ila";
import { offloadsOn } from "../../components/kinds/ila/backends";
import { allocate } from "../../components/net/allocate";
import { contains, formatAddress, parseAddress, type Prefix, parsePrefix } from "../../components/net/cidr";
import { atPrefix, identifierOf, identifierValue, joined, luid, networkPrefix, survivesNeutral, vnidMost } from "../../components/net/ila";
import { planServer } from "../../components/plan/plan";
import { isBare } from "../../components/plan/systems";
import { generator } from "../../experiments/runner/statistics";
import { runningLab } from "../errors/harness";

const prefix = (text: string): Prefix => parsePrefix(text)!;
const address = (text: string) => parseAddress(text)!;

describe("identifiers", () => {
  const random = generator(7);
  const below = (limit: number): number => Math.floor(random() * limit);

  it("are what they are put together from, whatever that is", () => {
    for (let i = 0; i < 20_000; i++) {
      const identifier = {
        type: below(8),
        checksumNeutral: random() < 0.5,
        vnid: below(vnidMost + 1),
        number: BigInt(below(2 ** 32)),
      };
      const sir: Prefix = { family: 6, network: BigInt(below(2 ** 48)) << 80n, length: 64 };
      const at = joined(sir, identifier);
      expect(contains(sir, at)).toBe(true);
      expect(identifierOf(at)).toEqual(identifier);
      // The same identifier at a locator, and back.
      const locator: Prefix = { family: 6, network: BigInt(below(2 ** 48)) << 80n, length: 64 };
      expect(identifierOf(atPrefix(locator, at))).toEqual(identifier);
      expect(atPrefix(sir, atPrefix(locator, at))).toEqual(at);
    }
  });

  it("are those of report S0", () => {
    expect(identifierOf(address("face:b00c::2555:0:1:0"))).toEqual({
      type: luid,
      checksumNeutral: false,
      vnid: 0x5550000,
      number: 0x10000n,
    });
    expect(formatAddress(atPrefix(prefix("2803:6082:1950:401::/64"), address("face:b00c::2555:0:1:0")))).toBe(
      "2803:6082:1950:401:2555:0:1:0",
    );
  });

  it.each([
    [{ type: 8 }, "3 bits"],
    [{ vnid: vnidMost + 1 }, "28 bits"],
    [{ number: 1n << 32n }, "32 bits"],
  ])("refuse what is over their bits: %s", (more, bits) => {
    expect(() => identifierValue({ type: luid, checksumNeutral: false, vnid: 7, number: 1n, ...more })).toThrow(bits);
  });

  it("are allocated without collision, by name, of the network's own, and survive the neutral modes", () => {
    const own = networkPrefix(prefix("face:b00c:0:7::/64"), 7);
    const taken = new Set<bigint>();
    for (let i = 0; i < 5000; i++) {
      const one = allocate(own, taken, `red-id system-${i}`)!;
      expect(taken.has(one.value)).toBe(false);
      taken.add(one.value);
      expect([identifierOf(one).vnid, identifierOf(one).type, survivesNeutral(one)]).toEqual([7, luid, true]);
    }
    expect(allocate(own, new Set(), "red-id web")).toEqual(allocate(own, new Set(), "red-id web"));
  });
});

describe("plans of kind ila", () => {
  const servers = Object.entries(runningLab.servers).map(([name, facts]) => ({ ...facts, name, hub: name === "flip", isLab: true }));
  const declaration: Declaration = {
    name: "ila",
    testbed: parse(Project.original("testbeds/ila.yaml")) as Testbed,
    servers,
    policies: [],
    nftables: {},
    firewallRules: {},
  };
  const planOf = (name: string) =>
    planServer(
      declaration,
      servers.find((server) => server.name === name)!,
    );

  it("have etcd and its authority on the hub only, and the key by a secret everywhere", () => {
    expect(planOf("flip").kinds.map(({ shared }) => shared.authority?.component)).toEqual(["Etcd"]);
    expect(planOf("flap").kinds.map(({ shared }) => shared.authority)).toEqual([undefined]);
    for (const { name } of servers) expect(planOf(name).secrets).toEqual(["ila-agent"]);
  });

  it("give each system an address that stands alone and a way to its own network only", () => {
    for (const system of planOf("flip").systems) {
      if (isBare(system)) throw new Error("no container");
      const [iface] = system.attach.spec.interfaces;
      expect(iface?.addresses.every((text) => text.endsWith("/128"))).toBe(true);
      expect(iface?.routes.map(({ via }) => via)).toEqual(["fe80::1"]);
      expect(iface?.routes[0]?.to).toMatch(/^face:b00c.*::\/64$/);
      expect(iface?.neighbours).toEqual([{ address: "fe80::1", mac: iface?.portMac }]);
      expect(iface?.bridge).toBe("");
    }
  });

  const network = (more: Partial<IlaNetwork>): IlaNetwork => ({ name: "n", tenant: "t", kind: "ila", vn: 1, sir: "face::/64", ...more });

  it.each([
    [{ csum: "neutral" }, {}],
    [{ csum: "adjust-transport" }, {}],
    [
      { csum: "adjust-transport", backend: "kernel" },
      { txChecksum: false, tso: false },
    ],
    [{ csum: "no-action" }, { txChecksum: false, tso: false }],
    [{ csum: "no-action", translate: false }, {}],
    [
      { csum: "no-action", backends: { flap: "kernel" } },
      { txChecksum: false, tso: false },
    ],
  ] as const)("switch checksum offload off where nobody else makes checksums fit: %j", (more, offloads) => {
    expect(offloadsOn(network(more as Partial<IlaNetwork>), "flip")).toEqual(offloads);
  });

  it("need the kernel's ILA where the kernel translates, and say what does not", () => {
    const needs = (more: Partial<IlaNetwork>, server?: string) =>
      ilaKind.requires(network(more), server).filter(({ kernelOption }) => kernelOption === "CONFIG_IPV6_ILA");
    expect(needs({ backend: "kernel" }, "flip")[0]?.why).toContain("backend: ebpf");
    expect(needs({ backends: { flap: "kernel" } }, "flap")).toHaveLength(1);
    expect(needs({ backends: { flap: "kernel" } }, "flip")).toHaveLength(0);
    expect(needs({}, "flip")).toHaveLength(0);
  });
});
