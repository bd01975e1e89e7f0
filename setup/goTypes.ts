/** Go's structs of a schema whose definitions are objects, in the order in which they stand. */

export interface SchemaNode {
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly $ref?: string;
  readonly default?: unknown;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly oneOf?: readonly SchemaNode[];
}

const capitals = new Map(["mac", "mtu", "id", "ip", "dhcp", "vn", "sir"].map((word) => [word, word.toUpperCase()]));

/** portMac is PortMAC. */
const goName = (name: string): string =>
  name
    .split(/(?=[A-Z])/)
    .map((word) => capitals.get(word.toLowerCase()) ?? word[0]?.toUpperCase() + word.slice(1))
    .join("");

const refName = (ref: string): string => ref.replace("#/definitions/", "");

const scalars: Readonly<Record<string, string>> = { string: "string", boolean: "bool", integer: "int", number: "float64" };

function goType(node: SchemaNode): string {
  if (node.$ref !== undefined) return refName(node.$ref);
  if (node.type === "array" && node.items !== undefined) return `[]${goType(node.items)}`;
  if (node.type === "object" && typeof node.additionalProperties === "object") return `map[string]${goType(node.additionalProperties)}`;
  const scalar = typeof node.type === "string" ? scalars[node.type] : undefined;
  if (scalar !== undefined) return node.type === "integer" ? (node.format ?? scalar) : scalar;
  if (Object.keys(node).every((key) => key === "description")) return "json.RawMessage";
  throw new Error(`no type of Go is known for ${JSON.stringify(node)}`);
}

const comment = (indent: string, text: string | undefined): string[] =>
  text === undefined ? [] : text.split("\n").map((line) => `${indent}// ${line}`);

function struct(name: string, node: SchemaNode): string[] {
  const fields = Object.entries(node.properties ?? {}).flatMap(([key, property]) => {
    const isNeeded = node.required?.includes(key) === true;
    // What is not there differs from what is empty where it is a struct, or a word whose default is not Go's.
    const isPointer = !isNeeded && (property.$ref !== undefined || property.default === true);
    const tag = `\`json:"${key}${isNeeded ? "" : ",omitempty"}"\``;
    return [...comment("\t", property.description), `\t${goName(key)} ${isPointer ? "*" : ""}${goType(property)} ${tag}`];
  });
  return [...comment("", node.description), `type ${name} struct {`, ...fields, "}"];
}

export function goTypes(packageName: string, version: string, definitions: Readonly<Record<string, SchemaNode>>): string {
  const types = Object.entries(definitions).flatMap(([name, node]) =>
    node.properties !== undefined
      ? [...struct(name, node), ""]
      : [...comment("", node.description), `type ${name} = ${node.oneOf === undefined ? goType(node) : "any"}`, ""],
  );
  return [
    "// Code generated from schema.json by `npm run generate`; DO NOT EDIT.",
    "",
    `// Package ${packageName} is what the program and a server's agent tell each other.`,
    `package ${packageName}`,
    "",
    'import "encoding/json"',
    "",
    "// Version changes with the schema.",
    `const Version = "${version}"`,
    "",
    ...types,
  ].join("\n");
}
