/** Every generated script under dash, with values that a hostile user would choose. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { capabilities } from "../../components/capabilities/registry";
import { firewallSite } from "../../components/capabilities/firewall/objects/firewall";
import { firewallsInForce } from "../../components/capabilities/firewall/objects/inForce";
import { vpnGateway } from "../../components/capabilities/vpn/objects/gateway";
import { vpnTunnels } from "../../components/capabilities/vpn/objects/tunnels";
import { compare, declare, type HostObject } from "../../components/host/objectType";
import { objectTypes } from "../../components/host/objects";
import { objectScript, prelude } from "../../components/host/script";
import { quote, Script, sh } from "../../components/host/sh";
import { freeTcpPort } from "../../components/kinds/requirement";
import { factsScript } from "../../components/stack/server/scripts";
import { checksScript, readChecks } from "../../deploy/checks";

const hostile = [
  "'; rm -rf /tmp/flipflap-hostile; '",
  "$(touch /tmp/flipflap-hostile)",
  "`touch /tmp/flipflap-hostile`",
  "a b\tc",
  "",
  "ünï→x",
  '"',
  "\\",
  "line\nend",
  "-n",
  "*",
  "~",
  "!x",
  "#x",
];
/** With a /var/lib of its own: the servers of a lab that runs lay overlays over the machine's. */
const dash = (script: string, ...args: string[]) =>
  spawnSync("unshare", ["-m", "sh", "-c", 'mount -t tmpfs none /var/lib && exec dash -s "$@"', "dash", ...args], {
    input: script,
    encoding: "utf8",
  });

describe("quoting", () => {
  it.each(hostile)("%j arrives as it is", (value) => {
    expect(dash(sh`printf %s ${value}`.text).stdout).toBe(value);
    expect(dash(`printf %s ${quote(value)}`).stdout).toBe(value);
  });
  it("takes lists as words, and scripts as they are", () => {
    expect(dash(sh`printf '%s|' ${hostile}`.text).stdout).toBe(hostile.map((value) => `${value}|`).join(""));
    expect(sh`${new Script("a; b")} ${3}`.text).toBe("a; b 3");
  });
  it("refuses what no shell can hold", () => {
    expect(() => quote("a\0b")).toThrow("NUL");
  });
});

const noRouting = { prefixes: [], forwardsIpv6: false };

