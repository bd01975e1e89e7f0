import { type Context, findSystem, intoNamespace } from "../../deploy/context";
import { openDeployed, sayChanged } from "../../deploy/deployed";
import { onOwnServer, sshCommand } from "../../deploy/ssh";
import { runInForeground } from "../../support/process";
import { UsageError } from "../../support/usageError";
import { type Verb } from "../verb";

/** The whole command that runs one in a system. */
export function commandInSystem(context: Context, system: string | undefined, words: readonly string[], terminal = false): string[] {
  const found = findSystem(context, system);
  const into = found.isBare ? intoNamespace(found) : ["docker", "exec", terminal ? "-it" : "-i", found.container];
  const [ssh = "", ...rest] = sshCommand(found.server, onOwnServer(context, found.server, [...into, ...words]));
  return [ssh, terminal ? "-t" : "-T", ...rest];
}

export const exec: Verb = {
  name: "exec",
  words: "SYSTEM -- COMMAND...",
  summary: "run a command in a tenant system",
  details: `
  flipflap exec red-web -- ping -c 3 10.0.191.10
  flipflap exec red-web -- sh

In a system of kind netns it is the server's own programs that run.

Input, output and the exit code are the command's own.`,
  options: {},
  run: async ({ words, rest }) => {
    const context = await openDeployed();
    sayChanged(context);
    findSystem(context, words[0]);
    if (rest.length === 0) throw new UsageError("name the command after --");
    const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
    return runInForeground(commandInSystem(context, words[0], rest, terminal), { cwd: context.root });
  },
};
