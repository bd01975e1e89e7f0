import { describe, expect, it } from "vitest";
import { allocate } from "../../components/net/allocate";
import {
  canonicalAddress,
  contains,
  formatAddress,
  formatPrefix,
  isHostOf,
  overlaps,
  parseAddress,
  parseInterfaceAddress,
  parsePrefix,
} from "../../components/net/cidr";
import { deviceName, macFor } from "../../components/net/names";

const prefix = (text: string) => parsePrefix(text)!;
const address = (text: string) => parseAddress(text)!;

describe("addresses", () => {
  it.each([
    ["10.0.0.1", "10.0.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["FD00:0:0:0:0:0:0:1", "fd00::1"],
    ["::", "::"],
    ["::ffff:10.0.0.1", "::ffff:a00:1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
  ])("%s is written %s", (text, canonical) => {
    expect(formatAddress(address(text))).toBe(canonical);
    expect(canonicalAddress(text)).toBe(canonical);
  });

  it.each(["", "10.0.0", "10.0.0.256", "10.0.0.01", "1::2::3", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "fd00::1%eth0", "a.b.c.d"])(
    "%j is none",
    (text) => {
      expect(parseAddress(text)).toBeUndefined();
    },
  );
});

describe("prefixes", () => {
  it.each(["10.0.0.1/24", "10.0.0.0", "10.0.0.0/33", "fd00::1/64", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1"])("%j is none", (text) => {
    expect(parsePrefix(text)).toBeUndefined();
  });
  it("knows the prefix of an interface's address", () => {
    expect(formatPrefix(parseInterfaceAddress("10.1.2.3/20")!.prefix)).toBe("10.1.0.0/20");
  });
  it.each([
    ["10.0.0.0/8", "10.1.0.0/16", true],
    ["10.1.0.0/16", "10.0.0.0/8", true],
    ["10.0.0.0/16", "10.1.0.0/16", false],
    ["fd00::/16", "10.0.0.0/8", false],
    ["::/0", "fd00::/64", true],
  ])("%s and %s overlap: %s", (a, b, expected) => {
    expect(overlaps(prefix(a), prefix(b))).toBe(expected);
  });
  it("has no host at its ends", () => {
    const p = prefix("10.0.0.0/30");
    expect(["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"].map((text) => isHostOf(p, address(text)))).toEqual([
      false,
      true,
      true,
      false,
      false,
    ]);
    expect(contains(p, address("10.0.0.3"))).toBe(true);
  });
});

describe("allocation", () => {
  const p = prefix("10.0.0.0/28");
  it("gives a name the same address whatever else is taken elsewhere", () => {
    expect(allocate(p, new Set(), "web")).toEqual(allocate(p, new Set(), "web"));
  });
  it("fills a prefix to the last host, each once, then gives none", () => {
    const taken = new Set<bigint>();
    for (let i = 0; i < 14; i++) {
      const found = allocate(p, taken, `system ${i}`);
      expect(found !== undefined && isHostOf(p, found) && !taken.has(found.value)).toBe(true);
      taken.add(found!.value);
    }
    expect(allocate(p, taken, "one more")).toBeUndefined();
  });
});

describe("names", () => {
  it("fit the kernel, and differ where what they stand for differs", () => {
    expect(deviceName("br-", "red-net")).toBe("br-red-net");
    const long = ["a-very-long-network-name-1", "a-very-long-network-name-2"].map((name) => deviceName("br-", name));
    expect(long.every((name) => name.length <= 15)).toBe(true);
    expect(long[0]).not.toBe(long[1]);
  });
  it("gives local unicast MACs", () => {
    expect(macFor("x")).toMatch(/^02:ff(:[0-9a-f]{2}){4}$/);
    expect(macFor("x")).not.toBe(macFor("y"));
  });
});
