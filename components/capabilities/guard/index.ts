/** One guard a server: it closes all devices of a testbed but for what its networks need, and counts what it drops. */
import { isGuarded } from "../../config/declaration";
import { guardCounters, readGuardCounters } from "../../host/objects/guard";
import { type DropReason, dropReasons } from "../../host/objects/guardRules";
import type { Capability } from "../capability";
import { guardObjects, guardRequirements, portHooks } from "./plan";

/** Packets by reason, in words. */
const droppedBy = (output: string): ReadonlyMap<string, number> =>
  new Map([...readGuardCounters(output)].map(([reason, packets]) => [dropReasons[reason as DropReason] ?? reason, packets]));

export const guardCapability: Capability = {
  name: "guard",
  rules: [],
  server: (declaration, server, networks) => ({
    requirements: guardRequirements(declaration),
    settings: guardObjects(declaration, server, networks),
  }),
  hooks: portHooks,
  observations: (declaration, { name: stack }) =>
    isGuarded(declaration)
      ? [
          {
            title: "dropped",
            script: guardCounters({ stack }),
            read: (output) => ({
              columns: ["DROPPED BY THE GUARD", "PACKETS"],
              rows: [...droppedBy(output)].map(([reason, packets]) => [reason, String(packets)]),
              problems: [],
            }),
            drops: droppedBy,
          },
        ]
      : [],
  abilities: [],
  objectTypes: {},
};
