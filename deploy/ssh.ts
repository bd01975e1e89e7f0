/** Running what is to be run on a server. */
import type { ServerDeclaration } from "../components/config/declaration";
import { refuseOthers } from "../components/host/objects/claim";
import { shellCommand } from "../components/host/script";
import { quote } from "../components/host/sh";
import { sshConfigPath } from "../components/host/sshConfig";
import { type Finished, tryRun } from "../support/process";
import { StepError } from "../support/progress";
import { projectName } from "../support/project";
import type { Context } from "./context";

export function sshCommand(server: ServerDeclaration, ...words: string[]): string[] {
  return ["ssh", "-F", sshConfigPath, server.name, ...words];
}

/** Runs a script on a server over one connection, with root's rights. */
export function runScript(context: Context, server: ServerDeclaration, script: string, timeoutSeconds = 60): Promise<Finished> {
  return tryRun(sshCommand(server, shellCommand(server, "")), { cwd: context.root, stdin: script, timeoutSeconds });
}

/** Words for a server's shell that run a command there, but for one where the stack's name is another project's: its systems may be called the same. */
export function onOwnServer({ root }: Pick<Context, "root">, server: ServerDeclaration, words: readonly string[]): string {
  const script = `${refuseOthers(projectName(root), { stack: server.name }).text}\nexec "$@"`;
  return ["sh", "-c", script, "sh", ...words].map(quote).join(" ");
}

/** Why ssh got no answer, in one line. */
export function sshTrouble(server: ServerDeclaration, { stderr }: Pick<Finished, "stderr">): string {
  if (!/host key verification failed|REMOTE HOST IDENTIFICATION/i.test(stderr)) return `no answer over SSH: ${stderr.trim()}`;
  const where = server.isLab ? "the lab's state" : `hostKey in Pulumi.${server.name}.yaml`;
  return `no answer over SSH: ${server.address} shows another host key than ${where} says; where the server was made anew, write its new key there, else somebody stands in between`;
}

const patienceSeconds = 900;

/** For scripts that may have to wait, and must end well: gives what one printed. */
export async function scriptOn(context: Context, server: ServerDeclaration, text: string): Promise<string> {
  const finished = await runScript(context, server, `${text}\n`, patienceSeconds);
  if (finished.code === 0) return finished.stdout;
  const why = finished.code === 255 ? sshTrouble(server, finished) : finished.stderr.trim();
  throw new StepError(server.name, why === "" ? `no end within ${patienceSeconds} seconds` : why, "Mend it and run this again.");
}
