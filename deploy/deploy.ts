/** Bringing stacks up and down, all at once where nothing forbids it. */
import { existsSync, readdirSync } from "node:fs";
import { type Declaration, findServer, firstHub } from "../components/config/declaration";
import { secretResource } from "../components/net/names";
import { secretsOf } from "../components/plan/secrets";
import { readLabState } from "../lab/state";
import { StepError, step } from "../support/progress";
import { stacksFolder } from "../support/project";
import type { Context } from "./context";
import { settleNotes } from "./generation";
import { type Changes, changesText, diagnostics, operate, parseChanges, unchanged } from "./pulumi";
import { restoreState } from "./recovery";
import { exportStack, readStack, urnName } from "./state";

export async function operateStack(context: Context, verb: "up" | "destroy", stack: string): Promise<Changes> {
  const { root } = context;
  const server = findServer(context.declaration, stack);
  const title = `${verb === "up" ? "pulumi up" : "pulumi destroy"} -s ${stack}`;
  return step(
    title,
    async (show) => {
      let done = 0;
      const before = verb === "up" ? await exportStack(root, stack) : undefined;
      const operation = await operate(root, verb, stack, (line) => {
        if (/\b(created|updated|deleted|replaced)\b/.test(line)) show(`${++done} done`);
      });
      if (operation.code === 0) {
        const changes = parseChanges(operation.output);
        if (verb === "up" && server !== undefined && changesText(changes) !== unchanged) await settleNotes(context, server, before);
        return changes;
      }
      const locked = /is currently locked/i.test(operation.output);
      const todo = locked
        ? "Another pulumi works on this stack: wait for it. Where none does: flipflap repair."
        : `Mend it and run this again; all of it: ${operation.log}. What is in the way and is nobody's: flipflap repair takes it away.`;
      throw new StepError(title, `failed\n${diagnostics(operation.output)}`, todo);
    },
    changesText,
  );
}

/** What arises on the hub must be there before the others read it; where nothing does, or it is there and stays, all at once. */
async function inOrder(root: string, declaration: Declaration, remade: ReadonlySet<string>): Promise<string[][]> {
  const names = declaration.servers.map((server) => server.name);
  const hub = firstHub(declaration)?.name;
  const needed = secretsOf(declaration).map((secret) => secretResource(hub ?? "", secret.name));
  if (hub === undefined || needed.length === 0) return [names];
  const there = (await readStack(root, hub))?.resources.map(({ urn }) => urnName(urn)) ?? [];
  return needed.every((name) => there.includes(name) && !remade.has(name)) ? [names] : [[hub], names.filter((name) => name !== hub)];
}

/** Every stack of a round is waited for, so that none is cut off by the failure of another. */
async function inRounds(rounds: readonly (readonly string[])[], work: (stack: string) => Promise<Changes>): Promise<Changes[]> {
  const all: Changes[] = [];
  for (const round of rounds) {
    const results = await Promise.allSettled(round.map(work));
    const failed = results.find((result): result is PromiseRejectedResult => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    all.push(...results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])));
  }
  return all;
}

/**
 * Stacks of the lab's servers that have no stack file any more: they left, with all that was on them. Another server cannot be
 * reached without its file, so it must be given back before.
 */
export async function departed(root: string, declaration: Declaration): Promise<string[]> {
  const folder = stacksFolder(root);
  const names = existsSync(folder) ? readdirSync(folder).flatMap((leaf) => /^(.+)\.json$/.exec(leaf)?.[1] ?? []) : [];
  const gone = names.filter((name) => !declaration.servers.some((server) => server.name === name));
  for (const name of gone) restoreState(root, name);
  const states = await Promise.all(gone.map((name) => readStack(root, name)));
  // An up that was killed has noted nothing; the lab may still know it.
  const lab = readLabState(root)?.servers;
  const ofLab = gone.filter((name, i) => states[i]?.isLab === true || lab?.[name] !== undefined);
  const lost = gone.filter((name, i) => (states[i]?.resources ?? []).length > 0 && !ofLab.includes(name));
  if (lost.length === 0) return ofLab;
  throw new StepError(
    lost.map((name) => `stack ${name}`).join(", "),
    `deployed, and ${lost.map((name) => `Pulumi.${name}.yaml`).join(", ")} is gone`,
    `Put the file back (git checkout), then: ${lost.map((name) => `pulumi destroy -s ${name}`).join("; ")}. After that the file can go.`,
  );
}

/** With the names of what is made again. */
export async function deploy(context: Context, remade: ReadonlySet<string>): Promise<Changes[]> {
  return inRounds(await inOrder(context.root, context.declaration, remade), (stack) => operateStack(context, "up", stack));
}

/** A destroy reads no other stack. */
export function undeploy(context: Context): Promise<Changes[]> {
  return inRounds([context.declaration.servers.map((server) => server.name)], (stack) => operateStack(context, "destroy", stack));
}
