import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Clocks, isResolved } from "../../components/capabilities/tracer/clocks";
import { Concealed, isAside } from "../../components/capabilities/tracer/concealed";
import { crossingsOf, hopsOf } from "../../components/capabilities/tracer/hops";
import { type Journey, Journeys } from "../../components/capabilities/tracer/journey";
import { otlpLine } from "../../components/capabilities/tracer/otel";
import { Capture } from "../../components/capabilities/tracer/pcapng";
import { journeysPicture } from "../../components/capabilities/tracer/picture";
import { kinText, Pieces, wholeWay } from "../../components/capabilities/tracer/pieces";
import { Probes } from "../../components/capabilities/tracer/probes";
import { isEsp } from "../../components/capabilities/vpn/wire";
import { addressesOf, typeOf } from "../../components/capabilities/tracer/words";
import type { TraceLeg, TracePacket, TraceStep } from "../../components/host/contract/types.gen";
import { seeded } from "../support/seeded";

const echo: TracePacket = {
  type: 2048,
  protocol: 1,
  source: "10.0.0.1",
  target: "10.0.0.2",
  sourcePort: 8 << 8,
  targetPort: 7,
  sequence: 1,
  acknowledged: 0,
  tcpFlags: 0,
  id: 5,
  payloadBytes: 56,
  hops: 64,
  bytes: 84,
};

const step = (namespace: string, device: string, point: TraceStep["point"], atNs: number): TraceStep => ({
  namespace,
  device,
  point,
  atNs,
  cpu: 0,
  packet: 0,
  buffer: 0,
});

const leg = (identity: string, ordinal: number, ...steps: TraceStep[]): TraceLeg => ({
  identity,
  ordinal,
  aside: false,
  packets: [echo],
  steps,
});

const made = (at: number): TraceStep[] => [
  step("red-web", "eth0", "net_dev_queue", at),
  step("red-web", "eth0", "net_dev_start_xmit", at + 1000),
  step("", "ffv-1", "netif_rx", at + 3000),
  step("red-web", "eth0", "net_dev_xmit", at + 3500),
  step("", "up0", "net_dev_queue", at + 20_000),
  step("", "up0", "net_dev_start_xmit", at + 21_000),
];
const got = (at: number): TraceStep[] => [step("", "up0", "netif_rx", at), step("red-db", "eth0", "netif_receive_skb", at + 30_000)];

