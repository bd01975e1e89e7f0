/** What a verb of the CLI is. */
import { parseArgs } from "node:util";
import { UsageError } from "../support/usageError";

export interface Option {
  readonly type: "string" | "boolean";
  readonly help: string;
  /** How its value is called in the help. */
  readonly value?: string;
}

export interface Arguments {
  readonly words: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** What stands after `--`. */
  readonly rest: readonly string[];
}

export interface Verb {
  readonly name: string;
  readonly words: string;
  readonly summary: string;
  /** What the help says below: examples, exit codes. */
  readonly details: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Of verbs that change servers or measure them, by their words: no other such verb works on the project meanwhile. */
  takesTurn?(words: readonly string[]): boolean;
  /** Gives the exit code. */
  run(args: Arguments): Promise<number>;
}

export const jsonOption: Readonly<Record<string, Option>> = { json: { type: "boolean", help: "print JSON for machines" } };

/** Of verbs that need nothing deployed. */
export const testbedOption: Readonly<Record<string, Option>> = {
  testbed: { type: "string", value: "NAME", help: "testbeds/NAME.yaml, or a file, in place of the one that the stack files name" },
};

/** The testbed that is asked for; undefined: the stack files name it. */
export const askedTestbed = ({ testbed }: Arguments["flags"]): string | undefined => (typeof testbed === "string" ? testbed : undefined);

export function helpText(verb: Verb): string {
  const options = { ...verb.options, help: { type: "boolean", help: "print this" } as Option };
  const lines = Object.entries(options).map(
    ([name, option]) => `  --${name}${option.type === "string" ? ` ${option.value ?? "VALUE"}` : ""}`.padEnd(24) + option.help,
  );
  return [
    `flipflap ${verb.name}${verb.words === "" ? "" : ` ${verb.words}`}`,
    "",
    verb.summary,
    "",
    verb.details.trim(),
    "",
    "Options:",
    ...lines,
    "",
  ].join("\n");
}

export function parseVerb(verb: Verb, argv: readonly string[]): Arguments {
  const cut = argv.indexOf("--");
  const own = cut < 0 ? argv : argv.slice(0, cut);
  const options = Object.fromEntries(
    Object.entries({ ...verb.options, help: { type: "boolean" as const } }).map(([name, { type }]) => [name, { type }]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...own], options, allowPositionals: true, strict: true });
    return { words: positionals, flags: values as Arguments["flags"], rest: cut < 0 ? [] : argv.slice(cut + 1) };
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split(". ")[0]}`);
  }
}
