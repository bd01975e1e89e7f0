/** Sysctls of a server, put back as they were. */
import { sections } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface SysctlsSpec {
  readonly values: Readonly<Record<string, string>>;
  /** Set where the kernel knows them; where it does not, there is nothing to set. */
  readonly whereKnown?: Readonly<Record<string, string>>;
}

const keysOf = ({ values, whereKnown }: SysctlsSpec): string[] => [...Object.keys(values), ...Object.keys(whereKnown ?? {})];

const path = (key: string): string => `/proc/sys/${key.replaceAll(".", "/")}`;

/** Tabs and runs of blanks of the kernel's lists as one blank. */
const normal = (text: string): string => text.trim().split(/\s+/).join(" ");

export const sysctls: ObjectType<SysctlsSpec> = {
  type: "sysctls",
  identity: () => [],
  ensure: (spec) => sh`
    want() {
      [ -e "$2" ] || fail "$1: this server's kernel has no such sysctl"
      save "sysctl.$1" "$(cat "$2")"
      [ "$(cat "$2")" = "$3" ] || printf '%s' "$3" >"$2" || fail "$1: the kernel refuses the value $3 (now $(cat "$2"))"
    }
    ${Object.entries(spec.values).map(([key, value]) => sh`want ${key} ${path(key)} ${value}`)}
    ${Object.entries(spec.whereKnown ?? {}).map(([key, value]) => sh`[ ! -e ${path(key)} ] || want ${key} ${path(key)} ${value}`)}
    put() { printf '%s' "$1" >"$file"; }
    for file in "$folder/saved/sysctl."*; do
      [ -e "$file" ] || continue
      key=$(basename "$file"); key=\${key#sysctl.}
      case " "${keysOf(spec).join(" ")}" " in *" $key "*) continue ;; esac
      file=/proc/sys/$(printf '%s' "$key" | tr . /)
      restore "sysctl.$key" put
    done
  `,
  remove: () => sh`
    put() { if [ -e "$file" ]; then printf '%s' "$1" >"$file"; fi; }
    for file in "$folder/saved/sysctl."*; do
      [ -e "$file" ] || continue
      key=$(basename "$file"); key=\${key#sysctl.}
      file=/proc/sys/$(printf '%s' "$key" | tr . /)
      restore "sysctl.$key" put
    done
  `,
  check: (spec) => sh`
    for key in ${keysOf(spec)}; do
      echo "=== $key"
      file=/proc/sys/$(printf '%s' "$key" | tr . /)
      if [ -e "$file" ]; then cat "$file"; fi
    done
  `,
  wanted: ({ values, whereKnown }) =>
    Object.fromEntries(Object.entries({ ...values, ...whereKnown }).map(([key, value]) => [key, normal(value)])),
  found: (output, { whereKnown }) =>
    Object.fromEntries([...sections(output)].map(([key, value]) => [key, value === "" ? (whereKnown?.[key] ?? "") : normal(value)])),
};
