/** What a server's BGP speaker knows of a VN: route distinguisher and targets. */
import { sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { sh } from "../sh";
import { giveToSpeaker, shownVni, speakerCheck, takeFromSpeaker, tellSpeaker } from "./speakerFile";

export interface SpeakerVniSpec {
  readonly vni: number;
  readonly asn: number;
  readonly routeDistinguisher: string;
  readonly routeTarget: string;
}

function lines(spec: SpeakerVniSpec): string[] {
  return [
    `router bgp ${spec.asn}`,
    " address-family l2vpn evpn",
    `  vni ${spec.vni}`,
    `   rd ${spec.routeDistinguisher}`,
    `   route-target import ${spec.routeTarget}`,
    `   route-target export ${spec.routeTarget}`,
    "  exit-vni",
    " exit-address-family",
    "exit",
  ];
}

const file = (spec: SpeakerVniSpec): string => `${spec.vni}.conf`;

export const speakerVni: ObjectType<SpeakerVniSpec> = {
  type: "speakerVni",
  identity: (spec) => [String(spec.vni), String(spec.asn)],
  ensure: (spec, owner, name) => sh`
    ${tellSpeaker}
    ${giveToSpeaker(file(spec), lines(spec), ownerMark(owner, name))}
  `,
  remove: (spec, owner, name) => sh`
    ${tellSpeaker}
    ${takeFromSpeaker(file(spec), [`router bgp ${spec.asn}`, "address-family l2vpn evpn", `no vni ${spec.vni}`], ownerMark(owner, name))}
  `,
  check: () => speakerCheck,
  wanted: (spec) => ({
    routeDistinguisher: spec.routeDistinguisher,
    importTargets: [spec.routeTarget],
    exportTargets: [spec.routeTarget],
    inKernel: true,
  }),
  found: (output, spec) => {
    const shown = shownVni(sections(output).get("vnis"), spec.vni);
    if (shown?.rd === undefined) return undefined;
    return {
      routeDistinguisher: shown.rd,
      importTargets: shown.importRTs ?? [],
      exportTargets: shown.exportRTs ?? [],
      inKernel: shown.inKernel === "True",
    };
  },
};
