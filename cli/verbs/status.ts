import { type ServerDeclaration, systemsOn } from "../../components/config/declaration";
import type { AttachStatus, Tap } from "../../components/host/contract/types.gen";
import { ownerFolder, stackLabel } from "../../components/host/objectType";
import { statusFolder } from "../../components/host/objects/agentFolders";
import { askAgent, lookedSystems } from "../../components/host/objects/attachSpec";
import { generation } from "../../components/host/objects/generation";
import { sh } from "../../components/host/sh";
import { kindOf } from "../../components/kinds/registry";
import { ownContainers, portName, systemContainer } from "../../components/net/names";
import { networkMtuBytes } from "../../components/plan/mtu";
import { planServer, type ServerPlan } from "../../components/plan/plan";
import { type BareSystem, isBare } from "../../components/plan/systems";
import type { Context } from "../../deploy/context";
import { type DeployedContext, openDeployed, sayChanged } from "../../deploy/deployed";
import { knownHash } from "../../deploy/generation";
import { runScript } from "../../deploy/ssh";
import { exportStack } from "../../deploy/state";
import { projectName } from "../../support/project";
import { type Observed, observe, observedTables } from "../observations";
import { planProbes, type ProbeResult, runProbes } from "../probes";
import { table } from "../table";
import { jsonOption, type Verb } from "../verb";

interface ServerStatus {
  readonly server: string;
  readonly address: string;
  readonly hub: boolean;
  readonly state: "up" | "no answer";
  readonly kernel: string;
  readonly docker: string;
  readonly agent: string;
  /** An up began here and did not end: the stack's state does not know of it. */
  readonly isUnfinished: boolean;
  readonly error?: string;
}

export interface Status {
  readonly testbed: string;
  /** Servers on which something else is deployed than the files declare now; all of this is of what is deployed. */
  readonly changed: readonly string[];
  readonly servers: readonly ServerStatus[];
  readonly networks: readonly { name: string; tenant: string; kind: string; variant: string; mtuBytes: number; servers: string[] }[];
  readonly systems: readonly {
    name: string;
    tenant: string;
    server: string;
    state: string;
    interfaces: {
      network: string;
      name: string;
      mac: string;
      addresses: readonly string[];
      /** Where programs see its packets before anything else does; null where its device is not there. */
      tap: Tap | null;
    }[];
    /** Whether every probe to it arrived; null where none is due. */
    reachable: boolean | null;
    /** Why the agent has not attached it, or not with every address. */
    error?: string;
  }[];
  readonly probes: readonly ProbeResult[];
  /** What the kinds tell of themselves: sessions, routes. */
  readonly observed: readonly Observed[];
}

const factsScript = `
printf 'kernel %s\\n' "$(uname -r)"
printf 'docker %s\\n' "$(docker version -f '{{.Server.Version}}' 2>/dev/null)"
for name in $(ls /run/netns 2>/dev/null); do echo "container $name running"; done
docker ps -a --filter label=${stackLabel} --format 'container {{.Names}} {{.State}}'
`;

/** What the agent says of systems that are not as they should be: "FOLDER/SYSTEM.json:JSON". */
const attachScript = ({ name }: ServerDeclaration): string =>
  sh`grep -sHE '"(error|waiting)"' ${statusFolder({ stack: name })}/*.json || :`.text;

/** The addresses that systems were told: "told SYSTEM INTERFACE ADDRESS". */
function toldScript(plan: ServerPlan): string {
  const asking = plan.systems.flatMap(({ system, members }) =>
    members.filter((m) => m.asksForAddress === true).map((m) => ({ system, member: m })),
  );
  return asking
    .map(
      ({ system, member }) =>
        sh`
        pid=$(docker inspect -f '{{.State.Pid}}' ${systemContainer(system.name)} 2>/dev/null) || pid=0
        if [ "$pid" != 0 ]; then
          for address in $(nsenter -t "$pid" -n ip -4 -o addr show dev ${member.interface} scope global | awk '{print $4}'); do
            echo told ${system.name} ${member.interface} "$address"
          done
        fi
      `.text,
    )
    .join("\n");
}

