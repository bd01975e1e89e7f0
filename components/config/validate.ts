/** The schema's faults in the words of faults.ts. */
import type { ErrorObject, ValidateFunction } from "ajv";
import type { Fault } from "./faults";
import schema from "./schema.json";
import * as validators from "./validators";

/** "/networks/0/mtuBytes" -> "networks.red-net.mtuBytes": a thing that has a name is called by it. */
export function namedPath(root: unknown, pointer: string): string {
  let at: unknown = root;
  let path = "";
  for (const raw of pointer.split("/").slice(1)) {
    const key = raw.replaceAll("~1", "/").replaceAll("~0", "~");
    const parent = at;
    at = (at as Record<string, unknown> | undefined)?.[key];
    if (Array.isArray(parent)) {
      const name = (at as { name?: unknown } | null)?.name;
      path += typeof name === "string" ? `.${name}` : `[${key}]`;
    } else path += path === "" ? key : `.${key}`;
  }
  return path;
}

/** The nearest of the known names, where one is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const distance = (a: string, b: string): number => {
    const row = Array.from({ length: b.length + 1 }, (_, i) => i);
    for (let i = 1; i <= a.length; i++) {
      let diagonal = row[0] as number;
      row[0] = i;
      for (let j = 1; j <= b.length; j++) {
        const above = row[j] as number;
        row[j] = Math.min(above + 1, (row[j - 1] as number) + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1));
        diagonal = above;
      }
    }
    return row[b.length] as number;
  };
  const ranked = known.map((name) => ({ name, far: distance(word.toLowerCase(), name.toLowerCase()) })).sort((a, b) => a.far - b.far);
  const best = ranked[0];
  return best !== undefined && best.far <= Math.max(2, Math.floor(word.length / 3)) ? best.name : undefined;
}

/** How to fix a name that names nothing. */
export function oneOf(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === undefined ? `name one of ${known.join(", ") || "none"}` : `did you mean "${near}"?`;
}

function list(values: readonly unknown[]): string {
  return values.map((value) => JSON.stringify(value)).join(", ");
}

interface ParentSchema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, { description?: string }>>;
  readonly "x-instead"?: Readonly<Record<string, string>>;
}

function explain(error: ErrorObject): { what: string; fix: string; key?: string } {
  const parent = (error.parentSchema ?? {}) as ParentSchema;
  const params = error.params as Record<string, unknown>;
  const value = JSON.stringify(error.data);
  const meaning = parent.description ?? "see docs/config.md";
  switch (error.keyword) {
    case "required": {
      const key = String(params.missingProperty);
      return { key, what: "is missing", fix: `add it: ${parent.properties?.[key]?.description ?? "see docs/config.md"}` };
    }
    case "additionalProperties": {
      const key = String(params.additionalProperty);
      const known = Object.keys(parent.properties ?? {});
      const near = nearest(key, known);
      const instead = parent["x-instead"]?.[key];
      if (instead !== undefined)
        return { key, what: known.includes("kind") ? "is not of this kind of network" : "is not known here", fix: instead };
      return { key, what: "is not known here", fix: near === undefined ? `known are ${known.join(", ")}` : `did you mean "${near}"?` };
    }
    case "enum":
      return { what: `${value} is not allowed`, fix: `choose one of ${list(params.allowedValues as unknown[])}` };
    case "const":
      return { what: `${value} is not allowed`, fix: `write ${JSON.stringify(params.allowedValue)}` };
    case "type":
      return { what: `${value} is not of type ${String(params.type)}`, fix: meaning };
    case "discriminator":
      return { what: `${JSON.stringify(params.tagValue)} is no kind of network`, fix: `choose one of ${list(networkKinds())}` };
    case "minimum":
    case "maximum":
      return { what: `${value} is out of range`, fix: `it must be ${String(params.comparison)} ${String(params.limit)}` };
    case "minItems":
      return { what: "has too few entries", fix: `give at least ${String(params.limit)}` };
    case "uniqueItems":
      return { what: "names something twice", fix: "leave one of them out" };
    default:
      return { what: `${value} does not fit (${error.message ?? error.keyword})`, fix: meaning };
  }
}

function networkKinds(): string[] {
  return schema.definitions.Network.oneOf.map(({ $ref }) => {
    const name = $ref.replace("#/definitions/", "") as "BridgeNetwork";
    return schema.definitions[name].properties.kind.const;
  });
}

/** Of the errors about a value that may have two forms, those of the form that it does not have say nothing. */
function isNoise(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  if (error.keyword === "oneOf" || error.keyword === "if") return all.length > 1;
  const alternatives = all.some((other) => other.keyword === "oneOf" && other.instancePath === error.instancePath);
  if (!alternatives) return false;
  return typeof error.data === "object" ? error.keyword === "const" : error.keyword === "type";
}

/** Every fault of data that a schema describes. */
export function schemaFaults(validate: ValidateFunction, data: unknown, prefix: string): Fault[] {
  if (validate(data)) return [];
  const errors = validate.errors ?? [];
  return errors
    .filter((error) => !isNoise(error, errors))
    .map((error) => {
      const { what, fix, key } = explain(error);
      const path = [namedPath(data, error.instancePath), key].filter((part) => part !== undefined && part !== "").join(".");
      return { rule: "schema", path: `${prefix}${path}`, what, fix };
    });
}

export function validateTestbed(data: unknown): Fault[] {
  return schemaFaults(validators.testbed, data ?? {}, "");
}

export function validateStackFile(file: string, data: unknown): Fault[] {
  return schemaFaults(validators.stackFile, data, `${file}: flipflap:`);
}
