/** A system's attach plan on the server; the agent follows the folder. What is checked is the container itself. */
import { ownContainers } from "../../net/names";
import { type AttachInterface, type AttachPlan, contractVersion, type Looked, type Property } from "../contract/types.gen";
import { readOnce } from "../json";
import type { ObjectType, Owner, Properties } from "../objectType";
import { type Script, sh } from "../sh";
import { offloadFeatures, type OffloadName, offloadNames } from "./offloads";

/** Our short names of the offloads that a spec sets by the kernel's names. */
function shortOffloads(offloads: Readonly<Record<string, boolean>>): [OffloadName, boolean][] {
  return offloadNames.flatMap((name): [OffloadName, boolean][] => {
    const on = offloads[offloadFeatures[name].kernel[0]];
    return on === undefined ? [] : [[name, on]];
  });
}

/** Of a group's features the kernel may have some on. */
function offloadState(states: Readonly<Record<string, boolean>>, name: OffloadName, wanted: boolean): boolean {
  const features = offloadFeatures[name].kernel.map((feature) => states[feature] ?? false);
  return wanted ? features.every(Boolean) : features.some(Boolean);
}

/** What a server cannot have, which `flipflap doctor` tells, is no fault: whatever was wanted. */
const impossible = "impossible";

/** What a part is to find: the interface's own addresses, without their lengths. */
export const ownAddresses = "@addresses";

/** What the parts of the agent are to find of an interface; plans of before say nothing of it. */
function wantedOfHooks({ addresses, hooks }: AttachInterface): Readonly<Record<string, Property>> {
  const own = addresses.map((address) => address.split("/")[0] ?? "").sort();
  const wanted = hooks.flatMap((hook) => Object.entries((hook.wanted as typeof hook.wanted | undefined) ?? {}));
  return Object.fromEntries(wanted.map(([key, value]) => [key, value === ownAddresses ? own : value]));
}

/** The agent that runs may be of another version than this program, until an `up` replaces it. */
export function mustSpeak(contract: unknown): void {
  if (contract !== contractVersion)
    throw new Error(
      `the agent on this server is of another version of flipflap (contract ${String(contract ?? "none")}, here ${contractVersion}): flipflap up brings this one`,
    );
}

export type AgentQuestion = "firewall" | "guard" | "ila" | "look" | "probe" | "trace";

/** The agent's own program, beside the one that runs: it reads the kernel and changes nothing. */
export const askAgent = ({ stack }: Owner, what: AgentQuestion, ...options: readonly string[]): Script => sh`
  fail() { printf '%s\n' "$*" >&2; exit 1; }
  pid=$(docker inspect -f '{{.State.Pid}}' ${ownContainers.agent} 2>/dev/null) || pid=0
  [ "$pid" != 0 ] || fail "the agent does not run, and without it nothing is known of this"
  nsenter -t "$pid" -m -p /agent ${what} -stack ${stack} ${[...options]}
`;

/** What `agent look` printed, by system. */
export const lookedSystems = readOnce(
  (output) =>
    new Map(
      output
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as Looked)
        .map((looked) => [looked.system, looked]),
    ),
);

