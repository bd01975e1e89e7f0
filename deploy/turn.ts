/**
 * Verbs that change servers or measure them take turns: in a project, whose stacks two ups at once would share out between
 * them, and on each server, which may belong to projects of several machines.
 */
import { mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { ServerDeclaration } from "../components/config/declaration";
import { refuseOthers } from "../components/host/objects/claim";
import { shellCommand } from "../components/host/script";
import { say, StepError } from "../support/progress";
import { projectName, stateFolder } from "../support/project";
import { type Context } from "./context";
import { sshCommand, sshTrouble } from "./ssh";
import { hold, holdScript } from "./hold";

/** On a server: in the folder that a power cut empties. */
const leaseFile = "/run/flipflap.lease";

let verbInWords = "flipflap";

const holderWords = (): string => `${verbInWords} (PID ${process.pid}, since ${new Date().toISOString().slice(0, 19)}Z)`;

const waitOrEnd = "Wait for it, or end it and run this again.";

/** The turn is over with the process. */
export async function takeTurn(root: string, verb: string): Promise<void> {
  verbInWords = `flipflap ${verb}`;
  // One project may be called by several paths.
  const folder = stateFolder(realpathSync(root));
  mkdirSync(folder, { recursive: true });
  const script = holdScript(join(folder, "turn"), holderWords());
  const refused = await hold(["sh", "-s"], `${script.text}\n`);
  if (refused === undefined) return;
  if (refused.holder === undefined) throw new StepError(verbInWords, refused.stderr.trim(), `Is ${folder} writable?`);
  throw new StepError(verbInWords, `${refused.holder} works on it`, waitOrEnd);
}

const leased = new Set<string>();

/**
 * Before a verb changes servers: each is this process's alone until the verb's end. Refused where another project holds the
 * stack's name there, so that no verb touches what is that one's.
 */
export async function leaseServers(
  context: Context,
  servers: readonly ServerDeclaration[],
  /** For the verbs that take over, or give back, what is another project's. */
  { isAnyProjects = false } = {},
): Promise<void> {
  const { root } = context;
  const project = projectName(root);
  const lease = async (server: ServerDeclaration): Promise<void> => {
    if (leased.has(server.name)) return;
    const refusal = isAnyProjects ? "" : refuseOthers(project, { stack: server.name }).text;
    const script = `${refusal}\n${holdScript(leaseFile, `${holderWords()} of project ${project}`).text}\n`;
    const refused = await hold(sshCommand(server, shellCommand(server, "")), script, {
      cwd: root,
      onLost: () => say(`  !! ${server.name}: the connection that reserves this server ended; another machine may work on it now`),
    });
    if (refused === undefined) leased.add(server.name);
    else if (refused.code === 255) throw new StepError(server.name, sshTrouble(server, refused), "Mend it and run this again.");
    else if (refused.holder === undefined) throw new StepError(server.name, refused.stderr.trim(), "Nothing was changed.");
    else throw new StepError(server.name, `${refused.holder} works on this server`, waitOrEnd);
  };
  const results = await Promise.allSettled(servers.map(lease));
  const failed = results.flatMap((result) => (result.status === "rejected" ? [result.reason as Error] : []));
  // All that stands in the way, at once.
  if (failed.length > 0) throw new Error(failed.map(({ message }) => message).join("\n"));
}
