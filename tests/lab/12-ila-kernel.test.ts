/**
 * Kind ila by the kernel's own ILA, which the kernels of labs may lack: Debian's cloud kernel in QEMU. The product's own
 * scripts set two namespaces up as servers there, its agent attaches systems, and the two backends talk to each other.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { Declaration, ServerDeclaration } from "../../components/config/declaration";
import type { IlaNetwork, System, Testbed } from "../../components/config/types.gen";
import type { HostObject } from "../../components/host/objectType";
import { objectScript } from "../../components/host/script";
import { isContainer } from "../../components/kinds/kind";
import { ruleFaults } from "../../components/testbed/check";
import { isBare, planServer } from "../../components/testbed/plan";
import { formatAddress, parseAddress, parsePrefix } from "../../components/net/cidr";
import { atPrefix } from "../../components/net/ila";
import { goCommand } from "../../setup/go";
import { run } from "../../support/process";
import { codeRoot } from "../../support/project";
import { guestImpossible, runInGuest } from "../support/guest";

type Sort = Pick<IlaNetwork, "csum" | "backend" | "backends">;

/** Phases, since in csum neutral the kernel translates all that comes to a server's locator. */
const phases: readonly Readonly<Record<string, Sort>>[] = [
  {
    "auto-kernel": { csum: "neutral-auto", backend: "kernel" },
    "adjust-kernel": { csum: "adjust-transport", backend: "kernel" },
    "none-kernel": { csum: "no-action", backend: "kernel" },
    "auto-mixed": { csum: "neutral-auto", backend: "kernel", backends: { flip: "ebpf" } },
    "none-mixed": { csum: "no-action", backend: "ebpf", backends: { flip: "kernel" } },
    "adjust-ebpf": { csum: "adjust-transport" },
  },
  { "neutral-kernel": { csum: "neutral", backend: "kernel" } },
  { "neutral-mixed": { csum: "neutral", backend: "kernel", backends: { flip: "ebpf" } } },
];

const server = (name: string, index: number): ServerDeclaration => ({
  name,
  hub: name === "flip",
  isLab: false,
  address: "",
  port: 22,
  user: "root",
  hostKey: "",
  privateKeyFile: "",
  uplink: "up0",
  underlay: { ipv4: `198.18.0.${index}/24`, ipv6: `fd00:1::${index}/64`, mac: `02:00:00:00:00:0${index}` },
  locator: `2001:db8:a:${index}::/64`,
});

const servers = [server("flap", 1), server("flip", 2)];
const names = servers.map(({ name }) => name);

function declarationOf(sorts: Readonly<Record<string, Sort>>): Declaration {
  const networks = Object.entries(sorts).map(([name, sort], i): IlaNetwork => ({
    name,
    tenant: "red",
    kind: "ila",
    vn: i + 7,
    sir: `face:b00c:0:${i + 7}::/64`,
    ...sort,
  }));
  const systems = networks.flatMap(({ name }) =>
    names.map((at): System => ({ name: `${name}-${at}`, tenant: "red", server: at, networks: [{ name }] })),
  );
  const testbed: Testbed = { tenants: [{ name: "red" }], networks, systems, links: [{ between: ["flap", "flip"], mtuBytes: 1500 }] };
  return { name: "guest", testbed, servers, policies: [], nftables: {} };
}

/** Everything on a server but containers: those are processes here. */
function objectsOf(declaration: Declaration, at: ServerDeclaration): HostObject[] {
  const plan = planServer(declaration, at);
  return [
    ...plan.settings,
    plan.agentFolders,
    ...plan.kinds.flatMap(({ shared }) => [...(shared.agent?.parts ?? []), ...shared.edge]),
    ...plan.networks.flatMap(({ nve }) => nve),
    ...plan.systems.flatMap((system) => (isBare(system) ? [] : [system.attach])),
  ].flatMap((part, i) => (isContainer(part) ? [] : [{ ...part, name: `${i}-${part.name}` }])) as HostObject[];
}

const addressIn = (declaration: Declaration, system: string): string => {
  const all = declaration.servers.flatMap((at) => planServer(declaration, at).systems);
  return all.find((one) => one.system.name === system)?.interfaces[0]?.addresses[0]?.split("/")[0] ?? "";
};

const prelude = `
set -e
modprobe ila; modprobe veth
sysctl -q -w net.ipv6.conf.default.router_solicitations=0
ip link add wire type veth peer name wire2
for pair in flap:wire:1 flip:wire2:2; do
  IFS=: read -r at device index <<EOF2
$pair
EOF2
  ip netns add $at
  ip link set $device netns $at
  ip -n $at link set $device name up0 address 02:00:00:00:00:0$index
  # A server sees its own /sys; what it pins outlives each command, as on a server.
  ip netns exec $at sh -c 'mount -t bpf bpf /sys/fs/bpf; exec sleep 100000' & eval "$at=$!"
  ip -n $at link set up0 up
done
on() { eval "pid=\\$$1"; shift; nsenter -t "$pid" -n -m "$@"; }
# -vv tells of checksums, as they are for the addresses on the wire.
seen() { on flap timeout 3 tcpdump -Z root -n -vv -l -c 2 -i up0 "ip6 and dst net 2001:db8:a::/48 and $1" 2>/dev/null | tr -d '\\n' | sed 's/  */ /g'; echo; }
`;

