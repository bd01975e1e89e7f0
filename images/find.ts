/** The image that a name stands for: one of images/, or an archive of the project. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { archiveIdentity } from "./archive";
import { builtImage, touchArchive } from "./cache";
import { isImageName } from "./images";

export interface ImageSource {
  readonly name: string;
  /** Relative to the project where it is the user's, else in the cache. */
  readonly archive: string;
  readonly id: string;
  readonly tag: string;
}

export function findImage(root: string, name: string): ImageSource {
  if (isImageName(name)) {
    const built = builtImage(name);
    if (built === undefined) throw new Error(`images.${name}: is not built yet; run npm run setup (or npm run up)`);
    touchArchive(built.archive);
    return { name, ...built };
  }
  const path = join(root, name);
  if (!existsSync(path)) throw new Error(`${name}: there is no such image archive; make it with docker save -o ${name} IMAGE`);
  return { name, archive: path, ...archiveIdentity(path) };
}
