import { writeSshConfig } from "../../components/host/sshConfig";
import { checkedDeclaration } from "../../components/plan/check";
import { giveBack, objectsOf, readStacksThere, type StackThere } from "../../deploy/stacksThere";
import { leaseServers } from "../../deploy/turn";
import { readLabState } from "../../lab/state";
import { forgetStack } from "../../setup/project";
import { step } from "../../support/progress";
import { projectName, projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { table } from "../table";
import { type Verb } from "../verb";

const idOf = ({ project }: StackThere): string => project.split(" ")[0] ?? project;

/** What would go, by the types of objects. */
function countsOf(stack: StackThere): string {
  const counts = new Map<string, number>();
  for (const { type } of objectsOf(stack)) counts.set(type, (counts.get(type) ?? 0) + 1);
  return [...counts].map(([type, count]) => `${count} ${type}`).join(", ") || "the claim alone";
}

const troubleOf = ({ notes }: StackThere): string | undefined => notes.find(({ trouble }) => trouble !== undefined)?.trouble;

function stacksText(server: string, stacks: readonly StackThere[]): string {
  const rows = stacks.map((one) => [server, one.stack, idOf(one), one.project.split(" of ")[1] ?? "", one.lastUp]);
  const details = stacks.map((one) => `${one.stack}: ${troubleOf(one) ?? `what goes: ${countsOf(one)}`}`);
  return [table(["SERVER", "STACK", "PROJECT", "MACHINE", "LAST UP"], rows), "", ...details].join("\n");
}

export const reclaim: Verb = {
  name: "reclaim",
  words: "",
  summary: "give a server back without the state of what is on it: by what the server itself notes",
  details: `
For a server whose testbed cannot be taken down any more: the state file is lost, the laptop is gone, the passphrase is forgotten, the
project's folder was deleted. All that it needs is a stack file Pulumi.SERVER.yaml with the server's address and key.

  flipflap reclaim --server flip                     whose stacks are there, and what would go; nothing is changed
  flipflap reclaim --server flip --project 1f2e3d4c  takes all of that project's away, and puts back what was saved

It takes away what is another project's: nobody else must need it. Refused while a verb works on the server.
It runs texts that flipflap left on the server as root's own, and nothing where somebody else may have written them.

Exit code 0: the server is as it was before; 3: shown, nothing was changed.`,
  options: {
    server: { type: "string", value: "NAME", help: "of the stack file that says where it is" },
    project: { type: "string", value: "ID", help: "whose stack goes" },
  },
  takesTurn: () => true,
  run: async ({ flags }) => {
    const root = projectRoot();
    const declaration = checkedDeclaration(root, readLabState(root), false);
    const names = declaration.servers.map(({ name }) => name).join(", ");
    const server = declaration.servers.find(({ name }) => name === flags.server);
    if (server === undefined) throw new UsageError(`name the server, --server one of ${names}`);
    writeSshConfig(root, declaration);
    const context = { root, declaration };
    const stacks = await readStacksThere(context, server);
    if (stacks.length === 0) {
      console.log(`${server.name} holds no stack of flipflap`);
      return 0;
    }
    const asked = stacks.filter((one) => idOf(one) === flags.project || one.project === flags.project);
    const [one] = asked;
    if (one === undefined) {
      console.log(stacksText(server.name, stacks));
      if (flags.project !== undefined) throw new UsageError(`there is no stack of project ${String(flags.project)} on ${server.name}`);
      console.log(
        `\nNothing was changed. Give it back: flipflap reclaim --server ${server.name} --project ${idOf(stacks[0] as StackThere)}`,
      );
      return 3;
    }
    const broken = asked.find((one) => troubleOf(one) !== undefined);
    if (broken !== undefined) throw new Error(`${server.name}, stack ${broken.stack}: ${troubleOf(broken)}`);
    await leaseServers(context, [server], { isAnyProjects: true });
    for (const stack of asked) {
      await step(
        `${server.name}: stack ${stack.stack} of project ${stack.project}`,
        () => giveBack(context, server, stack),
        () => `${objectsOf(stack).length} objects taken away`,
      );
      if (stack.project === projectName(root)) forgetStack(root, stack.stack);
    }
    console.log(`${server.name} is given back`);
    return 0;
  },
};
