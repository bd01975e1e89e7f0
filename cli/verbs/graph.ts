import { checkedDeclaration } from "../../components/plan/check";
import { readLabState } from "../../lab/state";
import { projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { topologyMermaid, topologySvg } from "../graph";
import { askedTestbed, testbedOption, type Verb } from "../verb";

export const graph: Verb = {
  name: "graph",
  words: "",
  summary: "draw the declared topology, tenants in colours",
  details: `
Needs nothing deployed.

  flipflap graph >topology.svg              a picture, for light and dark pages
  flipflap graph --format mermaid           text for pages that draw mermaid`,
  options: { ...testbedOption, format: { type: "string", value: "FORMAT", help: "svg (default) or mermaid" } },
  run: ({ flags }) => {
    const formats = { svg: topologySvg, mermaid: topologyMermaid };
    const { format = "svg" } = flags;
    if (format !== "svg" && format !== "mermaid") throw new UsageError(`--format is svg or mermaid, not ${String(format)}`);
    const root = projectRoot();
    process.stdout.write(formats[format](checkedDeclaration(root, readLabState(root), false, askedTestbed(flags))));
    return Promise.resolve(0);
  },
};
