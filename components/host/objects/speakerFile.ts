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

/** Prints what the speaker shows, a section a command; one call of docker, which takes longer than the rest. */
export function askSpeaker(commands: Readonly<Record<string, string>>): Script {
  const lines = Object.entries(commands).map(([section, command]) => sh`echo ${`=== ${section}`}; vtysh -c ${command}`.text);
  return sh`docker exec ${ownContainers.speaker} sh -c ${lines.join("\n")} 2>/dev/null || :`;
}

export const speakerSections = { vnis: "show bgp l2vpn evpn vni json", sessions: "show bgp l2vpn evpn summary json" } as const;

/** The same for all that are checked by it, so that it is asked once. */
export const speakerCheck: Script = askSpeaker(speakerSections);

/** What `show bgp l2vpn evpn vni json` tells of each VN, by its number. */
export interface ShownVni {
  readonly rd?: string;
  readonly inKernel?: string;
  readonly importRTs?: readonly string[];
  readonly exportRTs?: readonly string[];
}

export function shownVni(vnis: string | undefined, vni: number): ShownVni | undefined {
  return (JSON.parse(vnis || "{}") as Readonly<Record<string, ShownVni>>)[vni];
}
