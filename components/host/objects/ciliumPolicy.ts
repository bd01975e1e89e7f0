/**
 * The policies of a server's Cilium agent, which holds them in memory: one import in the place of all that was there. The script
 * that does it is the network's guard, too: the agent of ours runs it again when Cilium was started anew, before a system is let in.
 */
import { createHash } from "node:crypto";
import type { ObjectType } from "../objectType";
import { takeLock } from "../script";
import { Script, sh } from "../sh";
import { ownContainers } from "../../net/names";
import { dropKindFile, kindFile, putKindFile } from "./kindFile";

export interface CiliumPolicySpec {
  /** Of the script below the folder of kinds. */
  readonly leaf: string;
  /** One policy a line, as Cilium takes it. */
  readonly policies: readonly string[];
}

/** Held for the files alone: others wait for it. */
const lock = new Script(takeLock);

/** Cilium takes five to twenty to answer. */
const startSeconds = 60;

/** In a policy's description: which it is. */
export const policyHash = (policy: string): string => createHash("sha256").update(policy).digest("hex").slice(0, 16);

const described = (policy: string): string => policy.replace(/^\{/, `{"description":"${policyHash(policy)}",`);

const guard = ({ policies }: CiliumPolicySpec): Script => sh`
  set -eu
  printf '%s' ${`[${policies.map(described).join(",\n")}]`} | docker exec -i ${ownContainers.cilium} cilium-dbg policy import --replace - >/dev/null
`;

export const ciliumPolicy: ObjectType<CiliumPolicySpec> = {
  type: "ciliumPolicy",
  identity: ({ leaf }) => [leaf],
  waits: true,
  ensure: (spec, owner) => sh`
    file=${kindFile(owner, spec.leaf)}
    (
      ${lock}
      ${putKindFile(owner, spec.leaf, guard(spec).text)}
    )
    end=$(($(seconds_up) + ${startSeconds}))
    until said=$(sh "$file" 2>&1); do
      # After a power cut it begins when its server's addresses are there.
      case $said in *"Is the agent running?"*) [ "$(seconds_up)" -lt "$end" ] || fail "$said" ;; *) fail "$said" ;; esac
      sleep 0.2
    done
  `,
  remove: ({ leaf }, owner) => sh`
    ${lock}
    ${dropKindFile(owner, leaf)}
    docker exec ${ownContainers.cilium} cilium-dbg policy delete --all >/dev/null 2>&1 || :
    prune
  `,
  check: ({ leaf }, owner) => sh`
    if [ -e ${kindFile(owner, leaf)} ]; then echo guard; fi
    docker exec ${ownContainers.cilium} cilium-dbg policy get 2>/dev/null | grep -E '^    "(description|endpointSelector)": ' || :
  `,
  wanted: ({ policies }) => ({ guard: true, policies: policies.map(policyHash).sort(), count: policies.length }),
  found: (output) => {
    if (output.trim() === "") return undefined;
    const hashes = [...output.matchAll(/"description": "([0-9a-f]{16})"/g)].map(([, hash = ""]) => hash);
    return {
      guard: output.startsWith("guard"),
      policies: hashes.sort(),
      count: output.split("\n").filter((line) => line.includes('"endpointSelector"')).length,
    };
  },
};
