/** A filter chain of ours in the server's FORWARD, replaced at once when it changes. */
import { sections } from "../json";
import type { ObjectType, Properties } from "../objectType";
import { nothing, type Script, sh } from "../sh";
import { families, type Family } from "../../net/cidr";
import { setPrefixOf } from "../../net/policy/netfilter";
import {
  type FilterSpec,
  filterTool,
  iptablesMasquerade,
  iptablesRules,
  nftMasquerade,
  nftRules,
  policyChain,
  policyRules,
} from "./filterRules";
import { dropSets, foundSets, listSets, putSets, wantedSets } from "./policySets";

const tool = ({ variant }: FilterSpec, family: Family): string => filterTool(variant, family);

function hooks(spec: FilterSpec, family: Family): { table: string; hook: string; rules: string[] }[] {
  const masquerade = iptablesMasquerade(spec, family);
  return [
    { table: "filter", hook: "FORWARD", rules: iptablesRules(spec, family) },
    { table: "nat", hook: "POSTROUTING", rules: masquerade },
  ];
}

/** nft's name of a table that iptables keeps there where it is built on nf_tables. */
function nftTable(family: Family, table: string): string {
  return `${family === "ipv4" ? "ip" : "ip6"} ${table}`;
}

/** iptables on nf_tables makes its tables at the first rule and never takes them away; those that it made for us go when they are empty. */
const tables = sh`
  uses_nft() { case $("$1" -V) in *nf_tables*) command -v nft >/dev/null ;; *) return 1 ;; esac; }
  remember() {
    if uses_nft "$1" && ! nft list table $2 >/dev/null 2>&1; then save "table.$(printf '%s' "$2" | tr ' ' .)" made; fi
  }
  drop_empty() {
    mark="table.$(printf '%s' "$2" | tr ' ' .)"
    if [ -e "$folder/saved/$mark" ] && uses_nft "$1"; then
      listed=$(nft list table $2 2>/dev/null | sed -E '/^table |^\t?\}|^$|^\tchain [A-Z]+ \{|^\t\ttype .*policy accept;$/d')
      if [ -z "$listed" ]; then
        if nft list table $2 >/dev/null 2>&1; then nft delete table $2; fi
        forget "$mark"
      fi
    fi
  }
`;

/** Chains and tables have no place for a mark. */
const mark = (spec: FilterSpec): string => `filter.${spec.variant}.${spec.chain}`;

function removeIptables(spec: FilterSpec): Script {
  return sh`
    chain=${spec.chain}
    ${tables}
    ${dropPolicy}
    drop() {
      if ! command -v "$1" >/dev/null; then return 0; fi
      if "$1" -w -t "$2" -S "$chain" >/dev/null 2>&1; then
        while "$1" -w -t "$2" -C "$3" -j "$chain" 2>/dev/null; do "$1" -w -t "$2" -D "$3" -j "$chain"; done
        "$1" -w -t "$2" -F "$chain"
        "$1" -w -t "$2" -X "$chain"
      fi
      drop_policy "$1"
      drop_empty "$1" "$4"
    }
    ${families.flatMap((family) =>
      hooks(spec, family).map(({ table, hook }) => sh`drop ${tool(spec, family)} ${table} ${hook} ${nftTable(family, table)}`),
    )}
    ${dropSets(setPrefixOf(spec.chain))}
  `;
}

/** The policies' chain of this chain, which nothing leads to any more. */
const dropPolicy = sh`
  drop_policy() {
    policy=FP-\${chain#FF-}
    if "$1" -w -S "$policy" >/dev/null 2>&1; then "$1" -w -F "$policy"; "$1" -w -X "$policy"; fi
  }
`;

/** What one iptables-restore puts in place of what is there: the chain, and the policies' own before it. */
function tableText(spec: FilterSpec, family: Family, table: string, rules: readonly string[]): string {
  const own = spec.policy === undefined || table !== "filter" ? [] : [`:${policyChain(spec.chain)} - [0:0]`, ...policyRules(spec, family)];
  return [...own, ...rules].join("\n");
}

const setsOf = ({ policy }: FilterSpec) => (policy === undefined ? [] : families.flatMap((family) => policy[family].sets));

function ensureIptables(spec: FilterSpec): Script {
  const chains = families.flatMap((family) => hooks(spec, family).map(({ table }): [string, string] => [tool(spec, family), table]));
  return sh`
    chain=${spec.chain}
    ${tables}
    put() {
      remember "$1" "$4"
      printf '%s\n' "*$2" ":$chain - [0:0]" "$5" COMMIT | "$1-restore" --noflush --wait
      "$1" -w -t "$2" -C "$3" -j "$chain" 2>/dev/null || "$1" -w -t "$2" -I "$3" 1 -j "$chain"
    }
    command -v ${tool(spec, "ipv4")} >/dev/null || fail ${`${tool(spec, "ipv4")}: not on this server; install the package iptables or choose another filter`}
    there() { ${chains.flatMap(([of, table]) => [sh`if ${of} -w -t ${table} -S "$chain"; then return 0; fi`])}; return 1; }
    own_name ${mark(spec)} "$chain: there is a chain of iptables" there
    ${putSets(setsOf(spec))}
    ${families.flatMap((family) =>
      hooks(spec, family).flatMap(({ table, hook, rules }) =>
        rules.length === 0
          ? []
          : // One word with line ends: a preview shows which rule changes.
            [sh`put ${tool(spec, family)} ${table} ${hook} ${nftTable(family, table)} ${tableText(spec, family, table, rules)}`],
      ),
    )}
    ${
      spec.policy === undefined
        ? sh`${dropPolicy}
${families.map((family) => sh`drop_policy ${tool(spec, family)}`)}`
        : nothing
    }
    ${dropSets(setPrefixOf(spec.chain), setsOf(spec))}
  `;
}

