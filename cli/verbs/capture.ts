import { interfaceName } from "../../components/kinds/members";
import { findSystem, intoNamespace } from "../../deploy/context";
import { openDeployed, sayChanged } from "../../deploy/deployed";
import { onOwnServer, sshCommand } from "../../deploy/ssh";
import { findImage } from "../../images/find";
import { runInForeground, tryRun } from "../../support/process";
import { UsageError } from "../../support/usageError";
import { type Verb } from "../verb";

export const capture: Verb = {
  name: "capture",
  words: "SYSTEM[:NETWORK] [-- FILTER...]",
  summary: "capture a system's packets, as pcap on standard output",
  details: `
  flipflap capture red-web >red-web.pcap
  flipflap capture red-web:red-net --count 10 -- icmp | tcpdump -r -
  flipflap capture red-web | wireshark -k -i -

Ends with Ctrl-C, after --count packets or --seconds. The filter is tcpdump's.`,
  options: {
    count: { type: "string", value: "N", help: "end after N packets" },
    seconds: { type: "string", value: "N", help: "end after N seconds" },
  },
  run: async ({ words, flags, rest }) => {
    const context = await openDeployed();
    sayChanged(context);
    const [name, network] = (words[0] ?? "").split(":");
    const found = findSystem(context, name || undefined);
    const { server, system, container, isBare } = found;
    const index = network === undefined ? 0 : system.networks.findIndex((n) => n.name === network);
    if (index < 0)
      throw new UsageError(`${system.name} is not in a network "${network}"; it is in ${system.networks.map((n) => n.name).join(", ")}`);
    for (const key of ["count", "seconds"] as const) {
      if (flags[key] !== undefined && !/^[1-9]\d*$/.test(String(flags[key]))) throw new UsageError(`--${key} takes a whole number above 0`);
    }
    if (process.stdout.isTTY === true) throw new UsageError("a pcap is not for a terminal; send it to a file or a program");
    const { id } = findImage(context.root, "tools");
    if (!isBare && (await tryRun(sshCommand(server, `docker image inspect ${id}`), { cwd: context.root })).code !== 0) {
      throw new Error(`capture: the image tools is not on ${server.name}; some system there must use it`);
    }
    const tcpdump = [
      "tcpdump",
      "-U",
      "-n",
      "-w",
      "-",
      "-i",
      interfaceName(system, index),
      ...(flags.count === undefined ? [] : ["-c", String(flags.count)]),
      ...rest,
    ];
    const limited =
      flags.seconds === undefined ? tcpdump : ["timeout", "--preserve-status", "-s", "INT", String(flags.seconds), ...tcpdump];
    const intoContainer = [
      "docker",
      "run",
      "--rm",
      "-i",
      "--network",
      `container:${container}`,
      "--label",
      // Not of the stack: what no state knows of is taken away by repair.
      `flipflap.capture=${server.name}`,
      "--cap-add",
      "NET_RAW",
      id,
    ];
    const words2 = [...(isBare ? intoNamespace(found) : intoContainer), ...limited];
    return runInForeground(sshCommand(server, onOwnServer(context, server, words2)), { cwd: context.root });
  },
};
