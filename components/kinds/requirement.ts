/** What a server must have for a kind, and what it is for. */
export interface Requirement {
  readonly tool?: string;
  /** Of the kernel's configuration: CONFIG_VXLAN. */
  readonly kernelOption?: string;
  /** It filters what the server forwards, in tables that iptables does not know of. */
  readonly filtersBesideIptables?: boolean;
  /** No route of these protocols (a pattern of `ip route`'s words) may be there, unless this container of ours runs. */
  readonly noRoutesOf?: { readonly protocols: string; readonly unless: string };
  /** Nobody may listen on this port, unless this container of ours runs. */
  readonly freeTcpPort?: { readonly port: number; readonly unless: string };
  /** The server is in no swarm but ours. */
  readonly noForeignSwarm?: boolean;
  readonly why: string;
}
