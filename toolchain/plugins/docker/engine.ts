/** docker's engine API over SSH (the daemon's own version of it), as docker's own CLI speaks it: `docker system dial-stdio` on the server. */
import { type ChildProcess, spawn } from "node:child_process";
import { Agent, request } from "node:http";
import { Duplex } from "node:stream";

export class EngineError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

function dial(host: string, options: readonly string[], children: Set<ChildProcess>, onTrouble: (said: string) => void): Duplex {
  const url = new URL(host);
  if (url.protocol !== "ssh:") throw new Error(`docker: host ${host}: the offline plugin speaks ssh:// only; use the vendor's plugin`);
  const target = [...(url.port === "" ? [] : ["-p", url.port]), ...(url.username === "" ? [] : ["-l", url.username]), "--", url.hostname];
  const child = spawn("ssh", [...options, ...target, "docker", "system", "dial-stdio"], { stdio: ["pipe", "pipe", "pipe"] });
  children.add(child);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const stream = Duplex.from({ readable: child.stdout, writable: child.stdin });
  child.on("close", (code) => {
    children.delete(child);
    if (code !== 0 && said.trim() !== "") onTrouble(`docker on ${host}: ${said.trim()}`);
    stream.destroy(code === 0 || code === null ? undefined : new Error(`docker on ${host}: ${said.trim() || `ssh ended with ${code}`}`));
  });
  // What node's http expects of a socket.
  const none = (): Duplex => stream;
  return Object.assign(stream, { setKeepAlive: none, setNoDelay: none, setTimeout: none, ref: none, unref: none });
}

export class Engine {
  private readonly children = new Set<ChildProcess>();
  /** What ssh said when it ended: http knows of a hang-up only. */
  private trouble = "";
  private readonly agent: Agent;

  constructor(host: string, sshOptions: readonly string[]) {
    this.agent = new Agent({ keepAlive: true, maxSockets: 4 });
    Object.assign(this.agent, { createConnection: () => dial(host, sshOptions, this.children, (said) => (this.trouble = said)) });
  }

  /** The answer's JSON, or undefined where it is empty; throws an EngineError with docker's own words. */
  call(method: string, path: string, body?: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const raw = Buffer.isBuffer(body) ? body : body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const headers =
        raw === undefined
          ? {}
          : { "content-type": Buffer.isBuffer(body) ? "application/x-tar" : "application/json", "content-length": raw.length };
      const ask = request({ agent: this.agent, host: "docker", path, method, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.on("end", () => {
          const status = response.statusCode ?? 0;
          const json = /^\s*[[{]/.test(text) ? (JSON.parse(text) as unknown) : undefined;
          if (status < 300 || status === 304) resolve(json);
          else reject(new EngineError(status, `docker: ${(json as { message?: string } | undefined)?.message ?? text}`));
        });
      });
      ask.on("error", (error) => reject(this.trouble === "" ? error : new Error(this.trouble)));
      ask.end(raw);
    });
  }

  close(): void {
    this.agent.destroy();
    for (const child of this.children) child.kill("SIGTERM");
  }
}
