/** One ssh configuration for everything that reaches the servers: docker's provider, image loading, the CLI. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { projectFiles } from "../../support/project";
import type { Declaration, ServerDeclaration } from "../config/declaration";

/** Relative to the project: inputs of resources must not differ from one checkout to another. */
export const sshConfigPath = ".flipflap/ssh/config";

const alias = (server: ServerDeclaration): string => `flipflap-${server.name}`;

export function sshConfigText(servers: readonly ServerDeclaration[], knownHosts: string): string {
  return servers
    .map((server) =>
      [
        `Host ${server.name}`,
        `  HostName ${server.address}`,
        `  Port ${server.port}`,
        `  User ${server.user}`,
        `  IdentityFile "${server.privateKeyFile}"`,
        "  IdentitiesOnly yes",
        `  HostKeyAlias ${alias(server)}`,
        `  UserKnownHostsFile "${knownHosts}"`,
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  BatchMode yes",
        "  ConnectTimeout 10",
        "  ServerAliveInterval 15",
        "  LogLevel ERROR",
        "",
      ].join("\n"),
    )
    .join("\n");
}

/** Writes the file where it is not what it should be. */
export function writeSshConfig(root: string, declaration: Declaration): void {
  const file = projectFiles.sshConfig(root);
  const knownHosts = join(dirname(file), "known_hosts");
  const texts = new Map([
    [knownHosts, declaration.servers.map((server) => `${alias(server)} ${server.hostKey}\n`).join("")],
    [file, sshConfigText(declaration.servers, knownHosts)],
  ]);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  for (const [path, text] of texts) {
    if (existsSync(path) && readFileSync(path, "utf8") === text) continue;
    writeFileSync(path, text);
    chmodSync(path, 0o600);
  }
}
