/** npm test: set-up, checks, then all tests; `npm test -- tests/unit` runs some. */
import { allImages, ensureImages, imagesOf } from "../setup/images";
import { ensureToolchain } from "../setup/toolchain";
import { loadDeclaration } from "../components/config/load";
import { runInForeground } from "../support/process";
import { codeRoot } from "../support/project";
import { step } from "../support/progress";
import { tryRun } from "../support/process";

async function main(argv: readonly string[]): Promise<number> {
  // Previews of all testbeds ask for all images.
  const fast = argv.length > 0 && argv.every((word) => /tests\/(unit|errors|bpf)/.test(word));
  const { declaration } = loadDeclaration(codeRoot, undefined, false);
  await Promise.all([ensureToolchain(), fast && declaration !== undefined ? ensureImages(imagesOf(declaration)) : ensureImages(allImages)]);
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
