/** One line a step, with elapsed time; on a terminal the running step shows too. */

const isTerminal = (): boolean => process.stderr.isTTY === true;
const running = new Set<string>();

function draw(): void {
  if (!isTerminal()) return;
  const text = [...running].join(", ").slice(0, (process.stderr.columns ?? 80) - 6);
  process.stderr.write(`\r\x1b[K${text === "" ? "" : `  .. ${text}`}`);
}

export function say(line: string): void {
  if (isTerminal()) process.stderr.write("\r\x1b[K");
  process.stderr.write(`${line}\n`);
  draw();
}

/** A step that failed: which, why, and what to do. */
export class StepError extends Error {
  constructor(
    readonly step: string,
    readonly why: string,
    readonly todo: string,
  ) {
    super(`${step}: ${why}\n     ${todo}`);
  }
}

/** Runs a step; what it gives back as text is added to its line. */
export async function step<T>(
  name: string,
  work: (show: (detail: string) => void) => Promise<T>,
  detail?: (result: T) => string,
): Promise<T> {
  const begin = Date.now();
  let shown = name;
  running.add(shown);
  draw();
  const show = (text: string): void => {
    running.delete(shown);
    shown = `${name}: ${text}`;
    running.add(shown);
    draw();
  };
  try {
    const result = await work(show);
    running.delete(shown);
    const more = detail?.(result) ?? "";
    say(`  ok ${name}${more === "" ? "" : `: ${more}`} (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
    return result;
  } catch (error) {
    running.delete(shown);
    say(`  !! ${name}`);
    throw error;
  }
}
