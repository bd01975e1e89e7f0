/** node makeBundle.mjs NAME: bundles a program of ours for bundle.cjs. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import standaloneCode from "ajv/dist/standalone/index.js";
import { build } from "esbuild";

const require = createRequire(import.meta.url);
const { evaluate, folder, put, root, stamp } = require("./bundle.cjs");
const { seldom } = require("./late.cjs");

const entries = { cli: "cli/main.ts", plugins: "toolchain/plugins/main.ts", program: "support/start/run.cjs" };

const loadLate = {
  name: "late",
  setup: ({ onLoad, onResolve }) => {
    const filter = new RegExp(`^(${seldom.join("|")})$`);
    onResolve({ filter }, ({ path, namespace }) => (namespace === "late" ? { path, external: true } : { path, namespace: "late" }));
    onLoad({ filter, namespace: "late" }, ({ path }) => ({
      contents: `module.exports = require("./late.cjs").late(() => require("${path}"))`,
      resolveDir: join(root, "support/start"),
    }));
  },
};

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node20",
  supported: { "dynamic-import": false },
  metafile: true,
  write: false,
  outdir: folder,
  logLevel: "error",
};

/** Whatever makes another bundle when it changes. */
const sources = new Set(["support/start/bundle.cjs", "support/start/makeBundle.mjs", "support/start/late.cjs"]);

/** A module of validators gives the code that ajv makes of its schemas in the place of ajv. */
const compileValidators = {
  name: "validators",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/validators\.ts$/ }, async ({ path }) => {
      const made = await build({ ...common, entryPoints: [path], external: ["ajv"] });
      Object.keys(made.metafile.inputs).forEach((source) => sources.add(source));
      const { ajv, refs } = evaluate(made.outputFiles[0].text, path);
      return { contents: standaloneCode.default(ajv, refs), resolveDir: dirname(path) };
    }),
};

const name = process.argv[2];
const plugins = [compileValidators, loadLate];
const made = await build({ ...common, entryPoints: [entries[name]], external: ["esbuild"], plugins }).catch(() => process.exit(1));
const { metafile, outputFiles } = made;
Object.keys(metafile.inputs).forEach((source) => sources.add(source));
const [{ contents }] = outputFiles;
const file = `${name}-${createHash("sha256").update(contents).digest("hex").slice(0, 12)}.js`;
mkdirSync(folder, { recursive: true });
put(join(folder, file), contents);
put(join(folder, `${name}.sources`), [file, ...[...sources].filter((source) => !source.startsWith("late:")).map(stamp)].join("\n"));
for (const other of readdirSync(folder))
  if (other.startsWith(`${name}-`) && !other.startsWith(file)) rmSync(join(folder, basename(other)), { force: true });
