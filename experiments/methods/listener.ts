/** The far end's program: started in the end's namespace, waited for, and gone by itself. */
import { sh } from "../../components/host/sh";
import type { End, Site } from "../site";

/** Another in each process: what the last one started may still listen for some seconds (netserver serves on until its time is up). */
let port = 20000 + (process.pid % 10000);

/** A port that no measurement of this process has used. */
export const nextPort = (): number => (port = port >= 29999 ? 20000 : port + 1);

/** The words may name the port. It ends after `seconds` whatever happens. */
export async function listen(site: Site, end: End, words: readonly string[], at: number, seconds: number): Promise<void> {
  await site.exec(
    end,
    sh`
      [ -z "$(ss -H -l -n -t ${`sport = :${at}`})" ] || { echo ${`port ${at}: somebody listens on it already`} >&2; exit 1; }
      timeout ${Math.ceil(seconds)} ${[...words]} </dev/null >/dev/null 2>&1 &
      left=100
      until [ -n "$(ss -H -l -n -t ${`sport = :${at}`})" ]; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo ${`${words[0] ?? ""}: does not listen`} >&2; exit 1; }
        sleep 0.02
      done
    `,
  );
}
