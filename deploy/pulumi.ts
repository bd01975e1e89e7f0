/** Calling Pulumi for a project. */
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { codeRoot, projectFiles, stateFolder } from "../support/project";

/** Where the offline plugins are installed, for every project of this checkout. */
export const pulumiHome = join(codeRoot, ".flipflap", "pulumi");

/**
 * As env.sh says; a user's own backend and passphrase stay where they are set. Without `metadata=skip` Pulumi (3.190) keeps a
 * file of attributes beside each of its own, written in place: killed meanwhile it leaves an empty one, and reads no more.
 */
export function pulumiEnvironment(root: string): NodeJS.ProcessEnv {
  const own = join(codeRoot, ".flipflap", "bin");
  const path = process.env.PATH ?? "";
  return {
    ...process.env,
    PATH: path.split(":").includes(own) ? path : `${own}:${path}`,
    FLIPFLAP_ROOT: root,
    PULUMI_HOME: pulumiHome,
    PULUMI_BACKEND_URL: process.env.FLIPFLAP_BACKEND_URL ?? `file://${join(stateFolder(root), "state")}?metadata=skip`,
    PULUMI_CONFIG_PASSPHRASE_FILE: projectFiles.passphrase(root),
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS: "true",
    NO_COLOR: "1",
  };
}

export interface Changes {
  readonly created: number;
  readonly updated: number;
  readonly replaced: number;
  readonly deleted: number;
  readonly same: number;
}

/** From the summary that Pulumi ends with: "+ 36 created", "36 unchanged". */
export function parseChanges(output: string): Changes {
  const summary = output.slice(output.lastIndexOf("\nResources:"));
  const count = (words: string): number => Number(new RegExp(`(\\d+) (?:${words})`).exec(summary)?.[1] ?? 0);
  return {
    created: count("created|to create"),
    updated: count("updated|to update"),
    replaced: count("replaced|to replace"),
    deleted: count("deleted|to delete"),
    same: count("unchanged"),
  };
}

export const unchanged = "no changes";

export function changesText(changes: Changes): string {
  const parts = (["created", "updated", "replaced", "deleted"] as const).flatMap((key) =>
    changes[key] > 0 ? [`${changes[key]} ${key}`] : [],
  );
  return parts.length === 0 ? unchanged : parts.join(", ");
}

export interface Operation {
  readonly code: number;
  readonly output: string;
  readonly log: string;
}

/**
 * Says that a stack's last operation ended with an error. Cut off from the server meanwhile, Pulumi notes nothing of what
 * dockerd was making for it: the container is there, no state knows of it, and its name is taken.
 */
export const failureMark = (root: string, stack: string): string => join(stateFolder(root), "failed", stack);

/** Runs `pulumi up` or `destroy` to its end; its whole output goes to a log, `onLine` shows how far it is. */
export function operate(
  root: string,
  verb: "up" | "destroy" | "refresh",
  stack: string,
  onLine: (line: string) => void,
): Promise<Operation> {
  const logs = join(stateFolder(root), "logs");
  mkdirSync(logs, { recursive: true });
  const log = join(logs, `${verb}-${stack}.log`);
  const args = [
    verb,
    "--stack",
    stack,
    "--yes",
    "--skip-preview",
    "--non-interactive",
    "--color",
    "never",
    ...(verb === "up" ? ["--suppress-outputs"] : []),
  ];
  return new Promise((resolve, reject) => {
    // Written at the end alone: it takes half the time. What is cut off meanwhile is known by what stands on the server.
    const env = { ...pulumiEnvironment(root), PULUMI_SKIP_CHECKPOINTS: "true" };
    const child = spawn("pulumi", args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
    const file = createWriteStream(log);
    let output = "";
    const take = (data: Buffer): void => {
      const text = data.toString("utf8");
      output += text;
      file.write(text);
      for (const line of text.split("\n")) onLine(line);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", reject);
    child.on("close", (code) => {
      file.end();
      const mark = failureMark(root, stack);
      if (code === 0) rmSync(mark, { force: true });
      else {
        mkdirSync(dirname(mark), { recursive: true });
        writeFileSync(mark, "");
      }
      resolve({ code: code ?? 255, output, log });
    });
  });
}

/** What went wrong, of all that Pulumi printed. */
export function diagnostics(output: string): string {
  const begin = output.indexOf("\nDiagnostics:");
  const text = begin < 0 ? output : (output.slice(begin + 1).split(/\n(?:Outputs|Resources):/)[0] ?? "");
  return text
    .split("\n")
    .filter((line) => line.trim() !== "" && !/warning: using pulumi-resource-/.test(line))
    .slice(-40)
    .join("\n");
}
