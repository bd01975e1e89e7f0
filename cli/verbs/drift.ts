import { checkServers } from "../../deploy/checks";
import { openContext } from "../../deploy/context";
import { driftText } from "../driftText";
import { jsonOption, type Verb } from "../verb";

export const drift: Verb = {
  name: "drift",
  words: "",
  summary: "compare every object on the servers with what was deployed",
  details: `
Runs the check of each object over one SSH connection a server. Names what is missing or different, property by
property: what was wanted, what was found. Containers that have a stack's mark and that its state does not know of (an up
was killed) are named too. Changes nothing; flipflap repair mends what is named here and nothing else.

Exit code 0: all is as deployed; 3: something is not.`,
  options: jsonOption,
  run: async ({ flags }) => {
    const checks = await checkServers(openContext());
    const wrong = checks.filter((checked) => checked.result !== "ok");
    if (flags.json === true) console.log(JSON.stringify(checks, null, 2));
    else {
      for (const checked of wrong) console.log(driftText(checked));
      console.log(`${checks.length} objects checked, ${wrong.length} not as deployed`);
      if (checks.length === 0) console.log("Nothing is deployed; npm run up, or pulumi up -s SERVER.");
    }
    return wrong.length > 0 ? 3 : 0;
  },
};
