/** What a server's BGP speaker knows of a VN: route distinguisher and targets. A file that it reads at its start, told to it at once as well. */
import { ownContainers } from "../../net/names";
import { type ObjectType, ownerMark } from "../objectType";
import { type Script, sh } from "../sh";

export interface SpeakerVniSpec {
  readonly vni: number;
  readonly asn: number;
  readonly routeDistinguisher: string;
  readonly routeTarget: string;
}

interface ShownVni {
  readonly rd?: string;
  readonly inKernel?: string;
  readonly importRts?: readonly string[];
  readonly exportRts?: readonly string[];
}

export const tellSpeaker: Script = sh`tell() { docker exec ${ownContainers.speaker} vtysh "$@"; }`;

/** The first line says whose the file is: a network that was renamed has the VNID of one that goes. */
const markLine = (mark: string): string => `! ${mark}`;

function lines(spec: SpeakerVniSpec, mark: string): string {
  return [
    markLine(mark),
    `router bgp ${spec.asn}`,
    " address-family l2vpn evpn",
    `  vni ${spec.vni}`,
    `   rd ${spec.routeDistinguisher}`,
    `   route-target import ${spec.routeTarget}`,
    `   route-target export ${spec.routeTarget}`,
    "  exit-vni",
    " exit-address-family",
    "exit",
  ].join("\n");
}

const file = (spec: SpeakerVniSpec): string => `${spec.vni}.conf`;

export const speakerVni: ObjectType<SpeakerVniSpec> = {
  type: "speakerVni",
  identity: (spec) => [String(spec.vni), String(spec.asn)],
  ensure: (spec, owner, name) => sh`
    file="$folder/speaker/"${file(spec)}
    printf '%s\n' ${lines(spec, ownerMark(owner, name))} >"$file.new"
    mv "$file.new" "$file"
    ${tellSpeaker}
    left=100
    until tell -c 'show bgp summary' >/dev/null 2>&1; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || fail "the BGP speaker does not answer: docker logs "${ownContainers.speaker}
      sleep 0.1
    done
    said=$(tell -f ${`/vni/${file(spec)}`} 2>&1) || fail "the BGP speaker refuses VNID ${spec.vni}: $said"
  `,
  remove: (spec, owner, name) => sh`
    ${tellSpeaker}
    file="$folder/speaker/"${file(spec)}
    if [ ! -e "$file" ] || [ "$(head -n 1 "$file")" != ${markLine(ownerMark(owner, name))} ]; then return 0; fi
    rm -f "$file"
    if [ "$(docker inspect -f '{{.State.Running}}' ${ownContainers.speaker} 2>/dev/null)" = true ]; then
      tell -c 'configure terminal' -c ${`router bgp ${spec.asn}`} -c 'address-family l2vpn evpn' -c ${`no vni ${spec.vni}`} >/dev/null 2>&1 || :
    fi
  `,
  check: (spec) => sh`
    ${tellSpeaker}
    tell -c ${`show bgp l2vpn evpn vni ${spec.vni} json`} 2>/dev/null || :
  `,
  wanted: (spec) => ({
    routeDistinguisher: spec.routeDistinguisher,
    importTargets: [spec.routeTarget],
    exportTargets: [spec.routeTarget],
    inKernel: true,
  }),
  found: (output) => {
    const shown = JSON.parse(output.trim() || "{}") as ShownVni;
    if (shown.rd === undefined) return undefined;
    return {
      routeDistinguisher: shown.rd,
      importTargets: shown.importRts ?? [],
      exportTargets: shown.exportRts ?? [],
      inKernel: shown.inKernel === "True",
    };
  },
};
