/** Kind cilium: generated policies against its maps, packets for a sample of them, and the one word that turns it off and on. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { planPolicyProbes, type PolicyProbeResult, runPolicyProbes } from "../../cli/policyProbes";
import type { Declaration } from "../../components/config/declaration";
import { declare, type HostObject } from "../../components/host/objectType";
import { ciliumPolicy } from "../../components/host/objects/ciliumPolicy";
import { route } from "../../components/host/objects/route";
import { objectScript, prelude } from "../../components/host/script";
import { importedBy } from "../../components/kinds/cilium/policies";
import type { Policy } from "../../components/net/policy/types.gen";
import { checkedDeclaration } from "../../components/plan/check";
import { readLabState } from "../../lab/state";
import { run, sleep } from "../../support/process";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { generatePolicies, labelSets, mayArrive, packets } from "../support/policyTruth";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"] as const;
const before = new Map<string, string>();
const { bringUp, onServer, wrong } = onLab(project);

const systems = labelSets.map((labels, i) => ({
  name: `s${i}x`,
  server: servers[i % 2] ?? "flip",
  address: `10.60.${(i % 2) + 1}.${20 + i}`,
  labels,
}));
const testbed = `
tenants: [{ name: red }]
networks: [{ name: net, tenant: red, kind: cilium, subnets: { flip: 10.60.1.0/24, flap: 10.60.2.0/24 } }]
systems:
${systems.map(({ name, server, address, labels }) => `  - { name: ${name}, tenant: red, server: ${server}, labels: ${JSON.stringify(labels)}, networks: [{ name: net, address: ${address} }] }`).join("\n")}
policies: [policies/generated.json]
links: [{ between: [flip, flap] }]
`;
/** For a start: somebody is selected, so that what is not allowed is denied. */
const first: Policy[] = [{ endpointSelector: { matchLabels: { app: "a" } }, ingress: [{}] }];
const setCount = 64;
const probedEvery = 16;

/** What cilium-dbg prints, as far as it is read. */
interface Entry {
  readonly Flags: number;
  readonly Key: {
    readonly Prefixlen: number;
    readonly Identity: number;
    readonly TrafficDirection: number;
    readonly Nexthdr: number;
    readonly DestPortNetwork: number;
  };
}
interface Realised {
  readonly identities: ReadonlyMap<string, number>;
  /** By the systems' names. */
  readonly entries: ReadonlyMap<string, readonly Entry[]>;
}

/** Of an entry's key: direction and protocol are 16 bits, the port 16 more, after 40 that always count. */
const [fixedBits, protocolBits, portBits] = [40, 8, 16];
const numbers = { tcp: 6, udp: 17, sctp: 132, icmp: 1 } as const;

function lets(entries: readonly Entry[], identity: number, { protocol, port }: (typeof packets)[number]): boolean {
  return entries.some(({ Key }) => {
    if (Key.TrafficDirection !== 0 || (Key.Identity !== 0 && Key.Identity !== identity)) return false;
    const bits = Key.Prefixlen - fixedBits;
    if (bits >= protocolBits && Key.Nexthdr !== numbers[protocol]) return false;
    const own = Math.max(0, bits - protocolBits);
    const entryPort = ((Key.DestPortNetwork & 0xff) << 8) | (Key.DestPortNetwork >> 8);
    return entryPort >> (portBits - own) === port >> (portBits - own);
  });
}

