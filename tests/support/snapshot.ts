/** Before and after must be equal: support/snapshot.sh, here and on servers. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { formatPrefix } from "../../components/net/cidr";
import { labNameOf, labNames, labsFolder, shortHash } from "../../lab/names";
import { rangesOfSlot } from "../../lab/ranges";
import { run } from "../../support/process";
import { codeRoot } from "../../support/project";

const script = readFileSync(join(codeRoot, "support", "snapshot.sh"), "utf8");

export interface MachineSnapshot {
  readonly lines: readonly string[];
  /** Others' labs, whose namespaces keep the folder of namespaces there. */
  readonly hasOthers: boolean;
}

/** What marks the objects of a lab on this machine. */
function marksOf(lab: string): string[] {
  const slot = join(labNames(lab).folder, "slot");
  const { management, underlayIpv4, underlayIpv6, locators } = rangesOfSlot(existsSync(slot) ? Number(readFileSync(slot, "utf8")) : -1);
  const ranges = [management, underlayIpv4, underlayIpv6, locators].map(formatPrefix);
  return [`ff-${shortHash(lab)}-`, `flipflap-${shortHash(lab)}-`, lab, ...(existsSync(slot) ? ranges : [])];
}

/** Without what labs of other projects have here at this moment: they come and go. */
export async function machineSnapshot(root: string): Promise<MachineSnapshot> {
  const text = await run(["sh", "-s", "machine", labsFolder], { stdin: script });
  const labs = existsSync(labsFolder) ? readdirSync(labsFolder).filter((name) => !name.startsWith(".")) : [];
  const others = labs.filter((lab) => lab !== labNameOf(root));
  const marks = others.flatMap(marksOf);
  return { lines: text.split("\n").filter((line) => !marks.some((mark) => line.includes(mark))), hasOthers: others.length > 0 };
}

/** Both as they can be compared. */
export function comparable(before: MachineSnapshot, now: MachineSnapshot): { before: string; now: string } {
  const isLabs = (line: string): boolean => /^\/run\/netns\b|^\.made-run-netns$/.test(line);
  const text = ({ lines }: MachineSnapshot): string =>
    lines.filter((line) => !(before.hasOthers || now.hasOthers) || !isLabs(line)).join("\n");
  return { before: text(before), now: text(now) };
}

export function serverSnapshot(root: string, server: string): Promise<string> {
  return run(["ssh", "-F", join(root, ".flipflap/ssh/config"), server, "sh -s server"], { stdin: script });
}
