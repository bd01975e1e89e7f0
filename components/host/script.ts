/** The script of a host object as it is sent to the server: one text, called with the verb. Pure. */
import type { ServerDeclaration } from "../config/declaration";
import { deviceGroup } from "../net/names";
import { type HostObject, type Owner, ownerFolder } from "./objectType";
import { nothing, type Script, sh } from "./sh";

/** Functions that the scripts share. A script carries those that it calls. */
const helpers = {
  fail: sh`fail() { printf '%s\n' "$*" >&2; exit 1; }`,
  /** Keeps a previous value once, whatever follows: save NAME VALUE. */
  save: sh`
    save() {
      mkdir -p "$folder/saved"
      if [ ! -e "$folder/saved/$1" ]; then
        printf '%s' "$2" >"$folder/saved/.new"
        sync "$folder/saved/.new"
        mv "$folder/saved/.new" "$folder/saved/$1"
      fi
    }
  `,
  forget: sh`forget() { rm -f "$folder/saved/$1"; prune; }`,
  /** Calls a function with the value that was kept, and forgets it: restore NAME FUNCTION. */
  restore: sh`restore() { [ -e "$folder/saved/$1" ] || return 0; "$2" "$(cat "$folder/saved/$1")"; forget "$1"; }`,
  /** The folder goes when it is empty. */
  prune: sh`prune() { for d in "$folder/saved" "$folder" "\${folder%/*}"; do [ ! -d "$d" ] || [ -n "$(ls -A "$d")" ] || rmdir "$d"; done; }`,
  /** Of the server, whose clock may jump: what waits counts by it. */
  seconds_up: sh`seconds_up() { cut -d. -f1 /proc/uptime; }`,
  has_link: sh`has_link() { [ -e "/sys/class/net/$1" ]; }`,
  link_alias: sh`link_alias() { cat "/sys/class/net/$1/ifalias"; }`,
  /** Whose a device is, for people and scripts; and for the guard, which closes what it is not told of: mark_link DEVICE MARK */
  mark_link: sh`mark_link() { ip link set dev "$1" alias "$2" group "$group"; }`,
  /** A device that is there under the name of one of ours: own_link DEVICE MARK MAC. The kernel takes no alias at creation; between the two our MAC tells whose it is. */
  own_link: sh`
    own_link() {
      [ "$(link_alias "$1")" = "$2" ] || [ "$(link_alias "$1")/$(cat "/sys/class/net/$1/address")" = "/$3" ] || fail "$1: there is a device of this name that is not ours (alias '$(link_alias "$1")'); remove it or rename the network"
    }
  `,
  /** The wanted addresses of a device and no other global ones: set_addresses DEVICE COMMAND ADDRESS..., where COMMAND is ip, or does what ip does elsewhere. */
  set_addresses: sh`
    set_addresses() {
      _device=$1 _ip=$2
      shift 2
      for _old in $("$_ip" -o addr show dev "$_device" scope global | awk '{print $4}'); do
        for _new in "$@"; do [ "$_old" != "$_new" ] || continue 2; done
        "$_ip" addr del "$_old" dev "$_device"
      done
      for _new in "$@"; do
        case $_new in *:*) "$_ip" addr replace "$_new" dev "$_device" nodad ;; *) "$_ip" addr replace "$_new" dev "$_device" ;; esac
      done
    }
  `,
  /** A MAC, where it is another one: the kernel forgets a device's neighbours even where the same is set again. set_mac DEVICE COMMAND MAC */
  set_mac: sh`set_mac() { case $("$2" -o link show dev "$1") in *"link/ether $3 "*) ;; *) "$2" link set dev "$1" address "$3" ;; esac; }`,
  /** A device of ours, by its mark: drop_link DEVICE MARK */
  drop_link: sh`drop_link() { if has_link "$1" && [ "$(link_alias "$1")" = "$2" ]; then ip link del "$1"; fi; }`,
  /**
   * A device that has what another is to have: one of ours is what it was called before, and goes; whose it is else is said.
   * Its line in `ip -d -o link` is known by what follows its name: free_of TYPE PATTERN OUR-MARKS WORDS WHAT-TO-DO
   */
  free_of: sh`
    free_of() {
      _other=$(ip -d -o link show type "$1" | sed -n "s/^[0-9]*: \([^:@]*\)$2.*/\1/p")
      [ -n "$_other" ] || return 0
      case $(link_alias "$_other") in "$3"*) ip link del "$_other" ;; *) fail "$4 ($_other); $5" ;; esac
    }
  `,
  /** What has a name and no place for a mark is ours where our folder says so; COMMAND succeeds where it is there: own_name MARK WORDS COMMAND... */
  own_name: sh`
    own_name() {
      _mark=$1 _words=$2
      shift 2
      if [ ! -e "$folder/saved/$_mark" ] && "$@" >/dev/null 2>&1; then fail "$_words of this name that is not ours; remove it, or rename what is declared"; fi
      save "$_mark" made
    }
  `,
  /** A namespace of ours; one of somebody else's is left alone: own_namespace NAME */
  own_namespace: sh`
    own_namespace() {
      [ -d /run/netns ] || save netns made
      own_name "netns.$1" "$1: there is a network namespace" test -e "/run/netns/$1"
      # A name without a namespace is what a cut-off creation leaves.
      ip netns exec "$1" true 2>/dev/null || { rm -f "/run/netns/$1"; ip netns add "$1"; }
      ip -n "$1" link set lo up
    }
  `,
  /** It goes with all that is in it, and with the last one what iproute2 left behind at the first: drop_namespace NAME */
  drop_namespace: sh`
    drop_namespace() {
      if [ -e "$folder/saved/netns.$1" ]; then
        if [ -e "/run/netns/$1" ]; then ip netns del "$1"; fi
        forget "netns.$1"
      fi
      if [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ] && [ -e "$folder/saved/netns" ]; then umount /run/netns; rmdir /run/netns; forget netns; fi
      prune
    }
  `,
  /** A veth between the server and a namespace. Made and marked inside, then handed out: what is cut off in between is still in our namespace: veth_into NAMESPACE INNER OUTER MARK */
  veth_into: sh`
    veth_into() {
      if has_link "$3" && [ "$(link_alias "$3")" != "$4" ]; then fail "$3: there is a device of this name that is not ours; remove it, or rename what is declared"; fi
      if has_link "$3" && ! ip -n "$1" link show dev "$2" >/dev/null 2>&1; then ip link del "$3"; fi
      if ! has_link "$3"; then
        if ip -n "$1" link show dev "$3" >/dev/null 2>&1; then ip -n "$1" link del "$3"; fi
        ip -n "$1" link add "$2" type veth peer name "$3"
        ip -n "$1" link set dev "$3" alias "$4" group "$group"
        ip -n "$1" link set dev "$3" netns 1
      fi
    }
  `,
  master_of: sh`master_of() { if [ -L "/sys/class/net/$1/master" ]; then basename "$(readlink "/sys/class/net/$1/master")"; fi; }`,
} as const satisfies Readonly<Record<string, Script>>;

