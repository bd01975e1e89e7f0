/** A page as a real browser shows it: Debian's chromium, without a window. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tryRun } from "../../support/process";

export interface Looked {
  readonly plots: number;
  /** Pixels of the smallest text in a plot. */
  readonly smallestText: number;
  /** Pairs of texts in one plot that touch. */
  readonly touching: readonly string[];
  /** Texts that leave their plot. */
  readonly outside: readonly string[];
  /** The page is wider than the window. */
  readonly scrollsSideways: boolean;
  readonly background: string;
}

/** Runs in the page. */
const script = `
addEventListener("load", () => {
  const found = { plots: 0, smallestText: 99, touching: [], outside: [] };
  for (const plot of document.querySelectorAll("svg.plot")) {
    found.plots++;
    const frame = plot.getBoundingClientRect();
    const texts = [...plot.querySelectorAll("text")].map((text) => ({ text: text.textContent, box: text.getBoundingClientRect(), size: parseFloat(getComputedStyle(text).fontSize) * frame.width / plot.viewBox.baseVal.width }));
    for (const { text, box, size } of texts) {
      found.smallestText = Math.min(found.smallestText, size);
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) found.outside.push(text);
    }
    texts.forEach((a, i) => texts.slice(i + 1).forEach((b) => {
      if (a.box.left < b.box.right && b.box.left < a.box.right && a.box.top + 2 < b.box.bottom && b.box.top + 2 < a.box.bottom) found.touching.push(a.text + " | " + b.text);
    }));
  }
  found.scrollsSideways = document.documentElement.scrollWidth > innerWidth + 1;
  found.background = getComputedStyle(document.body).backgroundColor;
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
});
`;

const chromium = (folder: string, dark: boolean): string[] => [
  "chromium",
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--hide-scrollbars",
  "--enable-logging=stderr",
  `--user-data-dir=${join(folder, "profile")}`,
  ...(dark ? ["--blink-settings=preferredColorScheme=0"] : []),
];

/** What the browser makes of the page in a window of that width, and what it logs to its console. */
export async function look(page: string, widthPixels: number, dark = false): Promise<{ looked: Looked; consoleLines: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-browser-"));
  try {
    const file = join(folder, "page.html");
    writeFileSync(file, readFileSync(page, "utf8").replace("</body>", `<script>${script}</script></body>`));
    const words = [
      ...chromium(folder, dark),
      `--window-size=${widthPixels},1600`,
      "--virtual-time-budget=3000",
      "--dump-dom",
      `file://${file}`,
    ];
    const { stdout, stderr } = await tryRun(words, { cwd: folder, timeoutSeconds: 90 });
    const text = /<pre id="found">([^]*?)<\/pre>/.exec(stdout)?.[1];
    if (text === undefined) throw new Error(`chromium showed no page: ${stderr.split("\n").slice(-5).join("\n")}`);
    const looked = JSON.parse(text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")) as Looked;
    return { looked, consoleLines: stderr.split("\n").filter((line) => line.includes("CONSOLE")) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
