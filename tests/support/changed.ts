/** Which test files a change can break, by what they say that they use. Pure. */

export interface LabTest {
  readonly file: string;
  readonly text: string;
}

export interface Chosen {
  readonly run: readonly string[];
  readonly leftOut: readonly string[];
}

/** What a changed file is part of; undefined: of everything. */
type Scope = { readonly kind: string } | { readonly testbed: string } | { readonly verb: string } | { readonly file: string } | "fast";

/** The folder of a kind is called as the kind is. */
const scopes: readonly (readonly [pattern: RegExp, scope: (name: string) => Scope])[] = [
  [/^(?:docs\/|\.ci\/|.*\.md$)/, () => "fast"],
  [/^tests\/(?:unit|errors|preview|plugins|bpf|netfilter|soak)\//, () => "fast"],
  [/^(tests\/(?:lab|guest)\/.*\.test\.ts)$/, (file) => ({ file })],
  [/^components\/kinds\/(\w+)\//, (kind) => ({ kind })],
  [/^agent\/parts\/(ila|evpn|swarm|cilium)\//, (kind) => ({ kind })],
  [/^bpf\/(ila)\b/, (kind) => ({ kind })],
  [/^components\/capabilities\/(vpn)\//, (kind) => ({ kind })],
  [/^testbeds\/(.+)\.yaml$/, (testbed) => ({ testbed })],
  [/^cli\/verbs\/(\w+)\.ts$/, (verb) => ({ verb })],
  [/^(experiment)s\//, (verb) => ({ verb })],
  [/^benches\/(?!support\/)/, () => "fast"],
];

export function scopeOf(file: string): Scope | undefined {
  for (const [pattern, scope] of scopes) {
    const found = pattern.exec(file);
    if (found !== null) return scope(found[1] ?? "");
  }
  return undefined;
}

/** The shipped testbeds that a test names; one that names none has the stack files' own. */
const testbedsOf = (text: string): string[] => ["bridge", ...[...text.matchAll(/"([a-z0-9-]+)"/g)].flatMap(([, name]) => name ?? [])];

function uses({ file, text }: LabTest, scope: Scope, testbeds: ReadonlyMap<string, string>): boolean {
  if (scope === "fast") return false;
  if ("file" in scope) return file === scope.file;
  if ("verb" in scope) return text.includes(`"${scope.verb}"`);
  if ("testbed" in scope) return testbedsOf(text).includes(scope.testbed);
  const { kind } = scope;
  // Walks and the leak matrix have a sample of every kind.
  if (/from "\.\.\/(?:soak|support\/leaks)\//.test(text) || new RegExp(`[-/]${kind}[-.]`).test(file)) return true;
  const says = kind === "vpn" ? /\btunnels:/ : new RegExp(`kind: ${kind}\\b`);
  return [text, ...testbedsOf(text).map((name) => testbeds.get(name) ?? "")].some((one) => says.test(one));
}

/** The fast tests always run. Testbeds are the shipped ones' texts by their names. */
export function chooseTests(changed: readonly string[], lab: readonly LabTest[], testbeds: ReadonlyMap<string, string>): Chosen {
  const found = changed.map(scopeOf);
  const isHit = (test: LabTest): boolean => found.some((scope) => scope === undefined || uses(test, scope, testbeds));
  return { run: lab.filter(isHit).map(({ file }) => file), leftOut: lab.filter((test) => !isHit(test)).map(({ file }) => file) };
}
