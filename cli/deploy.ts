/** Bringing stacks up and down, all at once where nothing forbids it. */
import type { Declaration } from "../components/config/declaration";
import { StepError, step } from "../support/progress";
import { type Changes, changesText, diagnostics, operate, parseChanges } from "./pulumi";

async function operateStack(root: string, verb: "up" | "destroy", stack: string): Promise<Changes> {
  const title = `${verb === "up" ? "pulumi up" : "pulumi destroy"} -s ${stack}`;
  return step(
    title,
    async (show) => {
      let done = 0;
      const operation = await operate(root, verb, stack, (line) => {
        if (/\b(created|updated|deleted|replaced)\b/.test(line)) show(`${++done} done`);
      });
      if (operation.code === 0) return parseChanges(operation.output);
      const locked = /is currently locked/i.test(operation.output);
      const todo = locked
        ? `Another pulumi works on this stack, or one was killed: pulumi cancel -s ${stack}, then again.`
        : `Mend it and run this again; all of it: ${operation.log}`;
      throw new StepError(title, `failed\n${diagnostics(operation.output)}`, todo);
    },
    changesText,
  );
}

/** What arises on the hub must be there before the others read it; without that, all at once. */
function inOrder(declaration: Declaration): string[][] {
  const names = declaration.servers.map((server) => server.name);
  const hubs = declaration.servers.filter((server) => server.hub).map((server) => server.name);
  if ((declaration.testbed.secrets ?? []).length === 0) return [names];
  return [hubs.slice(0, 1), names.filter((name) => name !== hubs[0])];
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

export function deploy(root: string, declaration: Declaration): Promise<Changes[]> {
  return inRounds(inOrder(declaration), (stack) => operateStack(root, "up", stack));
}

export function undeploy(root: string, declaration: Declaration): Promise<Changes[]> {
  return inRounds([...inOrder(declaration)].reverse(), (stack) => operateStack(root, "destroy", stack));
}