function ensureNft(spec: FilterSpec): Script {
  const lines = [
    `add table inet ${spec.chain}`,
    `delete table inet ${spec.chain}`,
    `table inet ${spec.chain} {`,
    "chain forward {",
    "type filter hook forward priority filter; policy accept;",
    ...nftRules(spec),
    "}",
    "chain postrouting {",
    "type nat hook postrouting priority srcnat; policy accept;",
    ...nftMasquerade(spec),
    "}",
    "}",
  ];
  return sh`
    command -v nft >/dev/null || fail "nft: not on this server; install the package nftables or choose another filter"
    own_name ${mark(spec)} ${`${spec.chain}: there is a table of nft (inet)`} nft list table inet ${spec.chain}
    printf '%s\n' ${lines.join("\n")} | nft -f -
  `;
}

export const filter: ObjectType<FilterSpec> = {
  type: "filter",
  identity: (spec) => [spec.chain, spec.variant],
  // Another variant has tables of its own; in between both filter.
  createBeforeDelete: true,
  ensure: (spec) => (spec.variant === "nft" ? ensureNft(spec) : ensureIptables(spec)),
  remove: (spec) => sh`
    if [ -e "$folder/saved/"${mark(spec)} ]; then
      ${spec.variant === "nft" ? sh`if command -v nft >/dev/null && nft list table inet ${spec.chain} >/dev/null 2>&1; then nft delete table inet ${spec.chain}; fi` : removeIptables(spec)}
      forget ${mark(spec)}
    fi
  `,
  check: (spec) =>
    spec.variant === "nft"
      ? sh`
        if nft list table inet ${spec.chain} >/dev/null 2>&1; then
          echo "=== forward"; nft list chain inet ${spec.chain} forward
          echo "=== postrouting"; nft list chain inet ${spec.chain} postrouting
        fi
      `
      : sh`
        show() {
          if "$1" -w -t "$2" -S ${spec.chain} >/dev/null 2>&1; then
            echo "=== $1 $2"; "$1" -w -t "$2" -S ${spec.chain} 2>/dev/null
            if "$1" -w -t "$2" -C "$3" -j ${spec.chain} 2>/dev/null; then echo "hooked"; fi
          fi
        }
        ${
          spec.policy === undefined
            ? nothing
            : sh`
          for tool in ${families.map((family) => tool(spec, family))}; do
            echo "=== $tool policies"; "$tool" -w -S ${policyChain(spec.chain)} 2>/dev/null || :
          done
          echo "=== sets"; ${listSets(setPrefixOf(spec.chain))}
        `
        }
        ${families.flatMap((family) => hooks(spec, family).map(({ table, hook }) => sh`show ${tool(spec, family)} ${table} ${hook}`))}
      `,
  wanted: (spec): Properties => {
    if (spec.variant === "nft") return { rules: nftRules(spec), masquerade: nftMasquerade(spec) };
    const lists = families.flatMap((family) =>
      hooks(spec, family).map(({ table, rules }) => [`${tool(spec, family)} ${table}`, rules.length === 0 ? [] : [...rules, "hooked"]]),
    );
    const policies =
      spec.policy === undefined
        ? []
        : [...families.map((family) => [`${tool(spec, family)} policies`, policyRules(spec, family)]), ["sets", wantedSets(setsOf(spec))]];
    return Object.fromEntries([...lists, ...policies]);
  },
  found: (output, spec) => {
    const parts = sections(output);
    if (parts.size === 0) return undefined;
    const lines = (text: string | undefined): string[] =>
      (text ?? "")
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean);
    if (spec.variant === "nft") {
      const rules = (text: string | undefined): string[] => lines(text).filter((line) => !/^(table|chain|type|})/.test(line));
      return { rules: rules(parts.get("forward")), masquerade: rules(parts.get("postrouting")) };
    }
    const lists = families.flatMap((family) =>
      hooks(spec, family).map(({ table }) => {
        const name = `${tool(spec, family)} ${table}`;
        return [name, lines(parts.get(name)).filter((line) => !line.startsWith("-N "))];
      }),
    );
    const policies = families.map((family) => {
      const name = `${tool(spec, family)} policies`;
      return [name, lines(parts.get(name)).filter((line) => !line.startsWith("-N "))];
    });
    // Sets and policies alone are no filter.
    if (lists.every(([, found]) => found?.length === 0)) return undefined;
    return Object.fromEntries([...lists, ...policies, ["sets", foundSets(parts.get("sets"))]]);
  },
};
