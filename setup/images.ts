/** The images that a testbed uses, built where they are not there yet. */
import type { Declaration } from "../components/config/declaration";
import { planServer } from "../components/plan/plan";
import { buildImage } from "../images/build";
import { builtImage } from "../images/cache";
import { type ImageName, imageDefinition, images, isImageName } from "../images/images";
import { StepError, step } from "../support/progress";

export function imagesOf(declaration: Declaration): ImageName[] {
  const names = declaration.servers.flatMap((server) => planServer(declaration, server).images);
  return [...new Set(names)].filter(isImageName);
}

export const allImages = Object.keys(images) as ImageName[];

/** One after the other: they share the base and the machine's cores. */
export async function ensureImages(names: readonly ImageName[]): Promise<void> {
  for (const name of names) {
    if (builtImage(name) !== undefined) continue;
    const title = `image ${name} (${imageDefinition(name).purpose})`;
    await step(title, () =>
      buildImage(name).catch((error: Error) => {
        throw new StepError(
          title,
          error.message,
          "Mend what it says (a mirror in apt's sources, the Go module proxy, disk space), then run this again.",
        );
      }),
    );
  }
}