type Helper = keyof typeof helpers;

/** What a text calls, and what that calls. */
function helpersOf(text: string): ReadonlySet<Helper> {
  const found = new Set<Helper>();
  const look = (part: string): void => {
    for (const name of Object.keys(helpers) as Helper[]) {
      if (found.has(name) || !new RegExp(`\\b${name}\\b`).test(part)) continue;
      found.add(name);
      look(helpers[name].text);
    }
  };
  look(text);
  return found;
}

/** What stands around a script's own text: the state of a stack grows with every byte of it, and Pulumi writes all of it at every step. */
export function prelude(owner: Owner, ...texts: readonly string[]): Script {
  const called = helpersOf(texts.join("\n"));
  return sh`
    set -eu
    folder=${ownerFolder(owner)}
    ${called.has("mark_link") || called.has("veth_into") ? sh`group=${deviceGroup(owner.stack)}` : nothing}
    ${(Object.keys(helpers) as Helper[]).filter((name) => called.has(name)).map((name) => helpers[name])}
  `;
}

/** errexit holds in the inner shell because it is no condition's part. */
const firstVerb = `first() {
set +e
(set -e; ensure)
code=$?
set -e
if [ "$code" != 0 ]; then (remove); exit "$code"; fi
}`;

/**
 * Objects of a server are made and removed in parallel, and share the folder of saved values. Every Linux has this folder, only
 * root can open it, so nobody else can keep us waiting, and the kernel's lock on it leaves no file.
 */
export const takeLock =
  "exec 9</proc/1/fd; flock -w 180 9 || { echo 'another script of flipflap has held the lock of this server for three minutes (/proc/locks names its PID): end it, and run this again' >&2; exit 1; }";

/** A script of its own, which no object is made by. */
export function lockedScript(owner: Owner, { text }: Script): string {
  return [prelude(owner, text).text, takeLock, text, ""].join("\n");
}

function body(name: string, text: Script): string {
  // Not indented: a quoted value may hold line ends.
  return `${name}() {\n${text.text}\n}`;
}

/**
 * One stdin serves create, update and delete, so it holds both functions and the command names the verb.
 * What differs between two versions of an object stands first, so that a preview's diff is short.
 */
export function objectScript<S>(object: HostObject<S>, owner: Owner): string {
  const { type, spec, name } = object;
  return verbScript(type.ensure(spec, owner, name), type.remove(spec, owner, name), owner, type.waits === true ? "" : takeLock);
}

/** A script that is called with the verb: first, ensure or remove. */
export function verbScript(toEnsure: Script, toRemove: Script, owner: Owner, lock = takeLock): string {
  const [ensure, remove] = [body("ensure", toEnsure), body("remove", toRemove)];
  return [ensure, remove, prelude(owner, ensure, remove).text, firstVerb, lock, '"$1"', ""].join("\n");
}

/** A script's stdin is the script; the command names the verb. A user that is not root needs passwordless sudo. */
export function shellCommand(server: ServerDeclaration, verb: "" | "first" | "ensure" | "remove"): string {
  return server.user === "root" ? `sh -s ${verb}` : `sudo -n sh -s ${verb}`;
}