/** One object of every type, with a hostile name wherever a name goes in. */
function objects(name: string): HostObject[] {
  const t = objectTypes;
  const iface = {
    network: name,
    name,
    hostName: name,
    mac: name,
    portMac: name,
    mtuBytes: 1500,
    addresses: [name],
    routes: [{ to: name, via: name }],
    offloads: {},
    portOffloads: {},
    neighbours: [],
    bridge: name,
    learns: false,
    hooks: [{ type: "advertised", args: { device: name }, wanted: { neighbours: [name] } }],
  };
  const prefixes = { own: name, tenant: [name], foreign: [name], routers: [name] };
  const filter = (variant: "iptables" | "nft" | "iptables-legacy") => ({
    chain: name,
    variant,
    device: name,
    uplink: name,
    inputs: [name],
    sources: { [name]: ["10.0.0.0/24", "fd00::/64"] },
    decided: [name],
    ipv4: prefixes,
    ipv6: { own: null, tenant: [], foreign: [], routers: [] },
    masquerade: true,
  });
  return [
    declare(t.nic, name, { device: name, mtuBytes: 9000 }),
    declare(t.offloads, name, { device: name, features: { tso: false, gro: true } }),
    declare(t.addresses, name, { device: name, addresses: [name, "10.0.0.1/24"] }),
    declare(t.sysctls, name, { values: { [`net.${name}`]: name } }),
    declare(t.neighbours, name, { device: name, entries: [{ address: name, mac: name }] }),
    declare(t.services, name, { stopped: [name] }),
    declare(t.bridge, name, { device: name, mac: name, mtuBytes: 1500, addresses: [name] }),
    declare(t.bridgePort, name, { device: name, bridge: name }),
    declare(t.route, name, { to: name, via: name, device: name }),
    declare(t.router, name, { namespace: name, bridge: name, transitDevice: name, portDevice: name, mtuBytes: 1500, addresses: [name] }),
    declare(t.filter, name, filter("iptables")),
    declare(t.filter, name, filter("iptables-legacy")),
    declare(t.filter, name, filter("nft")),
    declare(t.attach, name, {
      processes: 4096,
      system: name,
      container: name,
      sysctls: { [name]: name },
      interfaces: [iface],
    }),
    declare(t.attached, name, { systems: [name], plansHash: name }),
    declare(t.filter, name, {
      ...filter("iptables"),
      policy: { bridge: name, ipv4: { sets: [{ name, family: "ipv4", entries: [name] }], rules: [name] }, ipv6: { sets: [], rules: [] } },
    }),
    declare(t.overlay, name, {
      dockerNetwork: name,
      variant: "iptables-legacy",
      setPrefix: name,
      policy: { sets: [{ name, family: "ipv4", entries: [name] }], rules: [name] },
      offloads: { [name]: false },
    }),
    declare(t.overlay, name, { dockerNetwork: name, variant: "iptables", setPrefix: name, offloads: {} }),
    declare(t.swarmManager, name, { address: name, dataPort: 4788 }),
    declare(t.swarmNetwork, name, { dockerNetwork: name, subnet: name, ownRange: name, mtuBytes: 8950 }),
    declare(t.overlayHolder, name, { container: name, dockerNetwork: name, command: [name], imageId: name }),
    declare(t.swarmNode, name, { manager: name, address: name }),
    declare(t.swarmJoined, name, {}),
    declare(t.ciliumSite, name, { uplink: name, gateway: name, others: [name] }),
    declare(t.ciliumNetwork, name, { dockerNetwork: name, subnet: name, nobody: name }),
    declare(t.ciliumParting, name, {}),
    declare(t.ciliumPolicy, name, { leaf: name, policies: [JSON.stringify({ labels: [name] })] }),
    declare(t.folder, name, { folder: name }),
    declare(t.unreachable, name, { to: name }),
    declare(t.certificates, name, { leaves: [{ name, addresses: [name], uses: ["serverAuth"] }] }),
    declare(t.secretFile, name, { file: name }),
    declare(t.guard, name, {
      guarded: [
        { devices: [name], gateways: ["10.0.0.1", "fd00::1"], own: ["10.0.0.2"], forwards: [name] },
        { devices: ["ffh-*"] },
        { devices: ["lxc*"], isOthers: true, reaches: ["10.9.0.0/16"] },
        { devices: [name], outside: true },
      ],
      untagged: [name],
      tunnels: { ports: [4789], to: ["198.18.0.1"], from: ["198.18.0.2"] },
      uplink: name,
      inside: ["10.0.0.0/8"],
    }),
    declare(t.programs, name, {}),
    declare(t.ilaRegistered, name, { endpoints: [name] }),
    declare(t.ilaSite, name, {
      server: name,
      uplink: name,
      endpoints: [name],
      root: name,
      leaseSeconds: 4,
      capacity: 1024,
      locatorAddresses: false,
      servers: [{ name, locator: name, nextHop: name }],
      networks: [{ name, vn: 7, sir: name, backend: "ebpf", csum: "neutral", translate: true, mtuBytes: 9000, checksumOffload: true }],
    }),
    declare(t.serviceAddress, name, { address: name }),
    declare(t.bridgeGuard, name, { bridge: name }),
    declare(t.vxlan, name, { device: name, vni: 136, local: name, port: 4789, bridge: name, mac: name, mtuBytes: 8950, gro: false }),
    declare(t.speakerVni, name, { vni: 136, asn: 65000, routeDistinguisher: name, routeTarget: name }),
    declare(t.bgpSessions, name, { peers: [name] }),
    declare(t.tenantRouter, name, {
      namespace: name,
      mac: name,
      legs: [{ port: name, device: name, bridge: name, mtuBytes: 8950, addresses: [name] }],
    }),
    declare(t.tenantVrf, name, {
      namespace: name,
      vni: 137,
      local: name,
      port: 4789,
      mac: name,
      mtuBytes: 8950,
      asn: 65000,
      routeDistinguisher: name,
      routeTarget: name,
    }),
    declare(t.agentFolders, name, { container: name }),
    declare(t.impairment, name, { device: name, lossPercent: 1, rateMbit: 10 }),
    declare(t.impairment, name, { device: name, delayMs: 10, jitterMs: 2, lossPercent: 1, rateMbit: 10 }),
    declare(t.impairment, name, { device: name }),
    declare(t.namespaceSystem, name, {
      namespace: name,
      device: name,
      port: name,
      mac: name,
      portMac: name,
      mtuBytes: 9000,
      addresses: [
        { address: name, gateway: name },
        { address: "fd00::2", gateway: "fd00::1" },
      ],
      offloads: { tso: true, gro: false },
      sysctls: { [name]: name },
    }),
    declare(t.claim, name, { project: name }),
    declare(t.segment, name, { device: name, mac: name, mtuBytes: 1500, way: { sort: "local", peer: name } }),
    declare(t.segment, name, { device: name, mac: name, mtuBytes: 1500, way: { sort: "vlan", uplink: name, id: 7 } }),
    declare(t.segment, name, {
      device: name,
      mac: name,
      mtuBytes: 1500,
      way: { sort: "vxlan", id: 7, local: name, port: 4789, others: [name] },
    }),
    declare(t.serverInterface, name, {
      device: name,
      parent: name,
      parentIdentity: name,
      driver: "macvlan",
      mode: name,
      mac: name,
      mtuBytes: 1500,
      addresses: [name],
    }),
    declare(vpnGateway, name, { system: name, container: name, files: { start: name }, connections: { one: name } }),
    declare(vpnTunnels, name, {
      container: name,
      tunnels: [{ name, connection: name, local: [name], remote: [name], isAwaited: true }],
      planHash: name,
    }),
    declare(firewallSite, name, {
      name,
      rules: name,
      networks: [name],
      ends: [{ address: name, system: name, network: name, here: true }],
    }),
    declare(firewallsInForce, name, { names: [name], hash: name }),
  ] as unknown as HostObject[];
}

