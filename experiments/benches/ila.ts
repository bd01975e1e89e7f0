/** Kind ila: what translation costs, how fast a system is known and moved, and what many mappings cost. */
import type { Site } from "../site";
import type { BenchOptions } from "./main";
import { measureWays, type Way, withTestbed } from "./site";

const servers = ["flip", "flap"] as const;

async function onBoth(site: Site, command: string): Promise<void> {
  await Promise.all(servers.map((server) => site.ssh(server, command)));
}

/** Segments of up to this many bytes between the stacks (BIG TCP), on uplinks and at both ends of systems' interfaces. */
const bigTcp = (bytes: number): string => `
  for device in up0 $(ls /sys/class/net | grep '^ffv-'); do ip link set dev $device gso_max_size ${bytes} gro_max_size ${bytes}; done
  for pid in $(docker ps -q --filter label=flipflap.system | xargs docker inspect -f '{{.State.Pid}}'); do
    nsenter -t $pid -n ip link set dev eth0 gso_max_size ${bytes} gro_max_size ${bytes}
  done`;

function ways(site: Site): Way[] {
  const pair = (tenant: string) => ({ from: site.system(`${tenant}-web`), to: site.system(`${tenant}-client`) });
  return [
    { name: "the same way without ILA", ...pair("plain") },
    { name: "ila, csum neutral", ...pair("red") },
    { name: "ila, csum adjust-transport", ...pair("blue") },
    {
      name: "ila, csum neutral, BIG TCP",
      ...pair("red"),
      prepare: () => onBoth(site, bigTcp(196608)),
      restore: () => onBoth(site, bigTcp(65536)),
    },
  ];
}

export async function benchIla(options: BenchOptions): Promise<void> {
  await withTestbed(
    "ila",
    (project) => {
      project.edit(
        "testbeds/ila.yaml",
        "networks:\n",
        'networks:\n  - { name: plain-id, tenant: red, kind: ila, vn: 9, sir: "face:b00c:0:9::/64", translate: false }\n',
      );
      const system = (name: string, server: string): string =>
        `  - { name: ${name}, tenant: red, server: ${server}, networks: [{ name: plain-id }] }\n`;
      project.edit("testbeds/ila.yaml", "systems:\n", `systems:\n${system("plain-web", "flip")}${system("plain-client", "flap")}`);
    },
    async (site) => {
      await measureWays(site, options, ways(site));
    },
  );
}
