/**
 * What Cilium's agent finds on a server before its first start, and all that it leaves there: its devices, programs and maps,
 * its sockets and a sysctl. The kernel's own cilium_host is made by us, so that it has the gateway's address and our mark.
 */
import { ownContainers } from "../../net/names";
import { addressesOf, type IpAddresses, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { sh } from "../sh";
import { bpffs } from "./programs";

export interface CiliumSiteSpec {
  readonly uplink: string;
  /** What the server's systems route by. */
  readonly gateway: string;
  /** Prefixes of the other servers. */
  readonly others: readonly string[];
}

/** Cilium's own device of the server, which it finds and goes on with. */
export const ciliumHost = "cilium_host";
const host = ciliumHost;
/** Of Cilium: what it makes below /run, in bpffs, and among docker's plugins. */
export const ciliumRun = "/run/cilium";
/** Names an empty cgroup of ours, below /sys/fs/cgroup. */
export const cgroupFile = `${ciliumRun}/flipflap-cgroup`;
export const pluginSockets = "/run/docker/plugins";
const changed = ["net.ipv4.fib_multipath_use_neigh", "net.ipv4.conf.all.rp_filter", "net.core.bpf_jit_limit"];

export const ciliumSite: ObjectType<CiliumSiteSpec> = {
  type: "ciliumSite",
  // In place: a removal would find Cilium at work, which makes anew what is taken away.
  identity: () => [],
  ensure: ({ gateway }, owner, name) => sh`
    mark=${ownerMark(owner, name)}
    if has_link ${host} && [ ! -e "$folder/saved/cilium" ]; then fail "${host}: this server has a Cilium that is not ours; remove it, or put the systems of kind cilium on other servers"; fi
    for key in ${changed}; do
      value=$(cat "/proc/sys/$(echo "$key" | tr . /)" 2>/dev/null) && save "cilium.$key" "$value"
    done
    [ -e ${ciliumRun} ] || save cilium.run made
    [ -e ${pluginSockets} ] || save cilium.plugins made
    save cilium made
    mkdir -p ${ciliumRun} ${pluginSockets}
    cgroup=flipflap-cilium-$$-$(date +%s)
    if [ -d /sys/fs/cgroup/unified ]; then cgroup=unified/$cgroup; fi
    save cilium.cgroup "$cgroup"
    cgroup=$(cat "$folder/saved/cilium.cgroup")
    mkdir -p "/sys/fs/cgroup/$cgroup"
    printf '%s' "$cgroup" >${cgroupFile}
    if [ -e ${ciliumRun}/flipflap-gateway ] && [ "$(cat ${ciliumRun}/flipflap-gateway)" != ${gateway} ]; then
      # A Cilium of other addresses would make its own anew, and the next one would go on with what it left.
      docker stop -t 5 ${ownContainers.cilium} >/dev/null 2>&1 || :
      rm -rf ${ciliumRun}/state
      if has_link ${host}; then ip link del ${host}; fi
    fi
    printf '%s' ${gateway} >${ciliumRun}/flipflap-gateway
    has_link ${host} || ip link add ${host} type veth peer name cilium_net
    mark_link ${host} "$mark"
    ip addr replace ${`${gateway}/32`} dev ${host} scope link
    ip link set dev ${host} up
    ip link set dev cilium_net up
  `,
  remove: ({ others }) => sh`
    if [ -e "$folder/saved/cilium" ]; then
      for device in ${host} cilium_vxlan $(ip -o link show type veth | awk -F '[ :@]+' '{ print $2 }' | grep -E '^lxc[0-9a-f]{12,13}$'); do
        if has_link "$device"; then ip link del "$device"; fi
      done
      for prefix in ${[...others]}; do ip route del "$prefix" proto kernel 2>/dev/null || :; done
      # Programs hang on their pins: where those go, they go.
      rm -rf ${bpffs}/cilium ${bpffs}/tc/globals/cilium_*
      rmdir ${bpffs}/tc/globals ${bpffs}/tc 2>/dev/null || :
      rm -f ${pluginSockets}/cilium.sock
      drop_cgroup() { rmdir "/sys/fs/cgroup/$1" 2>/dev/null || :; }
      restore cilium.cgroup drop_cgroup
      drop_run() { rm -rf ${ciliumRun}; }
      restore cilium.run drop_run
      drop_plugins() { rmdir ${pluginSockets} 2>/dev/null || :; }
      restore cilium.plugins drop_plugins
      ${changed.map(
        (key) => sh`
        put_back() { echo "$1" >"/proc/sys/"${key.replaceAll(".", "/")}; }
        restore ${`cilium.${key}`} put_back
      `,
      )}
      forget cilium
    fi
    prune
  `,
  check: () => sh`
    if has_link ${host}; then
      echo "=== up"; cat /sys/class/net/${host}/operstate
      echo "=== addresses"; ip -j -4 addr show dev ${host}
    fi
  `,
  wanted: ({ gateway }) => ({ up: true, addresses: [`${gateway}/32`] }),
  found: (output) => {
    const parts = sections(output);
    if (!parts.has("up")) return undefined;
    return { up: parts.get("up")?.trim() === "up", addresses: addressesOf(jsonList<IpAddresses>(parts.get("addresses")), host, "link") };
  },
};
