/** What tunnels come to, and what is read of them. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { readSas, reasonOf } from "../../components/capabilities/vpn/objects/sas";
import { vpnTunnels, type VpnTunnelsSpec } from "../../components/capabilities/vpn/objects/tunnels";
import { connectionsOf, connectionsOfGateway, hostTunnels } from "../../components/capabilities/vpn/tunnels";
import type { Declaration } from "../../components/config/declaration";
import type { Testbed } from "../../components/config/types.gen";
import { formatPrefix } from "../../components/net/cidr";
import { ruleFaults } from "../../components/plan/check";
import { planServer } from "../../components/plan/plan";
import { secretsOf } from "../../components/plan/secrets";
import { isBare } from "../../components/plan/systems";
import { asRoot } from "../../support/process";
import { codeRoot } from "../../support/project";
import { runningLab } from "../errors/harness";

function declarationOf(change: (testbed: Testbed) => Testbed = (testbed) => testbed): Declaration {
  const testbed = change(parse(readFileSync(join(codeRoot, "testbeds/vpn.yaml"), "utf8")) as Testbed);
  const servers = Object.entries(runningLab.servers).map(([name, facts]) => ({ ...facts, name, hub: name === "flip", isLab: true }));
  return { name: "vpn", testbed, servers, policies: [], nftables: {}, firewallRules: {} };
}

const systemPlan = (declaration: Declaration, name: string) => {
  const plan = declaration.servers.flatMap((server) => planServer(declaration, server).systems).find(({ system }) => system.name === name);
  if (plan === undefined || isBare(plan)) throw new Error(`no container ${name}`);
  return plan;
};

describe("tunnels", () => {
  const declaration = declarationOf();

  it("are declared as the rules allow", () => {
    expect(ruleFaults(declaration)).toEqual([]);
  });

  it("share one connection for each pair of gateways, with all that it carries", () => {
    const told = connectionsOf(declaration).map(({ name, carried }) => `${name}: ${carried.map((one) => one.name).join(" ")}`);
    expect(told.sort()).toEqual(["gw-a_gw-b: a-b", "gw-a_gw-s: a-s-ipv4 a-s-ipv6 a-s-hosts", "gw-b_gw-s: b-s-ipv4 b-s-ipv6"]);
    expect([...hostTunnels(declaration)].sort()).toEqual(["gw-a gw-s", "gw-s gw-a"]);
  });

  it("look the other way round from the other end, and one end alone starts each", () => {
    const [all, one] = [connectionsOf(declaration), "gw-a_gw-s"];
    const [a, s] = ["gw-a", "gw-s"].map((gateway) => connectionsOfGateway(all, gateway).find(({ name }) => name === one));
    expect(a?.children.map(({ starts }) => starts)).toEqual([true, true, true]);
    expect(s?.children.map(({ starts }) => starts)).toEqual([false, false, false]);
    const sides = (which: "local" | "remote", of: typeof a) => of?.children.map((child) => child[which].map(formatPrefix));
    expect(sides("local", a)).toEqual(sides("remote", s));
    expect(sides("remote", a)).toEqual(sides("local", s));
  });

  it("have a secret for each pair, or a certificate for each gateway", () => {
    const names = (of: Declaration): string[] =>
      secretsOf(of)
        .map(({ name }) => name)
        .sort();
    expect(names(declaration)).toEqual(["psk_gw-a_gw-b", "psk_gw-a_gw-s", "psk_gw-b_gw-s"]);
    const certified = declarationOf((testbed) => ({ ...testbed, vpn: { auth: "certificates" } }));
    expect(names(certified)).toEqual(["vpn_certificate_gw-a", "vpn_certificate_gw-b", "vpn_certificate_gw-s"]);
    const hub = certified.servers.find(({ hub: is }) => is);
    if (hub === undefined) throw new Error("no hub");
    // No gateway's certificate opens the kinds' stores.
    expect(
      planServer(certified, hub)
        .additions.get("vpn")
        ?.authority?.parts.map((part) => "spec" in part && (part.spec as { folder: string }).folder),
    ).toEqual(["vpn-ca"]);
  });

  it("are guarded by rules that nft takes, in gateways alone", () => {
    const guard = systemPlan(declaration, "gw-a").attach.spec.nftables ?? "";
    expect(guard).toContain("ip daddr { 10.4.2.0/24, 10.4.3.0/24,");
    // Also of the family that the tunnel a-b leaves out.
    expect(guard).toMatch(/ip6 daddr \{.* fd04:0:2::\/64/);
    expect(systemPlan(declaration, "internet").attach.spec.nftables).toBeUndefined();
    const [command = "", ...words] = asRoot(["unshare", "-n", "nft", "-c", "-f", "-"]);
    const checked = spawnSync(command, words, { input: guard, encoding: "utf8" });
    expect([checked.status, checked.stderr]).toEqual([0, ""]);
  });

  it("leave no other way to what they join, in every family, but to their gateways", () => {
    const prohibited = (change?: (testbed: Testbed) => Testbed) => systemPlan(declarationOf(change), "gw-b").attach.spec.prohibited;
    const all = ["10.4.1.0/24", "10.4.2.0/24", "10.4.3.0/24", "fd04:0:1::/64", "fd04:0:2::/64", "fd04:0:3::/64"];
    expect([...(prohibited() ?? [])].sort()).toEqual(all);
    expect(systemPlan(declaration, "internet").attach.spec.prohibited).toBeUndefined();
    const site = (name: string, prefixes: string[]) => (testbed: Testbed) => ({
      ...testbed,
      sites: testbed.sites?.map((one) => (one.name === name ? { ...one, prefixes } : one)),
    });
    // IKE itself would find no way to the other gateway.
    expect(prohibited(site("site-a", ["10.0.0.0/8"]))).not.toContain("10.0.0.0/8");
    // strongSwan makes a route for a tunnel that the gateway has an address in.
    expect(prohibited(site("site-b", ["10.99.0.0/24"]))).not.toContain("10.4.1.0/24");
  });
});

describe("routers", () => {
  const spec = (name: string, change?: (testbed: Testbed) => Testbed) => systemPlan(declarationOf(change), name).attach.spec;
  const routesOf = (name: string, change?: (testbed: Testbed) => Testbed) =>
    spec(name, change).interfaces.map(({ routes }) => routes.map(({ to, via }) => `${to} via ${via}`));
  const withRoutes =
    (routes: { to: string; via: string }[]) =>
    (testbed: Testbed): Testbed => ({
      ...testbed,
      systems: testbed.systems.map((system) => (system.name === "gw-a" ? { ...system, routes } : system)),
    });

  it("forward both families; others do not, whatever their server does", () => {
    expect(spec("internet").sysctls).toMatchObject({ "net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1" });
    expect(spec("a1").sysctls).toMatchObject({ "net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0" });
  });

  it("are the default route of a network that names them, of both families; of themselves they are none", () => {
    const [own] = routesOf("a1");
    expect(own).toEqual(["default via 10.4.1.1", expect.stringMatching(/^default via fd04:0:1::/)]);
    // Towards the Internet, and not into its own site.
    expect(routesOf("gw-a").map((routes) => routes.length)).toEqual([2, 0]);
    expect(routesOf("internet").flat()).toEqual([]);
  });

  it("take declared routes by a neighbour's name or address; a declared default stands in the network's place", () => {
    expect(routesOf("gw-a", withRoutes([{ to: "10.99.0.0/16", via: "a1" }]))[1]).toEqual([
      expect.stringMatching(/^10\.99\.0\.0\/16 via 10\.4\.1\./),
    ]);
    const [outside, inside] = routesOf("gw-a", withRoutes([{ to: "default", via: "10.4.1.77" }]));
    expect(inside).toEqual(["default via 10.4.1.77"]);
    expect(outside?.map((route) => route.includes(":"))).toEqual([true]);
  });
});

describe("what strongSwan says", () => {
  const told = `a_b: #1, ESTABLISHED, IKEv2, 5dcf_i* 2f49_r
  local  'a' @ 10.40.1.140[4500]
  remote 'b' @ 10.40.2.226[4500]
  AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519
  established 17s ago, rekeying in 13136s
  t-ipv4: #1, reqid 242946556, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-128
    installed 17s ago, rekeying in 3313s, expires in 3943s
    in  cd7e611d,  12345 bytes,    12 packets,     2s ago
    out cb543f54,    876 bytes,    11 packets
    local  10.4.1.0/24 10.5.0.0/16
    remote 10.4.2.0/24
a_c: #2, CONNECTING, IKEv2, 01_i* 00_r
  local  'a' @ 10.40.1.140[500]
  remote 'c' @ 10.40.3.1[500]
`;

  it("is compared with what carries packets: a route with its own ESP, policies of every direction with the kernel's", () => {
    const spec: VpnTunnelsSpec = {
      container: "ff-a",
      tunnels: [{ name: "t-ipv4", connection: "a_b", local: ["10.4.1.0/24", "10.5.0.0/16"], remote: ["10.4.2.0/24"], isAwaited: true }],
      planHash: "",
    };
    const ways = (plane: string, ...lines: string[]) =>
      vpnTunnels.found(`=== plane\n${plane}\n=== sas\n${told}\n=== ways\n${lines.join("\n")}\n=== log\n`, spec)?.["t-ipv4.ways"];
    const route = "10.4.2.0/24 via 10.40.1.1 dev ipsec0 proto static";
    const policies = ["10.4.1.0/24", "10.5.0.0/16"].flatMap((own) => [
      `src ${own} dst 10.4.2.0/24 dir out`,
      `src 10.4.2.0/24 dst ${own} dir in`,
      `src 10.4.2.0/24 dst ${own} dir fwd`,
    ]);
    expect(ways("user", route)).toEqual(["10.4.2.0/24"]);
    expect(ways("user", ...policies)).toEqual([]);
    expect(ways("kernel", ...policies)).toEqual(["10.4.2.0/24"]);
    expect(ways("kernel", route)).toEqual([]);
    for (const one of policies) expect(ways("kernel", ...policies.filter((other) => other !== one), route)).toEqual([]);
  });

  it("is read tunnel by tunnel", () => {
    expect(readSas(told)).toEqual([
      {
        connection: "a_b",
        name: "t-ipv4",
        state: "INSTALLED",
        proposal: "AES_GCM_16-128",
        ageSeconds: 17,
        bytesIn: 12345,
        bytesOut: 876,
        local: ["10.4.1.0/24", "10.5.0.0/16"],
        remote: ["10.4.2.0/24"],
      },
    ]);
    expect(readSas("")).toEqual([]);
  });

  it("gives the reason of its own connection, a refusal before that it was tried again", () => {
    const log = [
      "10[IKE] <a_b|3> received AUTHENTICATION_FAILED notify error",
      "10[IKE] <a_b|4> retransmit 1 of request with message ID 0",
      "10[IKE] <a_c|5> giving up after 3 retransmits",
    ].join("\n");
    expect(reasonOf(log, "a_b")).toBe("received AUTHENTICATION_FAILED notify error");
    expect(reasonOf(log, "a_c")).toBe("giving up after 3 retransmits");
    expect(reasonOf(log, "a_d")).toBe("its log says nothing of it");
  });
});
