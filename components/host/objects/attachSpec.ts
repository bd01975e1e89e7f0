/** A system's attach plan on the server; the agent follows the folder. What is checked is the container itself. */
import { addressesOf, type IpAddresses, type IpLink, jsonList, sections } from "../json";
import type { ObjectType, Properties } from "../objectType";
import { type Script, sh } from "../sh";
import { offloadFeatures, type OffloadName, offloadNames, offloadStates } from "./offloads";
import { routeProtocol } from "./route";

/** The contract with agent/spec.go: the same names. */
export interface AttachSpec {
  readonly system: string;
  readonly container: string;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly interfaces: readonly AttachInterface[];
}

export interface AttachInterface {
  readonly network: string;
  readonly name: string;
  readonly hostName: string;
  readonly mac: string;
  readonly mtuBytes: number;
  readonly addresses: readonly string[];
  readonly routes: readonly { readonly to: string; readonly via: string }[];
  readonly offloads: Readonly<Record<string, boolean>>;
  readonly bridge: string;
  /** Whether the bridge learns MACs at the system's port. */
  readonly learns: boolean;
  readonly hooks: readonly { readonly type: string; readonly args: Readonly<Record<string, unknown>> }[];
}

interface IpRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
}

/** Our short names of the offloads that a spec sets by the kernel's names. */
function shortOffloads(iface: AttachInterface): [OffloadName, boolean][] {
  return offloadNames.flatMap((name): [OffloadName, boolean][] => {
    const on = iface.offloads[offloadFeatures[name].kernel[0]];
    return on === undefined ? [] : [[name, on]];
  });
}

/** The hooks leave entries in the server's kernel: neighbours of a bridge, and the forwarding entry at the port. */
function hookSection(iface: AttachInterface): Script {
  const devices = iface.hooks.map((hook) => String(hook.args.device));
  return sh`
    for device in ${devices}; do
      echo ${`=== neighbours ${iface.hostName}`}; if has_link "$device"; then ip -o neigh show dev "$device" | grep -F ${` lladdr ${iface.mac} `} || :; fi
    done
    echo ${`=== forwarding ${iface.hostName}`}; if has_link ${iface.hostName}; then bridge fdb show brport ${iface.hostName} | grep -F ${iface.mac} || :; fi
  `;
}

/** Addresses that the server holds as permanent neighbours; one that BGP has told of is another server's. */
function permanentNeighbours(text: string | undefined): string[] {
  return (text ?? "")
    .split("\n")
    .filter((line) => / PERMANENT( proto \S+)? *$/.test(line))
    .map((line) => line.split(" ")[0] ?? "")
    .sort();
}

const isAdvertised = (iface: AttachInterface): boolean => iface.hooks.some((hook) => hook.type === "advertised");

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
  check: (spec) => sh`
    pid=$(docker inspect -f '{{.State.Pid}}' ${spec.container} 2>/dev/null || echo 0)
    if [ "$pid" != 0 ]; then
      inside() { nsenter -t "$pid" -n "$@"; }
      echo "=== links"; inside ip -j link show
      echo "=== addresses"; inside ip -j addr show
      echo "=== routes"; inside ip -j route show proto ${routeProtocol}
      echo "=== routes6"; inside ip -j -6 route show proto ${routeProtocol}
      for device in ${spec.interfaces.map((i) => i.hostName)}; do
        echo "=== host $device"; if has_link "$device"; then ip -d -j link show dev "$device"; fi
      done
      for device in ${spec.interfaces.map((i) => i.name)}; do
        echo "=== offloads $device"; inside ethtool -k "$device"
      done
      ${spec.interfaces.map((i) => hookSection(i))}
      for key in ${Object.keys(spec.sysctls)}; do
        echo "=== sysctl $key"; inside sysctl -n "$key"
      done
    fi
  `,
  wanted: (spec) => {
    const properties: Record<string, Properties[string]> = {};
    for (const i of spec.interfaces) {
      properties[`${i.name}.mac`] = i.mac;
      properties[`${i.name}.mtuBytes`] = i.mtuBytes;
      properties[`${i.name}.up`] = true;
      properties[`${i.name}.addresses`] = [...i.addresses].sort();
      properties[`${i.name}.bridge`] = i.bridge;
      properties[`${i.name}.learns`] = i.learns;
      properties[`${i.name}.routes`] = i.routes.map((r) => `${r.to} via ${r.via}`).sort();
      for (const [short, on] of shortOffloads(i)) properties[`${i.name}.${short}`] = on;
      if (i.hooks.length > 0) properties[`${i.name}.neighbours`] = i.addresses.map((a) => a.split("/")[0] ?? "").sort();
      if (isAdvertised(i)) properties[`${i.name}.forwarding`] = "told";
    }
    for (const [key, value] of Object.entries(spec.sysctls)) properties[key] = value;
    return properties;
  },
  found: (output, spec) => {
    const parts = sections(output);
    if (!parts.has("links")) return undefined;
    const links = new Map(jsonList<IpLink>(parts.get("links")).map((link) => [link.ifname, link]));
    const listed = jsonList<IpAddresses>(parts.get("addresses"));
    const routes = [...jsonList<IpRoute>(parts.get("routes")), ...jsonList<IpRoute>(parts.get("routes6"))];
    const properties: Record<string, Properties[string]> = {};
    for (const i of spec.interfaces) {
      const link = links.get(i.name);
      if (link === undefined) continue;
      properties[`${i.name}.mac`] = link.address;
      properties[`${i.name}.mtuBytes`] = link.mtu;
      properties[`${i.name}.up`] = link.flags.includes("UP");
      properties[`${i.name}.addresses`] = addressesOf(listed, i.name);
      const port = jsonList<IpLink>(parts.get(`host ${i.hostName}`))[0];
      properties[`${i.name}.bridge`] = port?.master ?? "";
      // Off its bridge it has no such setting.
      if (port?.master !== undefined) properties[`${i.name}.learns`] = port.linkinfo?.info_slave_data?.learning === true;
      else properties[`${i.name}.learns`] = i.learns;
      properties[`${i.name}.routes`] = routes
        .filter((r) => r.dev === i.name)
        .map((r) => `${r.dst} via ${r.gateway ?? ""}`)
        .sort();
      const states = offloadStates(parts.get(`offloads ${i.name}`) ?? "");
      for (const [short] of shortOffloads(i)) properties[`${i.name}.${short}`] = states[short];
      if (i.hooks.length > 0) properties[`${i.name}.neighbours`] = permanentNeighbours(parts.get(`neighbours ${i.hostName}`));
      const entry = parts.get(`forwarding ${i.hostName}`) ?? "";
      if (isAdvertised(i)) properties[`${i.name}.forwarding`] = entry === "" ? "missing" : entry.includes("static") ? "static" : "told";
    }
    for (const key of Object.keys(spec.sysctls)) properties[key] = parts.get(`sysctl ${key}`) ?? "";
    return properties;
  },
};
