/** Imports go down only, as docs/architecture.md says, and no code is without a floor. */
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { codeRoot } from "../../support/project";
import { endings, readFloors, wrongImports } from "../support/floors";

const notOurs = new Set(["node_modules", "results", "build"]);

/** The programs below a folder, by their paths from the root; what lies there itself are settings of tools, but for the program. */
function sources(folder = ""): [string, string][] {
  return readdirSync(join(codeRoot, folder), { withFileTypes: true }).flatMap((entry): [string, string][] => {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory()) return notOurs.has(entry.name) || entry.name.startsWith(".") ? [] : sources(`${path}/`);
    return endings.some((ending) => path.endsWith(ending)) && (path.includes("/") || path === "index.ts")
      ? [[path, readFileSync(join(codeRoot, path), "utf8")]]
      : [];
  });
}

const floors = readFloors(readFileSync(join(codeRoot, "docs", "architecture.md"), "utf8"));

describe("the floors of docs/architecture.md", () => {
  it("are kept by every import", () => {
    expect(wrongImports(new Map(sources()), floors)).toEqual([]);
  });

  it("are all there", () => {
    expect(floors.length).toBeGreaterThan(10);
    for (const { path } of floors.filter((floor) => !floor.path.includes("*"))) {
      const full = join(codeRoot, path);
      expect([path, existsSync(full) && statSync(full).isDirectory() === path.endsWith("/")]).toEqual([path, true]);
    }
  });
});

describe("the test of floors", () => {
  const table = (...rows: string[]): string =>
    ["| folder | holds | may use |", "|---|---|---|", ...rows, "", "| `other` | table |"].join("\n");
  const small = readFloors(
    table("| `top/` | x | Pulumi |", "| `kinds/*/` | x | nothing |", "| `kinds/` | x | nothing |", "| `low/` | x | Node |"),
  );
  const wrong = (files: Record<string, string>): string[] => wrongImports(new Map(Object.entries(files)), small);

  it("lets what goes down pass", () => {
    expect(
      wrong({
        "top/a.ts": 'import type { B } from "../kinds/red/b";\nimport * as pulumi from "@pulumi/pulumi";',
        "kinds/red/b.ts": 'import { kind } from "../kind";\nimport { low } from "../../low";\nimport { createHash } from "node:crypto";',
        "kinds/kind.ts": "",
        "low/index.ts": 'import { readFileSync } from "node:fs";',
      }),
    ).toEqual([]);
  });

  it("finds an arrow that goes up, a type's and one of an import() too", () => {
    expect(wrong({ "low/a.ts": 'import type { B } from "../top/b";', "top/b.ts": "" })).toEqual([
      "low/a.ts imports top/b.ts: low/ stands below or beside top/",
    ]);
    expect(wrong({ "low/a.ts": 'void import("../top/b");', "top/b.ts": "" })).toHaveLength(1);
    expect(wrong({ "low/a.ts": 'export { b } from "../top/b";', "top/b.ts": "" })).toHaveLength(1);
    expect(wrong({ "low/a.cjs": 'const b = require("../top/b");', "top/b.ts": "" })).toHaveLength(1);
    expect(wrong({ "low/a.ts": 'const quote = /"`/;\nimport type { B } from "../top/b";', "top/b.ts": "" })).toHaveLength(1);
    expect(wrong({ "low/a.ts": 'type B = import("../top/b").B;', "top/b.ts": "" })).toHaveLength(1);
  });

  it("finds a kind that knows another", () => {
    expect(wrong({ "kinds/red/a.ts": 'import { b } from "../blue/b";', "kinds/blue/b.ts": "" })).toEqual([
      "kinds/red/a.ts imports kinds/blue/b.ts: kinds/red/ stands below or beside kinds/blue/",
    ]);
  });

  it("takes no table for one that it cannot read whole", () => {
    expect(() => readFloors(table("| `low/` | x | Pulumi, Node |"))).toThrow("no row of the table of floors");
    expect(readFloors(table("| `low/` | x | Node |  "))).toEqual([{ path: "low/", mayUse: "Node" }]);
  });

  it("finds a circle within a folder", () => {
    expect(wrong({ "low/a.ts": 'import { b } from "./b";', "low/b.ts": 'import type { a } from "./a";' })).toEqual([
      "a circle: low/a.ts -> low/b.ts -> low/a.ts",
    ]);
  });

  it("finds a package that a folder may not use, and a file on no floor", () => {
    expect(wrong({ "low/a.ts": 'import * as pulumi from "@pulumi/pulumi";' })).toEqual([
      "low/a.ts imports @pulumi/pulumi; its folder may use Node, not Pulumi",
    ]);
    expect(wrong({ "kinds/a.ts": 'import { readFileSync } from "node:fs";' })).toHaveLength(1);
    expect(wrong({ "new/a.ts": "" })).toEqual(["new/a.ts is on no floor; give its folder a row in docs/architecture.md"]);
  });
});
