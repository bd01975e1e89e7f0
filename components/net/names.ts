/** Names and MAC addresses that follow from other names. Pure. */
import { createHash } from "node:crypto";

export const maxDeviceNameLength = 15;

export function hash32(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE(0);
}

/** A device's name: readable where it fits 15 characters, else with a hash of the whole. */
export function deviceName(prefix: string, name: string): string {
  const whole = `${prefix}${name}`;
  if (whole.length <= maxDeviceNameLength) return whole;
  const hash = hash32(name).toString(16).padStart(8, "0").slice(0, 6);
  return `${whole.slice(0, maxDeviceNameLength - hash.length)}${hash}`;
}

/** A locally administered, unicast MAC address. */
export function macFor(text: string): string {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 4);
  return `02:ff:${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
}

/** The server's end of a system's interface in a network. */
export const portName = ({ network, system }: { readonly network: string; readonly system: string }): string =>
  deviceName("ffv-", hash32(`${network} ${system}`).toString(16).padStart(8, "0"));

/** The group of all devices of a stack on its server, by which the guard knows those that nobody told it of. The first bit says that it is no small number of somebody's. */
export const deviceGroup = (stack: string): number => (hash32(`flipflap ${stack}`) | 0x40000000) & 0x7fffffff;

/** Of containers that somebody started by hand: agent/parts/ila/byhand.go says the same. */
export const byHandPorts = "ffh-*";

/** The container of a tenant system; names of one character are not docker's. */
export function systemContainer(system: string): string {
  return `ff-${system}`;
}

/** The network of docker's that a network is. */
export const dockerNetwork = (network: string): string => `ff-${network}`;

export const secretPrefix = (stack: string): string => `${stack}-secrets`;

/** The resource that holds a secret in the hub's stack. */
export const secretResource = (stack: string, secret: string): string => `${secretPrefix(stack)}-${secret}`;

/** Containers of flipflap's own, beside the systems. */
export const ownContainers = {
  agent: "ff-agent",
  speaker: "ff-speaker",
  routeServer: "ff-route-server",
  etcd: "ff-etcd",
  cilium: "ff-cilium",
  ciliumPlugin: "ff-cilium-plugin",
} as const;
