#!/bin/sh
# build.sh OUT SOURCES: Debian's cloud kernel (OUT/vmlinuz) and a small root (OUT/base.cpio) from the packages that SOURCES
# lists. Root, and mmdebstrap; nothing else of this machine gets in.
set -eu
out=$1 sources=$2
packages=linux-image-cloud-amd64,busybox-static,dash,iproute2,iputils-ping,iperf3,tcpdump,kmod,ethtool,util-linux,procps
packages=$packages,nftables,strongswan-swanctl,charon-systemd,libcharon-extra-plugins,libstrongswan-standard-plugins
programs="/bin/busybox /bin/dash /bin/ip /sbin/tc /bin/ping /usr/bin/iperf3 /usr/bin/tcpdump /bin/kmod /sbin/ethtool /usr/bin/flock /usr/bin/nsenter /usr/bin/unshare"
programs="$programs /usr/sbin/nft /usr/sbin/swanctl /usr/sbin/charon-systemd"
# strongSwan's own libraries and plugins, and what it reads: they keep their places.
whole="usr/lib/ipsec etc/strongswan.conf etc/strongswan.d etc/swanctl usr/lib/x86_64-linux-gnu/ossl-modules"
modules="veth ila sch_ingress cls_bpf act_bpf macvlan ipvlan 8021q"
modules="$modules tun esp4 esp6 xfrm_user gcm ctr seqiv drbg sha512_generic ghash-generic nf_tables nft_reject_inet nft_ct nft_chain_nat nft_masq nft_objref"
mkdir -p "$out"
work=$(mktemp -d "${TMPDIR:-/tmp}/flipflap-guest-XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
tree=$work/tree root=$work/root

mmdebstrap --quiet --mode=root --variant=extract --include="$packages" bookworm "$tree" "$sources"
release=$(basename "$tree"/lib/modules/*)

# The tree's programs run by the tree's own loader: no chroot, and no library of this machine.
libraries=$tree/lib/x86_64-linux-gnu:$tree/usr/lib/x86_64-linux-gnu
loader=$tree/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
kmod() { applet=$1; shift; "$loader" --argv0 "$applet" --library-path "$libraries" "$tree/bin/kmod" "$@"; }

needs() {
  case $1 in
    "$tree"/usr/lib/ipsec/*) ;;
    "$tree"/*) cp -L "$1" "$root/lib/x86_64-linux-gnu/" ;;
    *) echo "$1 is not of the tree" >&2; exit 1 ;;
  esac
}

for folder in dev proc sys run tmp etc bin lib64 lib/x86_64-linux-gnu; do mkdir -p "$root/$folder"; done
for program in $programs; do
  cp -L "$tree$program" "$root/bin/"
  [ "$program" = /bin/busybox ] || "$loader" --library-path "$libraries:$tree/usr/lib/ipsec" --list "$tree$program" | sed -n 's#.* => \(/.*\) (0x.*#\1#p'
done | sort -u | while read -r library; do
  needs "$library"
done
# The C library asks for it where a thread is cancelled.
cp -L "$tree/lib/x86_64-linux-gnu/libgcc_s.so.1" "$root/lib/x86_64-linux-gnu/"
for place in $whole; do
  mkdir -p "$root/$(dirname "$place")"
  cp -rL "$tree/$place" "$root/$place"
done
find "$root/usr/lib/ipsec" -name '*.so*' | while read -r library; do
  "$loader" --library-path "$tree/usr/lib/ipsec:$libraries" --list "$library" | sed -n 's#.* => \(/.*\) (0x.*#\1#p'
done | sort -u | while read -r library; do
  needs "$library"
done
cp -L "$loader" "$root/lib64/"
ln -s ../bin "$root/usr/bin"
ln -s ../bin "$root/usr/sbin"
ln -s bin "$root/sbin"
# busybox's own shell prefers its own ip and ping.
ln -s dash "$root/bin/sh"
for name in modprobe insmod lsmod depmod; do ln -s kmod "$root/bin/$name"; done
"$tree/bin/busybox" --list | while read -r name; do
  [ -e "$root/bin/$name" ] || [ -L "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
done

kmod depmod -b "$tree" "$release"
mkdir -p "$root/lib/modules/$release"
for name in modules.builtin modules.builtin.modinfo modules.order; do cp "$tree/lib/modules/$release/$name" "$root/lib/modules/$release/"; done
for module in $modules; do
  kmod modprobe -d "$tree" -S "$release" --show-depends "$module" >"$work/needed"
  sed -n "s#^insmod $tree/\(.*\.ko\).*#\1#p" "$work/needed"
done | sort -u | while read -r file; do
  mkdir -p "$root/$(dirname "$file")"
  cp "$tree/$file" "$root/$file"
done
kmod depmod -b "$root" "$release"

cat >"$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /run
echo root:x:0:0:root:/tmp:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group
ip link set lo up
# What the job prints goes to the second serial port, the kernel's words to the first.
stty -F /dev/ttyS1 raw 2>/dev/null
(
  echo "@@begin"
  sh /job/run </dev/null 2>&1
  echo "@@end $?"
) >/dev/ttyS1
poweroff -f
INIT
chmod 755 "$root/init"

cp "$tree/boot/vmlinuz-$release" "$out/vmlinuz"
# Not compressed: the guest would take longer to unpack it than to read it.
(cd "$root" && find . | LC_ALL=C sort | "$tree/bin/busybox" cpio -o -H newc 2>/dev/null) >"$out/base.cpio"
cp "$tree/bin/busybox" "$out/busybox"
echo "$release" >"$out/release"
