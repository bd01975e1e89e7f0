/** What must hold for policies, and what is strange about them. Each rule has a golden case in tests/errors. */
import type { Declaration } from "../../config/declaration";
import type { Fault, Rule } from "../../config/faults";
import { nearest } from "../../config/validate";
import { kindOf } from "../../kinds/registry";
import { formatPrefix, overlaps, parseInterfaceAddress, parsePrefix, type Prefix } from "../../net/cidr";
import { matches, selectorText } from "../../net/policy/selector";
import type { Policy, Selector } from "../../net/policy/types.gen";
import { networkPolicies } from "../policies";

type PolicyRule = Rule<Declaration>;

interface Written {
  readonly path: string;
  readonly policy: Policy;
}

const written = ({ policies }: Declaration): Written[] =>
  policies.flatMap((file) => file.policies.map((policy, i) => ({ path: `${file.path}[${i}]`, policy })));

const ports: PolicyRule = {
  id: "policy-port",
  check: (declaration, report) => {
    for (const { path, policy } of written(declaration)) {
      for (const [i, ingress] of policy.ingress.entries()) {
        for (const [t, toPorts] of (ingress.toPorts ?? []).entries()) {
          for (const [p, { port, endPort }] of toPorts.ports.entries()) {
            const at = `${path}.ingress[${i}].toPorts[${t}].ports[${p}]`;
            const number = Number(port);
            if (!/^\d+$/.test(String(port)) || number < 1 || number > 65535)
              report(`${at}.port`, `"${port}" is no port`, "write a number from 1 to 65535");
            else if (endPort !== undefined && endPort < number)
              report(`${at}.endPort`, `${endPort} is before ${number}`, "write the range's last port");
          }
        }
      }
    }
  },
};

const prefixes: PolicyRule = {
  id: "policy-cidr",
  check: (declaration, report) => {
    const check = (path: string, text: string): boolean => {
      if (parsePrefix(text) !== undefined) return true;
      const near = parseInterfaceAddress(text)?.prefix;
      report(path, `"${text}" is no prefix`, near === undefined ? "write one like 192.0.2.0/24" : `write ${formatPrefix(near)}`);
      return false;
    };
    for (const { path, policy } of written(declaration)) {
      for (const [i, { fromCIDR, fromCIDRSet }] of policy.ingress.entries()) {
        for (const [c, text] of (fromCIDR ?? []).entries()) check(`${path}.ingress[${i}].fromCIDR[${c}]`, text);
        for (const [c, { cidr, except = [] }] of (fromCIDRSet ?? []).entries()) {
          const at = `${path}.ingress[${i}].fromCIDRSet[${c}]`;
          if (!check(`${at}.cidr`, cidr)) continue;
          const whole = parsePrefix(cidr);
          for (const [e, text] of except.entries()) {
            const part = check(`${at}.except[${e}]`, text) ? parsePrefix(text) : undefined;
            if (part !== undefined && whole !== undefined && !(overlaps(whole, part) && part.length >= whole.length))
              report(`${at}.except[${e}]`, `${text} is no part of ${cidr}`, "leave it out, or write a part of it");
          }
        }
      }
    }
  },
};

const oneSource: PolicyRule = {
  id: "policy-one-source",
  check: (declaration, report) => {
    for (const { path, policy } of written(declaration)) {
      for (const [i, { fromEndpoints, fromCIDR, fromCIDRSet }] of policy.ingress.entries()) {
        if (fromEndpoints !== undefined && (fromCIDR !== undefined || fromCIDRSet !== undefined))
          report(`${path}.ingress[${i}]`, "names systems and prefixes at once", "make two entries of it: each allows more");
      }
    }
  },
};

const expressions: PolicyRule = {
  id: "policy-expression",
  check: (declaration, report) => {
    const check = (at: string, { matchExpressions = [] }: Selector): void => {
      for (const [e, { operator, values = [] }] of matchExpressions.entries()) {
        const needs = operator === "In" || operator === "NotIn";
        if (needs !== values.length > 0)
          report(
            `${at}.matchExpressions[${e}].values`,
            needs ? `${operator} asks for values` : `${operator} takes no values`,
            needs ? "list them" : "leave them out",
          );
      }
    };
    for (const { path, policy } of written(declaration)) {
      check(`${path}.endpointSelector`, policy.endpointSelector);
      for (const [i, { fromEndpoints }] of policy.ingress.entries())
        for (const [f, selector] of (fromEndpoints ?? []).entries()) check(`${path}.ingress[${i}].fromEndpoints[${f}]`, selector);
    }
  },
};

