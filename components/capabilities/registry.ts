/** The capabilities that there are. Adding one adds a line here. */
import type { Declaration } from "../config/declaration";
import type { Network, System } from "../config/types.gen";
import type { AttachHook } from "../host/contract/types.gen";
import type { CheckableType } from "../host/objectType";
import { objectTypes } from "../host/objects";
import type { Member, NetworkContext } from "../kinds/contexts";
import type { RulesPlace } from "../host/objects/experimentRules";
import type { NoRulesPlace } from "../kinds/kind";
import { kindOf } from "../kinds/registry";
import { tapOf } from "../kinds/tap";
import type { Capability, SystemAddition } from "./capability";
import { firewallCapability } from "./firewall";
import { guardCapability } from "./guard";
import { vpnCapability } from "./vpn";

export const capabilities: readonly Capability[] = [guardCapability, firewallCapability, vpnCapability];

/** A system is one thing at a time. */
export function additionOf(declaration: Declaration, system: System): SystemAddition | undefined {
  return capabilities.flatMap((capability) => capability.system?.(declaration, system) ?? [])[0];
}

export function hooksOf(context: NetworkContext, member: Member): AttachHook[] {
  const tap = tapOf(kindOf(context.network), context, member);
  return capabilities.flatMap((capability) => capability.hooks?.(context, member, tap) ?? []);
}

/** Undefined: where the server forwards. */
export function rulesPlaceOf(declaration: Declaration, network: Network): RulesPlace | NoRulesPlace | undefined {
  const [own] = capabilities.flatMap((capability) => capability.experimentRules?.(declaration, network) ?? []);
  return own ?? kindOf(network).experimentRules?.(network, declaration);
}

const allTypes: Readonly<Record<string, unknown>> = Object.assign({}, objectTypes, ...capabilities.map((one) => one.objectTypes)) as Record<
  string,
  unknown
>;

export function objectType(name: string): CheckableType<unknown> {
  const found = allTypes[name];
  if (found === undefined) throw new Error(`no type of host object is called "${name}"`);
  return found as CheckableType<unknown>;
}
