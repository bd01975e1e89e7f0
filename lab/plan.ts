/** The lab that a project's declaration asks for. */
import { type Declaration, linkDevice } from "../components/config/declaration";
import { checkedDeclaration } from "../components/plan/check";
import type { LabPlan } from "./lab";
import { labNameOf } from "./names";
import { readLabState } from "./state";
import type { LabLink } from "./wiring";

export function planLab(root: string, declaration: Declaration): LabPlan {
  const servers = declaration.servers.filter((server) => server.isLab);
  const inLab = (name: string): boolean => servers.some((server) => server.name === name);
  const links = declaration.testbed.links.flatMap((link): LabLink[] => {
    const ends = servers.filter((s) => link.between.includes(s.name)).map((s) => ({ server: s.name, device: linkDevice(link, s) }));
    return ends.length < 2 || !link.between.every(inLab) ? [] : [{ ends }];
  });
  // As a real server's: it has its NIC, and nothing is plugged in.
  const loose = servers.flatMap(({ name, uplink }): LabLink[] => {
    const isPlugged = links.some(({ ends }) => ends.some((end) => end.server === name && end.device === uplink));
    return isPlugged ? [] : [{ ends: [{ server: name, device: uplink }] }];
  });
  return {
    name: readLabState(root)?.name ?? (process.env.FLIPFLAP_LAB || labNameOf(root)),
    root,
    servers: servers.map(({ name, uplink }) => ({ name, uplink })),
    links: [...links, ...loose],
  };
}

/** The plan of a project's own files; throws a ConfigError where they have faults. */
export function projectLab(root: string): LabPlan {
  return planLab(root, checkedDeclaration(root, readLabState(root), false));
}
