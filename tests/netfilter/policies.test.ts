/** Generated policies as rules of iptables, in an overlay's way and in a bridge's: real packets in namespaces that nobody else has. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contractVersion, type ProbePlan } from "../../components/host/contract/types.gen";
import { declare, type HostObject } from "../../components/host/objectType";
import { objectTypes } from "../../components/host/objects";
import { guardScript, type OverlaySpec } from "../../components/host/objects/overlay";
import { objectScript } from "../../components/host/script";
import { type Address, type Family, parseAddress } from "../../components/net/cidr";
import { compileNetfilter, type NetfilterInput, setPrefixOf } from "../../components/net/policy/netfilter";
import { resolvePolicies } from "../../components/net/policy/resolve";
import type { Policy } from "../../components/net/policy/types.gen";
import { asRoot, run } from "../../support/process";
import { codeRoot } from "../../support/project";
import { goCommand } from "../../toolchain/go";
import { generatePolicies, labelSets, mayArrive, packets, type Sender } from "../support/policyTruth";

const own = `ffpt${process.pid}`;
const router = `${own}-r`;
const owner = { stack: own };
const bridge = "br-t";
/** 10.99.0.0/24 is in those namespaces and nowhere else. */
const systems = labelSets.map((labels, i) => ({ name: `s${i}`, namespace: `${own}-${i}`, address: `10.99.0.${11 + i}`, labels }));
const stranger = { namespace: `${own}-x`, address: "10.99.0.200" };
const prefixes = ["10.99.0.0/24", "10.99.0.192/26", "10.99.0.0/25", "0.0.0.0/0", "10.99.0.200/32"];
const setCount = 64;

let folder: string;
let agent: string;
/** Somebody has named namespaces before. */
let hadNamespaces: boolean;

const asScript = (script: string): Promise<string> => run(asRoot(["sh", "-s"]), { stdin: `set -eu\n${script}\n` });
/** With a /var/lib of its own: over the machine's lie those of labs that run. */
const inRouter = (script: string, ...words: string[]): Promise<string> => {
  const alone = ["sh", "-c", 'mkdir -p "$0" && mount --bind "$0" /var/lib && exec sh -s "$@"', join(folder, "lib")];
  return run(asRoot(["ip", "netns", "exec", router, ...alone, ...words]), { stdin: script });
};

const places = [...systems, stranger];
const macOf = (i: number): string => `02:ff:99:00:00:${(i + 1).toString(16).padStart(2, "0")}`;

function compiled(policies: readonly Policy[], family: Family, more: Pick<NetfilterInput, "pass" | "setPrefix">) {
  const endpoints = systems.map(({ name, labels }) => ({ system: name, labels }));
  return compileNetfilter({
    family,
    policy: resolvePolicies([{ path: "policies/p.json", policies }], endpoints, endpoints),
    addresses: new Map(systems.map(({ name, address }) => [name, [parseAddress(address) as Address]])),
    here: new Set(systems.map(({ name }) => name)),
    members: systems.map(({ name }) => name),
    ...more,
  });
}

const overlaySpec = (policies: readonly Policy[]): OverlaySpec => {
  const policy = compiled(policies, "ipv4", { pass: "ACCEPT", setPrefix: "ffpt-" });
  return {
    dockerNetwork: "none",
    variant: "iptables-legacy",
    setPrefix: "ffpt-",
    offloads: {},
    ...(policy.rules.length > 0 && { policy }),
  };
};

function bridgeFilter(policies: readonly Policy[]): HostObject {
  const chain = "FF-test";
  const more = { pass: "RETURN" as const, setPrefix: setPrefixOf(chain) };
  const of = { own: "10.99.0.0/24", tenant: ["10.99.0.0/24"], foreign: [], routers: [] };
  const none = { own: null, tenant: [], foreign: [], routers: [] };
  const both = { ipv4: compiled(policies, "ipv4", more), ipv6: compiled(policies, "ipv6", more) };
  return declare(objectTypes.filter, "filter", {
    chain,
    variant: "iptables",
    device: bridge,
    uplink: "up0",
    inputs: [],
    sources: {},
    decided: [],
    ipv4: of,
    ipv6: none,
    masquerade: false,
    ...(both.ipv4.rules.length > 0 && { policy: { bridge, ...both } }),
  }) as HostObject;
}

let nextId = 1;

