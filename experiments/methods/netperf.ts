/** netperf: requests and responses over one connection, and a connection for each. */
import { sh } from "../../components/host/sh";
import type { End, Site } from "../site";
import { listen, nextPort } from "./listener";
import type { LinkMethod, LinkOptions, Measured } from "./method";

const selectors = ["TRANSACTION_RATE", "MEAN_LATENCY", "P50_LATENCY", "P90_LATENCY", "P99_LATENCY"] as const;
type Answers = Readonly<Record<(typeof selectors)[number], number>>;

async function netperf(site: Site, from: End, to: End, test: string, options: LinkOptions): Promise<{ answers: Answers; raw: string }> {
  const { seconds, cores, experiment, ports } = options;
  if (ports !== undefined && ports.last === ports.first)
    throw new Error(`netperf needs two ports, and policies let in ${ports.first} alone`);
  const [port, dataPort] = ports === undefined ? [nextPort(), nextPort()] : [ports.first, ports.first + 1];
  const { requestBytes = 100, responseBytes = 200, congestionControl = "reno" } = experiment;
  const family = to.address.includes(":") ? "-6" : "-4";
  await listen(site, to, ["netserver", "-D", family, "-p", String(port)], port, seconds + 20);
  const sizes = `${requestBytes},${responseBytes}`;
  const control = test.startsWith("TCP") ? ["-K", congestionControl] : [];
  const raw = await site.exec(
    from,
    sh`netperf -P 0 -H ${to.address} ${family} -p ${port} -t ${test} -l ${Math.ceil(seconds)} ${cores === "one" ? ["-T", "0,0"] : []} -- -r ${sizes} ${control} -P ,${dataPort} -k ${selectors.join(",")}`,
    seconds + 20,
  );
  const answers = Object.fromEntries(
    [...raw.matchAll(/^(\w+)=([\d.]+)$/gm)].map(([, key, value]) => [key, Number(value)]),
  ) as unknown as Answers;
  if (selectors.some((selector) => answers[selector] === undefined)) throw new Error(`netperf: ${raw.trim() || "no result"}`);
  return { answers, raw };
}

function details(answers: Answers): Measured["details"] {
  return {
    transactionsPerSecond: answers.TRANSACTION_RATE,
    meanMicroseconds: answers.MEAN_LATENCY,
    p50Microseconds: answers.P50_LATENCY,
    p90Microseconds: answers.P90_LATENCY,
    p99Microseconds: answers.P99_LATENCY,
  };
}

export const requestResponse: LinkMethod = {
  unit: "us",
  better: "less",
  between: "ends",
  measure: async (site, from, to, options): Promise<Measured> => {
    const { answers, raw } = await netperf(site, from, to, options.experiment.protocol === "udp" ? "UDP_RR" : "TCP_RR", options);
    return { value: answers.MEAN_LATENCY, details: details(answers), raw };
  },
};

export const connections: LinkMethod = {
  unit: "connections/s",
  better: "more",
  between: "ends",
  measure: async (site, from, to, options): Promise<Measured> => {
    const { answers, raw } = await netperf(site, from, to, "TCP_CRR", options);
    return { value: answers.TRANSACTION_RATE, details: details(answers), raw };
  },
};
