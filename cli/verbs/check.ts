import type { Difference } from "../../components/host/objectType";
import { checkServer, type Checked } from "../checks";
import { openContext } from "../context";
import { planProbes, runProbes } from "../probes";
import { jsonOption, type Verb } from "../verb";

/** Of two lists only what differs is worth reading. */
function differenceText({ property, wanted, found }: Difference): string {
  if (Array.isArray(wanted) && Array.isArray(found)) {
    const lacks = wanted.filter((item) => !found.includes(item));
    const beyond = found.filter((item) => !wanted.includes(item));
    if (lacks.length + beyond.length > 0)
      return [
        ...lacks.map((item) => `    ${property}: lacks ${item}`),
        ...beyond.map((item) => `    ${property}: has, undeclared, ${item}`),
      ].join("\n");
    return `    ${property}: in another order`;
  }
  return `    ${property}: wanted ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`;
}

function text(checked: Checked): string {
  const head = `${checked.server}  ${checked.name} (${checked.type})`;
  if (checked.result === "missing") return `${head}: missing`;
  if (checked.result === "failed") return `${head}: ${checked.error ?? "failed"}`;
  return [`${head}: different`, ...checked.differences.map(differenceText)].join("\n");
}

export const check: Verb = {
  name: "check",
  words: "",
  summary: "compare every object on the servers with what is declared",
  details: `
Runs the check of each object over one SSH connection a server, and full-size packets from system to
system with "don't fragment". Names what is missing or different, property by property. Changes nothing.

Exit code 0: all is as declared; 3: something is not.`,
  options: jsonOption,
  run: async ({ flags }) => {
    const context = openContext();
    const [checks, probes] = await Promise.all([
      Promise.all(context.declaration.servers.map((server) => checkServer(context, server))).then((all) => all.flat()),
      runProbes(context, planProbes(context.declaration)),
    ]);
    const wrong = checks.filter((checked) => checked.result !== "ok");
    const unreached = probes.filter((probe) => !probe.reached);
    if (flags.json === true) console.log(JSON.stringify({ checks, probes }, null, 2));
    else {
      for (const checked of wrong) console.log(text(checked));
      for (const probe of unreached)
        console.log(`${probe.server}  ${probe.from} -> ${probe.to} (${probe.address}, ${probe.mtuBytes} bytes): ${probe.error}`);
      console.log(
        `${checks.length} objects checked, ${wrong.length} not as declared; ${probes.length} ways probed, ${unreached.length} closed`,
      );
      if (checks.length === 0) console.log("Nothing is deployed; npm run up, or pulumi up -s SERVER.");
    }
    return wrong.length + unreached.length > 0 ? 3 : 0;
  },
};
