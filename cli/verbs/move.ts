import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, isSeq, parseDocument } from "yaml";
import { checkedDeclaration } from "../../components/testbed/check";
import { readLabState } from "../../lab/state";
import { StepError } from "../../support/progress";
import { findSystem, openContext } from "../context";
import { operateStack } from "../deploy";
import { jsonOption, UsageError, type Verb } from "../verb";

/** The testbed's text with one system on another server; all else stays as it is written. */
export function movedText(text: string, system: string, server: string): string {
  const systems = parseDocument(text).get("systems");
  const found = isSeq(systems) ? systems.items.find((item) => isMap(item) && item.get("name") === system) : undefined;
  const value = isMap(found) ? found.get("server", true) : undefined;
  if (value?.range == null) throw new Error(`systems.${system}.server: not found in the testbed's file`);
  const [start, end] = value.range;
  return `${text.slice(0, start)}${server}${text.slice(end)}`;
}

export const move: Verb = {
  name: "move",
  words: "SYSTEM",
  summary: "move a system to another server; its addresses and MAC stay",
  details: `
Writes the new server into the testbed's file, then brings up the new server's stack (the system starts there and is
advertised from there), then the old one's (where it is removed). What runs in the container starts anew: a system is
moved, not its memory. Other systems are not touched.

Where the new place does not fit the declaration, nothing is changed. Exit code 0: moved.`,
  options: { ...jsonOption, to: { type: "string", value: "SERVER", help: "where it goes" } },
  run: async ({ words, flags }) => {
    const [name] = words;
    const { to } = flags;
    const context = openContext();
    const { root, declaration } = context;
    const { server: from } = findSystem(context, name);
    const known = declaration.servers.map((server) => server.name);
    if (typeof to !== "string" || !known.includes(to)) throw new UsageError(`name the server to move to, --to one of ${known.join(", ")}`);
    if (from.name === to) throw new UsageError(`${name} is on ${to} already`);
    const file = join(root, "testbeds", `${declaration.name}.yaml`);
    const before = readFileSync(file, "utf8");
    writeFileSync(file, movedText(before, name ?? "", to));
    try {
      checkedDeclaration(root, readLabState(root), true);
    } catch (error) {
      writeFileSync(file, before);
      throw error;
    }
    const begin = Date.now();
    try {
      await operateStack(root, "up", to);
      await operateStack(root, "up", from.name);
    } catch (error) {
      if (error instanceof StepError)
        console.error(
          `testbeds/${declaration.name}.yaml says server: ${to}; flipflap move ${name} --to ${from.name}, then flipflap repair, go back.`,
        );
      throw error;
    }
    const moved = { system: name, from: from.name, to, seconds: (Date.now() - begin) / 1000 };
    console.log(flags.json === true ? JSON.stringify(moved) : `${name} is on ${to} (${moved.seconds.toFixed(1)} s)`);
    return 0;
  },
};
