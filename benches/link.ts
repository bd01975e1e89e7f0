/** Server to server, and the modes of kind bridge: one TCP stream, and TCP_RR with both ends on one core. */
import { sh } from "../components/host/sh";
import type { BenchOptions } from "./bench";
import { measureWays, withTestbed } from "./site";

/** A host beyond the testbed: its own servers are closed to a nat network. */
const outside = "198.51.100.9";

export async function benchLink(options: BenchOptions): Promise<void> {
  await withTestbed(
    "bridge-modes",
    () => undefined,
    (site) =>
      measureWays(site, options, [
        { name: "bridge l2", from: site.system("l2-flip"), to: site.system("l2-flap") },
        { name: "bridge routed, iptables", from: site.system("routed-flip"), to: site.system("routed-flap") },
        { name: "bridge router, iptables", from: site.system("router-flip"), to: site.system("router-flap") },
        {
          name: "bridge nat, nft",
          from: site.system("nat-flip"),
          to: { ...site.itself("flap"), address: outside },
          prepare: async () => {
            const { address } = site.itself("flap");
            await site.ssh("flap", sh`ip addr replace ${`${outside}/32`} dev lo`.text);
            await site.ssh("flip", sh`ip route replace ${outside} via ${address}`.text);
          },
          restore: async () => {
            await site.ssh("flip", sh`ip route del ${outside}`.text);
            await site.ssh("flap", sh`ip addr del ${`${outside}/32`} dev lo`.text);
          },
        },
        { name: "bridge routed, iptables-legacy, MTU 8950", from: site.system("amber-flip"), to: site.system("amber-flap") },
      ]),
  );
}
