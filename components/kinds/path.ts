/** The devices that a packet is to meet, by what is declared. Pure. */
import { type Declaration, findServer, linkDevice } from "../config/declaration";
import type { Network } from "../config/types.gen";
import { portName } from "../net/names";
import type { Member } from "./contexts";

export interface Waypoint {
  readonly server: string;
  /** A router's, an overlay's; empty: the server's own. */
  readonly namespace: string;
  /** What ends in `*`: one of those, where another program gives the names. */
  readonly device: string;
}

/** A member as one end of a way. */
export interface End<N extends Network = Network> {
  readonly network: N;
  readonly member: Member;
}

export const onServer = (server: string, device: string): Waypoint => ({ server, namespace: "", device });

/** The server's end of a member's interface. */
export const portOf = (member: Member): Waypoint => onServer(member.server, portName(member));

/** The way across servers where there are two; undefined where no link joins them. */
export function acrossServers(declaration: Declaration, from: Member, to: Member): readonly Waypoint[] | undefined {
  return from.server === to.server ? [] : crossing(declaration, from.server, to.server);
}

/** Out of one server and into another, over their link; undefined where they have none. */
export function crossing({ servers, testbed }: Declaration, from: string, to: string): readonly [Waypoint, Waypoint] | undefined {
  const link = testbed.links.find(({ between }) => between.includes(from) && between.includes(to));
  const [out, into] = [findServer({ servers, testbed } as Declaration, from), findServer({ servers, testbed } as Declaration, to)];
  if (link === undefined || out === undefined || into === undefined) return undefined;
  return [onServer(from, linkDevice(link, out)), onServer(to, linkDevice(link, into))];
}
