/**
 * Runs a program of ours as one bundled file that V8 has compiled before: from its sources the CLI starts in two seconds,
 * bundled in one, compiled in a few tenths. An edit of a source counts at the next start. (A new file that stands in the place
 * of another, as verbs.ts in that of verbs/index.ts, counts when a source is edited.)
 */
const { spawnSync } = require("node:child_process");
const { createHash } = require("node:crypto");
const { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { join } = require("node:path");
const { Script } = require("node:vm");

const root = join(__dirname, "..", "..");
/** One below the checkout, as the sources are: support/project.ts finds the checkout from there. */
const folder = join(root, ".flipflap");

/** A source's name and what it looked like. */
function stamp(file) {
  const { ctimeMs, mtimeMs, size } = statSync(join(root, file));
  return `${ctimeMs} ${mtimeMs} ${size} ${file}`;
}

const digestOf = (content) => createHash("sha256").update(content).digest("hex");
const digestLength = 64;

/** Several may write a file at once, and one may be killed or lose its power: each puts it in place whole. */
function put(file, content) {
  const half = `${file}.${process.pid}`;
  writeFileSync(half, content);
  const fd = openSync(half, "r");
  fsyncSync(fd);
  closeSync(fd);
  renameSync(half, file);
}

function readIf(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

/** A bundle is called by its content: one that is cut off would be a program that declares nothing. */
const nameOf = (name, content) => `${name}-${digestOf(content).slice(0, 12)}.js`;

/** What was bundled last, where no source has changed since. */
function fresh(name) {
  const notes = readIf(join(folder, `${name}.sources`));
  if (notes === undefined) return undefined;
  const [file, ...stamps] = notes.toString().split("\n");
  try {
    if (stamps.length === 0 || !stamps.every((line) => stamp(line.split(" ").slice(3).join(" ")) === line)) return undefined;
  } catch {
    return undefined; // a source is gone
  }
  const content = readIf(join(folder, file));
  return content === undefined || nameOf(name, content) !== file ? undefined : { file, text: content.toString() };
}

function bundled(name) {
  let made;
  // Another one that bundles meanwhile may take ours away, once.
  for (let tries = 0; tries < 3; tries++) {
    const found = fresh(name);
    if (found !== undefined) return found;
    // A process of its own: esbuild's plugins do not work while another program is being loaded.
    made = spawnSync(process.execPath, [join(__dirname, "makeBundle.mjs"), name], { encoding: "utf8" });
    if (made.status !== 0) break;
  }
  const found = fresh(name);
  if (found !== undefined) return found;
  const failure = new Error(`${name}: could not be bundled\n${made.error ?? (made.stderr || "its sources change all the time")}`);
  failure.stack = failure.message; // the source's line is what matters
  throw failure;
}

/** The compiled code of a file; V8 (11.3) looks at its beginning alone, and dies of what is broken behind. */
function readCompiled(file) {
  const content = readIf(file);
  const code = content?.subarray(digestLength);
  return code !== undefined && digestOf(code) === content.subarray(0, digestLength).toString() ? code : undefined;
}

/** At the exit, when the functions in use are compiled; after a second where a signal may end us. */
function keepCompiled(script, file) {
  const keep = () => {
    process.removeListener("exit", keep);
    try {
      const code = script.createCachedData();
      put(file, Buffer.concat([Buffer.from(digestOf(code)), code]));
    } catch {
      // The next one compiles it again.
    }
  };
  process.once("exit", keep);
  setTimeout(keep, 1000).unref();
}

/** Runs a bundle's text, and gives what it exports. */
function evaluate(text, filename, compiled) {
  const cachedData = compiled === undefined ? undefined : readCompiled(compiled);
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
  const engine = digestOf([process.version, process.arch, process.env.NODE_OPTIONS ?? "", ...process.execArgv].join(" ")).slice(0, 8);
  return evaluate(text, join(folder, file), join(folder, `${file}.${engine}.v8`));
}

module.exports = { bundled, evaluate, folder, load, nameOf, put, root, stamp };
