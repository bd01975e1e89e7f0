/** SSH connections that the commands of one run share. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Printed, runProcess } from "../processes";

export interface Connection {
  readonly host: string;
  readonly port?: number;
  readonly user?: string;
  readonly privateKey?: string;
  readonly hostKey?: string;
  /** How often to try, and how many seconds each time; the SDK fills them in. */
  readonly dialErrorLimit?: number;
  readonly perDialTimeout?: number;
}

/** sshd's MaxSessions is 10 where nothing else is set. */
const sessionsAtOnce = 8;

class Master {
  private readonly folder: string;
  private readonly options: string[];
  private readonly target: string;
  private readonly attempts: number;
  private process: ChildProcess | undefined;
  private opening: Promise<void> | undefined;
  private isClosed = false;
  private free = sessionsAtOnce;
  private readonly waiting: (() => void)[] = [];

  constructor(connection: Connection, parent: string, name: string) {
    this.folder = join(parent, name);
    mkdirSync(this.folder, { mode: 0o700 });
    const file = (leaf: string, content: string): string => {
      writeFileSync(join(this.folder, leaf), content, { mode: 0o600 });
      return join(this.folder, leaf);
    };
    const key = connection.privateKey?.endsWith("\n") === false ? `${connection.privateKey}\n` : (connection.privateKey ?? "");
    const pinned = connection.hostKey !== undefined && connection.hostKey !== "";
    const options: Record<string, string> = {
      ControlPath: join(this.folder, "s"),
      BatchMode: "yes",
      LogLevel: "ERROR",
      ConnectTimeout: String(connection.perDialTimeout ?? 15),
      ServerAliveInterval: "15",
      Port: String(connection.port ?? 22),
      HostKeyAlias: "server",
      UserKnownHostsFile: file("known_hosts", pinned ? `server ${connection.hostKey}\n` : ""),
      GlobalKnownHostsFile: "/dev/null",
      StrictHostKeyChecking: pinned ? "yes" : "no",
      ...(key === "" ? {} : { IdentityFile: file("key", key), IdentitiesOnly: "yes" }),
    };
    this.options = ["-F", "none", ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`])];
    this.attempts = connection.dialErrorLimit ?? 10;
    this.target = `${connection.user ?? "root"}@${connection.host}`;
  }

  private async open(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if (this.isClosed) throw new Error(`ssh ${this.target}: the plugin ends`);
      const child = spawn("ssh", [...this.options, "-M", "-N", this.target], { stdio: ["ignore", "ignore", "pipe"] });
      // Known before it is ready: a plugin that ends meanwhile must take it along.
      this.process = child;
      let said = "";
      child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
      const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
      const ready = (async () => {
        while (child.exitCode === null && !existsSync(join(this.folder, "s"))) await new Promise((r) => setTimeout(r, 10));
      })();
      await Promise.race([ended, ready]);
      if (child.exitCode === null && existsSync(join(this.folder, "s"))) {
        child.once("close", () => (this.opening = undefined));
        return;
      }
      const final = /host key verification failed|permission denied|REMOTE HOST IDENTIFICATION/i.test(said);
      const why = /host key/i.test(said) ? "the server shows another host key than the pinned one (connection.hostKey)" : said.trim();
      if (final || attempt >= this.attempts) throw new Error(`ssh ${this.target}: ${why || "no connection"}`);
      await new Promise((r) => setTimeout(r, Math.min(250 * attempt, 2000)));
    }
  }

  async run(command: string, stdin: string): Promise<Printed> {
    if (this.free === 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.free--;
    try {
      this.opening ??= this.open();
      await this.opening;
      return await runProcess(["ssh", ...this.options, "-o", "ControlMaster=no", this.target, command], { stdin });
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.free++;
      else next();
    }
  }

  close(): void {
    this.isClosed = true;
    this.process?.kill("SIGTERM");
  }
}

const masters = new Map<string, Master>();
let folder: string | undefined;

const folderPrefix = "flipflap-ssh-";

/** Named after this process. What a killed one left, with copies of keys, goes first. */
function ownFolder(): string {
  for (const entry of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${folderPrefix}(\\d+)-`).exec(entry)?.[1];
    const path = join(tmpdir(), entry);
    // Another plugin may be about the same.
    if (pid === undefined || existsSync(`/proc/${pid}`) || lstatSync(path, { throwIfNoEntry: false })?.uid !== process.getuid?.()) continue;
    rmSync(path, { recursive: true, force: true });
  }
  return mkdtempSync(join(tmpdir(), `${folderPrefix}${process.pid}-`));
}

export function runOverSsh(connection: Connection, command: string, stdin: string): Promise<Printed> {
  const id = createHash("sha256").update(JSON.stringify(connection)).digest("hex").slice(0, 16);
  folder ??= ownFolder();
  let master = masters.get(id);
  if (master === undefined) {
    master = new Master(connection, folder, id.slice(0, 4) + masters.size);
    masters.set(id, master);
  }
  return master.run(command, stdin);
}

export function closeConnections(): void {
  for (const master of masters.values()) master.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
}
process.on("exit", closeConnections);
