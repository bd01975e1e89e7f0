#!/bin/sh
# PID 1 of a lab server. It runs in fresh network, UTS, mount and PID namespaces; killing it ends
# every process of the server. Its argument is a folder with server.env (written by lab/server.ts).
set -eu
state=$1
. "$state/server.env"

hostname "$server"
mount --make-rprivate /

# A file written on one server is not on the other: own upper layers over the machine's folders.
for dir in etc var/lib; do
  layer=$state/layers/$(echo "$dir" | tr / -)
  mkdir -p "$layer/upper" "$layer/work"
  mount -t overlay -o "lowerdir=/$dir,upperdir=$layer/upper,workdir=$layer/work" overlay "/$dir"
done
mount -t tmpfs -o mode=1777 tmpfs /tmp
# Root's own folder is empty, as a fresh server's: what this machine's shell starts up would slow every connection down.
mkdir -p "$state/layers/root"
mount --bind "$state/layers/root" /root

# A sysfs that shows this network namespace, with the machine's cgroups back on it
# (without them dockerd says "Devices cgroup isn't mounted").
mkdir -p "$state/sys"
mount -t sysfs sysfs "$state/sys"
mount --rbind /sys/fs/cgroup "$state/sys/fs/cgroup"
mount --move "$state/sys" /sys
mount -t bpf bpf /sys/fs/bpf

mount -t tmpfs -o mode=755 tmpfs /run
# As systemd leaves it on real servers: containers may follow mounts.
mount --make-rshared /
mkdir -p /run/sshd /run/lock
printf '%s\n' "$server" >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$server" >/etc/hosts

mkdir -p /root/.ssh /etc/ssh
chmod 700 /root/.ssh
cp "$state/authorized_keys" /root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
rm -f /etc/ssh/ssh_host_*
cp "$state/host_key" /etc/ssh/ssh_host_ed25519_key
chmod 600 /etc/ssh/ssh_host_ed25519_key
# OpenSSH's newest key exchange takes seven hundredths of a second more on each side; nobody listens on a wire of this machine.
cat >/etc/ssh/sshd_config.lab <<EOF
KexAlgorithms curve25519-sha256
ListenAddress $management_address
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxSessions 100
MaxStartups 100:30:200
UseDNS no
PrintMotd no
Subsystem sftp internal-sftp
EOF
/usr/sbin/sshd -f /etc/ssh/sshd_config.lab -E "$state/sshd.log"

# dockerd is a child, not PID 1, so that it can be restarted without a power cut. The flags are
# those under which bridge, Swarm and Cilium all run: see docs/decisions.md.
while :; do
  rm -f /run/docker.pid
  dockerd \
    --data-root "$state/docker" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$cgroup" \
    --bridge=none --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false \
    --log-opt max-size=10m --default-ulimit core=0:0 \
    >>"$state/dockerd.log" 2>&1 || true
  sleep 0.5
done
