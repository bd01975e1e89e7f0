/** Many shell texts over one connection: each in a shell of its own, what it prints and how it ended kept apart. Pure. */

const separator = "<<<flipflap";

export interface Answer {
  readonly text: string;
  readonly code: number;
}

/** A script that runs the texts one after the other, whatever each ends with. */
export function batchScript(texts: readonly string[]): string {
  return texts
    .map((text, i) => [`echo '${separator} ${i}>>>'`, "(", text, ") 2>&1", `code=$?; echo; echo "${separator} end $code>>>"`].join("\n"))
    .join("\n");
}

/** What the script printed, by the texts' numbers; one that was cut off is missing. */
export function readBatch(printed: string): Map<number, Answer> {
  const pattern = new RegExp(`${separator} (\\d+)>>>\\n([\\s\\S]*?)\\n${separator} end (\\d+)>>>`, "g");
  return new Map([...printed.matchAll(pattern)].map(([, index, text, code]) => [Number(index), { text: text ?? "", code: Number(code) }]));
}
