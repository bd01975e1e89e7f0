/** The note of what stands on a server, as dash runs it there, with a /var/lib of its own. */
import { spawnSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import {
  dropAll,
  dropGeneration,
  type GenerationEntry,
  generationFile,
  listNotes,
  type NotedObject,
  notesOf,
  putGeneration,
  putUnknown,
  readNotes,
} from "../../components/host/objects/generation";
import { lockedScript, verbScript } from "../../components/host/script";
import { sh } from "../../components/host/sh";

const owner = { stack: "flip" };
const folder = "/var/lib/flipflap/flip";
const ours = "1f2e3d4c of here";

const prepare = 'mount -t tmpfs none /var/lib && mkdir -p "$0" && printf "%s" "$1" >"$0/project" && exec dash -s';
const dash = (script: string) => spawnSync("unshare", ["-m", "sh", "-c", prepare, folder, ours], { input: script, encoding: "utf8" });

/** Says its name when it goes, and fails where it is told to. */
const entry = (name: string, { identity = [name], fails = false } = {}): GenerationEntry => ({
  type: "folder",
  name,
  identity,
  remove: fails ? sh`echo ${name} fails; false; echo not reached` : sh`echo ${name}`,
});

const put = (entries: readonly GenerationEntry[], verb = "ensure", project = ours): string => {
  const { text, hash } = generationFile(entries, owner);
  const script = verbScript(putGeneration(gzipSync(text).toString("base64"), project, owner), dropGeneration(hash, project), owner);
  return `(set -- ${verb}\n${script})\n`;
};
const notes = (entries: readonly GenerationEntry[]): NotedObject[] => notesOf(generationFile(entries, owner).text.split("\n"));
const owe = (objects: readonly NotedObject[]): string => `(${lockedScript(owner, putUnknown(objects))})\n`;
const leaves = `ls -A ${folder}`;
const hashOf = (entries: readonly GenerationEntry[]): string => generationFile(entries, owner).hash;
const lines = (text: string): string[] => text.split("\n").filter(Boolean);

describe("the note of what stands on a server", () => {
  const three = [entry("a"), entry("it's `b`"), entry("c-10.0.0.0/24")];

  it("says what there is, in the order in which it is made", () => {
    expect(notes(three).map(({ type, name }) => `${type} ${name}`)).toEqual(three.map(({ type, name }) => `${type} ${name}`));
  });

  it("takes all away, the last made first, or what is named", () => {
    const { stdout, stderr } = dash(
      `${put(three)}sh ${folder}/generation remove; echo --; sh ${folder}/generation remove a c-10.0.0.0/24 nobody`,
    );
    expect([lines(stdout), stderr]).toEqual([["c-10.0.0.0/24", "it's `b`", "a", "--", "c-10.0.0.0/24", "a"], ""]);
  });

  it("names what does not go, and takes the rest", () => {
    const { stdout, stderr, status } = dash(`${put([entry("a"), entry("b", { fails: true }), entry("c")])}sh ${folder}/generation remove`);
    expect([status, lines(stdout), stderr]).toEqual([1, ["c", "b fails", "a"], "b: not taken away\n"]);
  });

  it.each([
    ["whole", ":", ""],
    ["written by others", `chmod 666 ${folder}/generation`, "others than root may have written it"],
    ["cut off", `head -c 300 ${folder}/generation >${folder}/new; cat ${folder}/new >${folder}/generation`, "cut off, or was changed"],
    ["tampered with", `sed -i 's/echo a/echo evil/' ${folder}/generation`, "cut off, or was changed"],
    ["of another version", `sed -i '1s/1/2/' ${folder}/generation`, "another version of flipflap"],
  ])("knows a file that is %s", (_, change, complaint) => {
    const { stdout } = dash(`${put(three)}${change}\n${listNotes.text}\nlist_notes ${folder}`);
    const [note, ...more] = readNotes(stdout);
    expect(more).toEqual([]);
    expect(note).toMatchObject(
      complaint === ""
        ? { file: `${folder}/generation`, hash: hashOf(three), objects: notes(three) }
        : { hash: "", objects: [], trouble: expect.stringContaining(complaint) as string },
    );
  });

  it("takes away what one that was cut off made and the next does not declare as it was, before it is in place", () => {
    const cut = [entry("a"), entry("b"), entry("c", { identity: ["1"] }), entry("d")];
    const next = [entry("b"), entry("c", { identity: ["2"] })];
    const unknown = notes(cut).filter(({ name }) => name !== "a");
    const { stdout, stderr } = dash(`${put(cut)}${owe(unknown)}${put(next)}${leaves}; tail -n 1 ${folder}/generation`);
    const older = expect.stringMatching(/^generation\.[0-9a-f]{12}$/) as string;
    expect([lines(stdout), stderr]).toEqual([["d", "c", "generation", older, "project", `# ${hashOf(next)}`], ""]);
  });

  it("stays, with the one before it, where what is to go first does not, and where there is no room", () => {
    const cut = [entry("a", { fails: true }), entry("b")];
    const failed = dash(`${put(cut)}${owe(notes(cut))}${put([entry("c")])}${leaves}`);
    expect([lines(failed.stdout), failed.stderr]).toEqual([
      ["b", "a fails", ".generation", "generation", "generation.unknown", "project"],
      "a: not taken away\n",
    ]);
    const full = `mount -t tmpfs -o size=40k none ${folder}; printf '%s' '${ours}' >${folder}/project`;
    const many = Array.from({ length: 4000 }, (_, i) => entry(`object-${i}`));
    const { stdout, stderr } = dash(`${full}\n${put(three)}${put(many)}${leaves}; tail -n 1 ${folder}/generation`);
    expect([lines(stdout), stderr]).toEqual([["generation", "project", `# ${hashOf(three)}`], expect.stringContaining("no room in ")]);
  });

  it("goes with what only older ones know, and leaves another project's", () => {
    const cut = dash(`${put([entry("a"), entry("b")])}${put([entry("c")])}${put([entry("c")], "remove")}${leaves}`);
    expect([lines(cut.stdout), cut.stderr]).toEqual([["b", "a", "project"], ""]);
    const other = "another of there";
    const theirs = dash(`${put(three)}${put([entry("c")], "ensure", other)}${put(three, "remove", other)}${leaves}`);
    expect([lines(theirs.stdout), theirs.stderr]).toEqual([["generation", "project"], expect.stringContaining("of another project")]);
    const all = dash(`${put(three)}${owe(notes(three))}(${lockedScript(owner, dropAll(ours))})\nls -A /var/lib`);
    expect([lines(all.stdout), all.stderr]).toEqual([[], ""]);
  });

  it("asks dockerd first, where a container is among them: silence is no sign that it is gone", () => {
    const withContainer = [entry("a"), { ...entry("b"), remove: sh`docker rm b` }];
    const silent =
      'mkdir /var/lib/bin; printf "#!/bin/sh\\nexit 1\\n" >/var/lib/bin/docker; chmod +x /var/lib/bin/docker; PATH=/var/lib/bin:$PATH\n';
    const { stdout, stderr } = dash(`${silent}${put(withContainer)}sh ${folder}/generation remove`);
    expect([lines(stdout), stderr]).toEqual([[], expect.stringContaining("dockerd does not answer")]);
  });
});