function phaseScript(index: number, sorts: Readonly<Record<string, Sort>>, declaration: Declaration): string {
  const lines: string[] = [];
  for (const { name } of servers) {
    const own = declaration.testbed.systems.filter((system) => system.server === name);
    lines.push("pids=");
    for (const system of own)
      lines.push(`ip netns add ${system.name}`, `ip netns exec ${system.name} sleep 100000 & pids="$pids,ff-${system.name}=$!"`);
    lines.push(
      `for script in /job/${index}/${name}/*; do on ${name} sh "$script" ensure || { echo "$script failed"; exit 1; }; done`,
      `on ${name} /job/agent static -stack ${name} -specs /var/lib/flipflap/${name}/attach -status /run/flipflap/${name} -proc /proc -bpf /job/overlay.bpf.o -pids "\${pids#,}" -registry /job/${index}/registry.json 2>>/run/agent.log || { cat /run/agent.log; exit 1; }`,
    );
  }
  for (const network of Object.keys(sorts)) {
    const [from, to] = [`${network}-flip`, `${network}-flap`];
    const address = addressIn(declaration, to);
    lines.push(
      `until [ "$(ip netns exec ${from} cat /sys/class/net/eth0/operstate)$(ip netns exec ${to} cat /sys/class/net/eth0/operstate)" = upup ]; do sleep 0.05; done`,
      `echo "=== ${network} ping"; ip netns exec ${from} ping -n -q -c 3 -i 0.2 -W 2 ${address} | grep received || :`,
      `echo "=== ${network} offloads"; ip netns exec ${from} ethtool -k eth0 | grep 'tx-checksum-ip-generic' || :`,
      // The sender computes checksums itself: what is seen is what a NIC would send.
      `ip netns exec ${from} ethtool -K eth0 tx off >/dev/null 2>&1 || :`,
      `ip netns exec ${to} iperf3 -s -1 -D; sleep 0.2`,
      `seen "tcp dst port 5201" >/run/seen & tap=$!; sleep 0.5`,
      `echo "=== ${network} tcp"; ip netns exec ${from} iperf3 -c ${address} -t 1 -f m --connect-timeout 2000 2>&1 | grep -E 'receiver|error' || :`,
      `wait $tap; echo "=== ${network} wire"; cat /run/seen`,
    );
  }
  // A system that takes another's identifier.
  const [network = ""] = Object.keys(sorts);
  const to = addressIn(declaration, `${network}-flap`);
  lines.push(
    `echo "=== phase${index} spoof"`,
    `ip netns exec ${network}-flip ip addr add ${to.replace(/:[^:]+$/, ":5a5a")}/128 dev eth0 nodad`,
    `ip netns exec ${network}-flip ping -n -q -c 1 -W 1 -I ${to.replace(/:[^:]+$/, ":5a5a")} ${to} | grep received || :`,
    `echo "=== phase${index} facts"; on flip /job/agent ila -stack flip -specs /var/lib/flipflap/flip/attach -status /run/flipflap/flip -bpf /job/overlay.bpf.o`,
  );
  // Taken away in the opposite order, as a destroy does: the agent is gone, and what it left in the kernel with it.
  lines.push(
    ...names.map(
      (name) => `for script in $(ls -r /job/${index}/${name}/*); do on ${name} sh "$script" remove || echo "$script failed"; done`,
    ),
    `echo "=== phase${index} leftovers"`,
    ...names.flatMap((name) => [
      `on ${name} ip -6 route show proto 240`,
      `on ${name} ip -6 addr show dev up0 deprecated`,
      `on ${name} tc filter show dev up0 ingress; on ${name} tc filter show dev up0 egress`,
      `on ${name} tc qdisc show dev up0 | grep clsact || :`,
      `on ${name} find /sys/fs/bpf /var/lib/flipflap/${name} -mindepth 1 2>/dev/null || :`,
    ]),
  );
  lines.push(...declaration.testbed.systems.map((system) => `ip netns del ${system.name}`));
  return lines.join("\n");
}

