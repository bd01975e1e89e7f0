/** A filter chain of ours in the server's FORWARD, replaced at once when it changes. */
import { sections } from "../json";
import type { ObjectType, Properties } from "../objectType";
import { type Script, sh } from "../sh";
import { type FilterSpec, type Family, iptablesMasquerade, iptablesRules, nftMasquerade, nftRules } from "./filterRules";

const families: readonly Family[] = ["ipv4", "ipv6"];

function tool(spec: FilterSpec, family: Family): string {
  const legacy = spec.variant === "iptables-legacy" ? "-legacy" : "";
  return `${family === "ipv4" ? "iptables" : "ip6tables"}${legacy}`;
}

function hooks(spec: FilterSpec, family: Family): { table: string; hook: string; rules: string[] }[] {
  const masquerade = iptablesMasquerade(spec, family);
  return [
    { table: "filter", hook: "FORWARD", rules: iptablesRules(spec, family) },
    { table: "nat", hook: "POSTROUTING", rules: masquerade },
  ];
}

function removeIptables(spec: FilterSpec): Script {
  return sh`
    chain=${spec.chain}
    drop() {
      if command -v "$1" >/dev/null && "$1" -w -t "$2" -S "$chain" >/dev/null 2>&1; then
        while "$1" -w -t "$2" -C "$3" -j "$chain" 2>/dev/null; do "$1" -w -t "$2" -D "$3" -j "$chain"; done
        "$1" -w -t "$2" -F "$chain"
        "$1" -w -t "$2" -X "$chain"
      fi
    }
    ${families.flatMap((family) => hooks(spec, family).map(({ table, hook }) => sh`drop ${tool(spec, family)} ${table} ${hook}`))}
  `;
}

function ensureIptables(spec: FilterSpec): Script {
  return sh`
    chain=${spec.chain}
    put() {
      tool=$1; table=$2; hook=$3; shift 3
      command -v "$tool" >/dev/null || fail "$tool: not on this server; install the package iptables or choose another filter"
      printf '%s\n' "*$table" ":$chain - [0:0]" "$@" COMMIT | "$tool-restore" --noflush --wait
      "$tool" -w -t "$table" -C "$hook" -j "$chain" 2>/dev/null || "$tool" -w -t "$table" -I "$hook" 1 -j "$chain"
    }
    ${families.flatMap((family) =>
      hooks(spec, family).flatMap(({ table, hook, rules }) =>
        rules.length === 0 ? [] : [sh`put ${tool(spec, family)} ${table} ${hook} ${rules}`],
      ),
    )}
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
    printf '%s\n' ${lines} | nft -f -
  `;
}

export const filter: ObjectType<FilterSpec> = {
  type: "filter",
  identity: (spec) => [spec.chain, spec.variant],
  ensure: (spec) => (spec.variant === "nft" ? ensureNft(spec) : ensureIptables(spec)),
  remove: (spec) =>
    spec.variant === "nft"
      ? sh`if command -v nft >/dev/null && nft list table inet ${spec.chain} >/dev/null 2>&1; then nft delete table inet ${spec.chain}; fi`
      : removeIptables(spec),
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
            echo "=== $1 $2"; "$1" -w -t "$2" -S ${spec.chain}
            if "$1" -w -t "$2" -C "$3" -j ${spec.chain} 2>/dev/null; then echo "hooked"; fi
          fi
        }
        ${families.flatMap((family) => hooks(spec, family).map(({ table, hook }) => sh`show ${tool(spec, family)} ${table} ${hook}`))}
      `,
  wanted: (spec): Properties => {
    if (spec.variant === "nft") return { rules: nftRules(spec), masquerade: nftMasquerade(spec) };
    const lists = families.flatMap((family) =>
      hooks(spec, family).map(({ table, rules }) => [`${tool(spec, family)} ${table}`, rules.length === 0 ? [] : [...rules, "hooked"]]),
    );
    return Object.fromEntries(lists);
  },
  found: (output, spec) => {
    const parts = sections(output);
    if (parts.size === 0) return undefined;
    const lines = (text: string | undefined): string[] => (text ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
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
    return Object.fromEntries(lists);
  },
};
