/** Policies resolved and compiled, beside what they mean (tests/support/policyTruth.ts). */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../components/net/cidr";
import { compileCilium, exactly } from "../../components/net/policy/cilium";
import { compileNetfilter, setsText } from "../../components/net/policy/netfilter";
import { allows, resolvePolicies } from "../../components/net/policy/resolve";
import { matches, selectorText } from "../../components/net/policy/selector";
import type { Policy } from "../../components/net/policy/types.gen";
import { generatePolicies, labelSets, mayArrive, packets } from "../support/policyTruth";

const endpoints = labelSets.map((labels, i) => ({ system: `s${i}`, labels }));
const resolved = (policies: readonly Policy[]) => resolvePolicies([{ path: "policies/p.json", policies }], endpoints, endpoints);
const addresses = new Map(endpoints.map(({ system }, i) => [system, [parseAddress(`10.9.0.${i + 1}`)!]]));
const everyone = endpoints.map(({ system }) => system);
const compiled = (policies: readonly Policy[], here = everyone) =>
  compileNetfilter({
    family: "ipv4",
    setPrefix: "ff-",
    policy: resolved(policies),
    addresses,
    here: new Set(here),
    members: everyone,
    pass: "ACCEPT",
  });

describe("resolved policies", () => {
  it("allow between systems what they mean: 500 generated sets", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const policies = generatePolicies(seed, ["10.9.0.0/24", "0.0.0.0/0", "10.9.0.8/29"]);
      const own = resolved(policies);
      for (const to of endpoints)
        for (const from of endpoints)
          for (const { protocol, port } of packets) {
            const asked = protocol === "icmp" ? undefined : { protocol, number: port };
            const may = mayArrive(policies, to.labels, { labels: from.labels }, { protocol, port });
            if (allows(own, from.system, to.system, asked) !== may)
              expect.fail(`${seed}: ${from.system} to ${to.system} ${protocol}/${port}`);
          }
    }
  });

  it("have a name and a path for every rule, each its own", () => {
    const policies: Policy[] = [
      { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: 80 }, { port: 81, protocol: "TCP" }] }] }, { fromEndpoints: [{}] }] },
    ];
    const { rules } = resolved(policies);
    expect(rules.map(({ id, path }) => `${id} ${path}`)).toEqual([
      "p-0-0-0-0-tcp policies/p.json[0].ingress[0].toPorts[0].ports[0]",
      "p-0-0-0-0-udp policies/p.json[0].ingress[0].toPorts[0].ports[0]",
      "p-0-0-0-0-sctp policies/p.json[0].ingress[0].toPorts[0].ports[0]",
      "p-0-0-0-1-tcp policies/p.json[0].ingress[0].toPorts[0].ports[1]",
      "p-0-1 policies/p.json[0].ingress[1]",
    ]);
  });

  it("say selectors in words", () => {
    expect(selectorText({})).toBe("all systems");
    expect(selectorText({ matchLabels: { a: "b", c: "" }, matchExpressions: [{ key: "d", operator: "NotIn", values: ["e", "f"] }] })).toBe(
      "a=b, c, d not in (e, f)",
    );
    expect(matches({ matchLabels: { "any:a": "b" } }, { a: "b" })).toBe(true);
  });
});

describe("rules of iptables", () => {
  const policies: Policy[] = [
    {
      endpointSelector: { matchLabels: { app: "a" } },
      ingress: [
        { fromEndpoints: [{ matchLabels: { app: "b" } }], toPorts: [{ ports: [{ port: "80", endPort: 89, protocol: "TCP" }] }] },
        { fromCIDRSet: [{ cidr: "0.0.0.0/0", except: ["10.9.1.0/24"] }] },
      ],
    },
  ];

  it("are spelled as iptables prints them", () => {
    const { sets, rules } = compiled(policies);
    const named = rules.map((rule) => rule.replace(/ff-[0-9a-f]{10}/g, (name) => `S${sets.findIndex((set) => set.name === name)}`));
    expect(named).toEqual([
      "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
      "-m set --match-set S3 dst -j ACCEPT",
      "-p tcp -m set --match-set S0 src -m set --match-set S1 dst -m tcp --dport 80:89 -m comment --comment p-0-0-0-0-tcp -j ACCEPT",
      "-m set --match-set S2 src -m set --match-set S1 dst -m comment --comment p-0-1 -j ACCEPT",
      "-d 10.9.0.1/32 -m comment --comment denied-s0 -j DROP",
      "-d 10.9.0.2/32 -m comment --comment denied-s1 -j DROP",
      "-m comment --comment denied-nobody -j DROP",
    ]);
    const text = setsText(sets);
    expect(text.some((line) => / 0\.0\.0\.0\/1$/.test(line))).toBe(true);
    expect(text.some((line) => / 10\.9\.1\.0\/24 nomatch$/.test(line))).toBe(true);
    expect(text.filter((line) => / 10\.9\.0\.\d nomatch$/.test(line))).toHaveLength(endpoints.length);
  });

  it("are none where nobody here is protected, and the same whatever the order of systems", () => {
    expect(compiled(policies, ["s2", "s5"])).toEqual({ sets: [], rules: [] });
    expect(compiled(policies, [...everyone].reverse())).toEqual(compiled(policies));
  });

  it("have no limit", () => {
    const many: Policy[] = [
      {
        endpointSelector: {},
        ingress: [{ toPorts: [{ ports: Array.from({ length: 5000 }, (_, i) => ({ port: i + 1, protocol: "TCP" as const })) }] }],
      },
    ];
    expect(compiled(many).rules.length).toBeGreaterThan(5000);
  });
});

describe("what Cilium imports", () => {
  it("splits what is more than it takes in one list of ports", () => {
    const ports = Array.from({ length: 95 }, (_, i) => ({ port: i + 1, protocol: "TCP" as const }));
    const [policy] = compileCilium([{ path: "p.json", policies: [{ endpointSelector: {}, ingress: [{ toPorts: [{ ports }] }] }] }]);
    const [ingress] = (policy?.ingress ?? []) as { toPorts: { ports: unknown[] }[] }[];
    expect(ingress?.toPorts.map((one) => one.ports.length)).toEqual([40, 40, 15]);
  });

  it("means systems alone where a selector asks for the lack of a label", () => {
    const policies: Policy[] = [
      { endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchExpressions: [{ key: "app", operator: "DoesNotExist" }] }] }] },
    ];
    expect(JSON.stringify(compileCilium([{ path: "p.json", policies }]))).toContain('{"key":"reserved:world","operator":"DoesNotExist"}');
  });

  it("knows the systems that have these labels and no others", () => {
    const selector = exactly({ app: "a" }, ["app", "env"]);
    const plain = JSON.parse(JSON.stringify(selector).replaceAll("container:", "")) as typeof selector;
    expect(labelSets.filter((labels) => matches(plain, labels))).toEqual([{ app: "a" }]);
  });
});
