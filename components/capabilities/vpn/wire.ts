/** What a gateway's tunnels are on the wire: IKE, and ESP with UDP around it (RFC 3948) or without. Pure. */
import type { TracePacket } from "../../host/contract/types.gen";

const udp = 17;
const espPort = 4500;
/** IKE's own, and ESP's: IKE moves there behind NAT. */
export const tunnelPorts = [500, espPort] as const;

/** In the tracer's words. */
export const espFilter = `esp or udp port ${espPort}`;

export const isEsp = ({ tunnel, protocol, sourcePort, targetPort }: TracePacket): boolean =>
  tunnel?.kind === "esp" || (protocol === udp && (sourcePort === espPort || targetPort === espPort));
