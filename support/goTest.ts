/** The agent's tests as a program, and the BPF object that they run: for tests and for benches. */
import { join } from "node:path";
import { goCommand } from "../setup/go";
import { run } from "./process";
import { codeRoot } from "./project";

export async function buildIlaTest(folder: string): Promise<{ test: string; object: string }> {
  const [test, object] = [join(folder, "ila.test"), join(folder, "ila.bpf.o")];
  await run(["make", "-s", "-C", join(codeRoot, "bpf"), `OUT=${folder}`, object]);
  await run([...(await goCommand()), "test", "-c", "-o", test, "./ila"], {
    cwd: join(codeRoot, "agent"),
    env: { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false", CGO_ENABLED: "0" },
  });
  return { test, object };
}
