/**
 * Runs a program of ours as one bundled file that V8 has compiled before: from its sources the CLI starts in two seconds,
 * bundled in one, compiled in a few tenths. What an edit makes stale is made anew before it runs.
 */
const { spawnSync } = require("node:child_process");
const { createHash } = require("node:crypto");
const { readFileSync, renameSync, statSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { join } = require("node:path");
const { Script } = require("node:vm");

const root = join(__dirname, "..", "..");
/** One below the checkout, as the sources are: support/project.ts finds the checkout from there. */
const folder = join(root, ".flipflap");

/** A source's name and what it looked like. */
function stamp(file) {
  const { mtimeMs, size } = statSync(join(root, file));
  return `${mtimeMs} ${size} ${file}`;
}

/** Several may write a file at once, and one may be killed: each puts it in place whole. */
function put(file, content) {
  writeFileSync(`${file}.${process.pid}`, content);
  renameSync(`${file}.${process.pid}`, file);
}

function readIf(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

/** What was bundled last, where no source has changed since. */
function fresh(name) {
  const notes = readIf(join(folder, `${name}.sources`));
  if (notes === undefined) return undefined;
  const [file, ...stamps] = notes.toString().split("\n");
  try {
    if (!stamps.every((line) => stamp(line.split(" ").slice(2).join(" ")) === line)) return undefined;
  } catch {
    return undefined; // a source is gone
  }
  const text = readIf(join(folder, file));
  return text === undefined ? undefined : { file, text: text.toString() };
}

function bundled(name) {
  const found = fresh(name);
  if (found !== undefined) return found;
  // A process of its own: esbuild's plugins do not work while another program is being loaded.
  const made = spawnSync(process.execPath, [join(__dirname, "makeBundle.mjs"), name], { encoding: "utf8" });
  const now = made.status === 0 ? fresh(name) : undefined;
  if (now === undefined) {
    const failure = new Error(`${name}: could not be bundled\n${made.error ?? made.stderr}`);
    failure.stack = failure.message; // the source's line is what matters
    throw failure;
  }
  return now;
}

/** When the functions that are needed are compiled: at the end, or after a while where somebody else ends the process. */
function keepCompiled(script, file) {
  const keep = () => {
    process.removeListener("exit", keep);
    try {
      put(file, script.createCachedData());
    } catch {
      // The next one compiles it again.
    }
  };
  process.once("exit", keep);
  setTimeout(keep, 1000).unref();
}

/** Runs a bundle's text, and gives what it exports. */
function evaluate(text, filename, compiled) {
  const cachedData = compiled === undefined ? undefined : readIf(compiled);
  const script = new Script(`(function (exports, require, module, __filename, __dirname) {${text}\n})`, { filename, cachedData });
  if (compiled !== undefined && (cachedData === undefined || script.cachedDataRejected === true)) keepCompiled(script, compiled);
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(filename), module, filename, folder);
  return module.exports;
}

/** Loads a program, and gives what it exports. */
function load(name) {
  const { file, text } = bundled(name);
  // What V8 takes depends on its version and flags too.
  const engine = createHash("sha256")
    .update([process.version, process.arch, ...process.execArgv].join(" "))
    .digest("hex")
    .slice(0, 8);
  return evaluate(text, join(folder, file), join(folder, `${file}.${engine}.v8`));
}

module.exports = { evaluate, folder, load, put, root, stamp };
