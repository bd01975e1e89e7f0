/** What several kinds check of a declaration. Pure. */
import { type Declaration, firstHub, linkDevice, type ServerDeclaration } from "../config/declaration";
import type { Report, Rule } from "../config/faults";
import type { Network } from "../config/types.gen";
import { formatPrefix, parseInterfaceAddress, parsePrefix } from "../net/cidr";
import type { KindRuleContext } from "./kind";

export function checkPrefixText(report: Report, path: string, text: string | undefined, family: 4 | 6): void {
  if (text === undefined || parsePrefix(text)?.family === family) return;
  const near = parseInterfaceAddress(text)?.prefix;
  const fix =
    near?.family === family
      ? `write ${formatPrefix(near)}`
      : family === 4
        ? "write one like 10.0.192.0/24"
        : 'write one like "fd10:0:192::/64"';
  report(path, `"${text}" is no IPv${family} prefix`, fix);
}

/** Networks with one prefix of a family over all servers. */
export const subnetForm = <N extends Network & { readonly subnet?: string; readonly subnet6?: string }>(
  id: string,
): Rule<KindRuleContext<N>> => ({
  id,
  check: ({ networks }, report) => {
    for (const { name, subnet, subnet6 } of networks) {
      checkPrefixText(report, `networks.${name}.subnet`, subnet, 4);
      checkPrefixText(report, `networks.${name}.subnet6`, subnet6, 6);
    }
  },
});

/** Networks of a kind that has its authority on the hub. */
export const hubRule = (id: string, what: string): Rule<KindRuleContext<Network>> => ({
  id,
  check: ({ declaration, networks }, report) => {
    if (firstHub(declaration) !== undefined) return;
    for (const { name } of networks)
      report(`networks.${name}`, `${what}, and no server is the hub`, "write flipflap:hub: true in one stack file");
  },
});

/** Where links are declared, one of them must join the uplinks of each pair. */
export function checkUplinksJoined(
  report: Report,
  declaration: Declaration,
  network: string,
  servers: readonly ServerDeclaration[],
  carried: string,
): void {
  for (const [i, a] of servers.entries()) {
    for (const b of servers.slice(0, i)) {
      const links = declaration.testbed.links.filter((link) => link.between.includes(a.name) && link.between.includes(b.name));
      const byUplink = links.some((link) => linkDevice(link, a) === a.uplink && linkDevice(link, b) === b.uplink);
      if (links.length > 0 && !byUplink)
        report(
          `networks.${network}`,
          `is ${carried} over uplinks, and no link joins those of ${b.name} and ${a.name}`,
          `add links: [{ between: [${b.name}, ${a.name}] }] without interfaces`,
        );
    }
  }
}
