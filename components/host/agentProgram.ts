/** The agent's own program, asked on this machine: it reads rules as it will on a server. */
import { execFileSync } from "node:child_process";
import { imageProgram } from "../../images/program";
import type { FirewallReading } from "./contract/types.gen";

/** A file of rules as the agent reads it. `isShort`: without the rules themselves. */
export function readRules(text: string, networks: readonly string[], { isShort = false } = {}): FirewallReading {
  const words = ["rules", "-networks", networks.join(","), ...(isShort ? ["-short"] : [])];
  return JSON.parse(
    execFileSync(imageProgram("agent"), words, { input: text, encoding: "utf8", maxBuffer: 1 << 30, stdio: ["pipe", "pipe", "inherit"] }),
  ) as FirewallReading;
}
