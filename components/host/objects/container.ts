/** A container of ours as a check sees it; the docker provider makes it. */
import type { CheckableType } from "../objectType";
import { sh } from "../sh";

export interface ContainerSpec {
  readonly container: string;
  readonly imageId: string;
}

export const container: CheckableType<ContainerSpec> = {
  type: "container",
  check: (spec) => sh`docker inspect -f '{{.State.Running}} {{.Image}}' ${spec.container} 2>/dev/null || :`,
  wanted: (spec) => ({ running: true, image: spec.imageId }),
  found: (output) => {
    const [running, image] = output.trim().split(" ");
    return image === undefined ? undefined : { running: running === "true", image };
  },
};
