/** Configuration of a server's BGP speaker that changes while it runs: a file that it reads at its start, told to it at once as well. */
import { ownContainers } from "../../net/names";
import { type Script, sh } from "../sh";

export const tellSpeaker: Script = sh`tell() { docker exec ${ownContainers.speaker} vtysh "$@"; }`;

/** The first line says whose the file is: what was renamed has the numbers of what goes. */
const markLine = (mark: string): string => `! ${mark}`;

/** Needs tellSpeaker. */
export function giveToSpeaker(file: string, lines: readonly string[], mark: string): Script {
  return sh`
    file="$folder/speaker/"${file}
    printf '%s\n' ${[markLine(mark), ...lines].join("\n")} >"$file.new"
    mv "$file.new" "$file"
    left=100
    until tell -c 'show bgp summary' >/dev/null 2>&1; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || fail "the BGP speaker does not answer: docker logs "${ownContainers.speaker}
      sleep 0.1
    done
    said=$(tell -f ${`/vni/${file}`} 2>&1) || fail "the BGP speaker refuses $file: $said"
  `;
}

/** Takes the file away, and by `words` what was told; does nothing where the file is another's by now. Needs tellSpeaker. */
export function takeFromSpeaker(file: string, words: readonly string[], mark: string): Script {
  return sh`
    file="$folder/speaker/"${file}
    if [ -e "$file" ] && [ "$(head -n 1 "$file")" = ${markLine(mark)} ]; then
      rm -f "$file"
      if [ "$(docker inspect -f '{{.State.Running}}' ${ownContainers.speaker} 2>/dev/null)" = true ]; then
        tell -c 'configure terminal' ${words.flatMap((word) => ["-c", word])} >/dev/null 2>&1 || :
      fi
    fi
  `;
}

/** What `show bgp l2vpn evpn vni N json` tells. */
export interface ShownVni {
  readonly rd?: string;
  readonly inKernel?: string;
  readonly importRts?: readonly string[];
  readonly exportRts?: readonly string[];
}
