/** A container of ours as a check sees it; the docker provider makes it. */
import { type CheckableType, stackLabel } from "../objectType";
import { readOnce } from "../json";
import { sh } from "../sh";

export interface ContainerSpec {
  readonly container: string;
  readonly imageId: string;
  readonly memoryMiB?: number;
  readonly cpuShares?: number;
  readonly cpuSet?: string;
}

const linesByName = readOnce((output) => new Map(output.split("\n").map((line) => [line.split(" ")[0], line.split(" ")])));

export const container: CheckableType<ContainerSpec> = {
  type: "container",
  // All of the stack at once: a call of docker takes longer than all other checks together.
  check: (_, { stack }) => sh`
    docker ps -a -q --no-trunc --filter label=${`${stackLabel}=${stack}`} | xargs -r docker inspect -f \
      '{{.Name}} {{.State.Running}} {{.Image}} {{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.CpusetCpus}}'
  `,
  wanted: (spec) => ({
    running: true,
    image: spec.imageId,
    memoryMiB: spec.memoryMiB ?? 0,
    cpuShares: spec.cpuShares ?? 0,
    cpuSet: spec.cpuSet ?? "",
  }),
  found: (output, { container: name }) => {
    const [, running, image, memory, shares, cpuSet] = linesByName(output).get(`/${name}`) ?? [];
    if (image === undefined) return undefined;
    return { running: running === "true", image, memoryMiB: Number(memory) / 1024 / 1024, cpuShares: Number(shares), cpuSet: cpuSet ?? "" };
  },
};
