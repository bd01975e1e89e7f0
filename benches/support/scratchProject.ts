/** A project of a test or bench: stack files and testbeds to edit, the code by links. Its lab and state are its own too. */
import { spawn } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pulumiEnvironment } from "../../deploy/pulumi";
import { type Finished, tryRun } from "../../support/process";
import { codeRoot } from "../../support/project";

const links = ["index.ts", "components", "images", "lab", "support", "setup", "cli", "node_modules", "package.json", "tsconfig.json"];

export class Project {
  /** Hears what each command took. */
  static onFinished: (words: readonly string[], seconds: number) => void = () => undefined;

  constructor(readonly root: string) {}

  /** The same in every run, so that what a killed run left behind is found. */
  static folder(name: string): string {
    return join(tmpdir(), `flipflap-test-${name}`);
  }

  static make(name: string): Project {
    const root = Project.folder(name);
    rmSync(root, { recursive: true, force: true });
    mkdirSync(root, { recursive: true });
    for (const entry of links) symlinkSync(join(codeRoot, entry), join(root, entry));
    for (const file of ["Pulumi.yaml", "Pulumi.flip.yaml", "Pulumi.flap.yaml"]) copyFileSync(join(codeRoot, file), join(root, file));
    for (const folder of ["testbeds", "policies"]) cpSync(join(codeRoot, folder), join(root, folder), { recursive: true });
    return new Project(root);
  }

  static original(file: string): string {
    return readFileSync(join(codeRoot, file), "utf8");
  }

  read(file: string): string {
    return readFileSync(join(this.root, file), "utf8");
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.root, file), text);
  }

  /** Fails where there is nothing to replace: an edit that edits nothing proves nothing. */
  edit(file: string, from: string | RegExp, to: string): void {
    const before = this.read(file);
    const after = before.replace(from, to);
    if (after === before) throw new Error(`${file}: nothing matches ${String(from)}`);
    this.write(file, after);
  }

  /** The stack files as they are shipped, but for the testbed. */
  use(testbed: string): void {
    for (const stack of ["flip", "flap"])
      this.write(`Pulumi.${stack}.yaml`, Project.original(`Pulumi.${stack}.yaml`).replace("testbed: bridge", `testbed: ${testbed}`));
  }

  private get environment(): NodeJS.ProcessEnv {
    return { ...pulumiEnvironment(this.root), CI: "true" };
  }

  flipflap(...words: string[]): Promise<Finished> {
    return this.timed(["flipflap", ...words], [join(codeRoot, "bin", "flipflap"), ...words]);
  }

  /** One that goes on beside the test, to be disturbed. */
  start(...words: string[]): { readonly pid: number | undefined; readonly ended: Promise<void> } {
    const child = spawn(join(codeRoot, "bin", "flipflap"), words, { cwd: this.root, env: this.environment, stdio: "ignore" });
    return { pid: child.pid, ended: new Promise((resolve) => child.once("close", () => resolve())) };
  }

  pulumi(...words: string[]): Promise<Finished> {
    return this.timed(["pulumi", ...words], ["pulumi", ...words, "--non-interactive", "--color", "never"]);
  }

  private async timed(words: readonly string[], command: readonly string[]): Promise<Finished> {
    const begin = performance.now();
    const finished = await tryRun(command, { cwd: this.root, env: this.environment });
    Project.onFinished(words, (performance.now() - begin) / 1000);
    return finished;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** For commands that must succeed: the failure says what the command said. */
export function succeeded(finished: Finished): string {
  if (finished.code !== 0) throw new Error(`exit ${finished.code}\n${finished.stdout}\n${finished.stderr}`);
  return finished.stdout;
}
