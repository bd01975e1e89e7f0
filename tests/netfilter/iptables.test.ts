/** Rules in iptables' words, as the firewall reads them, held against iptables itself: agent/iptables. */
import { describe, it } from "vitest";
import { passGoTests } from "../support/goTests";

describe("rules of iptables", () => {
  it(
    "are read, refused and printed as iptables does",
    () =>
      passGoTests({
        folder: "iptables",
        tests: [
          "TestWhatIptablesSavePrintsIsRead",
          "TestCommandsChangeWhatIsThere",
          "TestFaultsSayWhereAndHow",
          "TestRulesAreThoseOfIptables",
          "FuzzParse",
        ],
        skips: [],
        says: /ip6tables-legacy: \d{3,} rules alike, 300 refused alike/,
      }),
    180_000,
  );
});
