/** Services that disturb measurements, stopped where they run. A server without systemd has none. */
import { sections } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface ServicesSpec {
  readonly stopped: readonly string[];
}

export const services: ObjectType<ServicesSpec> = {
  type: "services",
  identity: () => [],
  ensure: ({ stopped }) => sh`
    set -- ${[...stopped]}
    start() { systemctl start "$1"; }
    for file in "$folder/saved/service."*; do
      [ -e "$file" ] || continue
      name=$(basename "$file"); name=\${name#service.}
      for kept in "$@"; do [ "$kept" != "$name" ] || continue 2; done
      restore "service.$name" start
    done
    for name in "$@"; do
      if [ -d /run/systemd/system ] && systemctl is-active --quiet "$name"; then
        save "service.$name" "$name"
        systemctl stop "$name"
      fi
    done
  `,
  remove: () => sh`
    start() { systemctl start "$1"; }
    for file in "$folder/saved/service."*; do
      [ ! -e "$file" ] || { name=$(basename "$file"); restore "$name" start; }
    done
  `,
  check: ({ stopped }) => sh`
    for name in ${[...stopped]}; do
      echo "=== $name"
      if [ -d /run/systemd/system ] && systemctl is-active --quiet "$name"; then echo running; else echo stopped; fi
    done
  `,
  wanted: ({ stopped }) => Object.fromEntries(stopped.map((name) => [name, "stopped"])),
  found: (output) => Object.fromEntries(sections(output)),
};
