/** Reading what checks print. Pure. */

/** Splits the output of a check at lines that `section` scripts print. */
export function sections(output: string): Map<string, string> {
  const found = new Map<string, string>();
  let name: string | undefined;
  let lines: string[] = [];
  const close = (): void => {
    if (name !== undefined) found.set(name, lines.join("\n").trim());
  };
  for (const line of output.split("\n")) {
    const header = /^=== (.*)$/.exec(line);
    if (header?.[1] !== undefined) {
      close();
      [name, lines] = [header[1], []];
    } else lines.push(line);
  }
  close();
  return found;
}

const inOrder = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** A state does not keep the order of keys: with theirs, values are compared. */
export const jsonInOrder = (value: unknown, indent?: number): string => JSON.stringify(value, inOrder, indent);

/** Reads a text once, however many objects are looked up in it one after the other. */
export function readOnce<T>(read: (text: string) => T): (text: string) => T {
  let last: { readonly text: string; readonly value: T } | undefined;
  return (text) => {
    if (last?.text !== text) last = { text, value: read(text) };
    return last.value;
  };
}

/** What `ip -j` prints; it prints nothing, or [{}], where there is nothing. */
export function jsonList<T>(text: string | undefined): T[] {
  if (text === undefined || text.trim() === "") return [];
  const parsed = JSON.parse(text) as T[];
  return parsed.filter((item) => Object.keys(item as object).length > 0);
}

export interface IpLink {
  readonly ifname: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly address: string;
  readonly master?: string;
  readonly link?: string;
  readonly ifalias?: string;
  readonly inet6_addr_gen_mode?: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: Readonly<Record<string, unknown>>;
    readonly info_slave_data?: Readonly<Record<string, unknown>>;
  };
}

export interface IpAddresses {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number; readonly scope: string }[];
}

/** Global addresses with prefix length, in one order. */
export function addressesOf(listed: readonly IpAddresses[], device: string, scope = "global"): string[] {
  return listed
    .filter((item) => item.ifname === device)
    .flatMap((item) => item.addr_info)
    .filter((a) => a.scope === scope)
    .map((a) => `${a.local}/${a.prefixlen}`)
    .sort();
}
