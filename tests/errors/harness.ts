/** A bad declaration and what is said of it: golden cases for every rule. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Fault, faultText } from "../../components/config/faults";
import type { LabState } from "../../components/config/labState";
import { loadDeclaration } from "../../components/config/load";
import { ruleFaults } from "../../components/plan/check";

export interface Files {
  readonly testbed?: string;
  readonly stacks?: Readonly<Record<string, string>>;
  readonly lab?: LabState | undefined;
  readonly needsLab?: boolean;
  /** Texts of files by their paths. */
  readonly policies?: Readonly<Record<string, string>>;
}

const labServer = (n: number): LabState["servers"][string] => ({
  address: `198.18.9.${n * 4 + 2}`,
  port: 22,
  user: "root",
  hostKey: "ssh-ed25519 AAAA",
  privateKeyFile: "/nowhere",
  uplink: "up0",
  underlay: { ipv4: `198.19.9.${n}/24`, ipv6: `fdf1:f1a9:9::${n}/64`, routeServer: `198.19.9.${255 - n}`, mac: `02:ff:00:00:00:0${n}` },
  locator: `fdf1:f1aa:9:${n}::/64`,
});

export const runningLab: LabState = { name: "test", slot: 9, servers: { flip: labServer(1), flap: labServer(2) } };

export const goodTestbed = `
tenants: [{ name: red }, { name: blue }]
networks:
  - { name: red-net, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 } }
  - { name: blue-net, tenant: blue, kind: bridge, mode: routed, subnets: { flip: 10.1.1.0/24, flap: 10.1.2.0/24 } }
systems:
  - { name: web, tenant: red, server: flip, networks: [{ name: red-net }] }
  - { name: db, tenant: red, server: flap, networks: [{ name: red-net }] }
  - { name: blue-web, tenant: blue, server: flip, networks: [{ name: blue-net }] }
links: [{ between: [flip, flap] }]
`;

const lab = "config:\n  flipflap:testbed: tt\n  flipflap:server: lab\n";
export const goodStacks = { flip: `${lab}  flipflap:hub: true\n`, flap: lab };

export function faultsOf(files: Files): Fault[] {
  const root = mkdtempSync(join(tmpdir(), "flipflap-errors-"));
  try {
    mkdirSync(join(root, "testbeds"));
    mkdirSync(join(root, "policies"));
    for (const [path, text] of Object.entries(files.policies ?? {})) writeFileSync(join(root, path), text);
    writeFileSync(join(root, "testbeds", "tt.yaml"), files.testbed ?? goodTestbed);
    for (const [name, text] of Object.entries(files.stacks ?? goodStacks)) writeFileSync(join(root, `Pulumi.${name}.yaml`), text);
    const { declaration, faults } = loadDeclaration(root, "lab" in files ? files.lab : runningLab, files.needsLab ?? true);
    return declaration === undefined ? faults : [...faults, ...ruleFaults(declaration)];
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

export const texts = (faults: readonly Fault[]): string[] => faults.map((fault) => `[${fault.rule}] ${faultText(fault)}`);
