/** A file of the project on a server, sent over SSH: what is in it does not get into the state. */
import { local } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import { dropSentFile, receive, type SentFile, type SentFileSpec } from "../objects/sentFile";
import { lockedScript, shellCommand } from "../script";
import { sh } from "../sh";
import { sshConfigPath } from "../sshConfig";
import type { Site } from "./hostObject";

export function renderSentFile(
  prefix: string,
  { name: own, path, to, hash }: SentFile,
  site: Site,
  options: { parent: pulumi.Resource; dependsOn: pulumi.Resource[] },
): local.Command {
  const { server, owner } = site;
  const name = `${prefix}-${own}`;
  const ssh = sh`ssh -F ${sshConfigPath} ${server.name}`;
  const spec: SentFileSpec = { to, hash };
  const remove = dropSentFile(spec);
  site.deployed.add({ type: "sentFile", name, spec, identity: [to, hash], remove });
  const shell = sh`${server.user === "root" ? [] : ["sudo", "-n"]} sh -c ${receive(spec, path).text}`;
  return new local.Command(
    name,
    {
      create: sh`gzip -c ${path} | ${ssh} ${shell.text.trim()}`.text,
      delete: sh`printf %s ${lockedScript(owner, remove)} | ${ssh} ${shellCommand(server, "")}`.text,
      triggers: [to, hash],
      addPreviousOutputInEnv: false,
    },
    { ...options, deleteBeforeReplace: false },
  );
}
