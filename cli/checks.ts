/** All checks of a server over one connection. */
import type { ServerDeclaration } from "../components/config/declaration";
import { compare, type DeployedObject, type Difference } from "../components/host/objectType";
import { objectType } from "../components/host/objects";
import { prelude } from "../components/host/script";
import { type Context, runScript } from "./context";
import { readStack } from "./pulumi";

export interface Checked {
  readonly server: string;
  readonly type: string;
  readonly name: string;
  /** Empty where all is as declared. */
  readonly result: "ok" | "missing" | "different" | "failed";
  readonly differences: readonly Difference[];
  readonly error?: string;
}

const separator = "<<<flipflap check";

/** One script that prints, for each object, its number, what its check prints, and how the check ended. */
export function checksScript(objects: readonly DeployedObject[], stack: string): string {
  const owner = { stack };
  const parts = objects.map((object, i) => {
    const check = objectType(object.type).check(object.spec, owner, object.name);
    return [`echo '${separator} ${i}>>>'`, "(", check.text, ") 2>&1", "code=$?", `echo; echo "${separator} end $code>>>"`].join("\n");
  });
  return [prelude(owner).text, "set +e", ...parts, ""].join("\n");
}

export function readChecks(server: string, objects: readonly DeployedObject[], printed: string): Checked[] {
  const outputs = new Map<number, { text: string; code: number }>();
  const pattern = new RegExp(`${separator} (\\d+)>>>\\n([\\s\\S]*?)\\n${separator} end (\\d+)>>>`, "g");
  for (const [, index, text, code] of printed.matchAll(pattern)) outputs.set(Number(index), { text: text ?? "", code: Number(code) });
  return objects.map((object, i): Checked => {
    const base = { server, type: object.type, name: object.name };
    const output = outputs.get(i);
    if (output === undefined || output.code !== 0) {
      return { ...base, result: "failed", differences: [], error: output?.text.trim() || "the check gave no answer" };
    }
    const type = objectType(object.type);
    try {
      const differences = compare(type.wanted(object.spec, { stack: server }), type.found(output.text, object.spec));
      if (differences === "missing") return { ...base, result: "missing", differences: [] };
      return { ...base, result: differences.length === 0 ? "ok" : "different", differences };
    } catch (error) {
      return { ...base, result: "failed", differences: [], error: `unreadable: ${(error as Error).message}` };
    }
  });
}

export async function checkServer(context: Context, server: ServerDeclaration): Promise<Checked[]> {
  const stack = await readStack(context.root, server.name);
  if (stack === undefined || stack.objects.length === 0) return [];
  const finished = await runScript(context, server, checksScript(stack.objects, server.name));
  if (finished.code === 255) {
    return [
      {
        server: server.name,
        type: "server",
        name: server.name,
        result: "failed",
        differences: [],
        error: `no answer over SSH: ${finished.stderr.trim()}`,
      },
    ];
  }
  return readChecks(server.name, stack.objects, finished.stdout);
}
