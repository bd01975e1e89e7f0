/** What `flipflap status` tells of a server's tunnels. Pure. */
import { sections } from "../../host/json";
import { sh } from "../../host/sh";
import type { Observation } from "../../kinds/observation";
import { systemContainer } from "../../net/names";
import { gatewayScript, readSas, reasonOf } from "./objects/sas";
import type { OwnConnection } from "./tunnels";

const planes: Readonly<Record<string, string>> = { kernel: "kernel ESP", user: "kernel-libipsec" };

function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB"];
  let [value, unit] = [bytes / 1024, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value.toFixed(1)} ${units[unit]}`;
}

function ageText(seconds: number): string {
  return seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const separator = "#### gateway ";

export function vpnObservation(
  gateways: readonly { readonly gateway: string; readonly connections: readonly OwnConnection[] }[],
): Observation {
  return {
    title: "tunnels",
    script: sh`
      ${gateways.map(
        ({ gateway }) => sh`
        echo ${`${separator}${gateway}`}
        ${gatewayScript(systemContainer(gateway))}
      `,
      )}
    `,
    read: (output) => {
      const told = new Map(
        output
          .split(separator)
          .slice(1)
          .map((text) => [text.split("\n", 1)[0] ?? "", sections(text)] as const),
      );
      const rows: string[][] = [];
      const problems: string[] = [];
      for (const { gateway, connections } of gateways) {
        const parts = told.get(gateway);
        const plane = (parts?.get("plane") ?? "").trim();
        const sas = readSas(parts?.get("sas") ?? "");
        for (const connection of connections) {
          for (const { carried } of connection.children) {
            const sa = sas.find(({ name, state }) => name === carried.name && state === "INSTALLED");
            if (sa === undefined)
              problems.push(
                `tunnel ${carried.name} is down at ${gateway}: ${parts?.has("sas") === true ? reasonOf(parts.get("log") ?? "", connection.name) : "its container does not run"}`,
              );
            rows.push([
              carried.name,
              gateway,
              connection.peer.gateway,
              sa === undefined ? "DOWN" : "up",
              planes[plane] ?? "-",
              sa?.proposal ?? "-",
              sa === undefined ? "-" : bytesText(sa.bytesIn),
              sa === undefined ? "-" : bytesText(sa.bytesOut),
              sa === undefined ? "-" : ageText(sa.ageSeconds),
            ]);
          }
        }
      }
      return { columns: ["TUNNEL", "GATEWAY", "PEER", "STATE", "ESP BY", "PROPOSAL", "IN", "OUT", "AGE"], rows, problems };
    },
  };
}
