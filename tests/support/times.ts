/** Where the time of lab tests goes: each command that a test ran, a line each in the file that the reporter names. */
import { appendFileSync } from "node:fs";
import { basename } from "node:path";
import { expect } from "vitest";
import { Project } from "../../benches/support/scratchProject";

export interface CommandTime {
  readonly file: string;
  readonly words: readonly string[];
  readonly seconds: number;
}

const notes = process.env.FLIPFLAP_TEST_TIMES;
if (notes !== undefined)
  Project.onFinished = (words, seconds) => {
    const time: CommandTime = { file: basename(expect.getState().testPath ?? ""), words, seconds };
    appendFileSync(notes, `${JSON.stringify(time)}\n`);
  };
