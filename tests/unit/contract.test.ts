/** What the program and the agent tell each other: the types of both sides, and what a check makes of a look. */
import { describe, expect, it } from "vitest";
import { type AttachInterface, type AttachPlan, contractVersion, type Looked } from "../../components/host/contract/types.gen";
import { compare } from "../../components/host/objectType";
import { attachSpec, ownAddresses } from "../../components/host/objects/attachSpec";
import { goTypes } from "../../setup/goTypes";

const owner = { stack: "flip" };

const iface: AttachInterface = {
  network: "net",
  name: "eth0",
  hostName: "ff-port",
  mac: "02:00:00:00:00:01",
  portMac: "02:00:00:00:00:02",
  mtuBytes: 1500,
  addresses: ["10.0.0.2/24", "fd00::2/64"],
  routes: [],
  offloads: {},
  portOffloads: {},
  neighbours: [],
  bridge: "br-net",
  learns: true,
  hooks: [],
};
const plan = (...hooks: AttachInterface["hooks"]): AttachPlan => ({
  system: "web",
  container: "ff-web",
  sysctls: {},
  processes: 4096,
  interfaces: [{ ...iface, hooks }],
});
const port = { mac: iface.portMac, mtuBytes: 1500, up: true, bridge: "br-net", learns: true, floods: true, offloads: {} };

/** What a check says of a plan where the agent has looked. */
function judged(spec: AttachPlan, parts: Readonly<Record<string, string | readonly string[]>>, more: Partial<Looked> = {}) {
  const looked: Looked = {
    contract: contractVersion,
    system: "web",
    sysctls: {},
    processes: 4096,
    interfaces: {
      eth0: { mac: iface.mac, mtuBytes: 1500, up: true, addresses: iface.addresses, routes: [], offloads: {}, port, parts },
    },
    ...more,
  };
  return compare(attachSpec.wanted(spec, owner), attachSpec.found(`${JSON.stringify(looked)}\n`, spec));
}

describe("a look at a system", () => {
  const hook = { type: "some", args: {}, wanted: { neighbours: ownAddresses, some: "on" } };

  it("is as the parts of its plan want it", () => {
    expect(judged(plan(hook), { neighbours: ["10.0.0.2", "fd00::2"], some: "on" })).toEqual([]);
    expect(judged(plan(), { some: "not asked for" })).toEqual([]);
  });

  it("names what a part misses, with the interface", () => {
    expect(judged(plan(hook), { neighbours: ["10.0.0.2"], some: "no program" })).toEqual([
      { property: "eth0.neighbours", wanted: ["10.0.0.2", "fd00::2"], found: ["10.0.0.2"] },
      { property: "eth0.some", wanted: "on", found: "no program" },
    ]);
  });

  it("takes what a server cannot have for no fault", () => {
    expect(judged(plan(hook), { neighbours: ["10.0.0.2", "fd00::2"], some: "impossible" })).toEqual([]);
  });

  it("asks nothing of parts in plans of before, which say nothing of it", () => {
    const before = plan({ type: "some", args: {} } as unknown as AttachInterface["hooks"][number]);
    expect(judged(before, { some: "on" })).toEqual([]);
  });

  it("is refused with what to do where the agent is of another version", () => {
    expect(() => judged(plan(hook), {}, { contract: "0123456789ab" })).toThrow(
      /contract 0123456789ab, here .*: flipflap up brings this one/,
    );
    expect(() => judged(plan(hook), {}, { contract: undefined as unknown as string })).toThrow(/contract none/);
  });
});

describe("Go's types of a schema", () => {
  const text = goTypes("contract", "v1", {
    Thing: {
      description: "A thing.",
      type: "object",
      properties: {
        mac: { type: "string" },
        mtuBytes: { type: "integer", description: "Of its packets." },
        portId: { type: "integer", format: "uint16" },
        isOn: { type: "boolean", default: true },
        isOff: { type: "boolean" },
        other: { $ref: "#/definitions/Thing" },
        names: { type: "array", items: { type: "string" } },
        counts: { type: "object", additionalProperties: { type: "integer", format: "uint64" } },
        anything: {},
      },
      required: ["mac", "names", "anything"],
    },
    Value: { oneOf: [{ type: "string" }, { type: "array", items: { type: "string" } }] },
  });

  it("have Go's names, sizes and pointers, and tags that leave out what need not be there", () => {
    const lines = text.split("\n").map((line) => line.trim());
    for (const line of [
      "// A thing.",
      'MAC string `json:"mac"`',
      "// Of its packets.",
      'MTUBytes int `json:"mtuBytes,omitempty"`',
      'PortID uint16 `json:"portId,omitempty"`',
      // Left out is not false.
      'IsOn *bool `json:"isOn,omitempty"`',
      'IsOff bool `json:"isOff,omitempty"`',
      'Other *Thing `json:"other,omitempty"`',
      'Names []string `json:"names"`',
      'Counts map[string]uint64 `json:"counts,omitempty"`',
      'Anything json.RawMessage `json:"anything"`',
      "type Value = any",
      'const Version = "v1"',
    ])
      expect(lines).toContain(line);
  });
});
