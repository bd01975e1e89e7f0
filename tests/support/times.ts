/** Where the time of lab tests goes: what each command took, kept a line each for the table at the end. */
import { appendFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { expect } from "vitest";
import { Project } from "../../support/scratchProject";

Project.onFinished = (words, seconds) => {
  const file = basename(expect.getState().testPath ?? "");
  appendFileSync(process.env.FF_TIMES ?? join(tmpdir(), "flipflap-test-times"), `${JSON.stringify({ file, words, seconds })}\n`);
};