describe("journeys", () => {
  const join = (...legs: readonly (readonly [server: string, leg: TraceLeg])[]) => {
    const journeys = new Journeys(["flap", "flip"]);
    for (const [server, one] of legs) journeys.add(server, one, 0);
    expect(journeys.take(100)).toEqual([]);
    return journeys.take(2000);
  };

  it("go from the server that made the packet to the one that kept it", () => {
    const [journey] = join(["flap", leg("a", 0, ...got(100_000))], ["flip", leg("a", 0, ...made(0))]);
    expect([journey?.isAmbiguous, journey?.legs.map(({ server }) => server)]).toEqual([false, ["flip", "flap"]]);
  });

  it("are in order where equal packets came to both servers as often", () => {
    const all = join(
      ["flip", leg("a", 0, ...made(0))],
      ["flip", leg("a", 1, ...made(500_000))],
      ["flap", leg("a", 0, ...got(100_000))],
      ["flap", leg("a", 1, ...got(600_000))],
    );
    expect(all.map(({ isAmbiguous, legs }) => [isAmbiguous, legs.map(({ leg: { ordinal } }) => ordinal)])).toEqual([
      [false, [0, 0]],
      [false, [1, 1]],
    ]);
  });

  it("are paired by which came first, whichever was told first", () => {
    const all = join(
      ["flip", leg("a", 1, ...made(500_000))],
      ["flip", leg("a", 0, ...made(0))],
      ["flap", leg("a", 0, ...got(100_000))],
      ["flap", leg("a", 1, ...got(600_000))],
    );
    expect(all.map(({ legs }) => legs.map(({ leg: { ordinal } }) => ordinal))).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });

  it("say nothing of clocks where a copy stayed, or buffers are several", () => {
    const [plain] = join(["flip", leg("a", 0, ...made(0))], ["flap", leg("a", 0, ...got(100_000))]);
    expect(crossingsOf(plain!).map(({ from, to }) => [from.device, to.device])).toEqual([["up0", "up0"]]);
    const stayed = [...made(0), { ...step("", "ffv-2", "net_dev_start_xmit", 90_000), buffer: 1 }];
    const [flooded] = join(["flip", leg("a", 0, ...stayed)], ["flap", leg("a", 0, ...got(30_000))]);
    expect(crossingsOf(flooded!)).toEqual([]);
    const [returned] = join(
      ["flip", leg("a", 0, ...made(0), step("", "up0", "netif_rx", 200_000))],
      ["flap", leg("a", 0, ...got(100_000))],
    );
    expect(crossingsOf(returned!)).toEqual([]);
  });

  it("of a stream of equal packets do not wait for its end", () => {
    const journeys = new Journeys(["flip"]);
    let taken = 0;
    for (let i = 0; i < 50; i++) {
      journeys.add("flip", leg("a", i, ...got(i * 1e8)), i * 100);
      taken += journeys.take(i * 100).length;
    }
    expect(taken).toBeGreaterThan(20);
  });

  it("are ambiguous, and not guessed, where one of two equal packets was lost", () => {
    const all = join(["flip", leg("a", 0, ...made(0))], ["flip", leg("a", 1, ...made(500_000))], ["flap", leg("a", 0, ...got(100_000))]);
    expect(all.map(({ isAmbiguous, legs }) => [isAmbiguous, legs.length])).toEqual([
      [true, 1],
      [true, 1],
      [true, 1],
    ]);
  });

  it("come back to their server, behind those that passed them on", () => {
    const [journey] = join(
      ["flap", leg("a", 0, ...made(0), step("", "up0", "netif_rx", 200_000), step("red-db", "eth0", "netif_receive_skb", 210_000))],
      ["flip", leg("a", 0, step("", "up0", "netif_rx", 60_000), step("", "up0", "net_dev_start_xmit", 90_000))],
    );
    expect(journey?.legs.map(({ server, leg: { steps } }) => [server, steps.length])).toEqual([
      ["flap", 6],
      ["flip", 2],
      ["flap", 2],
    ]);
    expect(hopsOf(journey!, new Clocks()).map(({ server, device }) => `${server} ${device}`)).toEqual([
      "flap eth0",
      "flap ffv-1",
      "flap up0",
      "flip up0",
      "flap up0",
      "flap eth0",
    ]);
  });

  it("take in what carries them unread: between two gateways, behind the one and before the other, and longer", () => {
    const carrier = (at: number, bytes: number, into = "gw-b"): Journey => {
      const packet: TracePacket = { ...echo, protocol: 17, sourcePort: 4500, targetPort: 4500, bytes };
      const steps = [step("gw-a", "eth0", "net_dev_start_xmit", at), step(into, "eth0", "netif_receive_skb", at + 10)];
      const one = { identity: "c", ordinal: 0, aside: true, packets: [packet], steps };
      return { isAmbiguous: false, legs: [{ server: "flip", leg: one }] };
    };
    const plain = leg(
      "a",
      0,
      step("gw-a", "ipsec0", "net_dev_start_xmit", 1000),
      step("gw-b", "ipsec0", "netif_receive_skb", 2000),
      step("", "mv-x", "net_dev_xmit", 2001),
    );
    const carried: Journey = { isAmbiguous: false, legs: [{ server: "flip", leg: plain }] };
    const places = (one: Journey) =>
      one.legs.map(({ isInferred, leg: { steps } }) => [isInferred === true, steps.map(({ device }) => device)]);
    const conceals = [{ gateways: ["gw-a", "gw-b", "gw-c"], isCarrier: isEsp }];

    const concealed = new Concealed(conceals);
    // Before, behind, too short, too long, to another gateway: others' packets. Told later than what it carries: the right one.
    const others = [carrier(900, 150), carrier(1995, 150), carrier(1200, 84), carrier(1200, 1514), carrier(1300, 150, "gw-c")];
    expect(concealed.take([carried, ...others], 0)).toEqual([]);
    expect(concealed.take([carrier(1500, 150)], 100)).toEqual([]);
    const [joined] = concealed.take([], 2600);
    expect(places(joined!)).toEqual([
      [false, ["ipsec0"]],
      [true, ["eth0", "eth0"]],
      [false, ["ipsec0", "mv-x"]],
    ]);
    expect(concealed.take([], 6000).map(isAside)).toEqual([true, true, true, true, true]);
    // Without one a journey goes on as it is; with two nobody knows which it was.
    const alone = (...all: Journey[]) => new Concealed(conceals).take(all, 0, true)[0];
    expect([alone(carried)?.legs.length, alone(carried)?.isAmbiguous]).toEqual([1, false]);
    const two = alone(carried, carrier(1400, 150), carrier(1500, 150));
    expect([two?.legs.length, two?.isAmbiguous]).toEqual([1, true]);
  });

  it("do not take long to be joined, however many wait", () => {
    const conceals = [{ gateways: ["gw-a", "gw-b"], isCarrier: isEsp }];
    const concealed = new Concealed(conceals);
    const all = Array.from({ length: 2000 }, (_, i): Journey => {
      const at = i * 1e6;
      const packet: TracePacket = { ...echo, protocol: 17, sourcePort: 4500, targetPort: 4500, bytes: 150 };
      const way = i % 2 === 0 ? ["ipsec0", 0, 900] : ["eth0", -999_500, -999_200];
      const [device, before, after] = way as [string, number, number];
      const steps = [step("gw-a", device, "net_dev_start_xmit", at + before), step("gw-b", device, "netif_receive_skb", at + after)];
      const one = { identity: "x", ordinal: 0, aside: i % 2 === 1, packets: [i % 2 === 0 ? echo : packet], steps };
      return { isAmbiguous: false, legs: [{ server: "flip", leg: one }] };
    });
    for (let i = 0; i < 20; i++) concealed.take(i === 0 ? all : [], i);
    const done = concealed.take([], 3000);
    expect([done.length, done.every(({ legs }) => legs.length === 3)]).toEqual([1000, true]);
  });

  it("have a time at each device, and none of a driver that says so late", () => {
    const [journey] = join(["flip", leg("a", 0, ...made(0))]);
    expect(hopsOf(journey!, new Clocks()).map(({ place, device, ns }) => [place, device, ns])).toEqual([
      ["red-web", "eth0", 3000],
      ["flip", "ffv-1", 17_000],
      ["flip", "up0", 1000],
    ]);
  });
});

