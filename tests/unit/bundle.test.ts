/** Programs start from one bundled, compiled file: an edit counts at once, and a broken file of ours harms nobody. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { run } from "../../support/process";
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
const made = (end: string): string[] => readdirSync(join(root, ".flipflap")).filter((file) => file.endsWith(end));

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
    expect([made(".js").length, made(".v8").length]).toEqual([1, 1]);
    write("cli/word.ts", 'export const word: string = "three";');
    expect(await say()).toBe("three true");
    write("components/config/schema.json", '{ "type": "string", "minLength": 9 }');
    expect(await say()).toBe("three false");
    expect([made(".js").length, made(".v8").length]).toEqual([1, 1]);
  });

  it("starts when several start at once, and with a compiled file that is cut off, or another's", async () => {
    write("cli/word.ts", 'export const word: string = "four";');
    expect(await Promise.all([say(), say(), say()])).toEqual(["four false", "four false", "four false"]);
    const [compiled = ""] = made(".v8");
    truncateSync(join(root, ".flipflap", compiled), 100);
    expect(await say()).toBe("four false");
    write(`.flipflap/${compiled}`, "no code");
    expect(await say()).toBe("four false");
    expect(made(".v8")).toEqual([compiled]);
  });

  it("names the line where its sources cannot be bundled", async () => {
    write("cli/word.ts", 'export const word: string = "five');
    await expect(say()).rejects.toThrow(/cli: could not be bundled[\s\S]*cli\/word\.ts:1/);
  });
});
