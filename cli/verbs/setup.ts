import { allImages, ensureImages } from "../../setup/images";
import { ensureToolchain } from "../../setup/toolchain";
import type { Verb } from "../verb";

export const setup: Verb = {
  name: "setup",
  words: "",
  summary: "make what is missing on this machine: toolchain, plugins, images",
  details: `
npm run setup does the same, system and npm packages first. npm run up does it by itself, for the images
that the testbed uses; this makes all images.

FLIPFLAP_TOOLCHAIN=vendor takes Pulumi from its vendor's installer, where that can be reached.`,
  options: {},
  run: async () => {
    await Promise.all([ensureToolchain(), ensureImages(allImages)]);
    return 0;
  },
};
