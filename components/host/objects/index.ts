/** All types of host objects, by the name that a stack's outputs give them. */
import type { CheckableType } from "../objectType";
import { addresses } from "./addresses";
import { agentFolders } from "./agentFolders";
import { attachSpec } from "./attachSpec";
import { attached } from "./attached";
import { bridge } from "./bridge";
import { bridgePort } from "./bridgePort";
import { container } from "./container";
import { filter } from "./filter";
import { neighbours } from "./neighbours";
import { nic } from "./nic";
import { offloads } from "./offloads";
import { route } from "./route";
import { router } from "./router";
import { services } from "./services";
import { sysctls } from "./sysctls";

export const objectTypes = {
  addresses,
  agentFolders,
  attach: attachSpec,
  attached,
  bridge,
  bridgePort,
  container,
  filter,
  neighbours,
  nic,
  offloads,
  route,
  router,
  services,
  sysctls,
} as const;

export function objectType(name: string): CheckableType<unknown> {
  const found = (objectTypes as Readonly<Record<string, unknown>>)[name];
  if (found === undefined) throw new Error(`no type of host object is called "${name}"`);
  return found as CheckableType<unknown>;
}
