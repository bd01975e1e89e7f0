package iptables

import "strings"

// Modules and targets that stay in the kernel's own tables, whatever they say, with their options (iptables 1.8.9).
const (
	foreignModuleTable = `
addrtype src-type dst-type limit-iface-in limit-iface-out
ah ahspi ahlen ahres
bpf bytecode object-pinned
cgroup path cgroup
cluster cluster-total-nodes cluster-local-node cluster-local-nodemask cluster-hash-seed
connbytes connbytes connbytes-dir connbytes-mode
connlabel label set
connlimit connlimit-upto connlimit-above connlimit-mask connlimit-saddr connlimit-daddr
connmark mark
cpu cpu
devgroup src-group dst-group
dscp dscp dscp-class
dst dst-len dst-opts
ecn ecn-tcp-cwr ecn-tcp-ece ecn-ip-ect
esp espspi
eui64
frag fragid fraglen fragres fragfirst fragmore fraglast
hbh hbh-len hbh-opts
helper helper
hl hl-eq hl-lt hl-gt
ipv6header header soft
ipvs ipvs vproto vaddr vport vdir vmethod vportctl
length length
mac mac-source
mh mh-type
nfacct nfacct-name
osf genre ttl log
owner uid-owner gid-owner socket-exists suppl-groups
physdev physdev-in physdev-out physdev-is-in physdev-is-out physdev-is-bridged
pkttype pkt-type
policy dir pol strict reqid spi proto mode tunnel-src tunnel-dst next
quota quota
rateest rateest1 rateest2 rateest-delta rateest-bps1 rateest-pps1 rateest-bps2 rateest-pps2 rateest-lt rateest-gt rateest-eq
realm realm
recent set rcheck update remove seconds reap hitcount rttl name rsource rdest mask
rpfilter loose validmark accept-local invert
rt rt-type rt-segsleft rt-len rt-0-res rt-0-addrs rt-0-not-strict
socket nowildcard transparent restore-skmark
srh srh-next-hdr srh-hdr-len-eq srh-hdr-len-gt srh-hdr-len-lt srh-segs-left-eq srh-segs-left-gt srh-segs-left-lt srh-last-entry-eq srh-last-entry-gt srh-last-entry-lt srh-tag srh-psid srh-nsid srh-lsid
statistic mode probability every packet
string from to algo icase string hex-string
tcpmss mss
time datestart datestop timestart timestop monthdays weekdays kerneltz
tos tos
ttl ttl-eq ttl-lt ttl-gt
u32 u32
`
	foreignTargetTable = `
AUDIT type
CHECKSUM checksum-fill
CLASSIFY set-class
CLUSTERIP new hashmode clustermac total-nodes local-node hash-init
CONNMARK set-xmark save-mark ctmask nfmask restore-mark set-mark mask and-mark or-mark xor-mark left-shift-mark right-shift-mark
CONNSECMARK save restore
CT notrack helper timeout ctevents expevents zone zone-orig zone-reply
DNAT to-destination random persistent
DNPT src-pfx dst-pfx
DSCP set-dscp set-dscp-class
ECN ecn-tcp-remove
HL hl-set hl-dec hl-inc
HMARK hmark-tuple hmark-mod hmark-offset hmark-rnd hmark-src-prefix hmark-dst-prefix hmark-sport-mask hmark-dport-mask hmark-spi-mask hmark-sport hmark-dport hmark-spi hmark-proto-mask
IDLETIMER timeout label alarm
LED led-trigger-id led-delay led-always-blink
MASQUERADE to-ports random random-fully
NETMAP to
NFLOG nflog-group nflog-range nflog-size nflog-threshold nflog-prefix
NFQUEUE queue-num queue-balance queue-bypass queue-cpu-fanout
NOTRACK
QUEUE
RATEEST rateest-name rateest-interval rateest-ewmalog
REDIRECT to-ports random
SECMARK selctx
SET add-set exist timeout del-set map-set map-mark map-prio map-queue
SNAT to-source random random-fully persistent
SNPT src-pfx dst-pfx
SYNPROXY sack-perm timestamp wscale mss ecn
TCPMSS set-mss clamp-mss-to-pmtu
TCPOPTSTRIP strip-options
TEE gateway oif
TOS set-tos and-tos or-tos xor-tos
TPROXY on-port on-ip tproxy-mark
TRACE
TTL ttl-set ttl-dec ttl-inc
ULOG ulog-nlgroup ulog-cprange ulog-qthreshold ulog-prefix
`
)

var foreignModules, foreignTargets = map[string]bool{}, map[string]bool{}

func init() {
	read := func(table string, into map[string]bool, options map[string]map[string]reader, read reader) {
		for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
			words := strings.Fields(line)
			into[words[0]] = true
			options[words[0]] = map[string]reader{}
			for _, name := range words[1:] {
				options[words[0]]["--"+name] = read
			}
		}
	}
	read(foreignModuleTable, foreignModules, moduleOptions, readForeignMatch)
	read(foreignTargetTable, foreignTargets, targetOptions, readForeignTarget)
}

func readForeignMatch(s *spec, of word) {
	into := &lastOf[*Other](s).Text
	if s.isNot() {
		*into = append(*into, "!")
	}
	*into = append(*into, of.text)
	s.others(into)
}

func readForeignTarget(s *spec, of word) {
	into := &s.rule.Target.Text
	*into = append(*into, of.text)
	s.others(into)
}
