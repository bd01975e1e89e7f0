/** An image as a check sees it; a local command loads it. */
import type { CheckableType } from "../objectType";
import { sh } from "../sh";

export interface ImageSpec {
  readonly imageId: string;
}

export const image: CheckableType<ImageSpec> = {
  type: "image",
  // All of the server at once.
  check: () => sh`docker images -q --no-trunc`,
  wanted: () => ({ present: true }),
  found: (output, { imageId }) => (output.split("\n").includes(imageId) ? { present: true } : undefined),
};
