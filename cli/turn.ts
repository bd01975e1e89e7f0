/**
 * Verbs that change servers or measure them take turns in a project: two ups at once would share its stacks out between
 * them, each refused the other's by Pulumi's locks, and neither would have made the testbed.
 *
 * Whose turn it is says a socket in the abstract namespace: one process can hold its name, and it is free again when that
 * process is gone, however it went.
 */
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { connect, createServer } from "node:net";
import { StepError } from "../support/progress";

/** One project may be called by several paths. */
const nameOf = (root: string): string => `\0flipflap-${createHash("sha256").update(realpathSync(root)).digest("hex").slice(0, 24)}`;

/** False where another has it. */
function hold(name: string, holder: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer((asking) => {
      asking.on("error", () => undefined);
      asking.end(holder);
    });
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(false);
      else reject(error);
    });
    // Alone it keeps no process from its end.
    server.listen(name, () => resolve(true)).unref();
  });
}

/** Undefined where it was over before it was asked. */
function holderOf(name: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = "";
    const asked = connect(name);
    asked.setTimeout(5000, () => asked.destroy());
    asked.on("data", (bytes) => (said += bytes.toString()));
    asked.once("error", () => resolve(undefined));
    asked.once("close", () => resolve(said === "" ? "another flipflap" : said));
  });
}

/** The turn is over with the process. */
export async function takeTurn(root: string, verb: string): Promise<void> {
  const name = nameOf(root);
  const holder = `flipflap ${verb} (PID ${process.pid}, since ${new Date().toISOString().slice(0, 19)}Z)`;
  while (!(await hold(name, holder))) {
    const other = await holderOf(name);
    if (other !== undefined) throw new StepError(`flipflap ${verb}`, `${other} works on it`, "Wait for it, or end it and run this again.");
  }
}
