/** What keeps the systems of other tenants away from a bridge, as rules of iptables and of nft, spelled as both print them. Pure. */
import type { Family } from "../../net/cidr";
import type { NetfilterPolicy } from "../../net/policy/netfilter";

export interface FilterSpec {
  /** The chain's (iptables) and table's (nft) name. */
  readonly chain: string;
  readonly variant: "iptables" | "iptables-legacy" | "nft";
  /** The server's device to the systems. */
  readonly device: string;
  /** The way to the other servers. */
  readonly uplink: string;
  /** Devices by which the tenant's own packets come. */
  readonly inputs: readonly string[];
  /** What may come by those of them that are the tenant's other networks here; by the others, all that is the tenant's. */
  readonly sources: Readonly<Record<string, readonly string[]>>;
  /** Those of them whose network has a chain of its own beside this one, which has the last word on what goes there. */
  readonly decided: readonly string[];
  readonly ipv4: FilterPrefixes;
  readonly ipv6: FilterPrefixes;
  /** Everything outside may be reached, from the server's own address. */
  readonly masquerade: boolean;
  /** What reaches the systems is looked at by policies first, on the bridge too (iptables). */
  readonly policy?: { readonly bridge: string } & Readonly<Record<Family, NetfilterPolicy>>;
}

export const policyChain = (chain: string): string => chain.replace(/^FF-/, "FP-");

export const filterTool = (variant: FilterSpec["variant"], family: Family): string =>
  `${family === "ipv4" ? "iptables" : "ip6tables"}${variant === "iptables-legacy" ? "-legacy" : ""}`;

export interface FilterPrefixes {
  /** This device's prefix, if it has one in the family. */
  readonly own: string | null;
  /** All prefixes of the tenant's networks that the servers route. */
  readonly tenant: readonly string[];
  /** Prefixes of other tenants. */
  readonly foreign: readonly string[];
  /** Addresses of the other servers that route the tenant's networks, and say by ICMP where a packet could not go on. */
  readonly routers: readonly string[];
}

