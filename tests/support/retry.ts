/**
 * One test of a whole run may fail and be tried again; the second that fails is a failure at once. So a run of an hour is not lost
 * to one slow moment, and a test that often has one is seen: the reporter names it, with what went wrong.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, beforeEach, inject } from "vitest";
import { ownRoot } from "./ownRoot";

const claimFile = process.env.FLIPFLAP_TEST_RETRY;

/** True for the first of all processes of a run that asks. */
function claim(): boolean {
  if (claimFile === undefined) return false;
  try {
    closeSync(openSync(claimFile, "wx"));
    return true;
  } catch {
    return false;
  }
}

interface Task {
  readonly type: string;
  readonly tasks?: readonly Task[];
  retry?: unknown;
}

const allow = (task: Task): void => {
  if (task.type === "test") task.retry = { count: 1, condition: claim };
  for (const one of task.tasks ?? []) allow(one);
};

// eslint-disable-next-line no-empty-pattern -- vitest reads the names of what it is to give
beforeAll(({}, file) => allow(file as unknown as Task));

/** The lab tests' project. */
const root = inject("roots") === undefined ? undefined : ownRoot();

const declared = (): string[] =>
  root === undefined || !existsSync(join(root, "testbeds"))
    ? []
    : [
        ...readdirSync(root).filter((leaf) => /^Pulumi\..*yaml$/.test(leaf)),
        ...readdirSync(join(root, "testbeds")).map((leaf) => join("testbeds", leaf)),
      ].map((leaf) => join(root, leaf));

let kept: readonly (readonly [file: string, text: string])[] = [];

// The second try begins with what was declared when the first one did.
beforeEach(({ task }) => {
  if ((task.result?.retryCount ?? 0) > 0) for (const [file, text] of kept) writeFileSync(file, text);
  else kept = declared().map((file) => [file, readFileSync(file, "utf8")]);
});