describe("scripts of host objects", () => {
  it("cover every type", () => {
    const covered = new Set(objects("x").map((object) => object.type.type));
    const all = [objectTypes, ...capabilities.map((capability) => capability.objectTypes)].flatMap((types) => Object.keys(types));
    expect(all.filter((type) => !covered.has(type))).toEqual(["container", "generation", "image", "sentFile"]);
  });

  it.each(hostile)("are well-formed with %j", (name) => {
    for (const object of objects(name)) {
      const text = objectScript(object, { stack: "flip" });
      const parsed = spawnSync("dash", ["-n"], { input: text, encoding: "utf8" });
      expect(parsed.stderr, `${object.type.type}\n${text}`).toBe("");
      const check = spawnSync("dash", ["-n"], { input: object.type.check(object.spec, { stack: "flip" }, name).text, encoding: "utf8" });
      expect(check.stderr, object.type.type).toBe("");
    }
  });

  it("do what they are called with, and nothing when there is nothing", () => {
    // Of what is absent, without the devices that they act on.
    for (const object of objects("absent0")) {
      if (["route", "unreachable", "filter", "router", "agentFolders", "serviceAddress", "bridgeGuard"].includes(object.type.type))
        continue;
      const run = dash(objectScript(object, { stack: "test-absent" }), "remove");
      expect([object.type.type, run.status, run.stderr]).toEqual([object.type.type, 0, ""]);
    }
  });

  it("say where, what and how to fix when a NIC is missing", () => {
    const [nic] = objects("absent0");
    const run = dash(objectScript(nic!, { stack: "test-absent" }), "ensure");
    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(/^absent0: this server has no such NIC; name one of: .*lo/);
  });

  it("undo what a first create half did, and say why it failed", () => {
    const type = { ...objectTypes.nic, ensure: () => new Script("echo made\nfalse\necho never"), remove: () => sh`echo undone` };
    const run = dash(objectScript(declare(type, "x", { device: "x", mtuBytes: 1 }), { stack: "x" }), "first");
    expect([run.status, run.stdout]).toEqual([1, "made\nundone\n"]);
  });

  it("name a prefix that the server routes already", () => {
    const route = JSON.parse(spawnSync("ip", ["-j", "-4", "route", "show", "scope", "link"], { encoding: "utf8" }).stdout) as {
      dst: string;
    }[];
    const own = route.find(({ dst }) => dst.includes("/"))?.dst ?? "";
    const script = factsScript([], { prefixes: [own, "203.0.113.0/29"], forwardsIpv6: false }, { stack: "x" }).replace(
      /if command -v docker.*/,
      "",
    );
    const run = dash(script);
    expect(run.stderr).toContain(`${own}: this server already routes it`);
    expect(run.stderr).not.toContain("203.0.113.0/29");
  });

  it("make certificates that a server takes whose clock is behind", () => {
    const leaves = [{ name: "server", addresses: ["192.0.2.1"], uses: ["serverAuth"] as const }];
    const script = objectScript(declare(objectTypes.certificates, "c", { leaves }), { stack: "x" });
    const look = 'cd "$folder/ca"; openssl verify -attime $(($(date +%s) - 7200)) -CAfile authority/ca.crt server/tls.crt; ls authority';
    expect(dash(`${script}ensure >/dev/null\n${look}\n`, "ensure").stdout).toBe("server/tls.crt: OK\nca.crt\nca.key\n");
  });

  it("save a previous value once, and put it back", () => {
    const folder = spawnSync("mktemp", ["-d"], { encoding: "utf8" }).stdout.trim();
    const text = prelude({ stack: "x" }, "save restore").text.replace("/var/lib/flipflap/x", `${folder}/own/x`);
    const script = `${text}\nput() { echo "back $1"; }\nsave a.b 1\nsave a.b 2\nrestore a.b put\nrestore a.b put\n[ ! -e "$folder" ] && echo gone\nrmdir ${folder}`;
    expect(dash(script).stdout).toBe("back 1\ngone\n");
  });

  it("tell facts of a server in words that JSON takes", () => {
    const run = dash(
      factsScript([{ tool: "sh", why: "this" }], noRouting, { stack: "x" })
        .replace(/\$\(docker version[^)]*\)/g, "1")
        .replace(/if command -v docker.*/, ""),
    );
    const facts = JSON.parse(run.stdout) as { tools: Record<string, boolean>; nicMtuBytes: Record<string, number> };
    expect(facts.tools.ip).toBe(true);
    expect(facts.nicMtuBytes.lo).toBeGreaterThan(1500);
  });

  it("name all that a server lacks, at once", () => {
    const requirements = [
      { tool: "no-such-tool", why: "this" },
      { kernelOption: "CONFIG_NO_SUCH", why: "that" },
      { tool: "another-one", why: "more" },
    ];
    const run = dash(factsScript(requirements, noRouting, { stack: "x" }).replace(/if command -v docker.*/, ""));
    expect(run.status).toBe(1);
    for (const name of ["no-such-tool: not installed; needed for this", "another-one", "CONFIG_NO_SUCH"])
      expect(run.stderr).toContain(name);
  });
});