/** What a router says by ICMP of a packet that could not go on, by the names of nft and the numbers of iptables. */
const icmpErrors: Readonly<Record<Family, Readonly<Record<string, number>>>> = {
  ipv4: { "destination-unreachable": 3, "time-exceeded": 11 },
  ipv6: { "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3 },
};

interface Rule {
  /** A prefix, or an address. */
  readonly source?: string;
  readonly notSource?: string;
  readonly destination?: string;
  readonly input?: string;
  readonly output?: string;
  readonly reply?: boolean;
  /** One of icmpErrors. */
  readonly error?: string;
  readonly verdict: "ACCEPT" | "DROP" | "RETURN";
}

function rulesOf(spec: FilterSpec, family: Family): Rule[] {
  const { device, uplink, inputs, sources, decided, masquerade } = spec;
  const { own, tenant, foreign, routers } = spec[family];
  // What stays on the bridge passes here too where bridge-nf-call-iptables is on; it is one network's.
  const within: Rule = { input: device, output: device, verdict: "ACCEPT" };
  if (own === null) return [within, { input: device, verdict: "DROP" }, { output: device, verdict: "DROP" }];
  return [
    within,
    // No system may send as another: what the other side accepts by source is true.
    { notSource: own, input: device, verdict: "DROP" },
    ...(masquerade ? [{ output: device, reply: true, verdict: "ACCEPT" } as const] : []),
    ...inputs.flatMap((input) =>
      (sources[input]?.filter((text) => text.includes(":") === (family === "ipv6")) ?? tenant).map((source): Rule => ({
        source,
        input,
        output: device,
        verdict: "ACCEPT",
      })),
    ),
    // Without them a sender does not learn the path's MTU. Systems cannot send as servers.
    ...routers.flatMap((source) =>
      Object.keys(icmpErrors[family]).map((error): Rule => ({ source, input: uplink, output: device, error, verdict: "ACCEPT" })),
    ),
    { output: device, verdict: "DROP" },
    ...decided.map((output): Rule => ({ input: device, output, verdict: "RETURN" })),
    ...tenant.map((destination): Rule => ({ destination, input: device, verdict: "ACCEPT" })),
    ...(masquerade ? foreign.map((destination): Rule => ({ destination, input: device, verdict: "DROP" })) : []),
    { input: device, verdict: masquerade ? "ACCEPT" : "DROP" },
  ];
}

/** The rules of the policies' own chain. */
export function policyRules({ chain, policy }: FilterSpec, family: Family): string[] {
  return (policy?.[family].rules ?? []).map((rule) => `-A ${policyChain(chain)} ${rule}`);
}

/** In the order in which `iptables -S` prints. */
export function iptablesRules(spec: FilterSpec, family: Family): string[] {
  const { chain, policy } = spec;
  const first = policy === undefined ? [] : [`-A ${chain} -o ${policy.bridge} -j ${policyChain(chain)}`];
  return [...first, ...tenantRules(spec, family)];
}

function tenantRules(spec: FilterSpec, family: Family): string[] {
  return rulesOf(spec, family).map((rule) => {
    const words = ["-A", spec.chain];
    if (rule.notSource !== undefined) words.push("!", "-s", rule.notSource);
    if (rule.source !== undefined)
      words.push("-s", rule.source.includes("/") ? rule.source : `${rule.source}/${family === "ipv4" ? 32 : 128}`);
    if (rule.destination !== undefined) words.push("-d", rule.destination);
    if (rule.input !== undefined) words.push("-i", rule.input);
    if (rule.output !== undefined) words.push("-o", rule.output);
    if (rule.error !== undefined) {
      const [protocol, module, option] = family === "ipv4" ? ["icmp", "icmp", "--icmp-type"] : ["ipv6-icmp", "icmp6", "--icmpv6-type"];
      words.push("-p", protocol, "-m", module, option, String(icmpErrors[family][rule.error]));
    }
    if (rule.reply === true) words.push("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED");
    return [...words, "-j", rule.verdict].join(" ");
  });
}

export function iptablesMasquerade(spec: FilterSpec, family: Family): string[] {
  const { own } = spec[family];
  return spec.masquerade && own !== null ? [`-A ${spec.chain} -s ${own} ! -o ${spec.device} -j MASQUERADE`] : [];
}

/** In the form in which `nft list` prints. */
export function nftRules(spec: FilterSpec): string[] {
  return (["ipv4", "ipv6"] as const).flatMap((family) =>
    rulesOf(spec, family).map((rule) => {
      const ip = family === "ipv4" ? "ip" : "ip6";
      const words: string[] = [];
      const addressed = [rule.source, rule.notSource, rule.destination].some((prefix) => prefix !== undefined);
      if (!addressed) words.push(`meta nfproto ${family}`);
      if (rule.input !== undefined) words.push(`iifname "${rule.input}"`);
      if (rule.output !== undefined) words.push(`oifname "${rule.output}"`);
      if (rule.notSource !== undefined) words.push(`${ip} saddr != ${rule.notSource}`);
      if (rule.source !== undefined) words.push(`${ip} saddr ${rule.source}`);
      if (rule.destination !== undefined) words.push(`${ip} daddr ${rule.destination}`);
      if (rule.error !== undefined) words.push(`${family === "ipv4" ? "icmp" : "icmpv6"} type ${rule.error}`);
      if (rule.reply === true) words.push("ct state established,related");
      return [...words, rule.verdict.toLowerCase()].join(" ");
    }),
  );
}

export function nftMasquerade(spec: FilterSpec): string[] {
  if (!spec.masquerade) return [];
  return (["ipv4", "ipv6"] as const).flatMap((family) => {
    const { own } = spec[family];
    return own === null ? [] : [`oifname != "${spec.device}" ${family === "ipv4" ? "ip" : "ip6"} saddr ${own} masquerade`];
  });
}
