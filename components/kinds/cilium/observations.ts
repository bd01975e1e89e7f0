/** What `flipflap status` tells of Cilium: its systems as it knows them. */
import type { CiliumNetwork } from "../../config/types.gen";
import { sh } from "../../host/sh";
import { ownContainers, systemContainer } from "../../net/names";
import type { KindContext } from "../contexts";
import type { Observation } from "../observation";

/** The contract with cilium-dbg endpoint list (1.18), as far as it is read here. */
interface Endpoint {
  readonly status: {
    readonly state: string;
    readonly "external-identifiers"?: { readonly "container-name"?: string };
    readonly identity?: { readonly id: number; readonly labels?: readonly string[] };
    readonly policy?: { readonly realized?: { readonly "policy-enabled"?: string; readonly "policy-revision"?: number } };
  };
}

export function observations({ server, networks }: KindContext<CiliumNetwork>): Observation[] {
  if (networks.length === 0) return [];
  const own = new Set(
    networks.flatMap(({ members }) => members.filter((m) => m.server === server.name).map((m) => systemContainer(m.system))),
  );
  return [
    {
      title: "cilium systems",
      script: sh`docker exec ${ownContainers.cilium} cilium-dbg endpoint list -o json`,
      read: (output) => {
        const endpoints = output.trim().startsWith("[") ? (JSON.parse(output) as Endpoint[]) : [];
        const known = endpoints.filter(({ status }) => own.has(status["external-identifiers"]?.["container-name"] ?? ""));
        const rows = known.map(({ status }) => [
          (status["external-identifiers"]?.["container-name"] ?? "").replace(/^ff-/, ""),
          String(status.identity?.id ?? ""),
          (status.identity?.labels ?? []).map((label) => label.replace(/^container:/, "")).join(" "),
          status.policy?.realized?.["policy-enabled"] ?? "",
          status.state,
        ]);
        const missing = own.size - known.length;
        const problems = [
          ...(missing > 0 ? [`${server.name}: Cilium knows ${known.length} of ${own.size} systems`] : []),
          ...known
            .filter(({ status }) => status.identity?.labels?.includes("reserved:init") === true)
            .map(() => `${server.name}: a system has no labels yet`),
        ];
        return { columns: ["SYSTEM", "IDENTITY", "LABELS", "ENFORCED", "STATE"], rows, problems };
      },
    },
  ];
}
