/** A project whose stack files name another project's lab servers as somebody's real ones. */
import { readFileSync } from "node:fs";
import type { Project } from "../../benches/support/scratchProject";
import type { LabState } from "../../components/config/labState";

export function nameAsReal(other: Project, lab: Project, testbed: string, user = "root"): void {
  const { servers } = JSON.parse(readFileSync(`${lab.root}/.flipflap/lab.json`, "utf8")) as LabState;
  for (const [server, { address, hostKey, uplink, underlay }] of Object.entries(servers)) {
    const config = {
      "flipflap:testbed": testbed,
      ...(server === "flip" && { "flipflap:hub": true }),
      "flipflap:server": { address, hostKey, uplink, underlay, user, privateKeyFile: `${lab.root}/.flipflap/ssh/lab_key` },
    };
    other.write(`Pulumi.${server}.yaml`, JSON.stringify({ config }));
  }
}
