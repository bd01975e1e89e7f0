/**
 * The cables and switches between a lab's servers. A link of two servers is a cable: one veth pair, whose other end loses its
 * carrier with the server. Another server that joins makes it a switch: those that are on a switch notice nothing of who comes
 * and goes, but a cable has to be plugged out of both its servers first.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { macFor } from "../components/net/names";
import { run } from "../support/process";
import { type LabNames, shortHash } from "./names";
import * as servers from "./server";

/** A server's NIC that a link ends at. */
export interface LinkEnd {
  readonly server: string;
  readonly device: string;
}

export interface LabLink {
  readonly ends: readonly LinkEnd[];
}

const nicOf = ({ server, device }: LinkEnd): string => `${server}:${device}`;

const endOf = (nic: string): LinkEnd => {
  const [server = "", device = ""] = nic.split(":");
  return { server, device };
};

/** Fixed, as a real NIC's is. */
export const nicMac = (lab: string, { server, device }: LinkEnd): string => macFor(`nic ${lab} ${server} ${device}`);

const cableOf = (ends: readonly LinkEnd[]): string => `cable ${ends.map(nicOf).sort().join(" ")}`;
const isSwitch = (wire: string | undefined): wire is string => wire?.startsWith("sw") === true;

const switchMtuBytes = "9216";

export class Wiring {
  /** Each NIC's cable or switch, noted once it is plugged in. */
  private wires: Record<string, string>;
  private readonly file: string;

  constructor(
    private readonly lab: string,
    private readonly names: LabNames,
  ) {
    this.file = join(names.folder, "wires");
    this.wires = existsSync(this.file) ? (JSON.parse(readFileSync(this.file, "utf8")) as Record<string, string>) : {};
  }

  private note(nic: string, wire: string | undefined): void {
    const { [nic]: _, ...others } = this.wires;
    this.wires = wire === undefined ? others : { ...others, [nic]: wire };
    writeFileSync(`${this.file}.new`, `${JSON.stringify(this.wires, null, 2)}\n`);
    renameSync(`${this.file}.new`, this.file);
  }

  /** Where a NIC is: in its server, or aside while that is off. */
  private async find(end: LinkEnd): Promise<{ namespace: string; device: string } | undefined> {
    const [there, aside] = [this.names.namespace(end.server), this.names.asideNamespace];
    if (await servers.hasDevice(there, end.device)) return { namespace: there, device: end.device };
    const waiting = this.names.transitDevice(nicOf(end));
    return (await servers.hasDevice(aside, waiting)) ? { namespace: aside, device: waiting } : undefined;
  }

  private async unplug(end: LinkEnd): Promise<void> {
    this.note(nicOf(end), undefined);
    const found = await this.find(end);
    if (found !== undefined) await run(["ip", "-n", found.namespace, "link", "del", found.device]);
  }

  private async isPlugged(end: LinkEnd, wire: string): Promise<boolean> {
    return this.wires[nicOf(end)] === wire && (await this.find(end)) !== undefined;
  }

  private async plugCable(ends: readonly LinkEnd[]): Promise<void> {
    const wire = cableOf(ends);
    const plugged = await Promise.all(ends.map((end) => this.isPlugged(end, wire)));
    if (plugged.every(Boolean)) return;
    for (const end of ends) await this.unplug(end);
    const [one = "", other = ""] = ends.map((end) => this.names.transitDevice(nicOf(end)));
    await run(["ip", "-n", this.names.asideNamespace, "link", "add", one, "type", "veth", "peer", "name", other]);
    for (const end of ends) this.note(nicOf(end), wire);
  }

  private async plugIntoSwitch(ends: readonly LinkEnd[], wire: string): Promise<void> {
    const { switchNamespace, asideNamespace, transitDevice } = this.names;
    await servers.makeNamespace(switchNamespace);
    const inSwitch = ["ip", "-n", switchNamespace, "link"];
    if (!(await servers.hasDevice(switchNamespace, wire))) await run([...inSwitch, "add", wire, "mtu", switchMtuBytes, "type", "bridge"]);
    await run([...inSwitch, "set", wire, "up"]);
    for (const end of ends) {
      if (await this.isPlugged(end, wire)) continue;
      await this.unplug(end);
      const nic = nicOf(end);
      const port = `p${shortHash(nic)}${shortHash(`port ${nic}`)}`;
      if (await servers.hasDevice(switchNamespace, port)) await run([...inSwitch, "del", port]);
      const add = ["ip", "-n", asideNamespace, "link", "add", transitDevice(nic)];
      await run([...add, "type", "veth", "peer", "name", port, "netns", switchNamespace]);
      await run([...inSwitch, "set", port, "mtu", switchMtuBytes, "master", wire, "up"]);
      this.note(nic, wire);
    }
  }

