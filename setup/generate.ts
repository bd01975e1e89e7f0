/**
 * Writes what follows from the schemas: types and docs of testbeds, policies and experiments, both sides' types of the agent's
 * contract, and from the BTF of bpf/ what the agent shares with it. `--check` only compares.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { compile, type JSONSchema } from "json-schema-to-typescript";
import contract from "../agent/contract/schema.json";
import testbed from "../components/config/schema.json";
import policies from "../components/net/policy/schema.json";
import experiment from "../experiments/schema.json";
import { run } from "../support/process";
import { codeRoot } from "../support/project";
import { goCommand } from "../toolchain/go";
import { goTypes, type SchemaNode } from "./goTypes";

interface Node {
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly $ref?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly additionalProperties?: Node | boolean;
  readonly oneOf?: readonly Node[];
}

interface Source {
  readonly name: string;
  readonly schema: Node & { readonly definitions: Readonly<Record<string, Node>> };
  readonly typesFile: string;
  readonly docsFile: string;
  /** Above the tables. */
  readonly introduction: readonly string[];
}

const sources: readonly Source[] = [
  {
    name: "Testbed",
    schema: testbed as unknown as Source["schema"],
    typesFile: "components/config/types.gen.ts",
    docsFile: "docs/config.md",
    introduction: [
      "# Configuration",
      "Made from `components/config/schema.json` by `npm run generate`; do not edit by hand.",
      "A testbed is `testbeds/<name>.yaml`. A server is a stack file `Pulumi.<server>.yaml`, whose `flipflap:` values are those of [StackFile](#stackfile).",
    ],
  },
  {
    name: "Policies",
    schema: policies as unknown as Source["schema"],
    typesFile: "components/net/policy/types.gen.ts",
    docsFile: "docs/policy-schema.md",
    introduction: [
      "# Policy files",
      "Made from `components/net/policy/schema.json` by `npm run generate`; do not edit by hand. What policies mean, and what enforces them: [policies.md](policies.md).",
      "A policy file is a list of [Policy](#policy). A testbed names its files in `policies`.",
    ],
  },
  {
    name: "Experiment",
    schema: experiment as unknown as Source["schema"],
    typesFile: "experiments/types.gen.ts",
    docsFile: "docs/experiments.md",
    introduction: [
      "# Experiments",
      "Made from `experiments/schema.json` by `npm run generate`; do not edit by hand.",
      "An experiment is `experiments/<name>.yaml`, of the project or of those that are shipped. `flipflap experiment list` shows them, `flipflap experiment run NAME` measures on what is deployed, `flipflap report` makes a page of it.",
    ],
  },
];

type Definitions = Source["schema"]["definitions"];

const refName = (ref: string): string => ref.replace("#/definitions/", "");

function typeText(node: Node, definitions: Definitions): string {
  const inner = (one: Node): string => typeText(one, definitions);
  if (node.$ref !== undefined) {
    const name = refName(node.$ref);
    const target = definitions[name];
    return target?.properties !== undefined || target?.oneOf !== undefined
      ? `[${name}](#${name.toLowerCase()})`
      : String(target?.type ?? name);
  }
  if (node.oneOf !== undefined) return node.oneOf.map(inner).join(" or ");
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (node.type === "array" && node.items !== undefined) return `list of ${inner(node.items)}`;
  if (node.type === "object" && typeof node.additionalProperties === "object") return `map to ${inner(node.additionalProperties)}`;
  const range = node.minimum !== undefined || node.maximum !== undefined ? ` ${node.minimum ?? ""}..${node.maximum ?? ""}` : "";
  return `${[node.type ?? "any"].flat().join(" or ")}${range}`;
}

