/** The ipsets that policies' rules name: those of a prefix are one owner's. */
import { type IpSet, setEntries, setsSwap } from "../../net/policy/netfilter";
import { nothing, type Script, sh } from "../sh";

/** Before the rules that name them. */
export const putSets = (sets: readonly IpSet[]): Script =>
  sets.length === 0 ? nothing : sh`printf '%s\n' ${setsSwap(sets).join("\n")} | ipset restore -exist`;

/** After the rules that named them are gone: all of the prefix but those. */
export const dropSets = (prefix: string, keep: readonly IpSet[] = []): Script => sh`
  if command -v ipset >/dev/null; then
    for set in $(ipset list -n | grep ${`^${prefix}`}); do
      case ${` ${keep.map(({ name }) => name).join(" ")} `} in *" $set "*) ;; *) ipset destroy "$set" ;; esac
    done
  fi
`;

/** Their entries, as `foundSets` reads them. */
export const listSets = (prefix: string): Script => sh`ipset save 2>/dev/null | grep ${`^add ${prefix}`} | sort || :`;

export const wantedSets = (sets: readonly IpSet[]): string[] => sets.flatMap(setEntries).sort();

export const foundSets = (printed: string | undefined): string[] => (printed ?? "").split("\n").filter(Boolean).sort();
