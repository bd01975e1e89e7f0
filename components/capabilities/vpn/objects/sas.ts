/** Reading what strongSwan says of its tunnels. Pure. */
import { type Script, sh } from "../../../host/sh";

/** A pair of IPsec SAs, as `swanctl --list-sas` tells of it. */
export interface ChildSa {
  readonly connection: string;
  readonly name: string;
  /** INSTALLED where packets go. */
  readonly state: string;
  readonly proposal: string;
  readonly ageSeconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly local: readonly string[];
  readonly remote: readonly string[];
}

interface Growing {
  connection: string;
  name: string;
  state: string;
  proposal: string;
  ageSeconds: number;
  bytesIn: number;
  bytesOut: number;
  local: string[];
  remote: string[];
}

export function readSas(text: string): ChildSa[] {
  const found: Growing[] = [];
  let connection = "";
  let child: Growing | undefined;
  for (const line of text.split("\n")) {
    const ike = /^([^\s:]+): #\d+, /.exec(line);
    const head = /^ {2}([^\s:]+): #\d+, (?:reqid \d+, )?(\w+), [^,]+, \w+:(\S+)/.exec(line);
    if (ike?.[1] !== undefined) [connection, child] = [ike[1], undefined];
    else if (head !== null) {
      const [, name = "", state = "", proposal = ""] = head;
      child = { connection, name, state, proposal, ageSeconds: 0, bytesIn: 0, bytesOut: 0, local: [], remote: [] };
      found.push(child);
    } else if (child !== undefined) {
      const age = /^ +installed (\d+)s ago/.exec(line)?.[1];
      const bytes = /^ +(in|out) +\S+ *[^,]*, +(\d+) bytes/.exec(line);
      const ends = /^ {4}(local|remote) +(.*)$/.exec(line);
      if (age !== undefined) child.ageSeconds = Number(age);
      if (bytes !== null) child[bytes[1] === "in" ? "bytesIn" : "bytesOut"] = Number(bytes[2]);
      if (ends !== null) child[ends[1] as "local" | "remote"] = (ends[2] ?? "").split(/[ ,]+/).filter((word) => word !== "");
    }
  }
  return found;
}

/**
 * inside() runs a command in a gateway's container, as `docker exec` does at twenty times the price; where its pid is 0
 * it does not run.
 */
export const enterGateway = (container: string): Script => sh`
  pid=$(docker inspect -f '{{.State.Pid}}' ${container} 2>/dev/null) || pid=0
  inside() { nsenter -t "$pid" -m -n -p -- "$@"; }
`;

/** Lines of strongSwan's own table of routes. */
export const tunnelRoutes = sh`inside sh -c 'ip route show table 220; ip -6 route show table 220' 2>/dev/null || :`;

/** "src PREFIX dst PREFIX dir WHERE", a line for each of the kernel's policies. */
export const tunnelPolicies = sh`inside ip xfrm policy 2>/dev/null | awk '/^src/ { selector = $0; sub(/[ \t]+$/, "", selector) } /^[ \t]+dir/ { print selector " " $1 " " $2 }'`;

/** What a gateway's container tells: its SAs, what carries them, the ways that packets take to them, and the last lines of its log. */
export function gatewayScript(container: string): Script {
  return sh`
    ${enterGateway(container)}
    if [ "$pid" != 0 ]; then
      inside sh -c 'echo "=== plane"; cat /run/flipflap-plane
        echo "=== sas"; swanctl --list-sas' 2>/dev/null || :
      echo "=== ways"
      ${tunnelRoutes}
      ${tunnelPolicies}
      echo "=== log"; docker logs --tail 300 ${container} 2>&1 | grep -E '<[^>]*\|[0-9]+>' || :
    fi
  `;
}

const interesting =
  /mismatch|notify|no matching|no proposal|not found|unreachable|giving up|timed? ?out|deleting|not supported|retransmit|establishing|failed|invalid/i;

/** The last thing that the log says of a connection that tells why it is down. */
export function reasonOf(log: string, connection: string): string {
  const lines = log.split("\n").flatMap((line) => {
    const found = /\[\w+\] <([^|>]+)\|\d+> (.*)$/.exec(line);
    return found?.[1] === connection && found[2] !== undefined && interesting.test(found[2]) ? [found[2]] : [];
  });
  const told = [...lines].reverse();
  // What a peer refused says more than that it was tried again.
  return (
    told.find((line) => /mismatch|AUTHENTICATION_FAILED|NO_PROPOSAL|TS_UNACCEPTABLE|not supported/i.test(line)) ??
    told[0] ??
    "its log says nothing of it"
  );
}
