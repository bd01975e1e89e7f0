/** What flipflap graph draws and flipflap doctor judges. */
import { describe, expect, it } from "vitest";
import { abilities, judge, readFacts } from "../../cli/abilities";
import { topologyMermaid, topologySvg } from "../../cli/graph";
import { loadDeclaration } from "../../components/config/load";
import { codeRoot } from "../../support/project";
import { runningLab } from "../errors/harness";

const { declaration } = loadDeclaration(codeRoot, runningLab, false);
if (declaration === undefined) throw new Error("the shipped testbed has faults");

describe("the topology", () => {
  const names = [...declaration.testbed.systems, ...declaration.testbed.networks, ...declaration.testbed.tenants].map(({ name }) => name);

  it("names every system, network and tenant, and says in words what it shows", () => {
    const svg = topologySvg(declaration);
    for (const name of names) expect(svg).toContain(name);
    expect(svg).toMatch(
      /<title>Topology of bridge<\/title>\n<desc>2 servers \(flap, flip\), 2 networks \(.*\), 6 systems of 2 tenants\.<\/desc>/,
    );
  });

  it("gives a tenant the colour that it is called by", () => {
    const svg = topologySvg(declaration);
    expect(svg).toMatch(/fill="#d55e00"\/><text[^>]*>red</);
    expect(svg).toMatch(/fill="#0072b2"\/><text[^>]*>blue</);
  });

  it("shows what a link is made worse by", () => {
    const links = [{ between: ["flip", "flap"], impairment: { rateMbit: 100, lossPercent: 1 } }];
    const worse = { ...declaration, testbed: { ...declaration.testbed, links } };
    expect(topologySvg(worse)).toContain("flip-flap: MTU 9000, 100 Mbit/s, 1% lost");
    expect(topologyMermaid(worse)).toContain('-. "MTU 9000, 100 Mbit/s, 1% lost" .-');
  });

  it("joins each system to its networks in mermaid", () => {
    const lines = topologyMermaid(declaration).split("\n");
    expect(lines.filter((line) => line.includes(" ---|"))).toHaveLength(6);
    expect(lines).toContain("  classDef tenant_red stroke:#d55e00,stroke-width:3px");
  });
});

describe("what a server can run", () => {
  const all = abilities.flatMap(({ requires }) =>
    requires.flatMap(({ tool, kernelOption }) => [tool, kernelOption].flatMap((one) => one ?? [])),
  );
  const facts = (kernel: string, missing: readonly string[]) =>
    readFacts([`kernel ${kernel}`, "docker 20.10", ...all.map((name) => `${name} ${missing.includes(name) ? "no" : "yes"}`)].join("\n"));
  const verdict = (kernel: string, missing: readonly string[], ability: string) =>
    judge(facts(kernel, missing)).find((judged) => judged.ability === ability);

  it("is everything where nothing is missing", () => {
    expect(judge(facts("6.18.44-x", [])).map(({ can }) => can)).toEqual(abilities.map(() => "yes"));
  });

  it("names what is missing and what that costs", () => {
    expect(verdict("6.18", ["CONFIG_NET_SCH_NETEM"], "links' delay and jitter")).toMatchObject({
      can: "no",
      lacks: ["CONFIG_NET_SCH_NETEM"],
    });
    expect(verdict("6.18", ["CONFIG_VXLAN"], "kind evpn")).toMatchObject({ can: "no", lacks: ["CONFIG_VXLAN"] });
    expect(verdict("6.18", ["CONFIG_VXLAN"], "kind netns")).toMatchObject({ can: "yes" });
  });

  it.each([
    ["6.1.0-30", "no"],
    ["6.6.0", "yes"],
    ["6.10.1", "yes"],
    ["5.16", "no"],
  ])("knows that the short cut needs Linux 6.6: %s %s", (kernel, can) => {
    expect(verdict(kernel, [], "evpn's short cut")?.can).toBe(can);
  });

  it("does not know what a kernel does not show", () => {
    const hidden = readFacts(["kernel 6.18", ...all.map((name) => `${name} ${name.startsWith("CONFIG") ? "unknown" : "yes"}`)].join("\n"));
    expect(judge(hidden).find(({ ability }) => ability === "kind evpn")?.can).toBe("unknown");
  });
});
