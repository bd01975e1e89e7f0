/**
 * What stands in an overlay's own network namespace on a server: the rules of policies, or none and no way through iptables at
 * all. One script settles it, which the agent runs too: whenever the namespace is a new one, and before a system is let in.
 */
import { createHash } from "node:crypto";
import { type NetfilterPolicy, setsText } from "../../net/policy/netfilter";
import { sections } from "../json";
import type { ObjectType, Owner, Properties } from "../objectType";
import { nothing, type Script, sh } from "../sh";
import { tagged } from "./guardRules";
import { dropKindFile, kindFile, putKindFile } from "./kindFile";
import { dropSets, foundSets, listSets, putSets, wantedSets } from "./policySets";
import { guardLeaf, overlayNamespace } from "./swarm";

export interface OverlaySpec {
  readonly dockerNetwork: string;
  readonly variant: "iptables" | "iptables-legacy";
  readonly setPrefix: string;
  /** None: nothing is looked at. */
  readonly policy?: NetfilterPolicy;
  /** Of VXLAN's and the systems' ends, by ethtool's names, where they are not the kernel's own. */
  readonly offloads: Readonly<Record<string, boolean>>;
}

const tool = ({ variant }: OverlaySpec): string => variant;
const tool6 = ({ variant }: OverlaySpec): string => variant.replace("iptables", "ip6tables");

/** Its name tells which rules these are: those that stand already keep their counters. */
const chainOf = (policy: NetfilterPolicy): string =>
  `FF-${createHash("sha256")
    .update([...setsText(policy.sets), ...policy.rules].join("\n"))
    .digest("hex")
    .slice(0, 16)}`;

/** As `iptables -S` prints them. */
function forwardRules(policy: NetfilterPolicy): string[] {
  const chain = chainOf(policy);
  return [
    "-P INPUT ACCEPT",
    "-P FORWARD DROP",
    "-P OUTPUT ACCEPT",
    `-N ${chain}`,
    `-A FORWARD -j ${chain}`,
    ...policy.rules.map((rule) => `-A ${chain} ${rule}`),
  ];
}

function tableText(policy: NetfilterPolicy): string {
  const chain = chainOf(policy);
  return [
    "*filter",
    ":INPUT ACCEPT [0:0]",
    ":FORWARD DROP [0:0]",
    ":OUTPUT ACCEPT [0:0]",
    `:${chain} - [0:0]`,
    `-A FORWARD -j ${chain}`,
    ...policy.rules.map((rule) => `-A ${chain} ${rule}`),
    "COMMIT",
  ].join("\n");
}

const openTable = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", "COMMIT"].join("\n");

/** Rules see no further than a VLAN tag, and nobody's systems need one: one table in the overlay's own namespace. */
const taggedTable = "bridge flipflap";
const noTags = [
  `table ${taggedTable} {`,
  `chain prerouting { type filter hook prerouting priority dstnat - 10; policy accept; ${tagged} drop; }`,
  "}",
].join("\n");

const bridgeNetfilter = (on: boolean): Script =>
  sh`for key in iptables ip6tables arptables; do echo ${on ? 1 : 0} >/proc/sys/net/bridge/bridge-nf-call-$key; done`;

/** Runs in the overlay's network namespace with the server's files. */
export function guardScript(spec: OverlaySpec): Script {
  const { policy, offloads } = spec;
  const features = Object.entries(offloads).map(([name, on]) => `${name} ${on ? "on" : "off"}`);
  const settle =
    policy === undefined
      ? sh`
        ${bridgeNetfilter(false)}
        if ${tool(spec)} -w -S FORWARD 2>/dev/null | grep -q 'P FORWARD DROP'; then
          for each in ${[tool(spec), tool6(spec)]}; do printf '%s\n' ${openTable} | "$each-restore" --wait; done
          ${dropSets(spec.setPrefix)}
          if nft list table ${taggedTable.split(" ")} >/dev/null 2>&1; then nft delete table ${taggedTable.split(" ")}; fi
        fi
      `
      : sh`
        ${bridgeNetfilter(true)}
        nft list table ${taggedTable.split(" ")} >/dev/null 2>&1 || printf '%s\n' ${noTags} | nft -f -
        # No systems of this network have IPv6.
        ${tool6(spec)} -w -P FORWARD DROP
        if ! ${tool(spec)} -w -S FORWARD 2>/dev/null | grep -qx -e ${`-A FORWARD -j ${chainOf(policy)}`}; then
          ${putSets(policy.sets)}
          printf '%s\n' ${tableText(policy)} | ${`${tool(spec)}-restore`} --wait
          ${dropSets(spec.setPrefix, policy.sets)}
        fi
      `;
  return sh`
    set -eu
    ${settle}
    ${
      features.length === 0
        ? nothing
        : sh`
          for device in $(ip -o link show | awk -F '[ :@]+' '$2 != "lo" { print $2 }'); do
            ${features.map((words) => sh`ethtool -K "$device" ${words.split(" ")} >/dev/null 2>&1 || :`)}
          done
        `
    }
  `;
}

const inNamespace = (spec: OverlaySpec, text: Script): Script => sh`
  ${overlayNamespace}
  namespace=$(overlay_namespace ${spec.dockerNetwork})
  if [ -n "$namespace" ]; then ${text}; fi
`;

export const overlay: ObjectType<OverlaySpec> = {
  type: "overlay",
  identity: ({ dockerNetwork }) => [dockerNetwork],
  ensure: (spec, owner) => sh`
    ${putKindFile(owner, guardLeaf(spec.dockerNetwork), guardScript(spec).text)}
    ${inNamespace(spec, sh`nsenter --net="$namespace" sh "$file"`)}
  `,
  // The namespace goes with the last that is in the network.
  remove: ({ dockerNetwork }, owner) => sh`
    ${dropKindFile(owner, guardLeaf(dockerNetwork))}
    prune
  `,
  check: (spec, owner: Owner) =>
    inNamespace(
      spec,
      sh`
      echo "=== bridge"; nsenter --net="$namespace" cat /proc/sys/net/bridge/bridge-nf-call-iptables
      echo "=== guard"; if [ -e ${kindFile(owner, guardLeaf(spec.dockerNetwork))} ]; then echo present; fi
      ${
        spec.policy === undefined
          ? nothing
          : sh`
            echo "=== rules"; nsenter --net="$namespace" ${tool(spec)} -w -S
            echo "=== ipv6"; nsenter --net="$namespace" ${tool6(spec)} -w -S FORWARD
            echo "=== tags"; nsenter --net="$namespace" nft list table ${taggedTable.split(" ")} 2>/dev/null | grep -c drop || :
            echo "=== sets"; nsenter --net="$namespace" sh -c ${listSets(spec.setPrefix).text}
          `
      }
    `,
    ),
  wanted: (spec): Properties => ({
    throughIptables: spec.policy !== undefined,
    guard: "present",
    ...(spec.policy !== undefined && {
      rules: forwardRules(spec.policy),
      ipv6: ["-P FORWARD DROP"],
      dropsTagged: true,
      sets: wantedSets(spec.policy.sets),
    }),
  }),
  found: (output) => {
    const parts = sections(output);
    if (!parts.has("bridge")) return undefined;
    const lines = (name: string): string[] => (parts.get(name) ?? "").split("\n").filter(Boolean);
    return {
      throughIptables: parts.get("bridge")?.trim() === "1",
      guard: parts.get("guard")?.trim() ?? "",
      rules: lines("rules"),
      ipv6: lines("ipv6"),
      dropsTagged: parts.get("tags")?.trim() === "1",
      sets: foundSets(parts.get("sets")),
    };
  },
};