/** Every packet from everybody to every system: where what arrives is not what the policies mean. */
async function differences(policies: readonly Policy[]): Promise<{ wrong: string[]; probed: number }> {
  const asked = systems.flatMap((to) =>
    places.flatMap((from) => (from === to ? [] : packets.map((packet) => ({ from, to, packet, id: nextId++ })))),
  );
  const arrivedOf = async (some: readonly (typeof asked)[number][], waitSeconds: number): Promise<number[]> => {
    const plan: ProbePlan = {
      contract: contractVersion,
      receive: systems.map(({ namespace }) => `/run/netns/${namespace}`),
      send: some.map(({ from, to, packet, id }) => ({
        id,
        from: `/run/netns/${from.namespace}`,
        source: from.address,
        destination: to.address,
        protocol: packet.protocol,
        port: packet.port,
      })),
      rounds: 1,
    };
    // Words come in time: when it looks it says so, and what is sent on a bridge in this kernel has arrived.
    const script = `(cat; sleep 0.1; echo go; sleep ${waitSeconds}) | "$0" probe -stack none -proc /proc`;
    const said = await run(asRoot(["sh", "-c", script, agent]), { stdin: `${JSON.stringify(plan)}\n` });
    return JSON.parse(said.trim().split("\n").at(-1) ?? "[]") as number[];
  };
  const may = ({ from, to, packet }: (typeof asked)[number]): boolean => {
    const sender: Sender = from === stranger ? { address: from.address } : { labels: (from as (typeof systems)[number]).labels };
    return mayArrive(policies, to.labels, sender, packet);
  };
  const arrived = new Set(await arrivedOf(asked, 0.25));
  // On a machine that is busy a packet may come late; none may ever come that must not.
  const late = asked.filter((one) => may(one) && !arrived.has(one.id));
  if (late.length > 0) for (const id of await arrivedOf(late, 2)) arrived.add(id);
  const wrong = asked.flatMap((one) => {
    const { from, to, packet, id } = one;
    return may(one) === arrived.has(id)
      ? []
      : [
          `${from.address} to ${to.address} ${packet.protocol}/${packet.port}: ${may(one) ? "lost" : "let in"} under ${JSON.stringify(policies)}`,
        ];
  });
  return { wrong, probed: asked.length };
}

describe("policies as rules of iptables", () => {
  const sets = Array.from({ length: setCount }, (_, i) => generatePolicies(i + 1, prefixes));

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "flipflap-netfilter-"));
    hadNamespaces = existsSync("/run/netns");
    agent = join(folder, "agent");
    await run([...(await goCommand()), "build", "-o", agent, "."], {
      cwd: join(codeRoot, "agent"),
      env: { ...process.env, CGO_ENABLED: "0" },
    });
    const joins = places.map(({ namespace, address }, i) => {
      const neighbours = places.flatMap((other, j) =>
        i === j ? [] : [`ip -n ${namespace} neigh replace ${other.address} lladdr ${macOf(j)} dev eth0`],
      );
      return `
        ip netns add ${namespace}
        ip link add ffpt${i}p${process.pid % 10000} netns ${router} type veth peer name eth0 netns ${namespace} address ${macOf(i)}
        ip -n ${router} link set ffpt${i}p${process.pid % 10000} master ${bridge} up
        ip -n ${namespace} addr add ${address}/24 dev eth0
        ip -n ${namespace} link set eth0 up
        ${neighbours.join("\n")}`;
    });
    await asScript(
      `ip netns add ${router}\nip -n ${router} link add ${bridge} type bridge\nip -n ${router} link set ${bridge} up\n${joins.join("\n")}`,
    );
  }, 180_000);

  afterAll(async () => {
    await inRouter(objectScript(bridgeFilter([]), owner), "remove");
    for (const { namespace } of [...places, { namespace: router }]) await run(asRoot(["ip", "netns", "del", namespace]));
    // iproute2 leaves its folder mounted for ever; lab tests compare the machine with what it was.
    if (!hadNamespaces) await asScript('if [ -z "$(ls -A /run/netns)" ]; then umount /run/netns; rmdir /run/netns; fi');
    rmSync(folder, { recursive: true, force: true });
  });

  it("has enough of them, of every form", () => {
    expect(sets.flat().length).toBeGreaterThanOrEqual(200);
    const text = JSON.stringify(sets);
    for (const word of [
      "fromEndpoints",
      "fromCIDR",
      "fromCIDRSet",
      "except",
      "endPort",
      "NotIn",
      "DoesNotExist",
      '"SCTP"',
      '"ANY"',
      "[{}]",
    ])
      expect(text).toContain(word);
  });

  it("lets pass in an overlay's namespace what they mean, and nothing else", { timeout: 300_000 }, async () => {
    const wrong: string[] = [];
    let probed = 0;
    for (const policies of sets) {
      await inRouter(guardScript(overlaySpec(policies)).text);
      const found = await differences(policies);
      probed += found.probed;
      wrong.push(...found.wrong);
    }
    await inRouter(guardScript(overlaySpec([])).text);
    expect(wrong.slice(0, 3), `${wrong.length} of ${probed}`).toEqual([]);
    expect(probed).toBe(setCount * systems.length * (places.length - 1) * packets.length);
  });

  it("lets pass on a bridge what they mean, and nothing else", { timeout: 300_000 }, async () => {
    await inRouter("for key in iptables ip6tables; do echo 1 >/proc/sys/net/bridge/bridge-nf-call-$key; done");
    const wrong: string[] = [];
    let probed = 0;
    for (const policies of sets) {
      await inRouter(objectScript(bridgeFilter(policies), owner), "ensure");
      const found = await differences(policies);
      probed += found.probed;
      wrong.push(...found.wrong);
    }
    expect(wrong.slice(0, 3), `${wrong.length} of ${probed}`).toEqual([]);
  });

  it("sees a rule that is missing", async () => {
    const policies: Policy[] = [{ endpointSelector: { matchLabels: { app: "a" } }, ingress: [{}] }];
    await inRouter(objectScript(bridgeFilter([]), owner), "ensure");
    expect((await differences(policies)).wrong.length).toBeGreaterThan(0);
  });
});
