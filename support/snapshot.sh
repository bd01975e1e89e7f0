#!/bin/sh
# Prints the state of a server or of this machine that a testbed could change: run before and after,
# the two must be equal. Counters, timers and what changes by itself are left out. Changes nothing.
set -u
section() { printf '\n=== %s\n' "$1"; }

section links
# Indexes, states of carriers and random names of peers' namespaces are no settings; a NIC that was up
# once keeps noqueue where a fresh one has noop.
ip -d -j link show | sed -E 's/"(ifindex|link_index|link_netnsid|promiscuity|allmulti|operstate|qdisc|min_mtu|num_[a-z_]*|[a-z_]*timer|root_path_cost|topology_change[a-z_]*)":("[^"]*"|[0-9.]+),?//g; s/,"(LOWER_UP|NO-CARRIER|M-DOWN)"//g; s/\},\{/}\n{/g; s/^\[//; s/\]$//' | sort
section addresses
ip -o addr show | sed -E 's/^[0-9]+: //; s/valid_lft.*//; s/ (tentative|dynamic|stable-privacy)//g' | sort
section routes
ip -4 route show table all | sort
# Link-local ones come and go with the kernel's own duplicate address detection.
ip -6 route show table all | grep -v fe80 | sed -E 's/ (expires|error) [^ ]+//g' | sort
section rules
ip rule show; ip -6 rule show
section neighbours
ip neigh show nud permanent | sort
section namespaces
ip netns list | sort
ls -d /run/netns 2>/dev/null
section qdiscs
tc qdisc show 2>/dev/null | grep -vE '^qdisc (noqueue|noop) ' | sed -E 's/ (refcnt|backlog|limit) [^ ]+//g' | sort
section filters
for tool in iptables-legacy ip6tables-legacy; do
  command -v "$tool-save" >/dev/null && "$tool-save" 2>/dev/null | sed -E '/^#/d; s/\[[0-9:]+\]//' | grep -vE '^(\*|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ACCEPT ?)' 
done
# Tables are listed in the order in which they were made.
command -v nft >/dev/null && nft list tables 2>/dev/null | sort | while read -r table; do nft -s list $table 2>/dev/null; done
command -v ipset >/dev/null && ipset list -n 2>/dev/null
section offloads
for device in $(ls /sys/class/net); do ethtool -k "$device" 2>/dev/null | sed "s/^/$device /"; done
section sysctls
sysctl -a 2>/dev/null | grep -E '^net\.' | grep -vE 'nf_conntrack_count|tcp_mem|udp_mem|\.(stable_secret|max_dgram_qlen)|route\.flush|neigh\.[^.]*\.(gc|base_reachable)|nf_log|tcp_fastopen_key|rt_cache' | sort
section bpf
find /sys/fs/bpf -mindepth 1 2>/dev/null | sort
section mounts
# A server of a lab has those of the machine at its start; walks and builds of images mount some there for a while.
[ "${1:-}" = server ] && passing='^/tmp/flipflap-(test|image)-' || passing='^$'
awk '{print $2, $3}' /proc/mounts | grep -vE '/(overlay2|containers|netns)/|/docker/netns' | grep -vE "$passing" | sort
section cgroups
# A lab's server sees those of the whole machine: they are the lab's, and go with it.
[ "${1:-}" = server ] || find /sys/fs/cgroup -maxdepth 2 -name 'flipflap*' 2>/dev/null | sort
section docker
if [ -S /run/docker.sock ] || [ -S /var/run/docker.sock ]; then
  docker ps -a --format '{{.Names}}' | sort
  docker images --format '{{.Repository}}:{{.Tag}}' | sort
  docker network ls --format '{{.Name}} {{.Driver}}' | sort
  docker volume ls -q | sort
fi
section files
ls -A /var/lib/flipflap /run/flipflap 2>/dev/null
# A lab's server sees the labs of the machine.
[ "${1:-}" = server ] || ls -A /srv/flipflap-lab 2>/dev/null
ls -A /etc /var/lib 2>/dev/null | grep -vE '\.lock$|^mtab|-$'
section processes
# Those of a lab's servers have namespaces of their own: of them the machine sees which lab's they are.
labs=${2:-}
own=$(readlink /proc/self/ns/pid)
ps -e -o pid=,comm= | while read -r pid name; do
  if [ -z "$labs" ] || [ "$(readlink "/proc/$pid/ns/pid")" = "$own" ]; then echo "$name"
  else tr '\0' '\n' <"/proc/$pid/cmdline" | grep -F "$labs/" | sed "s|^|$name |"
  fi
done 2>/dev/null | grep -E '^(sshd|dockerd|containerd|containerd-shim.*|agent|tini|docker-init|charon|bgpd|zebra|gobgpd|etcd)( |$)' | sort
exit 0
