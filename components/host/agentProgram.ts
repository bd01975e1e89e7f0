/** The agent's own program, asked on this machine: it reads rules as it will on a server. */
import { execFileSync } from "node:child_process";
import { imageProgram } from "../../images/program";
import type { FirewallQuestion, FirewallReading } from "./contract/types.gen";

/** A file of rules as the agent reads it, and what it says of packets. */
export function readRules({
  packets = [],
  short = false,
  ...file
}: Partial<FirewallQuestion> & Pick<FirewallQuestion, "text" | "networks">): FirewallReading {
  const question: FirewallQuestion = { ...file, short, packets };
  return JSON.parse(
    execFileSync(imageProgram("agent"), ["rules"], {
      input: JSON.stringify(question),
      encoding: "utf8",
      maxBuffer: 1 << 30,
      stdio: ["pipe", "pipe", "inherit"],
    }),
  ) as FirewallReading;
}
