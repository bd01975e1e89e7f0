/**
 * Tenant systems from nothing to attached, many at once, and the memory that they take: containers with attach plans of
 * their own, as `up` makes them, joined by the server's agent. Report S4 compares such figures with those of virtual machines.
 */
import { performance } from "node:perf_hooks";
import { findNetwork } from "../../components/config/declaration";
import type { AttachPlan } from "../../components/host/contract/types.gen";
import { ownerFolder, stackLabel } from "../../components/host/objectType";
import { statusFolder } from "../../components/host/objects/agentFolders";
import { sh } from "../../components/host/sh";
import { deviceName, hash32, macFor } from "../../components/net/names";
import { networkContexts } from "../../components/plan/contexts";
import { planServer } from "../../components/plan/plan";
import { isBare } from "../../components/plan/systems";
import { findImage } from "../../images/find";
import type { Cell } from "../cells";
import type { Site } from "../site";
import type { Measured, ServerMethod } from "./method";

const prefix = "exp-boot-";

/** A plan like that of the network's first system, for a system of another name. IPv6 link-local addresses are all it has. */
function planLike(pattern: AttachPlan, network: string, system: string): AttachPlan {
  const iface = pattern.interfaces.find((i) => i.network === network);
  if (iface === undefined) throw new Error(`${network}: no system to take for a pattern`);
  const hash = hash32(`${network} ${system}`).toString(16).padStart(8, "0");
  return {
    ...pattern,
    system,
    container: `ff-${system}`,
    interfaces: [
      {
        ...iface,
        name: "eth0",
        hostName: deviceName("ffv-", hash),
        mac: macFor(system),
        portMac: macFor(`port ${system}`),
        addresses: [],
        routes: [],
        hooks: [],
      },
    ],
  };
}

/** Of all processes of the server, each its part of what is shared: what is free of the machine's memory changes by itself. */
export const usedKiB = async (site: Site, server: string): Promise<number> =>
  Number(await site.ssh(server, "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ { sum += $2 } END { print sum }'"));

export async function removeBooted(site: Site, server: string): Promise<void> {
  const folder = `${ownerFolder({ stack: server })}/attach`;
  await site.ssh(
    server,
    sh`
      rm -f ${folder}/${prefix}*.json
      docker ps -a -q --filter name=${`^/ff-${prefix}`} | xargs -r docker rm -f >/dev/null
    `.text,
  );
}

export const boot: ServerMethod = {
  unit: "s",
  better: "less",
  between: "none",
  impossible: (declaration, { network }) =>
    findNetwork(declaration, network)?.kind === "netns" ? "its systems are namespaces, which boot no container" : undefined,
  measure: async (site, cell: Cell): Promise<Measured> => {
    const count = cell.systems ?? 1;
    const server = site.declaration.servers.find((one) => networkContexts(site.declaration, one).has(cell.network));
    const pattern =
      server && planServer(site.declaration, server).systems.find((plan) => plan.interfaces.some((i) => i.network === cell.network));
    if (server === undefined || pattern === undefined || isBare(pattern))
      throw new Error(`${cell.network}: no container of it on a server`);
    const { name } = server;
    const { id } = findImage(site.root, "tools");
    const systems = Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
    const plans = systems.map((system) => planLike(pattern.attach.spec, cell.network, system));
    await removeBooted(site, name);
    const before = await usedKiB(site, name);
    const begin = performance.now();
    const folder = `${ownerFolder({ stack: name })}/attach`;
    const script = sh`
      cd ${folder}
      ${plans.map((plan) => sh`printf '%s\n' ${JSON.stringify(plan)} >.${plan.system}; mv .${plan.system} ${plan.system}.json`)}
      printf '%s\n' ${systems} | xargs -P 8 -I{} docker run -d --name ff-{} --network none --label ${`${stackLabel}=${name}`} --label flipflap.system={} ${id} >/dev/null
      for system in ${systems}; do
        left=600
        until grep -qs '"pid"' ${statusFolder({ stack: name })}/$system.json && ! grep -q '"error"' ${statusFolder({ stack: name })}/$system.json; do
          left=$((left - 1)); [ "$left" -gt 0 ] || { echo "$system: not attached" >&2; exit 1; }
          sleep 0.05
        done
      done
      for system in ${systems}; do cat ${statusFolder({ stack: name })}/$system.json; done
    `;
    try {
      const raw = await site.ssh(name, script.text, 600);
      const seconds = (performance.now() - begin) / 1000;
      const attached = [...raw.matchAll(/"attachedMs":(\d+)/g)].map(([, text]) => Number(text)).sort((a, b) => a - b);
      const memory = ((await usedKiB(site, name)) - before) / 1024;
      return {
        value: seconds,
        raw,
        details: {
          secondsPerSystem: seconds / count,
          memoryMiBPerSystem: memory / count,
          attachMillisecondsMedian: attached[attached.length >> 1] ?? Number.NaN,
        },
      };
    } finally {
      await removeBooted(site, name);
    }
  },
};
