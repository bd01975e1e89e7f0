/** All methods, by the names that experiments call them. */
import type { Experiment } from "../types.gen";
import { boot } from "./boot";
import { throughput, udpPackets } from "./iperf";
import type { Method } from "./method";
import { connections, requestResponse } from "./netperf";

export const methods: Readonly<Record<Experiment["method"], Method>> = {
  throughput,
  "udp-pps": udpPackets,
  rr: requestResponse,
  crr: connections,
  boot,
  "policy-complexity": {
    unit: "Gb/s",
    better: "more",
    between: "missing",
    reason: "policies come with the kinds swarm and cilium, which are not there yet",
  },
  trace: { unit: "us", better: "less", between: "missing", reason: "the tracer is not there yet" },
};
