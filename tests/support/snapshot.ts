/** Before and after must be equal: support/snapshot.sh, here and on servers. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../support/process";
import { codeRoot } from "../../support/project";

const script = readFileSync(join(codeRoot, "support", "snapshot.sh"), "utf8");

export function machineSnapshot(): Promise<string> {
  return run(["sh", "-s"], { stdin: script });
}

export function serverSnapshot(root: string, server: string): Promise<string> {
  return run(["ssh", "-F", join(root, ".flipflap/ssh/config"), server, "sh -s server"], { stdin: script });
}
