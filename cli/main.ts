/** flipflap <verb>. */
import { ConfigError } from "../components/config/faults";
import { letGo } from "../deploy/hold";
import { takeTurn } from "../deploy/turn";
import { StepError } from "../support/progress";
import { projectRoot } from "../support/project";
import { UsageError } from "../support/usageError";
import { helpText, parseVerb } from "./verb";
import { allVerbs } from "./verbs";

function overview(): string {
  const width = Math.max(...allVerbs.map((verb) => verb.name.length));
  const lines = allVerbs.map((verb) => `  ${verb.name.padEnd(width)}  ${verb.summary}`);
  return ["flipflap <verb> [--help]: container network testbeds on servers", "", ...lines, ""].join("\n");
}

async function main(argv: readonly string[]): Promise<number> {
  const [name = "--help", ...rest] = argv;
  if (name === "--help" || name === "help" || name === "-h") {
    console.log(overview());
    return 0;
  }
  const verb = allVerbs.find((candidate) => candidate.name === name);
  if (verb === undefined) {
    console.error(`flipflap: there is no verb "${name}".\n\n${overview()}`);
    return 2;
  }
  const beforeCut = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  if (beforeCut.includes("--help") || beforeCut.includes("-h")) {
    console.log(helpText(verb));
    return 0;
  }
  try {
    const args = parseVerb(verb, rest);
    if (verb.takesTurn?.(args.words) === true) await takeTurn(projectRoot(), [name, ...args.words].join(" "));
    return await verb.run(args);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`flipflap ${verb.name}: ${error.message}\nSee flipflap ${verb.name} --help.`);
      return 2;
    }
    const expected = error instanceof ConfigError || error instanceof StepError || process.env.FLIPFLAP_DEBUG === undefined;
    console.error(expected ? (error as Error).message : error);
    return 1;
  } finally {
    await letGo();
  }
}

// Until it is known: a process that ends before its verb does has not done it.
process.exitCode = 1;
void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