describe("kind cilium", () => {
  let declaration: Declaration;

  const withPolicies = (policies: readonly Policy[]): Declaration => ({
    ...declaration,
    policies: [{ path: "policies/generated.json", policies }],
  });

  /** The product's own script brings them in; what Cilium has made of them comes back. */
  async function realised(server: string, policies: readonly Policy[]): Promise<Realised> {
    const owner = { stack: server };
    const spec = { leaf: "cilium.sh", policies: importedBy(withPolicies(policies)) };
    const ensure = ciliumPolicy.ensure(spec, owner, "policy").text;
    const own = systems.filter((system) => system.server === server);
    const script = `${prelude(owner, ensure).text}
${ensure}
dbg() { docker exec ff-cilium cilium-dbg "$@"; }
revision=$(dbg policy get | sed -n 's/^Revision: //p')
left=100
until [ "$(dbg endpoint list -o json | grep -E '"policy-revision"' | sed -E 's/[^0-9]//g' | sort -n | head -n 1)" -ge "$revision" ]; do
  left=$((left - 1)); [ "$left" -gt 0 ] || exit 1; sleep 0.1
done
echo "=== identities"; dbg identity list -o json
${own.map(({ name, address }) => `echo "=== ${name}"; dbg bpf policy get "$(dbg endpoint get ipv4:${address} -o json | sed -n 's/^    "id": \\([0-9]*\\),*$/\\1/p' | head -n 1)" -n -o json`).join("\n")}
`;
    const printed = await run(["ssh", "-F", `${project.root}/.flipflap/ssh/config`, server, "sh", "-s"], { stdin: script });
    const parts = new Map(
      printed
        .split("=== ")
        .slice(1)
        .map((part) => [part.slice(0, part.indexOf("\n")), part.slice(part.indexOf("\n") + 1)]),
    );
    const listed = JSON.parse(parts.get("identities") ?? "[]") as { id: number; labels?: string[] }[];
    const key = (labels: readonly string[]): string => [...labels].sort().join(" ");
    const byLabels = new Map(listed.map(({ id, labels = [] }) => [key(labels), id]));
    const identities = systems.map(({ name, labels }): [string, number] => {
      const texts = Object.entries(labels).map(([label, value]) => `container:${label}=${value}`);
      return [name, byLabels.get(key(texts.length === 0 ? ["container:unlabelled"] : texts)) ?? -1];
    });
    return {
      identities: new Map(identities),
      entries: new Map(own.map(({ name }) => [name, JSON.parse(parts.get(name) ?? "[]") as Entry[]])),
    };
  }

  beforeAll(async () => {
    project.write("testbeds/identities.yaml", testbed);
    project.write("policies/generated.json", JSON.stringify(first));
    const status = await bringUp("identities", servers, before);
    expect(status.observed.flatMap((o) => o.problems)).toEqual([]);
    declaration = checkedDeclaration(project.root, readLabState(project.root), true);
  });

  it("makes of generated policies what they mean: its maps, and packets for some", { timeout: 900_000 }, async () => {
    const sets = Array.from({ length: setCount }, (_, i) => generatePolicies(i + 1, ["192.0.2.0/24", "0.0.0.0/0", "192.0.2.128/25"]));
    expect(sets.flat().length).toBeGreaterThanOrEqual(200);
    const different: string[] = [];
    const probed: PolicyProbeResult[] = [];
    let compared = 0;
    for (const [i, policies] of sets.entries()) {
      const both = await Promise.all(servers.map((server) => realised(server, policies)));
      for (const { identities, entries } of both) {
        for (const [name, own] of entries) {
          const to = systems.find((system) => system.name === name)!;
          for (const from of systems) {
            if (from === to) continue;
            for (const packet of packets) {
              compared++;
              const may = mayArrive(policies, to.labels, { labels: from.labels }, packet);
              if (lets(own, identities.get(from.name) ?? -1, packet) !== may)
                different.push(
                  `${i}: ${from.name} to ${name} ${packet.protocol}/${packet.port}, ${may ? "closed" : "open"}: ${JSON.stringify(policies)}`,
                );
            }
          }
        }
      }
      if (i % probedEvery === 0) {
        const now = withPolicies(policies);
        probed.push(...(await runPolicyProbes({ root: project.root, declaration: now }, planPolicyProbes(now))));
      }
    }
    expect(different.slice(0, 3), `${different.length} of ${compared}`).toEqual([]);
    expect(compared).toBe(setCount * systems.length * (systems.length - 1) * packets.length);
    expect(probed.filter(({ expected, arrived }) => expected !== arrived)).toEqual([]);
    expect(probed.length).toBeGreaterThan(100);
  });

  it("has its declared policies again after a repair", async () => {
    expect((await wrong()).map(({ type }) => type)).toEqual(["ciliumPolicy", "ciliumPolicy"]);
    succeeded(await project.flipflap("repair"));
    expect(await wrong()).toEqual([]);
  });

  it("leaves a route of the next kind beside its own, however often it looks", async () => {
    const via = readLabState(project.root)?.servers.flap?.underlay.ipv4.split("/")[0] ?? "";
    const object = declare(route, "next", { to: "10.60.2.0/24", via, device: "up0" }) as HostObject;
    const script = objectScript(object, { stack: "flip" });
    const call = (verb: string): Promise<string> => onServer("flip", `sh -s ${verb} <<'SCRIPT'\n${script}\nSCRIPT`);
    const there = (): Promise<string> => onServer("flip", "ip route show exact 10.60.2.0/24");
    const before = await there();
    await call("ensure");
    await sleep(8000);
    expect(await there()).toMatch(new RegExp(`proto kernel[^]*via ${via} dev up0 proto 240|via ${via} dev up0 proto 240[^]*proto kernel`));
    await call("remove");
    expect(await there()).toBe(before);
  });

  it("is turned off and on by the word kind, with the same systems, addresses and policies", { timeout: 400_000 }, async () => {
    const tested = async (): Promise<string> => succeeded(await project.flipflap("policy", "test"));
    expect(await tested()).toContain(" 0 not as the policies say");
    project.edit("testbeds/identities.yaml", "kind: cilium", "kind: bridge");
    succeeded(await project.flipflap("up"));
    expect(await tested()).toMatch(/net +bridge[^]* 0 not as the policies say/);
    expect(await onServer("flip", "ip -o link show; ls /run; docker ps --format '{{.Names}}'")).not.toContain("cilium");
    expect(await onServer("flip", "docker exec ff-s0x ip -o -4 addr show dev eth0")).toContain("10.60.1.20/24");
    project.edit("testbeds/identities.yaml", "kind: bridge", "kind: cilium");
    succeeded(await project.flipflap("up"));
    expect(await tested()).toMatch(/net +cilium[^]* 0 not as the policies say/);
  });

  it("gives both servers back as they were", async () => {
    for (const server of [...servers].reverse()) succeeded(await project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
    project.use("bridge");
  });
});
