import { openContext } from "../../deploy/context";
import { runScript } from "../../deploy/ssh";
import { factsScript, judge, readFacts } from "../abilities";
import { table } from "../table";
import { askedTestbed, jsonOption, testbedOption, type Verb } from "../verb";

export const doctor: Verb = {
  name: "doctor",
  words: "",
  summary: "what each server has, what it can run, and what a missing feature costs",
  details: `
Asks every server over SSH; changes nothing and needs nothing deployed. "unknown": the kernel does not show its
configuration (/proc/config.gz, /boot/config-...).

Exit code 0: every server can take part in the testbed that is declared; 3: one does not answer, or lacks what any
testbed needs.`,
  options: { ...jsonOption, ...testbedOption },
  run: async ({ flags }) => {
    const context = openContext(askedTestbed(flags));
    const all = await Promise.all(
      context.declaration.servers.map(async (server) => {
        const finished = await runScript(context, server, `${factsScript.text}\n`, 20);
        if (finished.code !== 0) return { server: server.name, error: finished.stderr.trim() || "no answer", abilities: [] };
        const facts = readFacts(finished.stdout);
        return { server: server.name, kernel: facts.kernel, docker: facts.docker, abilities: judge(facts) };
      }),
    );
    if (flags.json === true) console.log(JSON.stringify(all, null, 2));
    else
      for (const one of all) {
        if ("error" in one) {
          console.log(`${one.server}: ${one.error}\n`);
          continue;
        }
        console.log(`${one.server}: Linux ${one.kernel}, docker ${one.docker || "does not answer"}`);
        const rows = one.abilities.map(({ ability, can, lacks, cost }) => [`  ${ability}`, can, lacks.join(" "), cost]);
        console.log(`${table(["  WHAT", "CAN", "LACKS", "COSTS"], rows)}\n`);
      }
    const isFit = all.every((one) => !("error" in one) && one.docker !== "" && one.abilities[0]?.can !== "no");
    return isFit ? 0 : 3;
  },
};
