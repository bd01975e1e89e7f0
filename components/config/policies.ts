/** Reading a testbed's policy files, with every fault of their form. */
import { existsSync, readFileSync } from "node:fs";
import type { Fault } from "./faults";
import { insideProject, outside } from "./sources";
import { schemaFaults } from "./validate";
import type { PolicyFile } from "../net/policy/resolve";
import type { Policies } from "../net/policy/types.gen";
import * as validators from "./validators";

export function readPolicyFile(root: string, path: string, faults: Fault[]): PolicyFile | undefined {
  const full = insideProject(root, path);
  if (full === undefined) {
    faults.push(outside(`policies: ${path}`, path));
    return undefined;
  }
  if (!existsSync(full)) {
    faults.push({ rule: "policy-file", path: `policies: ${path}`, what: "there is no such file", fix: "make it, or leave it out" });
    return undefined;
  }
  const text = readFileSync(full, "utf8");
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    // How V8 words it changes; where it is does not.
    const position = /at position (\d+)/.exec((error as Error).message)?.[1];
    const line = position === undefined ? undefined : text.slice(0, Number(position)).split("\n").length;
    faults.push({
      rule: "policy-json",
      path,
      what: `is no JSON${line === undefined ? "" : `, from line ${line} on`}`,
      fix: "mend it there",
    });
    return undefined;
  }
  // Cilium's examples have one policy without a list, too.
  const list = Array.isArray(data) ? data : [data];
  const own = schemaFaults(validators.policies, list, path);
  faults.push(...own);
  return own.length > 0 ? undefined : { path, policies: list as Policies };
}
