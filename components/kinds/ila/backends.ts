/** Who translates where, and what that asks of others. Pure. */
import type { IlaNetwork, Offloads } from "../../config/types.gen";

export type Backend = "ebpf" | "kernel";
export type Checksum = NonNullable<IlaNetwork["csum"]>;

export const backendOn = (network: IlaNetwork, server: string): Backend => network.backends?.[server] ?? network.backend ?? "ebpf";
export const checksumOf = ({ csum }: IlaNetwork): Checksum => csum ?? "neutral";
export const isTranslated = ({ translate }: IlaNetwork): boolean => translate ?? true;

/** Checksums are right for the SIR address only where the system computes them itself: a NIC would do so for another. */
export function offloadsOn(network: IlaNetwork, server: string): Offloads {
  const mode = checksumOf(network);
  const isByNobody = mode === "no-action" || (mode === "adjust-transport" && backendOn(network, server) === "kernel");
  return isTranslated(network) && isByNobody ? { txChecksum: false, tso: false } : {};
}
