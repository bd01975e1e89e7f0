/** env.sh of several checkouts, one after the other in one shell. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeRoot } from "../../support/project";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "flipflap-env-")));
const [one, other] = [join(folder, "one"), join(folder, "other")];
const { PATH, HOME } = process.env;

function shell(program: string, script: string): string {
  const finished = spawnSync(program, ["-c", script], { cwd: one, env: { PATH, HOME }, encoding: "utf8" });
  return `${finished.stdout}${finished.stderr}`.trim();
}

describe("env.sh", () => {
  beforeAll(() => {
    for (const clone of [one, other]) {
      mkdirSync(join(clone, "bin"), { recursive: true });
      copyFileSync(join(codeRoot, "env.sh"), join(clone, "env.sh"));
      writeFileSync(join(clone, "Pulumi.yaml"), "");
      writeFileSync(join(clone, "bin", "flipflap"), "");
    }
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const show = "echo $FLIPFLAP_ROOT $PULUMI_BACKEND_URL; echo $PATH | cut -d: -f1";
  const of = (root: string): string => `${root} file://${root}/.flipflap/state?metadata=skip\n${root}/bin`;

  it.each(["bash", "dash"])("of a second checkout is about the second, in %s", (program) => {
    expect(shell(program, `cd ${one}; . ./env.sh; ${show}`)).toBe(of(one));
    expect(shell(program, `cd ${one}; . ./env.sh; cd ${other}; . ./env.sh; ${show}`)).toBe(of(other));
    expect(shell(program, `cd ${one}; . ./env.sh; cd ${other}; . ./env.sh; cd ${one}; . ./env.sh; . ./env.sh; ${show}`)).toBe(of(one));
    // As npm run does it, in a process of its own.
    expect(shell(program, `cd ${one}; . ./env.sh; cd ${other}; ${program} -c '. ./env.sh; ${show}'`)).toBe(of(other));
  });

  it("leaves a root that somebody named", () => {
    expect(shell("bash", `export FLIPFLAP_ROOT=${other}; . ./env.sh; . ./env.sh; echo $FLIPFLAP_ROOT`)).toBe(other);
  });

  it("of one checkout is not taken for another that one goes into", () => {
    const ask = `node --import ${codeRoot}/node_modules/tsx/dist/loader.mjs -e 'try { console.log(require("${codeRoot}/support/project.ts").projectRoot()) } catch (error) { console.log(error.message) }'`;
    expect(shell("bash", `. ./env.sh; ${ask}`)).toBe(one);
    expect(shell("bash", `. ./env.sh; cd ${other}; ${ask}`)).toBe(
      `this shell works on ${one}, whose env.sh it read, and you are in ${other}: source env.sh here, or go there`,
    );
    expect(shell("bash", `. ./env.sh; cd ${folder}; ${ask}`)).toBe(one);
    expect(shell("bash", `. ./env.sh; export FLIPFLAP_ROOT=${other}; ${ask}`)).toBe(other);
  });
});
