import { checkServers } from "../../deploy/checks";
import { openDeployed, sayChanged } from "../../deploy/deployed";
import { driftText } from "../driftText";
import { planProbes, runProbes } from "../probes";
import { jsonOption, type Verb } from "../verb";

export const check: Verb = {
  name: "check",
  words: "",
  summary: "drift, and packets of full size from system to system",
  details: `
What flipflap drift does, and full-size packets from system to system with "don't fragment". Changes nothing.

Exit code 0: all is as declared; 3: something is not.`,
  options: jsonOption,
  run: async ({ flags }) => {
    const context = await openDeployed();
    sayChanged(context);
    const [checks, probes] = await Promise.all([checkServers(context), runProbes(context, planProbes(context.declaration, context.root))]);
    const wrong = checks.filter((checked) => checked.result !== "ok");
    const unreached = probes.filter((probe) => !probe.reached);
    if (flags.json === true) console.log(JSON.stringify({ checks, probes }, null, 2));
    else {
      for (const checked of wrong) console.log(driftText(checked));
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
