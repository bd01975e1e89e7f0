/** A testbed's topology as a picture (SVG) and as text that draws itself (mermaid). Pure. */
import { capabilities } from "../components/capabilities/registry";
import { type Declaration, linkMtuBytes, linkName, systemsOn } from "../components/config/declaration";
import type { Link, Network, System } from "../components/config/types.gen";
import { resolveMembers } from "../components/kinds/members";
import { kindOf } from "../components/kinds/registry";
import { formatAddress } from "../components/net/cidr";
import { networkMtuBytes } from "../components/plan/mtu";
import { escape } from "../support/escape";

/** Told apart by the colour-blind too (Okabe and Ito). */
const colours = { blue: "#0072b2", red: "#d55e00", green: "#009e73", pink: "#cc79a7", amber: "#e69f00", cyan: "#56b4e9" } as const;
const alike: Readonly<Record<string, keyof typeof colours>> = { gold: "amber", yellow: "amber", orange: "amber", purple: "pink" };

/** A tenant that is called by a colour has it; the others get what is left, in their order. */
function colourOf(declaration: Declaration, tenant: string): string {
  const names = declaration.testbed.tenants.map(({ name }) => name);
  const named = (name: string): string | undefined => (colours as Readonly<Record<string, string>>)[alike[name] ?? name];
  const own = named(tenant);
  if (own !== undefined) return own;
  const taken = new Set(names.map(named));
  const left = Object.values(colours).filter((colour) => !taken.has(colour));
  const index = names.filter((name) => named(name) === undefined).indexOf(tenant);
  return left[index % Math.max(1, left.length)] ?? colours.blue;
}

const networkText = (declaration: Declaration, network: Network): string =>
  `${network.name}: ${`${network.kind} ${kindOf(network).variant(network)}`.trim()}, MTU ${networkMtuBytes(declaration, network)}`;

function linkText(link: Link): string {
  const { delayMs, jitterMs, lossPercent, rateMbit } = link.impairment ?? {};
  return [
    `MTU ${linkMtuBytes(link)}`,
    ...(rateMbit === undefined ? [] : [`${rateMbit} Mbit/s`]),
    ...(lossPercent === undefined ? [] : [`${lossPercent}% lost`]),
    ...(delayMs === undefined ? [] : [`${delayMs} ms`]),
    ...(jitterMs === undefined ? [] : [`±${jitterMs} ms`]),
  ].join(", ");
}

/** A system's IPv4 and IPv6 addresses in a network. */
function addressesIn(declaration: Declaration, system: System, network: Network): string[] {
  const member = resolveMembers(declaration, network).members.find((one) => one.system === system.name);
  return [member?.addresses.ipv4, member?.addresses.ipv6].flatMap((address) => (address === undefined ? [] : [formatAddress(address)]));
}

const drawnEdges = (declaration: Declaration) => capabilities.flatMap((capability) => capability.edges?.(declaration) ?? []);

const id = (text: string): string => text.replaceAll(/[^A-Za-z0-9]/g, "_");

export function topologyMermaid(declaration: Declaration): string {
  const { testbed, servers } = declaration;
  return [
    "flowchart TB",
    ...servers.flatMap((server) => [
      `  subgraph server_${id(server.name)}["${server.name}${server.hub ? " (hub)" : ""}"]`,
      ...systemsOn(declaration, server.name).map(
        (system) => `    system_${id(system.name)}["${system.name}"]:::tenant_${id(system.tenant)}`,
      ),
      "  end",
    ]),
    ...testbed.networks.map(
      (network) => `  network_${id(network.name)}(["${networkText(declaration, network)}"]):::tenant_${id(network.tenant)}`,
    ),
    ...testbed.systems.flatMap((system) =>
      system.networks.map((membership) => {
        const network = testbed.networks.find(({ name }) => name === membership.name);
        const text = network === undefined ? "" : addressesIn(declaration, system, network).join("<br>");
        return `  system_${id(system.name)} ---|"${text}"| network_${id(membership.name)}`;
      }),
    ),
    ...drawnEdges(declaration).map(({ ends: [from, to], text }) => `  system_${id(from)} == "${text}" === system_${id(to)}`),
    ...testbed.links.flatMap((link) => {
      const [first = "", ...others] = link.between;
      return others.map((other) => `  server_${id(first)} -. "${linkText(link)}" .- server_${id(other)}`);
    }),
    ...testbed.tenants.map(({ name }) => `  classDef tenant_${id(name)} stroke:${colourOf(declaration, name)},stroke-width:3px`),
    "",
  ].join("\n");
}