/** By each network that holds a protected system. */
const backends: PolicyRule = {
  id: "policy-backend",
  check: (declaration, report) => {
    const said = new Set<string>();
    const once = (path: string, what: string, fix: string): void => {
      if (!said.has(path)) report(path, what, fix);
      said.add(path);
    };
    for (const network of declaration.testbed.networks) {
      const { selected, rules } = networkPolicies(declaration, network).resolved;
      if (selected.length === 0) continue;
      const enforcer = kindOf(network).policies;
      if (enforcer === undefined) {
        once(
          `networks.${network.name}`,
          `kind ${network.kind} takes no policies, and ${selected.join(", ")} ${selected.length === 1 ? "is" : "are"} selected by some`,
          "put what is to be protected into a network of kind bridge, swarm or cilium, or change its labels",
        );
        continue;
      }
      const refused = enforcer.refusesNetwork(network);
      if (refused !== undefined) once(`networks.${network.name}`, `holds ${selected.join(", ")}, which policies protect`, refused);
      for (const rule of rules) {
        const reason = enforcer.refuses(rule);
        if (reason !== undefined) once(rule.path, `${enforcer.name} (network ${network.name}) cannot do it`, reason);
      }
    }
  },
};

/** A connection that one of them let in would be another's, too. */
const connections: PolicyRule = {
  id: "policy-connections",
  check: (declaration, report) => {
    const tracked = declaration.testbed.networks.filter((network) => kindOf(network).policies?.tracksConnections === true);
    for (const network of tracked) {
      if (networkPolicies(declaration, network).resolved.selected.length === 0) continue;
      for (const other of tracked) {
        if (other === network) continue;
        const server = declaration.servers.find((one) => {
          const [own, theirs] = [network, other].map((each) =>
            kindOf(each).servers(declaration, each).includes(one) ? Object.values(kindOf(each).prefixes(each, one.name)) : [],
          );
          return (own ?? []).some((a: Prefix) => (theirs ?? []).some((b: Prefix) => overlaps(a, b)));
        });
        if (server !== undefined)
          report(
            `networks.${network.name}`,
            `has policies, and ${other.name} has its addresses too on ${server.name}: what one lets in would be let into the other`,
            "give one of them another subnet",
          );
      }
    }
  },
};

export const policyRules: readonly PolicyRule[] = [ports, prefixes, oneSource, expressions, backends, connections];

/** No fault, but hardly what somebody meant. */
export function policyWarnings(declaration: Declaration): Fault[] {
  const labels = declaration.testbed.systems.map((system) => (system.labels ?? {}) as Record<string, string>);
  const pairs = [...new Set(labels.flatMap((own) => Object.entries(own).map(([key, value]) => `${key}=${value}`)))];
  const warnings: Fault[] = [];
  const look = (path: string, selector: Selector, what: string): void => {
    if (labels.some((own) => matches(selector, own))) return;
    const near = nearest(selectorText(selector), pairs);
    const fix = near === undefined ? `labels are ${pairs.join(", ") || "none"}` : `did you mean ${near}?`;
    warnings.push({ rule: "policy-selects-nothing", path, what, fix });
  };
  for (const { path, policy } of written(declaration)) {
    look(
      `${path}.endpointSelector`,
      policy.endpointSelector,
      `no system has ${selectorText(policy.endpointSelector)}: it protects nothing`,
    );
    for (const [i, { fromEndpoints }] of policy.ingress.entries())
      for (const [f, selector] of (fromEndpoints ?? []).entries())
        look(`${path}.ingress[${i}].fromEndpoints[${f}]`, selector, `no system has ${selectorText(selector)}: it lets nobody in`);
  }
  return warnings;
}
