import { runInForeground } from "../../support/process";
import { findSystem, intoNamespace, onOwnServer, openContext, sshCommand } from "../context";
import { type Verb, UsageError } from "../verb";

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
    const context = openContext();
    const found = findSystem(context, words[0]);
    const { server, container, isBare } = found;
    if (rest.length === 0) throw new UsageError("name the command after --");
    const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
    const into = isBare ? intoNamespace(found) : ["docker", "exec", terminal ? "-it" : "-i", container];
    const remote = onOwnServer(context, server, [...into, ...rest]);
    const [ssh = "", ...args] = sshCommand(server, remote);
    return runInForeground([ssh, terminal ? "-t" : "-T", ...args], { cwd: context.root });
  },
};
