import { evpnNetworks } from "../../components/kinds/evpn/identifiers";
import { ribCommand } from "../../components/kinds/evpn/routeServer";
import { readRoutes } from "../../components/kinds/evpn/routes";
import { openDeployed, sayChanged } from "../../deploy/deployed";
import { runScript } from "../../deploy/ssh";
import { UsageError } from "../../support/usageError";
import { table } from "../table";
import { jsonOption, type Verb } from "../verb";

export const routes: Verb = {
  name: "routes",
  words: "",
  summary: "show the routes that the EVPN route servers hold",
  details: `
Type 2 (macadv) says where a system is, by MAC and by MAC with IP; type 3 (multicast) that a server takes part in a VN;
type 5 (prefix) that a tenant's router on a server has a network (irb: symmetric).
Two route servers are asked one after the other and should tell the same.

Exit code 0: every route server answered; 3: one did not.`,
  options: { ...jsonOption, network: { type: "string", value: "NAME", help: "of this network only" } },
  run: async ({ flags }) => {
    const context = await openDeployed();
    sayChanged(context);
    const networks = evpnNetworks(context.declaration);
    const wanted = networks.find((network) => network.name === flags.network);
    if (flags.network !== undefined && wanted === undefined)
      throw new UsageError(
        `there is no network "${String(flags.network)}" of kind evpn; there are ${networks.map((n) => n.name).join(", ") || "none"}`,
      );
    const hubs = context.declaration.servers.filter((server) => server.hub);
    const all = await Promise.all(
      hubs.map(async (hub) => {
        const finished = await runScript(context, hub, `${ribCommand.text}\n`);
        const listed = finished.code === 0 ? readRoutes(finished.stdout) : [];
        const own = listed.filter((route) => wanted === undefined || route.vn === wanted.vn);
        return { routeServer: hub.name, answers: finished.code === 0, routes: own };
      }),
    );
    if (flags.json === true) console.log(JSON.stringify(all, null, 2));
    else {
      for (const { routeServer, answers, routes: listed } of all) {
        const rows = listed.map((r) => [
          r.type,
          String(r.vn),
          r.mac ?? "",
          r.ip ?? r.prefix ?? "",
          r.nextHop,
          r.routeDistinguisher,
          r.routeTargets.join(" "),
          String(r.sequence),
        ]);
        console.log(`${routeServer}: ${answers ? `${listed.length} routes` : "the route server does not answer"}`);
        if (rows.length > 0) console.log(`${table(["TYPE", "VN", "MAC", "IP", "NEXT HOP", "RD", "RT", "MOVED"], rows)}\n`);
      }
    }
    return all.every(({ answers }) => answers) && all.length > 0 ? 0 : 3;
  },
};
