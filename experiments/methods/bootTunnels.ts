/**
 * Gateways of declared sites from their start until every tunnel between them carries packets, and the memory that they take.
 * Report S4 compares such figures with those of virtual machines.
 */
import { performance } from "node:perf_hooks";
import { type Carried, carriedBy, insideOf, modeOf, tunnelsOf } from "../../components/capabilities/vpn/tunnels";
import type { Declaration } from "../../components/config/declaration";
import { sh } from "../../components/host/sh";
import { formatAddress } from "../../components/net/cidr";
import { systemContainer } from "../../components/net/names";
import type { Cell } from "../cells";
import type { Site } from "../site";
import { usedKiB } from "./boot";
import type { Measured, ServerMethod } from "./method";

/** What each site starts: one tunnel a site. */
function started(declaration: Declaration): Carried[] {
  const all = tunnelsOf(declaration)
    .filter((tunnel) => modeOf(tunnel) === "site-to-site")
    .flatMap((tunnel) => carriedBy(declaration, tunnel));
  const first = new Map<string, Carried>();
  for (const one of all) {
    const [end] = one.ends;
    if (!first.has(end.gateway)) first.set(end.gateway, one);
  }
  return [...first.values()];
}

interface Way {
  readonly server: string;
  readonly container: string;
  readonly from: string;
  readonly to: string;
}

const serverOf = (declaration: Declaration, system: string): string =>
  declaration.testbed.systems.find(({ name }) => name === system)?.server ?? "";

function wayOf(declaration: Declaration, { ends: [end, other], family, name }: Carried): Way {
  const [from, to] = [end, other].map((one) => insideOf(declaration, one)?.addresses[family]);
  if (from === undefined || to === undefined) throw new Error(`tunnel ${name}: a gateway without an address inside its site`);
  return {
    server: serverOf(declaration, end.gateway),
    container: systemContainer(end.gateway),
    from: formatAddress(from),
    to: formatAddress(to),
  };
}

/** Containers of each server, at once. */
async function onContainers(site: Site, gateways: Iterable<string>, words: string): Promise<void> {
  const perServer = new Map<string, string[]>();
  for (const gateway of new Set(gateways)) {
    const server = serverOf(site.declaration, gateway);
    perServer.set(server, [...(perServer.get(server) ?? []), systemContainer(gateway)]);
  }
  await Promise.all(
    [...perServer].map(([server, containers]) =>
      site.ssh(server, `printf '%s\\n' ${containers.join(" ")} | xargs -P 8 -n 1 docker ${words} >/dev/null`, 300),
    ),
  );
}

/** Until a packet has come back by each. */
async function carriesAll(site: Site, ways: readonly Way[]): Promise<void> {
  await Promise.all(
    [...new Set(ways.map(({ server }) => server))].map((server) => {
      const own = ways.filter((way) => way.server === server);
      const script = sh`
        carries() {
          left=900
          while [ "$left" -gt 0 ]; do
            left=$((left - 1))
            pid=$(docker inspect -f '{{.State.Pid}}' "$1")
            if [ "$pid" != 0 ] && nsenter -t "$pid" -n ping -n -q -c 1 -W 0.3 -I "$2" "$3" >/dev/null 2>&1; then return 0; fi
            sleep 0.1
          done
          echo "$1: $2 does not reach $3" >&2; return 1
        }
        jobs=
        ${own.map(({ container, from, to }) => sh`carries ${container} ${from} ${to} & jobs="$jobs $!"`)}
        for job in $jobs; do wait "$job"; done
      `;
      return site.ssh(server, script.text, 400);
    }),
  );
}

export const bootTunnels: ServerMethod = {
  unit: "s",
  better: "less",
  between: "none",
  network: (declaration) => started(declaration)[0]?.ends[0].outside.network,
  impossible: (declaration, { sites = 1 }) => {
    const there = started(declaration).length;
    if (there === 0) return "the testbed has no tunnels between sites";
    return there < sites ? `${there === 1 ? "1 site starts" : `${there} sites start`} tunnels` : undefined;
  },
  measure: async (site, { sites = 1 }: Cell): Promise<Measured> => {
    const { declaration } = site;
    const all = started(declaration);
    const chosen = all.slice(0, sites);
    const gatewaysOf = (carried: readonly Carried[]): string[] => [
      ...new Set(carried.flatMap(({ ends }) => ends.map(({ gateway }) => gateway))),
    ];
    const gateways = gatewaysOf(chosen);
    const servers = [...new Set(gateways.map((gateway) => serverOf(declaration, gateway)))];
    const memory = async (): Promise<number> =>
      (await Promise.all(servers.map((server) => usedKiB(site, server)))).reduce((sum, kib) => sum + kib, 0) / 1024;
    try {
      await onContainers(site, gatewaysOf(all), "stop -t 2");
      const before = await memory();
      const begin = performance.now();
      await onContainers(site, gateways, "start");
      const startedSeconds = (performance.now() - begin) / 1000;
      await carriesAll(
        site,
        chosen.map((carried) => wayOf(declaration, carried)),
      );
      const value = (performance.now() - begin) / 1000;
      const memoryMiB = (await memory()) - before;
      return {
        value,
        raw: JSON.stringify({ gateways }),
        details: {
          gateways: gateways.length,
          startedSeconds,
          secondsPerGateway: value / gateways.length,
          memoryMiB,
          memoryMiBPerGateway: memoryMiB / gateways.length,
        },
      };
    } finally {
      await onContainers(site, gatewaysOf(all), "start");
      await carriesAll(
        site,
        all.map((carried) => wayOf(declaration, carried)),
      );
    }
  },
};
