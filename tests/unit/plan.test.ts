import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { planProbes } from "../../cli/probes";
import { codeRoot } from "../../support/project";
import type { Declaration } from "../../components/config/declaration";
import type { Testbed } from "../../components/config/types.gen";
import type { HostObject } from "../../components/host/objectType";
import { objectTypes } from "../../components/host/objects";
import type { FilterSpec } from "../../components/host/objects/filterRules";
import { resolveMembers } from "../../components/kinds/members";
import { isContainer } from "../../components/kinds/parts";
import { mtuSums, networkMtuBytes } from "../../components/plan/mtu";
import { planServer } from "../../components/plan/plan";
import { isBare } from "../../components/plan/systems";
import { warningsOf } from "../../components/plan/warnings";
import { goodTestbed, runningLab } from "../errors/harness";

function declaration(text = goodTestbed): Declaration {
  const servers = Object.entries(runningLab.servers).map(([name, facts]) => ({ ...facts, name, hub: name === "flip", isLab: true }));
  return { name: "tt", testbed: parse(text) as Testbed, servers, policies: [], nftables: {}, firewallRules: {} };
}

const plan = (server: string, text?: string) => {
  const declared = declaration(text);
  return planServer(
    declared,
    declared.servers.find((s) => s.name === server)!,
  );
};

describe("the plan of a server", () => {
  it("is the same whatever the order of systems in the file", () => {
    const declared = declaration();
    const reversed = { ...declared, testbed: { ...declared.testbed, systems: [...declared.testbed.systems].reverse() } };
    const specs = (d: Declaration) =>
      planServer(d, d.servers[0]!)
        .systems.map((s) => ({ system: s.system.name, ...(isBare(s) ? s.namespace : s.attach) }))
        .sort((a, b) => (a.system < b.system ? -1 : 1));
    expect(specs(reversed)).toEqual(specs(declared));
  });

  it("holds only the networks whose systems it has", () => {
    expect(plan("flip").networks.map((n) => n.network.name)).toEqual(["red-net", "blue-net"]);
    expect(plan("flap").networks.map((n) => n.network.name)).toEqual(["red-net"]);
  });

  it("leads to all routed networks of its tenants, and has nothing else of those without systems here", () => {
    const text = `tenants: [{ name: red }, { name: blue }]
networks:
  - { name: one, tenant: red, kind: bridge, subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 } }
  - { name: two, tenant: red, kind: bridge, mode: router, subnets: { flip: 10.1.1.0/24, flap: 10.1.2.0/24 } }
  - { name: other, tenant: blue, kind: bridge, subnets: { flip: 10.2.1.0/24, flap: 10.2.2.0/24 } }
systems:
  - { name: a, tenant: red, server: flip, networks: [{ name: one }] }
  - { name: b, tenant: red, server: flap, networks: [{ name: two }] }
  - { name: c, tenant: blue, server: flap, networks: [{ name: other }] }
links: [{ between: [flip, flap] }]
`;
    const objects = (server: string, network: string) =>
      plan(server, text)
        .networks.find((one) => one.network.name === network)
        ?.nve.map((object) => ("type" in object ? `${object.type.type} ${object.name}` : ""));
    expect(objects("flip", "two")).toEqual(["route route-10.1.2.0/24"]);
    expect(objects("flap", "one")).toEqual(["route route-10.0.1.0/24"]);
    expect(objects("flip", "other")).toBeUndefined();
    expect(plan("flip", text.replace(/links: .*/, "links: []")).networks.map(({ network }) => network.name)).toEqual(["one"]);
    // By the uplinks alone, and what a network needs of a server is asked of those that have it.
    const aside = text.replace("between: [flip, flap]", "between: [flip, flap], interfaces: { flip: eth9 }");
    expect(plan("flip", aside).networks.map(({ network }) => network.name)).toEqual(["one"]);
    const filtered = text.replace("mode: router,", "mode: router, filter: nft,");
    expect(["flip", "flap"].map((server) => plan(server, filtered).requirements.some(({ why }) => why === "filter: nft"))).toEqual([
      false,
      true,
    ]);
  });

  it("sets the reports' offloads, and the declared ones over them", () => {
    const features = (text?: string) => plan("flip", text).settings.find((o) => o.type.type === "offloads")?.spec;
    expect(features()).toMatchObject({ features: { tso: false, gso: true, gro: true } });
    expect(features(`${goodTestbed}tuning: { uplinkOffloads: { tso: true } }\n`)).toMatchObject({ features: { tso: true, gso: true } });
  });

  it("gives one interface the default route of a family", () => {
    const text = goodTestbed
      .replace(
        "{ name: web, tenant: red, server: flip, networks: [{ name: red-net }] }",
        "{ name: web, tenant: red, server: flip, networks: [{ name: red-net }, { name: red-two }] }",
      )
      .replace("systems:", "  - { name: red-two, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.3.1.0/24 } }\nsystems:");
    const [web] = plan("flip", text).systems;
    if (web === undefined || isBare(web)) throw new Error("web is a container");
    expect(web.attach.spec.interfaces.map((i) => [i.name, i.routes.length])).toEqual([
      ["eth0", 1],
      ["eth1", 0],
    ]);
  });

  it("lets a tenant's own packets in, and no other's", () => {
    const red = plan("flip").networks[0]?.nve.find((o): o is HostObject => !isContainer(o) && o.type.type === "filter")?.spec as FilterSpec;
    const rules = objectTypes.filter.wanted(red, { stack: "flip" })["iptables filter"] as string[];
    expect(rules).toContain("-A FF-red-net -s 10.0.2.0/24 -i up0 -o br-red-net -j ACCEPT");
    expect(rules).toContain("-A FF-red-net ! -s 10.0.1.0/24 -i br-red-net -j DROP");
    expect(rules.filter((rule) => rule.includes("10.1."))).toEqual([]);
    expect(rules.at(-2)).toBe("-A FF-red-net -i br-red-net -j DROP");
    // The other server's own words on packets that could not go on.
    const said = rules.filter((rule) => rule.includes("icmp-type"));
    expect(said).toEqual(
      [3, 11].map((type) => `-A FF-red-net -s 198.19.9.2/32 -i up0 -o br-red-net -p icmp -m icmp --icmp-type ${type} -j ACCEPT`),
    );
    expect(rules.indexOf(said[1] ?? "")).toBe(rules.indexOf("-A FF-red-net -o br-red-net -j DROP") - 1);
  });
});

