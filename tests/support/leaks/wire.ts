/** Sends the matrix' cells from where they are from, and hears at every system and server what arrives. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { quote } from "../../../components/host/sh";
import type { Status } from "../../../cli/verbs/status";
import { deviceName, systemContainer } from "../../../components/net/names";
import { loadDeclaration } from "../../../components/config/load";
import { formatAddress } from "../../../components/net/cidr";
import { kindOf } from "../../../components/kinds/registry";
import { readLabState } from "../../../lab/state";
import { run } from "../../../support/process";
import { codeRoot } from "../../../support/project";
import { type Cell, forgedTunnelByte, type Host, judge, type Lab, type Seen, type Station, tunnelPorts, type Verdict } from "./cells";
import type { TriedNetwork } from "./samples";

const program = readFileSync(join(codeRoot, "tests/support/leaks/wire.pl"), "utf8");

/** Of the server's devices of a network, those that may take what its systems send. */
const devicePrefixes = ["br-", "mw-", "mv-", "ms-", "rt-"];

export interface Wire {
  readonly lab: Lab;
  /** Numbers are those of all cells, whichever are sent. */
  send(cells: readonly Cell[], some: (cell: Cell) => boolean): Promise<Seen>;
}

/** The namespace of a station, and the number of its interface there. */
interface Place {
  readonly namespace: string;
  readonly index: number;
}

const words = (line: string, name: string): string[] =>
  line
    .split("|")
    .find((part) => part.startsWith(`${name}=`))
    ?.slice(name.length + 1)
    .split(" ")
    .filter(Boolean) ?? [];

/** Facts of a server's stations: a line each. Each asks its next hops first, so that they are known. */
function factsOf(systems: readonly { readonly name: string; readonly device: string; readonly network: string }[]): string {
  const lines = systems.map(({ name, device, network }) => {
    const devices = devicePrefixes.map((prefix) => deviceName(prefix, network)).join(" ");
    return `station ${[name, systemContainer(name), device, devices].map(quote).join(" ")} &`;
  });
  return `
station() {
  at=/run/netns/$2
  [ -e "$at" ] || at=/proc/$(docker inspect -f '{{.State.Pid}}' "$2")/ns/net
  in="nsenter --net=$at"
  vias=$( ($in ip route; $in ip -6 route) | sed -n "s/.* via \\([^ ]*\\) dev $3.*/\\1/p" | sort -u)
  for via in $vias; do $in ping -c 2 -i 0.3 -W 1 "$via%$3" >/dev/null 2>&1 || $in ping -c 2 -i 0.3 -W 1 "$via" >/dev/null 2>&1; done
  hops=
  for via in $vias; do hops="$hops $($in ip neigh show "$via" dev $3 | sed -n 's/.*lladdr \\([^ ]*\\).*/\\1/p')"; done
  for device in $4; do [ ! -e /sys/class/net/$device ] || hops="$hops $(cat /sys/class/net/$device/address)"; done
  echo "name=$1|namespace=$at|index=$($in ip -o link show dev $3 | cut -d: -f1)|mac=$($in ip -o link show dev $3 | sed -n 's/.*link.ether \\([^ ]*\\).*/\\1/p')|addresses=$($in ip -o addr show dev $3 scope global | awk '{ sub("/.*", "", $4); print $4 }' | tr '\\n' ' ')|hops=$hops"
}
${lines.join("\n")}
wait
echo "addresses=$(ip -o addr show | awk '$4 !~ /^(127|fe80|::1)/ { sub("/.*", "", $4); print $4 }' | tr '\\n' ' ')|vnis=$(ip -d -o link show type vxlan | sed -n 's/.*vxlan id \\([0-9]*\\).*/\\1/p' | tr '\\n' ' ')"
`;
}

