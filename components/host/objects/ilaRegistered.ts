/** Waits until this server's agent has a lease in etcd: what it says of its systems is known everywhere then. */
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { statusFolder } from "./agentFolders";

export interface IlaRegisteredSpec {
  readonly endpoints: readonly string[];
}

const waitSeconds = 30;

export const ilaRegistered: ObjectType<IlaRegisteredSpec> = {
  type: "ilaRegistered",
  waits: true,
  identity: () => [],
  ensure: ({ endpoints }, owner) => sh`
    file=${statusFolder(owner)}/ila
    for _ in $(seq ${waitSeconds * 5}); do
      if grep -q '"registry":"connected"' "$file" 2>/dev/null; then exit 0; fi
      sleep 0.2
    done
    fail "the agent has no lease in etcd at "${endpoints}" after ${waitSeconds} seconds: $(cat "$file" 2>/dev/null); is the hub's stack up?"
  `,
  remove: () => sh`:`,
  check: (_, owner) => sh`cat ${statusFolder(owner)}/ila 2>/dev/null || :`,
  wanted: () => ({ registry: "connected" }),
  found: (output) => (output.trim() === "" ? undefined : { registry: (JSON.parse(output) as { registry: string }).registry }),
};
