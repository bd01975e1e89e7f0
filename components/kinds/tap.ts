/** Where programs see an interface's packets before anything else does. Pure. */
import type { Network } from "../config/types.gen";
import { portName } from "../net/names";
import type { Member, NetworkContext } from "./contexts";
import type { NetworkKind } from "./kind";

/** Of a device of the server's: by which direction the system's own packets come, and which of them are the system's where it has others', too. */
export type Tap =
  /** The server's end of the interface is its own. */
  | { readonly by: "port"; readonly device: string; readonly sends: "ingress" }
  /** A device of the server that several interfaces sit on. Between two of them on one server packets come by its ingress alone. */
  | { readonly by: "parent"; readonly device: string; readonly sends: "egress"; readonly toldBy: "mac" | "address" }
  /** Docker makes the server's end, by whatever name: the agent finds it. */
  | { readonly by: "docker"; readonly sends: "ingress" };

export function tapOf(kind: NetworkKind, context: NetworkContext<Network>, member: Member): Tap {
  const point = kind.attach?.(context, member);
  if (point?.docker !== undefined) return { by: "docker", sends: "ingress" };
  if (point?.parent !== undefined)
    return {
      by: "parent",
      device: point.parent.device,
      sends: "egress",
      toldBy: kind.hasParentsMac?.(context.network) === true ? "address" : "mac",
    };
  return { by: "port", device: portName(member), sends: "ingress" };
}
