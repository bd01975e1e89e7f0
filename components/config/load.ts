/** From files to a declaration. Cross-field rules come after: components/plan/check.ts. */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename } from "node:path";
import { canonicalInterfaceAddress } from "../net/cidr";
import { type Declaration, defaultUplink, type RulesFile, type ServerDeclaration } from "./declaration";
import type { Fault } from "./faults";
import type { LabState } from "./labState";
import { readPolicyFile } from "./policies";
import { insideProject, outside, readStackFiles, readTestbedFile, type StackSource } from "./sources";
import type { RealServer, StackFile, Testbed } from "./types.gen";
import { validateStackFile, validateTestbed } from "./validate";

type HubRole = Pick<ServerDeclaration, "hub" | "second">;

function realServer(name: string, role: HubRole, server: RealServer): ServerDeclaration {
  return {
    ...server,
    name,
    ...role,
    isLab: false,
    port: server.port ?? 22,
    user: server.user ?? "root",
    underlay: {
      ...server.underlay,
      ipv4: canonicalInterfaceAddress(server.underlay.ipv4),
      ...(server.underlay.ipv6 === undefined ? {} : { ipv6: canonicalInterfaceAddress(server.underlay.ipv6) }),
    },
    privateKeyFile: server.privateKeyFile.replace(/^~(?=\/)/, homedir()),
  };
}

/** A server of a lab that does not run (yet): enough to check the declaration and to plan the lab. */
function unknownLabServer(name: string, role: HubRole): ServerDeclaration {
  const nowhere = { address: "", port: 22, user: "root", hostKey: "", privateKeyFile: "" };
  return { ...nowhere, name, ...role, isLab: true, uplink: defaultUplink, underlay: { ipv4: "" } };
}

function serverOf(
  source: StackSource,
  stackFile: StackFile,
  lab: LabState | undefined,
  faults: Fault[],
  needsLab: boolean,
): ServerDeclaration {
  const role = { hub: (stackFile.hub ?? false) !== false, ...(stackFile.hub === "second" && { second: true }) };
  if (stackFile.server !== "lab") return realServer(source.stack, role, stackFile.server);
  const facts = lab?.servers[source.stack];
  if (facts !== undefined) return { ...facts, name: source.stack, ...role, isLab: true };
  if (needsLab) {
    const what = lab === undefined ? "the lab is not running" : `the lab runs without ${source.stack}`;
    faults.push({ rule: "lab-running", path: `${source.file}: flipflap:server`, what, fix: "start it: npm run up, or flipflap lab start" });
  }
  return unknownLabServer(source.stack, role);
}

/** The one testbed that all stacks name. */
function testbedName(sources: readonly StackSource[], faults: Fault[]): string | undefined {
  const named = sources.filter((source) => typeof source.values.testbed === "string");
  const first = named[0];
  for (const other of named) {
    if (first === undefined || other.values.testbed === first.values.testbed) continue;
    faults.push({
      rule: "one-testbed",
      path: `${other.file}: flipflap:testbed`,
      what: `"${String(other.values.testbed)}" is not what ${first.file} names ("${String(first.values.testbed)}")`,
      fix: "all stacks of a project deploy one testbed: name the same in every stack file",
    });
  }
  return first === undefined ? undefined : String(first.values.testbed);
}

/** Files that a testbed names, by their paths: each of an owner that a fault names. */
function readNamed(root: string, rule: string, named: readonly { path?: string; at: string }[], faults: Fault[]): [string, Buffer][] {
  return named.flatMap(({ path, at }): [string, Buffer][] => {
    if (path === undefined) return [];
    const full = insideProject(root, path);
    if (full === undefined) {
      faults.push(outside(at, path));
      return [];
    }
    if (statSync(full, { throwIfNoEntry: false })?.isFile() === true) return [[path, readFileSync(full)]];
    faults.push({ rule, path: at, what: `there is no file "${path}"`, fix: "make it, or leave it out" });
    return [];
  });
}

function readNftables(root: string, { systems }: Testbed, faults: Fault[]): Record<string, string> {
  const named = systems.map(({ name, nftables: path }) => ({ ...(path !== undefined && { path }), at: `systems.${name}.nftables` }));
  return Object.fromEntries(readNamed(root, "nftables-file", named, faults).map(([path, content]) => [path, content.toString("utf8")]));
}

export function readFirewallRules(root: string, { firewalls = [] }: Testbed, faults: Fault[]): Record<string, RulesFile> {
  const named = firewalls.map(({ rules: path }, i) => ({ path, at: `firewalls[${i}].rules` }));
  return Object.fromEntries(
    readNamed(root, "firewall-file", named, faults).map(([path, content]) => [
      path,
      { hash: createHash("sha256").update(content).digest("hex"), text: content.toString("utf8") },
    ]),
  );
}

export interface Loaded {
  /** Undefined where the files' form is too faulty to go on. */
  readonly declaration: Declaration | undefined;
  readonly faults: Fault[];
}

/**
 * `needsLab`: whether a lab that is not running is a fault (for `up`) or not (to start it). `asked`: another testbed than the
 * stack files name, by its name or file.
 */
export function loadDeclaration(root: string, lab: LabState | undefined, needsLab: boolean, asked?: string): Loaded {
  const faults: Fault[] = [];
  const sources = readStackFiles(root, faults);
  if (sources.length === 0) {
    faults.push({
      rule: "stack-files",
      path: "Pulumi.<server>.yaml",
      what: "there is no stack file",
      fix: "make one for each server: docs/config.md, StackFile",
    });
  }
  const servers: ServerDeclaration[] = [];
  for (const source of sources) {
    const own = validateStackFile(source.file, source.values);
    faults.push(...own);
    // A faulty stack file's server is still one that the testbed may name.
    servers.push(
      own.length === 0
        ? serverOf(source, source.values as unknown as StackFile, lab, faults, needsLab)
        : unknownLabServer(source.stack, { hub: false }),
    );
  }
  const name = asked ?? testbedName(sources, faults);
  if (name === undefined) return { declaration: undefined, faults };
  const data = readTestbedFile(root, name, faults);
  if (data === undefined) return { declaration: undefined, faults };
  const own = validateTestbed(data);
  faults.push(...own);
  if (own.length > 0) return { declaration: undefined, faults };
  const testbed = data as Testbed;
  const policies = (testbed.policies ?? []).flatMap((path) => readPolicyFile(root, path, faults) ?? []);
  const nftables = readNftables(root, testbed, faults);
  const firewallRules = readFirewallRules(root, testbed, faults);
  for (const { name: system, image } of testbed.systems)
    if (image?.endsWith(".tar") === true && insideProject(root, image) === undefined)
      faults.push(outside(`systems.${system}.image`, image));
  return { declaration: { name: basename(name, ".yaml"), testbed, servers, policies, nftables, firewallRules }, faults };
}
