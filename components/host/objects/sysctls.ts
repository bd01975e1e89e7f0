/** Sysctls of a server, put back as they were. */
import { sections } from "../json";
import type { ObjectType } from "../objectType";
import { type Script, sh } from "../sh";

export interface SysctlsSpec {
  readonly values: Readonly<Record<string, string>>;
  /** Set where the kernel knows them; where it does not, there is nothing to set. */
  readonly whereKnown?: Readonly<Record<string, string>>;
}

const keysOf = ({ values, whereKnown }: SysctlsSpec): string[] => [...Object.keys(values), ...Object.keys(whereKnown ?? {})];

const path = (key: string): string => `/proc/sys/${key.replaceAll(".", "/")}`;

/** Tabs and runs of blanks of the kernel's lists as one blank. */
const normal = (text: string): string => text.trim().split(/\s+/).join(" ");

/**
 * What the kernel sets along with forwarding (6.18): the forwarding of every device, whether redirects are taken, and that no
 * device puts received packets together by itself (LRO). It is kept before the first write, and put back after the last.
 */
const followers: Script = sh`
  followers() {
    case $1 in
      net.ipv4.ip_forward) echo /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/all/accept_redirects ;;
      net.ipv6.conf.all.forwarding) echo /proc/sys/net/ipv6/conf/*/forwarding ;;
    esac
  }
  keep_followers() {
    _kept=
    # A device may be going.
    for _file in $(followers "$1"); do _value=$(cat "$_file" 2>/dev/null) || continue; _kept="$_kept$_file $_value
  "; done
    if [ "$1" = net.ipv4.ip_forward ]; then
      for _device in /sys/class/net/*; do
        if ethtool -k "\${_device##*/}" 2>/dev/null | grep -qx 'large-receive-offload: on'; then _kept="\${_kept}lro \${_device##*/}
  "; fi
      done
    fi
    save "followers.$1" "$_kept"
  }
  put_followers() {
    printf '%s\n' "$1" | while read -r _what _value; do
      if [ "$_what" = lro ]; then [ ! -e "/sys/class/net/$_value" ] || ethtool -K "$_value" lro on >/dev/null 2>&1 || :;
      elif [ -e "$_what" ] && [ "$(cat "$_what")" != "$_value" ]; then printf '%s' "$_value" >"$_what"; fi
    done
  }
`;

export const sysctls: ObjectType<SysctlsSpec> = {
  type: "sysctls",
  identity: () => [],
  ensure: (spec) => sh`
    ${followers}
    want() {
      [ -e "$2" ] || fail "$1: this server's kernel has no such sysctl"
      [ -z "$(followers "$1")" ] || [ -e "$folder/saved/sysctl.$1" ] || keep_followers "$1"
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
      restore "followers.$key" put_followers
    done
  `,
  remove: () => sh`
    ${followers}
    put() { if [ -e "$file" ]; then printf '%s' "$1" >"$file"; fi; }
    for file in "$folder/saved/sysctl."*; do
      [ -e "$file" ] || continue
      key=$(basename "$file"); key=\${key#sysctl.}
      file=/proc/sys/$(printf '%s' "$key" | tr . /)
      restore "sysctl.$key" put
      restore "followers.$key" put_followers
    done
    # Of a first write that was cut off.
    for file in "$folder/saved/followers."*; do if [ -e "$file" ]; then restore "$(basename "$file")" put_followers; fi; done
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
