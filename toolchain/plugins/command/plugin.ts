/** command:remote:Command and command:local:Command. */
import { randomBytes } from "node:crypto";
import type { Plugin, Properties, ResourceType } from "../plugin";
import { mustSucceed, type Printed, runProcess, stopProcesses } from "../processes";
import { closeConnections, type Connection, runOverSsh } from "./ssh";

type Run = (command: string, inputs: Properties) => Promise<Printed>;

/** Both have the same life: create, then update or else create again, then delete; a changed trigger replaces. */
function commandType(own: ResourceType["inputs"], run: Run): ResourceType {
  const execute = async (command: unknown, inputs: Properties): Promise<Properties> => {
    if (command === undefined || command === null) return { ...inputs, stdout: "", stderr: "" };
    const printed = mustSucceed(await run(String(command), inputs), String(command));
    return { ...inputs, stdout: printed.stdout.replace(/\n$/, ""), stderr: printed.stderr.replace(/\n$/, "") };
  };
  return {
    inputs: { ...own, create: true, delete: true, triggers: true, addPreviousOutputInEnv: true },
    replacing: ["triggers"],
    create: async (inputs) => ({ id: `command-${randomBytes(6).toString("hex")}`, outs: await execute(inputs.create, inputs) }),
    update: (_, __, news) => execute(news.update ?? news.create, news),
    delete: async (_, state) => {
      await execute(state.delete, state);
    },
  };
}

export const commandPlugin: Plugin = {
  name: "command",
  version: "1.2.1",
  config: {},
  resources: {
    "command:remote:Command": commandType(
      {
        connection: { host: true, port: true, user: true, privateKey: true, hostKey: true, dialErrorLimit: true, perDialTimeout: true },
        stdin: true,
        update: true,
        // This one never prints what commands print; the vendor's does unless it is told not to.
        logging: true,
      },
      (command, inputs) => runOverSsh(inputs.connection as Connection, command, String(inputs.stdin ?? "")),
    ),
    "command:local:Command": commandType({}, (command) => runProcess(["/bin/sh", "-c", command])),
  },
  stop: async () => {
    stopProcesses();
    closeConnections();
  },
};
