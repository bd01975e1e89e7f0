/** All types of host objects, by the name that a stack's outputs give them. */
import type { CheckableType } from "../objectType";
import { addresses } from "./addresses";
import { agentFolders } from "./agentFolders";
import { attached } from "./attached";
import { attachSpec } from "./attachSpec";
import { bgpSessions } from "./bgpSessions";
import { bridge } from "./bridge";
import { bridgeGuard } from "./bridgeGuard";
import { bridgePort } from "./bridgePort";
import { claim } from "./claim";
import { container } from "./container";
import { filter } from "./filter";
import { folder } from "./folder";
import { impairment } from "./impairment";
import { namespaceSystem } from "./namespaceSystem";
import { neighbours } from "./neighbours";
import { nic } from "./nic";
import { offloads } from "./offloads";
import { route } from "./route";
import { router } from "./router";
import { serviceAddress } from "./serviceAddress";
import { services } from "./services";
import { speakerVni } from "./speakerVni";
import { sysctls } from "./sysctls";
import { tenantRouter } from "./tenantRouter";
import { tenantVrf } from "./tenantVrf";
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
  claim,
  container,
  filter,
  folder,
  impairment,
  namespaceSystem,
  neighbours,
  nic,
  offloads,
  route,
  router,
  serviceAddress,
  services,
  speakerVni,
  sysctls,
  tenantRouter,
  tenantVrf,
  vxlan,
} as const;

export function objectType(name: string): CheckableType<unknown> {
  const found = (objectTypes as Readonly<Record<string, unknown>>)[name];
  if (found === undefined) throw new Error(`no type of host object is called "${name}"`);
  return found as CheckableType<unknown>;
}
