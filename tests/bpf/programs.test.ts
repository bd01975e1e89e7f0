/** The programs of bpf/ in this kernel, packet by packet, and a million hostile ones: agent/parts/PART/*_test.go. */
import { describe, it } from "vitest";
import { type GoTests, passGoTests } from "../support/goTests";

const all: readonly (GoTests & { readonly object: string })[] = [
  {
    object: "ila",
    folder: "parts/ila",
    tests: ["TestTranslation", "TestDrops", "TestQuotedPackets", "TestHostilePackets"],
    // The price of a packet is for benches.
    skips: ["TestPrice"],
    says: /1000000 packets/,
  },
  { object: "overlay", folder: "parts/evpn", tests: ["TestShortcutOfASystem", "TestShortcutOfATunnel"], skips: [] },
  {
    object: "guard",
    folder: "parts/guard",
    tests: [
      "TestSources",
      "TestRoutersTagsAreDroppedToo",
      "TestWhatIsNotAllowedAnyMoreIsForgotten",
      "TestDropsAreCountedByReason",
      "TestHostileFrames",
    ],
    skips: [],
  },
  {
    object: "firewall",
    folder: "firewall",
    tests: [
      "TestConnectionsAreThoseOfTheKernel",
      "TestTheKernelJudgesAlike",
      "TestTheProgramJudgesAsTheChainsDo",
      "TestProgramsAndTheirIndexJudgeAsTheChainsDo",
    ],
    skips: ["TestPriceOfAPacket"],
    // The kernel's connections, its iptables, our program, our index.
    says: /12000 packets of 120 flows met \d{5} rules of states[^]*120000 packets of 60 sets met \d{5,} rules[^]*\d{4} packets judged alike[^]*150000 packets judged alike/,
  },
  {
    object: "trace",
    folder: "trace",
    tests: [
      "TestFiltersJudge",
      "TestFiltersThatDoNotParse",
      "TestCompiledFiltersJudgeAlike",
      "TestADatagramIsFollowedToWhereItIsDropped",
      "TestWhatTheFilterDoesNotWantIsNotTold",
      "TestEqualDatagramsAreAsManyLegs",
      "TestAMillionPacketsAreReadAlike",
      "TestNamespacesThatStayKeepTheirSlots",
    ],
    skips: [],
    says: /1000000 packets/,
  },
];

describe("the programs of bpf", () => {
  it.each(all.map((one) => [one.object, one] as const))(
    "%s do with packets what their tests want",
    (_, programs) => passGoTests(programs),
    180_000,
  );
});
