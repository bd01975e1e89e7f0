/** The declared list of images: all are built from Debian packages and from this project's Go modules. */

export interface ImageDefinition {
  /** Debian packages on top of the base. */
  readonly packages?: readonly string[];
  /** Debian components needed beside main. */
  readonly components?: readonly string[];
  /** Programs built from a Go module of this project: its folder, and binary path in the image -> package. */
  readonly go?: {
    readonly module: string;
    readonly binaries: Readonly<Record<string, string>>;
    /** Variables that the linker sets. */
    readonly variables?: Readonly<Record<string, string>>;
    /** What comes along from the sources of a module that it requires: folder in the image -> the module's own paths. */
    readonly sources?: Readonly<Record<string, { readonly module: string; readonly folder: string; readonly paths: readonly string[] }>>;
  };
  /** All programs of bpf/ go to /bpf. */
  readonly bpf?: true;
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
      ...["iptables", "nftables", "bridge-utils", "socat", "ipset", "dnsmasq-base"],
    ],
    components: ["non-free"], // netperf
    command: ["sleep", "infinity"],
  },
  agent: {
    purpose: "the attach agent of a server",
    scratch: true,
    go: { module: "agent", binaries: { "/agent": "." } },
    bpf: true,
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
  cilium: {
    purpose: "Cilium's agent and docker plugin; its build takes minutes, once",
    // It compiles its programs on the server.
    packages: ["clang-14", "iptables", "ipset", "kmod"],
    go: {
      module: "images/cilium",
      binaries: {
        "/usr/local/bin/cilium-agent": "github.com/cilium/cilium/daemon",
        "/usr/local/bin/cilium-dbg": "github.com/cilium/cilium/cilium-dbg",
        "/usr/local/bin/cilium-docker": "github.com/cilium/cilium/plugins/cilium-docker",
      },
      // A released version, which its tools compare with one another.
      variables: { "github.com/cilium/cilium/pkg/version.ciliumVersion": "1.18.2 0000000 2025-09-18T00:00:00+00:00" },
      sources: {
        "/var/lib/cilium/bpf": { module: "github.com/cilium/cilium", folder: "bpf", paths: ["*.c", "*.h", "include", "lib"] },
      },
    },
    command: ["cilium-agent"],
  },
  strongswan: {
    purpose: "IPsec gateway",
    // The standard plugins have OpenSSL's ciphers and curves; nftables is for who looks at what keeps a gateway closed.
    packages: [
      ...["strongswan-swanctl", "charon-systemd", "libcharon-extra-plugins", "libstrongswan-standard-plugins"],
      ...["nftables", "iperf3", "tcpdump"],
    ],
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
