/** What every bench is given. */

export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly seed: number;
  /** Of systems, where a bench goes along them. */
  readonly counts: readonly number[];
  readonly file: string;
  readonly say: (line: string) => void;
}
