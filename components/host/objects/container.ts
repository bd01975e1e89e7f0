/** A container of ours as a check sees it; the docker provider makes it. */
import type { CheckableType } from "../objectType";
import { sh } from "../sh";

export interface ContainerSpec {
  readonly container: string;
  readonly imageId: string;
  readonly memoryMiB?: number;
  readonly cpuShares?: number;
  readonly cpuSet?: string;
}

export const container: CheckableType<ContainerSpec> = {
  type: "container",
  check: (spec) =>
    sh`docker inspect -f '{{.State.Running}} {{.Image}} {{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.CpusetCpus}}' ${spec.container} 2>/dev/null || :`,
  wanted: (spec) => ({
    running: true,
    image: spec.imageId,
    memoryMiB: spec.memoryMiB ?? 0,
    cpuShares: spec.cpuShares ?? 0,
    cpuSet: spec.cpuSet ?? "",
  }),
  found: (output) => {
    const [running, image, memory, shares, cpuSet] = output.trim().split(" ");
    if (image === undefined) return undefined;
    return { running: running === "true", image, memoryMiB: Number(memory) / 1024 / 1024, cpuShares: Number(shares), cpuSet: cpuSet ?? "" };
  },
};
