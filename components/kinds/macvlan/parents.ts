/** What a network's interfaces sit on. Pure. */
import type { ServerDeclaration } from "../../config/declaration";
import type { MacvlanNetwork } from "../../config/types.gen";
import { deviceName } from "../../net/names";

export type Parent =
  | { readonly sort: "uplink" }
  | { readonly sort: "nic"; readonly device: string }
  | { readonly sort: "local" }
  | { readonly sort: "vlan"; readonly id: number }
  | { readonly sort: "vxlan"; readonly id: number };

export function parentOf({ parent = "uplink" }: MacvlanNetwork): Parent {
  if (parent === "uplink" || parent === "local") return { sort: parent };
  const [word = "", number] = parent.split(" ");
  if (number === undefined) return { sort: "nic", device: word };
  return { sort: word === "vlan" ? "vlan" : "vxlan", id: Number(number) };
}

/** The device on a server that a network's interfaces are made on. */
export function parentDevice(network: MacvlanNetwork, server: ServerDeclaration): string {
  const parent = parentOf(network);
  if (parent.sort === "uplink") return server.uplink;
  return parent.sort === "nic" ? parent.device : deviceName("mv-", network.name);
}

export const modeOf = ({ mode }: MacvlanNetwork): NonNullable<MacvlanNetwork["mode"]> => mode ?? "bridge";
export const driverOf = ({ driver }: MacvlanNetwork): NonNullable<MacvlanNetwork["driver"]> => driver ?? "macvlan";
