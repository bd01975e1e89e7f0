/** Pings between servers, which bound how far their clocks are apart where what is traced goes one way only. Pure. */
import type { TracePlan } from "../../host/contract/types.gen";
import type { Journey } from "./journey";

const icmpProtocol = 1;

export interface Probed {
  readonly name: string;
  /** Of the underlay. */
  readonly ipv4: string;
}

export class Probes {
  /** Each pair of servers once: a ping goes both ways. */
  private readonly pairs: readonly (readonly [from: Probed, to: Probed])[];
  private readonly addresses: ReadonlySet<string>;

  constructor(
    servers: readonly Probed[],
    /** Of ICMP. Others' pings between servers have another one. */
    private readonly identifier: number,
  ) {
    this.pairs = servers.flatMap((from, i) => servers.slice(i + 1).map((to) => [from, to] as const));
    this.addresses = new Set(servers.map(({ ipv4 }) => ipv4));
  }

  /** What servers have to tell of beside what is wanted. */
  get filters(): string[] {
    return this.pairs.map(([from, to]) => `icmp and host ${from.ipv4} and host ${to.ipv4}`);
  }

  of(server: string): TracePlan["probe"] {
    return { targets: this.pairs.flatMap(([from, to]) => (from.name === server ? [to.ipv4] : [])), identifier: this.identifier };
  }

  isProbe({ legs: [first] }: Journey): boolean {
    const packet = first?.leg.packets[0];
    return (
      packet !== undefined &&
      packet.protocol === icmpProtocol &&
      packet.targetPort === this.identifier &&
      this.addresses.has(packet.source) &&
      this.addresses.has(packet.target)
    );
  }
}