/** A namespace's, which no agent knows of. */
const tapOfBare = ({ system }: BareSystem, network: string): Tap => ({
  device: portName({ system: system.name, network }),
  namespace: "",
  sends: "ingress",
});

interface Facts {
  readonly servers: ServerStatus[];
  /** States, by the containers' names. */
  readonly containers: Map<string, string>;
  /** Addresses, by "SYSTEM INTERFACE". */
  readonly told: Map<string, string>;
  /** What the agent says is wrong, by system. */
  readonly troubles: Map<string, string>;
  /** By "SYSTEM INTERFACE". */
  readonly taps: Map<string, Tap>;
}

async function serverFacts(context: Context, plans: ReadonlyMap<string, ServerPlan>): Promise<Facts> {
  const [containers, told, troubles] = [new Map<string, string>(), new Map<string, string>(), new Map<string, string>()];
  const taps = new Map<string, Tap>();
  const servers = await Promise.all(
    context.declaration.servers.map(async (server): Promise<ServerStatus> => {
      const plan = plans.get(server.name);
      const own = plan === undefined ? "" : toldScript(plan);
      const owner = { stack: server.name };
      const claimed = sh`[ "$(cat ${`${ownerFolder(owner)}/project`} 2>/dev/null)" = ${projectName(context.root)} ]`;
      const noted = sh`if ${claimed}; then printf 'noted %s\n' "$(${generation.check({ hash: "" }, owner, "")})"; fi`.text;
      const looks = sh`( ${askAgent(owner, "look")} ) 2>/dev/null || :`.text;
      const script = `${factsScript}${attachScript(server)}\n${own}\n${noted}\n${looks}\n`;
      const [finished, state] = await Promise.all([
        runScript(context, server, script, 20),
        exportStack(context.root, server.name).catch(() => null),
      ]);
      const lines = finished.stdout.split("\n").map((line) => line.split(" "));
      const value = (key: string): string => lines.find(([first]) => first === key)?.[1] ?? "";
      for (const [first, name = "", state = "", address = ""] of lines) {
        if (first === "container") containers.set(name, state);
        if (first === "told") told.set(`${name} ${state}`, address);
      }
      for (const [, system = "", text] of finished.stdout.matchAll(/^\S*\/(\S+)\.json:(\{.*\})$/gm)) {
        const { error, waiting } = JSON.parse(text ?? "{}") as Partial<AttachStatus>;
        const trouble = error ?? waiting;
        if (trouble !== undefined) troubles.set(system, trouble);
      }
      for (const [system, { interfaces }] of lookedSystems(finished.stdout))
        for (const [name, { tap }] of Object.entries((interfaces as typeof interfaces | null) ?? {}))
          if (tap !== undefined) taps.set(`${system} ${name}`, tap);
      const agent = lines.find(([first, name]) => first === "container" && name === ownContainers.agent)?.[2] ?? "absent";
      const hash = value("noted");
      const isUnfinished = hash !== "" && state !== null && hash !== knownHash(state, server.name);
      const base = { server: server.name, address: server.address, hub: server.hub, isUnfinished };
      if (finished.code !== 0) return { ...base, state: "no answer", kernel: "", docker: "", agent: "", error: finished.stderr.trim() };
      return { ...base, state: "up", kernel: value("kernel"), docker: value("docker"), agent };
    }),
  );
  return { servers, containers, told, troubles, taps };
}