async function makeJob(folder: string): Promise<void> {
  await run([...(await goCommand()), "build", "-trimpath", "-ldflags", "-s -w", "-o", join(folder, "agent"), "."], {
    cwd: join(codeRoot, "agent"),
    env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false" },
  });
  const objects = join(folder, "bpf");
  await run(["make", "-s", "-C", join(codeRoot, "bpf"), `OUT=${objects}`]);
  for (const name of ["overlay", "ila"]) cpSync(join(objects, `${name}.bpf.o`), join(folder, `${name}.bpf.o`));
  const parts = [prelude];
  for (const [i, sorts] of phases.entries()) {
    const declaration = declarationOf(sorts);
    for (const at of servers) {
      mkdirSync(join(folder, String(i), at.name), { recursive: true });
      for (const [k, object] of objectsOf(declaration, at).entries())
        writeFileSync(join(folder, String(i), at.name, String(k).padStart(3, "0")), objectScript(object, { stack: at.name }));
    }
    const registry = Object.fromEntries(declaration.testbed.systems.map((system) => [addressIn(declaration, system.name), system.server]));
    writeFileSync(join(folder, String(i), "registry.json"), JSON.stringify(registry));
    parts.push(phaseScript(i, sorts, declaration));
  }
  writeFileSync(join(folder, "run"), `${parts.join("\n")}\n`);
}

const impossible = guestImpossible();

describe.skipIf(impossible !== undefined)(`kind ila by the kernel${impossible === undefined ? "" : ` (skipped: ${impossible})`}`, () => {
  const output = new Map<string, string>();

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), "flipflap-job-"));
    try {
      await makeJob(folder);
      const { code, stdout, stderr } = await runInGuest(folder, 220);
      if (process.env.FLIPFLAP_SHOW !== undefined) console.log(stdout, stderr);
      expect(code, `${stdout}\n${stderr}`).toBe(0);
      for (const part of stdout.split(/^=== /m).slice(1)) {
        const [title = "", ...lines] = part.split("\n");
        output.set(title, lines.join("\n").trim());
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("declares what the rules allow", () => {
    expect(phases.flatMap((sorts) => ruleFaults(declarationOf(sorts)))).toEqual([]);
  });

  const all = phases.flatMap((sorts) => Object.entries(sorts).map(([name, sort]) => ({ name, sort, declaration: declarationOf(sorts) })));

  it.each(all)("$name: pings and TCP arrive", ({ name }) => {
    expect(output.get(`${name} ping`)).toContain("3 received");
    expect(output.get(`${name} tcp`)).toMatch(/ [1-9][\d.]* [MG]bits\/sec .*receiver/);
  });

  it.each(all)("$name: between the servers packets have locators, and checksums as declared", ({ name, sort, declaration }) => {
    const wire = output.get(`${name} wire`) ?? "";
    const sir = addressIn(declaration, `${name}-flap`);
    const locator = parsePrefix(servers[0]?.locator ?? "");
    const [, from, to] = /([0-9a-f:]+)\.\d+ > ([0-9a-f:]+)\.\d+/.exec(wire) ?? [];
    expect(from).toBe(addressIn(declaration, `${name}-flip`));
    const words = (text: string): bigint => {
      let value = parseAddress(text)?.value ?? 0n;
      let sum = 0n;
      for (; value > 0n; value >>= 16n) sum += value & 0xffffn;
      return sum % 0xffffn;
    };
    const own = parseAddress(sir);
    if (locator === undefined || own === undefined || to === undefined) throw new Error(wire);
    if (sort.csum === "neutral" || sort.csum === "neutral-auto") {
      expect(words(to)).toBe(words(sir));
      expect(to.startsWith(sort.csum === "neutral" ? "2001:db8:a:1:3000:" : "2001:db8:a:1:2000:")).toBe(true);
      expect(wire).toContain("(correct)");
    } else expect(to).toBe(formatAddress(atPrefix(locator, own)));
    // The kernel's adjust-transport (6.1) is wrong between servers; so is what nobody adjusts.
    const isRight = name === "adjust-ebpf" || sort.csum?.startsWith("neutral") === true;
    expect(wire.includes("incorrect")).toBe(!isRight);
  });

  it("has switched checksum offload off where nobody makes checksums fit the wire", () => {
    const off = all.filter(({ name }) => output.get(`${name} offloads`) === "tx-checksum-ip-generic: off").map(({ name }) => name);
    expect(off.sort()).toEqual(["adjust-kernel", "none-kernel", "none-mixed"]);
  });

  it("leaves nothing behind when it is taken away", () => {
    for (const [i] of phases.entries()) expect(output.get(`phase${i} leftovers`)).toBe("");
  });

  it("drops a spoofed identifier at the system's own port, and counts it", () => {
    for (const [i] of phases.entries()) {
      expect(output.get(`phase${i} spoof`)).toContain(" 0 received");
      const facts = JSON.parse(output.get(`phase${i} facts`) ?? "{}") as { drops: Record<string, number> };
      expect(facts.drops["spoofed identifier"]).toBeGreaterThan(0);
    }
  });
});