describe("pieces", () => {
  const data = (sequence: number, payloadBytes: number, ...flags: "super"[]): TracePacket => ({
    ...echo,
    protocol: 6,
    sourcePort: 1000,
    targetPort: 5201,
    sequence,
    payloadBytes,
    bytes: payloadBytes + 66,
    ...(flags.length > 0 && { flags }),
  });
  const of = (packet: TracePacket, ...parts: (readonly [server: string, ...TraceStep[]])[]): Journey => ({
    isAmbiguous: false,
    legs: parts.map(([server, ...steps]) => ({ server, leg: { identity: "x", ordinal: 0, aside: false, packets: [packet], steps } })),
  });
  const sent = (at: number) => [step("red-web", "eth0", "net_dev_start_xmit", at), step("", "br", "netif_receive_skb", at + 10)];
  const segment = (sequence: number, at: number) => of(data(sequence >>> 0, 1000), ["flip", step("", "up0", "net_dev_start_xmit", at)]);
  const received = (at: number) => [step("", "up0", "netif_receive_skb", at), step("red-db", "eth0", "netif_receive_skb", at + 10)];

  const taken = (...journeys: Journey[]): Journey[] => {
    const pieces = new Pieces();
    for (const { legs } of journeys) for (const { leg: one } of legs) pieces.saw(one, 0);
    expect(pieces.take(journeys, 0).length).toBe(0);
    return pieces.take([], 3000);
  };
  const devices = (journey: Journey | undefined): string[] =>
    hopsOf(wholeWay(journey!), new Clocks()).map(({ server, device }) => `${server} ${device}`);

  it("are told what they were cut from and merged into, also where numbers wrap", () => {
    const begin = 0xffff_fc00; // the second segment's numbers wrap
    const [first, other] = [segment(begin, 30), segment(begin + 1000, 40)];
    const all = taken(
      of(data(begin, 2000, "super"), ["flip", ...sent(0)]),
      first,
      other,
      of(data((begin + 1000) >>> 0, 3000, "super"), ["flap", ...received(100)]),
    );
    expect(all.map(kinText)).toEqual([
      "cut into 2 segments",
      "cut from 2066 bytes",
      "cut from 2066 bytes, merged into 3066 bytes",
      "merged from 1 segment",
    ]);
    expect(devices(all[2])).toEqual(["flip eth0", "flip br", "flip up0", "flap up0", "flap eth0"]);
  });

  it("of what was merged to what it had been are a part of its way", () => {
    const [whole] = taken(of(data(0, 2000, "super"), ["flip", ...sent(0)], ["flap", ...received(100)]), segment(0, 30), segment(1000, 40));
    expect(kinText(whole!)).toBe("cut into 2 segments, merged from 2 segments");
    expect(hopsOf(whole!, new Clocks()).map(({ server, device }) => `${server} ${device}`)).toEqual(devices(whole));
    expect(devices(whole)).toEqual(["flip eth0", "flip br", "flip up0", "flap up0", "flap eth0"]);
  });

  it("are of what was sent last, and of nothing that was dropped", () => {
    const dropped = { ...step("", "br", "kfree_skb", 15), reason: "NETFILTER_DROP" };
    const all = taken(
      of(data(0, 2000, "super"), ["flip", ...sent(0), dropped]),
      of(data(0, 2000, "super"), ["flip", ...sent(1000)]),
      of(data(0, 2000, "super"), ["flip", ...sent(2000)]),
      segment(0, 2030),
    );
    expect(all.map(kinText)).toEqual([undefined, undefined, "cut into 1 segment", "cut from 2066 bytes"]);
  });

  it("wait for one another in no flow where nothing is cut", () => {
    expect(new Pieces().take([segment(0, 0)], 0).length).toBe(1);
  });

  it("do not take long to be joined, however many there are", () => {
    const count = 20_000;
    const all = taken(
      ...Array.from({ length: count }, (_, i) => [
        ...(i % 10 === 0 ? [of(data(i * 1000, 10_000, "super"), ["flip", ...sent(i * 100)])] : []),
        segment(i * 1000, i * 100 + 20),
      ]).flat(),
    );
    expect(all.filter(({ kin }) => kin?.cutFrom !== undefined).length).toBe(count);
  });
});

