/**
 * Gateways of declared sites from their start until every tunnel between them carries packets, and the memory that they take.
 * Report S4 compares such figures with those of virtual machines.
 */
import { performance } from "node:perf_hooks";
import type { StartedWay } from "../../components/capabilities/capability";
import { capabilities } from "../../components/capabilities/registry";
import type { Declaration } from "../../components/config/declaration";
import { sh } from "../../components/host/sh";
import { systemContainer } from "../../components/net/names";
import type { Cell } from "../cells";
import type { Site } from "../site";
import { usedKiB } from "./boot";
import type { Measured, ServerMethod } from "./method";

const started = (declaration: Declaration): StartedWay[] => capabilities.flatMap((capability) => capability.started?.(declaration) ?? []);

interface Way {
  readonly server: string;
  readonly container: string;
  readonly from: string;
  readonly to: string;
}

const serverOf = (declaration: Declaration, system: string): string =>
  declaration.testbed.systems.find(({ name }) => name === system)?.server ?? "";

const wayOf = (declaration: Declaration, { system, from, to }: StartedWay): Way => ({
  server: serverOf(declaration, system),
  container: systemContainer(system),
  from,
  to,
});

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
  network: (declaration) => started(declaration)[0]?.network,
  impossible: (declaration, { sites = 1 }) => {
    const there = started(declaration).length;
    if (there === 0) return "the testbed has no tunnels between sites";
    return there < sites ? `${there === 1 ? "1 site starts" : `${there} sites start`} tunnels` : undefined;
  },
  measure: async (site, { sites = 1 }: Cell): Promise<Measured> => {
    const { declaration } = site;
    const all = started(declaration);
    const chosen = all.slice(0, sites);
    const gatewaysOf = (ways: readonly StartedWay[]): string[] => [...new Set(ways.flatMap(({ system, peer }) => [system, peer]))];
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
        chosen.map((way) => wayOf(declaration, way)),
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
        all.map((way) => wayOf(declaration, way)),
      );
    }
  },
};