  private freeSwitch(): string {
    const taken = new Set(Object.values(this.wires));
    for (let number = 0; ; number++) if (!taken.has(`sw${number}`)) return `sw${number}`;
  }

  /** A server that left took its NICs along. */
  async forget(server: string): Promise<void> {
    for (const end of Object.keys(this.wires).map(endOf)) if (end.server === server) await this.unplug(end);
  }

  /** Plugs in what the links declare and is not, and out what no link declares. NICs that are plugged in as declared are not touched. */
  async plug(links: readonly LabLink[]): Promise<void> {
    const declared = new Set(links.flatMap(({ ends }) => ends.map(nicOf)));
    for (const nic of Object.keys(this.wires)) if (!declared.has(nic)) await this.unplug(endOf(nic));
    const used = new Set<string>();
    for (const { ends } of links) {
      const known = ends.map((end) => this.wires[nicOf(end)]);
      const first = known.find((wire) => isSwitch(wire) && !used.has(wire));
      // Two that are left on a switch stay there; a NIC that no link names has a switch of its own.
      if (ends.length !== 2 || (first !== undefined && known.every((wire) => wire === first))) {
        const wire = first ?? this.freeSwitch();
        used.add(wire);
        await this.plugIntoSwitch(ends, wire);
      } else await this.plugCable(ends);
    }
    await this.dropUnusedSwitches();
  }

  private async dropUnusedSwitches(): Promise<void> {
    const { switchNamespace } = this.names;
    if (!(await servers.namespaces()).includes(switchNamespace)) return;
    const listed = (await run(["ip", "-n", switchNamespace, "-j", "link", "show", "type", "bridge"])).trim();
    const there = (JSON.parse(listed || "[]") as { ifname?: string }[]).flatMap(({ ifname }) => ifname ?? []);
    const used = new Set(Object.values(this.wires));
    for (const one of there) if (!used.has(one)) await run(["ip", "-n", switchNamespace, "link", "del", one]);
    if (there.every((one) => !used.has(one))) await servers.removeNamespace(switchNamespace);
  }

  /** Gives the NICs that wait aside to the servers that are on. A NIC comes back from a reboot with its defaults. */
  async giveTo(on: readonly string[]): Promise<void> {
    for (const end of Object.keys(this.wires).map(endOf)) {
      const waiting = this.names.transitDevice(nicOf(end));
      if (!on.includes(end.server) || !(await servers.hasDevice(this.names.asideNamespace, waiting))) continue;
      const namespace = this.names.namespace(end.server);
      await run(["ip", "-n", this.names.asideNamespace, "link", "set", waiting, "netns", namespace]);
      await run(["ip", "-n", namespace, "link", "set", waiting, "name", end.device]);
      await run(["ip", "-n", namespace, "link", "set", end.device, "address", nicMac(this.lab, end), "mtu", "1500"]);
      await run(["ip", "-n", namespace, "link", "set", end.device, "alias", ""]);
    }
  }

  /** Holds a server's NICs aside, plugged in as they are: its peers see a lost carrier and no more. */
  async holdAside(server: string): Promise<void> {
    const namespace = this.names.namespace(server);
    for (const end of Object.keys(this.wires).map(endOf)) {
      if (end.server !== server || !(await servers.hasDevice(namespace, end.device))) continue;
      const waiting = this.names.transitDevice(nicOf(end));
      await run(["ip", "-n", namespace, "link", "set", end.device, "down"]);
      await run(["ip", "-n", namespace, "link", "set", end.device, "name", waiting]);
      await run(["ip", "-n", namespace, "link", "set", waiting, "netns", this.names.asideNamespace]);
    }
  }
}
