/** Which lab tests a change makes run. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { allKinds } from "../../components/kinds/registry";
import { chooseTests, scopeOf } from "../support/changed";

const textsOf = (folder: string, ending: string): [string, string][] =>
  readdirSync(folder)
    .filter((leaf) => leaf.endsWith(ending))
    .map((leaf) => [leaf.slice(0, -ending.length), readFileSync(`${folder}/${leaf}`, "utf8")]);
const lab = ["tests/lab", "tests/guest"].flatMap((folder) =>
  textsOf(folder, ".test.ts").map(([name, text]) => ({ file: `${folder}/${name}.test.ts`, text })),
);
const testbeds = new Map(textsOf("testbeds", ".yaml"));
const chosen = (...files: string[]): string[] =>
  chooseTests(files, lab, testbeds).run.map((file) => file.replace(/^tests\/(?:lab\/(\d+)-.*|(guest\/.*)\.test\.ts)/, "$1$2"));

describe("npm test -- --changed", () => {
  it("runs all lab tests where any of them may break", () => {
    for (const file of ["components/host/script.ts", "agent/attach.go", "lab/lab.ts", "package.json", "images/find.ts", "deploy/pulumi.ts"])
      expect([file, chosen(file).length]).toEqual([file, lab.length]);
  });

  it("runs none for words and fast tests", () => {
    expect(chosen("README.md", "docs/figures.md", "tests/unit/net.test.ts")).toEqual([]);
  });

  it("runs for a kind what says that it uses it", () => {
    expect(chosen("components/kinds/swarm/swarm.ts")).toEqual(expect.arrayContaining(["13", "21", "22"]));
    expect(chosen("components/kinds/swarm/swarm.ts")).not.toContain("16");
    expect(chosen("components/kinds/macvlan/macvlan.ts")).toEqual(expect.arrayContaining(["16", "21", "22"]));
    expect(chosen("components/kinds/macvlan/macvlan.ts")).not.toContain("05");
    expect(chosen("bpf/ila.bpf.c")).toEqual(expect.arrayContaining(["11", "guest/ila"]));
    expect(chosen("components/capabilities/vpn/swanctl.ts")).toEqual(expect.arrayContaining(["15", "guest/vpn"]));
    expect(chosen("testbeds/netns.yaml")).toEqual(expect.arrayContaining(["07"]));
    expect(chosen("testbeds/netns.yaml")).not.toContain("05");
    expect(chosen("experiments/run.ts")).toContain("10");
    expect(chosen("tests/lab/05-evpn.test.ts")).toEqual(["05"]);
  });

  it("knows the folder of every kind, and leaves none untested", () => {
    for (const { kind } of allKinds) {
      expect(scopeOf(`components/kinds/${kind}/${kind}.ts`)).toEqual({ kind });
      expect([kind, chosen(`components/kinds/${kind}/${kind}.ts`).length]).not.toEqual([kind, 0]);
    }
  });
});
