import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, isSeq, parseDocument } from "yaml";
import { capabilities } from "../../components/capabilities/registry";
import type { MoveMoment } from "../../components/kinds/kind";
import { kindOf } from "../../components/kinds/registry";
import { checkedDeclaration } from "../../components/plan/check";
import { networkContexts } from "../../components/plan/contexts";
import { type Context, findSystem, openContext } from "../../deploy/context";
import { operateStack } from "../../deploy/deploy";
import { recover } from "../../deploy/recovery";
import { remakeWhatIsGone } from "../../deploy/remake";
import { runScript } from "../../deploy/ssh";
import { readLabState } from "../../lab/state";
import { StepError } from "../../support/progress";
import { UsageError } from "../../support/usageError";
import { jsonOption, type Verb } from "../verb";

/** The testbed's text with one system on another server; all else stays as it is written. */
export function movedText(text: string, system: string, server: string): string {
  const systems = parseDocument(text).get("systems");
  const found = isSeq(systems) ? systems.items.find((item) => isMap(item) && item.get("name") === system) : undefined;
  const value = isMap(found) ? found.get("server", true) : undefined;
  if (value?.range == null) throw new Error(`systems.${system}.server: not found in the testbed's file`);
  const [start, end] = value.range;
  return `${text.slice(0, start)}${server}${text.slice(end)}`;
}

/** What the kinds do beside the two ups. */
async function runHooks(context: Context, system: string, moment: MoveMoment): Promise<void> {
  const { server } = findSystem(context, system);
  const scripts = [...networkContexts(context.declaration, server).values()].flatMap((network) => {
    const member = network.members.find((one) => one.system === system);
    return (member && kindOf(network.network).moved?.(network, member, moment)) ?? [];
  });
  if (scripts.length === 0) return;
  const finished = await runScript(context, server, `${["set -eu", ...scripts.map(({ text }) => text)].join("\n")}\n`);
  if (finished.code !== 0)
    throw new StepError(`move ${system}`, finished.stderr.trim(), "It runs at its new place; flipflap drift tells what is left to do.");
}

export const move: Verb = {
  name: "move",
  words: "SYSTEM",
  summary: "move a system to another server; its addresses and MAC stay",
  details: `
Writes the new server into the testbed's file, then brings up the new server's stack (the system starts there and is
advertised from there), then the old one's (where it is removed); in between and at the end the kinds of its networks do
what they have to (an l2 bridge tells its segment). A gateway of tunnels is removed before it starts at its new place. What
runs in the container starts anew: a system is moved, not its memory. Other systems are not touched.

Where the new place does not fit the declaration, nothing is changed. Exit code 0: moved.`,
  options: { ...jsonOption, to: { type: "string", value: "SERVER", help: "where it goes" } },
  takesTurn: () => true,
  run: async ({ words, flags }) => {
    const [name] = words;
    const { to } = flags;
    const context = openContext();
    const { root, declaration } = context;
    const { server: from } = findSystem(context, name);
    const known = declaration.servers.map((server) => server.name);
    if (typeof to !== "string" || !known.includes(to)) throw new UsageError(`name the server to move to, --to one of ${known.join(", ")}`);
    if (from.name === to) throw new UsageError(`${name} is on ${to} already`);
    await recover(context, declaration.servers, "up");
    await remakeWhatIsGone(context, declaration.servers);
    const file = join(root, "testbeds", `${declaration.name}.yaml`);
    const before = readFileSync(file, "utf8");
    // Whole or not at all.
    const put = (text: string): void => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    };
    put(movedText(before, name ?? "", to));
    let moved: Context;
    try {
      moved = { root, declaration: checkedDeclaration(root, readLabState(root), true) };
    } catch (error) {
      put(before);
      throw error;
    }
    const begin = Date.now();
    try {
      if (capabilities.some((capability) => capability.standsAlone?.(declaration, name ?? "") === true)) {
        await operateStack(moved, "up", from.name);
        await operateStack(moved, "up", to);
      } else {
        await operateStack(moved, "up", to);
        await runHooks(moved, name ?? "", "both");
        await operateStack(moved, "up", from.name);
      }
      await runHooks(moved, name ?? "", "alone");
    } catch (error) {
      if (error instanceof StepError)
        console.error(
          `testbeds/${declaration.name}.yaml says server: ${to}; flipflap move ${name} --to ${from.name}, then flipflap repair, go back.`,
        );
      throw error;
    }
    const done = { system: name, from: from.name, to, seconds: (Date.now() - begin) / 1000 };
    console.log(flags.json === true ? JSON.stringify(done) : `${name} is on ${to} (${done.seconds.toFixed(1)} s)`);
    return 0;
  },
};