export const attachSpec: ObjectType<AttachPlan> = {
  type: "attach",
  identity: (spec) => [spec.system],
  ensure: (spec) => sh`
    file="$folder/attach/"${spec.system}
    mkdir -p "$folder/attach"
    printf '%s\n' ${JSON.stringify(spec, null, 1)} >"$file.new"
    mv "$file.new" "$file.json"
  `,
  remove: (spec) => sh`rm -f "$folder/attach/"${spec.system}.json`,
  // All systems at once, by the agent's own program: a shell starts a dozen processes a system.
  check: (_, owner) => askAgent(owner, "look"),
  wanted: (spec) => {
    const properties: Record<string, Properties[string]> = { processes: spec.processes };
    for (const i of spec.interfaces) {
      if (i.mac !== "") properties[`${i.name}.mac`] = i.mac;
      properties[`${i.name}.mtuBytes`] = i.mtuBytes;
      properties[`${i.name}.up`] = true;
      properties[`${i.name}.addresses`] = [...i.addresses, ...(i.dhcp === true ? ["dhcp"] : [])].sort();
      for (const [short, on] of shortOffloads(i.offloads)) properties[`${i.name}.${short}`] = on;
      for (const [key, value] of Object.entries(wantedOfHooks(i))) properties[`${i.name}.${key}`] = value;
      if (i.docker !== undefined) continue;
      properties[`${i.name}.routes`] = i.routes.map((r) => `${r.to} via ${r.via}`).sort();
      if (i.parent !== undefined) {
        for (const key of ["device", "driver", "mode"] as const) properties[`${i.name}.parent.${key}`] = i.parent[key];
        continue;
      }
      properties[`${i.name}.bridge`] = i.bridge;
      properties[`${i.name}.learns`] = i.learns;
      properties[`${i.name}.port.mac`] = i.portMac;
      properties[`${i.name}.port.mtuBytes`] = i.mtuBytes;
      properties[`${i.name}.port.up`] = true;
      if (i.floods === false) properties[`${i.name}.floods`] = false;
      for (const [short, on] of shortOffloads(i.portOffloads)) properties[`${i.name}.port.${short}`] = on;
    }
    for (const [key, value] of Object.entries(spec.sysctls)) properties[key] = value;
    if (spec.nftables !== undefined) properties.nftables = "as declared";
    if (spec.prohibited !== undefined) properties.prohibited = [...spec.prohibited].sort();
    return properties;
  },
  found: (output, spec) => {
    const looked = lookedSystems(output).get(spec.system);
    if (looked === undefined) return undefined;
    mustSpeak(looked.contract);
    if (looked.error !== undefined) throw new Error(looked.error);
    const properties: Record<string, Properties[string]> = { processes: looked.processes };
    for (const i of spec.interfaces) {
      const now = looked.interfaces[i.name];
      if (now === undefined) continue;
      const { port } = now;
      properties[`${i.name}.mac`] = now.mac;
      properties[`${i.name}.mtuBytes`] = now.mtuBytes;
      properties[`${i.name}.up`] = now.up;
      properties[`${i.name}.addresses`] = now.addresses;
      if (now.parent !== undefined)
        for (const key of ["device", "driver", "mode"] as const) properties[`${i.name}.parent.${key}`] = now.parent[key];
      properties[`${i.name}.bridge`] = port?.bridge ?? "";
      properties[`${i.name}.floods`] = port?.floods ?? true;
      // Off its bridge it has no such setting.
      properties[`${i.name}.learns`] = port === undefined || port.bridge === "" ? i.learns : port.learns;
      properties[`${i.name}.port.mac`] = port?.mac ?? "";
      properties[`${i.name}.port.mtuBytes`] = port?.mtuBytes ?? 0;
      properties[`${i.name}.port.up`] = port?.up ?? false;
      // A way that was told with the address is no declared one.
      const declared = new Set(i.routes.map((r) => `${r.to} via ${r.via}`));
      properties[`${i.name}.routes`] =
        i.dhcp === true ? now.routes.filter((route) => declared.has(route) || !route.startsWith("default ")) : now.routes;
      for (const [short, on] of shortOffloads(i.offloads)) properties[`${i.name}.${short}`] = offloadState(now.offloads, short, on);
      for (const [short, on] of shortOffloads(i.portOffloads))
        properties[`${i.name}.port.${short}`] = offloadState(port?.offloads ?? {}, short, on);
      for (const [key, wanted] of Object.entries(wantedOfHooks(i)))
        properties[`${i.name}.${key}`] = now.parts[key] === impossible ? wanted : (now.parts[key] ?? "");
    }
    for (const key of Object.keys(spec.sysctls)) properties[key] = looked.sysctls[key] ?? "";
    if (spec.nftables !== undefined) properties.nftables = looked.nftables ?? "";
    if (spec.prohibited !== undefined) properties.prohibited = looked.prohibited ?? [];
    return properties;
  },
};
