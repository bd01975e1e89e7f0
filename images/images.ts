/** The declared list of images: all are built from Debian packages and from this project's Go modules. */

export interface ImageDefinition {
  /** Debian packages on top of the base. */
  readonly packages?: readonly string[];
  /** Debian components needed beside main. */
  readonly components?: readonly string[];
  /** Programs built from a Go module of this project: its folder, and binary path in the image -> package. */
  readonly go?: { readonly module: string; readonly binaries: Readonly<Record<string, string>> };
  /** Programs of bpf/ that go to /bpf. */
  readonly bpf?: readonly string[];
  /** No Debian below: the image holds its Go programs only. */
  readonly scratch?: boolean;
  /** What a container runs when nothing else is declared. */
  readonly command: readonly string[];
  readonly purpose: string;
}

export const suite = "bookworm";

/** The layer under every Debian image. */
export const basePackages = ["iproute2", "iputils-ping", "procps", "ethtool"] as const;

export const images = {
  tools: {
    purpose: "tenant systems and measurements",
    packages: [
      ...["iperf3", "netperf", "tcpdump", "arping", "iputils-tracepath", "traceroute", "ncat", "curl"],
      ...["iptables", "nftables", "bridge-utils", "socat", "ipset"],
    ],
    components: ["non-free"], // netperf
    command: ["sleep", "infinity"],
  },
  agent: {
    purpose: "the attach agent of a server",
    scratch: true,
    go: { module: "agent", binaries: { "/agent": "." } },
    bpf: ["overlay", "ila"],
    command: ["/agent", "run"],
  },
  gobgp: {
    purpose: "EVPN route server",
    go: {
      module: "images/gobgp",
      binaries: {
        "/usr/local/bin/gobgpd": "github.com/osrg/gobgp/v3/cmd/gobgpd",
        "/usr/local/bin/gobgp": "github.com/osrg/gobgp/v3/cmd/gobgp",
        "/usr/local/bin/evpn-inject": "./inject",
      },
    },
    command: ["gobgpd"],
  },
  frr: { purpose: "EVPN speaker", packages: ["frr"], command: ["/usr/lib/frr/frrinit.sh", "start"] },
  etcd: { purpose: "key-value store of ILA and Cilium", packages: ["etcd-server", "etcd-client"], command: ["etcd"] },
  strongswan: {
    purpose: "IPsec gateway",
    packages: ["strongswan-swanctl", "charon-systemd", "libcharon-extra-plugins", "iptables"],
    command: ["charon-systemd"],
  },
} as const satisfies Record<string, ImageDefinition>;

export type ImageName = keyof typeof images;

export function isImageName(name: string): name is ImageName {
  return Object.hasOwn(images, name);
}

export function imageDefinition(name: ImageName): ImageDefinition {
  return images[name];
}
