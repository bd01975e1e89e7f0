/**
 * Starts the CLI from one bundled file, which takes a tenth of a second where running its sources takes eight. The bundle is
 * made anew whenever a source has changed.
 */
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
// One folder below the checkout, as the sources are: support/project.ts finds the checkout from there.
const bundle = join(root, ".flipflap", "cli.js");
const notes = `${bundle}.sources`;

/** A source's name and what it looked like. */
const stamp = (file) => {
  const { mtimeMs, size } = statSync(join(root, file));
  return `${mtimeMs} ${size} ${file}`;
};

function isFresh() {
  try {
    statSync(bundle);
    return readFileSync(notes, "utf8")
      .split("\n")
      .every((line) => stamp(line.split(" ").slice(2).join(" ")) === line);
  } catch {
    return false;
  }
}

async function makeBundle() {
  const { build } = await import("esbuild");
  const { metafile, outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["cli/main.ts"],
    bundle: true,
    platform: "node",
    target: "node20",
    external: ["esbuild"],
    metafile: true,
    write: false,
    outfile: bundle,
    logLevel: "error",
  });
  mkdirSync(join(root, ".flipflap"), { recursive: true });
  // Several may do so at once: each puts whole files in place.
  const put = (file, text) => {
    writeFileSync(`${file}.${process.pid}`, text);
    renameSync(`${file}.${process.pid}`, file);
  };
  put(bundle, outputFiles[0].contents);
  put(notes, Object.keys(metafile.inputs).map(stamp).join("\n"));
}

if (!isFresh()) await makeBundle();
createRequire(import.meta.url)(bundle);
