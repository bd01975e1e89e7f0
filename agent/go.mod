module flipflap.local/agent

go 1.24.0

require (
	github.com/safchain/ethtool v0.5.10
	github.com/vishvananda/netlink v1.3.1
	github.com/vishvananda/netns v0.0.5
	golang.org/x/sys v0.30.0
)

require github.com/cilium/ebpf v0.17.3