function table(node: Node, definitions: Definitions): string {
  const rows = Object.entries(node.properties ?? {}).map(([name, property]) => {
    const target = property.$ref === undefined ? property : { ...definitions[refName(property.$ref)], ...property };
    const needed = node.required?.includes(name) === true ? "yes" : "";
    const standard = property.default ?? target.default;
    const text = (property.description ?? target.description ?? "").replaceAll("|", "\\|");
    return `| \`${name}\` | ${typeText(property, definitions)} | ${needed} | ${standard === undefined ? "" : `\`${JSON.stringify(standard)}\``} | ${text} |`;
  });
  return ["| property | type | required | default | meaning |", "|---|---|---|---|---|", ...rows].join("\n");
}

function docs({ name: title, schema, introduction }: Source): string {
  const { definitions } = schema;
  const parts = [...introduction, `## ${title}`, schema.description ?? "", table(schema, definitions)];
  for (const [name, node] of Object.entries(definitions)) {
    if (node.properties === undefined && node.oneOf === undefined) continue;
    parts.push(`## ${name}`, node.description ?? "");
    parts.push(
      node.oneOf === undefined ? table(node, definitions) : `One of ${node.oneOf.map((one) => typeText(one, definitions)).join(", ")}.`,
    );
  }
  return `${parts.join("\n\n")}\n`;
}

async function types({ name, schema }: Source): Promise<string> {
  const text = await compile(structuredClone(schema) as JSONSchema, name, {
    bannerComment: "/** Made from schema.json by `npm run generate`; do not edit by hand. */",
    unreachableDefinitions: true,
    strictIndexSignatures: true,
    format: false,
    ignoreMinAndMaxItems: true,
  });
  return text;
}

/** Nothing in them is changed by those who read them. */
const asReadonly = (text: string): string =>
  text
    .replace(/^ *(\w+\??|\[k: string\]):/gm, "readonly $1:")
    .replace(/\b(\w+)\[\]/g, "readonly $1[]")
    // What the generator says of where a definition came from, and the schema's root, which is no type.
    .replace(/ \* ?\n \* This interface was referenced by `Contract`'s JSON-Schema\n \* via the `definition` "\w+"\.\n/g, "")
    .replace(/\/\*\*\n \* This interface was referenced by `Contract`'s JSON-Schema\n \* via the `definition` "\w+"\.\n \*\/\n/g, "")
    .replace(/\/\*\*\n \* [^\n]*\n \*\/\nexport interface Contract \{\n[^}]*\}\n/, "");

/** Of the program and of the agent, with a version that changes with the schema. */
async function contractFiles(): Promise<{ path: string; text: string }[]> {
  // Words for people are no part of it.
  const shape = JSON.stringify(contract, (key, value: unknown) => (key === "description" && typeof value === "string" ? undefined : value));
  const version = createHash("sha256").update(shape).digest("hex").slice(0, 12);
  const typescript = await compile(structuredClone(contract) as unknown as JSONSchema, "Contract", {
    bannerComment: `/** Made from agent/contract/schema.json by \`npm run generate\`; do not edit by hand. */\nexport const contractVersion = "${version}";\n`,
    unreachableDefinitions: true,
    format: false,
  });
  const go = goTypes("contract", version, contract.definitions as unknown as Record<string, SchemaNode>);
  const [command = ""] = await goCommand();
  const gofmt = command.includes("/") ? join(dirname(command), "gofmt") : "gofmt";
  return [
    { path: join(codeRoot, "components/host/contract/types.gen.ts"), text: asReadonly(typescript) },
    { path: join(codeRoot, "agent/contract/types.gen.go"), text: await run([gofmt], { stdin: go }) },
  ];
}

/** What each object of bpf/ shares with the agent's package that loads it: C's types by the names that Go gives them (agent/bpf/abigen). */
const abis = [
  {
    object: "ila",
    folder: "parts/ila",
    types: [
      "ila_address:=Address",
      "ila_mode=Mode",
      "ila_port_flag=portFlag/flag",
      "ila_place=place/place",
      "ila_prefix=prefixKind/prefix",
      "ila_port=portValue",
      "ila_mapping=mappingValue",
      "ila_arrival=arrivalValue",
      "ila_server=serverValue",
    ],
  },
  { object: "overlay", folder: "parts/evpn", types: ["station_place=place/station", "station_key=stationKey", "station=station"] },
  { object: "guard", folder: "parts/guard", types: ["guard_flag=flag/flag", "guard_source=source", "guard_rule=rule"] },
  {
    object: "firewall",
    folder: "firewall",
    types: [
      "firewall_field=field/field",
      "firewall_state=stateNumber/state",
      "firewall_action=action/action",
      "firewall_flag=flag/flag",
      "firewall_fault=fault/fault",
      "firewall_size=size/size",
      "firewall_entry=entryValue",
      "firewall_counter=counterValue",
      "firewall_index=indexPlaces",
      "firewall_flow=flowKey",
      "firewall_connection=connectionValue",
      "firewall_logged=loggedEvent",
    ],
  },
  {
    object: "tap",
    folder: "parts/firewall",
    types: ["tap_place=placeNumber/place", "tap=tapValue", "tap_end_key=endKey", "tap_end=endValue"],
  },
  {
    object: "trace",
    folder: "trace",
    types: [
      "trace_point=point/point",
      "trace_flag=flag/flag",
      "trace_count=count/count",
      "trace_namespace=namespaceTable/namespace",
      "trace_addresses=addresses",
      "trace_packet=packet",
      "trace_event=event",
    ],
  },
] as const;

async function abiFiles(): Promise<{ path: string; text: string }[]> {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-abi-"));
  try {
    await run(["make", "-s", "-C", join(codeRoot, "bpf"), `OUT=${folder}`]);
    const go = await goCommand();
    return await Promise.all(
      abis.map(async ({ object, folder: own, types: all }) => ({
        path: join(codeRoot, "agent", own, "abi.gen.go"),
        text: await run([...go, "run", "./bpf/abigen", join(folder, `${object}.bpf.o`), basename(own), ...all], {
          cwd: join(codeRoot, "agent"),
          env: { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false" },
        }),
      })),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  const files = [...(await contractFiles()), ...(await abiFiles())];
  for (const source of sources) {
    files.push({ path: join(codeRoot, source.typesFile), text: await types(source) });
    files.push({ path: join(codeRoot, source.docsFile), text: docs(source) });
  }
  const stale = files.filter(({ path, text }) => !existsSync(path) || readFileSync(path, "utf8") !== text);
  if (!process.argv.includes("--check")) for (const { path, text } of stale) writeFileSync(path, text);
  else if (stale.length > 0) {
    console.error(`${stale.map(({ path }) => path).join(", ")}: not what the schemas and bpf/ give; run npm run generate`);
    process.exitCode = 1;
  }
}

void main();