export async function readStatus(context: DeployedContext): Promise<Status> {
  const { declaration, changed } = context;
  const plans = new Map(declaration.servers.map((server) => [server.name, planServer(declaration, server)]));
  const [{ servers, containers, told, troubles, taps }, probes, observed] = await Promise.all([
    serverFacts(context, plans),
    runProbes(context, planProbes(declaration, context.root)),
    observe(context),
  ]);
  const networks = declaration.testbed.networks.map((network) => ({
    name: network.name,
    tenant: network.tenant,
    kind: network.kind,
    variant: kindOf(network).variant(network),
    mtuBytes: networkMtuBytes(declaration, network),
    servers: kindOf(network)
      .servers(declaration, network)
      .map((server) => server.name),
  }));
  const systems = declaration.servers.flatMap((server) => {
    return systemsOn(declaration, server.name).map((system) => {
      const to = probes.filter((probe) => probe.to === system.name);
      const own = plans.get(server.name)?.systems.find((s) => s.system.name === system.name);
      return {
        name: system.name,
        tenant: system.tenant,
        server: server.name,
        state: containers.get(systemContainer(system.name)) ?? "absent",
        interfaces: (own?.interfaces ?? []).map(({ network, name, mac, addresses }) => {
          const address = told.get(`${system.name} ${name}`);
          return {
            network,
            name,
            mac,
            addresses: address === undefined ? addresses : [address, ...addresses],
            tap: own !== undefined && isBare(own) ? tapOfBare(own, network) : (taps.get(`${system.name} ${name}`) ?? null),
          };
        }),
        reachable: to.length === 0 ? null : to.every((probe) => probe.reached),
        ...(troubles.has(system.name) && { error: troubles.get(system.name) as string }),
      };
    });
  });
  return { testbed: declaration.name, changed, servers, networks, systems, probes, observed };
}

export function statusText(status: Status): string {
  const reach = (value: boolean | null): string => (value === null ? "-" : value ? "yes" : "NO");
  const parts = [
    table(
      ["SERVER", "STATE", "ADDRESS", "HUB", "KERNEL", "DOCKER", "AGENT"],
      status.servers.map((s) => [s.server, s.state, s.address, s.hub ? "hub" : "", s.kernel, s.docker, s.agent]),
    ),
    table(
      ["NETWORK", "TENANT", "KIND", "MTU", "SERVERS"],
      status.networks.map((n) => [n.name, n.tenant, `${n.kind} ${n.variant}`, String(n.mtuBytes), n.servers.join(" ")]),
    ),
    ...observedTables(status.observed).map(({ columns, rows }) => table(columns, rows)),
    table(
      ["SYSTEM", "TENANT", "SERVER", "STATE", "NETWORK", "ADDRESSES", "REACHABLE"],
      status.systems.flatMap((s) =>
        s.interfaces.map((i, n) =>
          n === 0
            ? [s.name, s.tenant, s.server, s.state, i.network, i.addresses.join(" "), reach(s.reachable)]
            : ["", "", "", "", i.network, i.addresses.join(" "), ""],
        ),
      ),
    ),
  ];
  for (const server of status.servers) {
    if (server.error !== undefined) parts.push(`${server.server}: ${server.error}`);
    if (server.isUnfinished)
      parts.push(
        `${server.server}: an up began here and has not ended; where none works any more, flipflap up makes what is declared, flipflap repair goes back`,
      );
  }
  for (const { server, name, error } of status.systems)
    if (error !== undefined) parts.push(`${server}: ${name} is not attached as declared: ${error}`);
  for (const { server, problems } of status.observed) for (const problem of problems) parts.push(`${server}: ${problem}`);
  const closed = status.probes.filter((probe) => !probe.reached);
  const lines = closed.map(
    (probe) => `${probe.from} does not reach ${probe.to} (${probe.address}, ${probe.mtuBytes} bytes): ${probe.error}`,
  );
  return [...parts, ...(lines.length > 0 ? [lines.join("\n")] : [])].join("\n\n");
}

export const isHealthy = (status: Status): boolean =>
  status.servers.every((s) => s.state === "up") &&
  status.observed.every((o) => o.problems.length === 0) &&
  status.systems.every((s) => s.state === "running" && s.reachable !== false && s.error === undefined);

export const status: Verb = {
  name: "status",
  words: "",
  summary: "show servers, networks, systems, addresses, and who reaches whom",
  details: `
Reachability is tested with packets of the network's full size that must not be fragmented.

Kinds add what is theirs: BGP sessions with the reason where one is down, and the routes of each VN.

Exit code 0: every server answers, every session stands, every system runs and is reached; 3: not so.`,
  options: jsonOption,
  run: async ({ flags }) => {
    const context = await openDeployed();
    const now = await readStatus(context);
    sayChanged(context);
    console.log(flags.json === true ? JSON.stringify(now, null, 2) : `${statusText(now)}\n`);
    return isHealthy(now) ? 0 : 3;
  },
};
