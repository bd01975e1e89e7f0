/** After a power cut: what dockerd itself waits for. */
import { objectType } from "../components/capabilities/registry";
import type { ServerDeclaration } from "../components/config/declaration";
import type { ObjectType } from "../components/host/objectType";
import { objectScript } from "../components/host/script";
import { sh } from "../components/host/sh";
import { waitUntil } from "../support/process";
import { StepError, step } from "../support/progress";
import { type Context } from "./context";
import { runScript, scriptOn } from "./ssh";
import { readStack } from "./state";

/** By which the members of a swarm reach one another. */
const uplinkTypes = ["nic", "addresses"];

const startSeconds = 60;

/** systemd gives up a daemon that ended three times within a minute. */
const startFailed = sh`
  if systemctl is-failed -q docker.service 2>/dev/null; then
    systemctl reset-failed docker.service docker.socket
    systemctl start docker.service
  fi
`;

/**
 * dockerd (20.10) of a server that is in a swarm ends at its start where it has no address towards the manager, again and again.
 * Where the testbed is what sets that address, it is set before anything is asked of dockerd.
 */
export async function wakeDocker(context: Context, server: ServerDeclaration): Promise<void> {
  const objects = (await readStack(context.root, server.name))?.objects ?? [];
  if (!objects.some(({ type }) => type === "swarmNode" || type === "swarmManager")) return;
  const answers = async (): Promise<boolean> => (await runScript(context, server, "docker version >/dev/null 2>&1\n", 20)).code === 0;
  if (await answers()) return;
  await step(`${server.name}: dockerd does not answer; the server's addresses, which a swarm's needs at its start`, async () => {
    for (const object of objects.filter(({ type }) => uplinkTypes.includes(type))) {
      const type = objectType(object.type) as ObjectType<unknown>;
      await scriptOn(context, server, `set -- ensure\n${objectScript({ ...object, type }, { stack: server.name })}`);
    }
    await runScript(context, server, `${startFailed.text}\n`);
    await waitUntil("dockerd", startSeconds, answers).catch(() => {
      throw new StepError(
        server.name,
        `dockerd does not answer within ${startSeconds} s`,
        "Its log says why; start it, and run this again.",
      );
    });
  });
}
