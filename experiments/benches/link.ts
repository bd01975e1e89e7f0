/** Server to server, and the modes of kind bridge: one TCP stream, and TCP_RR with both ends on one core. */
import type { BenchOptions } from "./main";
import { measureWays, withTestbed } from "./site";

export async function benchLink(options: BenchOptions): Promise<void> {
  await withTestbed(
    "bridge-modes",
    () => undefined,
    (site) =>
      measureWays(site, options, [
        { name: "bridge l2", from: site.system("l2-flip"), to: site.system("l2-flap") },
        { name: "bridge routed, iptables", from: site.system("routed-flip"), to: site.system("routed-flap") },
        { name: "bridge router, iptables", from: site.system("router-flip"), to: site.system("router-flap") },
        { name: "bridge nat, nft", from: site.system("nat-flip"), to: site.itself("flap") },
        { name: "bridge routed, iptables-legacy, MTU 8950", from: site.system("amber-flip"), to: site.system("amber-flap") },
      ]),
  );
}
