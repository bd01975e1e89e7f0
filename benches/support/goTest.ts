/** The agent's tests as programs, and the BPF object that some of them run: for tests and for benches. */
import { basename, join } from "node:path";
import { run } from "../../support/process";
import { codeRoot } from "../../support/project";
import { goCommand } from "../../toolchain/go";

/** The tests of one of the agent's packages, by its folder: "." for itself. */
export async function buildGoTest(folder: string, name: string): Promise<string> {
  const test = join(folder, `${name === "." ? "agent" : basename(name)}.test`);
  await run([...(await goCommand()), "test", "-c", "-o", test, name === "." ? "." : `./${name}`], {
    cwd: join(codeRoot, "agent"),
    env: { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false", CGO_ENABLED: "0" },
  });
  return test;
}

/** The tests of a package, and the object of bpf/ that they run. */
export async function buildProgramTest(folder: string, tested: string, object: string): Promise<{ test: string; object: string }> {
  const built = join(folder, `${object}.bpf.o`);
  await run(["make", "-s", "-C", join(codeRoot, "bpf"), `OUT=${folder}`, built]);
  return { test: await buildGoTest(folder, tested), object: built };
}
