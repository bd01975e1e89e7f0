/** node makeBundle.mjs NAME: bundles a program of ours for bundle.cjs. */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import console from "node:console";
import process from "node:process";
import standaloneCode from "ajv/dist/standalone/index.js";
import { build } from "esbuild";

const require = createRequire(import.meta.url);
const { evaluate, folder, nameOf, put, root, stamp } = require("./bundle.cjs");
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

/** Maps each stack trace to sources, and the SDK takes one for every promise: a fifth of a program's time, and a bundle has no map. */
const withoutMaps = {
  name: "without maps",
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /^source-map-support\/register$/ }, ({ path }) => ({ path, namespace: "nothing" }));
    onLoad({ filter: /./, namespace: "nothing" }, () => ({ contents: "" }));
  },
};

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node20",
  supported: { "dynamic-import": false },
  write: false,
  outdir: folder,
  logLevel: "error",
};

/** Whatever makes another bundle when it changes, with what it looked like before it was read. */
const stamps = new Map();
const note = (source) => stamps.set(source, stamps.get(source) ?? stamp(source));
const own = ["support/start/bundle.cjs", "support/start/makeBundle.mjs", "support/start/late.cjs"];
[...own, "package.json", "package-lock.json", "tsconfig.json"].filter((file) => existsSync(join(root, file))).forEach(note);

const noteSources = {
  name: "stamps",
  setup: ({ onLoad }) => onLoad({ filter: /./, namespace: "file" }, ({ path }) => void note(relative(root, path))),
};

/** A module of validators gives the code that ajv makes of its schemas in the place of ajv. */
const compileValidators = {
  name: "validators",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/validators\.ts$/ }, async ({ path }) => {
      note(relative(root, path));
      const made = await build({ ...common, entryPoints: [path], external: ["ajv"], plugins: [noteSources] });
      const { ajv, refs } = evaluate(made.outputFiles[0].text, path);
      if (ajv === undefined || refs === undefined) throw new Error(`${relative(root, path)}: export ajv and refs`);
      return { contents: standaloneCode.default(ajv, refs), resolveDir: dirname(path) };
    }),
};

const name = process.argv[2];
const plugins = [compileValidators, noteSources, loadLate, withoutMaps];
const made = await build({ ...common, entryPoints: [entries[name]], external: ["esbuild"], plugins }).catch(() => process.exit(1));
const [{ contents }] = made.outputFiles;
const file = nameOf(name, contents);
try {
  mkdirSync(folder, { recursive: true });
  put(join(folder, file), contents);
  put(join(folder, `${name}.sources`), [file, ...stamps.values()].join("\n"));
} catch (error) {
  console.error(`${folder} cannot be written (${error.code}): work as its owner, or give it to yourself`);
  process.exit(1);
}
// What is older than what another one may be starting from at this moment.
const isOld = (path) => Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY) > 60_000;
for (const other of readdirSync(folder)) {
  const path = join(folder, other);
  if (new RegExp(`^${name}(-|\\.sources\\.)`).test(other) && !other.startsWith(file) && isOld(path)) rmSync(path, { force: true });
}
