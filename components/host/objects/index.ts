/** All types of host objects, by the name that a stack's outputs give them. */
import { addresses } from "./addresses";
import { agentFolders } from "./agentFolders";
import { attachSpec } from "./attachSpec";
import { attached } from "./attached";
import { bgpSessions } from "./bgpSessions";
import { bridge } from "./bridge";
import { bridgeGuard } from "./bridgeGuard";
import { bridgePort } from "./bridgePort";
import { certificates } from "./certificates";
import { ciliumNetwork } from "./ciliumNetwork";
import { ciliumParting } from "./ciliumParting";
import { ciliumPolicy } from "./ciliumPolicy";
import { ciliumSite } from "./ciliumSite";
import { claim } from "./claim";
import { container } from "./container";
import { filter } from "./filter";
import { folder } from "./folder";
import { generation } from "./generation";
import { guard } from "./guard";
import { ilaRegistered } from "./ilaRegistered";
import { ilaSite } from "./ilaSite";
import { image } from "./image";
import { impairment } from "./impairment";
import { namespaceSystem } from "./namespaceSystem";
import { neighbours } from "./neighbours";
import { nic } from "./nic";
import { offloads } from "./offloads";
import { overlay } from "./overlay";
import { overlayHolder } from "./overlayHolder";
import { programs } from "./programs";
import { route } from "./route";
import { router } from "./router";
import { secretFile } from "./secretFile";
import { segment } from "./segment";
import { sentFile } from "./sentFile";
import { serverInterface } from "./serverInterface";
import { serviceAddress } from "./serviceAddress";
import { services } from "./services";
import { speakerVni } from "./speakerVni";
import { swarmJoined } from "./swarmJoined";
import { swarmManager } from "./swarmManager";
import { swarmNetwork } from "./swarmNetwork";
import { swarmNode } from "./swarmNode";
import { sysctls } from "./sysctls";
import { tenantRouter } from "./tenantRouter";
import { tenantVrf } from "./tenantVrf";
import { unreachable } from "./unreachable";
import { vxlan } from "./vxlan";

export const objectTypes = {
  addresses,
  agentFolders,
  attach: attachSpec,
  attached,
  bgpSessions,
  bridge,
  bridgeGuard,
  bridgePort,
  certificates,
  ciliumNetwork,
  ciliumParting,
  ciliumPolicy,
  ciliumSite,
  claim,
  container,
  filter,
  folder,
  generation,
  guard,
  ilaRegistered,
  ilaSite,
  image,
  impairment,
  namespaceSystem,
  neighbours,
  nic,
  offloads,
  overlay,
  overlayHolder,
  programs,
  route,
  router,
  secretFile,
  segment,
  sentFile,
  serverInterface,
  serviceAddress,
  services,
  speakerVni,
  swarmJoined,
  swarmManager,
  swarmNetwork,
  swarmNode,
  sysctls,
  tenantRouter,
  tenantVrf,
  unreachable,
  vxlan,
} as const;
