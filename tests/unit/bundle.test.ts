/** Programs start from one bundled, compiled file: an edit counts at once, and a broken file of ours harms nobody. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { run, sleep } from "../../support/process";
import { codeRoot } from "../../support/project";

const start = "support/start";
const root = mkdtempSync(join(tmpdir(), "flipflap-bundle-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
for (const folder of ["cli", "components/config", start]) mkdirSync(join(root, folder), { recursive: true });
for (const file of ["bundle.cjs", "makeBundle.mjs", "late.cjs"]) cpSync(join(codeRoot, start, file), join(root, start, file));
symlinkSync(join(codeRoot, "node_modules"), join(root, "node_modules"));

const write = (file: string, text: string): void => writeFileSync(join(root, file), text);
const say = async (): Promise<string> =>
  (await run(["node", "-e", 'require("./support/start/bundle.cjs").load("cli")'], { cwd: root })).trim();
const newest = (end: string): string =>
  readdirSync(join(root, ".flipflap"))
    .filter((file) => file.endsWith(end))
    .map((file) => join(root, ".flipflap", file))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0] ?? "";

describe("a program of ours", () => {
  it("is what its sources are now, with its schemas compiled", async () => {
    write("cli/word.ts", 'export const word: string = "one";');
    write("components/config/schema.json", '{ "type": "string", "minLength": 4 }');
    write(
      "components/config/validators.ts",
      'import Ajv from "ajv";\nimport schema from "./schema.json";\nexport const ajv = new Ajv({ code: { source: true } });\najv.addSchema(schema, "word");\nexport const refs = { isWord: "word" };\nexport const isWord = ajv.getSchema("word");',
    );
    write(
      "cli/main.ts",
      'import { isWord } from "../components/config/validators";\nimport { word } from "./word";\nconsole.log(word, isWord(word));',
    );
    expect(await say()).toBe("one false");
    expect(await say()).toBe("one false");
    write("cli/word.ts", 'export const word: string = "three";');
    expect(await say()).toBe("three true");
    write("components/config/schema.json", '{ "type": "string", "minLength": 9 }');
    expect(await say()).toBe("three false");
  });

  it("takes in an edit that is made while it is bundled", async () => {
    for (const [i, milliseconds] of [50, 150, 250, 350].entries()) {
      write("cli/word.ts", `export const word: string = "before ${i}";`);
      const during = say();
      await sleep(milliseconds);
      write("cli/word.ts", `export const word: string = "after ${i}";`);
      await during;
      expect(await say()).toBe(`after ${i} false`);
    }
  });

  it("starts when several start at once", async () => {
    write("cli/word.ts", 'export const word: string = "four";');
    expect(await Promise.all([say(), say(), say()])).toEqual(["four false", "four false", "four false"]);
  });

  it("is made anew where its file is cut off, and compiled anew where that file is broken anywhere", async () => {
    write("cli/word.ts", 'export const word: string = "five";');
    expect(await say()).toBe("five false");
    const files = [".js", ".v8"].map((end) => newest(end));
    for (const file of files) {
      const whole = readFileSync(file);
      const middle = Buffer.from(whole);
      for (let i = 0; i < 64; i++) middle[Math.floor(whole.length / 2) + i]! ^= 0xff;
      for (const broken of [Buffer.alloc(0), whole.subarray(0, 100), whole.subarray(0, whole.length / 2), middle, Buffer.from("no code")]) {
        writeFileSync(file, broken);
        expect(await say()).toBe("five false");
        expect(readFileSync(file).length).toBeGreaterThan(whole.length / 2);
      }
    }
  });

  it("names the line where its sources cannot be bundled", async () => {
    write("cli/word.ts", 'export const word: string = "five');
    await expect(say()).rejects.toThrow(/cli: could not be bundled[\s\S]*cli\/word\.ts:1/);
  });
});
