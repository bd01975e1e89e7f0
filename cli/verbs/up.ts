import type { Declaration } from "../../components/config/declaration";
import { loadDeclaration } from "../../components/config/load";
import { writeSshConfig } from "../../components/host/sshConfig";
import { checkedDeclaration } from "../../components/plan/check";
import { warningsOf } from "../../components/plan/warnings";
import { type Context } from "../../deploy/context";
import { departed, deploy } from "../../deploy/deploy";
import { recover } from "../../deploy/recovery";
import { remakeWhatIsGone } from "../../deploy/remake";
import { status as labStatus } from "../../lab/lab";
import { projectLab } from "../../lab/plan";
import { readLabState } from "../../lab/state";
import { ensureImages, imagesOf } from "../../setup/images";
import { ensureProject, forgetStack, overrideTestbed } from "../../setup/project";
import { ensureToolchain } from "../../setup/toolchain";
import { sleep } from "../../support/process";
import { say, step } from "../../support/progress";
import { projectRoot } from "../../support/project";
import { jsonOption, type Verb } from "../verb";
import { lab } from "./lab";
import { isHealthy, readStatus, type Status, statusText } from "./status";

export async function stopLab(name: string): Promise<void> {
  const code = await lab.run({ words: ["stop"], flags: {}, rest: [] });
  if (code !== 0) throw new Error(`lab ${name}: did not stop`);
}

async function startLab(root: string): Promise<void> {
  const plan = projectLab(root);
  if (plan.servers.length === 0) {
    // Its servers have all left.
    if (readLabState(root) !== undefined) await step(`lab ${plan.name} stopped`, async () => stopLab(plan.name));
    return;
  }
  const now = await labStatus(plan);
  const running = plan.servers.every(
    (s) => now.servers.find((n) => n.server === s.name)?.power === "on" && readLabState(root)?.servers[s.name] !== undefined,
  );
  const title = `lab ${plan.name}: ${plan.servers.map((s) => s.name).join(", ")}`;
  const work = async (): Promise<void> => {
    const code = await lab.run({ words: ["start"], flags: {}, rest: [] });
    if (code !== 0) throw new Error(`lab ${plan.name}: did not start`);
  };
  // Cheap where it runs already, and a changed testbed may want more links.
  if (running) await work();
  else await step(title, work);
}

function nextSteps(declaration: Declaration, status: Status): string {
  const [from] = declaration.testbed.systems;
  const to = declaration.testbed.systems.find((s) => s.tenant === from?.tenant && s.server !== from?.server);
  const address = status.systems.find((s) => s.name === to?.name)?.interfaces[0]?.addresses[0]?.split("/")[0];
  const lines = [
    "Try next:",
    "  source env.sh                              pulumi and flipflap on PATH",
    ...(from === undefined || address === undefined ? [] : [`  flipflap exec ${from.name} -- ping -c 3 ${address}`]),
    `  edit testbeds/${declaration.name}.yaml, then        pulumi preview -s ${declaration.servers[0]?.name} --diff`,
    "  flipflap --help                            all verbs",
    "  npm run down                               gives the machine back",
  ];
  return lines.join("\n");
}

/** What the last step told the servers takes a moment to get around: routes, neighbours. */
async function settledStatus(context: Context): Promise<Status> {
  const end = Date.now() + 20000;
  for (;;) {
    const now = await readStatus({ ...context, changed: [], isKnown: true, isMixed: false });
    if (isHealthy(now) || Date.now() > end) return now;
    await sleep(500);
  }
}

export const up: Verb = {
  name: "up",
  words: "",
  summary: "set up what is missing, start the lab, bring all stacks up, show the status",
  details: `
npm run up does this on a fresh clone. Run again, it finds nothing to do. What a server has lost since (a power cut in the
middle of an up, an image that was pruned) is made again beside what is new.

  npm run up -- --testbed NAME   another file of testbeds/, noted on this machine only

Exit code 0: every system runs and is reached; 3: not so.`,
  options: { ...jsonOption, testbed: { type: "string", value: "NAME", help: "deploy testbeds/NAME.yaml" } },
  takesTurn: () => true,
  run: async ({ flags }) => {
    const root = projectRoot();
    const stackNames = (declaration: Declaration): string[] => declaration.servers.map((server) => server.name);
    if (typeof flags.testbed === "string") {
      const { declaration } = loadDeclaration(root, readLabState(root), false);
      overrideTestbed(root, declaration === undefined ? [] : stackNames(declaration), flags.testbed);
    }
    // Before the lab runs: all faults but that one.
    const declaration = checkedDeclaration(root, readLabState(root), false);
    const gone = await departed(root, declaration);
    await Promise.all([ensureToolchain(), ensureImages(imagesOf(declaration))]);
    await startLab(root);
    for (const name of gone) {
      forgetStack(root, name);
      say(`  ok ${name} left the lab, with all that was on it`);
    }
    await ensureProject(root, stackNames(declaration));
    const running = checkedDeclaration(root, readLabState(root), true);
    // What needs an address of the lab's was in no plan before.
    await ensureImages(imagesOf(running));
    writeSshConfig(root, running);
    for (const { path, what, fix } of warningsOf(running)) say(`  !! ${path}: ${what}; ${fix}`);
    const context = { root, declaration: running };
    await recover(context, running.servers, "up");
    await deploy(context, await remakeWhatIsGone(context, running.servers));
    const now = await settledStatus(context);
    console.log(flags.json === true ? JSON.stringify(now, null, 2) : `\n${statusText(now)}\n\n${nextSteps(running, now)}\n`);
    return isHealthy(now) ? 0 : 3;
  },
};
