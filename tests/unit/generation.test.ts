/** The note of what stands on a server, as dash runs it there, with a /var/lib of its own. */
import { spawnSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import {
  dropGeneration,
  generationFile,
  notesOf,
  oweScript,
  putGeneration,
  wholeGeneration,
} from "../../components/host/objects/generation";
import { lockedScript, verbScript } from "../../components/host/script";
import { Script, sh } from "../../components/host/sh";

const owner = { stack: "flip" };
const folder = "/var/lib/flipflap/flip";

const dash = (script: string) =>
  spawnSync("unshare", ["-m", "sh", "-c", 'mount -t tmpfs none /var/lib && mkdir -p "$0" && exec dash -s', folder], {
    input: script,
    encoding: "utf8",
  });

/** Says its name when it goes, and fails where it is told to. */
const entry = (name: string, { identity = [name], fails = false } = {}) => ({
  type: "folder",
  name,
  identity,
  remove: fails ? sh`echo ${name} fails; false; echo not reached` : sh`echo ${name}`,
});

const put = (entries: Parameters<typeof generationFile>[0], verb = "ensure"): string =>
  `(set -- ${verb}\n${verbScript(putGeneration(gzipSync(generationFile(entries, owner).text).toString("base64")), dropGeneration, owner)})\n`;

const lines = (text: string): string[] => text.split("\n").filter(Boolean);

describe("the note of what stands on a server", () => {
  const three = [entry("a"), entry("it's `b`"), entry("c-10.0.0.0/24")];

  it("says what there is, in the order in which it is made", () => {
    expect(notesOf(generationFile(three, owner).text.split("\n")).map(({ type, name }) => `${type} ${name}`)).toEqual(
      three.map(({ type, name }) => `${type} ${name}`),
    );
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
    const { stdout, stderr } = dash(`${put(three)}${change}\n${wholeGeneration.text}\nwhole_generation ${folder}/generation || :`);
    expect([stdout.trim() === generationFile(three, owner).hash, stderr]).toEqual([
      complaint === "",
      complaint === "" ? "" : expect.stringContaining(complaint),
    ]);
  });

  it("takes away what one that was cut off made and the next does not declare as it was, before it is in place", () => {
    const cut = generationFile([entry("a"), entry("b"), entry("c", { identity: ["1"] }), entry("d")], owner);
    const unknown = notesOf(cut.text.split("\n")).filter(({ name }) => name !== "a");
    const next = put([entry("b"), entry("c", { identity: ["2"] })]);
    const { stdout, stderr } = dash(
      `${put([entry("a"), entry("b"), entry("c", { identity: ["1"] }), entry("d")])}(${lockedScript(owner, oweScript(unknown, owner))})\n${next}ls ${folder}; tail -n 1 ${folder}/generation`,
    );
    const { hash } = generationFile([entry("b"), entry("c", { identity: ["2"] })], owner);
    expect([lines(stdout), stderr]).toEqual([["d", "c", "generation", `# ${hash}`], ""]);
  });

  it("leaves the one before in place where there is no room, and nothing at the end", () => {
    const full = new Script(`mount -t tmpfs -o size=40k none ${folder}; head -c 8k /dev/zero >${folder}/small`).text;
    const many = Array.from({ length: 4000 }, (_, i) => entry(`object-${i}`));
    const { stdout, stderr } = dash(
      `${full}\n${put(three)}${put(many)}tail -n 1 ${folder}/generation; rm ${folder}/small; ${put(three, "remove")}ls -A ${folder}`,
    );
    expect([lines(stdout), stderr]).toEqual([[`# ${generationFile(three, owner).hash}`], expect.stringMatching(/No space left/)]);
  });
});
