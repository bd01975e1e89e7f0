/**
 * What a link is made worse by: at each of its ends, on what leaves. Delay and jitter take netem, which then does all;
 * without them a token bucket holds the rate and a filter of four instructions loses packets, so that a kernel without
 * netem has these two.
 */
import { type IpLink, jsonList, sections } from "../json";
import type { ObjectType } from "../objectType";
import { type Script, sh } from "../sh";

export interface ImpairmentSpec {
  readonly device: string;
  readonly delayMs?: number;
  readonly jitterMs?: number;
  readonly lossPercent?: number;
  readonly rateMbit?: number;
}

/** Of qdiscs and filters of ours: the kernel's own have handle 0, other people's one of their own. */
const qdiscHandle = "ff1a:";
const filterPreference = 65200;

const needsNetem = ({ delayMs, jitterMs }: ImpairmentSpec): boolean => delayMs !== undefined || jitterMs !== undefined;

/** Room for 5 ms at the rate, and for a whole segmented packet. */
const burstBytes = (rateMbit: number): number => Math.max(131072, Math.round((rateMbit * 1e6 * 0.005) / 8));

/** The qdisc's words, or none. */
function qdiscWords(spec: ImpairmentSpec): string[] {
  const { delayMs = 0, jitterMs, lossPercent, rateMbit } = spec;
  if (needsNetem(spec))
    return [
      ...["netem", "limit", "100000", "delay", `${delayMs}ms`],
      ...(jitterMs === undefined ? [] : [`${jitterMs}ms`]),
      ...(lossPercent === undefined ? [] : ["loss", `${lossPercent}%`]),
      ...(rateMbit === undefined ? [] : ["rate", `${rateMbit}mbit`]),
    ];
  return rateMbit === undefined ? [] : ["tbf", "rate", `${rateMbit}mbit`, "burst", String(burstBytes(rateMbit)), "latency", "50ms"];
}

const [wordAbsolute, jumpIfAtLeast, returnConstant] = [0x20, 0x35, 0x06];
/** SKF_AD_OFF + SKF_AD_RANDOM: loads 32 random bits. */
const randomWord = 0xfffff038;
const [drop, goOn] = [2, 0xffffffff];

/** In tc's words for BPF: if random >= threshold go on, else drop. The kernel makes eBPF of it, and the JIT machine code. */
function lossProgram(spec: ImpairmentSpec): string {
  if (needsNetem(spec) || spec.lossPercent === undefined) return "";
  const threshold = Math.round((spec.lossPercent / 100) * 0xffffffff);
  const instructions = [
    [wordAbsolute, 0, 0, randomWord],
    [jumpIfAtLeast, 0, 1, threshold],
    [returnConstant, 0, 0, goOn],
    [returnConstant, 0, 0, drop],
  ];
  return [instructions.length, ...instructions.map((words) => words.join(" "))].join(",");
}

const clearFilter: Script = sh`
  tc filter del dev "$device" egress pref ${filterPreference} 2>/dev/null || :
  if [ -e "$folder/saved/clsact.$device" ]; then
    [ -n "$(tc filter show dev "$device" egress; tc filter show dev "$device" ingress)" ] || tc qdisc del dev "$device" clsact 2>/dev/null || :
    forget "clsact.$device"
  fi
`;

interface Netem {
  readonly delay?: { readonly delay: number; readonly jitter: number };
  readonly "loss-random"?: { readonly loss: number };
  readonly rate?: { readonly rate: number };
}

interface Tbf {
  readonly rate: number;
}

interface Qdisc {
  readonly kind: string;
  readonly handle: string;
  readonly options?: Netem & Partial<Tbf>;
}

