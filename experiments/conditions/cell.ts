/** What a cell sets before it is measured, and what puts all back, whatever happened in between. */
import { findNetwork } from "../../components/config/declaration";
import { ensureExperimentRules, removeExperimentRules, type RulesPlace } from "../../components/host/objects/experimentRules";
import { lockedScript } from "../../components/host/script";
import { sh } from "../../components/host/sh";
import { rulesPlaceOf } from "../../components/capabilities/registry";
import { networkPolicies } from "../../components/plan/policies";
import { runScript } from "../../deploy/ssh";
import type { Cell } from "../cells";
import type { End, Site } from "../site";

async function onServers(site: Site, script: (stack: string) => string): Promise<void> {
  await Promise.all(
    site.declaration.servers.map(async (server) => {
      const finished = await runScript(site, server, script(server.name));
      if (finished.code !== 0) throw new Error(`${server.name}: ${finished.stderr.trim()}`);
    }),
  );
}

/** Takes away rules that an experiment made, also one that was killed. */
export const clearRules = (site: Site): Promise<void> => onServers(site, (stack) => lockedScript({ stack }, removeExperimentRules));

interface Interface {
  readonly mtuBytes: number;
  readonly tso: boolean;
}

async function lookAt(site: Site, end: End): Promise<Interface> {
  const device = end.system?.device ?? "";
  const printed = await site.exec(end, sh`ip -o link show dev ${device}; ethtool -k ${device}`);
  return { mtuBytes: Number(/ mtu (\d+) /.exec(printed)?.[1]), tso: /^tcp-segmentation-offload: on/m.test(printed) };
}

async function setInterface(site: Site, end: End, { mtuBytes, tso }: Partial<Interface>): Promise<void> {
  const device = end.system?.device;
  if (device === undefined) return;
  await site.exec(
    end,
    sh`
      ${mtuBytes === undefined ? sh`:` : sh`ip link set dev ${device} mtu ${mtuBytes}`}
      ${tso === undefined ? sh`:` : sh`ethtool -K ${device} tso ${tso ? "on" : "off"} >/dev/null`}
    `,
  );
}

/** Rules beside declared policies would be looked at after these, or not at all. */
function placeOf(site: Site, { network: name, rules = 0 }: Cell): RulesPlace | undefined {
  const network = findNetwork(site.declaration, name);
  if (network === undefined) return undefined;
  if (rules > 0 && networkPolicies(site.declaration, network).resolved.selected.length > 0)
    throw new Error(`network ${name} has policies; rules are put where there are none`);
  const place = rulesPlaceOf(site.declaration, network);
  if (place !== undefined && "nowhere" in place) {
    if (rules > 0) throw new Error(`network ${name}: ${place.nowhere}`);
    return undefined;
  }
  return place;
}

/** Runs `work` under the cell's conditions; it is told how long its rules took to be in force. */
export async function underConditions<T>(
  site: Site,
  cell: Cell,
  ends: readonly End[],
  work: (rulesSeconds: number | undefined) => Promise<T>,
): Promise<T> {
  const { rules, filter = "iptables", match = "none", mtuBytes, tso } = cell;
  const changesInterfaces = mtuBytes !== undefined || tso !== undefined;
  const before = changesInterfaces ? await Promise.all(ends.map((end) => lookAt(site, end))) : [];
  const tooLarge = before.find((one) => mtuBytes !== undefined && mtuBytes > one.mtuBytes);
  if (tooLarge !== undefined) throw new Error(`MTU ${mtuBytes} is above the network's ${tooLarge.mtuBytes}`);
  let rulesSeconds: number | undefined;
  try {
    if (rules !== undefined) {
      const begin = performance.now();
      await onServers(site, (stack) =>
        lockedScript({ stack }, ensureExperimentRules({ count: rules, filter, match, place: placeOf(site, cell) }, { stack })),
      );
      rulesSeconds = (performance.now() - begin) / 1000;
    }
    if (changesInterfaces) await Promise.all(ends.map((end) => setInterface(site, end, { mtuBytes, tso })));
    return await work(rulesSeconds);
  } finally {
    if (changesInterfaces) await Promise.all(ends.map((end, i) => setInterface(site, end, before[i] ?? {})));
    if (rules !== undefined) await clearRules(site);
  }
}
