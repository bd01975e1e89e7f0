/** Names: unique, known, of the same tenant, nobody else's. */
import { type Declaration, findNetwork } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import { nearest, oneOf } from "../../config/validate";
import { interfaceName } from "../../kinds/members";
import { deviceName, ownContainers, systemContainer } from "../../net/names";
import { kindSecrets } from "../secrets";

const uniqueNames: Rule<Declaration> = {
  id: "unique-name",
  check: ({ testbed }, report) => {
    for (const list of ["tenants", "networks", "systems", "secrets", "sites", "tunnels"] as const) {
      const seen = new Set<string>();
      for (const { name } of testbed[list] ?? []) {
        if (seen.has(name)) report(`${list}.${name}`, "there are two of this name", "rename one of them");
        seen.add(name);
      }
    }
  },
};

const unknownTenant: Rule<Declaration> = {
  id: "unknown-tenant",
  check: ({ testbed }, report) => {
    const known = testbed.tenants.map((tenant) => tenant.name);
    for (const list of ["networks", "systems"] as const) {
      for (const { name, tenant } of testbed[list]) {
        if (!known.includes(tenant)) report(`${list}.${name}.tenant`, `there is no tenant "${tenant}"`, oneOf(tenant, known));
      }
    }
  },
};

const unknownServer: Rule<Declaration> = {
  id: "unknown-server",
  check: ({ testbed, servers }, report) => {
    const known = servers.map((server) => server.name);
    const check = (path: string, name: string): void => {
      if (!known.includes(name))
        report(
          path,
          `there is no server "${name}"`,
          nearest(name, known) === undefined ? `${oneOf(name, known)}, or make Pulumi.${name}.yaml` : oneOf(name, known),
        );
    };
    for (const system of testbed.systems) check(`systems.${system.name}.server`, system.server);
    for (const [i, link] of testbed.links.entries()) {
      for (const name of link.between) check(`links[${i}].between`, name);
      for (const name of Object.keys(link.interfaces ?? {})) {
        if (!link.between.includes(name))
          report(`links[${i}].interfaces.${name}`, "the link does not join this server", `name one of ${link.between.join(", ")}`);
      }
    }
  },
};

const unknownNetwork: Rule<Declaration> = {
  id: "unknown-network",
  check: ({ testbed }, report) => {
    const known = testbed.networks.map((network) => network.name);
    for (const system of testbed.systems) {
      for (const { name } of system.networks) {
        if (!known.includes(name)) report(`systems.${system.name}.networks.${name}`, "there is no such network", oneOf(name, known));
      }
    }
  },
};

const foreignNetwork: Rule<Declaration> = {
  id: "foreign-network",
  check: (declaration, report) => {
    for (const system of declaration.testbed.systems) {
      for (const { name } of system.networks) {
        const network = findNetwork(declaration, name);
        if (network !== undefined && network.tenant !== system.tenant) {
          report(
            `systems.${system.name}.networks.${name}`,
            `the network is of tenant ${network.tenant}, the system of ${system.tenant}`,
            `put it in a network of ${system.tenant}`,
          );
        }
      }
    }
  },
};

const twiceInNetwork: Rule<Declaration> = {
  id: "twice-in-network",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      const names = system.networks.map((n) => n.name);
      for (const name of new Set(names.filter((n, i) => names.indexOf(n) !== i))) {
        report(`systems.${system.name}.networks.${name}`, "the system sits in it twice", "leave one of them out");
      }
      const interfaces = system.networks.map((_, i) => interfaceName(system, i));
      for (const name of new Set(interfaces.filter((n, i) => interfaces.indexOf(n) !== i))) {
        report(`systems.${system.name}.networks`, `two interfaces are called ${name}`, "give each an interface name of its own");
      }
    }
  },
};

/** Long names are cut and told apart by some bits of a hash. */
const sameDevice: Rule<Declaration> = {
  id: "same-device",
  check: ({ testbed }, report) => {
    const users = new Map<string, string>();
    for (const { name } of testbed.networks) {
      const device = deviceName("br-", name);
      const other = users.get(device);
      if (other !== undefined && other !== name)
        report(
          `networks.${name}.name`,
          `its devices would be called as those of ${other} (${device})`,
          "choose another name, best one of 12 characters or less",
        );
      users.set(device, name);
    }
  },
};

const reservedContainers = new Set<string>(Object.values(ownContainers));

const reservedName: Rule<Declaration> = {
  id: "reserved-name",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      if (reservedContainers.has(systemContainer(system.name)))
        report(`systems.${system.name}.name`, `${systemContainer(system.name)} is a container of flipflap's own`, "choose another name");
      const router =
        testbed.tenants.find(({ name }) => system.name === `tenant-${name}`)?.name ??
        testbed.networks.find(({ name }) => system.name === `router-${name}`)?.name;
      if (router !== undefined)
        report(
          `systems.${system.name}.name`,
          `${systemContainer(system.name)} is the namespace of ${router}'s router`,
          "choose another name",
        );
    }
    for (const { name } of testbed.secrets ?? []) {
      if (kindSecrets.some((secret) => secret.name === name))
        report(`secrets.${name}.name`, "a kind of network uses this name", "choose another name");
    }
  },
};

export const nameRules: readonly Rule<Declaration>[] = [
  uniqueNames,
  unknownTenant,
  unknownServer,
  unknownNetwork,
  foreignNetwork,
  twiceInNetwork,
  sameDevice,
  reservedName,
];
