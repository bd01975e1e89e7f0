import { execFileSync } from "node:child_process";

let architecture: string | undefined;

/** Debian's word for this machine's architecture. */
export function debianArchitecture(): string {
  architecture ??= execFileSync("dpkg", ["--print-architecture"], { encoding: "utf8" }).trim();
  return architecture;
}
