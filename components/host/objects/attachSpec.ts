/** A system's attach plan on the server; the agent follows the folder. What is checked is the container itself. */
import { ownContainers } from "../../net/names";
import { readOnce } from "../json";
import type { ObjectType, Owner, Properties } from "../objectType";
import { type Script, sh } from "../sh";
import { offloadFeatures, type OffloadName, offloadNames } from "./offloads";

/** The contract with agent/spec.go: the same names. */
export interface AttachSpec {
  readonly system: string;
  readonly container: string;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly interfaces: readonly AttachInterface[];
  /** All of nftables in the container; it stands before an interface is there. None: not our business. */
  readonly nftables?: string;
  /** How many it may have at once; docker's provider has no word for it. */
  readonly processes: number;
  /** Docker does not start it: the agent does, once what guards its networks stands. */
  readonly startedByAgent?: boolean;
}

export interface AttachInterface {
  readonly network: string;
  readonly name: string;
  readonly hostName: string;
  readonly mac: string;
  /** Of the server's end: fixed, as a switch's port has one. */
  readonly portMac: string;
  readonly mtuBytes: number;
  readonly addresses: readonly string[];
  readonly routes: readonly { readonly to: string; readonly via: string }[];
  readonly offloads: Readonly<Record<string, boolean>>;
  /** Of the server's end. */
  readonly portOffloads: Readonly<Record<string, boolean>>;
  /** Permanent ones, inside the container. */
  readonly neighbours: readonly { readonly address: string; readonly mac: string }[];
  /** None where the server routes to the system. */
  readonly bridge: string;
  /** Whether the bridge learns MACs at the system's port. */
  readonly learns: boolean;
  /** Frames to stations that the bridge does not know do not go out there. */
  readonly floods?: false;
  readonly hooks: readonly { readonly type: string; readonly args: Readonly<Record<string, unknown>> }[];
  /** It sits on a device of the server, and has no server's end; the fields of that say nothing then. */
  readonly parent?: { readonly device: string; readonly driver: "macvlan" | "ipvlan"; readonly mode: string };
  /** A system of its network tells it an IPv4 address, and the way to others. */
  readonly dhcp?: boolean;
  /** It takes that way: no interface has a declared one. */
  readonly dhcpRoute?: boolean;
  /** Changes with the device that it sits on: another one of the same name has none of its interfaces. */
  readonly parentIdentity?: string | undefined;
  /** Docker makes it: the server's end is docker's own. The guard is a script below the folder of kinds. */
  readonly docker?: DockerJoin;
}

/** The contract with agent/dockerNetwork.go: the same names. */
export interface DockerJoin {
  readonly network: string;
  /** A script below the folder of kinds that must have run before anybody is let in; none where it is empty. */
  readonly guard: string;
  /** Whose being there keeps the network's namespace. */
  readonly holder?: string;
  /** It runs in the network's own namespace, or, where a container is named, once that was started anew. */
  readonly guardedBy?: string;
  /** By Cilium, which knows systems by their labels. */
  readonly cilium?: boolean;
}

/** The contract with agent/look.go: what is there of a system that runs. */
interface Looked {
  readonly system: string;
  readonly error?: string;
  readonly interfaces: Readonly<Record<string, LookedInterface>>;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly processes: number;
  readonly nftables?: string;
}

interface LookedInterface {
  readonly parent?: { readonly device: string; readonly driver: string; readonly mode: string };
  readonly mac: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
  readonly offloads: Readonly<Record<string, boolean>>;
  readonly port: {
    readonly mac: string;
    readonly mtuBytes: number;
    readonly up: boolean;
    readonly bridge: string;
    readonly learns: boolean;
    readonly floods: boolean;
    readonly offloads: Readonly<Record<string, boolean>>;
  } | null;
  readonly neighbours: readonly string[];
  readonly forwarding?: string;
  readonly shortcut?: string;
  readonly ila?: string;
}

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

const advertisedHook = (iface: AttachInterface) => iface.hooks.find((hook) => hook.type === "advertised");

const isOfIla = (iface: AttachInterface): boolean => iface.hooks.some((hook) => hook.type === "ila");

/** Where the kernel has no tcx frames go by the bridge, which is no fault; `flipflap doctor` tells. */
const impossible = "impossible";

/** The agent's own program, beside the one that runs: it reads the kernel and changes nothing. */
export const askAgent = ({ stack }: Owner, what: "look" | "ila" | "probe"): Script => sh`
  fail() { printf '%s\n' "$*" >&2; exit 1; }
  pid=$(docker inspect -f '{{.State.Pid}}' ${ownContainers.agent} 2>/dev/null) || pid=0
  [ "$pid" != 0 ] || fail "the agent does not run, and without it nothing is known of this"
  nsenter -t "$pid" -m -p /agent ${what} -stack ${stack}
`;

const lookedSystems = readOnce(
  (output) =>
    new Map(
      output
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as Looked)
        .map((looked) => [looked.system, looked]),
    ),
);

export const attachSpec: ObjectType<AttachSpec> = {
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
      if (i.hooks.length > 0) properties[`${i.name}.neighbours`] = i.addresses.map((a) => a.split("/")[0] ?? "").sort();
      if (isOfIla(i)) properties[`${i.name}.ila`] = "on";
      const hook = advertisedHook(i);
      if (hook !== undefined) {
        properties[`${i.name}.forwarding`] = "told";
        properties[`${i.name}.shortcut`] = hook.args.shortcut === true ? "on" : "off";
      }
    }
    for (const [key, value] of Object.entries(spec.sysctls)) properties[key] = value;
    if (spec.nftables !== undefined) properties.nftables = "as declared";
    return properties;
  },
  found: (output, spec) => {
    const looked = lookedSystems(output).get(spec.system);
    if (looked === undefined) return undefined;
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
      properties[`${i.name}.learns`] = port === null || port.bridge === "" ? i.learns : port.learns;
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
      if (i.hooks.length > 0) properties[`${i.name}.neighbours`] = now.neighbours;
      if (isOfIla(i)) properties[`${i.name}.ila`] = now.ila ?? "";
      const hook = advertisedHook(i);
      if (hook !== undefined) {
        properties[`${i.name}.forwarding`] = now.forwarding ?? "missing";
        const isOn = hook.args.shortcut === true;
        properties[`${i.name}.shortcut`] = now.shortcut === impossible ? (isOn ? "on" : "off") : (now.shortcut ?? "");
      }
    }
    for (const key of Object.keys(spec.sysctls)) properties[key] = looked.sysctls[key] ?? "";
    if (spec.nftables !== undefined) properties.nftables = looked.nftables ?? "";
    return properties;
  },
};
