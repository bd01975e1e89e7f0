/** iperf3: TCP streams, and small UDP packets. */
import { sh } from "../../components/host/sh";
import type { End, Site } from "../site";
import { listen, nextPort } from "./listener";
import type { LinkMethod, LinkOptions, Measured } from "./method";

interface Sum {
  readonly bits_per_second: number;
  readonly retransmits?: number;
  readonly packets?: number;
  readonly lost_percent?: number;
  readonly seconds?: number;
}

interface Printed {
  readonly error?: string;
  readonly end: {
    readonly sum_received?: Sum;
    readonly sum_sent?: Sum;
    readonly sum?: Sum;
    readonly cpu_utilization_percent?: { readonly host_total: number; readonly remote_total: number };
    readonly sender_tcp_congestion?: string;
  };
}

/** Dropped at the begin: slow start, and caches that are cold. Both are whole: iperf3 (3.12) takes a part of a second for no end at all. */
const droppedSeconds = 1;

async function iperf(
  site: Site,
  from: End,
  to: End,
  options: LinkOptions,
  words: readonly string[],
): Promise<{ printed: Printed; raw: string }> {
  const { seconds, direction, cores, ports } = options;
  const port = ports?.first ?? nextPort();
  const whole = seconds + droppedSeconds;
  await listen(site, to, ["iperf3", "-s", "-1", "-p", String(port)], port, whole + 20);
  const raw = await site.exec(
    from,
    sh`iperf3 -J -c ${to.address} -p ${port} -t ${seconds} -O ${droppedSeconds} ${direction === "reverse" ? ["-R"] : []} ${cores === "one" ? ["-A", "0,0"] : []} ${[...words]} || :`,
    whole + 20,
  );
  if (raw.trim() === "") throw new Error("iperf3: ended without a result");
  const printed = JSON.parse(raw) as Printed;
  if (printed.error !== undefined) throw new Error(`iperf3: ${printed.error}`);
  return { printed, raw };
}

export const throughput: LinkMethod = {
  unit: "Gb/s",
  better: "more",
  between: "ends",
  measure: async (site, from, to, options): Promise<Measured> => {
    const { congestionControl = "reno" } = options.experiment;
    const { printed, raw } = await iperf(site, from, to, options, ["-P", String(options.streams), "-C", congestionControl]);
    const { sum_received: received, sum_sent: sent, cpu_utilization_percent: cpu } = printed.end;
    if (received === undefined) throw new Error("iperf3: no result");
    const value = received.bits_per_second / 1e9;
    const cpuPercent = (cpu?.host_total ?? 0) + (cpu?.remote_total ?? 0);
    return {
      value,
      raw,
      details: {
        retransmits: sent?.retransmits ?? 0,
        cpuPercentOfBothEnds: cpuPercent,
        cpuPercentPerGbit: value === 0 ? 0 : cpuPercent / value,
      },
    };
  },
};

export const udpPackets: LinkMethod = {
  unit: "thousand packets/s",
  better: "more",
  between: "ends",
  measure: async (site, from, to, options): Promise<Measured> => {
    const { packetBytes = 64 } = options.experiment;
    const { printed, raw } = await iperf(site, from, to, options, [
      "-u",
      "-b",
      "0",
      "-l",
      String(packetBytes),
      "-P",
      String(options.streams),
    ]);
    const { sum, cpu_utilization_percent: cpu } = printed.end;
    if (sum?.packets === undefined || sum.seconds === undefined) throw new Error("iperf3: no result");
    const lostPercent = sum.lost_percent ?? 0;
    return {
      value: (sum.packets * (1 - lostPercent / 100)) / sum.seconds / 1000,
      raw,
      details: { lostPercent, cpuPercentOfBothEnds: (cpu?.host_total ?? 0) + (cpu?.remote_total ?? 0) },
    };
  },
};