describe("probes", () => {
  const servers = ["flip", "flap", "flop"].map((name, i) => ({ name, ipv4: `198.18.0.${i + 1}` }));
  const probes = new Probes(servers, 77);

  it("go once between any two servers", () => {
    expect(servers.map(({ name }) => probes.of(name).targets)).toEqual([["198.18.0.2", "198.18.0.3"], ["198.18.0.3"], []]);
    expect(probes.filters.length).toBe(3);
    expect(new Probes(servers.slice(0, 1), 77).filters).toEqual([]);
  });

  it("are told from others' pings between servers", () => {
    const ping = (targetPort: number, target: string): Journey => {
      const packet = { ...echo, source: "198.18.0.1", target, targetPort };
      return { isAmbiguous: false, legs: [{ server: "flip", leg: { ...leg("p", 0, ...made(0)), packets: [packet] } }] };
    };
    expect([ping(77, "198.18.0.2"), ping(78, "198.18.0.2"), ping(77, "10.0.0.1")].map((one) => probes.isProbe(one))).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("the picture", () => {
  it("has a lane a server, a device each with its time, and names that cannot break out of it", () => {
    const evil = { ...step("", '<script>"&', "net_dev_queue", 0) };
    const journeys = new Journeys(["flap", "flip"]);
    journeys.add("flip", leg("a", 0, ...made(0)), 0);
    journeys.add("flap", leg("a", 0, ...got(100_000)), 0);
    journeys.add("flip", leg("b", 0, evil), 0);
    const svg = journeysPicture(journeys.take(0, true).map((journey) => hopsOf(journey, new Clocks())));
    expect([...svg.matchAll(/class="lane"/g)].length).toBe(3);
    expect([...svg.matchAll(/class="device/g)].length).toBe(6);
    expect(svg).toContain("17.0 us");
    expect(svg).toContain("not resolvable");
    expect(svg).not.toContain("<script");
  });
});

describe("the capture", () => {
  it("is read by tshark: interfaces, inner packets, comments", () => {
    const journeys = new Journeys(["flap", "flip"]);
    journeys.add("flip", leg("a", 0, ...made(1_000_000_000)), 0);
    const tunnel = { kind: "vxlan", source: "198.18.0.1", target: "198.18.0.2", number: 71 } as const;
    journeys.add("flap", { ...leg("b", 0, ...got(2_000_000_000)), packets: [{ ...echo, sequence: 2, tunnel }] }, 0);
    const capture = new Capture();
    for (const journey of journeys.take(0, true)) capture.add(journey);
    const folder = mkdtempSync(join(tmpdir(), "flipflap-capture-"));
    try {
      writeFileSync(join(folder, "x.pcapng"), capture.file);
      const words = ["-r", join(folder, "x.pcapng"), "-T", "fields", "-E", "separator=|"];
      const fields = ["frame.interface_name", "ip.dst", "vxlan.vni", "icmp.type", "icmp.seq", "frame.comment"].flatMap((name) => [
        "-e",
        name,
      ]);
      const read = spawnSync("tshark", [...words, ...fields], { encoding: "utf8" });
      expect(read.stdout.trim().split("\n")).toEqual([
        "flip red-web eth0|10.0.0.2||8|1|journey 1: net_dev_queue",
        "flip red-web eth0|10.0.0.2||8|1|journey 1: net_dev_start_xmit",
        "flip ffv-1|10.0.0.2||8|1|journey 1: netif_rx",
        "flip up0|10.0.0.2||8|1|journey 1: net_dev_queue",
        "flip up0|10.0.0.2||8|1|journey 1: net_dev_start_xmit",
        "flap up0|198.18.0.2,10.0.0.2|71|8|2|journey 2: netif_rx",
        "flap red-db eth0|198.18.0.2,10.0.0.2|71|8|2|journey 2: netif_receive_skb",
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("spans", () => {
  it("are a trace a journey: a root, a child a device, times of the wall", () => {
    const journeys = new Journeys(["flap", "flip"]);
    journeys.add("flip", leg("a", 0, ...made(1000)), 0);
    journeys.add("flap", leg("a", 0, ...got(101_000)), 0);
    const [journey] = journeys.take(0, true);
    const line = otlpLine(
      journey!,
      hopsOf(journey!, new Clocks()),
      new Map(["flip", "flap"].map((name) => [name, 1_700_000_000_000_000_000n])),
    );
    const { resourceSpans } = JSON.parse(line) as {
      resourceSpans: {
        scopeSpans: { spans: { spanId: string; parentSpanId?: string; traceId: string; name: string; startTimeUnixNano: string }[] }[];
      }[];
    };
    const spans = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
    const [root, ...children] = spans;
    expect(root).toMatchObject({ name: "request 10.0.0.1 -> 10.0.0.2", startTimeUnixNano: "1700000000000001000" });
    expect(children.map(({ name }) => name)).toEqual(["red-web eth0", "flip ffv-1", "flip up0", "flap up0", "red-db eth0"]);
    expect(new Set(children.map(({ parentSpanId }) => parentSpanId))).toEqual(new Set([root?.spanId]));
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
    expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);
    expect([root?.traceId.length, root?.spanId.length]).toEqual([32, 16]);
  });
});

describe("words", () => {
  it("are the report's", () => {
    expect([typeOf(echo), addressesOf(echo)]).toEqual(["request", "10.0.0.1 -> 10.0.0.2"]);
    const tunnel = { kind: "vxlan", source: "198.18.0.1", target: "198.18.0.2", number: 7 } as const;
    expect([typeOf({ ...echo, sourcePort: 0, tunnel }), addressesOf({ ...echo, tunnel })]).toEqual([
      "tunnel (reply)",
      "198.18.0.1 -> 198.18.0.2 vni 7 (10.0.0.1 -> 10.0.0.2)",
    ]);
    expect([
      typeOf({ ...echo, protocol: 6, tcpFlags: 18 }),
      addressesOf({ ...echo, protocol: 6, source: "fd00::1", target: "fd00::2" }),
    ]).toEqual(["tcp syn ack", "[fd00::1]:2048 -> [fd00::2]:7"]);
  });
});

describe("clocks", () => {
  /** Packets both ways for so long, with delays from 15 to 400 us; gives the share of true times within the bound, and the widest bound. */
  function walk(offsetNs: number, drift: number, seconds = 20, perSecond = 50): { share: number; widest: number } {
    const next = seeded(7);
    const clocks = new Clocks();
    const other = (ns: number): number => ns + offsetNs + drift * ns;
    const delay = (): number => 15_000 + 385_000 * next() ** 6;
    let [inside, all, widest] = [0, 0, 0];
    for (let i = 0; i < seconds * perSecond; i++) {
      const at = 1e12 + (i * 1e9) / perSecond;
      const [there, back] = [delay(), delay()];
      clocks.crossed("flip", at, "flap", other(at + there));
      clocks.crossed("flap", other(at + 100_000), "flip", at + 100_000 + back);
      if (i < perSecond) continue;
      for (const [time, truth] of [
        [clocks.between("flip", at, "flap", other(at + there)), there],
        [clocks.between("flap", other(at + 100_000), "flip", at + 100_000 + back), back],
      ] as const) {
        if (time === undefined) throw new Error("no bound");
        all++;
        // The other clock's ns are longer or shorter by its drift.
        if (Math.abs(time.ns - truth) <= time.boundNs + truth * Math.abs(drift) + 1) inside++;
        widest = Math.max(widest, time.boundNs);
      }
    }
    return { share: inside / all, widest };
  }

  it.each([
    ["none", 0, 0],
    ["1 ms", 1e6, 0],
    ["49 s", 49e9, 0],
    ["50 us/s", 0, 5e-5],
    ["49 s back, and 50 us/s back", -49e9, -5e-5],
  ] as const)("hold the true time within a bound below 100 us: a difference of %s", (_, offset, drift) => {
    const { share, widest } = walk(offset, drift);
    expect(share).toBeGreaterThanOrEqual(0.99);
    expect(widest).toBeLessThan(100_000);
  });

  it("say nothing where packets went one way only", () => {
    const clocks = new Clocks();
    clocks.crossed("flip", 1000, "flap", 2000);
    expect(clocks.between("flip", 1000, "flap", 2000)).toBeUndefined();
  });

  it("do not resolve a time below its bound", () => {
    expect([isResolved({ ns: 20_000, boundNs: 30_000 }), isResolved({ ns: 40_000, boundNs: 30_000 })]).toEqual([false, true]);
  });
});