describe("members", () => {
  it("keep their addresses when another system is added", () => {
    const before = resolveMembers(declaration(), declaration().testbed.networks[0]!).members;
    const more = declaration(
      goodTestbed.replace("links:", "  - { name: another, tenant: red, server: flip, networks: [{ name: red-net }] }\nlinks:"),
    );
    const after = resolveMembers(more, more.testbed.networks[0]!).members;
    expect(after.filter((m) => m.system !== "another")).toEqual(before);
    expect(after.length).toBe(before.length + 1);
  });
});

describe("MTU", () => {
  it("is what the narrowest link carries", () => {
    const declared = declaration(goodTestbed.replace("[flip, flap] }", "[flip, flap], mtuBytes: 1600 }"));
    expect(networkMtuBytes(declared, declared.testbed.networks[0]!)).toBe(1600);
    expect(mtuSums(declared, declared.testbed.networks[0]!)[0]).toMatchObject({ sum: "1600", totalBytes: 1600 });
  });
});

describe("probes", () => {
  it("have every system as a target, and cross servers", () => {
    const probes = planProbes(declaration(), codeRoot);
    expect(new Set(probes.filter((p) => p.network === "red-net").map((p) => p.to))).toEqual(new Set(["web", "db"]));
    expect(probes.every((p) => p.mtuBytes === 9000)).toBe(true);
  });
});

describe("what is no fault, but hardly meant", () => {
  it("is a segment whose broadcasts are more packets than a kernel keeps", () => {
    const told = (count: number): string[] => {
      const one = declaration();
      const systems = Array.from({ length: count }, (_, i) => ({
        name: `s${i}`,
        tenant: "red",
        server: "flip",
        networks: [{ name: "red-net" }],
      }));
      return warningsOf({ ...one, testbed: { ...one.testbed, systems } }).flatMap(({ rule, fix }) => (rule === "flood" ? [fix] : []));
    };
    expect(told(499)).toEqual([]);
    expect(told(1000)).toEqual([expect.stringContaining("sysctl -w net.core.netdev_max_backlog=20000")]);
  });
});
