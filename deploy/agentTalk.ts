/** A server's agent as a program that is told lines and says lines, for as long as somebody talks with it. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { ServerDeclaration } from "../components/config/declaration";
import { askAgent } from "../components/host/objects/attachSpec";
import type { Context } from "./context";
import { onOwnServer, sshCommand, sshTrouble } from "./ssh";

export class AgentTalk {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly said: string[] = [];
  private complaint = "";
  private readonly waiting: (() => void)[] = [];
  private code: number | undefined;

  constructor(
    context: Pick<Context, "root">,
    readonly server: ServerDeclaration,
    what: Parameters<typeof askAgent>[1],
  ) {
    const script = askAgent({ stack: server.name }, what).text;
    const words = [...(server.user === "root" ? [] : ["sudo", "-n"]), "sh", "-c", script];
    const [program = "", ...rest] = sshCommand(server, onOwnServer(context, server, words));
    this.child = spawn(program, rest, {
      cwd: context.root,
      stdio: ["pipe", "pipe", "pipe"],
      // Ctrl-C is for us: what the agent has to say at its end would be lost with the connection.
      detached: true,
    });
    this.child.once("error", (error) => (this.complaint += error.message));
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => (this.complaint += text));
    this.child.stdin.on("error", () => undefined);
    const lines = createInterface({ input: this.child.stdout });
    lines.on("line", (line) => {
      this.said.push(line);
      this.wake();
    });
    const ended = Promise.all([
      new Promise<void>((resolve) => lines.once("close", resolve)),
      new Promise<number | null>((resolve) => this.child.once("close", resolve)),
    ]);
    void ended.then(([, code]) => {
      this.code = code ?? 255;
      this.wake();
    });
  }

  private wake(): void {
    for (const go of this.waiting.splice(0)) go();
  }

  tell(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  /** The next line; undefined once it has ended well. */
  async hear(): Promise<string | undefined> {
    for (;;) {
      const line = this.said.shift();
      if (line !== undefined) return line;
      if (this.code === 0) return undefined;
      if (this.code !== undefined) throw new Error(`${this.server.name}: ${this.trouble()}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  private trouble(): string {
    if (this.code === 255) return sshTrouble(this.server, { stderr: this.complaint });
    // The agent's log has the time before each line.
    return this.complaint.trim().replace(/^\d{4}\/\d\d\/\d\d [\d:.]+ /gm, "") || "the agent ended";
  }

  /** It ends by itself once nobody tells it anything any more. */
  end(): void {
    this.child.stdin.end();
  }

  stop(): void {
    this.child.kill();
  }
}
