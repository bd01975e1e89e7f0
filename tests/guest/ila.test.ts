/**
 * Kind ila by the kernel's own ILA, which the kernels of labs may lack: Debian's cloud kernel in QEMU. The product's own
 * scripts set two namespaces up as servers there, its agent attaches systems, and the two backends talk to each other.
 */
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { buildGoTest } from "../../benches/support/goTest";
import type { Declaration } from "../../components/config/declaration";
import type { IlaNetwork, System, Testbed } from "../../components/config/types.gen";
import { formatAddress, parseAddress, parsePrefix } from "../../components/net/cidr";
import { atPrefix } from "../../components/net/ila";
import { ruleFaults } from "../../components/plan/check";
import { planServer } from "../../components/plan/plan";
import { run } from "../../support/process";
import { codeRoot } from "../../support/project";
import { guestImpossible, needsGuest } from "./guest";
import {
  buildGuestAgent,
  guestDown,
  guestNames,
  guestOutput,
  guestPrelude,
  guestServers,
  guestUp,
  writeGuestScripts,
} from "./guestServers";

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
    guestNames.map((at): System => ({ name: `${name}-${at}`, tenant: "red", server: at, networks: [{ name }] })),
  );
  const testbed: Testbed = { tenants: [{ name: "red" }], networks, systems, links: [{ between: ["flap", "flip"], mtuBytes: 1500 }] };
  return { name: "guest", testbed, servers: guestServers, policies: [], nftables: {}, firewallRules: {} };
}

const addressIn = (declaration: Declaration, system: string): string => {
  const all = declaration.servers.flatMap((at) => planServer(declaration, at).systems);
  return all.find((one) => one.system.name === system)?.interfaces[0]?.addresses[0]?.split("/")[0] ?? "";
};

const prelude = `${guestPrelude(["ila", "veth"])}
# -vv tells of checksums, as they are for the addresses on the wire.
seen() { on flap timeout 15 tcpdump -Z root -n -vv -l -c 2 -i up0 "ip6 and dst net 2001:db8:a::/48 and $1" 2>/dev/null | tr -d '\\n' | sed 's/  */ /g'; echo; }
`;

function phaseScript(index: number, sorts: Readonly<Record<string, Sort>>, declaration: Declaration): string {
  const lines = guestUp(index, declaration, `-bpf /job -registry /job/${index}/registry.json`);
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
      `seen "tcp dst port 5201" >/run/seen & tap=$!; sleep 1`,
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
    `echo "=== phase${index} facts"; on flip /job/agent ila -stack flip -specs /var/lib/flipflap/flip/attach -status /run/flipflap/flip -bpf /job`,
  );
  // The agent is gone, and what it left in the kernel goes with the objects.
  lines.push(
    ...guestDown(index),
    `echo "=== phase${index} leftovers"`,
    ...guestNames.flatMap((name) => [
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

/** Of the tracer's own those that need its programs in the kernel. */
const tracerTests = ["TestWhatTheFilterDoesNotWantIsNotTold", "TestEqualDatagramsAreAsManyLegs"];

async function makeJob(folder: string): Promise<void> {
  await buildGuestAgent(folder);
  const objects = join(folder, "bpf");
  await run(["make", "-s", "-C", join(codeRoot, "bpf"), `OUT=${objects}`]);
  for (const name of ["overlay", "ila", "trace"]) cpSync(join(objects, `${name}.bpf.o`), join(folder, `${name}.bpf.o`));
  await buildGoTest(folder, "bpf");
  await buildGoTest(folder, "trace");
  const parts = [prelude, `echo "=== chain"; on flap /job/bpf.test -test.v -test.short 2>&1 | sed 's/^=== //' || :`];
  parts.push(
    `echo "=== tracer"; FLIPFLAP_BPF=/job/trace.bpf.o /job/trace.test -test.v -test.run '^(${tracerTests.join("|")})$' 2>&1 | sed 's/^=== //' || :`,
  );
  for (const [i, sorts] of phases.entries()) {
    const declaration = declarationOf(sorts);
    writeGuestScripts(folder, i, declaration);
    const registry = Object.fromEntries(declaration.testbed.systems.map((system) => [addressIn(declaration, system.name), system.server]));
    writeFileSync(join(folder, String(i), "registry.json"), JSON.stringify(registry));
    parts.push(phaseScript(i, sorts, declaration));
  }
  writeFileSync(join(folder, "run"), `${parts.join("\n")}\n`);
}

describe("kind ila by the kernel", () => {
  let output: ReadonlyMap<string, string> = new Map();
  needsGuest();

  beforeAll(async () => {
    if (guestImpossible() !== undefined) return;
    output = await guestOutput(makeJob, 220);
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
    const locator = parsePrefix(guestServers[0]?.locator ?? "");
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

  it("keeps programs in their order, and lets none pass while one is replaced, without tcx too", () => {
    const said = output.get("chain") ?? "";
    const passed = [...said.matchAll(/--- PASS: (Test\w+)\/filters/g)].map(([, name]) => name);
    expect(passed, said).toEqual([
      "TestProgramsStandInTheirOrderWhateverCameFirst",
      "TestNoPacketPassesWhileAProgramIsReplaced",
      "TestADeviceThatWasMadeAnewIsFoundWithoutAProgram",
    ]);
    expect(said).not.toContain("--- FAIL");
  });

  it("follows packets, without tcx and with copies of headers too", () => {
    const said = output.get("tracer") ?? "";
    expect(
      [...said.matchAll(/--- (\w+): (Test\w+)/g)].map(([, how, name]) => `${how} ${name}`),
      said,
    ).toEqual(tracerTests.map((name) => `PASS ${name}`));
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
