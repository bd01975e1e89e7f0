/** What a link carries and what is left for a network on it. Pure. */
import { type Declaration, linkMtuBytes, linkName } from "../config/declaration";
import type { Network } from "../config/types.gen";
import { kindOf } from "../kinds/registry";

/** Where a network crosses no link. */
const unlinkedMtuBytes = 1500;

export interface MtuSum {
  readonly link: string;
  readonly linkMtuBytes: number;
  /** "9000 + 50 (VXLAN) = 9050" */
  readonly sum: string;
  readonly totalBytes: number;
  readonly availableBytes: number;
}

export function overheadBytes(network: Network): number {
  return kindOf(network)
    .overhead(network)
    .reduce((total, part) => total + part.bytes, 0);
}

/** The sum for each link that the network crosses. */
export function mtuSums(declaration: Declaration, network: Network): MtuSum[] {
  const parts = kindOf(network).overhead(network);
  const overhead = overheadBytes(network);
  return kindOf(network)
    .links(declaration, network)
    .map((link) => {
      const carried = linkMtuBytes(link);
      const inner = network.mtuBytes ?? carried - overhead;
      const sum = [String(inner), ...parts.map((part) => `${part.bytes} (${part.name})`)].join(" + ");
      return {
        link: linkName(link),
        linkMtuBytes: carried,
        sum: parts.length === 0 ? sum : `${sum} = ${inner + overhead}`,
        totalBytes: inner + overhead,
        availableBytes: carried - overhead,
      };
    });
}

export function networkMtuBytes(declaration: Declaration, network: Network): number {
  if (network.mtuBytes !== undefined) return network.mtuBytes;
  const sums = mtuSums(declaration, network);
  return sums.length === 0 ? unlinkedMtuBytes : Math.min(...sums.map((sum) => sum.availableBytes));
}
