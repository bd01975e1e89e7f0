/** A program of an image, to be run on this machine. */
import { execFileSync } from "node:child_process";
import { existsSync, renameSync } from "node:fs";
import { readFromTar } from "./archive";
import { builtImage, programOf } from "./cache";
import type { ImageName } from "./images";

/** Before the first setup there is none. */
export const hasImageProgram = (name: ImageName): boolean => builtImage(name) !== undefined;

/** The path of a program that an image has in its root folder: taken out of the archive once. */
export function imageProgram(name: ImageName): string {
  const built = builtImage(name);
  if (built === undefined) throw new Error(`images.${name}: is not built yet; run npm run setup (or npm run up)`);
  const program = programOf(name);
  if (existsSync(program)) return program;
  const [manifest] = JSON.parse(readFromTar(built.archive, "manifest.json") ?? "[]") as { Layers: string[] }[];
  const part = `${program}.${process.pid}`;
  const script = `
    for layer in "$@"; do
      if tar -xOf "$archive" "./$layer" | tar -xOf - "./$name" >"$part" 2>/dev/null; then chmod 755 "$part"; exit 0; fi
    done
    rm -f "$part"; exit 1`;
  const env = { ...process.env, archive: built.archive, name, part };
  execFileSync("sh", ["-c", script, "sh", ...(manifest?.Layers ?? [])], { env });
  renameSync(part, program);
  return program;
}
