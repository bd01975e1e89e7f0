/** What rules come to, held against the chains and against the kernel's own iptables, packet by packet: agent/firewall. */
import { describe, it } from "vitest";
import { passGoTests } from "../support/goTests";

describe("the firewall's programs", () => {
  it(
    "judge as the chains do, and count as the kernel's iptables does",
    () =>
      passGoTests({
        folder: "firewall",
        tests: ["TestProgramsAndTheirIndexJudgeAsTheChainsDo", "TestTheKernelJudgesAlike"],
        // Of a file that is named: for figures.
        skips: ["TestSizeOfAnIndex"],
        says: /120000 packets of 60 sets met \d{5,} rules, in the kernel and here/,
      }),
    180_000,
  );
});