export async function openWire(root: string, status: Status, networks: readonly TriedNetwork[]): Promise<Wire> {
  const ssh = (server: string): string[] => ["-F", join(root, ".flipflap/ssh/config"), server];
  const { declaration } = loadDeclaration(root, readLabState(root), true);
  if (declaration === undefined) throw new Error("the matrix' testbed has faults");
  const [stations, hosts, gateways, places] = [[] as Station[], [] as Host[], new Map<string, string[]>(), new Map<string, Place>()];
  const served = new Map<string, string[]>();
  const vnis = new Set<number>();
  for (const server of declaration.servers) {
    const own = networks.flatMap((network) =>
      network.systems
        .filter((system) => system.server === server.name)
        .map(({ name, isShut = false }) => {
          const device = status.systems.find((system) => system.name === name)?.interfaces[0]?.name ?? "eth0";
          return { name, network, isShut, device };
        }),
    );
    const said = await run(["ssh", ...ssh(server.name), "sh -s"], {
      stdin: factsOf(own.map((one) => ({ ...one, network: one.network.network }))),
    });
    for (const line of said.split("\n")) {
      const [name = ""] = words(line, "name");
      const [addresses, nextHops] = [words(line, "addresses"), [...new Set(words(line, "hops"))]];
      const one = own.find((system) => system.name === name);
      if (one !== undefined) {
        const [[namespace = ""], [index = ""], [mac = ""]] = [words(line, "namespace"), words(line, "index"), words(line, "mac")];
        places.set(name, { namespace, index: Number(index) });
        stations.push({ name, network: one.network, isShut: one.isShut, server: server.name, mac, addresses, nextHops });
      } else if (addresses.length > 0) {
        const underlay = [server.underlay.ipv4, server.underlay.ipv6].flatMap((text) => text?.split("/")[0] ?? []);
        hosts.push({ server: server.name, addresses, underlay });
        for (const vni of words(line, "vnis")) vnis.add(Number(vni));
      }
    }
    for (const network of declaration.testbed.networks) {
      const kind = kindOf(network);
      gateways.set(`${network.name} ${server.name}`, Object.values(kind.gateways(network, server.name)).map(formatAddress));
      served.set(`${network.name} ${server.name}`, Object.values(kind.ownAddresses?.(network, server.name) ?? {}).map(formatAddress));
    }
  }
  // Docker numbers its overlays from here, in namespaces of their own.
  for (const vni of [4097, 4098]) vnis.add(vni);
  const lab: Lab = { stations, hosts, gateways, served, vnis: [...vnis].sort((a, b) => a - b) };

  async function listen(server: string): Promise<{ end(): Promise<string> }> {
    const child = spawn("ssh", [...ssh(server), `perl -e ${quote(program)} listen ${tunnelPorts.join(",")} ${forgedTunnelByte}`]);
    let [said, complaint] = ["", ""];
    const isReady = new Promise<void>((resolve) => {
      child.stdout.on("data", (data: Buffer) => {
        said += data.toString();
        if (said.includes("ready")) resolve();
      });
      child.on("close", () => resolve());
    });
    child.stderr.on("data", (data: Buffer) => (complaint += data.toString()));
    const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
    const own = stations.filter((one) => one.server === server);
    child.stdin.write(
      [...own.map(({ name }) => `station ${name} ${places.get(name)?.namespace ?? ""}`), `host ${server}`, "go", ""].join("\n"),
    );
    await isReady;
    if (!said.includes("ready")) throw new Error(`${server} hears nothing: ${complaint}`);
    return {
      end: async () => {
        child.stdin.end();
        await ended;
        return said;
      },
    };
  }

  async function send(cells: readonly Cell[], some: (cell: Cell) => boolean): Promise<Seen> {
    const seen = new Map<number, Set<string>>();
    const ears = await Promise.all(hosts.map(({ server }) => listen(server)));
    await Promise.all(
      hosts.map(async ({ server }) => {
        const lines = stations
          .filter((one) => one.server === server)
          .flatMap((from) => {
            const place = places.get(from.name);
            const frames = cells.filter((cell) => cell.from === from && some(cell)).flatMap((cell) => cell.frames);
            if (frames.length === 0) return [];
            return [`at ${place?.namespace ?? ""} ${place?.index ?? 0}`, ...frames.map((frame) => frame.toString("hex"))];
          });
        if (lines.length > 0) await run(["ssh", ...ssh(server), `perl -e ${quote(program)} send`], { stdin: lines.join("\n") + "\n" });
      }),
    );
    for (const ear of ears) {
      for (const line of (await ear.end()).split("\n")) {
        const [, who = "", ids = ""] = /^(.+?): (.*)$/.exec(line) ?? [];
        for (const id of ids.split(" ").filter(Boolean)) {
          const number = parseInt(id, 16);
          seen.set(number, (seen.get(number) ?? new Set()).add(who));
        }
      }
    }
    return seen;
  }
  return { lab, send };
}

/** Sends the cells and judges; what must arrive is sent once more before it is lost, since one packet may be. */
export async function tryCells(wire: Wire, cells: readonly Cell[], some: (cell: Cell) => boolean): Promise<Verdict> {
  const first = judge(cells, wire.lab.stations, await wire.send(cells, some), some);
  if (first.lost.length === 0) return first;
  const again = (cell: Cell): boolean => some(cell) && cell.mustReach !== undefined && first.lost.includes(cell.mustReach);
  return { ...first, lost: judge(cells, wire.lab.stations, await wire.send(cells, again), again).lost };
}
