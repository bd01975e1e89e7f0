/**
 * Resolved policies as ipsets and rules of iptables, spelled as `ipset save` and `iptables -S` print them. A set's name holds a
 * hash of what is in it: new sets stand beside the old ones, one iptables-restore goes over to them, and the old ones go. Pure.
 */
import { createHash } from "node:crypto";
import { type Address, type Family, formatAddress, formatPrefix, parsePrefix, widthBits } from "../cidr";
import { hash32 } from "../names";
import type { AllowRule, PortRange, ResolvedPolicy, Source } from "./resolve";

/** Sets whose names begin so are one owner's and no other's: 11 characters. */
export const setPrefixOf = (owner: string): string => `ff${hash32(owner).toString(16).padStart(8, "0")}-`;

export interface IpSet {
  readonly name: string;
  readonly family: Family;
  /** Of hash:net; `! ` before what is left out. */
  readonly entries: readonly string[];
}

export interface NetfilterPolicy {
  readonly sets: readonly IpSet[];
  /** Of one chain, without `-A CHAIN`. */
  readonly rules: readonly string[];
}

export interface NetfilterInput {
  readonly family: Family;
  /** Sets of this network and no other begin with it: up to 20 characters. */
  readonly setPrefix: string;
  readonly policy: ResolvedPolicy;
  /** Of every system that can be a source or a destination: its addresses. */
  readonly addresses: ReadonlyMap<string, readonly Address[]>;
  /** The network's systems that are protected here; other servers protect theirs. */
  readonly here: ReadonlySet<string>;
  /** All of the network's systems. */
  readonly members: readonly string[];
  /** What becomes of a packet that may pass: ACCEPT, or RETURN to the rules that follow. */
  readonly pass: "ACCEPT" | "RETURN";
}

/** The comment of the rule that counts what a system was spared. */
export const deniedComment = (system: string): string => `denied-${system}`;
/** Of what is for no system of the network: broadcast, multicast, addresses that nobody has. */
export const nobodyComment = "denied-nobody";

const maxEntryCount = 65536;
/** A set of this size does not matter to the kernel; beyond, it is told. */
const setSize = (entries: readonly string[]): number => Math.max(maxEntryCount, entries.length * 2);

const setCreation = ({ name, family, entries }: IpSet): string =>
  `create ${name} hash:net family ${family === "ipv4" ? "inet" : "inet6"} maxelem ${setSize(entries)}`;

/** A single address stands without its length. */
function entryText({ name, family }: IpSet, entry: string): string {
  const prefix = entry.replace(/^! /, "").replace(family === "ipv4" ? /\/32$/ : /\/128$/, "");
  return `add ${name} ${prefix}${entry.startsWith("! ") ? " nomatch" : ""}`;
}

export const setEntries = (set: IpSet): string[] => set.entries.map((entry) => entryText(set, entry));

/** As `ipset restore` takes them, for people. */
export const setsText = (sets: readonly IpSet[]): string[] => sets.flatMap((set) => [setCreation(set), ...setEntries(set)]);

/** For `ipset restore -exist`: each set is filled beside the one that is there, and swapped for it, so that nothing else is in it. */
export const setsSwap = (sets: readonly IpSet[]): string[] =>
  sets.flatMap((set) => {
    const beside = { ...set, name: `${set.name}.new` };
    return [
      setCreation(set),
      setCreation(beside),
      `flush ${beside.name}`,
      ...setEntries(beside),
      `swap ${beside.name} ${set.name}`,
      `destroy ${beside.name}`,
    ];
  });

class Sets {
  readonly all = new Map<string, IpSet>();
  constructor(
    private readonly prefix: string,
    private readonly family: Family,
  ) {}

  /** A match by one of the entries: by itself where it is one, by a set where they are more; undefined where nothing can match. */
  match(entries: readonly string[], direction: "src" | "dst"): { readonly address?: string; readonly set?: string } | undefined {
    const all = new Set(entries);
    // The same prefix cannot be in and out.
    const sorted = [...all].filter((entry) => !all.has(`! ${entry}`)).sort();
    if (sorted.every((entry) => entry.startsWith("! "))) return undefined;
    const [first] = sorted;
    if (sorted.length === 1) return { address: `${direction === "src" ? "-s" : "-d"} ${first}` };
    const hash = createHash("sha256")
      .update(`${this.family} ${sorted.join(" ")}`)
      .digest("hex")
      .slice(0, 10);
    const name = `${this.prefix}${hash}`;
    this.all.set(name, { name, family: this.family, entries: sorted });
    return { set: `-m set --match-set ${name} ${direction}` };
  }
}

const portText = ({ protocol, first, last }: PortRange): string => `-m ${protocol} --dport ${first === last ? first : `${first}:${last}`}`;

