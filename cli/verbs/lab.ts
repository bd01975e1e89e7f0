import { dirname, resolve } from "node:path";
import { powerCut, powerOn, start, status, stop } from "../../lab/lab";
import { projectLab } from "../../lab/plan";
import { readLabState } from "../../lab/state";
import { runInForeground } from "../../support/process";
import { cacheFolder, codeRoot, projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { table } from "../table";
import { jsonOption, type Verb } from "../verb";

/** Namespaces are root's. */
async function asRootAgain(words: readonly string[]): Promise<number> {
  const keep = ["FLIPFLAP_ROOT", "FLIPFLAP_LAB", "FLIPFLAP_LAB_SLOT"].flatMap((name) =>
    process.env[name] ? [`${name}=${process.env[name]}`] : [],
  );
  // The images are the user's.
  keep.push(`XDG_CACHE_HOME=${resolve(dirname(cacheFolder()))}`);
  // sudo's own PATH may know no node, or an old one.
  keep.push(`PATH=${dirname(process.execPath)}:${process.env.PATH ?? ""}`);
  return runInForeground(["sudo", "-n", "env", ...keep, `${codeRoot}/bin/flipflap`, "lab", ...words], { cwd: projectRoot() });
}

export const lab: Verb = {
  name: "lab",
  words: "start|stop|status|power-cut SERVER|power-on SERVER",
  summary: "the servers on this machine: namespaces with their own sshd and dockerd",
  details: `
  flipflap lab start             makes the servers whose stack files say "server: lab", and their links
  flipflap lab status            shows them
  flipflap lab power-cut flip    ends flip at once, as a power cut does; the peers see a lost carrier
  flipflap lab power-on flip     boots it again: its disk is as it was, its kernel state is gone
  flipflap lab stop              takes everything away (destroy the stacks first: npm run down does both)

A lab is named after the project's folder; FLIPFLAP_LAB names another. Its ranges are a slot of
198.18.0.0/15, by its name; FLIPFLAP_LAB_SLOT (0 to 127) chooses one.`,
  options: jsonOption,
  run: async ({ words, flags }) => {
    const [verb, server] = words;
    const root = projectRoot();
    const plan = projectLab(root);
    if (verb === "status") {
      const now = await status(plan);
      if (flags.json === true) console.log(JSON.stringify(now, null, 2));
      else if (now.servers.length === 0) console.log(`lab ${now.name}: off`);
      else
        console.log(
          `lab ${now.name}: ${now.ranges.join(", ")}\n\n${table(
            ["SERVER", "ADDRESS", "POWER", "PID"],
            now.servers.map((s) => [s.server, s.address, s.power, String(s.pid ?? "")]),
          )}`,
        );
      return 0;
    }
    if (!["start", "stop", "power-cut", "power-on"].includes(verb ?? ""))
      throw new UsageError("say start, stop, status, power-cut SERVER or power-on SERVER");
    if (verb?.startsWith("power-") && server === undefined)
      throw new UsageError(`name the server: ${plan.servers.map((s) => s.name).join(", ")}`);
    if (process.getuid?.() !== 0) return asRootAgain(words);
    if (verb === "start") await start(plan);
    else if (verb === "stop") await stop(plan);
    else if (readLabState(root) === undefined) throw new Error(`lab ${plan.name} is off; flipflap lab start`);
    else if (verb === "power-cut") await powerCut(plan, server ?? "");
    else await powerOn(plan, server ?? "");
    return 0;
  },
};
