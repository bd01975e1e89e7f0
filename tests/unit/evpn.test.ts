/** The pure parts of kind evpn: identifiers, what the plans hold, and reading what the daemons print. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { Project } from "../../benches/support/scratchProject";
import { movedText } from "../../cli/verbs/move";
import type { Declaration } from "../../components/config/declaration";
import type { Testbed } from "../../components/config/types.gen";
import type { HostObject } from "../../components/host/objectType";
import type { TenantRouterSpec } from "../../components/host/objects/tenantRouter";
import { rdIndexes } from "../../components/kinds/evpn/identifiers";
import { readSessions } from "../../components/kinds/evpn/observations";
import { readRoutes, routesByVn } from "../../components/kinds/evpn/routes";
import { isContainer } from "../../components/kinds/parts";
import { networkMtuBytes } from "../../components/plan/mtu";
import { planServer } from "../../components/plan/plan";
import { factsScript } from "../../components/stack/server/scripts";
import { runningLab } from "../errors/harness";

function shipped(hubs: readonly string[] = ["flip"]): Declaration {
  const servers = Object.entries(runningLab.servers).map(([name, facts]) => ({ ...facts, name, hub: hubs.includes(name), isLab: true }));
  return {
    name: "evpn",
    testbed: parse(Project.original("testbeds/evpn.yaml")) as Testbed,
    servers,
    policies: [],
    nftables: {},
    firewallRules: {},
  };
}

const plan = (name: string, declaration = shipped()) =>
  planServer(
    declaration,
    declaration.servers.find((s) => s.name === name)!,
  );

describe("route distinguishers", () => {
  it("take the VNID where it fits two bytes", () => {
    expect([...rdIndexes([136, 65535, 1])]).toEqual([
      [136, 136],
      [65535, 65535],
      [1, 1],
    ]);
  });
  it("are unique, two bytes, and the same in whatever order the networks stand", () => {
    const vns = Array.from({ length: 3000 }, (_, i) => (i < 1500 ? i + 1 : 16_000_000 + i));
    const indexes = rdIndexes(vns);
    expect(new Set(indexes.values()).size).toBe(vns.length);
    expect([...indexes.values()].every((index) => index >= 1 && index <= 65535)).toBe(true);
    const backwards = rdIndexes([...vns].reverse());
    expect(vns.every((vn) => indexes.get(vn) === backwards.get(vn))).toBe(true);
  });
});

describe("the plan of an EVPN testbed", () => {
  it("has a route server on each hub and nowhere else", () => {
    const authorities = (hubs: readonly string[]) =>
      ["flip", "flap"].map((s) => plan(s, shipped(hubs)).kinds[0]?.shared.authority !== undefined);
    expect(authorities(["flip"])).toEqual([true, false]);
    expect(authorities(["flip", "flap"])).toEqual([true, true]);
  });

  it("peers with every route server, and keeps the password out of the plan's text", () => {
    const speaker = plan("flap", shipped(["flip", "flap"])).kinds[0]?.shared.edge.find(isContainer);
    const conf = speaker?.files.find((file) => file.path.endsWith("speaker.conf"))?.content ?? [];
    const text = conf.map((piece) => (typeof piece === "string" ? piece : `<${piece.secret}>`)).join("");
    expect(text.match(/neighbor 198\.19\.9\.25[34] password <evpn-bgp>/g)).toHaveLength(2);
    expect(plan("flap").secrets).toEqual(["evpn-bgp"]);
  });

  it("has a routed network wherever the tenant routes, with one gateway", () => {
    const router = (server: string): TenantRouterSpec => (plan(server).kinds[0]!.shared.joints[0] as HostObject<TenantRouterSpec>).spec;
    expect(plan("flip").networks.map(({ network }) => network.name)).toEqual(["red-l2", "red-db", "blue-l2", "gold-a"]);
    expect(router("flip").legs.map((leg) => leg.addresses)).toEqual(router("flap").legs.map((leg) => leg.addresses));
    expect(router("flip").legs[0]?.addresses).toEqual(["10.1.2.1/24", "fd36::1/64"]);
    expect(router("flip").mac).toBe(router("flap").mac);
  });

  it("asks nothing of the server's iptables, and refuses a server with an FRR of its own", () => {
    const { requirements, routing } = plan("flip");
    const text = factsScript(requirements, routing, { stack: "flip" });
    expect(text).not.toContain("FORWARD DROP");
    expect(text).toContain("bgp|isis|ospf");
    expect(spawnSync("dash", ["-n"], { input: text, encoding: "utf8" }).stderr).toBe("");
  });

  it("has 8950 bytes left of 9000, wherever its systems sit", () => {
    const declaration = shipped();
    expect(declaration.testbed.networks.map((network) => networkMtuBytes(declaration, network))).toEqual([8950, 8950, 8950, 8950, 8950]);
    const alone = { ...declaration, testbed: { ...declaration.testbed, systems: declaration.testbed.systems.slice(0, 1) } };
    expect(networkMtuBytes(alone, alone.testbed.networks[0]!)).toBe(8950);
  });
});

describe("what the route server tells", () => {
  const path = (vn: number, mac: string, ip: string, admin: string, extra: object[] = []) => ({
    nlri: { type: 2, value: { rd: { type: 1, admin, assigned: 136 }, esi: "single-homed", etag: 0, mac, ip, labels: [vn] } },
    attrs: [
      { type: 16, value: [{ type: 3, subtype: 12, tunnel_type: 8 }, { type: 0, subtype: 2, value: `65000:${vn}` }, ...extra] },
      { type: 14, nexthop: admin, afi: 25, safi: 70 },
    ],
    "neighbor-ip": admin,
  });
  const printed = JSON.stringify({
    b: [path(136, "02:da:46:13:7e:7d", "<nil>", "198.19.9.1")],
    a: [path(136, "02:da:46:13:7e:7d", "10.1.2.8", "198.19.9.1", [{ type: 6, subtype: 0, sequence: 2 }])],
  });
  it("is read as routes", () => {
    expect(readRoutes(printed)).toMatchObject([
      { type: "macadv", vn: 136, ip: "10.1.2.8", sequence: 2, routeDistinguisher: "198.19.9.1:136", routeTargets: ["65000:136"] },
      { mac: "02:da:46:13:7e:7d", nextHop: "198.19.9.1", sequence: 0 },
    ]);
    expect(readRoutes("")).toEqual([]);
  });
  it("is counted by VN, in the words of the testbed", () => {
    expect(routesByVn(shipped(), readRoutes(printed))[0]).toEqual({
      vn: 136,
      network: "red-l2",
      macIp: 2,
      multicast: 0,
      prefixes: 0,
      servers: ["flip"],
    });
  });
});

describe("sessions in status", () => {
  const peer = "198.19.9.254";
  const summary = (state: string) =>
    `=== summary\n${JSON.stringify({ peers: { [peer]: { state, peerUptimeMsec: 7100, pfxRcd: 4, pfxSnt: 5 } } })}\n`;
  it("that stand have no problem", () => {
    expect(readSessions(`${summary("Established")}=== shortcut\non\n=== ping ${peer}\nanswers\n`, [peer])).toMatchObject({
      rows: [[peer, "Established", "7 s", "4", "5", "on"]],
      problems: [],
    });
  });
  it("that are down have a reason", () => {
    expect(readSessions(`${summary("Active")}=== ping ${peer}\n`, [peer]).problems[0]).toContain("does not answer");
    expect(readSessions("=== summary\n", [peer]).problems[0]).toContain("docker logs ff-speaker");
  });
  it("with a wrong password are told by the kernel's counter, not by the state", () => {
    const hub = `${summary("Established")}=== before\nTCPMD5NotFound=0 TCPMD5Failure=7\n=== after\nTCPMD5NotFound=0 TCPMD5Failure=9\n`;
    expect(readSessions(hub, [peer]).problems).toEqual([
      expect.stringContaining("2 TCP segments in 4 s were signed with another password"),
    ]);
    expect(readSessions(hub.replace("Failure=9", "Failure=7"), [peer]).problems).toEqual([]);
  });
});

describe("moving", () => {
  it("changes one word of the testbed's file", () => {
    const text = Project.original("testbeds/evpn.yaml");
    const moved = movedText(text, "red-web", "flap");
    const changed = text.split("\n").flatMap((line, i) => (moved.split("\n")[i] === line ? [] : [moved.split("\n")[i]]));
    expect(changed).toHaveLength(1);
    expect(changed[0]).toContain("name: red-web, tenant: red, server: flap,");
    expect(() => movedText(text, "nobody", "flap")).toThrow("systems.nobody.server");
  });
});
