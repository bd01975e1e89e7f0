/** All methods, by the names that experiments call them. */
import type { Experiment } from "../types.gen";
import { boot } from "./boot";
import { bootTunnels } from "./bootTunnels";
import { devices } from "./devices";
import { throughput, udpPackets } from "./iperf";
import type { Method } from "./method";
import { connections, requestResponse } from "./netperf";

export const methods: Readonly<Record<Experiment["method"], Method>> = {
  throughput,
  "udp-pps": udpPackets,
  rr: requestResponse,
  crr: connections,
  boot,
  "boot-tunnels": bootTunnels,
  // What differs is where the rules are: in one policy.
  "policy-complexity": throughput,
  devices,
  trace: {
    unit: "us",
    better: "less",
    between: "missing",
    reason: "the time in kernel functions needs fentry programs, which are still to come; s3-devices has the time at devices",
  },
};
