import { describe, expect, it } from "vitest";
import { labNameOf, labNames } from "../../lab/names";
import { isPidOne } from "../../lab/server";
import { findOverlaps, managementAddresses, rangesOfSlot, slotCount, slotsOf, underlayAddresses } from "../../lab/ranges";

describe("a lab's names", () => {
  it("differ between folders of one name", () => {
    expect(labNameOf("/a/flipflap")).toMatch(/^flipflap-[0-9a-f]{4}$/);
    expect(labNameOf("/a/flipflap")).not.toBe(labNameOf("/b/flipflap"));
    expect(labNameOf("/a/Ünï $x")).toMatch(/^[a-z0-9-]+$/);
  });
  it("fit the kernel for many servers", () => {
    const names = labNames("flipflap-0123");
    expect(names.managementDevice(999).length).toBeLessThanOrEqual(15);
    expect(names.transitDevice("a-long-server-name:enp129s0f1np1").length).toBeLessThanOrEqual(15);
  });
});

describe("a lab server's PID 1", () => {
  it("is told from its subshells, whichever has the lower number", () => {
    expect(isPidOne("Name:\tsh\nNSpid:\t32767\t1\nNSpgid:\t32767\t1\n")).toBe(true);
    for (const other of ["NSpid:\t260\t9", "NSpid:\t301\t11", "NSpid:\t17\t1\t5"])
      expect(isPidOne(`Name:\tsh\n${other}\nNSpgid:\t1\t1\n`)).toBe(false);
  });
});

describe("a lab's ranges", () => {
  it("are of its own slot, and no two slots share one", () => {
    const all = Array.from({ length: slotCount }, (_, slot) => rangesOfSlot(slot));
    const texts = all.flatMap((r) => [r.management, r.underlayIpv4, r.underlayIpv6, r.locators]).map((p) => `${p.network}/${p.length}`);
    expect(new Set(texts).size).toBe(4 * slotCount);
    expect(new Set(slotsOf("x")).size).toBe(slotCount);
  });
  it("give every server its own addresses", () => {
    const ranges = rangesOfSlot(7);
    expect(managementAddresses(ranges, 1)).toEqual({ machine: "198.18.7.5", server: "198.18.7.6" });
    expect(underlayAddresses(ranges, 1)).toEqual({
      ipv4: "198.19.7.2/24",
      ipv6: "fdf1:f1a9:7::2/64",
      locator: "fdf1:f1aa:7:2::/64",
      routeServer: "198.19.7.253",
    });
  });
  it.each([
    ["198.18.7.128/25", true],
    ["198.18.0.0/15", true],
    ["198.19.7.9", true],
    ["fdf1::/16", true],
    ["198.18.8.0/24", false],
    ["default", false],
    ["0.0.0.0/0", false],
  ])("overlap a machine's route to %s: %s", (destination, expected) => {
    expect(findOverlaps(rangesOfSlot(7), [{ destination, device: "eth0" }]).length > 0).toBe(expected);
  });
});
