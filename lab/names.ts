/** Every name of a lab derives from its own name, so that several live side by side. Pure. */
import { createHash } from "node:crypto";
import { basename } from "node:path";

/** The default: the project folder's name and four hex digits of its path. */
export function labNameOf(projectRoot: string): string {
  const readable = basename(projectRoot)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 20);
  return `${readable || "lab"}-${shortHash(projectRoot)}`;
}

export function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 4);
}

/** The folder of a lab on the machine. Not below /etc, /var/lib or /root: servers lay overlays over those. */
export const labsFolder = "/srv/flipflap-lab";

export interface LabNames {
  readonly folder: string;
  readonly namespace: (server: string) => string;
  readonly cgroup: (server: string) => string;
  /** Where the uplink ends of powered-off servers wait. */
  readonly asideNamespace: string;
  /** The switch of links with more than two ends. */
  readonly switchNamespace: string;
  /** The machine's end of a server's management link; fits 15 characters for up to 1,000 servers. */
  readonly managementDevice: (serverIndex: number) => string;
  /** A name for a server's NIC while it is on its way there, or waits. */
  readonly transitDevice: (nic: string) => string;
}

export function labNames(lab: string): LabNames {
  const id = shortHash(lab);
  return {
    folder: `${labsFolder}/${lab}`,
    namespace: (server) => `ff-${id}-${server}`,
    cgroup: (server) => `flipflap-${id}-${server}`,
    asideNamespace: `ff-${id}--aside`,
    switchNamespace: `ff-${id}--switch`,
    managementDevice: (serverIndex) => `ff-${id}-m${serverIndex}`,
    transitDevice: (nic) => `ff-${id}-${createHash("sha256").update(nic).digest("hex").slice(0, 7)}`,
  };
}
