/** Where the agent's programs and maps outlive it: a folder of the stack's own in the server's bpffs. */
import type { ObjectType, Owner } from "../objectType";
import { sh } from "../sh";

export type ProgramsSpec = Readonly<Record<never, never>>;

export const bpffs = "/sys/fs/bpf";

/** The agent says the same (agent/bpf/load.go); bpffs takes no dots. */
export const pinsOf = ({ stack }: Owner): string => `${bpffs}/flipflap-${stack}`;

export const programs: ObjectType<ProgramsSpec> = {
  type: "programs",
  identity: () => [],
  ensure: () => sh`
    if ! grep -q ${` ${bpffs} bpf `} /proc/mounts; then save bpffs mounted; mount -t bpf bpf ${bpffs}; fi
  `,
  remove: (_, owner) => sh`
    if [ -d ${pinsOf(owner)} ]; then rm -rf ${pinsOf(owner)}; fi
    # Others may have come to use it; two files are the kernel's own.
    drop_bpffs() {
      if grep -q ${` ${bpffs} bpf `} /proc/mounts && [ -z "$(ls -A ${bpffs} | grep -vxE '(maps|progs)\\.debug')" ]; then umount ${bpffs}; fi
    }
    restore bpffs drop_bpffs
    # As flipflap of before called it where Cilium was the first to need it.
    restore cilium.bpffs drop_bpffs
    prune
  `,
  check: () => sh`if grep -q ${` ${bpffs} bpf `} /proc/mounts; then echo mounted; fi`,
  wanted: () => ({ mounted: true }),
  found: (output) => (output.trim() === "mounted" ? { mounted: true } : undefined),
};
