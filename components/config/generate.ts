/** Writes what follows from the schema: types.gen.ts and docs/config.md. `--check` only compares. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile, type JSONSchema } from "json-schema-to-typescript";
import { codeRoot } from "../../support/project";
import schema from "./schema.json";

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

const definitions = schema.definitions as Readonly<Record<string, Node>>;
const refName = (ref: string): string => ref.replace("#/definitions/", "");

function typeText(node: Node): string {
  if (node.$ref !== undefined) {
    const name = refName(node.$ref);
    const target = definitions[name];
    return target?.properties !== undefined || target?.oneOf !== undefined
      ? `[${name}](#${name.toLowerCase()})`
      : String(target?.type ?? name);
  }
  if (node.oneOf !== undefined) return node.oneOf.map(typeText).join(" or ");
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (node.type === "array" && node.items !== undefined) return `list of ${typeText(node.items)}`;
  if (node.type === "object" && typeof node.additionalProperties === "object") return `map to ${typeText(node.additionalProperties)}`;
  const range = node.minimum !== undefined || node.maximum !== undefined ? ` ${node.minimum ?? ""}..${node.maximum ?? ""}` : "";
  return `${[node.type ?? "any"].flat().join(" or ")}${range}`;
}

function table(node: Node): string {
  const rows = Object.entries(node.properties ?? {}).map(([name, property]) => {
    const target = property.$ref === undefined ? property : { ...definitions[refName(property.$ref)], ...property };
    const needed = node.required?.includes(name) === true ? "yes" : "";
    const standard = property.default ?? target.default;
    const text = (property.description ?? target.description ?? "").replaceAll("|", "\\|");
    return `| \`${name}\` | ${typeText(property)} | ${needed} | ${standard === undefined ? "" : `\`${JSON.stringify(standard)}\``} | ${text} |`;
  });
  return ["| property | type | required | default | meaning |", "|---|---|---|---|---|", ...rows].join("\n");
}

function docs(): string {
  const parts = [
    "# Configuration",
    "Made from `components/config/schema.json` by `npm run generate`; do not edit by hand.",
    "A testbed is `testbeds/<name>.yaml`. A server is a stack file `Pulumi.<server>.yaml`, whose `flipflap:` values are those of [StackFile](#stackfile).",
    "## Testbed",
    schema.description,
    table(schema as unknown as Node),
  ];
  for (const [name, node] of Object.entries(definitions)) {
    if (node.properties === undefined && node.oneOf === undefined) continue;
    parts.push(`## ${name}`, node.description ?? "");
    parts.push(node.oneOf === undefined ? table(node) : `One of ${node.oneOf.map(typeText).join(", ")}.`);
  }
  return `${parts.join("\n\n")}\n`;
}

async function types(): Promise<string> {
  const text = await compile(schema as JSONSchema, "Testbed", {
    bannerComment: "/** Made from schema.json by `npm run generate`; do not edit by hand. */",
    unreachableDefinitions: true,
    strictIndexSignatures: true,
    format: false,
    ignoreMinAndMaxItems: true,
  });
  return text;
}

async function main(): Promise<void> {
  const files = [
    { path: join(codeRoot, "components/config/types.gen.ts"), text: await types() },
    { path: join(codeRoot, "docs/config.md"), text: docs() },
  ];
  const stale = files.filter(({ path, text }) => !existsSync(path) || readFileSync(path, "utf8") !== text);
  if (!process.argv.includes("--check")) for (const { path, text } of stale) writeFileSync(path, text);
  else if (stale.length > 0) {
    console.error(`${stale.map(({ path }) => path).join(", ")}: not what schema.json gives; run npm run generate`);
    process.exitCode = 1;
  }
}

void main();
