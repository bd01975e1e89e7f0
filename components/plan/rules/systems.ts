/** What a system is made of. */
import { isImageName } from "../../../images/images";
import type { Declaration } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import { oneOf } from "../../config/validate";

const files: Rule<Declaration> = {
  id: "file-content",
  check: ({ testbed }, report) => {
    const secrets = (testbed.secrets ?? []).map((secret) => secret.name);
    for (const system of testbed.systems) {
      for (const file of system.files ?? []) {
        const path = `systems.${system.name}.files.${file.path}`;
        if ((file.content === undefined) === (file.secret === undefined))
          report(path, "has content and secret, or neither", "give it one of the two");
        if (file.secret !== undefined && !secrets.includes(file.secret))
          report(path, `there is no secret "${file.secret}"`, oneOf(file.secret, secrets));
      }
    }
  },
};

const image: Rule<Declaration> = {
  id: "image",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      const name = system.image ?? "tools";
      if (!isImageName(name) && !name.endsWith(".tar"))
        report(
          `systems.${system.name}.image`,
          `"${name}" is neither an image of images/ nor an archive (.tar)`,
          "name one of images/images.ts, or the path of an archive made by docker save",
        );
    }
  },
};

const environment: Rule<Declaration> = {
  id: "env-name",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems)
      for (const name of Object.keys(system.env ?? {}))
        if (!/^[^=\s\p{Cc}]+$/u.test(name))
          report(`systems.${system.name}.env.${JSON.stringify(name)}`, "is no name of a variable", "leave out = and blanks");
  },
};

export const systemRules: readonly Rule<Declaration>[] = [files, image, environment];
