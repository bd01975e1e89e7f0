/**
 * npm test: set-up, checks, then all tests; `npm test -- tests/unit` runs some, `npm test -- --changed [COMMIT]` those that what was
 * changed since can break.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ImageName } from "../images/images";
import { allImages, ensureImages, imagesOf } from "../setup/images";
import { ensureToolchain } from "../setup/toolchain";
import { loadDeclaration } from "../components/config/load";
import { runInForeground } from "../support/process";
import { codeRoot } from "../support/project";
import { step } from "../support/progress";
import { run, tryRun } from "../support/process";
import { chooseTests } from "./support/changed";

const fastFolders = ["unit", "errors", "preview", "plugins", "bpf", "netfilter"].map((folder) => `tests/${folder}`);

/** The words for vitest, and what is left out said. */
async function wordsOfChange(commit: string): Promise<string[]> {
  const git = async (...words: string[]): Promise<string[]> =>
    (await run(["git", ...words], { cwd: codeRoot })).split("\n").filter((line) => line !== "");
  const changed = [...(await git("diff", "--name-only", commit)), ...(await git("ls-files", "--others", "--exclude-standard"))];
  const textsOf = (folder: string, ending: string): [name: string, text: string][] =>
    readdirSync(join(codeRoot, folder))
      .filter((leaf) => leaf.endsWith(ending))
      .map((leaf) => [leaf.slice(0, -ending.length), readFileSync(join(codeRoot, folder, leaf), "utf8")]);
  const lab = ["tests/lab", "tests/guest"].flatMap((folder) =>
    textsOf(folder, ".test.ts").map(([name, text]) => ({ file: `${folder}/${name}.test.ts`, text })),
  );
  const { run: chosen, leftOut } = chooseTests(changed, lab, new Map(textsOf("testbeds", ".yaml")));
  console.log(`changed since ${commit}: ${changed.length} files; the fast tests and ${chosen.length} of ${lab.length} lab tests run`);
  if (leftOut.length > 0) console.log(`left out, for they use nothing of it: ${leftOut.join(", ")}`);
  return [...fastFolders, ...chosen];
}

/** What the named tests use; previews of all testbeds ask for all images. */
function imagesFor(argv: readonly string[]): readonly ImageName[] {
  const are = (pattern: RegExp): boolean => argv.length > 0 && argv.every((word) => pattern.test(word));
  if (are(/^tests\/(bpf|netfilter|guest)\b/)) return [];
  const { declaration } = loadDeclaration(codeRoot, undefined, false);
  return are(/^tests\/(unit|errors|bpf|netfilter|guest)\b/) && declaration !== undefined ? imagesOf(declaration) : allImages;
}

async function main(words: readonly string[]): Promise<number> {
  const argv = words[0] === "--changed" ? await wordsOfChange(words[1] ?? "HEAD") : words;
  await Promise.all([ensureToolchain(), ensureImages(imagesFor(argv))]);
  if (argv.length === 0) {
    const failed = await step("types, lint, format, generated files, Go", async () => {
      const finished = await tryRun(["npm", "run", "--silent", "check"], { cwd: codeRoot });
      return finished.code === 0 ? "" : `${finished.stdout}${finished.stderr}`;
    });
    if (failed !== "") {
      console.error(failed);
      console.log("\n0 passed, 1 failed");
      return 1;
    }
  }
  return runInForeground(["node_modules/.bin/vitest", "run", ...argv], { cwd: codeRoot });
}

void main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: Error) => {
    console.error(error.message);
    console.log("\n0 passed, 1 failed");
    process.exitCode = 1;
  },
);
