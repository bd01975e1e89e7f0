/** What goes on on a server although its Pulumi is gone, and containers of which no state knows. */
import type { ServerDeclaration } from "../components/config/declaration";
import { stackLabel } from "../components/host/objectType";
import { refuseOthers } from "../components/host/objects/claim";
import { removeExperimentRules } from "../components/host/objects/experimentRules";
import { dockerAnswers } from "../components/host/objects/generation";
import { lockedScript } from "../components/host/script";
import { sh } from "../components/host/sh";
import { projectName } from "../support/project";
import { type Context } from "./context";
import { scriptOn } from "./ssh";
import { deployedStack, type ExportedStack } from "./state";

/** Scripts that go on on the server although their Pulumi is gone: what they make is not there yet. */
const settleScript = sh`
  # An image that is being loaded is loaded to its end, whoever asked for it is gone.
  left=1200
  while pgrep -f '^((sudo -n )?sh -s (first|ensure|remove)|docker load -q)$' >/dev/null && [ "$left" -gt 0 ]; do
    left=$((left - 1))
    sleep 0.1
  done
`;

/** Waits for scripts that go on on the server, and runs another then; fails where the server holds another project's stack of this name. */
export async function settle(context: Context, server: ServerDeclaration, script = "", { isAnyProjects = false } = {}): Promise<string> {
  const refusal = `(\nset -e\n${refuseOthers(projectName(context.root), { stack: server.name }).text}\n)\n[ $? = 0 ] || exit 1\n`;
  const text = `${isAnyProjects ? "" : refusal}${settleScript.text}\n${script}`;
  return scriptOn(context, server, text);
}

/** Containers of the stack by their label, with the ids that its state knows. */
export async function removeStrays(context: Context, server: ServerDeclaration, state: ExportedStack): Promise<string[]> {
  const known = deployedStack(server.name, state).resources.flatMap(({ id }) => id ?? []);
  const script = sh`
    ${dockerAnswers}
    for id in $(docker ps -a -q --no-trunc --filter label=${`${stackLabel}=${server.name}`}); do
      case " "${known.join(" ")}" " in *" $id "*) continue ;; esac
      docker inspect -f '{{.Name}}' "$id"
      docker rm -f -v "$id" >/dev/null
    done
  `;
  const rules = lockedScript({ stack: server.name }, removeExperimentRules);
  const printed = await settle(context, server, `${script.text}\n(\n${rules})\n`);
  return printed.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim().replace(/^\//, "")]));
}