describe("requirements of kinds", () => {
  const found = (name: string) => sh`lacks ${name} "in the way"; echo "asked ${name}" >&2`;
  const all = [
    { probe: found("one"), why: "a kind" },
    { probe: found("two"), why: "another kind" },
    { probe: found("one"), why: "a network more of the first" },
  ];

  it("bring probes of their own: each is asked once, and all that they find is said", () => {
    const { status, stderr } = dash(factsScript(all, noRouting, { stack: "x" }).replace(/if command -v docker.*/, ""));
    expect(status).toBe(1);
    for (const name of ["one", "two"]) {
      expect(stderr).toContain(`${name}: in the way`);
      expect(stderr.split(`asked ${name}`)).toHaveLength(2);
    }
  });

  it("see who listens on a port, unless we do", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const ask = (docker: string): string =>
      dash(`docker() { ${docker}; }\nlacks() { echo "$1: $2"; }\n${freeTcpPort(port, "ff-etcd", "etcd").probe?.text}`).stdout;
    expect(ask("echo false")).toMatch(new RegExp(`^TCP port ${port}: somebody listens on it \\(127.0.0.1:${port} .*\\); etcd needs it`));
    expect(ask("echo true")).toBe("");
    server.close();
    await once(server, "close");
    expect(ask("echo false")).toBe("");
  });
});

describe("checks", () => {
  it("compare property by property", () => {
    expect(compare({ a: 1, b: ["x"] }, undefined)).toBe("missing");
    expect(compare({ a: 1, b: ["x"] }, { a: 1, b: ["x"], c: 2 })).toEqual([]);
    expect(compare({ a: 1, b: ["x"] }, { a: 2, b: ["x", "y"] })).toEqual([
      { property: "a", wanted: 1, found: 2 },
      { property: "b", wanted: ["x"], found: ["x", "y"] },
    ]);
  });

  it("run all over one shell, and one that breaks does not hide the next", () => {
    const specs = [
      { type: "sysctls", name: "s", spec: { values: { "kernel.ostype": "Linux" } } },
      { type: "nic", name: "absent", spec: { device: "absent0", mtuBytes: 1500 } },
      { type: "nic", name: "lo", spec: { device: "lo", mtuBytes: 1 } },
    ];
    const printed = dash(checksScript(specs, "x")).stdout;
    expect(readChecks("x", specs, printed).map((checked) => checked.result)).toEqual(["ok", "missing", "different"]);
    const [outdated] = readChecks("x", [{ type: "filter", name: "f", spec: { chain: "FF-f" } }], "");
    expect(outdated?.result).toBe("outdated");
    expect(readChecks("x", specs, "").map((checked) => checked.result)).toEqual(["failed", "failed", "failed"]);
  });
});