type Settings = Record<"delayMs" | "jitterMs" | "lossPercent" | "rateMbit", number>;

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** What the qdisc shows; 0 where it does nothing of the sort. tc counts in bytes a second, seconds and parts of one. */
function settingsOfQdisc({ kind, options }: Qdisc): Settings {
  const none = { delayMs: 0, jitterMs: 0, lossPercent: 0, rateMbit: 0 };
  if (kind === "tbf") return { ...none, rateMbit: rounded((Number(options?.rate) * 8) / 1e6) };
  return {
    delayMs: rounded((options?.delay?.delay ?? 0) * 1000),
    jitterMs: rounded((options?.delay?.jitter ?? 0) * 1000),
    lossPercent: rounded((options?.["loss-random"]?.loss ?? 0) * 100),
    rateMbit: rounded(((options?.rate?.rate ?? 0) * 8) / 1e6),
  };
}

function wantedOfQdisc(spec: ImpairmentSpec): Settings {
  const { delayMs = 0, jitterMs = 0, lossPercent = 0, rateMbit = 0 } = spec;
  return { delayMs, jitterMs, lossPercent: needsNetem(spec) ? lossPercent : 0, rateMbit };
}

interface Filter {
  readonly options?: { readonly bytecode?: { readonly insns: readonly { code: number; jt: number; jf: number; k: number }[] } };
}

function programOf(filters: readonly Filter[]): string {
  const instructions = filters.flatMap(({ options }) => options?.bytecode?.insns ?? []);
  if (instructions.length === 0) return "";
  return [instructions.length, ...instructions.map(({ code, jt, jf, k }) => `${code} ${jt} ${jf} ${k}`)].join(",");
}

export const impairment: ObjectType<ImpairmentSpec> = {
  type: "impairment",
  identity: ({ device }) => [device],
  ensure: (spec) => {
    const [words, program] = [qdiscWords(spec), lossProgram(spec)];
    return sh`
      device=${spec.device}
      clear_filter() {
        ${clearFilter}
      }
      root=$(tc qdisc show dev "$device" root | awk 'NR == 1 { print $3 }')
      case $root in "" | 0: | ${qdiscHandle}) ;; *) fail "$device: there is a queueing discipline on it that is not ours ($(tc qdisc show dev "$device" root | head -n 1)); remove it or leave the link's impairment out" ;; esac
      ${
        words.length > 0
          ? sh`
            if ! tc qdisc change dev "$device" root handle ${qdiscHandle} ${words} 2>/dev/null; then
              if [ "$root" = ${qdiscHandle} ]; then tc qdisc del dev "$device" root; fi
              tc qdisc replace dev "$device" root handle ${qdiscHandle} ${words}
            fi`
          : sh`if [ "$root" = ${qdiscHandle} ]; then tc qdisc del dev "$device" root; fi`
      }
      ${
        program === ""
          ? sh`clear_filter`
          : sh`
            if ! tc qdisc show dev "$device" clsact | grep -q clsact; then
              save "clsact.$device" made
              tc qdisc add dev "$device" clsact
            fi
            tc filter replace dev "$device" egress pref ${filterPreference} handle 1 protocol all bpf da bytecode ${program}`
      }
    `;
  },
  remove: ({ device }) => sh`
    device=${device}
    if has_link "$device"; then
      if [ "$(tc qdisc show dev "$device" root | awk 'NR == 1 { print $3 }')" = ${qdiscHandle} ]; then tc qdisc del dev "$device" root; fi
    fi
    ${clearFilter}
  `,
  check: ({ device }) => sh`
    if has_link ${device}; then
      echo "=== link"; ip -j link show dev ${device}
      echo "=== qdisc"; tc -j qdisc show dev ${device} root
      echo "=== filter"; tc -j filter show dev ${device} egress pref ${filterPreference} 2>/dev/null || :
    fi
  `,
  wanted: (spec) => ({ qdisc: qdiscWords(spec)[0] ?? "none", ...wantedOfQdisc(spec), lossProgram: lossProgram(spec) }),
  found: (output) => {
    const parts = sections(output);
    if (jsonList<IpLink>(parts.get("link")).length === 0) return undefined;
    const own = jsonList<Qdisc>(parts.get("qdisc")).find(({ handle }) => handle === qdiscHandle);
    return {
      qdisc: own?.kind ?? "none",
      ...settingsOfQdisc(own ?? { kind: "none", handle: "" }),
      lossProgram: programOf(jsonList<Filter>(parts.get("filter"))),
    };
  },
};
