/** Two servers in the guest: namespaces there, set up by the product's own scripts, with its agent and namespaces for systems. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { Declaration, ServerDeclaration } from "../../components/config/declaration";
import { sections } from "../../components/host/json";
import type { HostObject } from "../../components/host/objectType";
import { objectScript } from "../../components/host/script";
import { isContainer } from "../../components/kinds/parts";
import { planServer } from "../../components/plan/plan";
import { isBare } from "../../components/plan/systems";
import { run } from "../../support/process";
import { codeRoot } from "../../support/project";
import { goCommand } from "../../toolchain/go";
import { runInGuest } from "./guest";

const server = (name: string, index: number): ServerDeclaration => ({
  name,
  hub: name === "flip",
  isLab: false,
  address: "",
  port: 22,
  user: "root",
  hostKey: "",
  privateKeyFile: "",
  uplink: "up0",
  underlay: { ipv4: `198.18.0.${index}/24`, ipv6: `fd00:1::${index}/64`, mac: `02:00:00:00:00:0${index}` },
  locator: `2001:db8:a:${index}::/64`,
});

export const guestServers = [server("flap", 1), server("flip", 2)];
export const guestNames = guestServers.map(({ name }) => name);

/** Everything on a server but containers: those are processes here. */
function objectsOf(declaration: Declaration, at: ServerDeclaration): HostObject[] {
  const plan = planServer(declaration, at);
  return [
    ...plan.settings,
    plan.agentFolders,
    ...plan.kinds.flatMap(({ shared }) => [...(shared.agent?.parts ?? []), ...shared.edge]),
    ...plan.networks.flatMap(({ nve }) => nve),
    ...plan.systems.flatMap((system) =>
      isBare(system) ? [] : [system.attach as HostObject, ...(system.addition === undefined ? [] : [system.addition.before])],
    ),
  ].flatMap((part, i) => (isContainer(part) ? [] : [{ ...part, name: `${i}-${part.name}` }])) as HostObject[];
}

/** The servers, joined by a cable; `on SERVER COMMAND...` runs there. */
export const guestPrelude = (modules: readonly string[]): string => `
set -e
for module in ${modules.join(" ")}; do modprobe $module; done
sysctl -q -w net.ipv6.conf.default.router_solicitations=0
ip link add wire type veth peer name wire2
for pair in flap:wire:1 flip:wire2:2; do
  IFS=: read -r at device index <<EOF2
$pair
EOF2
  ip netns add $at
  ip link set $device netns $at
  ip -n $at link set $device name up0 address 02:00:00:00:00:0$index
  # A server sees its own /sys; what it pins outlives each command, as on a server.
  ip netns exec $at sh -c 'mount -t bpf bpf /sys/fs/bpf; exec sleep 100000' & eval "$at=$!"
  ip -n $at link set up0 up
done
on() { eval "pid=\\$$1"; shift; nsenter -t "$pid" -n -m "$@"; }
`;

export async function buildGuestAgent(folder: string): Promise<void> {
  await run([...(await goCommand()), "build", "-trimpath", "-ldflags", "-s -w", "-o", join(folder, "agent"), "."], {
    cwd: join(codeRoot, "agent"),
    env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false" },
  });
}

/** The scripts of all objects, below the job's folder. */
export function writeGuestScripts(folder: string, phase: number, declaration: Declaration): void {
  for (const at of guestServers) {
    mkdirSync(join(folder, String(phase), at.name), { recursive: true });
    for (const [k, object] of objectsOf(declaration, at).entries())
      writeFileSync(join(folder, String(phase), at.name, String(k).padStart(3, "0")), objectScript(object, { stack: at.name }));
  }
}

/** Makes the systems' namespaces, runs the scripts and attaches the systems. */
export function guestUp(phase: number, declaration: Declaration, agentWords: string): string[] {
  return guestServers.flatMap(({ name }) => {
    const own = declaration.testbed.systems.filter((system) => system.server === name);
    return [
      "pids=",
      ...own.flatMap((system) => [
        `ip netns add ${system.name}`,
        `ip netns exec ${system.name} sleep 100000 & pids="$pids,ff-${system.name}=$!"`,
      ]),
      `for script in /job/${phase}/${name}/*; do on ${name} sh "$script" ensure || { echo "$script failed"; exit 1; }; done`,
      `on ${name} /job/agent static -stack ${name} -specs /var/lib/flipflap/${name}/attach -status /run/flipflap/${name} -proc /proc -pids "\${pids#,}" ${agentWords} 2>>/run/agent.log || { cat /run/agent.log; exit 1; }`,
    ];
  });
}

/** Takes away what the scripts made, in the opposite order, as a destroy does. */
export const guestDown = (phase: number): string[] =>
  guestNames.map(
    (name) => `for script in $(ls -r /job/${phase}/${name}/*); do on ${name} sh "$script" remove || echo "$script failed"; done`,
  );

/** What a job's script prints, by the titles that it gives. */
export async function guestOutput(makeJob: (folder: string) => Promise<void>, seconds: number): Promise<Map<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-job-"));
  try {
    await makeJob(folder);
    const { code, stdout, stderr } = await runInGuest(folder, seconds);
    if (process.env.FLIPFLAP_SHOW !== undefined) console.log(stdout, stderr);
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    return sections(stdout);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
