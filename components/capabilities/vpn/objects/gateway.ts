/** What a gateway's strongSwan is told, in a folder that its container sees. A change reaches it in place: only what changed is made anew. */
import { sections } from "../../../host/json";
import type { ObjectType, Owner } from "../../../host/objectType";
import { ownerFolder } from "../../../host/objectType";
import { sh } from "../../../host/sh";
import { enterGateway } from "./sas";

export interface VpnGatewaySpec {
  readonly system: string;
  readonly container: string;
  /** By their paths below the folder. */
  readonly files: Readonly<Record<string, string>>;
  /** The connections, each a file. */
  readonly connections: Readonly<Record<string, string>>;
}

/** Below the stack's folder. */
export const gatewayFolder = (system: string): string => `vpn/${system}`;

const folderOf = (owner: Owner, system: string): string => `${ownerFolder(owner)}/${gatewayFolder(system)}`;

const connectionFile = (name: string): string => `connections/${name}.conf`;

const allFiles = ({ files, connections }: VpnGatewaySpec): [string, string][] => [
  ...Object.entries(files),
  ...Object.entries(connections).map(([name, text]): [string, string] => [connectionFile(name), text]),
];

export const vpnGateway: ObjectType<VpnGatewaySpec> = {
  type: "vpnGateway",
  identity: ({ system }) => [system],
  ensure: (spec, owner) => sh`
    umask 077
    dir=${folderOf(owner, spec.system)}
    mkdir -p "$dir/connections"
    put() { if [ "$(cat "$dir/$1" 2>/dev/null; echo .)" != "$2." ]; then printf '%s' "$2" >"$dir/.new"; mv "$dir/.new" "$dir/$1"; changed="$changed $1"; fi; }
    changed=
    ${allFiles(spec).map(([path, text]) => sh`put ${path} ${text}`)}
    for file in "$dir"/connections/*.conf; do
      [ -e "$file" ] || continue
      case ${` ${Object.keys(spec.connections).join(" ")} `} in *" $(basename "$file" .conf) "*) ;; *) rm "$file"; changed="$changed connections/\${file##*/}" ;; esac
    done
    ${enterGateway(spec.container)}
    if [ -n "$changed" ] && [ "$pid" != 0 ]; then
      case $changed in
        # What it reads when it starts.
        *" start "* | *" start" | *" strongswan.conf"* | *" swanctl.conf"*) docker restart -t 2 ${spec.container} >/dev/null ;;
        *)
          inside swanctl --load-all --noprompt >/dev/null
          for file in $changed; do
            # What it starts itself it makes anew by itself.
            case $file in connections/*) grep -qs 'start_action = start' "$dir/$file" || inside swanctl --terminate --ike "$(basename "$file" .conf)" --force --timeout 2 >/dev/null 2>&1 || : ;; esac
          done
          ;;
      esac
    fi
  `,
  remove: ({ system }, owner) => sh`
    rm -rf ${folderOf(owner, system)}
    if [ -d "$folder/vpn" ]; then rmdir "$folder/vpn" 2>/dev/null || :; fi
    prune
  `,
  check: (spec, owner) => sh`
    dir=${folderOf(owner, spec.system)}
    if [ -d "$dir" ]; then
      echo "=== files"
      ${allFiles(spec).map(
        ([path, text]) => sh`if [ "$(cat "$dir"/${path} 2>/dev/null; echo .)" = ${`${text}.`} ]; then echo ${`${path} whole`}; fi`,
      )}
      echo "=== connections"
      ${enterGateway(spec.container)}
      if [ "$pid" != 0 ]; then inside swanctl --list-conns 2>/dev/null | sed -n 's/^\([^ :]*\): IKEv.*/\1/p' | sort; fi
    fi
  `,
  wanted: (spec) => ({
    ...Object.fromEntries(allFiles(spec).map(([path]) => [path, "whole"])),
    connections: Object.keys(spec.connections).sort(),
  }),
  found: (output, spec) => {
    const parts = sections(output);
    if (!parts.has("files")) return undefined;
    const whole = new Set((parts.get("files") ?? "").split("\n"));
    return {
      ...Object.fromEntries(allFiles(spec).map(([path]) => [path, whole.has(`${path} whole`) ? "whole" : "changed"])),
      connections: (parts.get("connections") ?? "").split("\n").filter((line) => line !== ""),
    };
  },
};
