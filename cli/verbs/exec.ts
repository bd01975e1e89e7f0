import { quote } from "../../components/host/sh";
import { runInForeground } from "../../support/process";
import { findSystem, openContext, sshCommand } from "../context";
import { type Verb, UsageError } from "../verb";

export const exec: Verb = {
  name: "exec",
  words: "SYSTEM -- COMMAND...",
  summary: "run a command in a tenant system",
  details: `
  flipflap exec red-web -- ping -c 3 10.0.191.10
  flipflap exec red-web -- sh

Input, output and the exit code are the command's own.`,
  options: {},
  run: async ({ words, rest }) => {
    const context = openContext();
    const { server, container } = findSystem(context, words[0]);
    if (rest.length === 0) throw new UsageError("name the command after --");
    const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
    const remote = ["docker", "exec", terminal ? "-it" : "-i", container, ...rest].map(quote).join(" ");
    const [ssh = "", ...args] = sshCommand(server, remote);
    return runInForeground([ssh, terminal ? "-t" : "-T", ...args], { cwd: context.root });
  },
};
