/** How the providers reach a server. */
import { readFileSync } from "node:fs";
import type { types } from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { ServerDeclaration } from "../../config/declaration";
import { sshConfigPath } from "../sshConfig";

export function sshConnection(server: ServerDeclaration): types.input.remote.ConnectionArgs {
  return {
    host: server.address,
    port: server.port,
    user: server.user,
    hostKey: server.hostKey,
    privateKey: pulumi.secret(readFileSync(server.privateKeyFile, "utf8")),
  };
}

export function dockerProvider(server: ServerDeclaration, parent: pulumi.Resource): docker.Provider {
  return new docker.Provider(`${server.name}-docker`, { host: `ssh://${server.name}`, sshOpts: ["-F", sshConfigPath] }, { parent });
}
