import { checkedDeclaration } from "../../components/plan/check";
import { departed, undeploy } from "../../deploy/deploy";
import { letGo } from "../../deploy/hold";
import { hasTraces, recover } from "../../deploy/recovery";
import { readStack } from "../../deploy/state";
import { status as labStatus } from "../../lab/lab";
import { projectLab } from "../../lab/plan";
import { readLabState } from "../../lab/state";
import { forgetStack, forgetTestbedOverride } from "../../setup/project";
import { say, step } from "../../support/progress";
import { projectRoot } from "../../support/project";
import { type Verb } from "../verb";
import { stopLab } from "./up";

export const down: Verb = {
  name: "down",
  words: "",
  summary: "destroy all stacks and stop the lab: the machine is as before",
  details: `
Installed packages and caches (~/.cache/flipflap) stay. Where a server of the lab is powered off, what it
held is gone with it, and its stack's state is forgotten.`,
  options: {},
  takesTurn: () => true,
  run: async () => {
    const root = projectRoot();
    const plan = projectLab(root);
    const now = await labStatus(plan);
    const off = plan.servers.filter((s) => now.servers.find((n) => n.server === s.name)?.power !== "on").map((s) => s.name);
    let gone: string[] = [];
    if (readLabState(root) !== undefined || plan.servers.length === 0) {
      const declaration = checkedDeclaration(root, readLabState(root), true);
      gone = await departed(root, declaration);
      const traced = await Promise.all(
        declaration.servers.map(async (server) => !off.includes(server.name) && hasTraces({ root, declaration }, server)),
      );
      const mine = declaration.servers.filter((_, i) => traced[i] === true);
      // Thoroughly: what a killed experiment left goes too.
      await recover({ root, declaration }, mine, "down");
      const deployed = await Promise.all(declaration.servers.map((server) => readStack(root, server.name)));
      const there = deployed
        .filter((stack) => stack !== undefined && stack.resources.length > 0 && !off.includes(stack.stack))
        .map((stack) => stack?.stack);
      const left = declaration.servers.filter((server) => there.includes(server.name));
      await undeploy({ root, declaration: { ...declaration, servers: left } });
    }
    if (plan.servers.length > 0 || readLabState(root) !== undefined) {
      if (now.servers.length > 0 || readLabState(root) !== undefined) {
        await step(`lab ${plan.name} stopped`, async () => {
          await letGo();
          await stopLab(plan.name);
        });
      }
      // A server of the lab is gone with all that was on it.
      for (const name of [...off, ...gone]) forgetStack(root, name);
    }
    forgetTestbedOverride(
      root,
      plan.servers.map((s) => s.name),
    );
    say("  ok the machine is as before (installed packages and ~/.cache/flipflap apart)");
    return 0;
  },
};