function addressEntries(systems: readonly string[], { addresses, family }: NetfilterInput): string[] {
  const width = family === "ipv4" ? 4 : 6;
  return systems.flatMap((system) =>
    (addresses.get(system) ?? []).flatMap((address) => (address.family === width ? [`${formatAddress(address)}/${widthBits[width]}`] : [])),
  );
}

/** hash:net takes no prefix of length 0: its halves do. */
function halves(prefix: string): string[] {
  if (prefix === "0.0.0.0/0") return ["0.0.0.0/1", "128.0.0.0/1"];
  return prefix === "::/0" ? ["::/1", "8000::/1"] : [prefix];
}

/** A prefix means what is outside of the testbed, so that the systems' own addresses are left out. */
function prefixEntries(from: Extract<Source, { kind: "prefixes" }>, input: NetfilterInput): string[] {
  const width = input.family === "ipv4" ? 4 : 6;
  const of = (text: string): string[] => {
    const prefix = parsePrefix(text);
    return prefix === undefined || prefix.family !== width ? [] : halves(formatPrefix(prefix));
  };
  const wanted = from.prefixes.flatMap(({ cidr }) => of(cidr));
  if (wanted.length === 0) return [];
  const spared = addressEntries([...input.addresses.keys()], input);
  return [...wanted, ...spared.map((entry) => `! ${entry}`)];
}

/** Prefixes with exceptions do not add up in one set: what one leaves out another may allow. */
function plainAndExcepted(rule: AllowRule): AllowRule[] {
  const { from } = rule;
  if (from.kind !== "prefixes") return [rule];
  const plain = from.prefixes.filter(({ except = [] }) => except.length === 0);
  const excepted = from.prefixes.filter(({ except = [] }) => except.length > 0);
  const only = (prefixes: typeof plain): AllowRule => ({ ...rule, from: { kind: "prefixes", prefixes } });
  return [...(plain.length > 0 ? [only(plain)] : []), ...excepted.map((one) => only([one]))];
}

function ruleText(rule: AllowRule, sets: Sets, input: NetfilterInput): string[] {
  const to = sets.match(
    addressEntries(
      rule.to.filter((system) => input.here.has(system)),
      input,
    ),
    "dst",
  );
  if (to === undefined) return [];
  const sourceEntries =
    rule.from.kind === "anybody"
      ? undefined
      : rule.from.kind === "systems"
        ? addressEntries(rule.from.systems, input)
        : [...prefixEntries(rule.from, input), ...exceptions(rule.from, input)];
  const from = sourceEntries === undefined ? {} : sets.match(sourceEntries, "src");
  if (from === undefined) return [];
  const words = [
    from.address,
    to.address,
    rule.ports === undefined ? undefined : `-p ${rule.ports.protocol}`,
    from.set,
    to.set,
    rule.ports === undefined ? undefined : portText(rule.ports),
    `-m comment --comment ${rule.id} -j ${input.pass}`,
  ];
  return [words.filter((word) => word !== undefined).join(" ")];
}

function exceptions(from: Extract<Source, { kind: "prefixes" }>, { family }: NetfilterInput): string[] {
  const width = family === "ipv4" ? 4 : 6;
  return from.prefixes.flatMap(({ except = [] }) =>
    except.flatMap((text) => {
      const prefix = parsePrefix(text);
      return prefix === undefined || prefix.family !== width ? [] : halves(formatPrefix(prefix)).map((half) => `! ${half}`);
    }),
  );
}

/** Nothing where no system here is protected. */
export function compileNetfilter(input: NetfilterInput): NetfilterPolicy {
  const { policy, here, members, pass, family } = input;
  const protectedHere = policy.selected.filter((system) => here.has(system));
  if (protectedHere.length === 0) return { sets: [], rules: [] };
  const sets = new Sets(input.setPrefix, family);
  const open = members.filter((system) => !protectedHere.includes(system));
  const openMatch = sets.match(addressEntries(open, input), "dst");
  const rules = [
    `-m conntrack --ctstate RELATED,ESTABLISHED -j ${pass}`,
    // Neighbours must be found; a system's own ones only, since the hop limit says that no router was between.
    ...(family === "ipv6"
      ? [133, 134, 135, 136].map((type) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${type} -m hl --hl-eq 255 -j ${pass}`)
      : []),
    ...(openMatch === undefined ? [] : [[openMatch.address, openMatch.set, `-j ${pass}`].filter(Boolean).join(" ")]),
    ...policy.rules.flatMap((rule) => plainAndExcepted(rule).flatMap((one) => ruleText(one, sets, input))),
    ...protectedHere.flatMap((system) =>
      addressEntries([system], input).map((entry) => `-d ${entry} -m comment --comment ${deniedComment(system)} -j DROP`),
    ),
    `-m comment --comment ${nobodyComment} -j DROP`,
  ];
  return { sets: [...sets.all.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), rules };
}