const [margin, columnWidth, columnGap, headHeight, lineHeight, boxGap, laneHeight, wireGap] = [24, 260, 90, 56, 17, 12, 40, 9];

interface Box {
  readonly system: System;
  readonly lines: readonly { readonly network: Network; readonly text: string }[];
  readonly x: number;
  readonly y: number;
  readonly height: number;
}

export function topologySvg(declaration: Declaration): string {
  const { testbed, servers } = declaration;
  const columnX = (index: number): number => margin + index * (columnWidth + columnGap);
  const boxes = servers.flatMap((server, column) => {
    let y = margin + headHeight;
    return systemsOn(declaration, server.name).map((system): Box => {
      const lines = system.networks.flatMap(({ name }) => {
        const network = testbed.networks.find((one) => one.name === name);
        return network === undefined ? [] : [{ network, text: addressesIn(declaration, system, network).join(" ") || name }];
      });
      const box = { system, lines, x: columnX(column) + 12, y, height: 24 + lines.length * lineHeight + 6 };
      y += box.height + boxGap;
      return box;
    });
  });
  const serversBottom = Math.max(margin + headHeight, ...boxes.map((box) => box.y + box.height + boxGap));
  const laneY = (index: number): number => serversBottom + 36 + index * laneHeight;
  const width = columnX(servers.length) - columnGap + margin;
  const tunnels = drawnEdges(declaration);
  const legendY = laneY(testbed.networks.length + tunnels.length) + 4;
  const height = legendY + margin;

  const serverShapes = servers.map((server, i) => {
    const address = server.underlay.ipv4 === "" ? "" : server.underlay.ipv4;
    return `<rect class="server" x="${columnX(i)}" y="${margin}" width="${columnWidth}" height="${serversBottom - margin}" rx="8"/>
<text class="name" x="${columnX(i) + 12}" y="${margin + 22}">${escape(server.name)}${server.hub ? " (hub)" : ""}</text>
<text class="small" x="${columnX(i) + 12}" y="${margin + 40}">${escape(`${server.uplink} ${address}`)}</text>`;
  });

  const linkShapes = testbed.links.flatMap((link, i) => {
    const ends = link.between.map((name) => servers.findIndex((server) => server.name === name)).sort((a, b) => a - b);
    return ends.slice(1).map((end, at) => {
      const [from, to, y] = [columnX(ends[at] ?? 0) + columnWidth, columnX(end), margin + 14 + i * 32];
      const [mtu, ...worse] = linkText(link).split(", ");
      return `<g><title>${escape(`${linkName(link)}: ${linkText(link)}`)}</title><line class="link" x1="${from}" y1="${y}" x2="${to}" y2="${y}"/>
<text class="small" text-anchor="middle" x="${(from + to) / 2}" y="${y - 4}">${escape(mtu ?? "")}</text><text class="small" text-anchor="middle" x="${(from + to) / 2}" y="${y + 13}">${escape(worse.join(", "))}</text></g>`;
    });
  });

  const boxShapes = boxes.map(({ system, lines, x, y, height: h }) => {
    const texts = lines.map(
      ({ text }, i) => `<text class="small" x="${x + 10}" y="${y + 22 + (i + 1) * lineHeight - 2}">${escape(text)}</text>`,
    );
    return `<rect class="system" x="${x}" y="${y}" width="${columnWidth - 60}" height="${h}" rx="5" stroke="${colourOf(declaration, system.tenant)}"/>
<text x="${x + 10}" y="${y + 18}">${escape(system.name)}</text>${texts.join("")}`;
  });

  // Each interface has a wire of its own, right of the boxes: down to its network.
  const wires = servers.flatMap((server, column) => {
    const own = boxes.filter(({ system }) => system.server === server.name);
    const ends = own.flatMap(({ lines, x, y }) => lines.map(({ network }, i) => ({ network, x, y: y + 22 + (i + 1) * lineHeight - 6 })));
    return ends.map(({ network, x, y }, i) => {
      const turn = columnX(column) + columnWidth - 40 + Math.min(wireGap, 34 / Math.max(1, ends.length)) * i;
      const lane = laneY(testbed.networks.indexOf(network));
      const colour = colourOf(declaration, network.tenant);
      return `<path class="wire" stroke="${colour}" d="M${x + columnWidth - 60} ${y}H${turn}V${lane}"/><circle cx="${turn}" cy="${lane}" r="3.5" fill="${colour}"/>`;
    });
  });

  const lanes = testbed.networks.map((network, i) => {
    const at = servers.flatMap((server, column) => (kindOf(network).servers(declaration, network).includes(server) ? [column] : []));
    const [from, to] = [columnX(Math.min(...at, servers.length - 1)), columnX(Math.max(...at, 0)) + columnWidth];
    return `<line stroke="${colourOf(declaration, network.tenant)}" stroke-width="4" x1="${from}" y1="${laneY(i)}" x2="${to}" y2="${laneY(i)}"/>
<text class="small lane" ${from > columnX(0) ? `text-anchor="end" x="${to}"` : `x="${from}"`} y="${laneY(i) + 16}">${escape(networkText(declaration, network))}</text>`;
  });

  const columnOf = (system: string): number =>
    servers.findIndex(({ name }) => name === testbed.systems.find((one) => one.name === system)?.server);
  const tunnelShapes = tunnels.map(({ ends, text }, i) => {
    const columns = ends.map(columnOf);
    const [from, to] = [columnX(Math.min(...columns)), columnX(Math.max(...columns)) + columnWidth];
    const y = laneY(testbed.networks.length + i);
    return `<line class="tunnel" x1="${from}" y1="${y}" x2="${to}" y2="${y}"/>
<text class="small lane" ${from > columnX(0) ? `text-anchor="end" x="${to}"` : `x="${from}"`} y="${y + 16}">${escape(text)}</text>`;
  });

  const legend = testbed.tenants.map(
    ({ name }, i) =>
      `<rect x="${margin + i * 110}" y="${legendY - 9}" width="12" height="12" rx="2" fill="${colourOf(declaration, name)}"/><text class="small" x="${margin + i * 110 + 18}" y="${legendY + 1}">${escape(name)}</text>`,
  );

  const told = `${servers.length} servers (${servers.map(({ name }) => name).join(", ")}), ${testbed.networks.length} networks (${testbed.networks
    .map(({ name }) => name)
    .join(", ")}), ${testbed.systems.length} systems of ${testbed.tenants.length} tenants.`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(`Topology of ${declaration.name}`)}">
<title>${escape(`Topology of ${declaration.name}`)}</title>
<desc>${escape(told)}</desc>
<style>
svg { font: 14px system-ui, sans-serif; background: #fff }
text { fill: #1a1a1a } .small { font-size: 12px; fill: #444 } .name { font-weight: 600 }
.server { fill: #f5f6f8; stroke: #9aa3ad } .system { fill: #fff; stroke-width: 2.5 }
.lane { paint-order: stroke; stroke: #fff; stroke-width: 5px; stroke-linejoin: round }
.link { stroke: #6b7580; stroke-width: 2; stroke-dasharray: 5 4 } .tunnel { stroke: #6b7580; stroke-width: 4; stroke-dasharray: 14 4 } .wire { fill: none; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  svg { background: #16191d } text { fill: #eee } .small { fill: #bbb }
  .server { fill: #1f242a; stroke: #55606b } .system { fill: #16191d } .lane { stroke: #16191d } .link, .tunnel { stroke: #9aa3ad }
}
</style>
${[...serverShapes, ...linkShapes, ...wires, ...lanes, ...tunnelShapes, ...boxShapes, ...legend].join("\n")}
</svg>
`;
}
