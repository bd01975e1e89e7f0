import { ownerFolder } from "../../components/host/objectType";
import { sh } from "../../components/host/sh";
import { secretsOf } from "../../components/plan/secrets";
import { openContext } from "../../deploy/context";
import { scriptOn } from "../../deploy/ssh";
import { readStacksThere } from "../../deploy/stacksThere";
import { readStack } from "../../deploy/state";
import { leaseServers } from "../../deploy/turn";
import { say, step } from "../../support/progress";
import { projectName } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { type Verb } from "../verb";
import { up } from "./up";

export const adopt: Verb = {
  name: "adopt",
  words: "",
  summary: "take over, from this machine, what another machine's project deployed and whose state is not here",
  details: `
For a testbed whose project's files are here (git clone) and whose state is on a machine that is gone. What is on the servers is kept
where it is as declared here; what is not declared goes. Containers are made again, with new secrets, and lose what was written
in them. After that flipflap's verbs refuse the other project on these servers, and its plain \`pulumi up\` where it would change anything;
its plain \`pulumi destroy\` would still take away what is called as it was: let nobody run it.

  flipflap reclaim --server flip      names the project that a server's stack is of
  flipflap adopt --project 1f2e3d4c

Exit code 0: every system runs and is reached; 3: not so.`,
  options: { project: { type: "string", value: "ID", help: "whose stacks are taken over" } },
  takesTurn: () => true,
  run: async ({ flags }) => {
    const asked = flags.project;
    if (typeof asked !== "string") throw new UsageError("name the project, --project ID; flipflap reclaim --server NAME shows it");
    const context = openContext();
    const { root, declaration } = context;
    const { servers } = declaration;
    const own = projectName(root);
    const there = await Promise.all(servers.map((server) => readStacksThere(context, server)));
    const found = servers.map((server, i) => there[i]?.find(({ stack }) => stack === server.name));
    const faults: string[] = [];
    for (const [i, server] of servers.entries()) {
      const project = found[i]?.project;
      if (project !== undefined && project !== own && project !== asked && project.split(" ")[0] !== asked)
        faults.push(
          `${server.name}: its stack ${server.name} is of project ${project}; adopt that one, or give the server back: flipflap reclaim`,
        );
      const trouble = found[i]?.notes.find((note) => note.trouble !== undefined)?.trouble;
      if (trouble !== undefined) faults.push(`${server.name}: ${trouble}`);
      const state = await readStack(root, server.name);
      if (project !== own && (state?.resources.length ?? 0) > 0)
        faults.push(
          `${server.name}: this project has a state of stack ${server.name}; adopt it where it has none, or take it down first: flipflap down`,
        );
    }
    if (found.every((one) => one === undefined)) faults.push(`no server holds a stack of project ${asked}`);
    if (faults.length > 0) throw new Error(faults.join("\n"));
    await leaseServers(context, servers, { isAnyProjects: true });
    await Promise.all(
      servers.map(async (server, i) => {
        const before = found[i]?.project;
        if (before === undefined || before === own) return;
        const folder = ownerFolder({ stack: server.name });
        const script = sh`
          cd ${folder}
          [ "$(cat project)" = ${before} ] || { echo "it is of project $(cat project) now" >&2; exit 1; }
          printf '%s' ${own} >.project
          sync .project
          mv .project project
        `;
        await step(`${server.name}: its stack is of this project now, and was ${before}'s`, () => scriptOn(context, server, script.text));
      }),
    );
    const secrets = secretsOf(declaration).map(({ name }) => name);
    if (secrets.length > 0) say(`  !! secrets that nobody but the other project's state knew are made anew: ${secrets.join(", ")}`);
    return up.run({ words: [], flags: {}, rest: [] });
  },
};
